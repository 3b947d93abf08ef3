"""What a table shows: the rows of metrics.csv, the models and data sets to show, and their names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.paths import EncoderName, chosen_on, zero_shot
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import distinct_titles, main_metric
from bandbridge.scoring.rows import LEFT_OUT

ENDS = {0.0: "zero-shot", 1.0: "fine-tuned"}


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
        students: encoder -> fact -> value of each student, as from `ablation_facts`.
    """

    metrics: pd.DataFrame = field(repr=False)
    curves: Sequence[Curve] = field(repr=False)
    models: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    decimals: int = 1
    patched: Sequence[Mapping[str, Any]] = ()
    students: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def names(self) -> dict[str, str]:
        """Encoder -> its name in tables, in their order."""
        return shown_models(self.metrics, self.curves, self.models)

    @cached_property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Encoder -> its roles, see `encoder_roles`."""
        return encoder_roles(self.metrics, self.curves)

    @cached_property
    def clips(self) -> dict[str, str]:
        """Encoder -> its CLIP: the one that it was made from, or the teacher of a student."""
        facts = self.metrics.drop_duplicates("encoder")
        return dict(zip(facts["encoder"], facts["clip"], strict=True))

    @cached_property
    def titles(self) -> dict[str, str]:
        """Data set -> its title in tables: the short one if no other data set of the run has the same."""
        return distinct_titles(dict.fromkeys(self.metrics["dataset"]))

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


def sample_counts(view: View, rows: pd.DataFrame) -> str:
    """'Samples: Demo scene 75 (test).'"""
    parts = []
    for dataset, split in distinct(rows, "dataset", "split"):
        count = rows.loc[(rows["dataset"] == dataset) & (rows["split"] == split), "n"].max()
        parts.append(f"{view.titles[dataset]} {count:,} ({split})")
    return f"Samples: {', '.join(parts)}." if parts else ""


def left_out_counts(view: View, rows: pd.DataFrame) -> str:
    """'Left out, without a label in bigearthnet-19: BigEarthNet 1,234 (test).', for the data sets of `rows`."""
    counts = view.metrics[view.metrics["metric"] == LEFT_OUT].drop_duplicates(["dataset", "nomenclature", "split"])
    in_table = set(distinct(rows, "dataset", "nomenclature", "split"))
    parts: dict[str, list[str]] = {}
    for dataset, nomenclature, split, value in zip(
        counts["dataset"], counts["nomenclature"], counts["split"], counts["value"], strict=True
    ):
        if (dataset, nomenclature, split) in in_table:
            parts.setdefault(nomenclature, []).append(f"{view.titles[dataset]} {int(value):,} ({split})")
    return " ".join(f"Left out, without a label in {name}: {', '.join(texts)}." for name, texts in parts.items())
