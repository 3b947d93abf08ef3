"""The order of an epoch, its batches, and how ranks share them.

Everything follows from the number of samples, the seed, the epoch and the batch size. The number of processes decides
which of them reads a sample, not the batch that the sample is in.
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


def batch_count(n: int, size: int, start: int = 0) -> int:
    """The number of batches that `batches` makes of the samples from `start` on."""
    return -(-(n - start) // size)


def batches(order: Indices, size: int, rank: int = 0, world: int = 1, start: int = 0) -> list[Indices]:
    """A rank's share of each batch of an epoch, batch by batch.

    A batch holds the next `size` samples of `order`, over all ranks. If less than half a batch would remain for the
    last one, the last two share the remaining samples (11 samples in batches of 5 give 5, 3, 3). So no sample is left
    out, no batch is larger than `size`, and none is smaller than half of it unless it is the only one. Batches depend
    only on the remaining samples: from a `start` at the end of a batch, they are the epoch's remaining ones.

    Args:
        order: the samples of the epoch, as from `epoch_order`.
        size: samples per batch, over all ranks.
        rank: of this process.
        world: number of processes. All ranks get the same number of batches, and their shares of a batch differ by one
            sample at most.
        start: samples of the epoch already done.

    Raises:
        ValueError: a batch has fewer samples than there are ranks, or an argument is out of its range.
    """
    if size < 1 or not 0 <= rank < world or not 0 <= start <= len(order):
        raise ValueError(f"size {size}, rank {rank} of {world}, start {start} of {len(order)} samples")
    ends = _ends(len(order), size, start)
    whole = [order[begin:end] for begin, end in zip([start, *ends], ends, strict=False)]
    smallest = min(map(len, whole), default=world)
    if smallest < world:
        raise ValueError(
            f"{len(order) - start} samples in batches of {size} make one of {smallest}, too few for {world} ranks; "
            "use a larger batch size or fewer ranks"
        )
    return [batch[len(batch) * rank // world : len(batch) * (rank + 1) // world] for batch in whole]


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
