"""BigEarthNet v1 and v2: a GeoTIFF per band of each sample; splits, labels and pairs from the published lists."""

import bz2
import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.option_models import LEFT_OUT, BigEarthNetOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.ingest.archives import members
from bandbridge.ingest.rasters import Raster, RasterError, decode, to_grid
from bandbridge.ingest.readers import Planned, Rejected, Sample, source_path
from bandbridge.ingest.readers.images import most_bytes

PAIRS = "s1_s2_name_country_season.csv"
# The longest, of the pairs, has 70 MB.
MOST_LIST_BYTES = 512 * 1024**2
SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
# The end of a name, and the key of a sample's part beside the bands: v1's file of labels.
LABELS = "labels_metadata"


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """The samples of the official splits, by their Sentinel-2 id; of v1 also those that `leave_out` does not name.

    Raises:
        UserError: a list is missing, or the metadata lack a column or name an unknown split.
    """
    options = parse_options(BigEarthNetOptions, dataset)
    if options.metadata:
        table = _metadata(source_path(options.metadata, archives), ("patch_id", "split"))
        return _with_known_splits(options.metadata, table)
    path = source_path(options.lists or "", archives)
    lists = {name: [row[0] for row in _rows(path, f"{name}.csv")] for name in ("train", "val", "test")}
    kinds = {kind: {row[0] for row in _rows(path, file)} for kind, file in LEFT_OUT.items()}
    out = set().union(*(kinds[kind] for kind in options.leave_out))
    added = set().union(*kinds.values()).difference(*lists.values())
    lists["train"] += sorted(added)
    return [Planned(name, split) for split, names in lists.items() for name in names if name not in out]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """Samples with all bands on the grid of the finest; the primary modality also gives labels, place and date.

    Files are found by their names, whatever folders they are in; the bands of a sample need not be adjacent. The
    date is that of the stream's own pass over the place, which the names of its files begin with.
    """
    options = parse_options(BigEarthNetOptions, dataset)
    bands = dataset.modality(stream).bands
    owners, labels = _names_and_labels(dataset, options, archives, stream, set(ids))
    primary = stream == dataset.primary.name
    needed = (*bands, LABELS) if primary and options.lists else bands
    opened: dict[str, _Parts] = {}
    rejected: set[str] = set()

    def is_wanted(member: str) -> bool:
        name, part = _owner_and_part(member, owners)
        return name in owners and owners[name] not in rejected and part in needed

    for source in [source.file for source in dataset.sources if source.stream == stream]:
        for member, content in members(source_path(source, archives), accepts=is_wanted):
            name, part = _owner_and_part(member, owners)
            sample = opened.setdefault(owners[name], _Parts(name, most_bytes(dataset.modality(stream))))
            try:
                sample.add(part, content)
                if not sample.lacks(needed):
                    yield _complete(opened.pop(owners[name]), owners[name], bands, options, primary, labels)
            except _FaultError as error:
                opened.pop(owners[name], None)
                rejected.add(owners[name])
                yield Rejected(owners[name], str(error))
    for sample_id, sample in opened.items():
        yield Rejected(sample_id, f"lacks {_shown(sample.lacks(needed), bands)}")


# --- a sample's files ----------------------------------------------------------------------------------------------


class _FaultError(Exception):
    """What is wrong with a sample."""


@dataclass(eq=False)
class _Parts:
    """What has been read of one sample: of `name`, which its files carry; `limit` is of a file's pixels in bytes."""

    name: str
    limit: int
    bands: dict[str, Raster] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None

    def add(self, part: str, content: bytes) -> None:
        """Take a file's content; raises `_FaultError`."""
        if part == LABELS:
            self.labels = _json_labels(content)
            return
        if part in self.bands:
            raise _FaultError(f"has band {part} twice")
        try:
            raster = decode(content, self.limit)
        except RasterError as error:
            raise _FaultError(f"band {part} {error}") from error
        if len(raster.pixels) != 1:
            raise _FaultError(f"band {part}: the file holds {len(raster.pixels)} bands, expected one")
        self.bands[part] = raster

    def lacks(self, needed: Iterable[str]) -> list[str]:
        return [part for part in needed if part not in self.bands and (part != LABELS or self.labels is None)]


def _json_labels(content: bytes) -> tuple[str, ...]:
    try:
        labels = json.loads(content)["labels"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _FaultError("its file of labels is damaged") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _FaultError("its file of labels is damaged: labels is no list of names")
    return tuple(labels)


def _complete(
    parts: _Parts,
    sample_id: str,
    bands: Sequence[str],
    options: BigEarthNetOptions,
    primary: bool,
    labels: Mapping[str, tuple[str, ...]],
) -> Sample:
    arrays = {name: parts.bands[name].pixels[0] for name in bands}
    height = max(array.shape[0] for array in arrays.values())
    width = max(array.shape[1] for array in arrays.values())
    for name, array in arrays.items():
        rows, columns = array.shape
        if height % rows or width % columns:
            raise _FaultError(f"band {name} is {rows} x {columns} pixels, which does not divide {height} x {width}")
    pixels = np.stack([to_grid(array, height, width, options.resampling) for array in arrays.values()])
    if not primary:
        return Sample(sample_id, pixels)
    finest = next(name for name in bands if arrays[name].shape == (height, width))
    lat, lon = parts.bands[finest].centre or (None, None)
    sample_labels = parts.labels if parts.labels is not None else labels.get(sample_id)
    return Sample(sample_id, pixels, sample_labels, lat, lon, _date(parts.name))


def _shown(lacking: Sequence[str], bands: Sequence[str]) -> str:
    missing = [name for name in lacking if name != LABELS]
    count = f" (found {len(bands) - len(missing)} of {len(bands)})"
    parts = [f"band {', '.join(missing)}{count}"] if missing else []
    return " and ".join(parts + ["its file of labels"] * (LABELS in lacking))


def _owner_and_part(member: str, owners: Mapping[str, str]) -> tuple[str, str]:
    """Whose file a member is, and which: the name's parts, or the folder's name where the file's has another start."""
    folders, _, file = member.rpartition("/")
    stem, _, extension = file.rpartition(".")
    if extension == "json" and stem.endswith(LABELS):
        owner, part = stem.removesuffix(LABELS).rstrip("_"), LABELS
    elif extension.lower() in ("tif", "tiff") and not file.startswith("."):
        owner, _, part = stem.rpartition("_")
    else:
        return "", ""
    return (owner if owner in owners else folders.rpartition("/")[2]), part


def _date(name: str) -> str | None:
    """The date in S2A_MSIL2A_20170613T101031_87_48 or S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48."""
    match = re.search(r"_(\d{4})(\d{2})(\d{2})T\d", name)
    return "-".join(match.groups()) if match else None


# --- lists and metadata --------------------------------------------------------------------------------------------


def _names_and_labels(
    dataset: Dataset, options: BigEarthNetOptions, archives: Path, stream: str, wanted_ids: set[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Name in a stream's files -> id, and id -> labels where the metadata have them, of the samples with these ids."""
    paired = dataset.modality(stream).sensor == "sentinel-1"
    if options.metadata:
        columns = ("patch_id", "s1_name", "labels") if paired else ("patch_id", "labels")
        table = _metadata(source_path(options.metadata, archives), columns)
        table = table.filter(
            pc.is_in(table["patch_id"], pa.array(sorted(wanted_ids), table.schema.field("patch_id").type))
        )
        ids = table["patch_id"].to_pylist()
        names = table["s1_name"].to_pylist() if paired else ids
        labels = map(tuple, table["labels"].to_pylist())
        return dict(zip(names, ids, strict=True)), dict(zip(ids, labels, strict=True))
    if not paired:
        return {name: name for name in wanted_ids}, {}
    rows = _rows(source_path(options.lists or "", archives), PAIRS)
    return {row[0]: row[1] for row in rows if row[1] in wanted_ids}, {}


def _rows(path: Path, file: str) -> Iterator[list[str]]:
    """The rows of one of v1's lists, plain or in bz2, without the line of column names that some have."""
    patterns = [where + file + end for where in ("", "*/") for end in (".bz2", "")]
    first_match = next(members(path, patterns), None)
    if first_match is None:
        raise UserError(f"{path}: holds no list {file}.bz2; it is part of the package bigearthnet-common")
    name, content = first_match
    try:
        text = (_decompressed(content) if name.endswith(".bz2") else content).decode()
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: {name} is damaged ({error}); delete it and run the download again") from error
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""))):
        if row and (number > 0 or row[0].startswith(("S1", "S2"))):
            yield row


def _decompressed(content: bytes) -> bytes:
    with bz2.open(io.BytesIO(content)) as file:
        text = file.read(MOST_LIST_BYTES + 1)
    if len(text) > MOST_LIST_BYTES:
        raise ValueError(f"it expands to more than {MOST_LIST_BYTES:,} bytes")
    return text


def _metadata(path: Path, columns: Sequence[str]) -> pa.Table:
    if not path.is_file():
        raise UserError(f"{path} not found; run the download again, or copy the file there manually")
    try:
        with pq.ParquetFile(path) as file:
            held = file.schema_arrow.names
            missing = [name for name in columns if name not in held]
            if missing:
                raise UserError(f"{path}: has no column {', '.join(missing)}; there are: {', '.join(held)}")
            return file.read(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as a table ({error}); delete it and run the download again") from error


def _with_known_splits(file: str, table: pa.Table) -> list[Planned]:
    unknown = set(table["split"].unique().to_pylist()) - set(SPLITS)
    if unknown:
        raise UserError(f"{file}: split is '{min(map(str, unknown))}', expected one of {', '.join(SPLITS)}")
    pairs = zip(table["patch_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    return [Planned(name, SPLITS[split]) for name, split in pairs]
