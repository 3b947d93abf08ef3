"""Checksums (CRC-32C) of files that one stage writes and a later one reads, and the error when they differ."""

import shlex
from pathlib import Path
from typing import TextIO

import google_crc32c

from bandbridge.base.errors import UserError

_BLOCK = 2**22


def crc32c(content: bytes, before: int = 0) -> int:
    """CRC-32C of bytes that follow others whose CRC-32C is `before`."""
    value: int = google_crc32c.extend(before, content)
    return value


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
        path: of the file.
        fault: what is wrong with it.
        remove: what to delete; by default the file itself.
    """
    paths = remove or (path,)
    command = " ".join(["rm -r" if any(item.is_dir() for item in paths) else "rm", *map(_quoted, paths)])
    return UserError(
        f"{path} is damaged: {fault}. Likely causes are a failing disk, a full one, or an interrupted copy. "
        f"Delete it and run again to rebuild it: {command}"
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


# --- text files, which cannot hold a checksum themselves -----------------------------------------------------------


def checksum_file(path: Path) -> Path:
    """The hidden file beside `path` with its checksum."""
    return path.with_name(f".{path.name}.crc32c")


def checksum_line(path: Path) -> str:
    """The content of `path`'s checksum file: eight hexadecimal digits."""
    return f"{crc32c_of_file(path):08x}\n"


def verify(path: Path, *remove: Path) -> None:
    """Compare a file with the checksum beside it; a file without one is not checked.

    Args:
        path: of the file.
        remove: what to delete if they differ; by default the file and its checksum.

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
        raise UserError(f"{message}\nIf you edited it on purpose, delete only {note.name}.")


def verify_folder(folder: Path) -> None:
    """`verify` every file of a folder that has a checksum beside it."""
    for note in sorted(folder.glob(".*.crc32c")):
        path = folder / note.name[1:].removesuffix(".crc32c")
        if path.is_file():
            verify(path, folder)


def open_verified(path: Path) -> TextIO:
    """Open a text file after `verify`, with line ends unchanged, as the csv module expects."""
    verify(path)
    return path.open(encoding="utf-8", newline="")
