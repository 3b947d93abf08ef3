"""The report's figures of probes on frozen embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bandbridge.catalogue.titles import short_title
from bandbridge.reporting.figures import models as plots_models
from bandbridge.reporting.figures.drawing import Album, Plot
from bandbridge.reporting.page.models import drawn_models, prompts_of_tasks
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import metric_name, percent, titles_of_class_lists
from bandbridge.reporting.tables.view import headline, shown_models

MOST_MODELS = 24
PROBED = ("zero-shot", "knn", "linear-probe")


def probe_plots(
    config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve], album: Album
) -> list[tuple[str, list[Plot]]]:
    """Title and figures of each data set with probes: zero-shot, neighbours and linear probe; probes on few samples."""
    names = shown_models(metrics, curves)
    parts = [headline(metrics, task).assign(kind=task) for task in PROBED]
    scores = pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else metrics.assign(kind="")
    scores = scores[scores["encoder"].isin(names)]
    few = metrics[(metrics["task"] == "few-shot") & metrics["metric"].str.contains("@") & (metrics["class"] == "")]
    few = few[few["encoder"].isin(names)]
    task_prompts = prompts_of_tasks(config)
    result: list[tuple[str, list[Plot]]] = []
    probed = pd.concat([scores.loc[scores["kind"] != "zero-shot", ["dataset", "nomenclature"]], few])
    for (dataset, nomenclature), title in titles_of_class_lists(probed).items():
        plots: list[Plot] = []
        of = scores[(scores["dataset"] == dataset) & (scores["nomenclature"] == nomenclature)]
        prompts = task_prompts.get(dataset)
        zero_shot = of[of["kind"] == "zero-shot"]
        prompts = prompts if prompts in set(zero_shot["prompts"]) else next(iter(zero_shot["prompts"]), "")
        of = of[(of["kind"] != "zero-shot") | (of["prompts"] == prompts)]
        probes = of[of["kind"] != "zero-shot"]
        if len(probes):
            of = of[of["encoder"].isin(set(probes["encoder"]))]
            plots.append(_probe_plot(dataset, nomenclature, of, names, album))
        shots = few[(few["dataset"] == dataset) & (few["nomenclature"] == nomenclature)]
        if len(shots):
            plots.append(_shots_plot(dataset, nomenclature, shots, names, album))
        result.append((title, plots))
    return result


def _probe_plot(dataset: str, nomenclature: str, rows: pd.DataFrame, names: Mapping[str, str], album: Album) -> Plot:
    best = rows.groupby("encoder")["value"].max()
    drawn = drawn_models(best, names, MOST_MODELS)
    kinds = [kind for kind in PROBED if kind in set(rows["kind"])]
    rows = rows[rows["encoder"].isin(drawn)]
    order = {encoder: index for index, encoder in enumerate(drawn)}
    rows = rows.assign(model=rows["encoder"].map(names), order=rows["encoder"].map(order)).sort_values("order")
    rows = pd.concat([rows[rows["kind"] == kind] for kind in kinds])
    columns = ["model", "kind", "value", "ci_low", "ci_high", "n"]
    metric = metric_name(rows["metric"].iloc[0])
    listed = ", ".join(plots_models.KIND_NAMES[kind] for kind in kinds)
    caption = f"{short_title(dataset)}, {nomenclature}: {listed} of the same embeddings; lines are their intervals."
    if len(drawn) < len(best):
        caption += f" {len(drawn)} of {len(best)} models."
    top = rows.sort_values("value").iloc[-1]
    alt = f"{caption} The best: {top['model']}, {plots_models.KIND_NAMES[top['kind']]}, {percent(top['value'])}."
    # Models from top to bottom in the order of tables, whatever kinds they have.
    ordered = rows[columns].assign(model=pd.Categorical(rows["model"], [names[name] for name in drawn]))
    ordered = ordered.sort_values("model", kind="stable").assign(model=lambda frame: frame["model"].astype(str))
    chart = plots_models.probes(ordered, metric)
    return album.plot(chart, f"probes-{dataset}-{nomenclature}", caption, alt, ordered)


def _shots_plot(dataset: str, nomenclature: str, rows: pd.DataFrame, names: Mapping[str, str], album: Album) -> Plot:
    sides = rows["metric"].str.partition("@")
    rows = rows.assign(k=sides[2].astype(int), model=rows["encoder"].map(names))
    best = rows.groupby("encoder")["value"].max()
    drawn = drawn_models(best, names)
    plotted = rows[rows["encoder"].isin(drawn)]
    plotted = pd.concat([plotted[plotted["encoder"] == name] for name in drawn]).sort_values("k", kind="stable")
    plotted = plotted.assign(model=pd.Categorical(plotted["model"], [names[name] for name in drawn]))
    plotted = plotted.sort_values(["model", "k"]).assign(model=lambda frame: frame["model"].astype(str))
    columns = ["model", "k", "value", "ci_low", "ci_high", "n"]
    ks = sorted(plotted["k"].unique())
    caption = (
        f"{short_title(dataset)}, {nomenclature}: linear probes on {ks[0]:,} to {ks[-1]:,} samples per class, mean of "
        "repeated draws; bands are the repeats' intervals."
    )
    if len(drawn) < len(best):
        caption += f" {len(drawn)} of {len(best)} models."
    last = plotted[plotted["k"] == ks[-1]]
    spoken = ", ".join(f"{row.model} {percent(row.value)}" for row in last.itertuples())
    chart = plots_models.shots(plotted[columns], metric_name(sides[0].iloc[0]))
    alt = f"{caption} With {ks[-1]:,} per class: {spoken}."
    return album.plot(chart, f"shots-{dataset}-{nomenclature}", caption, alt, plotted[columns])
