"""Percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13), all resamples of a metric at once."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from bandbridge.metrics.ranking import LARGEST_COUNT
from bandbridge.metrics.resampled import Counts, Floats, Statistic

Interval = tuple[float, float]
RESAMPLES_AT_A_TIME = 128  # more need more memory, and fewer more time
COUNTS_AT_A_TIME = 2**25  # samples times resamples, of two bytes


def resample_counts(n: int, resamples: int, seed: int) -> Iterator[Counts]:
    """How often each sample is drawn, in blocks (n, r) whose columns are resamples; r sums to `resamples`.

    Resample j draws n samples with replacement: row j of `default_rng(seed).integers(n, size=(resamples, n))`. The
    same seed and n give the same resamples, so that intervals of two encoders are of the same draws. Counts are int16
    up to LARGEST_COUNT, and int32 in a block that has larger ones.
    """
    generator = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES_AT_A_TIME, COUNTS_AT_A_TIME // max(n, 1)))
    for start in range(0, resamples, block):
        counts = np.empty((n, min(block, resamples - start)), np.int16)
        for column in range(counts.shape[1]):
            counts[:, column] = np.bincount(generator.integers(n, size=n), minlength=n)
        yield counts if counts.max(initial=0) <= LARGEST_COUNT else counts.astype(np.int32)


def bootstrap(
    statistics: Mapping[str, Statistic], n: int, resamples: int, seed: int, threads: int = 1
) -> dict[str, Floats]:
    """Values (resamples,) of each metric in each resample of n samples, all metrics on the same resamples.

    Memory does not grow with `resamples`: blocks of them are counted, handed to every metric, and let go. The values
    do not depend on `threads`; without samples all are NaN.
    """
    if not n:
        return {name: np.full(resamples, np.nan) for name in statistics}

    def evaluate(counts: Counts) -> list[Floats]:
        return [statistic(counts) for statistic in statistics.values()]

    blocks: list[list[Floats]] = []
    running: deque[Future[list[Floats]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for counts in resample_counts(n, resamples, seed):
            running.append(pool.submit(evaluate, counts))
            if len(running) == threads:
                blocks.append(running.popleft().result())
        blocks += [future.result() for future in running]
    return {name: np.concatenate([np.empty(0), *(block[at] for block in blocks)]) for at, name in enumerate(statistics)}


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
