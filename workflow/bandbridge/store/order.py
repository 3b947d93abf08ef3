"""The order of an epoch and its batches.

Everything follows from the number of samples, the seed, the epoch and the batch size. The number of processes decides
which of them reads a sample (`training.batches.shares`), not the batch that the sample is in.
"""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def epoch_order(n: int, seed: int, epoch: int) -> Indices:
    """A permutation of 0 .. n - 1 for an epoch, the same on every machine.

    Args:
        n: number of samples.
        seed: not negative.
        epoch: not negative.
    """
    # NumPy guarantees a bit generator's raw numbers for all future versions, but not the results of `permutation`.
    draws = np.random.PCG64(np.random.SeedSequence((seed, epoch))).random_raw(n)
    return np.argsort(np.asarray(draws, np.uint64), kind="stable").astype(np.int64, copy=False)


def batch_count(n: int, size: int) -> int:
    """The number of batches that `batches` makes of an epoch."""
    return -(-n // size)


def batches(order: Indices, size: int, start: int = 0) -> list[Indices]:
    """The batches of an epoch, over all processes.

    A batch holds the next `size` samples of `order`. If less than half a batch would remain for the
    last one, the last two share the remaining samples (11 samples in batches of 5 give 5, 3, 3). So no sample is left
    out, no batch is larger than `size`, and none is smaller than half of it unless it is the only one. Batches depend
    only on the remaining samples: from a `start` at the end of a batch, they are the epoch's remaining ones.

    Args:
        order: the samples of the epoch, as from `epoch_order`.
        size: samples per batch.
        start: samples of the epoch already done.

    Raises:
        ValueError: an argument is out of its range.
    """
    if size < 1 or not 0 <= start <= len(order):
        raise ValueError(f"size {size}, start {start} of {len(order)} samples")
    ends = _ends(len(order), size, start)
    return [order[begin:end] for begin, end in zip([start, *ends], ends, strict=False)]


def _ends(n: int, size: int, start: int) -> list[int]:
    ends = []
    while start < n:
        left = n - start
        if left <= size:
            start = n
        elif 2 * left < 3 * size:
            start += -(-left // 2)
        else:
            start += size
        ends.append(start)
    return ends
