"""Where rasters lie: the grid of a file, and whether two files show the same place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import rasterio.crs
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

# Bands and modalities on another grid than the first are refused, or resampled to its grid.
OTHER_GRIDS = ("refuse", "resample")
# GDAL's affine: (a, b, c, d, e, f) of x = a * column + b * row + c, y = d * column + e * row + f.
Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a file.

    Attributes:
        crs: its reference system as text, 'EPSG:32633' or WKT.
        transform: from its pixels to the reference system.
    """

    crs: str
    transform: Transform
    height: int
    width: int

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top, in the units of its reference system."""
        a, b, c, d, e, f = self.transform
        if b == d == 0:  # as of most files
            xs, ys = (c, c + a * self.width), (f, f + e * self.height)
            return min(xs), min(ys), max(xs), max(ys)
        across, down = self.corners[::2], self.corners[1::2]
        return min(across), min(down), max(across), max(down)

    @property
    def corners(self) -> tuple[float, ...]:
        """x and y of the first pixel, the end of the first row, the end of the first column and the last pixel."""
        a, b, c, d, e, f = self.transform
        across, along, down, aside = a * self.width, d * self.width, e * self.height, b * self.height
        return c, f, c + across, f + along, c + aside, f + down, c + across + aside, f + along + down

    @property
    def pixel(self) -> float:
        """The longer side of a pixel."""
        a, b, _, d, e, _ = self.transform
        return max(math.hypot(a, d), math.hypot(b, e))

    def resized(self, height: int, width: int) -> "Grid":
        """The same ground in `height` x `width` pixels."""
        across, down = self.width / width, self.height / height
        a, b, c, d, e, f = self.transform
        return Grid(self.crs, (a * across, b * down, c, d * across, e * down, f), height, width)

    def __str__(self) -> str:
        return f"{system_name(self.crs)} {' '.join(f'{value:.10g}' for value in self.bounds)}"


@cache
def system_name(crs: str) -> str:
    """A reference system in a few words: 'EPSG:32633', or its own name where it has no code."""
    try:
        system = CRS.from_user_input(crs)
    except CRSError:
        return crs[:40]
    code = system.to_authority(min_confidence=90)
    return ":".join(code) if code else system.name


@cache
def short_system(wkt: str) -> str:
    """'EPSG:32633' in place of a system's WKT, where it certainly is that system."""
    code = CRS.from_user_input(wkt).to_authority(min_confidence=100)
    return ":".join(code) if code else wkt


@cache
def same_system(one: str, other: str) -> bool:
    """Whether two texts mean one reference system, whichever software wrote them."""
    if one == other or system_name(one) == system_name(other):
        return True
    try:
        return CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)
    except CRSError:
        return False


def difference(one: Grid, other: Grid, tolerance: float) -> str | None:
    """Why `other` does not cover the same ground as `one`, in words without names; None where it does.

    Args:
        tolerance: how far their edges may be apart, in the units of their reference system.
    """
    if not same_system(one.crs, other.crs):
        return f"is in {system_name(other.crs)}, not in {system_name(one.crs)}"
    if _apart(one.corners, other.corners) <= tolerance:
        return None
    # South-up, mirrored and turned grids have the bounds of others.
    if _apart(one.bounds, other.bounds) > tolerance:
        return f"lies elsewhere: {_extent(other)}, expected {_extent(one)} (left, bottom, right, top)"
    first, of_other = (" ".join(f"{value:.10g}" for value in grid.corners[:2]) for grid in (one, other))
    return f"has rows or columns in another order: its first pixel begins at {of_other}, expected {first}"


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _extent(grid: Grid) -> str:
    return " ".join(f"{value:.10g}" for value in grid.bounds)


def misplaced(grids: Mapping[str, Grid | None]) -> str | None:
    """Which of a sample's band files do not cover the ground of the finest one, and where each lies; None if all do.

    Files that state no place are not compared; edges may differ by half a pixel of the finest.
    """
    placed = {name: grid for name, grid in grids.items() if grid is not None}
    if len(placed) < 2:
        return None
    finest = min(placed, key=lambda name: placed[name].pixel)
    reasons: dict[str, list[str]] = {}
    for name, grid in placed.items():
        if reason := difference(placed[finest], grid, placed[finest].pixel / 2):
            reasons.setdefault(reason, []).append(name)
    if not reasons:
        return None
    return f"against band {finest}, " + "; ".join(f"band {', '.join(names)} {why}" for why, names in reasons.items())


def modality_difference(first: Grid, other: Grid) -> str | None:
    """The same for the files of two modalities, which may differ by a pixel of the coarser grid; None if they agree."""
    return difference(first, other, max(first.pixel, other.pixel) * 1.01)


def on_ground(target: Grid, source: Grid) -> Grid:
    """The ground of `target` in pixels about as large as those of `source`."""
    comparable = same_system(target.crs, source.crs) or (_in_metres(target.crs) and _in_metres(source.crs))
    scale = target.pixel / source.pixel if comparable else 1.0
    return target.resized(max(1, round(target.height * scale)), max(1, round(target.width * scale)))


@cache
def _in_metres(crs: str) -> bool:
    return all(axis.unit_name == "metre" for axis in CRS.from_user_input(crs).axis_info)


def on_grid(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None, grid: Grid, target: Grid, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels (band, y, x) of one grid on another, in their own number type, and where there are any.

    Values without data never mix with others; what `grid` does not cover has none.
    """
    source = np.where(valid, pixels, np.nan).astype(np.float64) if valid is not None else pixels.astype(np.float64)
    out = np.full((len(pixels), target.height, target.width), np.nan)
    reproject(
        source,
        out,
        src_transform=grid.affine,
        src_crs=rasterio.crs.CRS.from_user_input(grid.crs),
        dst_transform=target.affine,
        dst_crs=rasterio.crs.CRS.from_user_input(target.crs),
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling[resampling],
    )
    has_data = np.isfinite(out)
    out = np.where(has_data, out, 0)
    whole = pixels.dtype.kind in "iu"
    return (np.floor(out + 0.5) if whole else out).astype(pixels.dtype), has_data
