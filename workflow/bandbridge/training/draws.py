"""Random numbers that follow from (seed, epoch, sample) alone, so that there is no state to keep or to share.

Each sample has a key, and each use a name; both together are the seed of a SplitMix64 generator (Steele, Lea and Flood
2014, figure 17), whose n-th number is a hash of n. All numbers of a batch come from a few operations on arrays. torch's
stateless generators (`torch.func._random`) are experimental, and their numbers may change with a version.
"""

from binascii import crc32
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Bits = NDArray[np.uint64]

# SplitMix64's own numbers; the first is 2^64 over the golden ratio.
STEP = np.uint64(0x9E3779B97F4A7C15)
SHIFTS = np.array([30, 27, 31], np.uint64)
FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


@dataclass(frozen=True, eq=False)
class Draws:
    """What the samples of a batch draw; on the CPU, alike on every device.

    Attributes:
        keys: (n,) of each sample in an epoch.
    """

    keys: Bits

    @classmethod
    def of(cls, seed: int, epoch: int, samples: ArrayLike) -> "Draws":
        """The draws of samples, by their numbers in their split, in an epoch."""
        return cls(_key(seed, epoch, last=samples))

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, begin: int, end: int) -> "Draws":
        """The draws of the samples `begin` to `end` of these."""
        return Draws(self.keys[begin:end])

    def apart(self, name: str) -> "Draws":
        """Other draws of the same samples, independent of these and of those of another name."""
        return Draws(_hash(self.keys ^ _hash(np.array([crc32(f"apart: {name}".encode())], np.uint64))))

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(n, *shape) float32 in [0, 1), multiples of 2^-24; the same numbers for the same name."""
        values = (self._bits(name, prod(shape)) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return torch.from_numpy(values).view(len(self), *shape)

    def integers(self, name: str, count: int) -> Tensor:
        """(n,) int64 in 0 .. count - 1."""
        high = self._bits(name, 1)[:, 0] >> np.uint64(32)
        return torch.from_numpy((high * np.uint64(count) >> np.uint64(32)).astype(np.int64))

    def _bits(self, name: str, count: int) -> Bits:
        """(n, count) numbers of 64 bits."""
        seeds = _hash(self.keys ^ _of_name(name))
        return _hash(seeds[:, None] + _counters(count))


def seed_dropout(device: torch.device, seed: int, step: int, rank: int, part: int) -> None:
    """Seed torch's own generators, of dropout and drop path, for a micro-batch of a process."""
    number = int(_key(seed, step, rank, last=[part])[0])
    # Not torch.manual_seed, which takes half a millisecond where there is no GPU.
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _key(*numbers: int, last: ArrayLike) -> Bits:
    """(n,) one number for several whole numbers, of which the last has n values."""
    key = np.zeros(1, np.uint64)
    for number in (*(number % 2**64 for number in numbers), last):
        key = _hash((key ^ np.asarray(number, np.uint64)) + STEP)
    return key


@cache
def _of_name(name: str) -> Bits:
    return _hash(np.array([crc32(name.encode())], np.uint64))


@cache
def _counters(count: int) -> Bits:
    return STEP * np.arange(1, count + 1, dtype=np.uint64)


def _hash(values: Bits) -> Bits:
    """SplitMix64's finaliser: every bit of the result depends on every bit of a value."""
    values = values ^ (values >> SHIFTS[0])
    values *= FACTORS[0]
    values ^= values >> SHIFTS[1]
    values *= FACTORS[1]
    values ^= values >> SHIFTS[2]
    return values
