"""A split's samples as batches on the device, the next ones read while one is used."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.store.order import Indices, batch_count, batches
from bandbridge.store.prefetch import PREFETCH, read_ahead

# A split of up to this many bytes is read once and kept in memory; a larger one is read anew in every epoch.
KEPT_BYTES = 2 * 1024**3

Batch = tuple[Tensor, Tensor]


class Split(Protocol):
    """What training needs of a store's split: `labels` (n, class) of 0 and 1, and pixels by index.

    Where it has `ids` as well, messages name samples by them.
    """

    @property
    def labels(self) -> NDArray[np.uint8]: ...
    def __len__(self) -> int: ...
    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]: ...


class Batches:
    """Batches of `size` samples over all ranks, as (pixels as stored, labels), cut as `bandbridge.store.order` says.

    Args:
        rank, world: this process and how many there are; it gets its share of each batch.
        prefetch: batches in memory besides the one in use.

    Attributes:
        shared: whether this process has its share of the samples and not all.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        prefetch: int = PREFETCH,
    ) -> None:
        self.samples = len(split)
        self.shared = world > 1
        self._split = split
        self._size = size
        self._device = device
        self._rank, self._world = rank, world
        self._prefetch = prefetch
        sample_bytes = split.read(np.arange(1)).nbytes
        self._kept = split.read(np.arange(len(split))) if sample_bytes * len(split) <= KEPT_BYTES else None

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return batch_count(self.samples, self._size)

    def sizes(self, start: int = 0) -> list[int]:
        """How many samples each batch of a pass has over all ranks, as `read` cuts them from `start` on."""
        return [len(batch) for batch in batches(np.arange(self.samples), self._size, start=start)]

    def names(self, order: Indices, number: int, most: int = 32) -> str:
        """Which samples a batch of the pass in `order` has over all ranks, for messages."""
        return self._named(batches(order, self._size)[number], most)

    def read(self, order: Indices | None = None, start: int = 0) -> Iterator[Batch]:
        """The batches of one pass in `order`, a permutation, or with every sample in its place.

        Args:
            start: samples of the pass that are done; all ranks' together.

        Raises:
            UserError: samples cannot be read; the message names some of the batch.
        """
        order = np.arange(self.samples) if order is None else order
        parts = batches(order, self._size, self._rank, self._world, start)
        for pixels, labels in read_ahead(self._host_batch, parts, self._prefetch):
            yield pixels.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)

    def _host_batch(self, indices: Indices) -> Batch:
        try:
            pixels = self._split.read(indices) if self._kept is None else self._kept[indices]
        except UserError as error:
            raise UserError(f"{error}. The batch: {self._named(indices)}") from error
        except Exception as error:
            error.add_note(f"while reading the batch: {self._named(indices)}")
            raise
        batch = torch.from_numpy(pixels), torch.from_numpy(self._split.labels[indices])
        return (batch[0].pin_memory(), batch[1].pin_memory()) if self._device.type == "cuda" else batch

    def _named(self, indices: Indices, most: int = 5) -> str:
        names = getattr(self._split, "ids", np.arange(self.samples))[indices[:most]]
        more = f" and {len(indices) - most} more" if len(indices) > most else ""
        return f"samples {', '.join(map(str, names))}{more}"
