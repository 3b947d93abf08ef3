"""What training reports as it runs: its history, its speed, TensorBoard's files, and whether it has gone wrong."""

import json
import math
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import torch

from bandbridge.base.files import whole_file
from bandbridge.base.progress import remark
from bandbridge.models.device import Precision, announce_precision
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import World

Record = dict[str, Any]
T = TypeVar("T")

WINDOW = 50
TIMES_THE_BEST = 10.0


def write_history(path: Path, history: Sequence[Record], *, checked: bool = True) -> None:
    """Write records as JSON, one object a line; numbers keep six significant digits.

    Args:
        checked: as of `files.whole_file`; not for a file that is to grow.
    """
    with whole_file(path, checked=checked) as part:
        part.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")


def precisions(history: Sequence[Record]) -> list[str]:
    """What a training computed in, 'float32 (why)': one entry, or several where it was resumed on other hardware."""
    return [record["precision"] for record in history if "precision" in record]


def short(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")


def mean(values: list[float]) -> float | None:
    """Of the finite ones: a step that a scaler skipped has no norm of its gradient."""
    finite = [value for value in values if math.isfinite(value)]
    return short(torch.tensor(finite).mean().item()) if finite else None


def latest_scores(history: Sequence[Record]) -> str:
    """The latest loss, and the latest scores on validation, for the progress bar."""
    latest: dict[str, Any] = {}
    for record in history[-10:]:
        latest |= {name: value for name, value in record.items() if name == "loss" or name.startswith("val_")}
    return ", ".join(f"{name} {value:.4g}" for name, value in latest.items() if value is not None)


def note_precision(
    history: list[Record],
    place: Mapping[str, int],
    name: str,
    precision: Precision,
    configured: str,
    device: torch.device,
    *,
    aloud: bool,
) -> None:
    """Keep what a training computes in, also where a resumed one changes it.

    Args:
        place: step and epoch of the record.
        name: of the stage.
        configured: the recipe's precision.
        aloud: also print it; one process does.
    """
    before = precisions(history)
    if aloud and before and before[-1].partition(" ")[0] != precision.name:
        print(
            f"{name}: until step {place['step']} it computed in {before[-1]}, on this machine it continues in "
            f"{precision}; set a precision other than 'auto' to have one on all machines.",
            flush=True,
        )
    elif aloud:
        announce_precision(name, configured, device)
    if not before or before[-1] != str(precision):
        history.append({**place, "precision": str(precision)})


def note_remarks(
    history: list[Record],
    place: Mapping[str, int],
    name: str,
    remarks: Sequence[str],
    warmup: int,
    total: int,
    *,
    aloud: bool,
) -> None:
    """Keep remarks, and one on a long warm-up, that the history of an interrupted training does not have yet.

    Args:
        place, name, aloud: as for `note_precision`.
        warmup, total: steps.
    """
    beginning = f"{name}: the warm-up takes {warmup:,} of the training's {total:,} steps"
    if warmup >= total:
        remarks = [*remarks, f"{beginning}, so that the learning rate never comes down; lower warmup_steps."]
    elif 2 * warmup > total:
        remarks = [*remarks, f"{beginning}, more than half of it."]
    kept = {record["remark"] for record in history if "remark" in record}
    for text in remarks:
        if aloud:
            remark(text)
        if text not in kept:
            history.append({**place, "remark": text})


@dataclass
class Guard:
    """Watches the loss of each step, to stop a training that has gone wrong before it costs more time.

    Attributes:
        warmup: steps before which only a loss that is not a number counts.
        recent: losses of the last steps, up to `WINDOW`.
        best: smallest mean of `WINDOW` losses so far.
    """

    warmup: int
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    best: float = math.inf

    def complaint(self, step: int, loss: float, gradient_norm: float) -> str | None:
        """What is wrong after a step, or None."""
        if not math.isfinite(loss):
            return "the loss is not finite"
        if not math.isfinite(gradient_norm):
            return "the gradient is not finite"
        if step <= self.warmup:
            return None
        self.recent.append(loss)
        if len(self.recent) < WINDOW:
            return None
        average = sum(self.recent) / WINDOW
        if average > TIMES_THE_BEST * self.best > 0:
            return f"training diverges: the loss of the last {WINDOW} steps is {average:.4g}, it was {self.best:.4g}"
        self.best = min(self.best, average)
        return None


class Monitor:
    """The files that grow during training, of rank 0; on any other process it does nothing.

    history.jsonl in the checkpoints' directory holds what the final history will. How fast it went differs from run to
    run, so it has a file of its own, speed.jsonl in `saving.monitor`: samples per second, the share of time spent
    waiting for data, the most memory in use so far. TensorBoard's files, if it is installed, are beside that.

    Args:
        history: of the steps done before, to begin with.
        step: how many are done; what the files hold of later ones is dropped.
    """

    def __init__(
        self, saving: Saving | None, world: World, history: Sequence[Record], step: int, device: torch.device
    ) -> None:
        self.clock = Clock()
        self._device = device
        self._files: dict[str, TextIO] = {}
        self._board: Any = None
        if saving is None or not world.is_first:
            return
        self._continue("history", saving.directory / "history.jsonl", history)
        if saving.monitor is not None:
            speed = saving.monitor / "speed.jsonl"
            self._continue("speed", speed, [record for record in read_records(speed) if record["step"] <= step])
            self._board = _tensorboard(saving.monitor / "tensorboard", step) if saving.tensorboard else None

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()
        if self._board is not None:
            self._board.close()

    def record(self, record: Record) -> None:
        """Write a record of the history."""
        self._write("history", record)

    def speed(self, step: int, epoch: int) -> None:
        """Write how fast it went since the last time."""
        self._write("speed", {"step": step, "epoch": epoch, **self.clock.lap(), "memory_mb": _memory(self._device)})

    def _continue(self, name: str, path: Path, records: Sequence[Record]) -> None:
        try:
            write_history(path, records, checked=False)
            self._files[name] = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            _lost(path, error)

    def _write(self, name: str, record: Record) -> None:
        if name in self._files:
            try:
                self._files[name].write(json.dumps(record) + "\n")
            except OSError as error:
                _lost(self._files.pop(name).name, error)
        if self._board is not None:
            for key, value in record.items():
                if key not in ("step", "epoch") and isinstance(value, int | float):
                    self._board.add_scalar(key, value, record["step"])


class Clock:
    """Counts samples and the time spent waiting for them."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0
        self._samples = 0

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """The items; the time until each is there is time spent waiting."""
        left = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(left)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield item

    def count(self, samples: int) -> None:
        self._samples += samples

    def lap(self) -> Record:
        """Samples a second and the share of time spent waiting, since the last lap."""
        now = time.perf_counter()
        seconds = now - self._start
        speed = {"samples_per_second": short(self._samples / seconds), "waiting": short(self._waited / seconds)}
        self._start, self._waited, self._samples = now, 0.0, 0
        return speed


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return short(torch.cuda.max_memory_allocated() / 1024**2)
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return short(peak / (1024**2 if sys.platform == "darwin" else 1024))


def read_records(path: Path) -> list[Record]:
    """The records of a file that a kill may have cut off."""
    records: list[Record] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records


def _tensorboard(directory: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("TensorBoard is not installed, so none of its files are written (pip install tensorboard).")
        return None
    try:
        return SummaryWriter(os.fspath(directory), purge_step=step + 1 if step else None)
    except OSError as error:
        _lost(directory, error)
        return None


def _lost(path: object, error: OSError) -> None:
    print(f"Warning: {path} cannot be written ({error.strerror}); training continues.", file=sys.stderr, flush=True)
