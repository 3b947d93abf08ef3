"""Average precision of one ranking under many weightings of its samples at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

# Sums of counts are exact in 16 bits, which takes half the time of 32: a row adds up to 1,024 counts of up to 31.
LONGEST_ROW, LARGEST_COUNT = 2**10, 31
ROWS_AT_A_TIME = 256  # times 128 resamples, in the processor's cache


@dataclass(frozen=True)
class Ranking:
    """A ranking from the highest score down, cut into rows at every threshold where recall grows.

    Further cuts keep rows short. A row that gains positives ends with the last entry whose score equals theirs; entries
    that score below every positive one are in no row.

    Attributes:
        chunks: matrices (rows, n) of some rows each: the positives that a row gains, and the entries it retrieves, by
            sample.
        entries: entries that each sample has in the ranking: 1, or the number of classes where all are ranked as one.
    """

    chunks: tuple[tuple[csr_array, csr_array], ...]
    entries: int = 1


def exact_sums(rows: csr_array) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A function that sums weights (n, r) by the rows of a matrix (k, n) of values up to 2: exact, (k, r).

    As fast as a product in int16, whose sums would overflow: pieces that fit 16 bits are summed first. Integer weights
    are at most LARGEST_COUNT.
    """
    piece = LONGEST_ROW // 2
    starts = [np.arange(start, end, piece) for start, end in pairwise(rows.indptr)]
    of_row = np.append(0, np.cumsum([len(part) for part in starts]))
    bounds = np.concatenate([*starts, rows.indptr[-1:]])
    pieces = csr_array((rows.data.astype(np.int16), rows.indices, bounds), shape=(len(bounds) - 1, rows.shape[1]))
    ones = np.ones(len(bounds) - 1, np.int32)
    collect = csr_array((ones, np.arange(len(ones)), of_row), shape=(rows.shape[0], len(ones)))
    return lambda weights: collect @ (pieces @ weights)


def rank_class(labels: ArrayLike, scores: ArrayLike, entries: int = 1) -> Ranking | None:
    """Sort entries by score, ties together; None where average precision is undefined.

    It is undefined without positives, and where a score is NaN (a class without a classifier). Without negatives every
    precision is 1, and so is their average, as in scikit-learn.

    Args:
        labels: (n * entries,), 1 where the entry is positive; the entries of sample i begin at i * entries.
        scores: (n * entries,).
        entries: per sample.
    """
    positive, score = np.asarray(labels) != 0, np.asarray(scores)
    if not positive.any() or np.isnan(score).any():
        return None
    order = np.argsort(score)[::-1]
    gained = order[positive[order]]
    # At the score of each positive entry, all entries that score at least as much are retrieved.
    retrieved = len(score) - np.searchsorted(score[order[::-1]], score[gained], side="left")
    bounds = np.union1d(np.arange(0, retrieved[-1], LONGEST_ROW), retrieved)
    gained_bounds = np.searchsorted(retrieved, bounds, side="right")
    n = len(score) // entries
    chunks = zip(_rows(gained // entries, gained_bounds, n), _rows(order // entries, bounds, n), strict=True)
    return Ranking(tuple(chunks), entries)


def _rows(samples: Integers, bounds: Integers, n: int) -> Iterator[csr_array]:
    """Matrices that sum the samples between bounds, ROWS_AT_A_TIME rows each."""
    samples = samples.astype(np.int32)
    for start in range(0, len(bounds) - 1, ROWS_AT_A_TIME):
        cuts = bounds[start : start + ROWS_AT_A_TIME + 1]
        dtype = np.int16 if np.diff(cuts).max() <= LONGEST_ROW else np.int32
        ones, chosen = np.ones(cuts[-1] - cuts[0], dtype), samples[cuts[0] : cuts[-1]]
        yield csr_array((ones, chosen, (cuts - cuts[0]).astype(np.int32)), shape=(len(cuts) - 1, n))


def weighted_average_precision(ranking: Ranking, weights: NDArray[Any], total: NDArray[Any] | None = None) -> Floats:
    """Average precision of one ranking under many weightings of its samples at a time.

    AP = sum over thresholds t of (R_t - R_(t-1)) P_t, without interpolation, as in scikit-learn. Precision and recall
    count each sample with its weight, so that the counts of a resample give the resample's AP.

    Args:
        ranking: of the class, or of all (sample, class) pairs.
        weights: (n, r) non-negative, one column per weighting; int16 ones are at most LARGEST_COUNT.
        total: (r,) sums of the weights, if computed already.

    Returns:
        (r,), NaN where the weights leave no positive; 1 where they leave no negative.
    """
    everything = (weights.sum(axis=0) if total is None else total) * ranking.entries
    exact = np.int32 if everything.max(initial=0) < 2**31 else np.int64
    dtype = np.dtype(np.float64 if np.issubdtype(weights.dtype, np.floating) else exact)
    positives: NDArray[Any] = np.zeros(len(everything), dtype)
    retrieved, area = positives, np.zeros(len(everything))
    for gained_rows, retrieved_rows in ranking.chunks:
        gained = gained_rows @ weights
        true_positives = positives + np.cumsum(gained, axis=0, dtype=dtype)
        entries = retrieved + np.cumsum(retrieved_rows @ weights, axis=0, dtype=dtype)
        positives, retrieved = true_positives[-1], entries[-1].copy()
        entries += entries == 0  # no true positives either: the quotient is 0
        area += np.einsum("ij,ij->j", gained, true_positives / entries)
    average: Floats = np.divide(area, positives, out=np.full(len(everything), np.nan), where=positives > 0)
    return average


def pairs_ranking(labels: ArrayLike, scores: ArrayLike) -> Ranking | None:
    """All (sample, class) pairs as one ranking, without the classes that have a NaN among their scores.

    Args:
        labels: (n, class), not 0 where the sample carries the class.
        scores: (n, class).
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    scored = ~np.isnan(values).any(axis=0)
    return rank_class(truth[:, scored].ravel(), values[:, scored].ravel(), max(1, int(scored.sum())))


def precision_over_others(labels: ArrayLike, scores: ArrayLike, units: Integers) -> float:
    """Average precision without its bias: precision at each positive over the samples of other units alone.

    Average precision counts each positive among the samples that its score retrieves, so that a few positives look
    better than the population's. The share of positives among the other samples that score as much or more is unbiased
    for the precision at that score; without such a sample it counts as 1.

    Args:
        labels: (n,), not 0 where the sample is positive; at least one is.
        scores: (n,), without NaN.
        units: (n,) the unit of each sample, 0 .. g - 1.

    Returns:
        Mean over the positives, 0..1.
    """
    positive, score = np.asarray(labels) != 0, np.asarray(scores)
    hits, retrieved = _reaching(positive, score)
    if len(score) > units.max() + 1:
        hits_of_unit, retrieved_of_unit = _reaching(positive, score, units)
    else:
        hits_of_unit, retrieved_of_unit = positive, np.ones(len(score), np.int64)
    others = retrieved - retrieved_of_unit
    precision = np.divide(hits - hits_of_unit, others, out=np.ones(len(score)), where=others > 0)
    return float(precision[positive].mean())


def _reaching(positive: NDArray[np.bool_], score: Floats, units: Integers | None = None) -> tuple[Integers, Integers]:
    """Numbers (n,) of positives and of samples, in each sample's unit or overall, that score at least as much as it."""
    n = len(score)
    order = np.argsort(score)[::-1] if units is None else np.lexsort((-score, units))
    descending, of_unit = score[order], np.zeros(n, np.int64) if units is None else units[order]
    # A run of equal scores in one unit ends where either changes, and counts as a whole.
    next_unit = of_unit[1:] != of_unit[:-1]
    ends = np.append(next_unit | (descending[1:] != descending[:-1]), True)
    starts = np.append(True, next_unit)
    last = np.flatnonzero(ends)[np.cumsum(ends) - ends]
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]
    total = np.append(0, np.cumsum(positive[order]))
    hits, retrieved = np.empty(n, np.int64), np.empty(n, np.int64)
    hits[order], retrieved[order] = total[last + 1] - total[first], last + 1 - first
    return hits, retrieved
