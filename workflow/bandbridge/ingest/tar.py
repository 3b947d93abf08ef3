"""Tar archives in one streaming pass, whatever compresses them: tarfile's members, and a check that none is missing.

Python's tarfile takes some truncated or damaged archives for whole ones, and reads headers of any size into memory.
"""

import bz2
import io
import lzma
import math
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from tarfile import GNU_TYPES, HeaderError
from typing import Any, BinaryIO, NamedTuple, Self, cast

import zstandard
from isal import igzip

from bandbridge.base.untrusted import whole_number

CHUNK = 64 * 1024
# A zstd block of 4 bytes becomes 128 kB: small inputs bound what one call may expand to.
ZSTD_CHUNK = 4 * 1024
ZSTD_MAX_WINDOW = 2**31
# Of a dictionary: what `xz -9` makes takes 65 MB, and a header may ask for 4 GB.
XZ_MAX_MEMORY = 2**30
STEP = 16 * 1024**2
MAX_HEADER_BYTES = 16 * 1024**2
# Above this size, a content that is a thousand times its compressed size is a bomb and no image.
BOMB_BYTES, BOMB_RATIO = 100 * 1024**2, 1000

# What can be sought in a file.
MOST_BYTES = 2**62
# Kinds that tarfile does not know: GNU's name of a volume, and its list of a folder's files.
VOLUME, FILE_LIST = b"V", b"D"
NAME_BYTES, SIZE = 100, slice(124, 136)
OCTAL = re.compile(rb"[0-7]*")
GNU_MAGIC, GNU = slice(257, 265), b"ustar  \0"


class TarError(Exception):
    """The archive is damaged, incomplete, or uses an unsupported feature; the text is only the reason."""


class Unpacked(NamedTuple):
    """A stream of plain tar.

    `consumed` returns how many bytes of the compressed file were read so far, ahead by up to `slack`; `ends_itself` is
    whether the compression marks its own end, so that an archive cut between two members is noticed.
    """

    stream: io.BufferedReader
    consumed: Callable[[], int]
    slack: int
    ends_itself: bool


def unpacked(file: BinaryIO) -> Unpacked:
    """The plain tar inside a file of gzip, bzip2, xz, zstd or plain tar, detected from its first bytes."""
    start = file.read(6)
    file.seek(0)
    ahead = CHUNK
    if start[:2] == b"\x1f\x8b":
        raw: Any = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
        ahead = igzip.READ_BUFFER_SIZE
    elif start[:3] == b"BZh":
        raw = _Frames(file, bz2.BZ2Decompressor, bounded=True)
    elif start == b"\xfd7zXZ\x00":
        raw = _Frames(file, partial(lzma.LZMADecompressor, memlimit=XZ_MAX_MEMORY), padding=b"\0", bounded=True)
    elif start[:4] == b"\x28\xb5\x2f\xfd" or start[1:4] == b"\x2a\x4d\x18":
        raw = _Frames(file, zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW).decompressobj, ZSTD_CHUNK)
    else:
        return Unpacked(io.BufferedReader(cast(io.RawIOBase, file), CHUNK), file.tell, 0, False)
    # What is in the buffer of unpacked bytes was read before, too.
    return Unpacked(io.BufferedReader(raw, 2 * CHUNK), file.tell, 2 * CHUNK + ahead, True)


class _Frames(io.RawIOBase):
    """Compressed frames one after another as one stream. One that breaks off, or what is no frame, is an error."""

    def __init__(
        self, file: BinaryIO, new: Callable[[], Any], chunk: int = CHUNK, padding: bytes = b"", bounded: bool = False
    ) -> None:
        self._file, self._new, self._chunk, self._padding = file, new, chunk, padding
        self._bounded = bounded  # whether decompressors limit their output to the requested size
        self._frame: Any = None
        self._out = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._out:
            if not self._decompress(len(buffer)):
                return 0
        size = min(len(self._out), len(buffer))
        buffer[:size] = self._out[:size]
        self._out = self._out[size:]
        return size

    def _decompress(self, size: int) -> bool:
        """Some more output; False at the end of the file."""
        if self._frame is None or self._frame.eof:
            data = self._frame.unused_data if self._frame else b""
            data = (data or self._file.read(self._chunk)).lstrip(self._padding)
            while not data and self._padding and (data := self._file.read(self._chunk)):
                data = data.lstrip(self._padding)
            if not data:
                return False
            self._frame = self._new()
        elif self._bounded and not self._frame.needs_input:
            data = b""
        else:
            data = self._file.read(self._chunk)
            if not data:
                raise TarError("the compressed data breaks off")
        self._out = memoryview(self._frame.decompress(data, size) if self._bounded else self._frame.decompress(data))
        return True


class TarMember(NamedTuple):
    """A file, or something else that has a name (`is_link`: a link, a device or a pipe)."""

    name: str
    size: int
    is_link: bool


class TarReader:
    """Iterates over the members that are no folders; `read` returns the content of the latest one.

    At the end it makes sure that the archive did not break off before, and that nothing but zeros follows, neither of
    which tarfile does.

    Raises:
        TarError: with the reason, while iterating or reading.
    """

    def __init__(self, source: Unpacked) -> None:
        self._source = source
        self._forward = _Forward(source)
        self._left = 0
        self._name = ""

    def __iter__(self) -> Iterator[TarMember]:
        for member in self._members():
            self._name = member.name
            if member.type in (VOLUME, FILE_LIST):
                continue
            if member.sparse is not None:
                raise TarError(f"'{member.name}' is a sparse file; pack it without -S")
            if member.type not in tarfile.SUPPORTED_TYPES:
                raise TarError(f"'{member.name}' is of the type {member.type!r}, which is not supported")
            if not 0 <= member.size < MOST_BYTES:
                raise TarError(f"'{member.name}' states a negative size, or one beyond all files")
            stated = member.pax_headers.get("size")
            if stated is not None and whole_number(stated) != member.size:
                raise TarError(f"a pax header states the size {stated[:40]!r}")
            self._left = member.size if member.isreg() else 0
            if not member.isdir():
                yield TarMember(member.name, member.size, not member.isreg())
        self._make_sure_of_the_end()

    def read(self) -> bytes:
        """The whole content of the member that was yielded last, once."""
        size, self._left = self._left, 0
        content = self._forward.read(size) if size <= BOMB_BYTES else self._read_large(size)
        if len(content) < size:
            raise TarError(f"it breaks off inside '{self._name}'")
        return content

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """What tarfile reads, with its errors translated."""
        try:
            with tarfile.TarFile(
                fileobj=cast(Any, self._forward), tarinfo=_Member, encoding="utf-8", errors="surrogateescape"
            ) as archive:
                while (member := archive.next()) is not None:
                    cast(Any, archive).members = []  # there may be millions
                    yield member
        except tarfile.ReadError as error:
            raise TarError(f"it breaks off inside '{self._name}'" if self._name else "it is no tar") from error
        except _DamagedError as error:
            cut = len(self._forward.block) < tarfile.BLOCKSIZE
            place = f"it breaks off after '{self._name}'" if cut else f"what follows '{self._name}' is no tar header"
            raise TarError(f"{place} ({error})" if self._name else "it is no tar") from error

    def _read_large(self, size: int) -> bytes:
        content = bytearray()
        began = self._source.consumed()
        while len(content) < size and (piece := self._forward.read(min(STEP, size - len(content)))):
            content += piece
            packed = self._source.consumed() - began + self._source.slack
            if self._source.ends_itself and len(content) > max(BOMB_BYTES, BOMB_RATIO * packed):
                raise TarError(f"'{self._name}' expands more than {BOMB_RATIO}-fold, as no image does")
        return bytes(content)

    def _make_sure_of_the_end(self) -> None:
        last = self._forward.block
        if len(last) < tarfile.BLOCKSIZE:
            if last or not self._source.ends_itself:
                raise TarError(f"it breaks off after '{self._name}'" if self._name else "it is no tar")
            return
        while rest := self._forward.read(STEP):
            if rest.count(0) != len(rest):
                raise TarError("there are data after its end")


class _DamagedError(Exception):
    """A header that cannot be read; tarfile takes all but the first of an archive for its end."""


class _Member(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        forward = cast(_Forward, tarfile.fileobj)
        limit, forward.limit = forward.limit, min(forward.limit, forward.tell() + MAX_HEADER_BYTES)
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if forward.block.strip(b"\0"):
                raise _DamagedError(error) from error
            raise
        except (ValueError, OverflowError) as error:  # numbers and names that tarfile does not check
            raise _DamagedError(error) from error
        finally:
            forward.limit = limit

    def _proc_member(self, tarfile: tarfile.TarFile) -> Any:
        """What tarfile calls for each header that it has read, and lets subclasses override.

        Not every version of Python calls `frombuf` for it, or `fromtarfile` for a header that extends another.
        """
        block = cast(_Forward, tarfile.fileobj).block
        # Python reads more as a number than tar's writers mean: +3, 0o3, 1_0.
        if not block[SIZE.start] & 0x80 and not OCTAL.fullmatch(block[SIZE].partition(b"\0")[0].strip(b" ")):
            raise HeaderError(f"{block[SIZE]!r} where a number belongs")
        if block[GNU_MAGIC] == GNU and self.type not in GNU_TYPES:
            # Its format keeps times where others have the first part of a long name.
            self.name = block[:NAME_BYTES].partition(b"\0")[0].decode(tarfile.encoding or "utf-8", tarfile.errors)
            self.name = self.name.rstrip("/") if self.isdir() else self.name
        return super()._proc_member(tarfile)  # type: ignore[misc]


class _Forward:
    """The file interface that tarfile needs, over a stream that is only read forward.

    Attributes:
        block: what the last read returned.
        limit: the place after which nothing may be read; a header may state any size of its extensions.
    """

    def __init__(self, source: Unpacked) -> None:
        self._stream, self._skips = source.stream, source.ends_itself
        self._place = 0
        self.limit = math.inf
        self.block = b""

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        if size < 0:
            raise TarError("a header states a negative size")
        if self._place + size > self.limit:
            raise TarError(f"the headers of one member have more than {MAX_HEADER_BYTES:,} bytes")
        self.block = self._stream.read(size)
        self._place += len(self.block)
        return self.block

    def seek(self, place: int) -> None:
        if place - self._place > CHUNK and not self._skips:
            self._stream.seek(place - self._place, io.SEEK_CUR)
            self._place = place
        while self._place < place and self.read(min(STEP, place - self._place)):
            pass
