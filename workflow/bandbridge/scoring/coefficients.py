"""One coefficient per task that is patched in parallel, searched jointly on validation data (PAINT, section 5)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError
from bandbridge.metrics.classification import unit_rows
from bandbridge.metrics.resampled import headline_score
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import load_clip
from bandbridge.models.device import announce_precision, best_device, cast_layers
from bandbridge.models.embed import encode_split
from bandbridge.models.paint import add_task_vectors
from bandbridge.models.weights import load_weights
from bandbridge.scoring.selection import TOLERANCE
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head

Point = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """The best coefficients of a search.

    Attributes:
        coefficients: one per task.
        value: the largest value of the objective.
        tried: every point that was tried -> its value, in their order.
        is_complete: whether no other value of a single coefficient is better; False where the search was cut short.
    """

    coefficients: Point
    value: float
    tried: Mapping[Point, float]
    is_complete: bool


def search(value_of: Callable[[Point], float], start: Point, grid: Sequence[float], most: int) -> Found:
    """The point of a grid with the largest value, by coordinate ascent: deterministic, and no point is tried twice.

    In each round every coefficient in turn takes its best value while the others stay. The search ends after a round
    that changes nothing: then no change of a single coefficient is an improvement. Of equally good values, that of the
    point so far is kept, otherwise the smallest. A full grid of n tasks would have len(grid) ** n points; a round has
    at most n * (len(grid) - 1).

    Args:
        value_of: the objective.
        start: the first point, whose coordinates may be outside the grid.
        grid: values of each coefficient.
        most: points that are tried at most, of which the first is `start`.
    """
    tried: dict[Point, float] = {}

    def value(point: Point) -> float:
        if point not in tried:
            tried[point] = value_of(point)
        return tried[point]

    best, improved = start, True
    value(best)
    while improved:
        improved = False
        for task in range(len(start)):
            for coefficient in sorted(grid):
                point = (*best[:task], coefficient, *best[task + 1 :])
                if point not in tried and len(tried) >= most:
                    return Found(best, tried[best], tried, is_complete=False)
                if value(point) > tried[best] + TOLERANCE:
                    best, improved = point, True
    return Found(best, tried[best], tried, is_complete=True)


def objective(
    patching: Sequence[float], kept: Sequence[float], kept_at_zero: Sequence[float], criterion: str, max_loss: float
) -> float:
    """What coefficients are chosen by: the rule of `select_alpha`, as one number.

    Args:
        patching: headline score (0..1) of each patching task on validation data.
        kept: of each supported task.
        kept_at_zero: the same of zero-shot CLIP.
        criterion: 'max_loss': the mean of the patching tasks, where no supported task loses more than `max_loss`; below
            zero where one does, by how much it loses too much. Otherwise the mean of the patching tasks' mean and the
            supported tasks' mean; without supported tasks, that of the patching tasks.
        max_loss: of that criterion.

    Raises:
        UserError: a score is undefined (NaN).
    """
    if not all(map(math.isfinite, (*patching, *kept))):
        raise UserError(
            "Coefficients cannot be searched: the validation score of a task is not defined (NaN). Its metric needs "
            "labelled samples of the classes in val; choose another task, or paint.coefficients: separately."
        )
    gained = sum(patching) / len(patching)
    if not kept:
        return gained
    if criterion == "max_loss":
        excess = max(before - now for before, now in zip(kept_at_zero, kept, strict=True)) - max_loss
        return gained if excess <= TOLERANCE else -excess
    return (gained + sum(kept) / len(kept)) / 2


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """A task whose validation split coefficients are judged by.

    Attributes:
        store: in the task's nomenclature.
        head: its zero-shot head.
        metric: its headline.
    """

    store: Store
    head: Head
    metric: str


class Judge:
    """Scores of CLIP plus task vectors times coefficients, on validation splits.

    Args:
        clip_directory: of the zero-shot CLIP.
        fine_tuned: the weights of each task's image encoder.
        tasks: that are scored.
        batch_size, precision: of encoding, see `embed.sweep`.
    """

    def __init__(
        self,
        clip_directory: Path,
        fine_tuned: Sequence[Path],
        tasks: Sequence[ValidationTask],
        batch_size: int,
        precision: str,
    ) -> None:
        self._clip, self._device, self._tasks = load_clip(clip_directory), best_device(), tasks
        self._visual = self._clip.visual.to(self._device).requires_grad_(False)
        self._zero_shot = {name: tensor.clone() for name, tensor in self._visual.state_dict().items()}
        self._ends = [
            {name: tensor.to(self._device) for name, tensor in load_weights(path).items()} for path in fine_tuned
        ]
        self._batch_size = batch_size
        self._precision = announce_precision("Searching coefficients", precision, self._device).name
        cast_layers(self._visual, self._precision)

    def scores(self, coefficients: Point) -> list[float]:
        """The headline (0..1) of each task at these coefficients."""
        mixed = add_task_vectors(self._zero_shot, self._ends, coefficients)
        with torch.no_grad():
            for name, tensor in self._visual.state_dict().items():
                tensor.copy_(mixed[name])
        scores = [self._score(task) for task in self._tasks]
        at = ", ".join(map(alpha_name, coefficients))
        print(f"Coefficients {at}: {', '.join(f'{score:.4f}' for score in scores)}", flush=True)
        return scores

    def _score(self, task: ValidationTask) -> float:
        store = task.store

        def prepare(pixels: torch.Tensor) -> torch.Tensor:
            return self._clip.inputs(views.rgb_image(pixels, store.modality, store.bands, store.composite))

        models = [lambda: self._visual]
        (embedding,) = encode_split(store, "val", prepare, models, self._batch_size, self._precision, self._device)
        logits = task.head.logit_scale * unit_rows(embedding) @ task.head.weights.T + task.head.logit_bias
        return headline_score(task.metric, store.split("val").labels, logits)
