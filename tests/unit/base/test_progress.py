"""Progress: lines in a log, and on the terminal."""

import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bandbridge.base import progress as module
from bandbridge.base.progress import duration, progress, relay, reporting, tracked

PACKAGE = {"PYTHONPATH": str(Path(module.__file__).parents[2])}


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is; the test moves it."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come as fast as they can, on terminals alone."""
    monkeypatch.setattr(module, "SECONDS_BEFORE_FIRST_LINE", 0.01)
    monkeypatch.setattr(module, "SECONDS_ON_A_TERMINAL", 0.01)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_RELAYS", 0.01)


def wait_for_lines(stream: io.StringIO, count: int) -> list[str]:
    deadline = time.monotonic() + 300
    while len(stream.getvalue().splitlines()) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return stream.getvalue().splitlines()


# --- what a line says ------------------------------------------------------------------------------------------------


def test_a_loop_tells_its_steps_its_note_and_the_time_left(clock: list[float]):
    with tracked("Training", "steps", total=1200) as loop:
        assert str(loop) == "Training: 0 of 1,200 steps"
        clock[0], loop.done, loop.note = 20.0, 300, "loss 1.5"
        assert str(loop) == "Training: 300 of 1,200 steps, loss 1.5, 60 s left"


def test_the_time_left_of_a_resumed_loop_follows_from_what_is_done_since(clock: list[float]):
    with tracked("Training", "steps", total=100, done=90) as loop:
        assert str(loop) == "Training: 90 of 100 steps"
        clock[0], loop.done = 60.0, 92
        assert str(loop) == "Training: 92 of 100 steps, 4 min left"


def test_a_loop_of_unknown_length_tells_what_is_done(clock: list[float]):
    with tracked("Reading", "samples") as loop:
        clock[0], loop.done = 60.0, 5000
        assert str(loop) == "Reading: 5,000 samples"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (89.4, "89 s"), (90, "2 min"), (3569, "59 min"), (3600, "1 h 00 min"), (97_500, "27 h 05 min")],
)
def test_durations_are_rounded_to_what_matters(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_loop_ends_with_how_many_and_how_long(clock: list[float], capsys: pytest.CaptureFixture[str]):
    for _ in progress(range(3), "Working", unit="steps"):
        clock[0] += 2
    assert capsys.readouterr().err == "Working: 3 steps in 6.0 s\n"


# --- who is told, and when -------------------------------------------------------------------------------------------


def test_a_job_without_a_loop_says_that_it_runs_and_names_its_log_once(
    impatient: None, monkeypatch: pytest.MonkeyPatch
):
    screen = Screen()
    monkeypatch.setattr(module, "terminal", screen)
    with reporting("plan (digits)", Path("logs/plan.log")):
        first, second = wait_for_lines(screen, 2)[:2]
    assert first == "plan (digits): running for 1 s (log: logs/plan.log)"
    assert second == "plan (digits): running for 1 s"


def test_the_innermost_loop_is_told_also_during_a_step(impatient: None, monkeypatch: pytest.MonkeyPatch):
    screen = Screen()
    monkeypatch.setattr(module, "terminal", screen)
    with reporting("finetune", Path("job.log")), tracked("Training", "steps", 5), tracked("Validating", "batches"):
        assert wait_for_lines(screen, 1)[0] == "Validating: 0 batches (log: job.log)"


def test_a_terminal_that_is_to_be_quiet_is(impatient: None, monkeypatch: pytest.MonkeyPatch):
    screen, log = Screen(), Screen()
    monkeypatch.setattr(module, "terminal", screen)
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setenv(module.QUIET, "1")
    with reporting("finetune", Path("job.log")), tracked("Training", "steps", 5):
        wait_for_lines(log, 2)
    assert screen.getvalue() == ""


def test_a_terminal_that_is_gone_costs_the_lines_alone(impatient: None, monkeypatch: pytest.MonkeyPatch):
    screen = Screen()
    screen.close()
    monkeypatch.setattr(module, "terminal", screen)
    monkeypatch.setattr(Screen, "isatty", lambda self: True)
    with reporting("finetune", Path("job.log")):
        time.sleep(0.1)


def test_the_loops_of_another_process_are_relayed(impatient: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    screen = Screen()
    monkeypatch.setattr(module, "terminal", screen)
    monkeypatch.setattr(module, "relayed", tmp_path / "progress.txt")
    with tracked("Training", "steps", 5), relay(tmp_path / "progress.txt"):
        while not (tmp_path / "progress.txt").exists():
            time.sleep(0.01)
    with reporting("finetune", Path("job.log")):
        assert wait_for_lines(screen, 1)[0] == "Training: 0 of 5 steps (log: job.log)"


JOB = """
import time
from types import SimpleNamespace
from bandbridge.base import progress, script

progress.SECONDS_BEFORE_FIRST_LINE = 0.1
progress.SECONDS_ON_A_TERMINAL, progress.SECONDS_IN_A_FILE = {on_a_terminal}, {in_a_file}

def main():
    for _ in progress.progress(range(80), "Working", unit="steps", note=lambda: "loss 0.5"):
        time.sleep(0.025)

nothing = {{"input": {{}}, "output": {{}}, "params": {{}}, "threads": 1, "config": {{}}}}
script.run(main, SimpleNamespace(**nothing, rule="work", wildcards=["a"], log=["job.log"]))
"""


def command(**seconds: float) -> list[str]:
    return [sys.executable, "-c", JOB.format(**seconds)]


@pytest.mark.slow
def test_a_job_with_a_log_is_live_on_a_terminal_of_any_size(tmp_path: Path):
    leader, terminal = pty.openpty()  # of no columns, as many a CI system has them
    with subprocess.Popen(
        command(on_a_terminal=0.2, in_a_file=1000), cwd=tmp_path, env=os.environ | PACKAGE, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while data := os.read(leader, 4096):
                shown += data
        except OSError:  # how Linux says that nobody holds the terminal any more
            pass
        os.close(leader)
    assert process.returncode == 0
    first, *lines = shown.decode().splitlines()
    assert re.fullmatch(r"Working: \d+ of 80 steps(, loss 0.5, \d+ s left)? \(log: job.log\)", first)
    assert len(lines) >= 2
    assert all(re.fullmatch(r"Working: \d+ of 80 steps, loss 0.5, \d+ s left", line) for line in lines)
    assert re.fullmatch(r"Working: 80 steps in \S+ s\n", (tmp_path / "job.log").read_text())


@pytest.mark.slow
def test_what_is_no_terminal_is_told_as_often_as_the_log(tmp_path: Path):
    run = command(on_a_terminal=1000, in_a_file=0.2)
    completed = subprocess.run(run, cwd=tmp_path, env=os.environ | PACKAGE, stderr=subprocess.PIPE, text=True)
    lines = completed.stderr.splitlines()
    *logged, _ = (tmp_path / "job.log").read_text().splitlines()
    assert lines[0].endswith("(log: job.log)")
    assert len(lines) >= 2
    assert len(logged) >= 2
    assert all(line.startswith("Working: ") for line in [*lines, *logged])
