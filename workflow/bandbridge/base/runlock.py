"""Locks between processes, on one machine or on several: whoever waits reads for whom, and the dead block nobody.

A lock is a file that the operating system locks (`flock`) and unlocks when its holder ends, however it ends. Between
the nodes of a cluster that needs a file system that passes such locks on; one that has none at all gets lock files
whose holder is looked up by host and process. A file beside each lock (`.holder`) names who holds it.
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
    """Take the lock file `path` for a run until `let_go` or the end of this process; False if another has it.

    Raises:
        OSError: the file cannot be made or locked here.
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
    with suppress(OSError):  # a full disk: the lock holds all the same
        write_json(_note(path), facts, checked=False, durable=False)
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder of locks that whoever may write beside it may write to."""
    if folder.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # another process has made it, for another user
        # No sticky bit: it would keep users from locking each other's files.
        folder.chmod(folder.parent.stat().st_mode & 0o2777)


def let_go(path: Path) -> None:
    """Release a lock that this process has; nothing if it has it not."""
    if lock := _held.pop(path, None):
        with suppress(OSError):
            _note(path).unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str:
    """Who has a lock: "run 'demo' (process 4711 of anna on node7, since 10:15:00 on 25 November 2026, in /data/x)"."""
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
        UserError: another process has it.
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
            f"run '{run}' is being made by another process: {holder(path)}. Wait for it, or choose another `run` name."
        )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def take_all(purposes: Mapping[Path, str], run: str, say: Callable[[str], None] = say) -> bool:
    """Take several locks, waiting for those who have them, and say for whom; whether there was a wait.

    None is held while another is waited for, so that two runs never wait for each other.

    Args:
        purposes: lock -> what its holder does, for the message: "makes digits in data/zarr".

    Raises:
        OSError: a file cannot be made or locked here.
    """
    named: set[str] = set()
    start = time.monotonic()
    waited = False
    while busy := _first_busy(purposes, run):
        # Not at once: others hold a lock for seconds while they plan.
        if time.monotonic() - start > SECONDS_BEFORE_WORD and (who := holder(busy)) not in named:
            named.add(who)
            say(f"Waiting for {who}, which {purposes[busy]}; then this one continues.")
        waited = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    return waited


@contextmanager
def alone(path: Path, run: str, purpose: str, say: Callable[[str], None] = say) -> Iterator[bool]:
    """While it lasts, no other process is in such a block of the same `path`; it is waited for, and named.

    Gives whether there was a wait.

    Where the lock cannot be made, the block runs without: what it writes will fail there with a reason of its own.
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
