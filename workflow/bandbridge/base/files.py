"""Files and directories that appear whole or not at all and survive a power cut, and their checksums."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bandbridge.base.checksums import checksum_file, checksum_line, verify

# Errors of file systems that cannot flush this kind of file; any other error means that data may be lost.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS)
_FLUSHES_AT_ONCE = 8


def _beside(path: Path) -> Path:
    """A name in the same directory (so that renaming is atomic) that no other process uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def whole_file(path: Path, *, checked: bool = False, durable: bool = True) -> Iterator[Path]:
    """A path to write to, which is renamed to `path` when the block ends and removed if it raises.

    The file gets the permissions of the user's umask, whatever wrote it.

    Args:
        path: of the finished file.
        checked: add a checksum in a hidden file beside it, for formats that cannot hold one; `read_json` and
            `checksums.verify` compare it.
        durable: data and name are on disk, not only in the operating system's cache, when this returns.
    """
    part, note = _beside(path), checksum_file(path)
    note_part = _beside(note)
    # In a folder that others can write to, it could be a link to one of the user's files.
    part.unlink(missing_ok=True)
    try:
        mode = _create(part)
        yield part
        _settle(part, mode, durable)
        if checked:
            _create(note_part)
            note_part.write_text(checksum_line(part), encoding="ascii")
            _settle(note_part, mode, durable)
        # At no moment is a file beside the checksum of another one.
        note.unlink(missing_ok=True)
        os.replace(part, path)
        if checked:
            os.replace(note_part, note)
        if durable:
            flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)
        note_part.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """An empty directory to fill; it replaces `path` when the block ends and is removed if the block raises.

    Files in it get the permissions of the user's umask, and all of it is on disk when this returns.
    """
    part = _beside(path)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        yield part
        _settle_tree(part)
        if path.exists():
            os.replace(path, old)
        os.replace(part, path)
        flush_folder(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _create(path: Path) -> int:
    """Create an empty file, never through a link; returns its permissions, which are those of the umask."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.fstat(handle).st_mode & 0o777
    finally:
        os.close(handle)


def _settle(path: Path, mode: int, durable: bool) -> None:
    """Set the permissions of a complete file and flush its data."""
    if path.stat().st_mode & 0o777 != mode:  # libraries write through temporary files that only the user may read
        with suppress(PermissionError):  # a linked file of another user
            path.chmod(mode)
    if durable:
        _flush(path)


def _settle_tree(root: Path) -> None:
    mode = root.stat().st_mode & 0o777
    files, folders = [], []
    for name, _, names in os.walk(root):
        folders.append(Path(name))
        files += [path for path in map(Path(name).joinpath, names) if not path.is_symlink()]
    for folder in folders:
        if folder.stat().st_mode & 0o777 != mode:
            folder.chmod(mode)
    for file in files:
        _settle(file, mode & 0o666, durable=False)
    # In parallel, because file systems flush many files at once in the time of one.
    with ThreadPoolExecutor(_FLUSHES_AT_ONCE) as threads:
        list(threads.map(_flush, files))
        list(threads.map(flush_folder, folders))


def _flush(path: Path) -> None:
    """Bring a file's data to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(handle)


def flush_folder(path: Path) -> None:
    """Bring the names in a folder to disk, where its file system can."""
    with suppress(OSError):
        _flush(path)


def write_checksums(folder: Path) -> None:
    """Add a checksum beside every file of a folder that is being filled, where `checksums.verify` looks for it."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            checksum_file(path).write_text(checksum_line(path), encoding="ascii")


def write_json(path: Path, content: Any, *, checked: bool = True, durable: bool = True) -> None:
    """Write JSON with sorted keys, so that equal content gives equal bytes; `checked`, `durable` as of `whole_file`."""
    with whole_file(path, checked=checked, durable=durable) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote; a `UserError` if the file is damaged."""
    verify(path)
    return json.loads(path.read_text(encoding="utf-8"))


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
