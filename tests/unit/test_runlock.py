"""Two processes do not make one run, and a killed one leaves no lock behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bandbridge import runlock
from bandbridge.errors import UserError

HOLD = """
import sys
from pathlib import Path
from bandbridge import runlock
runlock.hold(Path(sys.argv[1]), "demo")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path):
    lock = tmp_path / "run.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(runlock.__file__).parents[1])},
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=rf"run 'demo' is being made by another process \(id {holder.pid}\)"):
            runlock.hold(lock, "demo")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    runlock.hold(lock, "demo")
