"""NumPy's .npz files with a checksum of the whole file in the archive's comment, which other readers ignore."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.checksums import crc32c_of_file, damaged
from bandbridge.base.files import whole_file

_MARK = b"crc32c "
_COMMENT = len(_MARK) + 8


def save_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a .npz file; equal arrays give equal bytes.

    The archive's CRC-32 of each member would leave names, and data beyond a damaged header's shape, unchecked.
    """
    with whole_file(path) as part:
        with part.open("wb") as file:
            np.savez(file, **arrays)
        with part.open("r+b") as file:
            file.seek(-2, os.SEEK_END)  # the length of the comment that follows
            file.write(_COMMENT.to_bytes(2, "little"))
            file.flush()
            file.write(_MARK + f"{crc32c_of_file(part):08x}".encode())


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file, by name; pickles are refused. A file without a checksum is not checked.

    Raises:
        UserError: the file is not what was written.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _COMMENT))
        end = file.read()
    at = end.rfind(_MARK)
    if at >= 0 and end[at:] != _MARK + f"{crc32c_of_file(path, size - len(end) + at):08x}".encode():
        raise damaged(path, "its content does not match its checksum")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError) as error:
        raise damaged(path, f"it cannot be read as arrays ({error})") from error
