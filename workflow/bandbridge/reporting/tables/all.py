"""Tables for a paper, as views of metrics.csv and of the PAINT curve; only differences are computed here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.metrics.intervals import FEWEST
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import (
    Cell,
    Column,
    Line,
    Table,
    distinct_titles,
    scaled,
    with_marks_explained,
)
from bandbridge.reporting.tables.scores import classification_table, details_table, few_shot_table, linear_probe_table
from bandbridge.reporting.tables.spaces import gap_table, retrieval_table, text_retrieval_table, words_table
from bandbridge.reporting.tables.study import Facts, ablations_table, prompts_table
from bandbridge.reporting.tables.view import View


def all_tables(  # noqa: PLR0913 (keyword-only options: the keys of the section `tables`)
    metrics: pd.DataFrame,
    curves: Sequence[Curve],
    *,
    students: Facts | None = None,
    words: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    notes: Sequence[str] = (),
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    decimals: int = 1,
    published: bool = True,
    patched: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Table]:
    """Every table of a run by name. The table of a stage that was switched off has no rows.

    Args:
        metrics: the rows of metrics.csv.
        curves: the PAINT curves.
        students: as from `ablation_facts`; None for no table of ablations.
        words: data set -> class -> the words that stand for it; words missing here are not shown.
        notes: what the run leaves out, in sentences, for the note of the classification's table.
        models: to show, in this order: encoders, '<line>@selected', or roles of encoders ('zero-shot', 'patched',
            'fine-tuned', 'aligned'); None for all.
        datasets: to show, in this order; None for all.
        decimals: of percentages.
        published: whether to add published figures, in the cells of the models that they are of.
        patched: the models that published figures may be of, as from `patched_models`.

    Raises:
        UserError: `models` or `datasets` has a name that is missing from the run.
    """
    view = View(metrics, curves, models, datasets, decimals, patched, students or {})
    tables = (
        classification_table(view, published, notes),
        details_table(view),
        prompts_table(view),
        retrieval_table(view, published),
        text_retrieval_table(view),
        words_table(view, words or {}),
        linear_probe_table(view, published),
        few_shot_table(view),
        gap_table(view, published),
        ablations_table(view, students or {}),
        paint_table(curves, decimals),
    )
    return {table.name: with_marks_explained(table) for table in tables}


def paint_table(curves: Sequence[Curve], decimals: int = 1) -> Table:
    """The PAINT curve, one row per alpha; the selected one is strong."""
    tasks = ["patching", "supported"] if any(curve.has_supported for curve in curves) else ["patching"]
    columns = [
        Column(f"{task.capitalize()} task", f"{curves[0].metric(task)}, {split}", f"{task}_{split}", decimals=decimals)
        for task in tasks
        for split in ("val", "test")
        if curves
    ]
    if len(tasks) > 1:
        columns.append(Column("", "mean, val", "mean_val", decimals=decimals))
    several_clips, several = len({curve.clip for curve in curves}) > 1, len(curves) > 1
    titles = distinct_titles(curve.dataset for curve in curves)
    headings = (*(["CLIP"] if several_clips else []), *(["Patched on"] if several else []), "α")
    lines = [
        Line(
            (
                *([curve.clip] if several_clips else []),
                *([titles[curve.dataset]] if several else []),
                alpha_name(point["alpha"]),
            ),
            tuple(_curve_cell(point, column.key) for column in columns),
            strong=point["alpha"] == curve.selected,
        )
        for curve in curves
        for _, point in curve.points.iterrows()
    ]
    caption = "Weights between zero-shot (α = 0) and fine-tuned (α = 1) CLIP, in %; the selected α is in bold."
    return Table("paint", caption, headings, tuple(columns), tuple(lines))


def _curve_cell(point: pd.Series, source: str) -> Cell:
    low, high = (scaled(point.get(f"{source}_ci_{end}")) for end in ("low", "high"))
    return Cell(scaled(point[source]), low, high, few=bool(point.get(f"{source}_units", FEWEST) < FEWEST))
