"""Checkpoints of a training run: written whole or not at all, checked when read, the last few kept."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bandbridge.base.files import checksum, flush_folder, whole_file
from bandbridge.training.distributed import EXIT_REQUEUE, Requeue, World, on_stop_signals, stop_asked

__all__ = ["EXIT_REQUEUE", "Checkpoints", "Requeue", "Saving", "identity", "remove_checkpoints", "stop_signals"]

# Of what a checkpoint holds and of how a training continues from it; 1 had the states of random generators.
FORMAT = 2

DEFAULTS = {"checkpoint_minutes": 10, "keep_checkpoints": 2, "validate_epochs": 1, "tensorboard": True}

Content = dict[str, Any]


@dataclass(frozen=True)
class Saving:
    """Where and how often a run is saved, and what may continue it.

    Attributes:
        directory: of this run's checkpoints alone.
        minutes: between two of them.
        keep: how many stay.
        identity: of recipe, data, seed and first weights; a checkpoint of another run is not continued.
        validate_epochs: epochs between two validations; the last epoch always has one.
        monitor: a directory for the speed of training and TensorBoard's files, or None.
        tensorboard: write the latter, if TensorBoard is installed.
    """

    directory: Path
    minutes: float
    keep: int
    identity: str
    validate_epochs: int = 1
    monitor: Path | None = None
    tensorboard: bool = True


def new_saving(
    settings: Mapping[str, Any] | None, directory: Path | str | None, monitor: Path | str | None, **parts: Any
) -> Saving | None:
    """How a script's training is saved; None where it is given no directory.

    Args:
        settings: the config's `train`: checkpoint_minutes, keep_checkpoints, validate_epochs, tensorboard.
        directory, monitor: see `Saving`.
        parts: for `identity`; a path stands for the checksum of its file.
    """
    if directory is None:
        return None
    contents = {name: checksum(part) if isinstance(part, Path) else part for name, part in parts.items()}
    chosen = DEFAULTS | dict(settings or {})
    return Saving(
        Path(directory),
        chosen["checkpoint_minutes"],
        chosen["keep_checkpoints"],
        identity(**contents, validate_epochs=chosen["validate_epochs"]),
        chosen["validate_epochs"],
        None if monitor is None else Path(monitor),
        chosen["tensorboard"],
    )


def identity(**parts: Any) -> str:
    """One hash of everything that decides how a run goes: recipe, data, seed, first weights."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoints:
    """The checkpoints of one run. Rank 0 writes, all read.

    A file is named by its run's identity, its step and its own SHA-256: <identity>-<step>-<sha256>.pt. It holds
    tensors and plain types only, so reading one runs no code.
    """

    def __init__(self, saving: Saving, world: World) -> None:
        self._saving = saving
        self._world = world
        self._last = time.monotonic()
        self.latest: Path | None = None

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= 60 * self._saving.minutes

    def load(self) -> Content | None:
        """The newest whole checkpoint of this run, on the CPU; None where there is none."""
        self.latest = self._world.from_first(self._newest() if self._world.is_first else None)
        return None if self.latest is None else _read(self.latest)

    def save(self, content: Content) -> None:
        """Write a checkpoint, then drop all but the last few.

        A disk that is full or away costs the checkpoint, not the training.

        Args:
            content: with 'step'; tensors and plain types.
        """
        self._last = time.monotonic()
        if not self._world.is_first:
            return
        directory = self._saving.directory
        try:
            written = directory / "new.pt"
            with whole_file(written) as part:
                torch.save(content | {"identity": self._saving.identity}, part)
                digest = checksum(part)
            # A file with this name is whole: its name came last.
            self.latest = directory / f"{self._mark}-{content['step']:09d}-{digest}.pt"
            os.replace(written, self.latest)
            flush_folder(directory)
        except (OSError, RuntimeError) as error:  # torch has its own error for a write that fails
            _warn(f"no checkpoint at step {content['step']}: {error}. Training continues; the last ones stay")
            self.latest = next(iter(self._own()), None)
            return
        for old in set(self._all()) - set(self._own()[: self._saving.keep]):
            old.unlink(missing_ok=True)

    @property
    def _mark(self) -> str:
        return hashlib.sha256(f"{FORMAT} {self._saving.identity}".encode()).hexdigest()[:12]

    @property
    def _first_mark(self) -> str:
        """The mark of this run's checkpoints of format 1."""
        return hashlib.sha256(self._saving.identity.encode()).hexdigest()[:12]

    def _all(self) -> list[Path]:
        return sorted(self._saving.directory.glob("*-*-*.pt"))

    def _own(self) -> list[Path]:
        """This run's, the newest first."""
        return sorted(self._saving.directory.glob(f"{self._mark}-*-*.pt"), reverse=True)

    def _newest(self) -> Path | None:
        directory = self._saving.directory
        for left in [*directory.glob(".*.part"), directory / "new.pt"]:
            left.unlink(missing_ok=True)
        for path in self._own():
            if checksum(path) == path.stem.rpartition("-")[2]:
                return path
            _warn(f"{path} is damaged (its SHA-256 is not that of its name) and is dropped; the one before counts")
            path.unlink(missing_ok=True)
        if earlier := list(directory.glob(f"{self._first_mark}-*-*.pt")):
            print(
                f"{max(earlier)} was written by an earlier version of BandBridge, which drew its random numbers in "
                "another way: training starts again from its first step, and the file is removed when its first "
                "checkpoint is written. To continue it, use that version.",
                flush=True,
            )
        elif self._all():
            print(
                f"{directory} holds checkpoints of another run (another recipe, data, seed or first weights), which "
                "cannot be continued: training starts again from its first step, and they are removed when its first "
                "checkpoint is written.",
                flush=True,
            )
        return None


def remove_checkpoints(saving: Saving | None, world: World) -> None:
    """Drop a run's checkpoints; for when the trained weights are written."""
    if saving is None or not world.is_first:
        return
    for path in [*saving.directory.glob("*-*-*.pt"), saving.directory / "history.jsonl"]:
        path.unlink(missing_ok=True)
    if saving.directory.is_dir() and not any(saving.directory.iterdir()):
        saving.directory.rmdir()


@contextmanager
def stop_signals(active: bool = True) -> Iterator[Callable[[], bool]]:
    """Within it SIGTERM and SIGUSR1 end nothing at once; what it gives tells whether one has come."""
    if not active:
        yield lambda: False
        return
    seen: list[bool] = []
    with on_stop_signals(lambda: seen.append(True)):
        yield lambda: bool(seen) or stop_asked()


def _read(path: Path) -> Content:
    content: Content = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _warn(text: str) -> None:
    print(f"Warning: {text}.", file=sys.stderr, flush=True)
