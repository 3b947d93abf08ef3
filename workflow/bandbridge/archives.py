"""Members of a zip, a tar (plain, gz, bz2, xz, zst) or a plain folder, one after another, without unpacking to disk."""

import glob
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath

import zstandard

from bandbridge.errors import UserError

ZIP_SUFFIXES = (".zip", ".whl")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
# A member is read into memory whole: a limit far above any scene's band file, far below what fills a machine.
MAX_MEMBER_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    is_link: bool
    read: Callable[[], bytes]


def is_archive(name: str) -> bool:
    """Whether a file's name ends like an archive that can be read here."""
    return name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES)


def member_names(path: Path) -> list[str]:
    """Names of all files of an archive (in its order) or below a folder (sorted), with '/' between parts."""
    with _damage_explained(path):
        return [_checked_name(path, entry.name) for entry in _entries(path)]


def members(path: Path, patterns: Sequence[str] = ("*",), limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file whose whole name matches one of the patterns.

    Args:
        path: an archive or a folder; a folder's own symbolic links are followed, an archive's never.
        patterns: shell patterns, case-sensitive; `*` also matches '/'.
        limit: largest content in bytes.

    Raises:
        UserError: there is no such path or archive format, the archive is damaged, or a matching member is absolute,
            climbs out with '..', is a link or a device, or is larger than `limit`.
    """
    with _damage_explained(path):
        for entry in _entries(path):
            if any(fnmatchcase(entry.name, pattern) for pattern in patterns):
                yield _checked_name(path, entry.name), _content(path, entry, limit)


def read_member(path: Path, name: str) -> bytes:
    """Content of one file, by its exact name; a `UserError` if there is none. Searches a tar from its start."""
    for _, content in members(path, [glob.escape(name)]):
        return content
    raise UserError(f"{path}: holds no file '{name}'")


def _entries(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        return _folder_entries(path)
    if not path.exists():
        raise UserError(f"{path} is not there; run the download again, or put the file there by hand")
    if path.name.lower().endswith(ZIP_SUFFIXES):
        return _zip_entries(path)
    if path.name.lower().endswith(TAR_SUFFIXES):
        return _tar_entries(path)
    allowed = " ".join(ZIP_SUFFIXES + TAR_SUFFIXES)
    raise UserError(f"{path} is neither a folder nor an archive; archives end in one of: {allowed}")


def _folder_entries(path: Path) -> Iterator[_Entry]:
    for directory, folders, files in os.walk(path, followlinks=True):
        folders.sort()
        for file in sorted(files):
            full = Path(directory, file)
            yield _Entry(full.relative_to(path).as_posix(), full.stat().st_size, False, full.read_bytes)


def _zip_entries(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                # The upper half of the attributes holds the file's Unix mode.
                is_link = stat.S_ISLNK(info.external_attr >> 16)
                yield _Entry(_normal(info.filename), info.file_size, is_link, partial(archive.read, info))


def _tar_entries(path: Path) -> Iterator[_Entry]:
    with ExitStack() as stack:
        archive = _open_tar(path, stack)
        for info in archive:
            if not info.isdir():
                yield _Entry(_normal(info.name), info.size, not info.isreg(), partial(_tar_content, archive, info))


def _open_tar(path: Path, stack: ExitStack) -> tarfile.TarFile:
    if not path.name.lower().endswith(".zst"):
        return stack.enter_context(tarfile.open(path, mode="r|*"))
    file = stack.enter_context(path.open("rb"))
    stream = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(file))
    return stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return file.read() if file else b""


def _normal(name: str) -> str:
    """'./a//b' as 'a/b'; '..' and a leading '/' stay, to be found by the check."""
    return PurePosixPath(name).as_posix()


def _content(path: Path, entry: _Entry, limit: int) -> bytes:
    if entry.is_link:
        raise UserError(
            f"{path}: '{entry.name}' is a link or a device, expected a file; unpack the archive to a folder"
        )
    if entry.size > limit:
        raise UserError(f"{path}: '{entry.name}' has {entry.size:,} bytes, the limit is {limit:,}")
    return entry.read()


def _checked_name(path: Path, name: str) -> str:
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise UserError(f"{path}: the member name '{name}' leads out of the archive; do not trust this file")
    return name


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    damage = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
    try:
        yield
    except damage as error:
        message = f"{path} is damaged or incomplete ({error}); delete it and run the download again"
        raise UserError(message) from error
