"""One data set, one Zarr store: writing samples to it whole or not at all, reading batches of it back fast."""

import csv
import hashlib
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorstore
import zarr
from numcodecs import Blosc  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray
from zarr.codecs import BloscCodec
from zarr.errors import ZarrUserWarning

import bandbridge
from bandbridge.catalogue import Composite, Dataset, load_nomenclature
from bandbridge.errors import UserError
from bandbridge.files import whole_directory, whole_file
from bandbridge.readers import Rejected, Sample
from bandbridge.sensors import SENSORS

# One file holds this many samples: few files for a file system's quota, and what is in memory while writing.
SHARD = 2_000
# Samples wait for their place in the order in memory up to this size, beyond it in a temporary file.
SPOOL_BYTES = 512 * 1024**2
RGB_TYPES = (np.dtype("uint8"),)
BAND_TYPES = (np.dtype("uint16"), np.dtype("float32"))


# --- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spooled:
    """A sample without its pixels, which are in the spool at `offset`, compressed to `length` bytes."""

    sample: Sample
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    length: int


def write_store(
    path: Path,
    dataset: Dataset,
    samples: Iterable[Sample | Rejected],
    provenance: Mapping[str, Any],
    quarantine: Path,
) -> None:
    """Write a data set's samples to a Zarr store, sorted by split and id, and list the rejected ones.

    The store is a Zarr version 3 group with a group per split. `<modality>` is (sample, band, y, x), or (sample, y, x,
    channel) for 'rgb'; `labels_<nomenclature>` is (sample, class) uint8; `id`, and `lat`, `lon`, `date` where known,
    are (sample,); `band` or `channel`, and `class`, name the axes. A chunk is a sample, a shard is `SHARD` samples. Its
    contents and `digest` do not depend on the order in which samples come.

    A sample goes to the quarantine instead where it holds NaN or a single value, its shape or number type is not the
    data set's (the bands, and otherwise what most samples have), its split or a label is unknown, or its id occurs
    more than once.

    Args:
        path: the store's directory; replaced when the new store is complete.
        provenance: further attributes of the store, such as `sources` with their checksums.
        quarantine: CSV file with the columns id, split, reason.

    Raises:
        UserError: more samples in quarantine than `dataset.max_quarantined_share`, or a split without samples.
    """
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=str(_existing(path.parent))) as spool:
        kept, rejected = _spool(samples, dataset, spool)
        kept, late = _sift(kept)
        rejected = sorted(rejected + late, key=lambda item: (item.split, item.id, item.reason))
        _write_quarantine(quarantine, rejected)
        _check_enough(dataset, kept, rejected, quarantine)
        with whole_directory(path) as part, _unspecified_is_fine():
            _write_groups(part, dataset, kept, len(rejected), provenance, spool)


def _existing(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _spool(
    samples: Iterable[Sample | Rejected], dataset: Dataset, spool: IO[bytes]
) -> tuple[list[_Spooled], list[Rejected]]:
    kept, rejected = [], []
    classes = load_nomenclature(dataset.nomenclature).classes
    for sample in samples:
        if isinstance(sample, Rejected):
            rejected.append(sample)
        elif reason := _fault(sample, dataset, classes):
            rejected.append(Rejected(sample.id, sample.split, reason))
        else:
            pixels = np.ascontiguousarray(sample.pixels)
            blob = _spool_codec(pixels.dtype).encode(pixels)
            light = Sample(**{**vars(sample), "pixels": np.empty(0)})
            kept.append(_Spooled(light, pixels.shape, pixels.dtype, spool.tell(), spool.write(blob)))
    return kept, rejected


def _spool_codec(dtype: np.dtype) -> Blosc:
    return Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE, typesize=dtype.itemsize)


def _fault(sample: Sample, dataset: Dataset, classes: Sequence[str]) -> str | None:
    """Why a sample cannot be stored, by itself; None if it can."""
    pixels = sample.pixels
    allowed = RGB_TYPES if dataset.modality == "rgb" else BAND_TYPES
    unknown = [label for label in sample.labels if label not in classes]
    if sample.split not in dataset.splits:
        return f"split is '{sample.split}', expected one of {', '.join(dataset.splits)}"
    if pixels.ndim != 3 or pixels.size == 0 or pixels.shape[_band_axis(dataset)] != len(dataset.bands):
        return f"shape is {pixels.shape}, expected 3 axes with {len(dataset.bands)} bands"
    if pixels.dtype not in allowed:
        return f"pixels are {pixels.dtype}, expected {' or '.join(map(str, allowed))}"
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        return f"{(~np.isfinite(pixels)).mean():.1%} of the pixels are not finite numbers"
    if (pixels == pixels.flat[0]).all():
        return f"every pixel is {pixels.flat[0]}"
    if unknown:
        return f"label {', '.join(unknown)} is not in {dataset.nomenclature}"
    if dataset.label_kind == "single" and len(sample.labels) != 1:
        return f"has {len(sample.labels)} labels, expected one"
    return None


def _band_axis(dataset: Dataset) -> int:
    return -1 if dataset.modality == "rgb" else 0


def _sift(kept: list[_Spooled]) -> tuple[list[_Spooled], list[Rejected]]:
    """Sorted by split and id, without ids that occur twice and without what differs from most in shape or type."""
    ids: dict[str, list[str]] = {}
    for item in kept:
        ids.setdefault(item.sample.id, []).append(item.sample.split)
    forms = Counter((item.shape, str(item.dtype)) for item in kept)
    usual = max(forms, key=lambda form: (forms[form], form), default=None)
    good, rejected = [], []
    for item in sorted(kept, key=lambda item: (item.sample.split, item.sample.id)):
        splits = ids[item.sample.id]
        if len(splits) > 1:
            reason = f"id occurs {len(splits)} times, in {', '.join(sorted(set(splits)))}"
        elif (item.shape, str(item.dtype)) != usual:
            reason = f"is {item.shape} {item.dtype}, most are {' '.join(map(str, usual or ()))}"
        else:
            good.append(item)
            continue
        rejected.append(Rejected(item.sample.id, item.sample.split, reason))
    return good, rejected


def _write_quarantine(path: Path, rejected: Sequence[Rejected]) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "reason"])
        writer.writerows([item.id, item.split, item.reason] for item in rejected)


def _check_enough(dataset: Dataset, kept: Sequence[_Spooled], rejected: Sequence[Rejected], quarantine: Path) -> None:
    total = len(kept) + len(rejected)
    if len(rejected) > dataset.max_quarantined_share * total:
        first = rejected[0]
        raise UserError(
            f"{dataset.name}: {len(rejected):,} of {total:,} samples are in quarantine (limit "
            f"{dataset.max_quarantined_share:.1%}), the first: {first.id} {first.reason}. All of them: {quarantine}. "
            "Mend the data, or raise max_quarantined_share in the data set's file"
        )
    counts = Counter(item.sample.split for item in kept)
    empty = [split for split in dataset.splits if not counts[split]]
    if empty:
        found = ", ".join(f"{split} {counts[split]}" for split in dataset.splits)
        raise UserError(
            f"{dataset.name}: no samples for {', '.join(empty)} (found: {found}); "
            "change the data set's options so that each split has some, or its list of splits"
        )


def _write_groups(
    path: Path,
    dataset: Dataset,
    kept: Sequence[_Spooled],
    n_rejected: int,
    provenance: Mapping[str, Any],
    spool: IO[bytes],
) -> None:
    root = zarr.open_group(path, mode="w", zarr_format=3)
    digest = hashlib.sha256()
    counts = {}
    for split in dataset.splits:
        chosen = [item for item in kept if item.sample.split == split]
        counts[split] = len(chosen)
        digest.update(split.encode())
        group = root.create_group(split)
        _write_tables(group, dataset, [item.sample for item in chosen], digest)
        _write_pixels(group, dataset, chosen, spool, digest)
    facts = {**_facts(dataset), **provenance, "counts": counts, "quarantined": n_rejected, "digest": digest.hexdigest()}
    # Through JSON: options may hold what YAML knows and JSON does not, such as a date.
    root.attrs.update(json.loads(json.dumps(facts, default=str)))
    zarr.consolidate_metadata(root.store)


def _write_pixels(
    group: zarr.Group, dataset: Dataset, chosen: Sequence[_Spooled], spool: IO[bytes], digest: "hashlib._Hash"
) -> None:
    shape, dtype = chosen[0].shape, chosen[0].dtype
    names = ("y", "x", "channel") if dataset.modality == "rgb" else ("band", "y", "x")
    array = group.create_array(
        dataset.modality,
        shape=(len(chosen), *shape),
        chunks=(1, *shape),
        shards=(min(SHARD, len(chosen)), *shape),
        dtype=dtype,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
        dimension_names=("sample", *names),
    )
    if units := _units(dataset):
        array.attrs["units"] = units
    for start in range(0, len(chosen), SHARD):
        block = np.stack([_unspool(item, spool) for item in chosen[start : start + SHARD]])
        digest.update(block.astype(dtype.newbyteorder("<"), copy=False).data)
        array[start : start + SHARD] = block


def _unspool(item: _Spooled, spool: IO[bytes]) -> NDArray:
    spool.seek(item.offset)
    return np.frombuffer(_spool_codec(item.dtype).decode(spool.read(item.length)), item.dtype).reshape(item.shape)


def _write_tables(group: zarr.Group, dataset: Dataset, samples: Sequence[Sample], digest: "hashlib._Hash") -> None:
    """Everything but the pixels: labels, ids, coordinates."""
    classes = load_nomenclature(dataset.nomenclature).classes
    labels = np.array([[name in sample.labels for name in classes] for sample in samples], np.uint8)
    ids = [sample.id for sample in samples]
    digest.update("\0".join(ids).encode())
    digest.update(labels.data)
    _table(group, f"labels_{dataset.nomenclature}", labels, ("sample", "class"))
    _table(group, "id", _text(ids), ("sample",))
    _table(group, "class", _text(classes), ("class",))
    axis = "channel" if dataset.modality == "rgb" else "band"
    _table(group, axis, _text(dataset.bands), (axis,))
    coordinates = ["id"]
    for name, units in (("lat", "degrees_north"), ("lon", "degrees_east")):
        values = np.array([getattr(sample, name) for sample in samples], np.float64)  # None becomes NaN
        if not np.isnan(values).all():
            _table(group, name, values, ("sample",), units=units)
            coordinates.append(name)
    if any(sample.date for sample in samples):
        _table(group, "date", _text([sample.date or "" for sample in samples]), ("sample",))
        coordinates.append("date")
    group.attrs["coordinates"] = " ".join(coordinates)  # so that xarray reads them as such


def _table(group: zarr.Group, name: str, values: NDArray, dimensions: tuple[str, ...], **attributes: str) -> None:
    array = group.create_array(name, data=values, chunks=values.shape, dimension_names=dimensions)
    array.attrs.update(attributes)


def _text(values: Sequence[str]) -> NDArray:
    return np.array(values, dtype=np.dtypes.StringDType())


def _units(dataset: Dataset) -> str | None:
    return SENSORS[dataset.sensor].units if dataset.sensor in SENSORS else None


def _facts(dataset: Dataset) -> dict[str, Any]:
    nomenclature = load_nomenclature(dataset.nomenclature)
    sensor = SENSORS.get(dataset.sensor or "")
    return {
        "dataset": dataset.name,
        "title": dataset.title,
        "sensor": dataset.sensor,
        "product": dataset.product,
        "modality": dataset.modality,
        "bands": dataset.bands,
        "resolution": min(band.resolution for band in sensor.bands) if sensor else None,
        "units": _units(dataset),
        "nomenclature": nomenclature.name,
        "classes": nomenclature.classes,
        "label_kind": dataset.label_kind,
        "composite": asdict(dataset.composite) if dataset.composite else None,
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "cite": dataset.cite,
        "options": dict(dataset.options),
        "bandbridge_version": bandbridge.__version__,
    }


@contextmanager
def _unspecified_is_fine() -> Iterator[None]:
    """Consolidated metadata is an extension of Zarr 3 that zarr-python and xarray agree on; others pass it over."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=ZarrUserWarning)
        yield


# --- reading -------------------------------------------------------------------------------------------------------


class Store:
    """A written store; opening it reads its metadata only.

    Raises:
        UserError: there is no store at `path`, or the store is of another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.attrs: dict[str, Any] = dict(zarr.open_group(self.path, mode="r", zarr_format=3).attrs)
        except (FileNotFoundError, zarr.errors.GroupNotFoundError) as error:
            raise UserError(f"{self.path} is not a Zarr store; make it with the preprocess step") from error
        if "digest" not in self.attrs:
            raise UserError(
                f"{self.path} is a Zarr group, but not a store of BandBridge; preprocess the data set again"
            )
        self.digest: str = self.attrs["digest"]
        self.modality: str = self.attrs["modality"]
        self.bands = tuple(self.attrs["bands"])
        self.classes = tuple(self.attrs["classes"])
        self.nomenclature: str = self.attrs["nomenclature"]
        self.label_kind: str = self.attrs["label_kind"]
        self.splits = tuple(self.attrs["counts"])

    @property
    def composite(self) -> Composite | None:
        stated = self.attrs["composite"]
        return Composite(tuple(stated["bands"]), stated["divisor"]) if stated else None

    def split(self, name: str) -> "Samples":
        """The samples of a split; a `UserError` that lists the splits if there is no such split."""
        if name not in self.splits:
            raise UserError(f"{self.path} has no split '{name}'; it has: {', '.join(self.splits)}")
        return Samples(self, name)


class Samples:
    """The samples of one split, in the order of their ids; pixels are read when asked for.

    Attributes:
        ids: (sample,) text.
        labels: (sample, class) uint8, 1 where a sample has the class.
        lat, lon: (sample,) degrees north and east of the centres, NaN where unknown; None where no sample's is known.
    """

    def __init__(self, store: Store, split: str) -> None:
        self._path = store.path / split / store.modality
        group = zarr.open_group(store.path / split, mode="r")
        self.ids: NDArray[np.str_] = np.array(_values(group, "id").tolist())
        self.labels: NDArray[np.uint8] = _values(group, f"labels_{store.nomenclature}")
        self.lat: NDArray[np.float64] | None = _values(group, "lat") if "lat" in group else None
        self.lon: NDArray[np.float64] | None = _values(group, "lon") if "lon" in group else None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _pixels(self) -> tensorstore.TensorStore:
        # zarr-python reads single samples out of shards some forty times slower. A cache in TensorStore does not pay.
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(self._path)}}
        return tensorstore.open(spec, read=True).result()

    def read(self, indices: ArrayLike) -> NDArray:
        """Pixels of the samples at `indices`, in that order; an index may occur several times.

        Returns:
            (n, band, y, x) in the store's number type, or (n, y, x, 3) uint8 for 'rgb'.

        Raises:
            IndexError: an index is outside 0 .. len(self) - 1.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"indices {wanted.min()} to {wanted.max()} of {len(self)} samples")
        return self._pixels[wanted].read().result()


def _values(group: zarr.Group, name: str) -> NDArray:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[:])
