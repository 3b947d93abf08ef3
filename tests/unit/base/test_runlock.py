"""Two processes do not make one run, and a killed one leaves no lock behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from bandbridge.base import runlock
from bandbridge.base.errors import UserError

HOLD = """
import sys
from pathlib import Path
from bandbridge.base import runlock
runlock.hold(Path(sys.argv[1]), "demo")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path):
    lock = tmp_path / "run.lock"
    holder = held_by_another(lock)
    try:
        with pytest.raises(UserError, match=rf"another process is working on run 'demo': .*process {holder.pid} of "):
            runlock.hold(lock, "demo")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    runlock.hold(lock, "demo")
    runlock.let_go(lock)


def held_by_another(lock: Path) -> subprocess.Popen:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(runlock.__file__).parents[2])},
    )
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_whoever_waits_says_for_whom_and_holds_nothing_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runlock, "SECONDS_BEFORE_WORD", 0)
    free, busy = tmp_path / "a", tmp_path / "b"
    holder, words = held_by_another(busy), []

    def say(text: str) -> None:
        words.append(text)
        third = FileLock(free)
        third.acquire(blocking=False)  # raises where it is held
        third.release()
        holder.kill()
        holder.wait()

    runlock.take_all({free: "makes a", busy: "makes b"}, "second", say)
    assert len(words) == 1
    assert f"run 'demo' (process {holder.pid} of " in words[0]
    assert "makes b" in words[0]
    for path in (free, busy):
        assert "run 'second'" in runlock.holder(path)
        runlock.let_go(path)


def test_a_lock_that_cannot_be_made_does_not_stop_what_it_would_guard(tmp_path: Path):
    (tmp_path / "file").touch()
    with runlock.alone(tmp_path / "file" / "lock", "demo", "writes"):
        pass


def test_whoever_may_write_beside_the_locks_may_lock(tmp_path: Path):
    """Whatever the umask of who came first."""
    shared = tmp_path / "zarr"
    shared.mkdir()
    shared.chmod(0o2775)
    before = os.umask(0o077)
    try:
        assert runlock.take(shared / ".locks" / "digits.lock", "demo")
    finally:
        os.umask(before)
    runlock.let_go(shared / ".locks" / "digits.lock")
    assert (shared / ".locks").stat().st_mode & 0o7777 == 0o2775
    assert (shared / ".locks" / "digits.lock").stat().st_mode & 0o777 == 0o666
