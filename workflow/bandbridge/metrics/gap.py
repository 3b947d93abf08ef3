"""Distances between two sets of unit embeddings, and the uniformity of one."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.classification import unit_rows


def centroid_distance(first: ArrayLike, second: ArrayLike) -> float:
    """The modality gap: distance between the centroids of two sets of unit embeddings (Liang et al. 2022), 0..2.

    NaN where one of the sets is empty.

    Args:
        first: (n, d), need not be normalised.
        second: (m, d), need not be normalised.
    """
    return float(np.linalg.norm(_centroid(first) - _centroid(second)))


def _centroid(rows: ArrayLike) -> NDArray[np.float64]:
    unit = unit_rows(rows)
    return unit.mean(axis=0, dtype=np.float64) if len(unit) else np.full(unit.shape[1], np.nan)


def alignment(first: ArrayLike, second: ArrayLike) -> float:
    """Mean squared distance between the unit embeddings of a pair (Wang and Isola 2020, alpha = 2), 0 (best) to 4.

    NaN without rows.

    Args:
        first: (n, d), need not be normalised.
        second: (n, d), need not be normalised; row i is the counterpart of row i of `first`.

    Raises:
        ValueError: the two do not have the same shape.
    """
    rows, others = _pairs(first, second)
    return float(np.square(rows - others).sum(axis=1).mean(dtype=np.float64)) if len(rows) else float("nan")


def mean_cosine(first: ArrayLike, second: ArrayLike) -> float:
    """Mean cosine between the embeddings of a pair, -1..1; arguments and errors are those of `alignment`."""
    rows, others = _pairs(first, second)
    return float(np.einsum("nd,nd->n", rows, others).mean(dtype=np.float64)) if len(rows) else float("nan")


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if np.shape(first) != np.shape(second):
        raise ValueError(f"pairs of embeddings {np.shape(first)} and {np.shape(second)} differ in shape")
    return unit_rows(first), unit_rows(second)


def uniformity(rows: ArrayLike, block: int = 2048) -> float:
    """Log of the mean of exp(-2 |x - y|^2) over all pairs of unit embeddings (Wang and Isola 2020, t = 2).

    0 where all are equal; the lower, the more evenly they are spread, down to about -4 for many in high dimensions. NaN
    with fewer than two rows.

    Args:
        rows: (n, d), need not be normalised.
        block: rows of either side of a pair at a time; memory is block * block cosines. Each pair is visited once.
    """
    unit = unit_rows(rows)
    n = len(unit)
    if n < 2:
        return float("nan")
    total = 0.0
    # Rows of zeros have no direction: their squares are not 1, so that the cosine alone does not give the distance.
    squares = np.einsum("nd,nd->n", unit, unit)
    for top in range(0, n, block):
        upper = slice(top, top + block)
        for left in range(top, n, block):
            right = slice(left, left + block)
            exponents = unit[upper] @ unit[right].T
            exponents *= 4
            exponents -= 2 * squares[upper, None]
            exponents -= 2 * squares[right]
            kernel = np.exp(exponents, out=exponents)
            if left == top:
                total += float(np.triu(kernel, 1).sum(dtype=np.float64))
            else:
                total += float(kernel.sum(dtype=np.float64))
    return float(np.log(total / (n * (n - 1) / 2)))
