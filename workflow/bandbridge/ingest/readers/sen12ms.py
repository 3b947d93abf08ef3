"""SEN12MS: a GeoTIFF per sample and stream; labels from the shares of its land cover raster."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset, load_nomenclature
from bandbridge.catalogue.option_models import Sen12msOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.ingest.archives import members
from bandbridge.ingest.divide import stratified_splits
from bandbridge.ingest.rasters import RasterError, decode
from bandbridge.ingest.readers import Planned, Rejected, Sample, source_path
from bandbridge.ingest.readers.images import most_bytes

# IGBP class in the first band of the land cover raster -> which class of the simplified scheme (Schmitt and Wu 2021).
SIMPLIFIED = {
    1: 0,
    2: 0,
    3: 0,
    4: 0,
    5: 0,
    6: 1,
    7: 1,
    8: 2,
    9: 2,
    10: 3,
    11: 4,
    12: 5,
    13: 6,
    14: 5,
    15: 7,
    16: 8,
    17: 9,
}

_NAME = re.compile(r"(ROIs\d+_(?:spring|summer|fall|winter))_(s1|s2|lc)_(\d+)_(p\d+)(?:\.tiff?)?", re.IGNORECASE)
_SEASON = re.compile(r"ROIs\d+_(?:spring|summer|fall|winter)")


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """The samples of the official lists; whole scenes of the training list, the same share of each season's, are val.

    Raises:
        UserError: a list is missing or holds a line that is not a file of SEN12MS.
    """
    options = parse_options(Sen12msOptions, dataset)
    ids = {split: _listed(source_path(file, archives)) for split, file in options.lists.items()}
    scenes = sorted({_scene(name) for name in ids["train"]})
    seasons = [scene.rpartition("_")[0] for scene in scenes]
    split_of = dict(zip(scenes, stratified_splits(seasons, options.val_share, 0, options.seed), strict=True))
    train = [Planned(name, split_of[_scene(name)]) for name in ids["train"]]
    return train + [Planned(name, "test") for name in ids["test"]]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """Samples of one stream: pixels as delivered, or the labels that follow from the land cover raster.

    With several labels per sample, a sample has every class whose share is at least `label_share`, with a single label
    the most frequent class (of two equal ones the first). Files are found by their names, whatever folders they are in.
    """
    options = parse_options(Sen12msOptions, dataset)
    ids = set(ids)

    def is_wanted(member: str) -> bool:
        name = _NAME.fullmatch(member.rpartition("/")[2])
        return name is not None and name[2].lower() == stream and _id(name) in ids

    for source in [source.file for source in dataset.sources if source.stream == stream]:
        if not _may_hold(source, ids):
            continue
        for member, content in members(source_path(source, archives), accepts=is_wanted):
            name = _NAME.fullmatch(member.rpartition("/")[2])
            if name is not None:
                yield _sample(dataset, options, stream, _id(name), content)


def _sample(dataset: Dataset, options: Sen12msOptions, stream: str, name: str, content: bytes) -> Sample | Rejected:
    labelling = stream == dataset.label_stream
    try:
        raster = decode(content, most_bytes(dataset.primary if labelling else dataset.modality(stream)))
    except RasterError as error:
        return Rejected(name, str(error))
    if labelling:
        classes = load_nomenclature(dataset.nomenclature).classes
        return Sample(name, None, tuple(classes[index] for index in _classes(raster.pixels[0], dataset, options)))
    expected = len(dataset.modality(stream).bands)
    if len(raster.pixels) != expected:
        return Rejected(name, f"has {len(raster.pixels)} bands, expected {expected}")
    lat, lon = raster.centre or (None, None)
    return Sample(name, raster.pixels, None, lat, lon)


def _classes(land_cover: NDArray[Any], dataset: Dataset, options: Sen12msOptions) -> list[int]:
    """Indices of the classes that a raster of IGBP classes (y, x) is labelled with; other values are no class."""
    counts = np.zeros(1 + max(SIMPLIFIED.values()), np.int64)
    for value, count in zip(*np.unique(land_cover, return_counts=True), strict=True):
        if int(value) in SIMPLIFIED:
            counts[SIMPLIFIED[int(value)]] += count
    if not counts.any():
        return []
    if dataset.label_kind == "single":
        return [int(counts.argmax())]
    present = (counts > 0) & (counts >= options.label_share * land_cover.size)
    return [int(index) for index in np.flatnonzero(present)]


# --- names ---------------------------------------------------------------------------------------------------------


def _id(name: re.Match[str]) -> str:
    """'ROIs1868_summer_146_p202': season, scene and sample, which the streams have in common."""
    return f"{name[1]}_{name[3]}_{name[4]}"


def _scene(sample_id: str) -> str:
    return sample_id.rpartition("_")[0]


def _may_hold(source: str, ids: Collection[str]) -> bool:
    """Whether an archive can hold one of the samples: its name may state the season, and reading one takes long."""
    season = _SEASON.match(source)
    return season is None or any(name.startswith(season[0] + "_") for name in ids)


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} not found; run the download again, or copy the file there manually")
    ids = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name = _NAME.fullmatch(line.strip().rpartition("/")[2])
        if name:
            ids.append(_id(name))
        elif line.strip():
            raise UserError(
                f"{path}, line {number}: '{line.strip()}' is not a file of SEN12MS, "
                "expected names like ROIs1868_summer_s2_146_p202.tif"
            )
    return ids
