"""Pixels without data: which they are by what files and data sets state, and their fill value in a store.

A store has one fill value, by its number type (`FILL`). What a file calls no data becomes that value, and a
value with data that happens to equal it becomes the next one, as GDAL's warper does it.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from bandbridge.ingest.declarations import Declarations
from bandbridge.ingest.radiometry import per_reflectance

# Number type -> the fill value of a store. Zero is that of satellites' digital numbers.
FILL: dict[str, int | float] = {"uint8": 0, "uint16": 0, "int16": -32768, "float32": float("nan")}
IGNORE = "ignore"
# No number of a file; with NaN, GDAL would lose the neighbours of pixels without data as well.
_NO_VALUE = -1e300
# No sensor measures a reflectance below the first, nor any quantity beyond the second.
LOWEST_REFLECTANCE, LARGEST = -0.5, 1e30
# Nor these below the first or above the second number: the least float32 above zero has -448 decibels, the largest 385,
# and nothing on Earth is as cold as space.
POSSIBLE = {
    **dict.fromkeys(("db", "decibel", "decibels"), (-500.0, 500.0)),
    **dict.fromkeys(("k", "kelvin"), (2.7, LARGEST)),
    **dict.fromkeys(("°c", "celsius", "degree_celsius", "degrees celsius"), (-270.4, LARGEST)),
}

NoData = float | tuple[float, ...] | str | None


def validity(pixels: NDArray[Any], stated: Declarations, nodata: NoData = None) -> NDArray[np.bool_] | None:
    """Where pixels (band, y, x) hold data; None where all do and no statement implies that some might not.

    Args:
        nodata: of the data set's file, beside what the raster itself states: one value, one per band, or 'ignore',
            with which the raster's own statements do not count. NaN is never a value.
    """
    empty = np.isnan(pixels) if pixels.dtype.kind == "f" else None
    if empty is not None and not empty.any():
        empty = None
    of_file: Sequence[float | None] = () if nodata == IGNORE else stated.nodata
    states = empty is not None or nodata not in (None, IGNORE) or (nodata != IGNORE and stated.may_lack_data)
    if not states:
        return None
    valid = ~empty if empty is not None else np.ones(pixels.shape, np.bool_)
    for number, band in enumerate(pixels):
        values = [of_file[number] if number < len(of_file) else None]
        if isinstance(nodata, tuple):
            values.append(nodata[number])
        elif isinstance(nodata, int | float):
            values.append(nodata)
        for value in values:
            if value is not None and (held := _as(value, pixels.dtype)) is not None:
                valid[number] &= band != held
    if stated.mask is not None and nodata != IGNORE:
        valid &= stated.mask
    return valid


def _as(value: float, dtype: np.dtype) -> np.generic | None:
    """A stated value as the pixels' type holds it; None where no pixel can equal it."""
    if np.isnan(value):
        return None
    if dtype.kind in "iu":
        if np.isinf(value):
            return None
        limits = np.iinfo(dtype)
        fits = value == int(value) and limits.min <= value <= limits.max
        whole: np.generic | None = dtype.type(int(value)) if fits else None
        return whole
    with np.errstate(over="ignore"):
        number: np.generic = dtype.type(value)
    return number


def not_measured(values: NDArray[Any], unit: str | None) -> float | None:
    """The lowest or highest of some values where no sensor measures it: -9999, or the least float; None otherwise."""
    if not values.size or values.dtype.kind == "u":
        return None
    low, high = float(values.min()), float(values.max())
    per = per_reflectance(unit)
    of_unit = POSSIBLE.get((unit or "").strip().lower(), (-LARGEST, LARGEST))
    least, most = of_unit if per is None else (LOWEST_REFLECTANCE * per, LARGEST)
    return low if low < least else high if high > most else None


def share(valid: NDArray[np.bool_]) -> float:
    """The share of pixels at which every band holds data; (band, y, x) or, of images, (y, x)."""
    return float(valid.all(axis=0).mean() if valid.ndim == 3 else valid.mean())


def with_fill(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Pixels with the store's value for no data where they are not `valid`, and nowhere else.

    Number types that no store has are returned as they are.
    """
    if pixels.dtype.name not in FILL:
        return pixels
    fill = pixels.dtype.type(FILL[pixels.dtype.name])
    if pixels.dtype.kind in "iu":
        pixels = np.where(pixels == fill, fill + pixels.dtype.type(1), pixels)
    return np.where(valid, pixels, fill)


def to_grid_with_data(
    pixels: NDArray[Any], valid: NDArray[np.bool_], height: int, width: int, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One band (y, x) on a grid of `height` by `width` of the same extent, and where that holds data: as GDAL has it.

    Values without data are mixed with none; next to them, 'bilinear' and 'cubic' use only values with data.
    """
    rows, columns = pixels.shape
    if (rows, columns) == (height, width):
        return pixels, valid
    form = {"driver": "GTiff", "dtype": "float64", "count": 1, "height": rows, "width": columns, "nodata": _NO_VALUE}
    with _no_place_needed(), MemoryFile() as memory:
        with memory.open(**form) as file:
            file.write(np.where(valid, pixels.astype(np.float64), _NO_VALUE), 1)
        with memory.open() as file:
            values = file.read(1, out_shape=(height, width), resampling=Resampling[resampling])
    has_data = values != _NO_VALUE
    values = np.where(has_data, values, 0)
    if pixels.dtype.kind in "iu":  # cubic may lead beyond what the number type holds
        limits = np.iinfo(pixels.dtype)
        values = np.clip(np.floor(values + 0.5), limits.min, limits.max)
    return values.astype(pixels.dtype), has_data


@contextmanager
def _no_place_needed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
