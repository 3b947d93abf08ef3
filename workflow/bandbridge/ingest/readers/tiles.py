"""Tiles: several files that together are one raster, as Earth Engine exports an image that is too large for one."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from rasterio import Affine
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from bandbridge.ingest.readers.virtual import Rectangle, Source, Virtual

# Of a pixel: corners that are written in decimal are not exact.
TOLERANCE = 0.01
DIFFERENT_GRIDS = "they have different grids"


class NotTilesError(Exception):
    """Why files are no tiles of one raster, as the end of a sentence about them."""


def as_tiles(rasters: Mapping[str, DatasetReader]) -> Virtual:
    """The raster that files are tiles of; pixels that no tile has hold no data.

    Raises:
        NotTilesError: they overlap, or differ in reference system, pixel size, number type, number or names of bands.
    """
    first, *others = rasters.values()
    if first.crs is None or first.transform.b or first.transform.d or first.transform.e >= 0:
        raise NotTilesError("they do not state where they lie, from west to east and north to south")
    for other in others:
        if other.crs != first.crs or not np.allclose(other.transform[:6:4], first.transform[:6:4], rtol=1e-9, atol=0):
            raise NotTilesError(DIFFERENT_GRIDS)
        if (other.dtypes, other.descriptions) != (first.dtypes, first.descriptions):
            raise NotTilesError("their bands differ in number, names or number type")
        if (other.nodatavals, other.scales, other.offsets) != (first.nodatavals, first.scales, first.offsets):
            raise NotTilesError("they state different no-data values, scales or offsets")
    if any(MaskFlags.per_dataset in flags for file in rasters.values() for flags in file.mask_flag_enums):
        raise NotTilesError("they have masks")
    left = min(file.bounds.left for file in rasters.values())
    top = max(file.bounds.top for file in rasters.values())
    origin = ~first.transform * (left, top)
    placed = {name: _rectangle(file, first, origin) for name, file in rasters.items()}
    for (one, of_one), (another, of_another) in combinations(placed.items(), 2):
        if _overlap(of_one, of_another):
            raise NotTilesError(f"{one} and {another} overlap")
    width = max(x + across for x, _, across, _ in placed.values())
    height = max(y + down for _, y, _, down in placed.values())
    is_whole = width * height == sum(across * down for _, _, across, down in placed.values())
    return Virtual(
        round(height),
        round(width),
        first.crs,
        first.transform * Affine.translation(*map(round, origin)),
        tuple(tuple(Source(name, band, None, placed[name], None) for name in rasters) for band in first.indexes),
        tuple(name or "" for name in first.descriptions),
        tuple(first.nodatavals) if is_whole else tuple(_fill(first, band) for band in first.indexes),
    )


def _rectangle(file: DatasetReader, first: DatasetReader, origin: tuple[float, float]) -> Rectangle:
    """Of a tile in the whole, in pixels."""
    corner = ~first.transform * (file.transform.c, file.transform.f)
    exact = np.subtract(corner, origin)
    x, y = np.round(exact)
    if np.abs(exact - (x, y)).max() > TOLERANCE:
        raise NotTilesError(DIFFERENT_GRIDS)
    return float(x), float(y), float(file.width), float(file.height)


def _overlap(one: Rectangle, another: Rectangle) -> bool:
    return all(
        max(one[axis], another[axis]) < min(one[axis] + one[axis + 2], another[axis] + another[axis + 2])
        for axis in (0, 1)
    )


def _fill(file: DatasetReader, band: int) -> float:
    """What stands where no tile is: the files' own value for no data, else NaN or 0."""
    stated = file.nodatavals[band - 1]
    if stated is not None:
        return float(stated)
    return np.nan if np.dtype(file.dtypes[band - 1]).kind == "f" else 0.0
