"""What a check of the doctor yields. It needs no installed packages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")
OK, NOTE, MISSING = "ok", "note", "missing"
SECONDS = 8.0  # time limit of what may hang
GB = 1e9


class Check(NamedTuple):
    """The result of a check, in words, and what to do about it; `state` is 'note' where a run works without it."""

    state: str
    what: str
    result: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8} {self.what:<14} {self.result}{f'. {self.remedy}' if self.remedy else ''}"


Checks = Iterator[Check]


def verdict(is_fine: bool, what: str, result: str, remedy: str = "", otherwise: str = NOTE) -> Check:
    """A check that is fine, or that has the state `otherwise` and a remedy."""
    return Check(OK, what, result) if is_fine else Check(otherwise, what, result, remedy)


def at_once(ask: Callable[[str], T], keys: Collection[str], seconds: float) -> dict[str, T]:
    """Key -> answer, asked at the same time, of those that come within some seconds."""
    answers: dict[str, T] = {}
    # Threads that hang in the network must not keep the process from ending.
    running = [threading.Thread(target=lambda key=key: answers.update({key: ask(key)}), daemon=True) for key in keys]
    for thread in running:
        thread.start()
    end = time.monotonic() + seconds
    for thread in running:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)
