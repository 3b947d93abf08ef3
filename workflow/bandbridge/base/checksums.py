"""Checksums (CRC-32C) of what one stage writes and a later one reads, and the error where the two differ."""

import shlex
from pathlib import Path
from typing import TextIO

import google_crc32c

from bandbridge.base.errors import UserError

_BLOCK = 2**22


def crc32c(content: bytes, before: int = 0) -> int:
    """CRC-32C of some bytes, or of them after others whose CRC-32C is `before`."""
    return google_crc32c.extend(before, content)


def crc32c_of_file(path: Path, size: int | None = None) -> int:
    """CRC-32C of a file's bytes, or of the first `size` of them."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK if size is None else min(_BLOCK, size)):
            value = crc32c(block, value)
            size = None if size is None else size - len(block)
    return value


def damaged(path: Path, fault: str, *remove: Path) -> UserError:
    """The error for a file that is not what was written, and the command after which a run rebuilds it.

    Args:
        fault: how that shows.
        remove: what to delete; the file itself where nothing is given.
    """
    doomed = remove or (path,)
    command = " ".join(["rm -r" if any(item.is_dir() for item in doomed) else "rm", *map(_quoted, doomed)])
    return UserError(
        f"{path} is damaged: {fault}. Likely causes are a failing disk, a full one, or an interrupted copy. "
        f"Delete it and run again to rebuild it: {command}"
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


# --- files without room for a checksum of their own: text ----------------------------------------------------------


def checksum_file(path: Path) -> Path:
    """The hidden file beside `path` with its checksum."""
    return path.with_name(f".{path.name}.crc32c")


def checksum_line(path: Path) -> str:
    """What the file with the checksum of `path` holds: eight hexadecimal digits."""
    return f"{crc32c_of_file(path):08x}\n"


def verify(path: Path, *remove: Path) -> None:
    """Compare a file with the checksum beside it; one without is taken as it is.

    Args:
        remove: what to delete where they differ; the file and its checksum where nothing is given.

    Raises:
        UserError: they differ: the file is damaged, or was edited.
    """
    note = checksum_file(path)
    try:
        stated = note.read_bytes()
    except FileNotFoundError:
        return
    if stated != checksum_line(path).encode():
        message = damaged(path, f"its content does not match the checksum in {note.name}", *(remove or (path, note)))
        raise UserError(f"{message}\nIf you have edited it and want it so, delete {note.name} alone.")


def verify_folder(folder: Path) -> None:
    """`verify` every file of a folder that has a checksum beside it."""
    for note in sorted(folder.glob(".*.crc32c")):
        path = folder / note.name[1:].removesuffix(".crc32c")
        if path.is_file():
            verify(path, folder)


def open_verified(path: Path) -> TextIO:
    """A text file after `verify`, opened as readers of CSV want it."""
    verify(path)
    return path.open(encoding="utf-8", newline="")
