"""Parts of every table: cells, columns and rows, the names of models and data sets, and numbers as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.base.checksums import verify
from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.files import read_json
from bandbridge.base.paths import EncoderName, chosen_on, zero_shot
from bandbridge.catalogue.datasets import dataset_names, load_dataset
from bandbridge.catalogue.titles import dataset_title, short_title
from bandbridge.metrics.intervals import FEWEST
from bandbridge.scoring.rows import LEFT_OUT

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
ENDS = {0.0: "zero-shot", 1.0: "fine-tuned"}
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


@dataclass(frozen=True)
class Curve:
    """One PAINT curve: the rows of curve.csv, the selected alpha, and the reason for it."""

    clip: str
    dataset: str
    points: pd.DataFrame = field(repr=False)
    selected: float
    reason: str

    @property
    def chosen(self) -> str:
        """The encoder at the selected alpha."""
        return str(EncoderName(self.clip, self.selected))

    @property
    def has_supported(self) -> bool:
        return bool(self.points["supported_val"].notna().any() or self.points["supported_test"].notna().any())

    def metric(self, task: str) -> str:
        """Name of the metric of the 'patching' or the 'supported' task."""
        return metric_name(next(iter(self.points[f"{task}_metric"].dropna()), ""))

    def at(self, alpha: float) -> pd.Series:
        """The row of the grid point nearest to `alpha`."""
        return self.points.iloc[int(np.argmin(np.abs(self.points["alpha"] - alpha)))]


def rank_value(score: float) -> float:
    """A score to sort by: an undefined one (NaN), which has no order, comes below all others."""
    return -math.inf if math.isnan(score) else score


def read_curves(curves: Sequence[Path], selected: Sequence[Path]) -> list[Curve]:
    """The curves of PAINT lines from their curve.csv and, in the same order, selected.json.

    Raises:
        UserError: a selected.json does not say which line it is of.
    """
    return [read_curve(*files) for files in zip(curves, selected, strict=True)]


def read_curve(table: Path, choice: Path, line: str | None = None, datasets: Sequence[str] = ()) -> Curve:
    """The curve of one line.

    Args:
        table: its curve.csv.
        choice: its selected.json.
        line: its name, if an earlier version wrote the choice without it.
        datasets: its data sets, likewise.

    Raises:
        UserError: neither the choice nor `line` names the line.
    """
    chosen = read_json(choice)
    line, datasets = chosen.get("line", line), chosen.get("datasets", datasets)
    if line is None:
        raise UserError(f"{choice} does not name its line: an earlier version wrote it. Repeat that run.")
    verify(table)
    points = pd.read_csv(table).sort_values("alpha", ignore_index=True)
    return Curve(line, "+".join(datasets), points, float(chosen["alpha"]), chosen.get("reason", ""))


@dataclass(frozen=True)
class View:
    """The data of tables, and how to display it.

    Attributes:
        metrics: the rows of metrics.csv.
        curves: the PAINT curves.
        models: to show, in this order, as for `shown_models`; None for all.
        datasets: to show, in this order; None for all, in the order of the rows.
        decimals: of percentages.
        patched: the models that published figures may be of, as from `patched_models`.
    """

    metrics: pd.DataFrame = field(repr=False)
    curves: Sequence[Curve] = field(repr=False)
    models: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    decimals: int = 1
    patched: Sequence[Mapping[str, str]] = ()

    @cached_property
    def names(self) -> dict[str, str]:
        """Encoder -> its name in tables, in their order."""
        return shown_models(self.metrics, self.curves, self.models)

    def task(self, name: str) -> pd.DataFrame:
        """The rows of a task over all classes, of the data sets to show, in their order."""
        rows = self.metrics[(self.metrics["task"] == name) & (self.metrics["class"] == "")]
        if self.datasets is None:
            return rows
        check_names(self.datasets, set(self.metrics["dataset"]), "data set")
        order = {dataset: index for index, dataset in enumerate(self.datasets)}
        rows = rows[rows["dataset"].isin(order)]
        return rows.sort_values("dataset", key=lambda names: names.map(order), kind="stable")

    def of(self, rows: pd.DataFrame) -> dict[str, str]:
        """The names of the encoders in these rows."""
        encoders = set(rows["encoder"])
        return {encoder: name for encoder, name in self.names.items() if encoder in encoders}


def check_names(names: Iterable[str], available: Iterable[str], what: str) -> None:
    """Raise a UserError for the first name that is missing from the run."""
    listed = sorted(available)
    for name in names:
        if name not in listed:
            raise UserError(
                f"tables: the {what} '{name}' is not in metrics.csv, which has {', '.join(listed)}."
                f"{did_you_mean(name, listed)} Correct it, or omit the list to show all."
            )


# --- names -----------------------------------------------------------------------------------------------------------


def distinct_titles(datasets: Iterable[str]) -> dict[str, str]:
    """Data set -> its short title, or its full one if two would have the same."""
    short = {name: short_title(name) for name in datasets}
    count = Counter(short.values())
    return {name: title if count[title] == 1 else dataset_title(name) for name, title in short.items()}


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


def line_of(encoder: str) -> str:
    """The PAINT line of an encoder `<line>@<alpha>`."""
    return EncoderName.parse(encoder).line


def encoder_roles(metrics: pd.DataFrame, curves: Sequence[Curve]) -> dict[str, tuple[str, ...]]:
    """Encoder -> its roles: 'zero-shot', 'fine-tuned', 'patched', 'aligned'; none for any other encoder.

    The encoders are in the order of tables: each PAINT line's by alpha, then those without alpha.
    """
    selected = {curve.chosen for curve in curves}
    facts = metrics.drop_duplicates("encoder").set_index("encoder")[["alpha", "clip"]]
    on_line = facts[facts["alpha"].notna()]
    lines = list(dict.fromkeys(map(line_of, on_line.index)))
    roles = {}
    for encoder in sorted(on_line.index, key=lambda name: (lines.index(line_of(name)), on_line["alpha"][name])):
        clip, alpha = on_line["clip"][encoder], on_line["alpha"][encoder]
        # On a line that starts at a patched model, alpha 0 is not zero-shot CLIP.
        ends = (ENDS[alpha],) if alpha == 1 or encoder == zero_shot(clip) else ()
        roles[str(encoder)] = (*ends, *(["patched"] if encoder in selected else []))
    # Rows of the gap name both modalities; all others, the encoder's input.
    others = metrics[metrics["task"] != "gap"]
    rgb = set(others.loc[others["modality"] == "rgb", "encoder"])
    clips = set(on_line["clip"])
    for encoder, clip in facts.loc[facts["alpha"].isna(), "clip"].items():
        aligned = encoder not in rgb and (clip in clips or not clips)
        roles[str(encoder)] = ("aligned",) if aligned else ()
    return roles


def shown_models(metrics: pd.DataFrame, curves: Sequence[Curve], models: Sequence[str] | None = None) -> dict[str, str]:
    """Encoder -> its name in a table: the ends of the PAINT line, the selected alpha, then all without alpha.

    Args:
        metrics: the rows of metrics.csv.
        curves: the PAINT curves.
        models: to show, in this order: encoders, '<line>@selected', or roles of encoders ('zero-shot', 'patched',
            'fine-tuned', 'aligned'); None for all.

    Raises:
        UserError: one of `models` is not among the encoders.
    """
    roles = encoder_roles(metrics, curves)
    alphas = metrics.drop_duplicates("encoder").set_index("encoder")["alpha"].to_dict()
    several = len({line_of(encoder) for encoder in roles if not math.isnan(alphas[encoder])}) > 1
    names = {encoder: _model_name(encoder, parts, alphas[encoder], several) for encoder, parts in roles.items()}
    if models is None:
        return {encoder: name for encoder, name in names.items() if roles[encoder] or math.isnan(alphas[encoder])}
    called = {encoder: {encoder, *parts} for encoder, parts in roles.items()}
    for encoder, parts in roles.items():
        called[encoder] |= {chosen_on(line_of(encoder))} if "patched" in parts else set()
    check_names(
        models, {*ENDS.values(), "patched", "aligned", *(name for some in called.values() for name in some)}, "model"
    )
    chosen = [encoder for model in models for encoder in names if model in called[encoder]]
    return {encoder: names[encoder] for encoder in dict.fromkeys(chosen)}


def _model_name(encoder: str, roles: tuple[str, ...], alpha: float, several: bool) -> str:
    if math.isnan(alpha):
        return f"Aligned ({encoder})" if roles else encoder
    what = " and ".join(roles) or "interpolated"
    what = f"{line_of(encoder)}, {what}" if several else what.capitalize()
    return f"{what} (α = {alpha_name(alpha)})"


# --- views -----------------------------------------------------------------------------------------------------------


def headline(metrics: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task with its data set's main metric, on the test split (on val without a test split)."""
    rows = metrics[(metrics["task"] == task) & (metrics["class"] == "")]
    keep = []
    for (dataset, _), group in rows.groupby(["dataset", "nomenclature"], sort=False):
        split = "test" if "test" in set(group["split"]) else "val"
        metric = main_metric(str(dataset), group["metric"])
        keep.append(group[(group["metric"] == metric) & (group["split"] == split)])
    return pd.concat(keep, ignore_index=True) if keep else rows


def distinct(rows: pd.DataFrame, *columns: str) -> list[tuple[str, ...]]:
    """The distinct combinations of these columns, in the order of the rows."""
    return list(rows[list(columns)].drop_duplicates().itertuples(index=False, name=None))


def grouped(rows: pd.DataFrame, *columns: str) -> dict[tuple[str, ...], pd.DataFrame]:
    """The rows of each of the distinct combinations of these columns, in the order of the rows."""
    groups = rows.groupby(list(columns), sort=False)
    return {tuple(map(str, key)) if isinstance(key, tuple) else (str(key),): group for key, group in groups}


def scaled(value: float | None) -> float | None:
    """A fraction in percent; None for None and NaN."""
    return None if value is None or pd.isna(value) else 100 * float(value)


def percent_cell(row: Mapping[Hashable, Any]) -> Cell:
    """A row's value and interval in percent."""
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


def sample_counts(rows: pd.DataFrame) -> str:
    """'Samples: Demo scene 75 (test).'"""
    parts = []
    for dataset, split in distinct(rows, "dataset", "split"):
        count = rows.loc[(rows["dataset"] == dataset) & (rows["split"] == split), "n"].max()
        parts.append(f"{dataset_title(dataset)} {count:,} ({split})")
    return f"Samples: {', '.join(parts)}." if parts else ""


def left_out_counts(metrics: pd.DataFrame, rows: pd.DataFrame) -> str:
    """'Left out, without a label in bigearthnet-19: BigEarthNet 1,234 (test).', for the data sets of `rows`."""
    counts = metrics[metrics["metric"] == LEFT_OUT].drop_duplicates(["dataset", "nomenclature", "split"])
    in_table = set(distinct(rows, "dataset", "nomenclature", "split"))
    parts: dict[str, list[str]] = {}
    for dataset, nomenclature, split, value in zip(
        counts["dataset"], counts["nomenclature"], counts["split"], counts["value"], strict=True
    ):
        if (dataset, nomenclature, split) in in_table:
            parts.setdefault(nomenclature, []).append(f"{dataset_title(dataset)} {int(value):,} ({split})")
    return " ".join(f"Left out, without a label in {name}: {', '.join(texts)}." for name, texts in parts.items())


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
