"""Readers: one file per layout of archives. Each plans the samples of a data set and reads streams of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.option_models import OPTIONS
from bandbridge.ingest.archives import is_archive, locate
from bandbridge.ingest.places import Grid

# Each reader is the module of its name.
READERS = {name: f"{__name__}.{name}" for name in OPTIONS}


@dataclass(frozen=True)
class Planned:
    """A sample that the data set should have, before anything of it is read."""

    id: str
    split: str
    # Of its file or its files' folder, relative to the folder that holds the class folders or the images; empty where
    # unknown.
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Sample:
    """What one stream holds of a sample: its pixels, its labels, or both; where and when it was taken, if known.

    `pixels` is (band, y, x) with the bands in the modality's order, or (y, x, 3) uint8 where the modality is 'rgb';
    None in a stream of labels. `labels` are class names of the data set's first nomenclature; None in a stream that
    states none. `lat` and `lon` are degrees (WGS 84) of the centre, `date` is ISO 8601.

    `valid` is where the pixels hold data, in their shape; None where no statement implies missing data.
    `radiometry` says what was made of the file's numbers, `grid` is the pixels' own, where the file states it.
    """

    id: str
    pixels: NDArray[Any] | None
    labels: tuple[str, ...] | None = None
    lat: float | None = None
    lon: float | None = None
    date: str | None = None
    valid: NDArray[np.bool_] | None = None
    radiometry: str = ""
    grid: Grid | None = None


@dataclass(frozen=True)
class Rejected:
    """One image that could not become a sample, and why; it goes to the quarantine list."""

    id: str
    reason: str


class Reader(Protocol):
    """What the module of a reader offers."""

    def plan(self, dataset: Dataset, archives: Path) -> Sequence[Planned]:
        """Every sample that the data set should have, in any order.

        An id that is listed twice, in one split or in two, is yielded as often as it is listed. Pixels are not read.
        """

    def read(self, dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
        """The samples of one stream with these ids, in the order of the archive.

        A missing sample is not yielded; one that occurs twice is yielded twice.
        """


def reader(dataset: Dataset) -> Reader:
    """The reader that the data set's file names; a `UserError` that lists them if there is no such reader."""
    if dataset.reader not in READERS:
        guess = did_you_mean(dataset.reader, READERS)
        raise UserError(f"{dataset.name}: reader is '{dataset.reader}'; there are: {', '.join(READERS)}.{guess}")
    # Imported here because each reader brings its own heavy libraries.
    return cast(Reader, import_module(READERS[dataset.reader]))


def images_path(dataset: Dataset, archives: Path) -> Path:
    """Where the images are: the option `archive`, else the first source that is an archive, else `archives` itself."""
    if dataset.options.get("archive"):
        return Path(dataset.options["archive"])
    held = [source.file for source in dataset.sources if is_archive(source.file)]
    return source_path(held[0], archives) if held else archives


def looked_in(dataset: Dataset, archives: Path, stream: str) -> str:
    """Where the samples of a stream are looked for, in words: the user's archive, those that hold it, the folder."""
    if dataset.options.get("archive"):
        return str(dataset.options["archive"])
    held = [source.file for source in dataset.sources if is_archive(source.file) and source.stream in (None, stream)]
    more = f" and {len(held) - 1} more" if len(held) > 1 else ""
    return f"{source_path(held[0], archives)}{more}" if held else str(archives)


def source_path(file: str, archives: Path) -> Path:
    """Where a source is, in whichever layout; its own name where it is missing, for the error that follows."""
    return locate(archives, file) or archives / file
