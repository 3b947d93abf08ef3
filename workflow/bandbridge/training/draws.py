"""Random draws that do not depend on how a batch is shared: each sample has those of its place in the whole batch."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """What the samples `begin` to `end` of a batch of `total` draw; on the CPU, alike on every device."""

    generator: Generator
    begin: int
    end: int
    total: int

    def __len__(self) -> int:
        return self.end - self.begin

    def rows(self, begin: int, end: int) -> "Draws":
        """The draws of the samples `begin` to `end` of these."""
        return Draws(self.generator, self.begin + begin, self.begin + end, self.total)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(n, *shape) float32 in [0, 1)."""
        return torch.rand((self.total, *shape), generator=self.generator)[self.begin : self.end]

    def integers(self, name: str, count: int) -> Tensor:
        """(n,) int64 in 0 .. count - 1."""
        return torch.randint(count, (self.total,), generator=self.generator)[self.begin : self.end]
