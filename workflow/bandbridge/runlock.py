"""One workflow process a run: a lock that the operating system lets go of when its holder dies."""

import fcntl
import os
from pathlib import Path

from bandbridge.errors import UserError

_held: dict[Path, int] = {}


def hold(path: Path, run: str) -> None:
    """Hold the lock file until this process ends, however it ends; a killed run needs no unlocking.

    Raises:
        UserError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode() or "unknown"
        os.close(handle)
        raise UserError(
            f"run '{run}' is being made by another process (id {holder}); wait for it, or choose another `run` name."
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    _held[path] = handle
