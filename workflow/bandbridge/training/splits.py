"""Splits that carry more than a store's: the student's own pixels beside the teacher's, the teacher's embeddings."""

from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.store.dataset import Store
from bandbridge.training.batches import Split


class PairedStore:
    """Two modalities of the same samples, such as Sentinel-2 for the teacher's pictures and Sentinel-1 for the student.

    Their grids and number types may differ, and a batch is one tensor: a sample travels as its bytes in `first`, then
    those in `second`, which `unpack` takes apart again.

    Raises:
        ValueError: the stores differ in their labels' nomenclature, so that their rows are not the same samples.
    """

    def __init__(self, first: Store, second: Store) -> None:
        if first.classes != second.classes:
            raise ValueError(f"paired stores have different classes: {first.classes} and {second.classes}")
        self.first, self.second = first, second

    def split(self, name: str) -> "PairedSplit":
        """The samples of a split of both."""
        return PairedSplit(self.first.split(name), self.second.split(name))

    def unpack(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, byte) of a `PairedSplit` -> the pixels of `first` and of `second`, as either store reads them."""
        parts, begin = [], 0
        for dtype, shape in self._layouts:
            end = begin + dtype.itemsize * prod(shape)
            # A copy, because numbers of several bytes have to begin at a multiple of their size.
            part = pixels[:, begin:end].clone(memory_format=torch.contiguous_format)
            parts.append(part.view(dtype).view(len(pixels), *shape))
            begin = end
        return parts[0], parts[1]

    @cached_property
    def _layouts(self) -> list[tuple[torch.dtype, tuple[int, ...]]]:
        """Number type and shape of one sample of each."""
        samples = [torch.from_numpy(store.split("train").read(np.arange(1))) for store in (self.first, self.second)]
        return [(sample.dtype, tuple(sample.shape[1:])) for sample in samples]


class PairedSplit:
    """A split of a `PairedStore`; `labels` and `ids` are the first store's."""

    def __init__(self, first: Split, second: Split) -> None:
        if len(first) != len(second):
            raise ValueError(f"paired splits have {len(first)} and {len(second)} samples")
        self._splits = (first, second)
        self.labels: NDArray[np.uint8] = first.labels
        self.ids: NDArray[Any] = getattr(first, "ids", np.arange(len(first)))

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, byte)."""
        parts = (np.ascontiguousarray(split.read(indices)) for split in self._splits)
        return np.concatenate([part.reshape(len(indices), -1).view(np.uint8) for part in parts], axis=1)


class TaughtSplit:
    """A split whose labels (n, class + dim) float32 go on with the teacher's embedding of each sample.

    Args:
        embeddings: (n, dim) float32, kept in memory.
    """

    def __init__(self, split: Split, embeddings: NDArray[np.float32]) -> None:
        self._split = split
        self.labels: NDArray[Any] = np.concatenate([split.labels, embeddings], axis=1, dtype=np.float32)
        self.ids: NDArray[Any] = getattr(split, "ids", np.arange(len(split)))

    def __len__(self) -> int:
        return len(self._split)

    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        return self._split.read(indices)
