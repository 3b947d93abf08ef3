"""The report: one self-contained HTML page, a view of metrics.csv and of what the run left beside it."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bandbridge import __version__, plots
from bandbridge.catalogue import WORKFLOW
from bandbridge.files import whole_file
from bandbridge.plots import Plot
from bandbridge.report_datasets import dataset_page
from bandbridge.report_run import costs, provenance, total_cost
from bandbridge.report_summary import key_figures, percent, scratch_note, summary, what_was_run
from bandbridge.table_formats import column_groups, used_extras
from bandbridge.tables import PER_CLASS, Curve, all_tables, metric_name, number, short_title, shown_models

MEDIA_TYPES = {".csv": "text/csv", ".md": "text/markdown", ".tex": "text/x-tex"}


@dataclass(frozen=True)
class ClassScores:
    """Scores of one data set's classes: a plot, and a frame with class, samples and a column a model."""

    title: str
    plot: Plot
    scores: pd.DataFrame
    samples: pd.Series


def write_report(
    report: Path,
    config: Mapping[str, Any],
    metrics: pd.DataFrame,
    curves: Sequence[Curve],
    *,
    histories: Sequence[Path] = (),
    stores: Sequence[Path] = (),
    quarantines: Sequence[Path] = (),
    tables: Sequence[Path] = (),
    benchmarks: Sequence[Path] = (),
    checksums: Mapping[str, str] | None = None,
) -> None:
    """Write the page.

    Args:
        config: the run's validated configuration.
        histories: history.jsonl of every training.
        stores: Zarr directories, and beside them, in the same order, `quarantines`.
        tables: the table files, to be downloaded from the page.
        benchmarks: Snakemake's benchmark files; those that do not exist are left out.
        checksums: name -> SHA-256 of what the page was made from.
    """
    stages = costs(benchmarks, config["run"])
    environment = Environment(
        loader=FileSystemLoader(WORKFLOW / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, groups=column_groups, extras=used_extras)
    page = environment.get_template("report.html.j2").render(
        version=__version__,
        style=Markup((WORKFLOW / "report" / "style.css").read_text(encoding="utf-8")),
        config=config,
        story=what_was_run(config),
        scratch=scratch_note(config),
        summary=summary(config, metrics, curves),
        key_figures=key_figures(config, metrics, curves),
        curves=[(curve, paint_plots(curve, config)) for curve in curves],
        tables=all_tables(metrics, curves),
        downloads=downloads(tables),
        per_class=class_scores(config, metrics, curves),
        trainings={training_name(path): training_plot(path) for path in histories},
        datasets=[dataset_page(*paths) for paths in zip(stores, quarantines, strict=True)],
        costs=stages,
        total_cost=total_cost(stages),
        provenance=provenance(config, checksums or {}),
    )
    with whole_file(report) as part:
        part.write_text(page, encoding="utf-8")


# --- figures ---------------------------------------------------------------------------------------------------------


def paint_plots(curve: Curve, config: Mapping[str, Any]) -> list[Plot]:
    """The PAINT curve as a front (where a supported task was watched) and against alpha."""
    supported = short_title(config["tasks"]["supported"]["dataset"]) if curve.has_supported else ""
    ends = [_spoken_point(curve, alpha) for alpha in dict.fromkeys([0.0, curve.selected, 1.0])]
    name = f"paint-{curve.clip}-{curve.dataset}"
    result = []
    if curve.has_supported:
        caption = (
            f"Each point is the model at one α: the supported task ({supported}) to the right, the patching task "
            "upwards. Better is up and to the right; the ring marks the selected α."
        )
        svg = plots.svg(plots.paint_curve(curve, supported), f"{name}-front")
        result.append(Plot(Markup(svg), caption, f"Line through {len(curve.points)} points. {' '.join(ends)}"))
    caption = "The same scores against α; the vertical line is the selected α"
    caption += ", the band the bootstrap interval on validation data." if "patching_val_ci_low" in curve.points else "."
    svg = plots.svg(plots.paint_by_alpha(curve, supported), f"{name}-alpha")
    return [*result, Plot(Markup(svg), caption, f"Scores against alpha. {' '.join(ends)}")]


def _spoken_point(curve: Curve, alpha: float) -> str:
    point = curve.at(alpha)
    name = f"At alpha {alpha:g}{' (selected)' if alpha == curve.selected else ''}"
    text = f"{name}: patching task {percent(point['patching_test'])}"
    return f"{text}, supported task {percent(point['supported_test'])}." if curve.has_supported else f"{text}."


def training_name(path: Path) -> str:
    """What a history.jsonl tells of, from its place: <stage>/<what was trained>/history.jsonl."""
    stage, what = path.parent.parent.name, path.parent.name
    if stage == "finetune":
        clip, _, dataset = what.rpartition(".")
        return f"Fine-tuning {clip} on {short_title(dataset)}"
    return {"align": f"Aligning {what}", "clip": f"Training {what} from scratch"}.get(stage, what)


def training_plot(path: Path) -> Plot:
    """Loss, validation and learning rate of one training."""
    with path.open(encoding="utf-8") as file:
        history = [json.loads(line) for line in file]
    losses = [line["loss"] for line in history if "loss" in line]
    caption = f"{history[-1]['step']:,} steps; the loss went from {losses[0]:.3g} to {losses[-1]:.3g}."
    drawing = plots.svg(plots.training_curves(history), f"training-{path.parent.parent.name}-{path.parent.name}")
    return Plot(Markup(drawing), caption, f"{training_name(path)}. {caption}")


def class_scores(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> list[ClassScores]:
    """Per-class scores of every data set with one prompt set: the task's own, or the first."""
    rows = metrics[(metrics["task"] == "zero-shot") & metrics["metric"].isin(PER_CLASS)]
    names = shown_models(rows, curves)
    own = {task["dataset"]: task["prompts"] for task in config["tasks"].values() if task}
    result = []
    for dataset, nomenclature in rows[["dataset", "nomenclature"]].drop_duplicates().itertuples(index=False, name=None):
        group = rows[(rows["dataset"] == dataset) & (rows["nomenclature"] == nomenclature)]
        prompts = own.get(dataset, group["prompts"].iloc[0])
        split = "test" if "test" in set(group["split"]) else "val"
        group = group[(group["prompts"] == prompts) & (group["split"] == split) & group["encoder"].isin(names)]
        if len(group):
            metric = metric_name(group["metric"].iloc[0])
            caption = f"{metric[0].upper()}{metric[1:]} in %, {nomenclature}, prompts {prompts}, {split} split."
            result.append(_class_scores(short_title(dataset), caption, f"{dataset}-{nomenclature}", group, names))
    return result


def _class_scores(title: str, caption: str, key: str, rows: pd.DataFrame, names: Mapping[str, str]) -> ClassScores:
    scores = rows.pivot(index="class", columns="encoder", values="value")
    scores = scores[[name for name in names if name in scores]].rename(columns=names)
    # The second model is the patched one; where it is the first, there is nothing to sort by.
    gain = scores.iloc[:, min(1, scores.shape[1] - 1)] - scores.iloc[:, 0]
    scores = scores.loc[gain.sort_values(ascending=False, kind="stable").index]
    shown, order = scores, "A line a class, those that patching helped most on top."
    if len(scores) > plots.MOST_CLASSES:
        half = plots.MOST_CLASSES // 2
        shown = pd.concat([scores.iloc[:half], scores.iloc[-half:]])
        order = f"The {half} classes that patching helped most, and the {half} it helped least, of {len(scores):,}."
    alt = f"{caption} {len(scores)} classes, {', '.join(map(str, scores.columns))}; the numbers are in the table below."
    plot = Plot(Markup(plots.svg(plots.per_class(shown), f"classes-{key}")), f"{caption} {order}", alt)
    return ClassScores(title, plot, 100 * scores, rows.groupby("class")["n"].max())


def downloads(tables: Sequence[Path]) -> dict[str, list[tuple[str, str]]]:
    """Table name -> (file name, data URI) of its files, so that the page carries them wherever it goes."""
    result: dict[str, list[tuple[str, str]]] = {}
    for path in tables:
        content = base64.b64encode(path.read_bytes()).decode()
        uri = f"data:{MEDIA_TYPES[path.suffix]};charset=utf-8;base64,{content}"
        result.setdefault(path.stem, []).append((path.name, uri))
    return result
