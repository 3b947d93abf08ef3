"""The PAINT curve: scores of the patching and the supported tasks along the line from zero-shot to fine-tuned."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.scoring.rows import format_cell

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Point:
    """Headline scores, 0..1, at one alpha, on validation and test; None for a missing score.

    The score of several patching tasks is their mean, and so is that of several supported ones; only a single patching
    task has an interval. `mean_val` is the mean of both roles on validation, or the patching score alone. `selected` is
    1 at the chosen alpha and 0 elsewhere; `patching_val_units` is the number of independent units behind the interval.
    """

    alpha: float
    patching_metric: str
    patching_val: float
    patching_val_ci_low: float | None
    patching_val_ci_high: float | None
    patching_test: float | None
    supported_metric: str | None
    supported_val: float | None
    supported_test: float | None
    mean_val: float
    selected: int = 0
    patching_val_units: int | None = None


def read_curve(
    metrics: "pd.DataFrame",
    alphas: Sequence[float],
    patching: Sequence[Mapping[str, Any]],
    supported: Sequence[Mapping[str, Any]],
) -> tuple[list[Point], list[list[float]]]:
    """Read the scores of one line.

    Args:
        metrics: the zero-shot rows of its models, as `rows.read_rows` returns them.
        alphas: of the line, in any order.
        patching: per task `dataset`, `prompts`, `metric` (its headline) and, where the rows have several,
            `nomenclature`.
        supported: like `patching`.

    Returns:
        The points by rising alpha, none of them selected yet, and each supported task's validation scores.

    Raises:
        UserError: a score on the validation split is missing or undefined.
    """
    points = []
    each: list[list[float]] = [[] for _ in supported]
    for alpha in sorted(alphas):
        ours = [_headline(metrics, alpha, task) for task in patching]
        kept = [_headline(metrics, alpha, task) for task in supported]
        both = [mean for mean in (_mean(ours, "val"), _mean(kept, "val")) if mean is not None]
        alone = ours[0]["val"] if len(ours) == 1 else {}
        points.append(
            Point(
                alpha=alpha,
                patching_metric=_metric(ours) or "",
                patching_val=both[0],
                patching_val_ci_low=alone.get("ci_low"),
                patching_val_ci_high=alone.get("ci_high"),
                patching_test=_mean(ours, "test"),
                supported_metric=_metric(kept),
                supported_val=_mean(kept, "val"),
                supported_test=_mean(kept, "test"),
                mean_val=sum(both) / len(both),
                patching_val_units=_whole(alone.get("units")),
            )
        )
        for scores, by_split in zip(each, kept, strict=True):
            scores.append(by_split["val"]["value"])
    return points, each


def _whole(number: float | None) -> int | None:
    return None if number is None or math.isnan(number) else int(number)


def _mean(tasks: Sequence[Mapping[str, Mapping[Any, Any]]], split: str) -> float | None:
    """Mean of the tasks' scores on a split; None where one is missing."""
    scores = [task[split]["value"] for task in tasks if split in task]
    return sum(scores) / len(scores) if scores and len(scores) == len(tasks) else None


def _metric(tasks: Sequence[Mapping[str, Mapping[Any, Any]]]) -> str | None:
    names = {task["val"]["metric"] for task in tasks}
    return names.pop() if len(names) == 1 else "mean" if names else None


def write_curve(path: Path, points: Sequence[Point], selected: float) -> None:
    """Write curve.csv, one row per point, marking the selected alpha."""
    lines = [astuple(replace(point, selected=int(point.alpha == selected))) for point in points]
    with whole_file(path, checked=True) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Point)])
        writer.writerows([[alpha_name(line[0]), *map(format_cell, line[1:])] for line in lines])


def _headline(metrics: "pd.DataFrame", alpha: float, task: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    """Split -> the row of a task's headline metric at one alpha."""
    rows = metrics[(metrics["task"] == "zero-shot") & (metrics["alpha"] == alpha)]
    for key in ("dataset", "prompts", "nomenclature", "metric"):
        if key in task:
            rows = rows[rows[key] == task[key]]
    by_split = {str(row["split"]): dict(row) for _, row in rows.iterrows()}
    score = by_split.get("val")
    if score is not None and not math.isfinite(score["value"]):
        raise UserError(
            f"alpha is chosen on validation data, and {score['metric']} of {score['encoder']} on {task['dataset']} "
            f"(split val, prompts {task['prompts']}, alpha {alpha:g}) is {score['value']:g}: it is undefined. "
            "Choose a task whose data set has samples with and without each class in val."
        )
    if score is None:
        raise UserError(
            f"alpha is chosen on validation data, and {task['dataset']} has no score on its split val with the prompts "
            f"{task['prompts']} at alpha {alpha_name(alpha)} (splits scored: {', '.join(sorted(by_split)) or 'none'}). "
            "Choose a task whose data set has labelled samples in val."
        )
    return by_split
