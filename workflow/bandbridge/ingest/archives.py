"""Members of a zip, a tar (plain, gz, bz2, xz, zst) or a plain folder, one after another, without unpacking to disk.

An archive may be in parts, as `split` makes them; they are read as one. Archives are not trusted: no name leads out of
them, no link is followed, no pickle is read, and nothing expands beyond what it states.
"""

import copy
import fnmatch
import io
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

import zstandard
from isal.igzip_lib import IsalError

from bandbridge.base.errors import UserError
from bandbridge.base.untrusted import has_unseen, leads_out
from bandbridge.ingest.tar import BOMB_BYTES, BOMB_RATIO, CHUNK, TarError, TarReader, unpacked

ZIP_SUFFIXES = (".zip", ".whl")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.zst", ".tar.bz2", ".tar.xz")
# A member is read into memory whole: limits far above any sample's file and any scene's band file, far below what
# fills a machine.
MAX_MEMBER_BYTES = 1024**3
MAX_BAND_BYTES = 4 * 1024**3
SMALL_STEP = 4096
# The file in which macOS keeps a folder's icon; its name ends in a control character.
MAC_ICON = "Icon\r"
# Reading one of these runs whatever code its author put into it.
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
# What `split` and its like append to a name.
PART = re.compile(r"(?P<style>\.part|\.|)((?P<letters>[a-z]{2,4})|(?P<digits>\d{2,5}))")


class _Entry(NamedTuple):
    """A file of an archive; `read` takes the size limit."""

    name: str
    is_link: bool
    read: Callable[[int], bytes]


def is_archive(name: str) -> bool:
    """Whether a file's name ends like that of a readable archive."""
    return name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES)


# --- where an archive is -------------------------------------------------------------------------------------------


def locate(directory: Path, file: str) -> Path | None:
    """Where the archive `file` is in a directory, in whatever layout; a path for `members`, None if it is missing.

    That is the file itself, else its parts, else the same archive under another suffix (x.tar.zst or x.zip for
    x.tar.gz) or its parts, else a folder of the archive's stem (x), into which it was unpacked: names in that folder
    may lack the folder that the archive's names begin with. A file that is no archive is located by its own name or in
    parts.
    """
    if _exists(directory / file):
        return directory / file
    suffix = _suffix(file)
    if not suffix:
        return None
    stem = file[: -len(suffix)]
    others = (directory / f"{stem}{other}" for other in TAR_SUFFIXES + ZIP_SUFFIXES)
    return next(filter(_exists, (*others, directory / stem)), None)


def parts_of(path: Path) -> list[Path]:
    """The files that `path` was split into, in their order; none if there are no such files.

    Known are `split`'s letters, appended to the name (x.tar.gzaa, x.tar.gzab, also x.tar.gz.aa), and numbers from 0 or
    1 on (x.zip.001, x.zip.part00).

    Raises:
        UserError: a part in between is missing, or there are two sets of parts.
    """
    sets: dict[tuple[str, int], dict[int, Path]] = defaultdict(dict)
    for name in os.listdir(path.parent) if path.parent.is_dir() else []:
        if name.startswith(path.name) and (match := PART.fullmatch(name[len(path.name) :])):
            style, letters, digits = match["style"], match["letters"], match["digits"]
            number = int(digits) if digits else _number(letters)
            sets[f"{style}{'0' if digits else 'a'}", len(digits or letters)][number] = path.with_name(name)
    # x.tar.gz is no part of x.tar: parts begin with the first, or with the second where the first was lost.
    sets = {style: parts for style, parts in sets.items() if min(parts) <= 1}
    if len(sets) > 1:
        firsts = ", ".join(sorted(parts[min(parts)].name for parts in sets.values()))
        raise UserError(f"{path} exists in two sets of parts, which begin with {firsts}; remove one set")
    for (style, _), parts in sets.items():
        first = min(parts) if style.endswith("0") else 0
        missing = [str(number - first + 1) for number in range(first, max(parts)) if number not in parts]
        if missing:
            present = ", ".join(parts[number].name for number in sorted(parts))
            raise UserError(
                f"{path}: number {', '.join(missing)} of its parts is missing; there are: {present}. Download it again"
            )
        return [parts[number] for number in sorted(parts)]
    return []


def _number(letters: str) -> int:
    return reduce(lambda number, letter: number * 26 + ord(letter) - ord("a"), letters, 0)


def _exists(path: Path) -> bool:
    if path.is_dir():
        # An empty folder is what a download that never began leaves behind.
        return any(path.iterdir())
    return path.exists() or bool(parts_of(path))


def _suffix(name: str) -> str:
    return next((suffix for suffix in TAR_SUFFIXES + ZIP_SUFFIXES if name.lower().endswith(suffix)), "")


class _Joined(io.RawIOBase):
    """Files one after another as one, to be read from any place."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._starts = list(accumulate((file.stat().st_size for file in files), initial=0))
        self._at = 0
        self._open: tuple[int, BinaryIO] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._starts[-1])[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        number = bisect_right(self._starts, self._at) - 1
        if number >= len(self._files):
            return 0
        if self._open is None or self._open[0] != number:
            self._shut()
            self._open = number, self._files[number].open("rb", buffering=0)
        file = self._open[1]
        file.seek(self._at - self._starts[number])
        size = cast(io.RawIOBase, file).readinto(buffer) or 0
        self._at += size
        return size

    def close(self) -> None:
        self._shut()
        super().close()

    def _shut(self) -> None:
        if self._open is not None:
            self._open[1].close()


@contextmanager
def _opened(parts: Sequence[Path]) -> Iterator[BinaryIO]:
    if len(parts) == 1:
        with parts[0].open("rb") as file:
            yield file
    else:
        with io.BufferedReader(_Joined(parts), CHUNK) as joined:
            yield cast(BinaryIO, joined)


# --- what is in it -------------------------------------------------------------------------------------------------


def member_names(path: Path) -> list[str]:
    """Names of all files of an archive (in its order) or below a folder (sorted), with '/' between parts."""
    with _damage_explained(path):
        return [_checked_name(path, entry.name) for entry in _entries(path) if not entry.name.endswith(MAC_ICON)]


def members(
    path: Path,
    patterns: Sequence[str] = ("*",),
    limit: int = MAX_MEMBER_BYTES,
    accepts: Callable[[str], bool] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file whose whole name matches one of the patterns.

    Args:
        path: an archive, which may be in parts, or a folder; a folder's own symbolic links are followed, an archive's
            never.
        patterns: shell patterns, case-sensitive; `*` also matches '/'.
        limit: largest content in bytes.
        accepts: a predicate of the name; other contents are not read. None for all.

    Raises:
        UserError: there is no such path or archive format; the archive is damaged, incomplete or encrypted; or an
            accepted member is absolute, climbs out with '..', is a link, a device or a pickle, is larger than `limit`,
            or expands more than `BOMB_RATIO`-fold.
    """
    matches = _matcher(patterns)
    with _damage_explained(path):
        for name, is_link, read in _entries(path):
            if matches(name) and (accepts is None or accepts(name)):
                _checked_name(path, name)
                if is_link:
                    raise UserError(
                        f"{path}: '{name}' is a link or a device, expected a file; unpack the archive to a folder"
                    )
                if name.lower().endswith(PICKLES):
                    raise UserError(
                        f"{path}: '{name}' is a pickle, which can run any code and is never read; "
                        "choose other members by their pattern, or convert it to another format where you trust it"
                    )
                yield name, read(limit)


def read_member(path: Path, name: str) -> bytes:
    """Content of one file, by its exact name; a `UserError` if there is none. Searches a tar from its start."""
    for _, content in members(path, limit=MAX_BAND_BYTES, accepts=name.__eq__):
        return content
    raise UserError(f"{path}: holds no file '{name}'")


def unpack_member(path: Path, name: str, target: Path) -> None:
    """Copy one file of a zip to `target`, piece by piece, however large; it has no more bytes than the zip states.

    Raises:
        UserError: the zip is damaged or holds no such file, or it expands more than `BOMB_RATIO`-fold or beyond
            the room on the disk.
    """
    with _damage_explained(path), zipfile.ZipFile(path) as archive:
        info = next((info for info in archive.infolist() if info.filename.replace("\\", "/") == name), None)
        if info is None:
            raise UserError(f"{path}: holds no file '{name}'")
        _check_expansion(path, info)
        free = shutil.disk_usage(target.parent).free
        if info.file_size > free:
            raise UserError(f"{path}: '{name}' needs {info.file_size:,} bytes, {target.parent} has {free:,} free")
        with archive.open(info) as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file)


def only_name(path: Path, names: Sequence[str], pattern: str) -> str:
    """The one of an archive's names that matches a shell pattern; a `UserError` where none or several do."""
    matching = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if len(matching) != 1:
        outcome = f"{len(matching)} files ({', '.join(matching[:5])})" if matching else "no file"
        raise UserError(f"{path}: the pattern '{pattern}' finds {outcome}, expected exactly one; change the pattern")
    return matching[0]


def _matcher(patterns: Sequence[str]) -> Callable[[str], Any]:
    """Predicate for the patterns; it is called once per member, so it uses endswith where possible."""
    if "*" in patterns:
        return lambda name: True
    if all(pattern[:1] == "*" and not re.search(r"[*?[]", pattern[1:]) for pattern in patterns):
        endings = tuple(pattern[1:] for pattern in patterns)
        return lambda name: name.endswith(endings)
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match


def _entries(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        return _folder_entries(path)
    suffix = _suffix(path.name)
    if not suffix:
        allowed = " ".join(ZIP_SUFFIXES + TAR_SUFFIXES)
        raise UserError(f"{path} is neither a folder nor an archive; archives end in one of: {allowed}")
    parts = [path] if path.exists() else parts_of(path)
    if not parts:
        raise UserError(f"{path} not found; run the download again, or copy the file there manually")
    return _zip_entries(path, parts) if suffix in ZIP_SUFFIXES else _tar_entries(path, parts)


def _folder_entries(path: Path) -> Iterator[_Entry]:
    above: dict[str, tuple[tuple[int, int], ...]] = {}
    for directory, folders, files in os.walk(path, followlinks=True):
        state = os.stat(directory)
        lineage = (*above.pop(directory, ()), (state.st_dev, state.st_ino))
        if lineage[-1] in lineage[:-1]:
            raise UserError(f"{directory} is a link to a folder above it, an endless loop; remove the link")
        folders.sort()
        above.update((os.path.join(directory, folder), lineage) for folder in folders)
        inside = Path(directory).relative_to(path).as_posix()
        before = "" if inside == "." else f"{inside}/"
        for file in sorted(files):
            yield _Entry(_normal(before + file), False, partial(_file_content, path, before + file))


def _file_content(path: Path, name: str, limit: int) -> bytes:
    # Without blocking: opening a pipe would wait for whoever writes into it.
    try:
        opened = os.open(path / name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        reason = error.strerror
        if (path / name).is_symlink() and not (path / name).exists():
            reason = f"it is a link to {os.readlink(path / name)}, which is not there"
        raise UserError(f"{path}: '{name}' cannot be opened ({reason}); get the file, or remove it") from error
    with open(opened, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise UserError(f"{path}: '{name}' is a device or a pipe, expected a file; remove it")
        _check_size(path, name, state.st_size, limit)
        return file.read(limit + 1)


def _zip_entries(path: Path, parts: list[Path]) -> Iterator[_Entry]:
    with _opened(parts) as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            # Some programs on Windows, PowerShell's Compress-Archive among them, part names with backslashes.
            name = info.filename.replace("\\", "/")
            if not name.endswith("/"):
                # The upper half of the attributes holds the file's Unix mode.
                is_link = stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG)
                yield _Entry(_normal(name), is_link, partial(_zip_content, path, archive, info))


def _zip_content(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    size = info.file_size
    _check_size(path, info.filename, size, limit)
    if info.flag_bits & 1:
        raise UserError(f"{path}: '{info.filename}' is encrypted; unpack the archive to a folder, with its password")
    _check_expansion(path, info)
    # One byte more than stated is requested: it shows whether the header lies, and the checksum covers all bytes.
    requested = copy.copy(info)
    requested.file_size = size + 1
    # zipfile bounds the output of deflate only; data of the other compressions are passed in small steps.
    step = size + 1 if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else SMALL_STEP
    try:
        with archive.open(requested) as member:
            pieces = [member.read(step)]
            while pieces[-1] and step == SMALL_STEP:
                pieces.append(member.read(step))
            content = b"".join(pieces)
    except NotImplementedError as error:
        raise UserError(
            f"{path}: '{info.filename}' cannot be read ({error}); unpack the archive to a folder"
        ) from error
    if len(content) != size:
        actual = "more" if len(content) > size else f"{len(content):,}"
        raise UserError(f"{path}: '{info.filename}' states {size:,} bytes and holds {actual}; do not trust this file")
    return content


def _check_expansion(path: Path, info: zipfile.ZipInfo) -> None:
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        raise UserError(
            f"{path}: '{info.filename}' expands more than {BOMB_RATIO}-fold, as no data do; do not trust this file"
        )


def _tar_entries(path: Path, parts: list[Path]) -> Iterator[_Entry]:
    with _opened(parts) as file:
        archive = TarReader(unpacked(file))
        for name, size, is_link in archive:
            yield _Entry(_normal(name), is_link, partial(_tar_content, path, archive, name, size))


def _tar_content(path: Path, archive: TarReader, name: str, size: int, limit: int) -> bytes:
    _check_size(path, name, size, limit)
    return archive.read()


def _normal(name: str) -> str:
    """'./a//b' as 'a/b'; '..' and a leading '/' stay for the check. What is no UTF-8 is read as Latin-1."""
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        name = name.encode("utf-8", "surrogateescape").decode("latin-1")
    if "//" in name or "./" in name or name[-1:] in ("/", "."):
        return PurePosixPath(name).as_posix()
    return name


def _check_size(path: Path, name: str, size: int, limit: int) -> None:
    if size > limit:
        raise UserError(f"{path}: '{name}' has {size:,} bytes, the limit is {limit:,}")


def _checked_name(path: Path, name: str) -> str:
    if leads_out(name):
        raise UserError(f"{path}: the member name '{name}' leads out of the archive; do not trust this file")
    if has_unseen(name):
        raise UserError(
            f"{path}: the name {name!r} has control characters; rename the file, and pack the archive again"
        )
    return name


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    damage: tuple[Any, ...] = (
        zipfile.BadZipFile,
        TarError,
        EOFError,
        zlib.error,
        IsalError,
        lzma.LZMAError,
        zstandard.ZstdError,
    )
    try:
        yield
    except damage as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # What bz2 and gzip find wrong is an OSError without a number; others come from the disk.
        if error.errno is not None:
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or incomplete ({error}); delete it and run the download again")
