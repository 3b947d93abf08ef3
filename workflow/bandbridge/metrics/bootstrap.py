"""Percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13), all resamples of a metric at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.classification import mean_of_defined, rank_class, weighted_average_precision

Interval = tuple[float, float]
COUNTS_AT_A_TIME = 2**20  # samples times resamples: 8 MB, which caches hold; 2**23 takes twice as long


def resample_counts(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each sample is drawn, in blocks (n, r) whose columns are resamples; r sums to `resamples`.

    Resample j draws n samples with replacement: row j of `default_rng(seed).integers(n, size=(resamples, n))`. The
    same seed and n give the same resamples, so that intervals of two encoders are of the same draws.
    """
    generator = np.random.default_rng(seed)
    block = max(1, COUNTS_AT_A_TIME // max(n, 1))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(n, size=(size, n)) * size + np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * size).reshape(n, size).astype(np.float64)


def percentile_interval(values: ArrayLike, level: float) -> Interval:
    """The central `level` (0..1) of the resamples' values; resamples where the metric is undefined are left out.

    (NaN, NaN) without a defined value.
    """
    array = np.asarray(values, dtype=np.float64)
    defined = array[~np.isnan(array)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(values: ArrayLike, resamples: int, level: float, seed: int) -> Interval:
    """Interval of a mean over samples: accuracy where `values` (n,) are hits, recall@k where they are rank <= k."""
    array = np.asarray(values, dtype=np.float64)
    means = [array @ counts / len(array) for counts in resample_counts(len(array), resamples, seed)]
    return percentile_interval(np.concatenate([*means, []]), level)


def macro_map_interval(labels: ArrayLike, scores: ArrayLike, resamples: int, level: float, seed: int) -> Interval:
    """Interval of macro mAP over resampled samples; labels and scores (n, class), NaN scores as in average_precision.

    Each class is sorted once. A class without positives or without negatives in a resample is left out of its mean.
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    rankings = [rank_class(truth[:, index], values[:, index]) for index in range(truth.shape[1])]
    maps = [
        mean_of_defined(np.stack([weighted_average_precision(r, counts) for r in rankings if r], axis=-1))
        for counts in resample_counts(len(truth), resamples if any(rankings) else 0, seed)
    ]
    return percentile_interval(np.concatenate([*maps, []]), level)
