"""Tar archives in one streaming pass, whatever compresses them.

Python's tarfile spends several times as long on a member's header as gunzipping its content takes, keeps an object of
every member in memory, and takes some truncated archives for whole ones. Archives here have millions of small members.
"""

import bz2
import io
import lzma
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast

import zstandard
from isal import igzip

from bandbridge.base.untrusted import whole_number

BLOCK = 512
CHUNK = 64 * 1024
# A zstd block of 4 bytes becomes 128 kB: what one call may expand to is kept small by giving it little.
ZSTD_CHUNK = 4 * 1024
ZSTD_MAX_WINDOW = 2**31
# Of a dictionary: what `xz -9` makes takes 65 MB, and a header may ask for 4 GB.
XZ_MAX_MEMORY = 2**30
STEP = 16 * 1024**2
MAX_HEADER_BYTES = 16 * 1024**2
# Above this size, a content that is a thousand times its compressed size is a bomb and no image.
BOMB_BYTES, BOMB_RATIO = 100 * 1024**2, 1000

# What can be sought in a file, and a number as headers hold it.
MOST_BYTES = 2**62
OCTAL = re.compile(rb"[0-7]*")

ZERO_BLOCK = bytes(BLOCK)
FILES, FOLDERS, LINKS = b"\x007", b"5D", b"12346"
PAX_NEXT, PAX_ALL, LONG_NAME, LONG_LINK, VOLUME = b"xX", b"g", b"L", b"K", b"V"


class TarError(Exception):
    """The archive is damaged, incomplete, or uses what is not read here; the text is the reason alone."""


class Unpacked(NamedTuple):
    """A stream of plain tar.

    `consumed` tells how many bytes of the compressed file were read so far, ahead by up to `slack`; `ends_itself` is
    whether the compression marks its own end, so that an archive cut between two members is noticed.
    """

    stream: io.BufferedReader
    consumed: Callable[[], int]
    slack: int
    ends_itself: bool


def unpacked(file: BinaryIO) -> Unpacked:
    """The plain tar inside a file of gzip, bzip2, xz, zstd or plain tar; its first bytes tell which, not its name."""
    start = file.read(6)
    file.seek(0)
    ahead = CHUNK
    if start[:2] == b"\x1f\x8b":
        raw: Any = igzip.IGzipFile(fileobj=file, mode="rb")
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
        self._bounded = bounded  # whether decompressors give no more than they are asked for
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
    """Iterates over the members that are no folders; `read` gives the content of the one that came last.

    Knows ustar, GNU and pax headers. At the end it makes sure that the archive did not break off before, and that
    nothing but zeros follows.

    Raises:
        TarError: with the reason, while iterating or reading.
    """

    def __init__(self, source: Unpacked) -> None:
        self._source = source
        self._read = source.stream.read
        self._size = self._left = self._padding = 0
        self._began = 0
        self._name = ""

    def __iter__(self) -> Iterator[TarMember]:
        shared: dict[str, str] = {}
        own: dict[str, str] = {}
        while header := self._header():
            kind = header[156:157]
            size = _number(header[124:136])
            if kind in PAX_NEXT:
                own.update(_pax(self._extension(size)))
            elif kind == PAX_ALL:
                shared.update(_pax(self._extension(size)))
            elif kind == LONG_NAME:
                own["path"] = _text(self._extension(size))
            elif kind in (LONG_LINK, VOLUME):
                self._extension(size)
            else:
                if own or shared:
                    fields = {**shared, **own}
                    own = {}
                    name, size = fields.get("path") or _name(header), _pax_size(fields, size)
                else:
                    name = _name(header)
                is_file = kind in FILES or kind == b"0"
                if not is_file and kind not in FOLDERS and kind not in LINKS:
                    raise TarError(f"'{name}' is of the type {kind!r}, which is not read here")
                is_folder = kind in FOLDERS or (kind == b"\0" and name.endswith("/"))
                # As in tarfile: the header of a link or a folder may state a size, but no content follows.
                self._begin(name, size if (is_file and not is_folder) or kind == b"D" else 0)
                if not is_folder:
                    yield TarMember(name, size, not is_file)
                self._skip()

    def read(self) -> bytes:
        """The whole content of the member that was yielded last, once."""
        size, self._left = self._left, 0
        content = self._read(size) if size <= BOMB_BYTES else self._read_large(size)
        if len(content) < size:
            raise TarError(f"it breaks off inside '{self._name}'")
        return content

    def _begin(self, name: str, size: int) -> None:
        self._name, self._left, self._padding = name, size, -size % BLOCK
        if size > BOMB_BYTES:
            self._began = self._source.consumed()

    def _read_large(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size and (piece := self._read(min(STEP, size - len(content)))):
            content += piece
            packed = self._source.consumed() - self._began + self._source.slack
            if self._source.ends_itself and len(content) > max(BOMB_BYTES, BOMB_RATIO * packed):
                raise TarError(f"'{self._name}' expands more than {BOMB_RATIO}-fold, as no image does")
        return bytes(content)

    def _skip(self) -> None:
        rest = self._left + self._padding
        self._left = self._padding = 0
        if rest > CHUNK and not self._source.ends_itself:
            self._source.stream.seek(rest - 1, io.SEEK_CUR)
            rest = 1
        while rest:
            piece = len(self._read(min(rest, STEP)))
            if not piece:
                raise TarError(f"it breaks off inside '{self._name}'")
            rest -= piece

    def _extension(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise TarError(f"a header after '{self._name}' has {size:,} bytes")
        self._begin(self._name, size)
        content = self.read()
        self._skip()
        return content

    def _header(self) -> bytes:
        """The next header, verified; empty at the archive's end."""
        header: bytes = self._read(BLOCK)
        if len(header) == BLOCK and header != ZERO_BLOCK:
            found = sum(header) - sum(header[148:156]) + 8 * 32
            stated = _number(header[148:156])
            if found != stated:
                # Some old programs added the bytes up as signed numbers.
                signed = found - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
                if signed != stated:
                    raise TarError(f"what follows '{self._name}' is no tar header" if self._name else "it is no tar")
            return header
        if header == ZERO_BLOCK:
            while rest := self._read(STEP):
                if rest.count(0) != len(rest):
                    raise TarError("something follows after its end")
        elif header or not self._source.ends_itself:
            raise TarError(f"it breaks off after '{self._name}'" if self._name else "it is no tar")
        return b""


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    # GNU's own format keeps times where ustar has the prefix.
    if header[345] and header[257:263] == b"ustar\0":
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        number = int.from_bytes(field, "big") - (1 << (8 * len(field) - 1))
        if field[0] == 0x80 and number < MOST_BYTES:
            return number
        raise TarError("a header states a negative size, or one beyond all files")
    octal = field.split(b"\0", 1)[0].strip(b" ")
    if OCTAL.fullmatch(octal) is None:
        raise TarError(f"a header holds {field!r} where a number belongs; it is no tar, or damaged")
    return int(octal or b"0", 8)


def _pax_size(fields: dict[str, str], size: int) -> int:
    if any(key.startswith("GNU.sparse") for key in fields):
        raise TarError(
            f"'{fields.get('GNU.sparse.name', fields.get('path', ''))}' is a sparse file; pack it without -S"
        )
    stated = fields.get("size")
    if stated is None:
        return size
    number = whole_number(stated)
    if number is None or number >= MOST_BYTES:
        raise TarError(f"a pax header states the size {stated[:40]!r}")
    return number


def _pax(records: bytes) -> dict[str, str]:
    """The fields of a pax header: lines of 'length key=value', the length counting the whole line."""
    fields = {}
    at = 0
    while at < len(records) and records[at]:
        space = records.find(b" ", at, at + 20)
        # Of bytes, these are ASCII digits alone.
        length = int(records[at:space]) if space > 0 and records[at:space].isdigit() else 0
        key, equals, value = records[space + 1 : at + length - 1].partition(b"=")
        if length < 5 or not equals or records[at + length - 1 : at + length] != b"\n":
            raise TarError("a pax header is damaged")
        fields[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += length
    return fields
