"""Samples of a sharded Zarr array, in any order, by TensorStore: whole, compared with their checksums, or an error."""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import ArrayLike, NDArray

from bandbridge.base.checksums import damaged
from bandbridge.base.errors import UserError
from bandbridge.store.zarr_files import METADATA, read_metadata, to_delete

_AGAIN = "preprocess the data set again"
# What TensorStore appends to a message: the whole specification of the array.
_SPECIFICATION = re.compile(r" \[(tensorstore_spec|transform|domain)=.*", re.DOTALL)


class ShardReader:
    """Reads samples of one array whose chunks are single samples; safe to use from several threads and after pickling.

    TensorStore's threads do not survive a fork: a process that reads must be started by 'spawn' or 'forkserver'.

    Attributes:
        shape: of the array, samples first.
        dtype: of the samples.

    Raises:
        UserError: no array in `directory`, or one whose samples are not chunks in shards.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        array, self._names = self._array, self._layout()
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype = array.dtype.numpy_dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[type["ShardReader"], tuple[Path]]:
        return ShardReader, (self.directory,)

    def read(self, indices: ArrayLike) -> NDArray[Any]:
        """The samples at `indices`, in that order; an index may occur several times.

        Returns:
            (n, ...) in the array's number type.

        Raises:
            IndexError: an index is outside 0 .. len(self) - 1.
            UserError: a file or a sample is missing or damaged; the message names it.
        """
        samples = np.asarray(indices, dtype=np.int64).reshape(-1)
        if samples.size and (samples.min() < 0 or samples.max() >= len(self)):
            raise IndexError(f"indices {samples.min()} to {samples.max()} of {len(self)} samples")
        # NumPy asks for huge pages; TensorStore's own arrays come in small ones, whose first touch costs a fault each.
        batch: NDArray[Any] = np.empty((len(samples), *self.shape[1:]), self.dtype)
        try:
            tensorstore.array(batch, copy=False).write(self._array[samples]).result()
        except ValueError as error:
            raise self._damage(samples) or error from error
        return batch

    def _damage(self, samples: NDArray[np.int64]) -> UserError | None:
        """The error for the first of some samples that cannot be read."""
        for index in np.unique(samples).tolist():
            try:
                self._array[index].read().result()
            except ValueError as error:
                path = self._shard(index)
                reason = _SPECIFICATION.sub("", str(error)).rpartition(f'"{path.resolve()}"')[2].strip(" :")
                return damaged(path, f"sample {index} (the first is 0): {reason}", *to_delete(path))
        return None

    def _shard(self, index: int) -> Path:
        per_shard, separator = self._names
        return self.directory / separator.join(["c", str(index // per_shard), *("0" for _ in self.shape[1:])])

    @cached_property
    def _array(self) -> tensorstore.TensorStore:
        specification = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.directory.resolve()}/"},
            # As many threads as a batch system allows, which may be fewer than the machine has.
            "context": {"data_copy_concurrency": {"limit": _cores()}},
            # Every sample was written: one that is missing is never the fill value.
            "fill_missing_data_reads": False,
        }
        path = self.directory / METADATA
        try:
            read_metadata(self.directory)  # compared with its checksum
            return tensorstore.open(specification, read=True, open=True).result()
        except FileNotFoundError as error:
            raise UserError(f"{path} does not exist; expected a Zarr array; {_AGAIN}") from error
        except ValueError as error:
            reason = _SPECIFICATION.sub("", str(error))
            raise UserError(f"{path} is not the description of a sharded Zarr array ({reason}); {_AGAIN}") from error

    def _layout(self) -> tuple[int, str]:
        """How many samples a shard has, and what separates the numbers in its name."""
        metadata, shape = self._array.spec().to_json()["metadata"], self._array.shape
        sample, chunk = [1, *shape[1:]], list(self._array.chunk_layout.read_chunk.shape or ())
        shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        if chunk != sample or shard[1:] != sample[1:] or metadata["codecs"][0]["name"] != "sharding_indexed":
            raise UserError(
                f"{self.directory / METADATA}: chunks are {chunk} in shards of {shard}; this program reads chunks of "
                f"{sample} in shards of whole samples; {_AGAIN}"
            )
        return shard[0], metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/")


def _cores() -> int:
    return min(32, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
