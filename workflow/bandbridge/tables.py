"""Tables for a paper, as views of metrics.csv and of the PAINT curve; nothing is computed here but differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bandbridge.catalogue import dataset_names, load_dataset
from bandbridge.files import read_json

METRIC_NAMES = {
    "map": "mAP",
    "micro_map": "micro mAP",
    "average_precision": "AP",
    "accuracy": "accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "class_accuracy": "class accuracy",
    "median_rank": "median rank",
}
ENDS = {0.0: "zero-shot", 1.0: "fine-tuned"}
PER_CLASS = ("average_precision", "class_accuracy")
NOTHING = "This run has no such figures."


@dataclass(frozen=True)
class Cell:
    """A number as it is shown (percent, or a rank), with its interval and its gain in points; None shows as a dash."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column of numbers. Neighbours with the same `group` share a heading; `key` is the column's name in CSV."""

    group: str
    label: str
    key: str
    detail: str = ""
    smaller_is_better: bool = False


@dataclass(frozen=True)
class Line:
    """A row: its texts, one for each of the table's `headings`, then a cell for each column."""

    texts: tuple[str, ...]
    cells: tuple[Cell, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    name: str
    caption: str
    headings: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    lines: tuple[Line, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One PAINT curve: the rows of curve.csv, the alpha that was selected, and why."""

    clip: str
    dataset: str
    points: pd.DataFrame = field(repr=False)
    selected: float
    reason: str

    @property
    def has_supported(self) -> bool:
        return bool(self.points["supported_val"].notna().any() or self.points["supported_test"].notna().any())

    def metric(self, task: str) -> str:
        """Name of the metric of the 'patching' or the 'supported' task."""
        return metric_name(next(iter(self.points[f"{task}_metric"].dropna()), ""))

    def at(self, alpha: float) -> pd.Series:
        """The row of the grid point nearest to `alpha`."""
        return self.points.iloc[int(np.argmin(np.abs(self.points["alpha"] - alpha)))]


def read_curves(curves: Sequence[Path], selected: Sequence[Path]) -> list[Curve]:
    """The curves of `paint/<clip>.<dataset>/curve.csv`, each with the selected.json that stands beside it."""
    result = []
    for table, choice in zip(curves, selected, strict=True):
        clip, _, dataset = table.parent.name.rpartition(".")
        chosen = read_json(choice)
        points = pd.read_csv(table).sort_values("alpha", ignore_index=True)
        result.append(Curve(clip, dataset, points, float(chosen["alpha"]), chosen.get("reason", "")))
    return result


def all_tables(metrics: pd.DataFrame, curves: Sequence[Curve]) -> dict[str, Table]:
    """Every table of a run by name. A stage that was switched off gives a table without lines."""
    tables = (
        classification_table(metrics, curves),
        retrieval_table(metrics, curves),
        linear_probe_table(metrics, curves),
        paint_table(curves),
    )
    return {table.name: table for table in tables}


# --- names -----------------------------------------------------------------------------------------------------------


def dataset_title(name: str) -> str:
    """The title of a data set of the catalogue, its name otherwise."""
    return load_dataset(name).title if name in dataset_names() else name


def short_title(name: str) -> str:
    """A data set's title without what it explains in brackets at the end; for sentences and axes."""
    return dataset_title(name).partition(" (")[0]


def metric_name(metric: str) -> str:
    """'mAP' for 'map', 'R@5' for 'recall@5'."""
    return METRIC_NAMES.get(metric, metric.replace("recall@", "R@"))


def main_metric(metrics: Iterable[str]) -> str:
    """The metric that stands for a data set: macro mAP where there is one (multi-label), accuracy otherwise."""
    return "map" if "map" in set(metrics) else "accuracy"


def shown_models(metrics: pd.DataFrame, curves: Sequence[Curve]) -> dict[str, str]:
    """Encoder -> what a table calls it: the ends of the PAINT line, the selected alpha, then all that has no alpha."""
    selected = {f"{curve.clip}@{curve.selected:g}" for curve in curves}
    facts = metrics.drop_duplicates("encoder").set_index("encoder")[["alpha", "modality"]]
    names = {}
    for encoder, alpha in facts["alpha"].dropna().sort_values().items():
        parts = [ENDS[alpha]] if alpha in ENDS else []
        parts += ["patched"] if encoder in selected else []
        if parts:
            names[str(encoder)] = f"{' and '.join(parts).capitalize()} (α = {alpha:g})"
    for encoder, modality in facts.loc[facts["alpha"].isna(), "modality"].items():
        names[str(encoder)] = str(encoder) if modality == "rgb" else f"Aligned ({encoder})"
    return names


# --- views -----------------------------------------------------------------------------------------------------------


def headline(metrics: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task that carry its data set's main metric, on the test split (on val where there is no test)."""
    rows = metrics[(metrics["task"] == task) & (metrics["class"] == "")]
    keep = []
    for _, group in rows.groupby(["dataset", "nomenclature"], sort=False):
        split = "test" if "test" in set(group["split"]) else "val"
        keep.append(group[(group["metric"] == main_metric(group["metric"])) & (group["split"] == split)])
    return pd.concat(keep, ignore_index=True) if keep else rows


def classification_table(metrics: pd.DataFrame, curves: Sequence[Curve]) -> Table:
    """Zero-shot scores: a line a model, a column for each data set, nomenclature and prompt set."""
    return _model_table(
        "classification",
        "Zero-shot classification, in %, with bootstrap intervals and, signed, the gain over zero-shot CLIP in points.",
        headline(metrics, "zero-shot"),
        curves,
    )


def linear_probe_table(metrics: pd.DataFrame, curves: Sequence[Curve]) -> Table:
    """Linear probes on frozen embeddings: a line a model, a column for each data set and nomenclature."""
    return _model_table(
        "linear_probe",
        "Linear probe on frozen embeddings, in %, with bootstrap intervals and, signed, the gain over zero-shot CLIP's "
        "embeddings in points.",
        headline(metrics, "linear-probe"),
        curves,
    )


def _model_table(name: str, caption: str, rows: pd.DataFrame, curves: Sequence[Curve]) -> Table:
    names = shown_models(rows, curves)
    columns, cells = [], []
    for dataset, nomenclature, prompts, metric in _distinct(rows, "dataset", "nomenclature", "prompts", "metric"):
        chosen = rows[
            (rows["dataset"] == dataset) & (rows["nomenclature"] == nomenclature) & (rows["prompts"] == prompts)
        ]
        by_encoder = {str(row["encoder"]): row for _, row in chosen.iterrows()}
        base = next((float(row["value"]) for row in by_encoder.values() if row["alpha"] == 0), None)
        column = [_percent(by_encoder[encoder], base) if encoder in by_encoder else Cell() for encoder in names]
        cells.append(_with_best(column, best=max))
        key = "/".join(filter(None, [dataset, nomenclature, prompts, metric]))
        detail = ", ".join(filter(None, [nomenclature, prompts]))
        columns.append(Column(dataset_title(dataset), metric_name(metric), key, detail))
    lines = [Line((model,), tuple(column[index] for column in cells)) for index, model in enumerate(names.values())]
    return Table(name, caption, ("Model",), tuple(columns), tuple(lines), _sample_counts(rows))


def _distinct(rows: pd.DataFrame, *columns: str) -> list[tuple[str, ...]]:
    """The distinct combinations of these columns, in the order of the rows."""
    return list(rows[list(columns)].drop_duplicates().itertuples(index=False, name=None))


def retrieval_table(metrics: pd.DataFrame, curves: Sequence[Curve]) -> Table:
    """Retrieval between an RGB composite and all bands: a line for each model, data set and direction."""
    rows = metrics[(metrics["task"] == "retrieval") & (metrics["split"] == "test")]
    names = shown_models(rows, curves)
    measures = [metric for metric in rows["metric"].unique() if metric.startswith("recall@")]
    measures = sorted(measures, key=lambda metric: int(metric.partition("@")[2]))
    columns = [Column("Recall, %", metric_name(metric), metric) for metric in measures]
    columns.append(Column("", metric_name("median_rank"), "median_rank", smaller_is_better=True))
    lines = []
    for dataset, modality in _distinct(rows, "dataset", "modality"):
        group = rows[(rows["dataset"] == dataset) & (rows["modality"] == modality)]
        grid = [[_retrieval_cell(group, encoder, column) for encoder in names] for column in columns]
        grid = [
            _with_best(c, best=min if column.smaller_is_better else max)
            for c, column in zip(grid, columns, strict=True)
        ]
        for index, model in enumerate(names.values()):
            direction = modality.upper().replace("->", "\u00a0→\u00a0")
            line = Line((model, dataset_title(dataset), direction), tuple(cells[index] for cells in grid))
            lines.append(line)
    caption = (
        "Retrieval of a sample's counterpart in the other modality among the whole test split, by cosine similarity."
    )
    filled = tuple(line for line in lines if any(cell.value is not None for cell in line.cells))
    headings = ("Model", "Data set", "Query → gallery")
    return Table("retrieval", caption, headings, tuple(columns) if filled else (), filled, _sample_counts(rows))


def paint_table(curves: Sequence[Curve]) -> Table:
    """The PAINT curve, a line for each alpha; the selected one is strong."""
    tasks = ["patching", "supported"] if any(curve.has_supported for curve in curves) else ["patching"]
    columns = [
        Column(f"{task.capitalize()} task", f"{curves[0].metric(task)}, {split}", f"{task}_{split}")
        for task in tasks
        for split in ("val", "test")
        if curves
    ]
    if len(tasks) > 1:
        columns.append(Column("", "mean, val", "mean_val"))
    headings = ("Patched on", "α") if len(curves) > 1 else ("α",)
    lines = [
        Line(
            (dataset_title(curve.dataset), f"{point['alpha']:g}")[-len(headings) :],
            tuple(_curve_cell(point, column.key) for column in columns),
            strong=abs(point["alpha"] - curve.selected) < 1e-9,
        )
        for curve in curves
        for _, point in curve.points.iterrows()
    ]
    caption = "Weights between zero-shot (α = 0) and fine-tuned (α = 1) CLIP, in %; the selected α is in bold."
    return Table("paint", caption, headings, tuple(columns), tuple(lines))


def _percent(row: pd.Series, base: float | None = None) -> Cell:
    value = _scaled(row["value"])
    gain = None
    if value is not None and base is not None and row["alpha"] != 0:
        gain = value - 100 * base
    return Cell(value, _scaled(row["ci_low"]), _scaled(row["ci_high"]), gain)


def _retrieval_cell(rows: pd.DataFrame, encoder: str, column: Column) -> Cell:
    row = rows[(rows["encoder"] == encoder) & (rows["metric"] == column.key)]
    if row.empty:
        return Cell()
    return Cell(float(row["value"].iloc[0])) if column.smaller_is_better else _percent(row.iloc[0])


def _curve_cell(point: pd.Series, source: str) -> Cell:
    return Cell(_scaled(point[source]), _scaled(point.get(f"{source}_ci_low")), _scaled(point.get(f"{source}_ci_high")))


def _scaled(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else 100 * float(value)


def _with_best(cells: Sequence[Cell], best: Callable[[list[float]], float]) -> list[Cell]:
    """The cells, the best of at least two in bold; so is any that is shown with the same digits."""
    values = [cell.value for cell in cells if cell.value is not None]
    if len(values) < 2:
        return list(cells)
    shown = number(best(values))
    return [replace(cell, strong=cell.value is not None and number(cell.value) == shown) for cell in cells]


def _sample_counts(rows: pd.DataFrame) -> str:
    parts = []
    for dataset, split in _distinct(rows, "dataset", "split"):
        count = rows.loc[(rows["dataset"] == dataset) & (rows["split"] == split), "n"].max()
        parts.append(f"{dataset_title(dataset)} {count:,} ({split})")
    return f"Samples: {', '.join(parts)}." if parts else ""


def number(value: float | None, signed: bool = False) -> str:
    """One decimal, with a true minus sign; '–' for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    rounded = round(value, 1) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.1f}".replace("-", "−")
