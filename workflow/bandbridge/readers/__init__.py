"""Readers: one file a layout of archives, each yielding samples; what all of them share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandbridge.archives import is_archive
from bandbridge.catalogue import Dataset
from bandbridge.errors import UserError, did_you_mean

READERS = {name: f"{__name__}.{name}" for name in ("digits", "folder", "scene")}


@dataclass(frozen=True)
class Sample:
    """One image of a data set, its labels, and where and when it was taken, if known.

    `pixels` is (band, y, x) uint16 or float32 with the bands in the data set's order, or (y, x, 3) uint8 where the
    data set's modality is 'rgb'. `labels` are class names of the data set's nomenclature. `lat` and `lon` are
    degrees (WGS 84) of the centre, `date` is ISO 8601.
    """

    id: str
    split: str
    pixels: NDArray
    labels: tuple[str, ...]
    lat: float | None = None
    lon: float | None = None
    date: str | None = None


@dataclass(frozen=True)
class Rejected:
    """One image that could not become a sample, and why; it goes to the quarantine list."""

    id: str
    split: str
    reason: str


def read_samples(dataset: Dataset, archives: Path) -> Iterator[Sample | Rejected]:
    """Every image of a data set, as its reader finds it in the directory `archives`; in no particular order."""
    if dataset.reader not in READERS:
        guess = did_you_mean(dataset.reader, READERS)
        raise UserError(f"{dataset.name}: reader is '{dataset.reader}'; there are: {', '.join(READERS)}.{guess}")
    # Imported here because each reader brings its own heavy libraries.
    samples: Iterator[Sample | Rejected] = import_module(READERS[dataset.reader]).read(dataset, archives)
    return samples


def images_path(dataset: Dataset, archives: Path) -> Path:
    """Where the images are: the option `archive`, else the first source that is an archive, else `archives` itself."""
    if dataset.options.get("archive"):
        return Path(dataset.options["archive"])
    held = [source.file for source in dataset.sources if is_archive(source.file)]
    return archives / held[0] if held else archives


def stratified_splits(classes: Sequence[str], val: float, test: float, seed: int) -> list[str]:
    """'train', 'val' or 'test' for each item, so that each class is divided by the same shares (rounded per class).

    The same classes in the same order and the same seed give the same splits.
    """
    splits = np.full(len(classes), "train", dtype="<U5")
    random = np.random.default_rng(seed)
    labels = np.asarray(classes)
    for name in sorted(set(classes)):
        members = random.permutation(np.flatnonzero(labels == name))
        n_val, n_test = round(len(members) * val), round(len(members) * test)
        splits[members[:n_val]] = "val"
        splits[members[n_val : n_val + n_test]] = "test"
    return [str(split) for split in splits]
