"""Samples of a sharded Zarr array, in any order: each is read from its position and decoded into its row.

It reads Zarr version 3 arrays whose chunks are single samples, compressed by Blosc and usually followed by their
CRC-32C, in shards with their index at the end (the layout of BandBridge's stores). Any other layout is refused. All
content is compared with its checksum first.
"""

import os
import struct
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numcodecs.blosc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.base.checksums import crc32c, damaged
from bandbridge.base.errors import UserError
from bandbridge.store.zarr_files import read_metadata, to_delete

# Shard files kept open; those of an array with more are opened for each read.
MOST_OPEN = 256
# A thread's task has at most this many samples and at least this many bytes: decoding a small sample takes no longer
# than handing it to a thread.
TASK_SAMPLES = 32
TASK_BYTES = 256 * 1024

# Memory of released batches is reused: of this many batches, of at least this many bytes each.
MOST_REUSED = 8
LEAST_REUSED = 1024**2

_DTYPES = ("bool", *(f"{kind}{8 * size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)), "float32", "float64")
_EMPTY = 2**64 - 1
_CRC_BYTES = 4
# The CRC-32C of any bytes followed by their CRC-32C: so the chunk need not be split, which would copy it.
_RESIDUE = 0x48674BC7
_BLOSC_HEADER = 16
_AGAIN = "preprocess the data set again"

# Blosc's own threads wait for each other and do not survive a fork; zarr-python switches them off as well.
numcodecs.blosc.use_threads = False


class ShardReader:
    """Reads samples of one array; safe to use from several threads, after a fork, and after pickling.

    Attributes:
        shape: of the array, samples first.
        dtype: of the samples.

    Raises:
        UserError: no array in `directory`, or one of another layout.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        layout = _Layout(self.directory / "zarr.json")
        self.shape, self.dtype = layout.shape, layout.dtype
        self._layout = layout
        self._sample_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._open: dict[int, _Shard] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[type["ShardReader"], tuple[Path]]:
        return ShardReader, (self.directory,)

    def read(self, indices: ArrayLike) -> NDArray[Any]:
        """The samples at `indices`, in that order; an index may occur several times.

        Returns:
            (n, ...) in the array's number type. A sample that was never written is the array's fill value in an array
            without checksums, and an error in one with them.

        Raises:
            IndexError: an index is outside 0 .. len(self) - 1.
            UserError: a file is missing or damaged; the message names it and the sample.
        """
        samples = np.asarray(indices, dtype=np.int64).reshape(-1)
        if samples.size and (samples.min() < 0 or samples.max() >= len(self)):
            raise IndexError(f"indices {samples.min()} to {samples.max()} of {len(self)} samples")
        memory = _blocks().take(len(samples) * self._sample_bytes)
        out: NDArray[Any] = memory.view(self.dtype).reshape(-1, *self.shape[1:])
        # In the order of the files, which suits disks and file systems.
        rows = np.argsort(samples, kind="stable")
        shards = {number: self._shard(number) for number in np.unique(samples // self._layout.per_shard).tolist()}

        def decode(part: NDArray[np.int64]) -> None:
            for row, index in zip(part.tolist(), samples[part].tolist(), strict=True):
                number, place = divmod(index, self._layout.per_shard)
                self._decode(shards[number], place, index, out[row : row + 1])

        size = _task_size(len(samples), self._sample_bytes, available_cores())
        tasks = [rows[start : start + size] for start in range(0, len(rows), size)]
        if len(tasks) == 1:
            decode(tasks[0])
        else:
            for _ in _pool().map(decode, tasks):
                pass
        return out

    def _shard(self, number: int) -> "_Shard":
        # Without a lock, which a fork could copy while held: at worst a file is opened twice.
        shard = self._open.get(number)
        if shard is None:
            shard = _Shard(self.directory / self._layout.key(number), self._layout.per_shard)
            if len(self._open) < MOST_OPEN:
                self._open[number] = shard
        return shard

    def _decode(self, shard: "_Shard", place: int, index: int, out: NDArray[Any]) -> None:
        content = shard.chunk(place, index)
        if content is None:
            if self._layout.has_crc:
                raise _damaged(shard.path, index, "it is missing")
            out[...] = self._layout.fill_value
            return
        chunk = memoryview(content)
        if self._layout.has_crc:
            if crc32c(content) != _RESIDUE:
                raise _damaged(shard.path, index, "it does not match its checksum")
            chunk = chunk[:-_CRC_BYTES]
        # Blosc trusts its header: only one that fits chunk and sample may reach it.
        stated = struct.unpack_from("<4xI4xI", chunk) if len(chunk) >= _BLOSC_HEADER else None
        if stated != (self._sample_bytes, len(chunk)):
            raise _damaged(shard.path, index, "its header does not fit its size")
        try:
            numcodecs.blosc.decompress(chunk, out)
        except (RuntimeError, ValueError) as error:
            raise _damaged(shard.path, index, "it cannot be decompressed") from error


def available_cores() -> int:
    """Processors this process may use, at most 32; a batch system may allow fewer than the machine has."""
    return min(32, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _task_size(samples: int, sample_bytes: int, threads: int) -> int:
    """Samples per task: enough tasks for the threads to finish together, none too small."""
    even = min(TASK_SAMPLES, -(-samples // (4 * threads)))
    return max(1, even, -(-TASK_BYTES // max(1, sample_bytes)))


@cache
def _pool() -> ThreadPoolExecutor:
    """One pool for all readers of a process."""
    return ThreadPoolExecutor(max_workers=available_cores(), thread_name_prefix="shard-reader")


class _Lease:
    """Memory of one batch, as NumPy takes it: every array and tensor in it refers to this object and keeps it alive."""

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self._block = block
        self.__array_interface__ = block.__array_interface__


class _Blocks:
    """Memory for batches, reused after the last array in it is released.

    Fresh memory costs about as much as decoding into it: the system hands it out, zeroed, page by page. A block returns
    when its lease is finalised; reference counts are no criterion, since their meaning differs between Python versions.
    """

    def __init__(self) -> None:
        self._free: deque[NDArray[np.uint8]] = deque(maxlen=MOST_REUSED)

    def take(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes with arbitrary content."""
        if size < LEAST_REUSED:
            return np.empty(size, np.uint8)
        lease = _Lease(self._block(size))
        weakref.finalize(lease, self._free.append, lease._block).atexit = False
        return np.asarray(lease)[:size]

    def _block(self, size: int) -> NDArray[np.uint8]:
        for _ in range(len(self._free)):
            # Other threads may have taken the rest meanwhile.
            with suppress(IndexError):
                block = self._free.popleft()
                if size <= block.nbytes <= 2 * size:
                    return block
                self._free.append(block)
        return np.empty(size, np.uint8)


@cache
def _blocks() -> _Blocks:
    return _Blocks()


def _reset_after_fork() -> None:
    _pool.cache_clear()
    _blocks.cache_clear()


if hasattr(os, "register_at_fork"):
    # A forked process has no threads of its parent, and a copied lock may be held: it creates its own.
    os.register_at_fork(after_in_child=_reset_after_fork)


# --- files ---------------------------------------------------------------------------------------------------------


class _Shard:
    """An open shard file and its index; closed with the last reference to it."""

    def __init__(self, path: Path, places: int) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise damaged(path, "it is missing", *to_delete(path)) from error
            raise UserError(f"{path} cannot be opened ({error.strerror}).") from error
        weakref.finalize(self, os.close, self._descriptor)
        size = os.fstat(self._descriptor).st_size
        length = 16 * places
        self._end = size - length - _CRC_BYTES
        index = self._bytes(self._end, length + _CRC_BYTES) if self._end >= 0 else b""
        stated = int.from_bytes(index[length:], "little")
        if len(index) != length + _CRC_BYTES or crc32c(index[:length]) != stated:
            raise damaged(path, f"the index of its {places:,} samples does not match its checksum", *to_delete(path))
        self._places: NDArray[np.uint64] = np.frombuffer(index, "<u8", 2 * places).reshape(-1, 2)

    def chunk(self, place: int, index: int) -> bytes | None:
        """The compressed sample at a position of this file, `index` in the array; None if it was never written."""
        start, length = self._places[place].tolist()
        if start == length == _EMPTY:
            return None
        if start + length > self._end:
            raise _damaged(self.path, index, f"it would end at byte {start + length:,} of {self._end:,}")
        chunk = self._bytes(start, length)
        if len(chunk) != length:  # the file was cut after it was opened
            raise _damaged(self.path, index, f"only {len(chunk):,} of its {length:,} bytes exist")
        return chunk

    def _bytes(self, start: int, length: int) -> bytes:
        """`length` bytes, fewer only at the end of the file; one call reads 2 GiB at most."""
        # Not a memory map: the system kills a process that reads beyond the end of a truncated file.
        try:
            return os.pread(self._descriptor, length, start)
        except OSError as error:
            raise damaged(self.path, f"it cannot be read ({error.strerror})", *to_delete(self.path)) from error


def _damaged(path: Path, index: int, why: str) -> UserError:
    return damaged(path, f"sample {index} (the first is 0): {why}", *to_delete(path))


# --- zarr.json -----------------------------------------------------------------------------------------------------


class _Layout:
    """The layout of an array by its `zarr.json`, refused if this module cannot read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            stated = read_metadata(path.parent)
        except FileNotFoundError as error:
            raise UserError(f"{path} does not exist; expected a Zarr array; {_AGAIN}") from error
        try:
            self._parse(stated)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"{path} is not the description of a sharded Zarr array ({error!r}); {_AGAIN}") from error

    def _parse(self, stated: dict[str, Any]) -> None:
        self._expect("zarr_format", stated["zarr_format"], 3)
        self._expect("node_type", stated["node_type"], "array")
        self._expect("storage_transformers", stated.get("storage_transformers", []), [])
        if stated["data_type"] not in _DTYPES:
            self._refuse("data_type", stated["data_type"], f"one of {', '.join(_DTYPES)}")
        self.shape: tuple[int, ...] = tuple(int(length) for length in stated["shape"])
        self.dtype = np.dtype(stated["data_type"]).newbyteorder("<")
        self.fill_value = self.dtype.type(stated["fill_value"])
        self._expect("chunk_grid", stated["chunk_grid"]["name"], "regular")
        self.per_shard, *rest = stated["chunk_grid"]["configuration"]["chunk_shape"]
        self._expect("shape of a shard's samples", rest, list(self.shape[1:]))
        if type(self.per_shard) is not int or self.per_shard < 1:
            self._refuse("number of samples in a shard", self.per_shard, "a positive integer")
        self._parse_key(stated["chunk_key_encoding"])
        self._expect("codecs", _names(stated["codecs"]), ["sharding_indexed"])
        self._parse_sharding(stated["codecs"][0]["configuration"])

    def _parse_key(self, stated: dict[str, Any]) -> None:
        self._expect("chunk_key_encoding", stated["name"], "default")
        self._separator = stated.get("configuration", {}).get("separator", "/")
        if self._separator not in ("/", "."):
            self._refuse("separator", self._separator, "'/' or '.'")

    def _parse_sharding(self, stated: dict[str, Any]) -> None:
        self._expect("chunk_shape", stated["chunk_shape"], [1, *self.shape[1:]])
        self._expect("index_location", stated.get("index_location", "end"), "end")
        names = _names(stated["codecs"])
        self.has_crc = names[2:] == ["crc32c"]
        self._expect("codecs of a chunk", names, ["bytes", "blosc", "crc32c"] if self.has_crc else ["bytes", "blosc"])
        self._expect("codecs of the index", _names(stated["index_codecs"]), ["bytes", "crc32c"])
        for codecs in (stated["codecs"], stated["index_codecs"]):
            # Numbers of one byte have no order of bytes.
            self._expect("endian", codecs[0].get("configuration", {}).get("endian", "little"), "little")

    def key(self, shard: int) -> str:
        """The path of a shard below the array's directory."""
        name: str = self._separator.join(["c", str(shard), *("0" for _ in self.shape[1:])])
        return name

    def _expect(self, key: str, value: object, expected: object) -> None:
        if value != expected:
            self._refuse(key, value, repr(expected))

    def _refuse(self, key: str, value: object, expected: str) -> None:
        raise UserError(f"{self._path}: {key} is {value!r}, this program reads {expected}; {_AGAIN}")


def _names(codecs: list[dict[str, Any]]) -> list[str]:
    return [codec["name"] for codec in codecs]
