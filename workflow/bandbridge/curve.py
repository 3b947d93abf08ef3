"""The PAINT curve: scores of the patching and the supported task along the line from zero-shot to fine-tuned."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bandbridge.errors import UserError
from bandbridge.files import whole_file
from bandbridge.metrics.rows import format_cell

if TYPE_CHECKING:
    import pandas as pd

HEADLINES = ("accuracy", "map")


@dataclass(frozen=True)
class Point:
    """Headline scores, 0..1, at one alpha, on validation and test; None where there is no such score.

    `mean_val` is the mean of both tasks on validation, or the patching task's score where it stands alone. `selected`
    is 1 at the chosen alpha and 0 elsewhere.
    """

    alpha: float
    patching_metric: str
    patching_val: float
    patching_val_ci_low: float
    patching_val_ci_high: float
    patching_test: float | None
    supported_metric: str | None
    supported_val: float | None
    supported_test: float | None
    mean_val: float
    selected: int = 0


def read_curve(
    metrics: "pd.DataFrame", alphas: Sequence[float], patching: Mapping[str, Any], supported: Mapping[str, Any] | None
) -> list[Point]:
    """The points of one CLIP's curve by rising alpha, none of them selected yet.

    Args:
        metrics: its zero-shot rows, as `rows.read_rows` gives them.
        patching, supported: of each task `dataset`, `prompts` and, where the rows have several, `nomenclature`.

    Raises:
        UserError: a score on the validation split is missing or undefined.
    """
    points = []
    for alpha in sorted(alphas):
        ours = _headline(metrics, alpha, patching)
        kept = _headline(metrics, alpha, supported) if supported else {}
        both = [scores["val"]["value"] for scores in (ours, kept) if scores]
        points.append(
            Point(
                alpha=alpha,
                patching_metric=ours["val"]["metric"],
                patching_val=ours["val"]["value"],
                patching_val_ci_low=ours["val"]["ci_low"],
                patching_val_ci_high=ours["val"]["ci_high"],
                patching_test=ours.get("test", {}).get("value"),
                supported_metric=kept.get("val", {}).get("metric"),
                supported_val=kept.get("val", {}).get("value"),
                supported_test=kept.get("test", {}).get("value"),
                mean_val=sum(both) / len(both),
            )
        )
    return points


def write_curve(path: Path, points: Sequence[Point], selected: float) -> None:
    """Write curve.csv, a line for each point, marking the selected alpha."""
    lines = [astuple(replace(point, selected=int(point.alpha == selected))) for point in points]
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Point)])
        writer.writerows([[format_cell(value) for value in line] for line in lines])


def _headline(metrics: "pd.DataFrame", alpha: float, task: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    """Split -> the row of a task's headline metric at one alpha."""
    rows = metrics[
        (metrics["task"] == "zero-shot") & metrics["metric"].isin(HEADLINES) & ((metrics["alpha"] - alpha).abs() < 1e-9)
    ]
    for key in ("dataset", "prompts", "nomenclature"):
        if key in task:
            rows = rows[rows[key] == task[key]]
    by_split = {str(row["split"]): dict(row) for _, row in rows.iterrows()}
    if "val" not in by_split or by_split["val"]["value"] != by_split["val"]["value"]:
        raise UserError(
            f"alpha is chosen on validation data, and {task['dataset']} has no score on its split val with the prompts "
            f"{task['prompts']} at alpha {alpha:g} (splits scored: {', '.join(sorted(by_split)) or 'none'}). "
            "Choose a task whose data set has labelled samples in val."
        )
    return by_split
