"""Which samples come when: the order of an epoch, its batches, and how ranks and workers share them.

Everything follows from the number of samples, the seed, the epoch and the batch size. How many processes share the work
changes who reads a sample, not the batch that it is in.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Indices = NDArray[np.int64]


def epoch_order(n: int, seed: int, epoch: int) -> Indices:
    """A permutation of 0 .. n - 1 for an epoch, the same wherever it is drawn.

    Args:
        seed, epoch: not negative.
    """
    # NumPy promises the raw numbers of a bit generator for all versions to come, those of `permutation` it does not.
    draws = np.random.PCG64(np.random.SeedSequence((seed, epoch))).random_raw(n)
    return np.argsort(np.asarray(draws, np.uint64), kind="stable").astype(np.int64, copy=False)


def batch_count(n: int, size: int, start: int = 0) -> int:
    """How many batches `batches` makes of the samples from `start` on."""
    return -(-(n - start) // size)


def batches(order: Indices, size: int, rank: int = 0, world: int = 1, start: int = 0) -> list[Indices]:
    """A rank's share of each batch of an epoch, batch by batch.

    A batch holds the next `size` samples of `order`, all ranks together. Where less than half a batch would be left for
    the last one, the last two share what there is (of 11 samples in batches of 5 come 5, 3, 3). So no sample is left
    out, no batch is larger than `size`, and none is smaller than half of it unless it is the only one. Batches depend
    on what is left alone: those from `start` on are the epoch's remaining ones where `start` is the end of a batch.

    Args:
        order: the samples of the epoch, such as `epoch_order` gives.
        size: samples in a batch, over all ranks.
        rank, world: this process and how many there are. Every rank gets as many batches as the others, and of each
            batch as many samples, or one more or less.
        start: how many samples of the epoch are done.

    Raises:
        ValueError: a batch has fewer samples than there are ranks, or an argument is out of its range.
    """
    if size < 1 or not 0 <= rank < world or not 0 <= start <= len(order):
        raise ValueError(f"size {size}, rank {rank} of {world}, start {start} of {len(order)} samples")
    ends = _ends(len(order), size, start)
    found = [order[begin:end] for begin, end in zip([start, *ends], ends, strict=False)]
    smallest = min(map(len, found), default=world)
    if smallest < world:
        raise ValueError(
            f"{len(order) - start} samples in batches of {size} make one of {smallest}, too few for {world} ranks; "
            "use a larger batch size or fewer ranks"
        )
    return [batch[len(batch) * rank // world : len(batch) * (rank + 1) // world] for batch in found]


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


def worker_share(batches: Sequence[T], worker: int, workers: int) -> list[T]:
    """The batches that one of several workers reads; taken from each worker in turn they are in order again."""
    return list(batches[worker::workers])
