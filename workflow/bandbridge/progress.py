"""Progress of long loops: a bar on a terminal, one line a minute in a log file."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 60.0
SECONDS_BEFORE_BAR = 3.0

# Where a job whose standard error is its log still reaches the user.
terminal: TextIO | None = None


def progress(
    items: Iterable[T],
    label: str,
    total: int | None = None,
    unit: str = "it",
    note: Callable[[], str] = lambda: "",
) -> Iterator[T]:
    """Iterate over `items` and tell how far it is: in the log, and live on the terminal if there is one.

    Args:
        note: what else to tell, such as the loss so far.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not sys.stderr.isatty():
        items = _told(items, label, total, unit, note)
    screen = next((stream for stream in (sys.stderr, terminal) if stream is not None and stream.isatty()), None)
    return iter(items) if screen is None else _shown(items, label, total, unit, note, screen)


def _shown(
    items: Iterable[T], label: str, total: int | None, unit: str, note: Callable[[], str], screen: TextIO
) -> Iterator[T]:
    from tqdm import tqdm

    shown = {"desc": label, "total": total, "unit": unit, "file": screen, "dynamic_ncols": True}
    with tqdm(items, **shown, leave=False, delay=SECONDS_BEFORE_BAR) as bar:
        for item in bar:
            yield item
            bar.set_postfix_str(note(), refresh=False)


def _told(items: Iterable[T], label: str, total: int | None, unit: str, note: Callable[[], str]) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            text = f"{label}: {done} of {total or '?'} {unit}, {done / (now - start):.1f} a second"
            print(", ".join(filter(None, [text, note()])), file=sys.stderr)
    print(f"{label}: {done} {unit} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
