"""Batches of named tensors on the device, the next ones read while one is used."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.store.order import Indices, batch_count, batches
from bandbridge.store.prefetch import PREFETCH, read_ahead
from bandbridge.training.draws import Draws

# Pixels of up to this many bytes are read once and kept in memory; more are read again in every epoch.
KEPT_BYTES = 2 * 1024**3


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples as a stage takes them; the first axis of every tensor is the sample.

    Attributes:
        pixels: modality -> (n, band, y, x), or (n, y, x, 3) of RGB images, as stored. Where a batch mixes tasks: data
            set -> the pixels of its own samples alone, in their order.
        labels: (n, class), 0 or 1; of a task with fewer classes than another one, the first columns.
        size: samples of the whole optimiser step, over all processes and micro-batches.
        task: (n,) number of each sample's data set among `pixels`, on the CPU; None where there is one task.
        teacher: (n, dim) float32, the teacher's embedding of each sample; None where the stage computes it.
        draws: what the random changes to the samples are drawn from; None for no changes, as in validation.
    """

    pixels: dict[str, Tensor]
    labels: Tensor
    size: int
    task: Tensor | None = None
    teacher: Tensor | None = None
    draws: Draws | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_shared(self) -> bool:
        """Whether the rest of the step is in other processes or other micro-batches."""
        return len(self) < self.size

    def rows(self, begin: int, end: int) -> "Batch":
        """The samples `begin` to `end` of this batch; `size` stays."""
        pixels = {
            name: values[slice(*self._of_task(number, begin, end))]
            for number, (name, values) in enumerate(self.pixels.items())
        }
        return replace(
            self,
            pixels=pixels,
            labels=self.labels[begin:end],
            task=None if self.task is None else self.task[begin:end],
            teacher=None if self.teacher is None else self.teacher[begin:end],
            draws=None if self.draws is None else self.draws.rows(begin, end),
        )

    def _of_task(self, number: int, begin: int, end: int) -> tuple[int, int]:
        """Which of a task's pixels belong to the samples `begin` to `end`."""
        if self.task is None:
            return begin, end
        before = int((self.task[:begin] == number).sum())
        return before, before + int((self.task[begin:end] == number).sum())

    def to(self, device: torch.device) -> "Batch":
        """The batch with pixels, labels and teacher on a device."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The batch in memory that a GPU can copy from while it computes."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            pixels={name: move(values) for name, values in self.pixels.items()},
            labels=move(self.labels),
            teacher=None if self.teacher is None else move(self.teacher),
        )


class Pixels(Protocol):
    """Pixels of a split's samples by index, as `store.dataset.Samples` has them."""

    def __len__(self) -> int: ...
    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class KeptPixels:
    """Pixels in memory."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """(n, ...) of the samples at `indices`, a copy."""
        copied: NDArray[Any] = self.values[indices]
        return copied


@dataclass(frozen=True, eq=False)
class Source:
    """What a training reads: the samples of a split, of one data set or of several tasks' one after another.

    Attributes:
        pixels: modality -> its pixels; of several tasks, data set -> its pixels.
        labels, task, teacher: of all samples, as in `Batch`.
        ids: (n,), by which messages name samples.
    """

    pixels: Mapping[str, Pixels]
    labels: NDArray[np.uint8]
    ids: NDArray[Any]
    task: NDArray[np.int64] | None = None
    teacher: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Indices, size: int | None = None) -> Batch:
        """The samples at `indices`, on the CPU, of a step of `size` samples (None: of these alone)."""
        task = None if self.task is None else self.task[indices]
        return Batch(
            pixels={
                name: torch.from_numpy(pixels.read(self._rows(number, indices, task)))
                for number, (name, pixels) in enumerate(self.pixels.items())
            },
            labels=torch.from_numpy(self.labels[indices]),
            size=len(indices) if size is None else size,
            task=None if task is None else torch.from_numpy(task),
            teacher=None if self.teacher is None else torch.from_numpy(self.teacher[indices]),
        )

    def _rows(self, number: int, indices: Indices, task: NDArray[np.int64] | None) -> Indices:
        """The samples of one task, as its own pixels count them."""
        if task is None or self.task is None:
            return indices
        rows: Indices = indices[task == number] - int(np.searchsorted(self.task, number))
        return rows

    def kept(self, most: int) -> "Source":
        """The source with its pixels in memory, if they take up to `most` bytes; otherwise as it is."""
        sizes = [pixels.read(np.arange(1)).nbytes * len(pixels) for pixels in self.pixels.values() if len(pixels)]
        if sum(sizes) > most:
            return self
        whole = {name: KeptPixels(pixels.read(np.arange(len(pixels)))) for name, pixels in self.pixels.items()}
        return replace(self, pixels=whole)


def shares(size: int, rank: int, world: int, parts: int) -> list[slice]:
    """A process's samples of each micro-batch of a step, as rows of the step's samples.

    A step of `size` samples is cut into `parts` micro-batches (fewer where they would have less than a sample per
    process), and each of these is shared by all processes. So a micro-batch holds the same samples however many
    processes there are, and all processes have as many.
    """
    parts = max(1, min(parts, size // world))
    ends = [size * part // parts for part in range(parts + 1)]
    return [
        slice(begin + (end - begin) * rank // world, begin + (end - begin) * (rank + 1) // world)
        for begin, end in pairwise(ends)
    ]


class Batches:
    """Batches of `size` samples over all ranks, cut as `bandbridge.store.order` says.

    Args:
        rank, world: this process and how many there are; it gets its share of each batch.
        parts: micro-batches of a batch; the share of a process is that of each micro-batch, see `shares`.
        prefetch: batches in memory besides the one in use.

    Attributes:
        shared: whether this process has its share of the samples and not all.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        prefetch: int = PREFETCH,
    ) -> None:
        self.samples = len(source)
        self.shared = world > 1
        self._source = source.kept(KEPT_BYTES)
        self._size = size
        self._device = device
        self._share = {"rank": rank, "world": world, "parts": parts}
        self._prefetch = prefetch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return batch_count(self.samples, self._size)

    def sizes(self) -> list[int]:
        """How many samples each batch of a pass has over all ranks, as `read` cuts them."""
        return [len(batch) for batch in batches(np.arange(self.samples), self._size)]

    def names(self, order: Indices, number: int, most: int = 32) -> str:
        """Which samples a batch of the pass in `order` has over all ranks, for messages."""
        return self._named(batches(order, self._size)[number], most)

    def read(
        self, order: Indices | None = None, start: int = 0, draws: Callable[[Indices], Draws] | None = None
    ) -> Generator[Batch, None, None]:
        """The batches of one pass in `order`, a permutation, or with every sample in its place.

        Args:
            start: samples of the pass that are done; all ranks' together.
            draws: what the samples at these indices draw; None for no draws.

        Raises:
            UserError: samples cannot be read; the message names some of the batch.
        """
        order = np.arange(self.samples) if order is None else order
        whole = batches(order, self._size, start=start)
        parts = [np.concatenate([step[rows] for rows in shares(len(step), **self._share)]) for step in whole]
        coming = read_ahead(self._host_batch, parts, self._prefetch)
        for batch, indices, step in zip(coming, parts, whole, strict=True):
            drawn = None if draws is None else draws(indices)
            yield replace(batch.to(self._device), size=len(step), draws=drawn)

    def _host_batch(self, indices: Indices) -> Batch:
        try:
            batch = self._source.read(indices)
        except UserError as error:
            raise UserError(f"{error}. The batch: {self._named(indices)}") from error
        except Exception as error:
            error.add_note(f"while reading the batch: {self._named(indices)}")
            raise
        return batch.pinned() if self._device.type == "cuda" else batch

    def _named(self, indices: Indices, most: int = 5) -> str:
        names = self._source.ids[indices[:most]]
        more = f" and {len(indices) - most} more" if len(indices) > most else ""
        return f"samples {', '.join(map(str, names))}{more}"
