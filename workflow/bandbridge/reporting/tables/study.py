"""Tables of comparisons within a run: prompt sets, and students that differ in their recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bandbridge.reporting.tables.model import (
    SIGNIFICANT,
    STAR,
    Cell,
    Column,
    Line,
    Table,
    metric_name,
    modality_name,
    scaled,
    score_cell,
    with_best,
)
from bandbridge.reporting.tables.scores import Scores, probe_scores, score_cells, tested_gains, zero_shot_scores
from bandbridge.reporting.tables.view import View, distinct, grouped, headline, sample_counts

Facts = Mapping[str, Mapping[str, str]]
OVER_PATCHED = (
    f"Signed, the gain over the patched CLIP in points; {STAR} p < {SIGNIFICANT:g} (two-sided, paired half-samples)."
)


def prompts_table(view: View) -> Table:
    """Sensitivity to the prompt set: one row per model and data set that is scored with more than one."""
    rows = headline(view.task("zero-shot"), "zero-shot")
    columns = tuple(
        Column("Over prompt sets", label, key, decimals=view.decimals)
        for label, key in (("mean", "mean"), ("SD", "sd"), ("best", "best"), ("worst", "worst"))
    )
    lines = []
    for (dataset, nomenclature, metric), scored in grouped(rows, "dataset", "nomenclature", "metric").items():
        by_prompts = scored.pivot(index="prompts", columns="encoder", values="value")
        for encoder, name in view.of(scored).items():
            values = by_prompts[encoder].dropna()
            if len(values) < 2:
                continue
            best, worst = str(values.idxmax()), str(values.idxmin())
            numbers = (values.mean(), values.std(), values[best], values[worst])
            what = f"{metric_name(metric)}, {nomenclature}"
            texts = (name, view.titles[dataset], what, str(len(values)), best, worst)
            lines.append(Line(texts, tuple(Cell(scaled(value)) for value in numbers)))
    return Table(
        "prompts",
        "Sensitivity to the prompts: zero-shot scores, in %, over all prompt sets of a data set.",
        ("Model", "Data set", "Measure", "Sets", "Best set", "Worst set"),
        columns if lines else (),
        tuple(lines),
        sample_counts(view, rows) if lines else "",
    )


# --- ablations -------------------------------------------------------------------------------------------------------


def ablations_table(view: View, facts: Facts) -> Table:
    """The students side by side: their differences and their scores; empty for fewer than two.

    Args:
        view: the data, and how to display it.
        facts: as from `ablation_facts`.
    """
    scored = set(view.metrics["encoder"])
    compared = {encoder: facts[encoder] for encoder in view.names if encoder in facts and encoder in scored}
    caption = "The students, their differences, and their scores in %."
    if len(compared) < 2:
        return Table("ablations", caption, ("Student",))
    every = dict.fromkeys(key for values in compared.values() for key in values)
    differing = [key for key in every if len({values.get(key, "") for values in compared.values()}) > 1]
    parts = [*zero_shot_scores(view), *probe_scores(view, "linear-probe", label="probe, ")]
    parts = [part for part in parts if part.rows["encoder"].isin(compared).any()]
    columns = [part.column for part in parts]
    grid = [with_best(_over_patched(view, part, list(compared)), part.column) for part in parts]
    for column, cells in _recalls(view, list(compared)):
        columns.append(column)
        grid.append(with_best(cells, column))
    lines = [
        Line((encoder, *(values.get(key, "") for key in differing)), tuple(cells[index] for cells in grid))
        for index, (encoder, values) in enumerate(compared.items())
    ]
    has_gain = any(cell.gain is not None for line in lines for cell in line.cells)
    return Table(
        "ablations", caption, ("Student", *differing), tuple(columns), tuple(lines), OVER_PATCHED if has_gain else ""
    )


def _over_patched(view: View, part: Scores, encoders: Sequence[str]) -> list[Cell]:
    """Scores with the gain over the patched CLIP, if it was tested."""
    tested = {}
    if part.task == "zero-shot":
        every = view.task("zero-shot")
        same = (every["dataset"] == part.dataset) & (every["nomenclature"] == part.nomenclature)
        same &= every["prompts"] == part.rows["prompts"].iloc[0]
        tested = tested_gains(every[same], f"{part.metric}_gain_over_patched")
    return score_cells(replace(part, tested=tested), encoders, only_tested=True)


def _recalls(view: View, encoders: Sequence[str]) -> list[tuple[Column, list[Cell]]]:
    """Recall at the smallest k, in each direction."""
    rows = view.task("retrieval")
    rows = rows[(rows["split"] == "test") & rows["metric"].str.startswith("recall@") & rows["encoder"].isin(encoders)]
    if rows.empty:
        return []
    metric = min(rows["metric"].unique(), key=lambda name: int(name.partition("@")[2]))
    rows = rows[rows["metric"] == metric]
    result = []
    for dataset, modality in distinct(rows, "dataset", "modality"):
        group = rows[(rows["dataset"] == dataset) & (rows["modality"] == modality)]
        values = {str(row["encoder"]): score_cell(row) for row in group.to_dict("records")}
        key = f"{dataset}/{modality}/{metric}"
        column = Column(view.titles[dataset], metric_name(metric), key, modality_name(modality), decimals=view.decimals)
        result.append((column, [values.get(encoder, Cell()) for encoder in encoders]))
    return result
