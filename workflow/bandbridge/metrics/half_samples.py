"""Every metric on many random halves of the samples, all halves at once: how a score would vary from sample to sample.

A half drawn without replacement differs from the whole as the whole does from the population: its mean has the variance
s^2 (1 / (n / 2) - 1 / n) = s^2 / n around the whole's (McCarthy 1969; Politis, Romano and Wolf 1999, section 2). Unlike
a resample with replacement it holds no sample twice, and copies of a sample are what makes bootstrapped average
precisions too large.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bandbridge.metrics.resampled import Counts, Floats, Statistic

HALVES_AT_A_TIME = 128  # more need more memory, and fewer more time
COUNTS_AT_A_TIME = 2**25  # samples times halves, of two bytes


def half_samples(units: NDArray[np.integer], resamples: int, seed: int) -> Iterator[Counts]:
    """Random halves of the samples, in complementary pairs.

    Pair j splits `default_rng(seed)`'s permutation j of the g units: the first g // 2 are one half, the rest the other.
    The samples of a unit stay together. Equal units, `resamples` and seed give equal halves, so that two encoders are
    scored on the same ones.

    Args:
        units: (n,) the unit of each sample, 0 .. g - 1: one per sample, or one shared with its neighbours.
        resamples: number of halves.
        seed: of the permutations.

    Yields:
        Blocks (n, r), 1 where the sample is in the half of that column; r sums to `resamples`.
    """
    n, number = len(units), int(units.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    # An even number, so that no pair is cut.
    block = 2 * max(1, min(HALVES_AT_A_TIME, COUNTS_AT_A_TIME // max(n, 1)) // 2)
    for start in range(0, resamples, block):
        width = min(block, resamples - start)
        counts = np.empty((n, width), np.int16)
        for column in range(0, width, 2):
            first = np.zeros(number, np.int16)
            first[generator.permutation(number)[: number // 2]] = 1
            counts[:, column] = first[units]
            if column + 1 < width:
                counts[:, column + 1] = 1 - counts[:, column]
        yield counts


def on_half_samples(
    statistics: Mapping[str, Statistic], units: NDArray[np.integer], resamples: int, seed: int, threads: int = 1
) -> dict[str, Floats]:
    """Values of each metric on random halves of the samples, all metrics on the same halves.

    Memory does not grow with `resamples`: halves are drawn, scored and dropped a block at a time. The values do not
    depend on `threads`.

    Args:
        statistics: name -> metric.
        units: (n,) the unit of each sample, as for `half_samples`.
        resamples: number of halves.
        seed: of the halves.
        threads: blocks scored at the same time.

    Returns:
        Name -> (resamples,) values; all NaN with fewer than two units.
    """
    if units.max(initial=-1) < 1:
        return {name: np.full(resamples, np.nan) for name in statistics}

    def evaluate(counts: Counts) -> list[Floats]:
        return [statistic(counts) for statistic in statistics.values()]

    blocks: list[list[Floats]] = []
    running: deque[Future[list[Floats]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for counts in half_samples(units, resamples, seed):
            running.append(pool.submit(evaluate, counts))
            if len(running) == threads:
                blocks.append(running.popleft().result())
        blocks += [future.result() for future in running]
    return {name: np.concatenate([np.empty(0), *(block[at] for block in blocks)]) for at, name in enumerate(statistics)}
