"""Progress: lines in a log, and live on a terminal."""

import io
import itertools

import pytest

from bandbridge import progress as module
from bandbridge.progress import progress


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def minutes(monkeypatch):
    """A clock that goes on by a minute whenever it is looked at."""
    clock = itertools.count(step=60.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))


def test_a_log_has_a_line_a_minute_with_the_note_and_one_at_the_end(capsys, minutes):
    assert list(progress(range(3), "Working", unit="steps", note=lambda: "loss 0.5")) == [0, 1, 2]
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("Working: 1 of 3 steps")
    assert all(line.endswith(", loss 0.5") for line in lines)
    assert last.startswith("Working: 3 steps in")


def test_a_job_whose_errors_go_to_a_log_is_live_on_the_terminal_as_well(capsys, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(module, "terminal", screen)
    monkeypatch.setattr(module, "SECONDS_BEFORE_BAR", 0)
    assert list(progress(range(2000), "Working", note=lambda: "loss 0.5")) == list(range(2000))
    assert "Working" in screen.getvalue()
    assert "Working: 2000 it in" in capsys.readouterr().err


def test_without_a_terminal_nothing_is_live(capsys, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(module, "terminal", screen)
    assert list(progress([1], "Working")) == [1]
    assert screen.getvalue() == ""
