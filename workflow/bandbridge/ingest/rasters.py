"""Decoding raster files that are in memory, and bringing bands of several resolutions to one grid.

Files are not trusted: GDAL reads them only with the drivers of `DRIVERS`, none leads to another file or to an address,
and the size of the pixels is known and bounded before they are decoded.
"""

import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from pyproj.network import set_network_enabled  # type: ignore[attr-defined]
from rasterio.io import DatasetReader, MemoryFile

from bandbridge.catalogue.datasets import RESAMPLINGS
from bandbridge.ingest.declarations import NOTHING, Declarations, declarations_of, grid_of
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
# Metadata domains of a TIFF that name the file in which GDAL looks for its overviews, with any driver.
LEADING_AWAY = ("OVERVIEWS", "ProxyOverviewRequest")
# GDAL takes a PNG that breaks off for a whole one, the rest of it black.
PNG, PNG_END = b"\x89PNG\r\n", b"IEND\xaeB`\x82"
# Of a file in memory, in a folder of its own.
NAME = "content"
# Of the pixels of one sample: a hundred times what is usual, an eighth of a laptop's memory.
MOST_SAMPLE_BYTES = 1024**3

# A file's reference system may name grids by their addresses.
set_network_enabled(False)

# TIFF 6.0, section 2: the types of a field that are read here, and their sizes.
_ASCII, _SHORT, _LONG, _DOUBLE = 2, 3, 4, 12
_FORMATS = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_SIZES = {_SHORT: 2, _LONG: 4, _DOUBLE: 8}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _BANDS, _COUNTS, _PLANAR, _PREDICTOR, _TILE, _SAMPLE_FORMAT = (
    256, 257, 258, 259, 273, 277, 279, 284, 317, 322, 339,
)  # fmt: skip
# What the bands are: white or black is 0, RGB, a palette. Others (CMYK, YCbCr, Lab) are translated by GDAL.
_PHOTOMETRIC, _AS_STORED = 262, {0, 1, 2, 3}
# GeoTIFF 1.1, section 7: the tags of the pixel scale, the tie point and the keys, and the keys read here.
_PIXEL_SCALE, _TIE_POINT, _TRANSFORMATION, _GEO_KEYS = 33550, 33922, 34264, 34735
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_PIXEL_IS_AREA, _USER_DEFINED = 1, 32767
# TIFF 6.0: channels beside the colours, such as alpha. GDAL: its metadata of bands, in XML, and the value of no data.
_PHOTOMETRIC, _EXTRA, _GDAL_METADATA, _GDAL_NODATA = 262, 338, 42112, 42113
_RGB = 2
# No tag: where the next image of the file begins, such as the mask of the first; 0 where there is none.
_NEXT_IMAGE = -1
_READ = {
    *(_PHOTOMETRIC, _EXTRA),
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _BANDS, _COUNTS, _PLANAR, _PREDICTOR, _TILE, _SAMPLE_FORMAT),
    *(_PIXEL_SCALE, _TIE_POINT, _TRANSFORMATION, _GEO_KEYS, _PHOTOMETRIC),
}
_KINDS = {1: "u", 2: "i", 3: "f"}


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

    Plain uncompressed TIFFs, which most published samples are, are read directly: opening a file in GDAL takes
    several times longer than reading a sample of a hundred pixels (benchmarks/ingest.py). GDAL reads all others.

    Args:
        limit: the most bytes of pixels. A file that states more is not decoded: 5 kB can stand for 10 GB.

    Raises:
        RasterError: the file is truncated, damaged, larger than the limit, of another format, or leads to other files.
    """
    if not content:
        raise RasterError("is empty")
    if content.startswith(PNG) and PNG_END not in content:
        raise RasterError(f"is truncated: a PNG of {len(content):,} bytes without its end")
    fields = _tiff_fields(content)
    pixels = _plain_pixels(content, fields) if fields and _is_plain(fields) else None
    if fields is None or pixels is None:
        return _decode_with_gdal(content, limit)

    def place() -> Place:
        try:
            return _centre(fields, pixels.shape[1:])
        except _UnusualError:
            return _decode_with_gdal(content, limit).centre

    def grid() -> Grid | None:
        try:
            return _grid(fields, pixels.shape[1:])
        except _UnusualError:
            with opened(content) as file:
                return grid_of(file)

    return Raster(pixels, place, _plain_declarations(content, fields, len(pixels)), grid)


@contextmanager
def opened(content: bytes) -> Iterator[DatasetReader]:
    """A file in memory, opened by GDAL with one of `DRIVERS` and cut off from all other files and from the network.

    The file must stay inside the block, its reading too.

    Raises:
        RasterError: the file is damaged, of another format, or names a file for its overviews.
    """
    with rasterio.Env(**SEALED), MemoryFile(content, filename=NAME) as memory, _place_is_optional():
        try:
            file = memory.open(driver=list(DRIVERS))
        except rasterio.errors.RasterioError as error:
            if "not recognized as" in str(error):
                expected = "a TIFF, JPEG 2000, PNG or JPEG"
                raise RasterError(
                    f"cannot be read as a raster: expected {expected}, it begins with {content[:8]!r}"
                ) from error
            raise RasterError(f"cannot be read as a raster: {in_gdals_words(error)}") from error
        with file:
            for domain in LEADING_AWAY:
                if tags := file.tags(ns=domain):
                    raise RasterError(f"names another file for its overviews ({', '.join(tags.values())})")
            yield file


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
    largest: int = max(np.dtype(name).itemsize for name in file.dtypes)
    return largest


class _UnusualError(Exception):
    """A georeference that is left to GDAL."""


def _decode_with_gdal(content: bytes, limit: int) -> Raster:
    try:
        with opened(content) as file:
            must_fit(file, limit)
            pixels = file.read()
            stated = declarations_of(file)
            if file.crs is None:
                return Raster(pixels, lambda: None, stated)
            x, y = file.xy(file.height / 2, file.width / 2, offset="ul")
            crs = file.crs.to_wkt()
            return Raster(pixels, lambda: _to_wgs84(crs, x, y), stated, lambda: stated.grid)
    except rasterio.errors.RasterioError as error:
        raise RasterError(f"cannot be read as a raster: {in_gdals_words(error)}") from error


@contextmanager
def _place_is_optional() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


# --- plain TIFF ----------------------------------------------------------------------------------------------------


def _tiff_fields(content: bytes) -> dict[int, tuple[Any, ...]] | None:
    """Tag -> values of the first image of a classic TIFF; None where the content is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, at)
        fields: dict[int, tuple[Any, ...]] = {0: (order,)}
        entries = content[at + 2 : at + 2 + 12 * count]
        for number, (tag, kind, n, value) in enumerate(struct.iter_unpack(order + "HHII", entries)):
            # The first field of a tag counts; a field without values is ignored.
            if tag in fields or not n:
                continue
            if tag in _READ and kind in _FORMATS:
                form = f"{order}{n}{_FORMATS[kind]}"
                inside = n * _SIZES[kind] <= 4
                fields[tag] = struct.unpack_from(form, content, at + 10 + 12 * number if inside else value)
            elif tag in (_GDAL_METADATA, _GDAL_NODATA) and kind == _ASCII:
                start = at + 10 + 12 * number if n <= 4 else value
                fields[tag] = (content[start : start + n],)
        fields[_NEXT_IMAGE] = struct.unpack_from(order + "I", content, at + 2 + 12 * count)
    except struct.error as error:
        raise RasterError(f"is truncated: its TIFF header leads beyond its {len(content):,} bytes") from error
    return fields


def _plain_declarations(content: bytes, fields: Mapping[int, tuple[Any, ...]], bands: int) -> Declarations:
    """What a plain TIFF states of its pixels. GDAL is used where it states more than the value of no data."""
    more = _GDAL_METADATA in fields or fields.get(_NEXT_IMAGE) != (0,) or any(fields.get(_EXTRA, ()))
    if more or (bands > 1 and fields.get(_PHOTOMETRIC) == (_RGB,)):
        with opened(content) as file:
            return declarations_of(file)
    if _GDAL_NODATA not in fields:
        return NOTHING
    try:
        value = float(fields[_GDAL_NODATA][0].split(b"\0")[0])
    except ValueError:
        return NOTHING
    return Declarations(nodata=(value,) * bands)


def _is_plain(fields: Mapping[int, tuple[Any, ...]]) -> bool:
    bits, formats = set(fields.get(_BITS, (1,))), set(fields.get(_SAMPLE_FORMAT, (1,)))
    return (
        {_WIDTH, _HEIGHT, _OFFSETS, _COUNTS} <= set(fields)
        and fields.get(_COMPRESSION, (1,)) == (1,)
        and fields.get(_PREDICTOR, (1,)) == (1,)
        and _TILE not in fields
        and fields.get(_PHOTOMETRIC, (1,))[0] in _AS_STORED
        and len(bits) == len(formats) == 1
        and (bits, formats) in [({8}, {1}), ({16}, {1}), ({16}, {2}), ({32}, {3})]
    )


def _plain_pixels(content: bytes, fields: Mapping[int, tuple[Any, ...]]) -> NDArray[Any] | None:
    """None where the strips are not the pixels and nothing else: some may be absent, others padded."""
    width, height, bands = fields[_WIDTH][0], fields[_HEIGHT][0], fields.get(_BANDS, (1,))[0]
    kind, size = _KINDS[fields.get(_SAMPLE_FORMAT, (1,))[0]], fields[_BITS][0] // 8
    expected = width * height * bands * size
    if any(at + length > len(content) for at, length in zip(fields[_OFFSETS], fields[_COUNTS], strict=False)):
        raise RasterError(f"is truncated: its strips lead beyond its {len(content):,} bytes")
    # Strips may lie over each other, a million times: their sum is known before they are put together.
    if not sum(fields[_COUNTS]) == expected <= len(content):
        return None
    data = b"".join(content[at : at + length] for at, length in zip(fields[_OFFSETS], fields[_COUNTS], strict=False))
    if len(data) != expected:
        return None
    pixels = np.frombuffer(data, f"{fields[0][0]}{kind}{size}")
    together = bands > 1 and fields.get(_PLANAR, (1,))[0] == 1
    pixels = (
        pixels.reshape(height, width, bands).transpose(2, 0, 1) if together else pixels.reshape(bands, height, width)
    )
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _centre(fields: Mapping[int, tuple[Any, ...]], shape: tuple[int, ...]) -> Place:
    reference = _reference(fields)
    if reference is None:
        return None
    crs, left, top, across, down = reference
    return _to_wgs84(crs, left + shape[1] / 2 * across, top - shape[0] / 2 * down)


def _grid(fields: Mapping[int, tuple[Any, ...]], shape: tuple[int, ...]) -> Grid | None:
    reference = _reference(fields)
    if reference is None:
        return None
    crs, left, top, across, down = reference
    return Grid(crs, (across, 0.0, left, 0.0, -down, top), shape[0], shape[1])


def _reference(fields: Mapping[int, tuple[Any, ...]]) -> tuple[str, float, float, float, float] | None:
    """Reference system, left and upper edge, width and height of a pixel; None where a file states no place."""
    if _GEO_KEYS not in fields:
        return None
    numbers = fields[_GEO_KEYS]
    # Four numbers per key: its name, where its value is (0: here), how many values, the value.
    keys = {numbers[at]: numbers[at + 3] for at in range(4, len(numbers) - 3, 4) if numbers[at + 1] == 0}
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC, _USER_DEFINED))
    tie, scale = fields.get(_TIE_POINT, ()), fields.get(_PIXEL_SCALE, ())
    usual = code != _USER_DEFINED and keys.get(_RASTER_TYPE, _PIXEL_IS_AREA) == _PIXEL_IS_AREA
    if not usual or _TRANSFORMATION in fields or len(tie) != 6 or len(scale) != 3:
        raise _UnusualError
    return f"EPSG:{code}", tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1], scale[0], scale[1]


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
    except CRSError:
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
