"""One process at a time writes an output and its unfinished part."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bandbridge.base.errors import UserError
from bandbridge.base.runlock import holder, let_go, take


@contextmanager
def only_writer(out: Path, command: str) -> Iterator[None]:
    """Exclude other processes, on this machine or another one, from writing `out` while the block runs.

    The lock is a hidden file beside `out`, `.<name>.lock`, which the end of its process unlocks, in whatever way. Where
    none can be created the block runs without it: writing `out` will fail with a clear reason.

    Args:
        out: the file that the block writes.
        command: that writes it, for the message.

    Raises:
        UserError: another process is writing it; the message names it.
    """
    lock = out.absolute().with_name(f".{out.name}.lock")
    free = True
    with suppress(OSError):
        free = take(lock, command)
    if not free:
        raise UserError(
            f"{out} is being written by another process: {holder(lock)}. Wait for it to end, or name another --out."
        )
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: a process that waits for the deleted file locks the next one
            lock.unlink(missing_ok=True)
        let_go(lock)
