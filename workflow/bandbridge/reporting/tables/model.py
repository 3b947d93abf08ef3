"""Parts of every table: cells, columns and rows, the names of models and data sets, and numbers as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bandbridge.catalogue.datasets import dataset_names, load_dataset
from bandbridge.catalogue.titles import dataset_title, short_title
from bandbridge.metrics.intervals import FEWEST

METRIC_NAMES = {
    "map": "mAP",
    "micro_map": "micro mAP",
    "average_precision": "AP",
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "class_accuracy": "class accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "ece": "calibration error",
    "class_f1": "F1",
    "median_rank": "median rank",
    "centroid_distance": "centroid distance",
    "cosine_to_zero_shot": "cosine to zero-shot",
}
PREFIXES = {"recall@": "R@", "precision@": "P@", "label_map@": "mAP@"}
PER_CLASS = ("average_precision", "class_accuracy")
NOTHING = "This run has no such figures."
SIGNIFICANT = 0.05  # a gain with a smaller p value is called significant
STAR = "*"
ABOUT = "~"
APPROXIMATE = (
    f"{ABOUT} Approximate interval: fewer than {FEWEST} independent samples (or blocks of neighbouring ones) carry the "
    "rarest class."
)


@dataclass(frozen=True)
class Quote:
    """A published figure of what a cell is of: a score, or a gain in points, and its source.

    Attributes:
        value: the score, as displayed; None if only the gain was published.
        gain: in points.
        mark: refers to the source in the table's note.
        source: publication, place, certainty, and what is inferred.
    """

    value: float | None
    gain: float | None
    mark: str
    source: str


@dataclass(frozen=True)
class Cell:
    """A number as displayed (percent, or a rank), with its interval and its gain in points; None is shown as a dash.

    Attributes:
        value: the number.
        low: lower end of its interval.
        high: upper end.
        gain: in points.
        p: two-sided p value of the gain, on paired half-samples.
        strong: whether it is bold.
        few: whether too few samples are behind the interval for its nominal coverage.
        deviation: standard deviation of the number over runs.
        gain_deviation: that of the gain.
        quotes: published figures of the same model, data set and metric.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    p: float | None = None
    strong: bool = False
    few: bool = False
    deviation: float | None = None
    gain_deviation: float | None = None
    quotes: tuple[Quote, ...] = ()

    @property
    def about(self) -> str:
        """A tilde before an approximate interval."""
        return ABOUT if self.few and self.low is not None else ""

    @property
    def mark(self) -> str:
        """An asterisk after a gain that is unlikely to be chance."""
        return STAR if self.p is not None and self.p < SIGNIFICANT else ""


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        group: heading that neighbouring columns of the same group share.
        label: its heading.
        key: its name in CSV.
        detail: second line of the heading.
        smaller_is_better: whether the smallest number is the best.
        decimals: of its numbers.
        signed: whether its numbers are changes, shown with their sign.
    """

    group: str
    label: str
    key: str
    detail: str = ""
    smaller_is_better: bool = False
    decimals: int = 1
    signed: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        texts: one per heading of the table.
        cells: one per column.
        strong: whether the row is bold.
        source: where the figures were published, for a row that is not of this run.
    """

    texts: tuple[str, ...]
    cells: tuple[Cell, ...]
    strong: bool = False
    source: str = ""


@dataclass(frozen=True)
class Table:
    """A table: `headings` are those of its text columns, which `columns` of numbers follow."""

    name: str
    caption: str
    headings: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    lines: tuple[Line, ...] = ()
    note: str = ""


def rank_value(score: float) -> float:
    """A score to sort by: an undefined one (NaN), which has no order, comes below all others."""
    return -math.inf if math.isnan(score) else score


def distinct_titles(datasets: Iterable[str]) -> dict[str, str]:
    """Data set -> its short title, or its full one if two would have the same."""
    short = {name: short_title(name) for name in datasets}
    count = Counter(short.values())
    return {name: title if count[title] == 1 else dataset_title(name) for name, title in short.items()}


def titles_of_class_lists(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Data set and nomenclature of each row -> a title of its own, with the nomenclature if there are several."""
    tasks = list(dict.fromkeys(rows[["dataset", "nomenclature"]].itertuples(index=False, name=None)))
    titles, count = distinct_titles(rows["dataset"]), Counter(dataset for dataset, _ in tasks)
    return {
        (dataset, nomenclature): titles[dataset] if count[dataset] == 1 else f"{titles[dataset]}, {nomenclature}"
        for dataset, nomenclature in tasks
    }


def metric_name(metric: str) -> str:
    """'mAP' for 'map', 'R@5' for 'recall@5'."""
    for prefix, short in PREFIXES.items():
        if metric.startswith(prefix):
            return short + metric.removeprefix(prefix)
    return METRIC_NAMES.get(metric, metric)


def main_metric(dataset: str, metrics: Iterable[str]) -> str:
    """The headline metric of a data set among those that were measured.

    For a data set that is not in the catalogue, or that was scored with another headline: macro mAP if there is one
    (multi-label), otherwise accuracy, otherwise balanced accuracy.
    """
    measured = set(metrics)
    stated = [load_dataset(dataset).headline] if dataset in dataset_names() else []
    choices = (*stated, "map", "accuracy", "balanced_accuracy")
    return next((metric for metric in choices if metric in measured), "accuracy")


def modality_name(modality: str) -> str:
    """'RGB → S2' for 'rgb->s2', 'text → RGB' for 'text->rgb'."""
    parts = [part if part == "text" else part.upper() for part in modality.split("->")]
    return "\u00a0→\u00a0".join(parts)


def scaled(value: float | None) -> float | None:
    """A fraction in percent; None for None and NaN."""
    return None if value is None or pd.isna(value) else 100 * float(value)


def score_cell(row: Mapping[Hashable, Any]) -> Cell:
    """A row's value and interval in percent; a median rank as it is."""
    if row["metric"] == "median_rank":
        return Cell(float(row["value"]))
    return Cell(scaled(row["value"]), scaled(row["ci_low"]), scaled(row["ci_high"]), few=bool(row["units"] < FEWEST))


def with_best(cells: Sequence[Cell], column: Column) -> list[Cell]:
    """The cells, the best of at least two in bold, and any others with the same digits."""
    best: Callable[[list[float]], float] = min if column.smaller_is_better else max
    values = [cell.value for cell in cells if cell.value is not None]
    if len(values) < 2:
        return list(cells)
    digits = number(best(values), decimals=column.decimals)
    return [
        replace(cell, strong=cell.value is not None and number(cell.value, decimals=column.decimals) == digits)
        for cell in cells
    ]


def with_marks_explained(table: Table) -> Table:
    """The table, with a note on the meaning of a tilde before an interval if one has it."""
    approximate = any(cell.about for line in table.lines for cell in line.cells)
    return replace(table, note=f"{table.note} {APPROXIMATE}".strip()) if approximate else table


def number(value: float | None, signed: bool = False, decimals: int = 1) -> str:
    """A number as text, with a true minus sign; '–' for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{decimals}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """'38.0 %' of 0.38, with a space that does not break; '–' for None."""
    return "–" if share is None else f"{number(100 * share)}\N{NO-BREAK SPACE}%"
