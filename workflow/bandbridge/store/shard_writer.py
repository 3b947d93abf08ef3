"""Shard files of Zarr version 3, written chunk by chunk as samples come, in whatever order they come.

A shard is its chunks, one after another, and an index of where each begins and how long it is (Zarr v3, sharding
codec, index at the end). Each chunk, and the index, ends in its CRC-32C (codec `crc32c`). The chunks may stand in any
order, so that a sample can be appended the moment it is decoded; a finished shard has them in the order of the index,
so that equal samples make equal files.
"""

import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numcodecs.blosc  # type: ignore[import-untyped]
import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from bandbridge.base.checksums import crc32c, damaged
from bandbridge.base.files import whole_file

# Level 1 with bit shuffling: Sentinel-2 samples become about as small as at level 3, in half the time. In blocks as
# large as a sample, up to what caches hold: they decode half as fast again as in those that Blosc would choose.
LEVEL = 1
BLOCK = 2**19
HASH_BYTES = 16
CRC_BYTES = 4
_ABSENT = 2**64 - 1
_MOST_OPEN_FILES = 200


def encode(pixels: NDArray) -> bytes:
    """A sample as a chunk: little-endian, bit-shuffled, Zstandard, in Blosc's frame."""
    numcodecs.blosc.use_threads = False  # jobs are many and small; each keeps to its core
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return bytes(Blosc(cname="zstd", clevel=LEVEL, shuffle=Blosc.BITSHUFFLE, blocksize=BLOCK).encode(little))


def with_crc(content: bytes) -> bytes:
    """What Zarr's codec `crc32c` makes of a chunk or an index: its CRC-32C, little-endian, at its end."""
    return content + crc32c(content).to_bytes(CRC_BYTES, "little")


def chunk_hash(chunk: bytes) -> bytes:
    """Of a chunk without its CRC-32C."""
    return hashlib.blake2b(chunk, digest_size=HASH_BYTES).digest()


class Appender:
    """Appends chunks to the files of a directory; few of the files are open at any time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()

    def append(self, name: str, chunk: bytes) -> int:
        """Write a chunk to the end of a file, through to the operating system; returns where it begins."""
        file = self._open.pop(name, None)
        if file is None:
            if len(self._open) == _MOST_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            file = (self._directory / name).open("ab", buffering=0)
        self._open[name] = file
        start = file.seek(0, os.SEEK_END)
        written = file.write(chunk)
        if written != len(chunk):  # a disk that is full may take a part
            raise OSError(errno.ENOSPC, f"only {written:,} of {len(chunk):,} bytes could be written", file.name)
        return start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            file.close()


class ChunkFiles:
    """Reads chunks out of shard files, one file open at a time."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    def read(self, path: Path, start: int, length: int, expected_hash: bytes, has_crc: bool = True) -> bytes | None:
        """A chunk without its CRC-32C; None where it has another hash than when it was written.

        Args:
            has_crc: chunks that were written before there were checksums have none.
        """
        if path != self._path or self._file is None:
            self.close()
            self._path, self._file = path, path.open("rb")
        self._file.seek(start)
        chunk = self._file.read(length - CRC_BYTES * has_crc)
        return chunk if chunk_hash(chunk) == expected_hash else None

    def require(self, path: Path, start: int, length: int, expected_hash: bytes, has_crc: bool = True) -> bytes:
        """The same; a `UserError` where `read` gives None."""
        chunk = self.read(path, start, length, expected_hash, has_crc)
        if chunk is None:
            raise damaged(path, f"bytes {start:,} to {start + length:,} are not what was written", path.parent)
        return chunk

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_shard(path: Path, chunks: Iterable[bytes | None]) -> NDArray[np.uint64]:
    """Write a shard whole or not at all; returns (chunk, 2), where each begins and how long it is.

    Args:
        chunks: without their CRC-32C, in their order, as many as the shard has places; None leaves a place empty.
    """
    places = []
    with whole_file(path) as part, part.open("wb") as file:
        for chunk in chunks:
            stored = b"" if chunk is None else with_crc(chunk)
            places.append((_ABSENT, _ABSENT) if chunk is None else (file.tell(), len(stored)))
            file.write(stored)
        index = np.array(places, "<u8").reshape(-1, 2)
        file.write(with_crc(index.tobytes()))
    return index.astype(np.uint64)


def read_index(path: Path, places: int) -> NDArray[np.uint64]:
    """The index of a shard with so many places: (chunk, 2), as `write_shard` returned it.

    Raises:
        UserError: it is not what was written.
    """
    length = 16 * places
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length - CRC_BYTES))
        content = file.read()
    if len(content) != length + CRC_BYTES or with_crc(content[:length]) != content:
        raise damaged(path, f"the index of its {places:,} samples does not match its checksum", path.parent)
    return np.frombuffer(content, "<u8", 2 * places).reshape(-1, 2).astype(np.uint64)
