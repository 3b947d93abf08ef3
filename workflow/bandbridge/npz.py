"""NumPy's .npz files with a checksum of the whole file in the archive's comment, so that others read them as ever."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.checksums import crc32c, crc32c_of_file, damaged
from bandbridge.files import whole_file

_MARK = b"crc32c "
_COMMENT = len(_MARK) + 8


def save_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a .npz file; equal arrays give equal bytes.

    The CRC-32 of its members alone would leave their names, and data beyond a damaged header's shape, unchecked.
    """
    with whole_file(path) as part:
        with part.open("wb") as file:
            np.savez(file, **arrays)
        with part.open("r+b") as file:
            file.seek(-2, os.SEEK_END)  # the length of the comment that follows
            file.write(_COMMENT.to_bytes(2, "little"))
            file.flush()
            file.write(_MARK + f"{crc32c_of_file(part):08x}".encode())


def load_npz(path: Path) -> dict[str, NDArray]:
    """The arrays of a .npz file, by name; pickles are refused. A file without a checksum is read as it is.

    Raises:
        UserError: the file is not what was written.
    """
    content = path.read_bytes()
    at = content.rfind(_MARK, max(0, len(content) - _COMMENT))
    if at >= 0 and content[at:] != _MARK + f"{crc32c(content[:at]):08x}".encode():
        raise damaged(path, "its content does not match its checksum")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError, NotImplementedError) as error:
        raise damaged(path, f"it cannot be read as arrays ({error})") from error
