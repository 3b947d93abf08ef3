"""Locks between processes on one or several machines: waiting processes name the holder, dead ones block nobody.

A lock is a file that the operating system locks (`flock`) and unlocks when its holder ends, in whatever way. Between
the nodes of a cluster this needs a file system that supports such locks; on one without any, lock files are used whose
holder is looked up by host and process. A file beside each lock (`.holder`) names its holder.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.base.limits import user

FOLDER = ".locks"  # beside what is shared
SECONDS_BEFORE_WORD, SECONDS_BETWEEN_TRIES = 3.0, 0.5
_held: dict[Path, FileLock] = {}


def take(path: Path, run: str) -> bool:
    """Take the lock file `path` for a run until `let_go` or the end of this process; False if another holds it.

    Raises:
        OSError: the file cannot be created or locked.
    """
    _make_folder(path.parent)
    lock = FileLock(path, mode=0o666, thread_local=False)  # another user of the folder may have to lock it next
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    _held[path] = lock
    facts = {"run": run, "process": os.getpid(), "host": socket.gethostname(), "user": user()}
    facts |= {"folder": os.getcwd(), "since": time.strftime("%H:%M:%S on %d %B %Y")}
    with suppress(OSError):  # a full disk: the lock is held all the same
        write_json(_note(path), facts, checked=False, durable=False)
    return True


def _make_folder(folder: Path) -> None:
    """Create a folder for locks with the write permissions of its parent."""
    if folder.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # another user's process created it
        # No sticky bit: it would keep users from locking each other's files.
        folder.chmod(folder.parent.stat().st_mode & 0o2777)


def let_go(path: Path) -> None:
    """Release a lock if this process holds it."""
    if lock := _held.pop(path, None):
        with suppress(OSError):
            _note(path).unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str:
    """The holder: "run 'demo' (process 4711 of anna on node7, since 10:15:00 on 25 November 2026, in /data/x)"."""
    try:
        return f"run '{read_json(_note(path))['run']}' ({_process(path)})"
    except (OSError, ValueError, KeyError, TypeError):
        return f"another process (lock: {path})"


def _process(path: Path) -> str:
    facts = read_json(_note(path))
    where = f"process {facts['process']} of {facts['user']} on {facts['host']}"
    return f"{where}, since {facts['since']}, in {facts['folder']}"


def hold(path: Path, run: str) -> None:
    """Take the lock of a run until this process ends; a killed run needs no unlocking.

    Raises:
        UserError: another process holds it.
    """
    try:
        free = take(path, run)
    except OSError as error:
        raise UserError(
            f"{path.parent.absolute()} cannot be written ({error.strerror}), and Snakemake keeps its records there; "
            "start the run in a folder of your own, such as a clone"
        ) from error
    if not free:
        raise UserError(
            f"another process is working on run '{run}': {holder(path)}. Wait for it, or choose another `run` name."
        )


def say(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


def take_all(purposes: Mapping[Path, str], run: str, say: Callable[[str], None] = say) -> bool:
    """Take several locks, waiting for their holders and naming them.

    No lock is held while waiting for another, so that two runs never wait for each other.

    Args:
        purposes: lock -> what its holder does, for the message: "makes digits in data/zarr".
        run: that takes them.
        say: prints the message.

    Returns:
        Whether there was a wait.

    Raises:
        OSError: a file cannot be created or locked.
    """
    named: set[str] = set()
    start = time.monotonic()
    waited = False
    while busy := _first_busy(purposes, run):
        # Not immediately: others hold a lock for seconds while they plan.
        if time.monotonic() - start > SECONDS_BEFORE_WORD and (who := holder(busy)) not in named:
            named.add(who)
            say(f"Waiting for {who}, which {purposes[busy]}; this one continues afterwards.")
        waited = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    return waited


@contextmanager
def alone(path: Path, run: str, purpose: str, say: Callable[[str], None] = say) -> Iterator[bool]:
    """Exclude other processes from blocks of the same `path`, waiting for the one inside and naming it.

    If the lock cannot be created the block runs without it: writing its outputs will fail with a clear reason.

    Args:
        path: of the lock.
        run: that takes it.
        purpose: what the block does, for the message of those who wait.
        say: prints the message.

    Yields:
        Whether there was a wait.
    """
    waited = False
    with suppress(OSError):
        waited = take_all({path: purpose}, run, say)
    try:
        yield waited
    finally:
        let_go(path)


def _first_busy(paths: Iterable[Path], run: str) -> Path | None:
    taken: list[Path] = []
    try:
        for path in paths:
            if path not in _held:
                if not take(path, run):
                    return path
                taken.append(path)
        taken = []
        return None
    finally:
        for path in taken:
            let_go(path)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")
