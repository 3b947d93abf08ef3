"""Checksums (CRC-32C) of what one stage writes and a later one reads, and the error where the two differ."""

import io
import shlex
from pathlib import Path
from typing import TextIO

import google_crc32c

from bandbridge.errors import UserError

_BLOCK = 2**22


def crc32c(content: bytes, before: int = 0) -> int:
    """CRC-32C of some bytes, or of them after others whose CRC-32C is `before`."""
    return google_crc32c.extend(before, content)


def crc32c_of_file(path: Path) -> int:
    """CRC-32C of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = crc32c(block, value)
    return value


def damaged(path: Path, fault: str, *remove: Path) -> UserError:
    """The error for a file that is not what was written, and the command after which a run makes it again.

    Args:
        fault: how that shows.
        remove: what to delete; the file itself where nothing is given.
    """
    doomed = remove or (path,)
    command = " ".join(["rm -r" if any(item.is_dir() for item in doomed) else "rm", *map(_quoted, doomed)])
    return UserError(
        f"{path} is damaged: {fault}. A failing disk, a full one or an interrupted copy does this. "
        f"Delete it and run again, and it is made again: {command}"
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


def read_checked(path: Path, *remove: Path) -> bytes:
    """The bytes of a file, compared with the checksum beside it; those of a file without one are taken as they are.

    Args:
        remove: what to delete where they differ; the file and its checksum where nothing is given.

    Raises:
        UserError: they differ: the file is damaged, or was edited.
    """
    content = path.read_bytes()
    note = checksum_file(path)
    try:
        stated = note.read_bytes()
    except FileNotFoundError:
        return content
    if stated != f"{crc32c(content):08x}\n".encode():
        message = damaged(path, f"its content does not match the checksum in {note.name}", *(remove or (path, note)))
        raise UserError(f"{message}\nIf you have edited it and want it so, delete {note.name} alone.")
    return content


def check_folder(folder: Path) -> None:
    """Compare every file of a folder that has a checksum beside it; a `UserError` where one differs."""
    for note in sorted(folder.glob(".*.crc32c")):
        path = folder / note.name[1:].removesuffix(".crc32c")
        if path.is_file():
            read_checked(path, folder)


def checked_lines(path: Path) -> TextIO:
    """The same as text, for readers of CSV and of JSON lines."""
    return io.StringIO(read_checked(path).decode("utf-8"), newline="")
