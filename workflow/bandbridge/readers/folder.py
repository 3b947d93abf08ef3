"""Images in a folder per class, inside an archive or a directory, divided by lists of names or by shares."""

import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import transform

from bandbridge.archives import member_names, members
from bandbridge.catalogue import Dataset
from bandbridge.errors import UserError
from bandbridge.readers import Rejected, Sample, images_path, stratified_splits
from bandbridge.readers.options import FolderOptions, parse_options

WGS84 = "EPSG:4326"
# Pillow also raises SyntaxError and ValueError for damaged files.
UNREADABLE = (OSError, RasterioError, SyntaxError, ValueError, Image.DecompressionBombError)


def read(dataset: Dataset, archives: Path) -> Iterator[Sample | Rejected]:
    """Every image whose folder is its class; `modality: rgb` reads pictures, any other reads GeoTIFFs with all bands.

    An image's id is its file name without the extension, preceded by the class (`Forest/1`) where file names alone
    are not unique. Bands stay in the file's order, which the data set's `bands` name.

    Raises:
        UserError: no image matches, or a list of names is missing.
    """
    options = parse_options(FolderOptions, dataset)
    path = images_path(dataset, archives)
    ids = _ids([name for name in member_names(path) if fnmatchcase(name, options.images)])
    if not ids:
        raise UserError(f"{dataset.name}: no file of {path} matches the option images ('{options.images}')")
    splits = _listed(options.lists, archives, set(ids.values())) if options.lists else _shared(ids, options)
    yield from _faults_of_lists(splits, set(ids.values()), options)
    for name, content in members(path, [options.images]):
        wanted = splits.get(ids[name], [])
        if len(wanted) == 1:
            yield _sample(dataset, ids[name], wanted[0], name, content)


def _ids(names: list[str]) -> dict[str, str]:
    """Member name -> id."""
    stems = {name: PurePosixPath(name).stem for name in names}
    if len(set(stems.values())) == len(names):
        return stems
    return {name: f"{PurePosixPath(name).parent.name}/{stem}" for name, stem in stems.items()}


def _shared(ids: Mapping[str, str], options: FolderOptions) -> dict[str, list[str]]:
    # Sorted, so that the order of an archive's members does not decide who is in which split.
    names = sorted(ids)
    classes = [PurePosixPath(name).parent.name for name in names]
    splits = stratified_splits(classes, options.shares["val"], options.shares["test"], options.seed)
    return {ids[name]: [split] for name, split in zip(names, splits, strict=True)}


def _listed(lists: Mapping[str, str], archives: Path, ids: set[str]) -> dict[str, list[str]]:
    """Id -> splits that list it; more than one is a fault of the lists."""
    parts = 2 if any("/" in name for name in ids) else 1
    found: dict[str, list[str]] = {}
    for split, file in lists.items():
        path = archives / file
        if not path.is_file():
            raise UserError(f"{path} is not there, the list of the {split} split; run the download again")
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                # Without the extension: EuroSAT's lists say .jpg for the .tif files as well.
                name = "/".join(PurePosixPath(line.strip()).with_suffix("").parts[-parts:])
                found.setdefault(name, []).append(split)
    return found


def _faults_of_lists(splits: Mapping[str, list[str]], present: set[str], options: FolderOptions) -> Iterator[Rejected]:
    for name, wanted in splits.items():
        if len(wanted) > 1:
            yield Rejected(name, wanted[0], f"is listed {len(wanted)} times: {', '.join(wanted)}")
        elif name not in present:
            yield Rejected(name, wanted[0], f"is in {options.lists[wanted[0]]}, but there is no such image")
    unlisted = len(present - set(splits))
    if unlisted:
        print(f"{unlisted} of {len(present)} images are in no list and left out", file=sys.stderr)


def _sample(dataset: Dataset, name: str, split: str, member: str, content: bytes) -> Sample | Rejected:
    label = PurePosixPath(member).parent.name
    try:
        if dataset.modality == "rgb":
            return Sample(name, split, _picture(content), (label,))
        with MemoryFile(content) as memory, memory.open() as raster:
            if raster.count != len(dataset.bands):
                return Rejected(name, split, f"has {raster.count} bands, expected {len(dataset.bands)}")
            return Sample(name, split, raster.read(), (label,), *_centre(raster))
    except UNREADABLE as error:
        return Rejected(name, split, f"cannot be read: {' '.join(str(error).split())}")


def _picture(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def _centre(raster: DatasetReader) -> tuple[float | None, float | None]:
    """Latitude and longitude of the middle of a raster, None where it is not georeferenced."""
    if raster.crs is None:
        return None, None
    x, y = raster.xy(raster.height / 2, raster.width / 2, offset="ul")
    longitudes, latitudes = transform(raster.crs, WGS84, [x], [y])
    return latitudes[0], longitudes[0]
