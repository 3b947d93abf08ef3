"""The user's cache folder: fetched weights, and small results that take seconds to compute."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.npz import load_npz, save_npz

CACHE = "BANDBRIDGE_CACHE"
FORMAT = 1  # of results; another one makes all of them again
MOST_RESULTS = 500  # of a kind: the oldest are deleted
Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path:
    """The folder of what is fetched or kept: $BANDBRIDGE_CACHE, or ~/.cache/bandbridge."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "bandbridge")


def cached(kind: str, key: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that `compute` returns, which an earlier call with an equal key may have left in the cache.

    A damaged file is replaced, and where the cache cannot be written nothing is kept.

    Args:
        kind: of the results, a folder in the cache.
        key: everything that decides the arrays, as plain data: contents by their digest, versions of libraries.
        compute: makes the arrays.
    """
    text = json.dumps({"format": FORMAT, **key}, sort_keys=True, ensure_ascii=False)
    path = cache_folder() / kind / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"
    with suppress(OSError, UserError):
        return load_npz(path)
    arrays = compute()
    with suppress(OSError):
        save_npz(path, arrays)
        _delete_oldest(path.parent)
    return arrays


def digest_of_array(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values."""
    whole = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{whole.dtype.str} {whole.shape}".encode())
    digest.update(whole.tobytes())
    return digest.hexdigest()


def _delete_oldest(folder: Path) -> None:
    files = list(folder.glob("*.npz"))
    if len(files) > MOST_RESULTS:
        files.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in files[: len(files) - MOST_RESULTS]:
            path.unlink(missing_ok=True)
