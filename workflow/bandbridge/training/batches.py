"""A split's samples as batches on the device, the next one read while one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A split of up to this many bytes is read once and kept in memory; a larger one is read anew in every epoch.
KEPT_BYTES = 2 * 1024**3

Batch = tuple[Tensor, Tensor]


class Split(Protocol):
    """What training needs of a store's split: `labels` (n, class) of 0 and 1, and pixels by index."""

    @property
    def labels(self) -> NDArray[np.uint8]: ...
    def __len__(self) -> int: ...
    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]: ...


class Batches:
    """Batches of `size` samples, as (pixels as stored, labels).

    The last batch of an epoch is smaller where the samples do not divide evenly; a last batch of a single sample,
    which no batch statistic survives, is left out.
    """

    def __init__(self, split: Split, size: int, device: torch.device) -> None:
        self.samples = len(split)
        self._split = split
        self._size = size
        self._device = device
        sample_bytes = split.read(np.arange(1)).nbytes
        self._kept = split.read(np.arange(len(split))) if sample_bytes * len(split) <= KEPT_BYTES else None

    def __len__(self) -> int:
        full, rest = divmod(self.samples, self._size)
        return max(1, full + (rest > 1))

    def read(self, order: NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """The batches of one pass in `order`, a permutation; without one, every sample in its place, none left out."""
        parts = self._parts(np.arange(self.samples)) if order is None else self._parts(order)[: len(self)]
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self._host_batch, parts[0])
            for part in parts[1:]:
                batch, coming = coming, reader.submit(self._host_batch, part)
                yield self._to_device(batch.result())
            yield self._to_device(coming.result())

    def _parts(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [order[at : at + self._size] for at in range(0, len(order), self._size)]

    def _host_batch(self, indices: NDArray[np.int64]) -> Batch:
        pixels = self._split.read(indices) if self._kept is None else self._kept[indices]
        batch = torch.from_numpy(pixels), torch.from_numpy(self._split.labels[indices])
        return (batch[0].pin_memory(), batch[1].pin_memory()) if self._device.type == "cuda" else batch

    def _to_device(self, batch: Batch) -> Batch:
        return batch[0].to(self._device, non_blocking=True), batch[1].to(self._device, non_blocking=True)
