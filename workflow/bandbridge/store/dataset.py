"""Reading a data set's Zarr store: its facts, its labels in any nomenclature, batches of its pixels."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.base.errors import UserError, choices
from bandbridge.catalogue.datasets import Composite, headline_metric
from bandbridge.store.shard_reader import ShardReader
from bandbridge.store.zarr_files import read_array, read_attributes, read_metadata

# Of stores: 2 knows where samples lie. Stores of version 1 state none, and are read as ever.
VERSION = 2
CONVENTIONS = {"name": "bandbridge-store", "version": VERSION}
# Attributes that decide what a model sees and learns of the samples: bands and composite, classes and their maps.
_DECISIVE = ("conversion", "digest", "headline", "label_kind", "modalities", "nomenclatures", "unlabelled")


class Store:
    """A written store, seen in one nomenclature and one modality; opening it reads its metadata only.

    Args:
        path: the store's directory.
        nomenclature: of the labels; None for the one they were published in and all samples. Where one is named,
            samples without a label in it are left out: BigEarthNet's 19 classes, for example, do not cover all samples
            of the 43. Multi-label samples without a class in the nomenclature they were published in count as samples
            with none of the classes, unless the data set's file has `unlabelled: leave_out`.
        modality: of the pixels; None for the one that RGB images are made from.

    Raises:
        UserError: there is no store at `path`, it is damaged or of another kind, or it has no such nomenclature or
            modality.
    """

    def __init__(self, path: Path, nomenclature: str | None = None, modality: str | None = None) -> None:
        self.path = Path(path)
        try:
            self.attrs: dict[str, Any] = read_metadata(self.path).get("attributes", {})
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is not a Zarr store; make it with the preprocess step") from error
        if "digest" not in self.attrs:
            raise UserError(
                f"{self.path} is a Zarr group, but not a store of BandBridge; preprocess the data set again"
            )
        version = self.attrs.get("conventions", {}).get("version", 1)
        if version > VERSION:
            raise UserError(
                f"{self.path} is a store of version {version}, and this is for version {VERSION} and earlier: update "
                "BandBridge, or preprocess the data set again"
            )
        self.digest: str = self.attrs["digest"]
        self.label_kind: str = self.attrs["label_kind"]
        self.headline: str = headline_metric(self.label_kind, self.attrs.get("headline"), self.attrs["dataset"])
        self.splits = tuple(self.attrs["counts"])
        self.modality = self._chosen("modalities", modality)
        self.nomenclature = self._chosen("nomenclatures", nomenclature)
        published = self.nomenclature == next(iter(self.attrs["nomenclatures"]))
        unlabelled = self.attrs.get("unlabelled", "count" if self.label_kind == "multi" else "leave_out")
        self.labelled_only = nomenclature is not None and not (published and unlabelled == "count")
        self.facts: dict[str, Any] = self.attrs["modalities"][self.modality]
        self.bands = tuple(self.facts["bands"])
        self.classes = tuple(self.attrs["nomenclatures"][self.nomenclature])

    def _chosen(self, kind: str, name: str | None) -> str:
        available: dict[str, Any] = self.attrs[kind]
        if name is not None and name not in available:
            raise UserError(f"{self.path} has no '{name}' among its {kind}; it has: {choices(name, available)}")
        return name or next(iter(available))

    @property
    def identity(self) -> str:
        """A digest of the samples (`digest`) and of what the store states of them, for jobs that resume.

        The same pixels are other images in another composite, and the same labels other classes under other names.
        """
        decisive = {name: self.attrs.get(name) for name in _DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @property
    def composite(self) -> Composite | None:
        stated = self.facts["composite"]
        return Composite.from_facts(stated) if stated else None

    @property
    def notes(self) -> list[str]:
        """What to know of the store, in sentences: samples left out, values that are not of the stated unit."""
        remarks = [f"{self.attrs['dataset']}: {remark}" for remark in self.attrs.get("remarks", ())]
        return [*(note for split in self.splits if (note := self.split(split).note)), *remarks]

    @property
    def fill_value(self) -> float | None:
        """The value that marks missing data in the modality's array; None if every pixel has data."""
        stated = self.facts.get("fill_value")
        return None if stated is None else float(stated)

    def split(self, name: str) -> "Samples":
        """The samples of a split; a `UserError` that lists the splits if there is no such split."""
        if name not in self.splits:
            raise UserError(f"{self.path} has no split '{name}'; it has: {', '.join(self.splits)}")
        return Samples(self, name)


def valid_share_name(modality: str, first: bool) -> str:
    """The name of the array of a modality's shares of pixels with data."""
    return "valid_share" if first else f"valid_share_{modality}"


class Samples:
    """The samples of one split, in the order of their ids; pixels are read on demand.

    All that is read is compared with the checksums of its writer; a `UserError` names a damaged file.

    Attributes:
        ids: (sample,) text.
        left_out: number of further samples of the split, which have no label in the store's nomenclature.
        labels: (sample, class) uint8, 1 where a sample has the class.
        lat: (sample,) degrees north of the centres, NaN where unknown; None if the store has no coordinates.
        lon: (sample,) degrees east of the centres, like `lat`.
        resolution: metres of a pixel's side; None where unknown.
        valid_share: (sample,) share of the pixels with data in all bands; None if all have.
    """

    def __init__(self, store: Store, split: str) -> None:
        self._path = store.path / split / store.modality
        self.resolution: float | None = store.facts["resolution"]
        self._zero = [number for number, band in enumerate(store.bands) if band in store.facts["zero_bands"]]
        group = store.path / split
        coordinates = read_attributes(group).get("coordinates", "").split()
        labels = read_array(group / f"labels_{store.nomenclature}")
        self._rows = np.flatnonzero(labels.any(axis=1)) if store.labelled_only else np.arange(len(labels))
        self.left_out = len(labels) - len(self._rows)
        counted = f"{self.left_out:,} of {len(labels):,} samples have no label in {store.nomenclature}"
        self._described = f"{store.attrs['dataset']}, {split}: {counted} and are left out."
        self.labels: NDArray[np.uint8] = labels[self._rows]
        self.ids: NDArray[np.str_] = np.array(read_array(group / "id").tolist())[self._rows]
        self.lat: NDArray[np.float64] | None = read_array(group / "lat")[self._rows] if "lat" in coordinates else None
        self.lon: NDArray[np.float64] | None = read_array(group / "lon")[self._rows] if "lon" in coordinates else None
        self._fill = store.fill_value
        self._means: list[float] = store.facts.get("band_means") or [0.0] * len(store.bands)
        self._band_axis = 3 if store.modality == "rgb" else 1
        shares = group / valid_share_name(store.modality, store.modality == next(iter(store.attrs["modalities"])))
        self.valid_share: NDArray[np.float64] | None = None
        if self._fill is not None:
            self.valid_share = read_array(shares)[self._rows]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def note(self) -> str:
        """A sentence with the number of samples left out; empty if there are none."""
        return self._described if self.left_out else ""

    @cached_property
    def _pixels(self) -> ShardReader:
        return ShardReader(self._path)

    @property
    def side(self) -> float | None:
        """Metres of a sample's longer side on the ground; None where the resolution is unknown."""
        # All modalities with a resolution are (sample, band, y, x).
        return self.resolution * max(self._pixels.shape[-2:]) if self.resolution else None

    def read(self, indices: ArrayLike) -> NDArray[Any]:
        """Pixels of the samples at `indices`, in that order; an index may occur several times.

        Returns:
            (n, band, y, x) in the store's number type, with zeros in the modality's `zero_bands`, or (n, y, x, 3)
            uint8 for 'rgb'. Pixels without data have the mean of the sample's others in the same band; in a band
            without any, its mean in the train split.

        Raises:
            IndexError: an index is outside 0 .. len(self) - 1.
        """
        return self.read_with_validity(indices)[0]

    def read_with_validity(self, indices: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Like `read`, with the validity of the pixels.

        Returns:
            The pixels, and in their shape whether each has data; None if all have.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"indices {rows.min()} to {rows.max()} of {len(self)} samples")
        pixels: NDArray[Any] = self._pixels.read(self._rows[rows])
        valid = self._with_means(pixels, rows) if self._fill is not None else None
        if self._zero:
            pixels[:, self._zero] = 0
        return pixels, valid

    def _with_means(self, pixels: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Put means in place of pixels without data; returns where there were data."""
        assert self._fill is not None
        assert self.valid_share is not None
        incomplete = np.flatnonzero(self.valid_share[rows] < 1)
        if not len(incomplete):
            return None
        valid = np.ones(pixels.shape, np.bool_)
        is_whole = pixels.dtype.kind in "iu"
        for row in incomplete:
            bands = np.moveaxis(pixels[row], self._band_axis - 1, 0)
            has_data = np.moveaxis(valid[row], self._band_axis - 1, 0)
            has_data[...] = np.isfinite(bands) if self._fill != self._fill else bands != self._fill
            for band, data, mean in zip(bands, has_data, self._means, strict=True):
                if not data.all():
                    value = float(band[data].mean(dtype=np.float64)) if data.any() else mean
                    band[~data] = round(value) if is_whole else value
        return valid
