"""Blocks of neighbouring samples, which are too close to count as independent."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRES_PER_DEGREE = 40_075_017 / 360
SIDES = 8  # side of a block, in sides of a sample: chosen by benchmarks/interval_coverage.py


def own_units(n: int) -> NDArray[np.int64]:
    """One unit per sample: 0 .. n - 1."""
    return np.arange(n)


def neighbour_blocks(lat: ArrayLike, lon: ArrayLike, side: float) -> NDArray[np.int64]:
    """The block of each sample's centre: squares `SIDES` samples wide, on a grid over the whole Earth.

    Samples that overlap or adjoin are mostly in one block; samples farther apart than its diagonal never are.
    A sample without coordinates is a block by itself.

    Args:
        lat: (n,) degrees, NaN where unknown.
        lon: (n,) degrees, NaN where unknown.
        side: of a sample on the ground, in metres.

    Returns:
        (n,) numbers 0 .. g - 1 of g blocks, in the order of their first samples.
    """
    north, east = np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64)
    placed = ~(np.isnan(north) | np.isnan(east))
    block = SIDES * side / METRES_PER_DEGREE  # degrees of latitude
    row = np.floor(np.where(placed, north, 0) / block)
    # All of a row is measured along one parallel, so that its columns do not drift.
    width = np.maximum(np.cos(np.radians((row + 0.5) * block)), 1e-6)
    column = np.floor(np.where(placed, east, 0) * width / block)
    alone = np.where(placed, 0, np.arange(1, len(placed) + 1))
    _, first, inverse = np.unique(np.stack([row, column, alone]), axis=1, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]
