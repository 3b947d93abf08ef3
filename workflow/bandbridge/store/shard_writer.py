"""Shard files of Zarr version 3, written chunk by chunk as samples arrive, in any order.

A shard is its chunks, one after another, and an index of where each begins and how long it is (Zarr v3, sharding
codec, index at the end). Each chunk, and the index, ends in its CRC-32C (codec `crc32c`). The chunks may be in any
order, so that a sample can be appended as soon as it is decoded; a finished shard has them in the order of the index,
so that equal samples give equal files.
"""

import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

import numcodecs.blosc  # type: ignore[import-untyped]
import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from bandbridge.base.checksums import crc32c, damaged
from bandbridge.base.files import whole_file

# Level 1 with bit shuffling: Sentinel-2 samples become about as small as at level 3, in half the time. Blocks are as
# large as a sample, up to what caches hold: they decode 1.5 times faster than with Blosc's default block size.
LEVEL = 1
BLOCK = 2**19
HASH_BYTES = 16
CRC_BYTES = 4
_ABSENT = 2**64 - 1
_MOST_OPEN_FILES = 200


def encode(pixels: NDArray[Any]) -> bytes:
    """A sample as a chunk: little-endian, bit-shuffled, Zstandard, in Blosc's frame."""
    numcodecs.blosc.use_threads = False  # jobs are many and small, one per core
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return bytes(Blosc(cname="zstd", clevel=LEVEL, shuffle=Blosc.BITSHUFFLE, blocksize=BLOCK).encode(little))


def with_crc(content: bytes) -> bytes:
    """A chunk or an index as Zarr's codec `crc32c` writes it: followed by its CRC-32C, little-endian."""
    return content + crc32c(content).to_bytes(CRC_BYTES, "little")


def chunk_hash(chunk: bytes) -> bytes:
    """Hash of a chunk without its CRC-32C."""
    return hashlib.blake2b(chunk, digest_size=HASH_BYTES).digest()


class Appender:
    """Appends chunks to the files of a directory; the number of open files is limited."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()

    def append(self, name: str, chunk: bytes) -> int:
        """Write a chunk, unbuffered, to the end of a file; returns where it begins."""
        file = self._open.pop(name, None)
        if file is None:
            if len(self._open) == _MOST_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            file = (self._directory / name).open("ab", buffering=0)
        self._open[name] = file
        start = file.seek(0, os.SEEK_END)
        written = file.write(chunk)
        if written != len(chunk):  # a full disk may take a part
            raise OSError(errno.ENOSPC, f"only {written:,} of {len(chunk):,} bytes could be written", file.name)
        return start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._open.values():
            file.close()


class ChunkFiles:
    """Reads chunks out of shard files, one file open at a time."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    def read(self, path: Path, start: int, length: int, expected_hash: bytes, has_crc: bool = True) -> bytes | None:
        """A chunk without its CRC-32C; None if its hash is not `expected_hash`.

        Args:
            path: of the shard file.
            start: of the chunk in the file, in bytes.
            length: of the chunk in bytes, its CRC-32C included.
            expected_hash: its `chunk_hash` when it was written.
            has_crc: False for chunks of earlier versions, which had no CRC-32C.
        """
        if path != self._path or self._file is None:
            self.close()
            self._path, self._file = path, path.open("rb")
        self._file.seek(start)
        chunk = self._file.read(length - CRC_BYTES * has_crc)
        return chunk if chunk_hash(chunk) == expected_hash else None

    def require(self, path: Path, start: int, length: int, expected_hash: bytes, has_crc: bool = True) -> bytes:
        """Like `read`, but a `UserError` in place of None."""
        chunk = self.read(path, start, length, expected_hash, has_crc)
        if chunk is None:
            raise damaged(path, f"bytes {start:,} to {start + length:,} are not what was written", path.parent)
        return chunk

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def write_shard(path: Path, chunks: Iterable[bytes | None]) -> NDArray[np.uint64]:
    """Write a shard whole or not at all.

    Args:
        path: of the shard.
        chunks: without their CRC-32C, in order, one per position of the shard; None leaves a position empty.

    Returns:
        (chunk, 2), start and length of each in bytes.
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
    """The index of a shard, (chunk, 2), as `write_shard` returned it.

    Args:
        path: of the shard.
        places: its number of positions.

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
