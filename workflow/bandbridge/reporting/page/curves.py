"""The report's curves: the PAINT curve, and the trainings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.base.checksums import open_verified
from bandbridge.base.paths import EncoderName
from bandbridge.catalogue.titles import short_title
from bandbridge.config.lines import lines, model_at, tasks
from bandbridge.reporting.figures import run as plots
from bandbridge.reporting.figures.drawing import Album, Plot
from bandbridge.reporting.figures.parts import records
from bandbridge.reporting.figures.run import Intervals
from bandbridge.reporting.page.summary import of_task
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import main_metric, percent


def short_titles(datasets: str) -> str:
    """The titles of a curve's data sets, 'a+b' for several."""
    return " and ".join(map(short_title, datasets.split("+")))


# --- the PAINT curve -------------------------------------------------------------------------------------------------


def paint_plots(curve: Curve, config: Mapping[str, Any], metrics: pd.DataFrame, album: Album) -> list[Plot]:
    """The PAINT curve as patching against supported task, if there is one, and against alpha."""
    line = lines(config).get(curve.clip)
    kept = list(line.kept) if line else tasks(config, "supported")
    supported = " and ".join(short_title(task["dataset"]) for task in kept) if curve.has_supported else ""
    spans = _intervals(curve, config, metrics)
    ends = [_spoken_point(curve, alpha) for alpha in dict.fromkeys([0.0, curve.selected, curve.points["alpha"].max()])]
    name = f"paint-{curve.clip}-{curve.dataset}"
    data = _curve_data(curve, spans)
    result = []
    if curve.has_supported:
        caption = (
            f"Each point is the model at one α: the supported task ({supported}) on the horizontal axis, the patching "
            "task on the vertical one. Better is up and to the right; the ring marks the selected α."
        )
        alt = f"Line through {len(curve.points)} points. {' '.join(ends)}"
        result.append(album.plot(plots.paint_curve(curve, supported, spans), f"{name}-front", caption, alt, data))
    caption = "The same scores against α; the vertical line is the selected α"
    caption += ", the band the interval on validation data." if "patching_val_ci_low" in curve.points else "."
    alt = f"Scores against alpha. {' '.join(ends)}"
    return [*result, album.plot(plots.paint_by_alpha(curve, supported, spans), f"{name}-alpha", caption, alt, data)]


def _intervals(curve: Curve, config: Mapping[str, Any], metrics: pd.DataFrame) -> Intervals:
    """The intervals of a curve's points for roles with a single task: means of several tasks have none."""
    line = lines(config).get(curve.clip)
    of_role = {
        "patching": list(line.patching) if line else tasks(config, "patching"),
        "supported": list(line.kept) if line else tasks(config, "supported"),
    }
    spans = {}
    for role, role_tasks in of_role.items():
        if len(role_tasks) != 1:
            continue
        (task,) = role_tasks
        rows = metrics[(metrics["task"] == "zero-shot") & (metrics["class"] == "") & of_task(metrics, task)]
        rows = rows[(rows["metric"] == main_metric(task["dataset"], rows["metric"])) & rows["ci_low"].notna()]
        ends = {(row.encoder, row.split): (row.ci_low, row.ci_high) for row in records(rows)}
        for alpha in curve.points["alpha"]:
            encoder = model_at(line, alpha) if line else str(EncoderName(curve.clip, alpha))
            for split in ("val", "test"):
                if (encoder, split) in ends:
                    spans[role, split, float(alpha)] = ends[encoder, split]
    return spans


def _curve_data(curve: Curve, spans: Intervals) -> pd.DataFrame:
    """The points of a curve, one per row, with their intervals."""
    records = []
    for _, point in curve.points.iterrows():
        alpha = float(point["alpha"])
        for task in ("patching", "supported"):
            for split in ("val", "test"):
                value = point[f"{task}_{split}"]
                if pd.notna(value):
                    low, high = spans.get((task, split, alpha), (None, None))
                    names = [curve.clip, alpha, int(alpha == curve.selected), task, split]
                    records.append([*names, point[f"{task}_metric"], value, low, high])
    columns = ["line", "alpha", "selected", "task", "split", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(records, columns=columns)


def _spoken_point(curve: Curve, alpha: float) -> str:
    point = curve.at(alpha)
    split = "test" if pd.notna(point["patching_test"]) else "val"
    name = f"At alpha {alpha_name(alpha)}{' (selected)' if alpha == curve.selected else ''}"
    text = f"{name}: patching task {percent(point[f'patching_{split}'])}"
    if curve.has_supported and pd.notna(point[f"supported_{split}"]):
        text += f", supported task {percent(point[f'supported_{split}'])}"
    return f"{text}."


# --- training --------------------------------------------------------------------------------------------------------


def training_name(training: Mapping[str, Any]) -> str:
    """The name of a training, one of `Evaluation.trainings`."""
    name = training["name"]
    if training["kind"] == "finetune":
        return f"Fine-tuning {name} on {short_titles('+'.join(training['datasets']))}"
    return {"align": f"Aligning {name}", "clip": f"Training {name} from scratch"}[training["kind"]]


def remarks(paths: Sequence[Path]) -> list[str]:
    """Notes of stages in their files: history.jsonl, open_clip_config.json, samples/<data set>.json."""
    noted: list[str] = []
    for path in paths:
        with open_verified(path) as file:
            text = file.read()
        lines = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
        noted += [text for line in lines for text in (line.get("remark"), *line.get("notes", ())) if text]
    return noted


def training_plot(training: Mapping[str, Any], album: Album) -> Plot:
    """Loss, validation and learning rate of one of `Evaluation.trainings`."""
    with open_verified(Path(training["history"])) as file:
        history = [json.loads(line) for line in file]
    computed = [line["precision"] for line in history if "precision" in line]
    noted = [line["remark"] for line in history if "remark" in line]
    history = [line for line in history if not {"precision", "remark"} & line.keys()]
    losses = [line["loss"] for line in history if "loss" in line]
    caption = f"{history[-1]['step']:,} steps; the loss went from {losses[0]:.3g} to {losses[-1]:.3g}."
    if computed:
        caption += f" Computed in {', then in '.join(computed)}."
    caption += "".join(f" {text}" for text in noted)
    tag = ["+".join(training["datasets"])] if training.get("datasets") else []
    name = "-".join(["training", training["kind"], ".".join([training["name"], *tag])])
    chart, data = plots.training_curves(history), pd.DataFrame(history)
    last = data.groupby("epoch", as_index=False).last()  # values of each epoch, its validation among them
    return album.plot(chart, name, caption, f"{training_name(training)}. {caption}", data, last)
