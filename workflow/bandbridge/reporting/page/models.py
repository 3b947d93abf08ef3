"""The report's comparisons of models class by class: scores, gains, and confusions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bandbridge.base.paths import EncoderName, is_on_a_line
from bandbridge.config.lines import tasks
from bandbridge.reporting.figures import models as plots_models
from bandbridge.reporting.figures.drawing import NOTHING, Album, Plot
from bandbridge.reporting.figures.style import MODEL_COLOURS, MOST_CLASSES
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import PER_CLASS, metric_name, number, rank_value, titles_of_class_lists
from bandbridge.reporting.tables.view import headline, shown_models

MOST_CONFUSIONS = 12
TO = " -> "


@dataclass(frozen=True)
class ClassScores:
    """Scores of one data set's classes.

    Attributes:
        title: of the data set, and its nomenclature where several are scored.
        plot: of the scores.
        scores: one column per model, in percent.
        samples: per class.
        gain: in points; None with a single model.
    """

    title: str
    plot: Plot
    scores: pd.DataFrame
    samples: pd.Series
    gain: pd.Series | None


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices of one data set, and their largest cells off the diagonal: classes and shares in percent."""

    title: str
    plot: Plot
    largest: pd.DataFrame


def prompts_of_tasks(config: Mapping[str, Any]) -> dict[str, str]:
    """Data set -> the prompts of the task on it."""
    return {task["dataset"]: task["prompts"] for role in ("supported", "patching") for task in tasks(config, role)}


def by_task(config: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[tuple[str, str, str, str, pd.DataFrame]]:
    """Data set, class list, their title, a prompt set and its rows: the prompts of the task, or the first."""
    task_prompts = prompts_of_tasks(config)
    for (dataset, nomenclature), title in titles_of_class_lists(rows).items():
        group = rows[(rows["dataset"] == dataset) & (rows["nomenclature"] == nomenclature)]
        prompts = task_prompts.get(dataset, "")
        prompts = prompts if prompts in set(group["prompts"]) else group["prompts"].iloc[0]
        yield dataset, nomenclature, title, prompts, group[group["prompts"] == prompts]


def drawn_models(scores: pd.Series, names: Mapping[str, str], most: int = len(MODEL_COLOURS)) -> list[str]:
    """Encoders that a figure has room for, in the order of tables: those of the PAINT line, then the best others."""
    scored = [name for name in names if name in scores.index]
    first = [name for name in scored if is_on_a_line(name)][:most]
    others = sorted((name for name in scored if not is_on_a_line(name)), key=lambda name: -rank_value(scores[name]))
    kept = {*first, *others[: most - len(first)]}
    return [name for name in scored if name in kept]


# --- classes ---------------------------------------------------------------------------------------------------------


def class_scores(
    config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve], album: Album
) -> list[ClassScores]:
    """Per-class scores of every data set with one prompt set: the task's, or the first."""
    rows = metrics[(metrics["task"] == "zero-shot") & metrics["metric"].isin(PER_CLASS)]
    names = shown_models(rows, curves)
    result = []
    for dataset, nomenclature, title, prompts, group in by_task(config, rows):
        split = "test" if "test" in set(group["split"]) else "val"
        group = group[(group["split"] == split) & group["encoder"].isin(names)]
        if len(group):
            metric = metric_name(group["metric"].iloc[0])
            caption = f"{metric[0].upper()}{metric[1:]} in %, {nomenclature}, prompts {prompts}, {split} split."
            name = f"classes-{dataset}-{nomenclature}"
            result.append(_class_scores(title, caption, name, group, names, curves, album))
    return result


def _class_scores(
    title: str,
    caption: str,
    name: str,
    rows: pd.DataFrame,
    names: Mapping[str, str],
    curves: Sequence[Curve],
    album: Album,
) -> ClassScores:
    scores = rows.pivot(index="class", columns="encoder", values="value")
    scores = scores[[encoder for encoder in names if encoder in scores]]
    base, improved = _compared(list(scores.columns), curves)
    gain = scores[improved] - scores[base]
    order = gain.sort_values(ascending=False, kind="stable").index
    scores = scores.loc[order]
    drawn = drawn_models(scores.mean(), names)
    plotted, what = scores[drawn].rename(columns=names), "One row per class, those that patching helped most on top."
    if len(scores) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        plotted = pd.concat([plotted.iloc[:half], plotted.iloc[-half:]])
        what = f"The {half} classes that patching helped most, and the {half} it helped least, of {len(scores):,}."
    if len(drawn) < scores.shape[1]:
        what += f" The {len(drawn)} plotted models are the ends of the line, the patched one and the best others"
        what += f", of {scores.shape[1]}."
    scores = scores.rename(columns=names)
    listed = ", ".join(map(str, plotted.columns))
    alt = f"{caption} {len(scores)} classes, {listed}; the numbers are in the table below."
    data = scores.reset_index()
    plot = album.plot(plots_models.per_class(plotted), name, f"{caption} {what}", alt, data, NOTHING)
    counts = rows.groupby("class")["n"].max()
    return ClassScores(title, plot, 100 * scores, counts, 100 * gain.loc[order] if improved != base else None)


def _compared(encoders: Sequence[str], curves: Sequence[Curve]) -> tuple[str, str]:
    """The zero-shot model and the one to compare with it: the patched one, or the next one."""
    base = next((name for name in encoders if _is_at_zero(name)), encoders[0])
    chosen = {curve.chosen for curve in curves}
    others = [name for name in encoders if name != base]
    return base, next((name for name in others if name in chosen), others[0] if others else base)


def _is_at_zero(encoder: str) -> bool:
    name = EncoderName.if_on_a_line(encoder)
    return name is not None and name.alpha == 0


# --- confusions ------------------------------------------------------------------------------------------------------


def confusions(
    config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve], album: Album
) -> list[Confusion]:
    """Confusion matrices of zero-shot CLIP, the patched model and the best student, for each data set with any."""
    rows = metrics[(metrics["task"] == "zero-shot") & (metrics["metric"] == "confusion")]
    names = shown_models(metrics, curves)
    scores = headline(metrics, "zero-shot")
    result = []
    for dataset, nomenclature, title, prompts, group in by_task(config, rows):
        encoders = [encoder for encoder in names if encoder in set(group["encoder"])]
        if not encoders:
            continue
        of_task = (scores["dataset"] == dataset) & (scores["nomenclature"] == nomenclature)
        of_prompts = scores[of_task & (scores["prompts"] == prompts)].drop_duplicates("encoder")
        values = dict(zip(of_prompts["encoder"], of_prompts["value"], strict=True))
        students = [name for name in encoders if not is_on_a_line(name)]
        students.sort(key=lambda name: -rank_value(values.get(name, 0.0)))
        compared = _compared([name for name in encoders if is_on_a_line(name)] or encoders, curves)
        kept = {name: names[name] for name in dict.fromkeys([*compared, *students[:1]])}
        caption = (
            "Rows are true classes, columns predicted ones; shades are shares of the row. "
            f"{nomenclature}, prompts {prompts}, test split."
        )
        result.append(_confusion(title, f"confusion-{dataset}-{nomenclature}", caption, group, kept, album))
    return result


def _confusion(
    title: str, name: str, caption: str, rows: pd.DataFrame, names: Mapping[str, str], album: Album
) -> Confusion:
    rows = rows[rows["encoder"].isin(names)]
    sides = rows["class"].str.partition(TO)
    cells = pd.DataFrame(
        {"model": rows["encoder"].map(names), "true": sides[0], "predicted": sides[2], "share": rows["value"]}
    )
    classes = sorted({*cells["true"], *cells["predicted"]})
    samples = rows["n"].groupby(cells["true"]).max().reindex(classes).fillna(0).astype(int)
    matrices = {
        model: cells[cells["model"] == model]
        .pivot(index="true", columns="predicted", values="share")
        .reindex(index=classes, columns=classes)
        .fillna(0.0)
        for model in names.values()
    }
    largest = _largest(matrices, samples)
    worst = "; ".join(_spoken(largest))
    alt = f"Confusion matrices of {', '.join(matrices)}. {caption} The most frequent: {worst}."
    plot = album.plot(plots_models.confusions(matrices, samples), name, caption, alt, cells)
    return Confusion(title, plot, largest)


def _largest(matrices: Mapping[str, pd.DataFrame], samples: pd.Series) -> pd.DataFrame:
    """The off-diagonal cells with the largest share in any model: true, predicted, samples, one column per model."""
    frame = pd.DataFrame({model: pd.Series(matrix.stack()) for model, matrix in matrices.items()})
    frame = frame[frame.index.get_level_values(0) != frame.index.get_level_values(1)]
    order = frame.max(axis=1).sort_values(ascending=False, kind="stable")
    frame = 100 * frame.loc[order[order > 0].index[:MOST_CONFUSIONS]]
    frame = frame.rename_axis(["true", "predicted"]).reset_index()
    frame.insert(2, "samples", [int(samples[name]) for name in frame["true"]])
    return frame


def _spoken(largest: pd.DataFrame) -> list[str]:
    first = largest.iloc[:3]
    shares = first.iloc[:, 3:].max(axis=1)
    return [
        f"{true} predicted as {predicted}, {number(float(share))} % at most"
        for true, predicted, share in zip(first["true"], first["predicted"], shares, strict=True)
    ]
