"""Progress of long jobs: plain lines on the terminal, which several jobs share, and in the log."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, TypeVar

T = TypeVar("T")
SECONDS_BEFORE_FIRST_LINE = 5.0
SECONDS_ON_A_TERMINAL = 10.0
SECONDS_IN_A_FILE = 60.0
SECONDS_BETWEEN_RELAYS = 5.0
QUIET = "BANDBRIDGE_QUIET"  # set in the environment of jobs that must not write to the terminal

# The terminal of a job whose standard error is its log.
terminal: TextIO | None = None
# The file in which another process, which does the work, keeps its progress (`relay`).
relayed: Path | None = None


@dataclass(eq=False)
class Loop:
    """Progress of a loop.

    Attributes:
        label: what the loop does.
        unit: of `done` and `total`, such as 'steps'.
        total: None if unknown.
        done: so far, an earlier run's included.
        note: further text, such as the current loss.
        first: done in an earlier run.
        start: `time.monotonic()` at the beginning.
    """

    label: str
    unit: str
    total: int | None = None
    done: int = 0
    note: str = ""
    first: int = 0
    start: float = field(default_factory=lambda: time.monotonic())

    def begin(self, done: int, total: int | None) -> None:
        """Restart counting at `done`; the remaining time is estimated from what follows."""
        self.first, self.done, self.total, self.start = done, done, total, time.monotonic()

    def __str__(self) -> str:
        """'Fine-tuning demo-vit on demo_scene: 340 of 1,200 steps, loss 1.23, 40 s left'."""
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.label}: {self.done:,}{of} {self.unit}", self.note]
        if self.total is not None and self.done > self.first:
            left = (time.monotonic() - self.start) / (self.done - self.first) * (self.total - self.done)
            parts.append(f"{duration(left)} left")
        return ", ".join(filter(None, parts))


# Loops in progress, the innermost last.
_loops: list[Loop] = []


@contextmanager
def tracked(label: str, unit: str, total: int | None = None, done: int = 0) -> Iterator[Loop]:
    """A loop that `reporting` reports while the block runs; the caller counts in `done`."""
    loop = Loop(label, unit, total, done, first=done)
    _loops.append(loop)
    try:
        yield loop
    finally:
        _loops.remove(loop)


def progress(
    items: Iterable[T],
    label: str,
    total: int | None = None,
    unit: str = "it",
    note: Callable[[], str] = lambda: "",
    done: int = 0,
) -> Iterator[T]:
    """Iterate over `items` and count them for `reporting`; at the end, print their number and the time it took.

    Args:
        items: to iterate over.
        label: what the loop does.
        total: number of items, those `done` in an earlier run included; by default that of `items` and `done`.
        unit: what an item is called.
        note: further text, such as the current loss.
        done: items of an earlier run.
    """
    if total is None and isinstance(items, Sized):
        total = done + len(items)
    with tracked(label, unit, total, done) as loop:
        for item in items:
            yield item
            loop.done += 1
            loop.note = note()
    seconds = time.monotonic() - loop.start
    print(f"{label}: {loop.done - done:,} {unit} in {seconds:.1f} s", file=sys.stderr, flush=True)


def remark(text: str) -> None:
    """Print a note for readers of the results to the log and the terminal."""
    for stream in filter(None, (sys.stderr, None if os.environ.get(QUIET) else terminal)):
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            print(f"Note: {text}", file=stream, flush=True)


@contextmanager
def reporting(job: str, log: Path | None) -> Iterator[None]:
    """Report the job's progress while the block runs: every 10 s on a terminal, once a minute in a file.

    A step may take minutes and a job may have no loop at all, so a separate thread writes the lines.

    Args:
        job: its name on the terminal when it has no loop.
        log: the file that standard error goes to; None if that is the terminal.
    """
    with contextlib.ExitStack() as lines:
        lines.enter_context(_lines(sys.stderr, _loop))
        if log is not None and terminal is not None and not os.environ.get(QUIET):
            start = time.monotonic()
            names_log = iter([f" (log: {log})"])  # once; it would be most of the line

            def line() -> str:
                state = _loop() or _relayed() or f"{job}: running for {duration(time.monotonic() - start)}"
                return state + next(names_log, "")

            lines.enter_context(_lines(terminal, line))
        yield


@contextmanager
def relay(path: Path) -> Iterator[None]:
    """Keep this process's progress in a file while the block runs, for another process to report (`relayed`)."""

    def write() -> None:
        beside = path.with_suffix(".part")
        beside.write_text(_loop(), encoding="utf-8")
        os.replace(beside, path)

    with _regularly(write, SECONDS_BETWEEN_RELAYS, SECONDS_BETWEEN_RELAYS):
        yield


def duration(seconds: float, measured: bool = False) -> str:
    """'40 s', '12 min', '3 h 05 min'; of a measured time, finer below an hour: '4.2 s', '3 min 05 s'."""
    if measured and seconds < 3600:
        whole = round(seconds)
        if whole < 60:
            return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
        if whole < 3600:
            return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _loop() -> str:
    return "".join(map(str, _loops[-1:]))


def _relayed() -> str:
    try:
        return "" if relayed is None else relayed.read_text(encoding="utf-8")
    except OSError:
        return ""


@contextmanager
def _lines(stream: TextIO, line: Callable[[], str]) -> Iterator[None]:
    """Write a line to `stream` at intervals that suit it; an empty line is not written."""

    def write() -> None:
        if text := line():
            stream.write(f"{text}\n")
            stream.flush()

    on_screen = stream.isatty()
    first = SECONDS_BEFORE_FIRST_LINE if on_screen else SECONDS_IN_A_FILE
    with _regularly(write, first, SECONDS_ON_A_TERMINAL if on_screen else SECONDS_IN_A_FILE):
        yield


@contextmanager
def _regularly(do: Callable[[], None], first: float, seconds: float) -> Iterator[None]:
    """Call `do` after `first` and then every `seconds` seconds, in a thread; its I/O errors are ignored."""
    over = threading.Event()

    def call() -> None:
        wait = first
        while not over.wait(wait):
            wait = seconds
            with contextlib.suppress(OSError, ValueError):  # a terminal or a folder that is gone
                do()

    thread = threading.Thread(target=call, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1)  # no longer: a paused terminal accepts no line
