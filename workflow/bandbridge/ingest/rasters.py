"""Decoding raster files that are in memory, and bringing bands of several resolutions to one grid.

Files are not trusted: GDAL reads them only with the drivers of `DRIVERS`, none leads to another file or to an address,
and the size of the pixels is known and bounded before they are decoded.
"""

import re
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.network import set_network_enabled  # type: ignore[attr-defined]
from rasterio.io import DatasetReader, MemoryFile

from bandbridge.catalogue.datasets import RESAMPLINGS
from bandbridge.ingest.declarations import NOTHING, Declarations, declarations_of
from bandbridge.ingest.outlines import is_cut_off, keep_outline, known_outline
from bandbridge.ingest.places import Grid

# GDAL has some 150 drivers, and tries all of them on any file: VRT opens any other file, WMS and STAC any
# address, HDF5 and netCDF bring parsers of their own.
DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
# Files beside a file are never read, and no file is fetched, whichever file a driver opens.
SEALED = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
}
# The same, with notes of our own, which lie beside the file in GDAL's memory.
_WITH_NOTES = {**SEALED, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": "YES"}
# Metadata domains of a TIFF that name the file in which GDAL looks for its overviews, with any driver.
LEADING_AWAY = ("OVERVIEWS", "ProxyOverviewRequest")
# GDAL takes a PNG that breaks off for a whole one, the rest of it black.
PNG, PNG_END = b"\x89PNG\r\n", b"IEND\xaeB`\x82"
# Of a file in memory, in a folder of its own.
NAME = "content"
# Of the pixels of one sample: a hundred times what is usual, an eighth of a laptop's memory.
MOST_SAMPLE_BYTES = 1024**3

# Contents that people have under the names of rasters, by their first bytes.
OTHERS = {
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"PK\x03\x04": "a zip; unpack it, or name it .npz if NumPy wrote it",
    b"\x89HDF": "HDF5 or netCDF 4; convert it to GeoTIFF (gdal_translate)",
    b"\x0e\x03\x13\x01": "HDF4; convert it to GeoTIFF (gdal_translate)",
    b"CDF": "netCDF; convert it to GeoTIFF (gdal_translate)",
    b"GRIB": "GRIB; convert it to GeoTIFF (gdal_translate)",
    b"SIMPLE": "FITS; convert it to GeoTIFF (gdal_translate)",
    b"EHFA": "ERDAS IMAGINE; convert it to GeoTIFF (gdal_translate)",
    b"MATLAB": "MATLAB's; save the array as NumPy's .npy, or as GeoTIFF",
    b"<VRTDataset": "a VRT, as which only scenes are read; write it as a GeoTIFF (gdal_translate)",
    b"<!DOCTYPE": "a web page, which a server sent in place of the file; get it again",
    b"<html": "a web page, which a server sent in place of the file; get it again",
    b"<?xml": "XML, perhaps a server's error; look at it",
    b"version https://git-lfs": "a pointer of Git LFS, not the file; run git lfs pull",
}

# A file's reference system may name grids by their addresses.
set_network_enabled(False)

Place = tuple[float, float] | None


class RasterError(ValueError):
    """A file that cannot be decoded; the message states the reason."""


@dataclass(frozen=True, eq=False)
class Raster:
    """A decoded file.

    Attributes:
        pixels: (band, y, x) in the file's number type.
        place: computes `centre` on demand, since most band files of a sample never need it.
        stated: what the file states of its pixels.
        find_grid: computes `grid` on demand.
        valid: where there are data, in the shape of the pixels; None where no statement implies missing data.
        radiometry: what was made of the file's numbers, in words; empty where they are as delivered.
    """

    pixels: NDArray[Any]
    place: Callable[[], Place]
    stated: Declarations = NOTHING
    find_grid: Callable[[], Grid | None] = lambda: None
    valid: NDArray[np.bool_] | None = None
    radiometry: str = ""

    @cached_property
    def grid(self) -> Grid | None:
        """The pixels' grid, None where the file is not georeferenced."""
        return self.find_grid()

    @cached_property
    def centre(self) -> Place:
        """Latitude and longitude (degrees, WGS 84) of the middle, None where the file is not georeferenced."""
        return self.place()


def decode(content: bytes, limit: int = MOST_SAMPLE_BYTES) -> Raster:
    """The pixels of a TIFF, JPEG 2000, PNG or JPEG, and where it lies.

    GDAL reads the file, unless it is a plain TIFF that differs from an earlier one only in its pixels and its place, as
    most published samples do (`outlines`).

    Args:
        limit: the most bytes of pixels. A file that states more is not decoded: 5 kB can stand for 10 GB.

    Raises:
        RasterError: the file is truncated, damaged, larger than the limit, of another format, or leads to other files.
    """
    if not content:
        raise RasterError("is empty")
    if content.startswith(PNG) and PNG_END not in content:
        raise RasterError(f"is truncated: a PNG of {len(content):,} bytes without its end")
    outline = known_outline(content)
    if outline is not None and outline.pixel_bytes <= limit:
        return _raster(outline.pixels(content), outline.declarations(content))
    pixels, stated = _decode_with_gdal(content, limit)
    keep_outline(content, pixels, stated)
    return _raster(pixels, stated)


def _raster(pixels: NDArray[Any], stated: Declarations) -> Raster:
    return Raster(pixels, lambda: centre_of(stated.grid), stated, lambda: stated.grid)


@contextmanager
def opened(content: bytes, notes: str | None = None) -> Iterator[DatasetReader]:
    """A file in memory, opened by GDAL with one of `DRIVERS` and cut off from all other files and from the network.

    The file must stay inside the block, its reading too.

    Args:
        notes: what counts beside what the file states, as GDAL writes it (PAM). Only of our own making: those of others
            may lead to other files.

    Raises:
        RasterError: the file is damaged, of another format, or names a file for its overviews.
    """
    with _in_memory(content, notes) as memory, _place_is_optional():
        try:
            file = memory.open(driver=list(DRIVERS))
        except rasterio.errors.RasterioError as error:
            if "not recognized as" in str(error):
                raise RasterError(
                    f"cannot be read as a raster: expected a TIFF, JPEG 2000, PNG or JPEG, {_what_it_is(content)}"
                ) from error
            raise RasterError(f"cannot be read as a raster: {in_gdals_words(error)}") from error
        with file:
            for domain in LEADING_AWAY:
                if tags := file.tags(ns=domain):
                    raise RasterError(f"names another file for its overviews ({', '.join(tags.values())})")
            yield file


@contextmanager
def _in_memory(content: bytes, notes: str | None) -> Iterator[MemoryFile]:
    if notes is None:
        with rasterio.Env(**SEALED), MemoryFile(content, filename=NAME) as memory:
            yield memory
        return
    folder = str(uuid.uuid4())
    with (
        rasterio.Env(**_WITH_NOTES),
        MemoryFile(content, dirname=folder, filename=NAME) as memory,
        MemoryFile(notes.encode(), dirname=folder, filename=f"{NAME}.aux.xml"),
    ):
        yield memory


def known_kind(content: bytes) -> str | None:
    """What a file is that begins like this, and what to do with it; None where that is not known."""
    return next((kind for mark, kind in OTHERS.items() if content.lstrip().startswith(mark)), None)


def _what_it_is(content: bytes) -> str:
    kind = known_kind(content)
    return f"it begins with {content[:8]!r}; get the file again" if kind is None else f"it is {kind}"


def in_gdals_words(error: Exception) -> str:
    """GDAL's message, without the folder of the file in memory, which differs each time."""
    text = " ".join(str(error.__cause__ or error).split())
    return re.sub(rf"/vsimem/[\w-]+/{NAME}|{NAME}", "it", text)


def must_fit(file: DatasetReader, limit: int) -> None:
    """A `RasterError` where a file's pixels take more than `limit` bytes, or a block of them more than any sample."""
    size = file.count * file.height * file.width * _largest_number(file)
    if size > limit:
        raise RasterError(
            f"states {file.count:,} bands of {file.height:,} x {file.width:,} pixels, {size:,} bytes; "
            f"the limit is {limit:,}"
        )
    blocks_must_fit(file)


def blocks_must_fit(file: DatasetReader) -> None:
    """A `RasterError` where GDAL has to decode more than `MOST_SAMPLE_BYTES` at once, even of a small window."""
    together = file.interleaving is not None and file.interleaving.name != "band"
    for height, width in file.block_shapes:
        size = (file.count if together else 1) * height * width * _largest_number(file)
        if size > MOST_SAMPLE_BYTES:
            raise RasterError(
                f"is stored in blocks of {height:,} x {width:,} pixels, {size:,} bytes; the limit is "
                f"{MOST_SAMPLE_BYTES:,}"
            )


def _largest_number(file: DatasetReader) -> int:
    # GDAL's type of complex whole numbers has no counterpart in NumPy: rasterio reads it as complex64.
    names = ("complex64" if name == "complex_int16" else name for name in file.dtypes)
    largest: int = max(np.dtype(name).itemsize for name in names)
    return largest


def _decode_with_gdal(content: bytes, limit: int) -> tuple[NDArray[Any], Declarations]:
    try:
        with opened(content) as file:
            must_fit(file, limit)
            return file.read(), declarations_of(file)
    except rasterio.errors.RasterioError as error:
        if is_cut_off(content):
            raise RasterError(f"is truncated: it states pixels beyond its {len(content):,} bytes") from error
        raise RasterError(f"cannot be read as a raster: {in_gdals_words(error)}") from error


@contextmanager
def _place_is_optional() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def centre_of(grid: Grid | None) -> Place:
    """As of `Raster.centre`, of a grid."""
    return None if grid is None else _to_wgs84(grid.crs, *(grid.affine * (grid.width / 2, grid.height / 2)))


def _to_wgs84(crs: str, x: float, y: float) -> Place:
    transformer = _transformer(crs)
    if transformer is None:
        return None
    longitude, latitude = transformer.transform(x, y)
    return (latitude, longitude) if np.isfinite([latitude, longitude]).all() else None


@cache
def _transformer(crs: str) -> Transformer | None:
    """From a reference system to WGS 84; None for a local one, which is nowhere on Earth."""
    try:
        return Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
    except ProjError:
        return None


# --- grids ---------------------------------------------------------------------------------------------------------


def to_grid(pixels: NDArray[Any], height: int, width: int, resampling: str) -> NDArray[Any]:
    """One band (y, x) on a grid of `height` by `width` with the same extent, in its own number type.

    'nearest' gives the values of GDAL (rasterio's `read(1, out_shape=...)`), and so does 'bilinear', except that some
    whole numbers differ by one where the mean lies just between two. A coarser grid raises `ValueError`: it would need
    a filter.
    """
    if resampling not in RESAMPLINGS:
        raise ValueError(f"resampling is '{resampling}', allowed: {', '.join(RESAMPLINGS)}")
    if pixels.shape == (height, width):
        return pixels
    if height < pixels.shape[0] or width < pixels.shape[1]:
        raise ValueError(f"a band of {pixels.shape[0]} x {pixels.shape[1]} pixels is finer than {height} x {width}")
    if resampling == "nearest":
        rows, columns = height / pixels.shape[0], width / pixels.shape[1]
        if rows.is_integer() and columns.is_integer():  # several times faster than by index
            return pixels.repeat(int(columns), axis=1).repeat(int(rows), axis=0)
        return pixels[_nearest(pixels.shape[0], height)[:, None], _nearest(pixels.shape[1], width)]
    mixed = _bilinear(pixels.shape[0], height) @ pixels.astype(np.float64) @ _bilinear(pixels.shape[1], width).T
    return np.floor(mixed + 0.5).astype(pixels.dtype) if pixels.dtype.kind in "iu" else mixed.astype(pixels.dtype)


@cache
def _nearest(source: int, target: int) -> NDArray[np.intp]:
    return ((np.arange(target) + 0.5) * source / target).astype(np.intp)


@cache
def _bilinear(source: int, target: int) -> NDArray[np.float64]:
    """(target, source) weights of the two nearest pixel centres; at the edges only the outermost pixel counts."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(at.astype(np.intp), max(source - 2, 0))
    weights = np.zeros((target, source))
    weights[np.arange(target), low] = 1 - (at - low)
    weights[np.arange(target), np.minimum(low + 1, source - 1)] += at - low
    return weights
