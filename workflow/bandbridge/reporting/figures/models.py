"""Figures that compare models: class by class, confusions, probes on frozen embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from bandbridge.reporting.figures.run import interval, percent_axis
from bandbridge.reporting.figures.style import (
    COLOURS,
    FULL_WIDTH,
    MODEL_COLOURS,
    MODEL_MARKERS,
    WIDTH,
    legend_label,
    mark,
    records,
    shortened,
    styled,
)
from bandbridge.reporting.tables.all import number

# With at most this many classes, the cells of a confusion matrix show their numbers.
MOST_NUMBERED = 12
# Cells of fewer samples than this share of their row are too pale to be seen or pointed at.
LEAST_SHARE = 0.005
KINDS = {"zero-shot": ("muted", "o"), "knn": ("green", "s"), "linear-probe": ("blue", "D")}
# Offset of each kind from its model's line, so that intervals do not overlap.
DODGE = {"zero-shot": -0.2, "knn": 0.0, "linear-probe": 0.2}
KIND_NAMES = {"zero-shot": "zero-shot", "knn": "nearest neighbours", "linear-probe": "linear probe"}


@styled
def per_class(scores: pd.DataFrame) -> Figure:
    """One dumbbell per class: dots for the models, a line from the lowest to the highest.

    Args:
        scores: index = classes from top to bottom, columns = models, values 0..1, NaN where undefined.
    """
    figure = Figure(figsize=(WIDTH, 0.75 + 0.235 * len(scores)), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(scores))
    axes.hlines(y, scores.min(axis=1), scores.max(axis=1), color=COLOURS["hairline"], linewidth=2.5, zorder=1)
    for (model, values), colour, shape in zip(scores.items(), MODEL_COLOURS, MODEL_MARKERS, strict=False):
        hollow = colour == "muted"
        defined = values.notna().to_numpy()
        (dots,) = axes.plot(
            values[defined],
            y[defined],
            linestyle="none",
            marker=shape,
            color=COLOURS[colour],
            markerfacecolor=COLOURS["surface" if hollow else colour],
            markersize=4.5,
            label=legend_label(model),
        )
        tips = [f"{name}\n{model}: {number(100 * value)} %" for name, value in values[defined].items()]
        mark(dots, str(model), tips, [str(name) for name in values.index[defined]])
    axes.set_yticks(y, shortened(scores.index), color=COLOURS["ink"])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    percent_axis(axes.xaxis)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2, columnspacing=1.2)
    return figure


# --- confusions ------------------------------------------------------------------------------------------------------


@styled
def confusions(matrices: Mapping[str, pd.DataFrame], samples: pd.Series) -> Figure:
    """Confusion matrices side by side: rows are true classes, columns predictions, shades shares of the row.

    Args:
        matrices: model -> frame of shares, index = true and columns = predicted classes, the same for all models.
        samples: per true class.
    """
    classes = list(samples.index)
    panel = (FULL_WIDTH - 1.4) / len(matrices)
    figure = Figure(figsize=(FULL_WIDTH, min(panel, 3.2) + 1.3), layout="constrained")
    panels = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    size = float(np.clip(8.5 * 12 / len(classes), 4, 8.5))
    for axes, (model, shares) in zip(panels, matrices.items(), strict=True):
        values = shares.to_numpy(float)
        # One colour of varying opacity: legible on white paper and on a dark page.
        image = np.empty((*values.shape, 4))
        image[..., :3] = to_rgb("#2f86cf")
        image[..., 3] = np.nan_to_num(values)
        axes.imshow(image, interpolation="none", aspect="auto")
        _mark_cells(axes, model, values, classes, samples)
        if len(classes) <= MOST_NUMBERED:
            _number_cells(axes, values)
        axes.set_title(legend_label(model))
        names = shortened(classes, 22)
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=size, color=COLOURS["muted"])
        axes.set_yticks(range(len(classes)), names, fontsize=size, color=COLOURS["ink"])
        axes.tick_params(length=0, pad=2)
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
    panels[0].set_ylabel("true", labelpad=6)
    return figure


def _mark_cells(axes: Any, model: str, values: NDArray[np.float64], classes: list[str], samples: pd.Series) -> None:
    lines, columns = np.nonzero(np.nan_to_num(values) >= LEAST_SHARE)
    (dots,) = axes.plot(columns, lines, linestyle="none", marker="s", markersize=4, alpha=0.0, color=COLOURS["ink"])
    tips, keys = [], []
    for line, column in zip(lines, columns, strict=True):
        keys.append(f"{classes[line]} -> {classes[column]}")
        verdict = "right" if line == column else f"predicted {classes[column]}"
        share = f"{number(100 * values[line, column])} % of {samples.iloc[line]:,}"
        tips.append(f"{classes[line]}, {verdict}\n{model}: {share}")
    mark(dots, "", tips, keys)


def _number_cells(axes: Any, values: NDArray[np.float64]) -> None:
    for (line, column), value in np.ndenumerate(values):
        if value >= LEAST_SHARE:
            strong = line == column
            axes.text(
                column,
                line,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color=COLOURS["ink"],
                fontweight="bold" if strong else "normal",
            )


# --- probes ----------------------------------------------------------------------------------------------------------


@styled
def probes(scores: pd.DataFrame, metric: str) -> Figure:
    """Zero-shot, nearest neighbours and linear probe: one line per model, one mark per kind.

    Args:
        scores: columns model, kind (of KINDS), value, ci_low, ci_high; models from top to bottom in their order.
        metric: name of the axis.
    """
    models = list(dict.fromkeys(scores["model"]))
    figure = Figure(figsize=(WIDTH, 0.95 + 0.36 * len(models)), layout="constrained")
    axes = figure.subplots()
    line_of = {model: line for line, model in enumerate(models)}
    for kind, group in scores.groupby("kind", sort=False):
        colour, shape = KINDS[str(kind)]
        y = np.array([line_of[model] for model in group["model"]]) + DODGE[str(kind)]
        spans = axes.hlines(y, group["ci_low"], group["ci_high"], color=COLOURS[colour], linewidth=1)
        mark(spans, KIND_NAMES[str(kind)])
        face = COLOURS["surface" if colour == "muted" else colour]
        (dots,) = axes.plot(
            group["value"],
            y,
            linestyle="none",
            marker=shape,
            color=COLOURS[colour],
            markerfacecolor=face,
            label=KIND_NAMES[str(kind)],
        )
        tips = [
            f"{row.model}\n{KIND_NAMES[row.kind]}: {number(100 * row.value)} %{interval((row.ci_low, row.ci_high))}"
            for row in records(group)
        ]
        mark(dots, KIND_NAMES[str(kind)], tips, list(group["model"]))
    axes.set_yticks(range(len(models)), shortened(models, 28), color=COLOURS["ink"])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{metric}, %")
    percent_axis(axes.xaxis)
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2, columnspacing=1.2)
    return figure


@styled
def shots(scores: pd.DataFrame, metric: str) -> Figure:
    """Probes on few samples per class: one line per model against the number of samples, with the repeats' interval.

    Args:
        scores: columns model, k, value, ci_low, ci_high.
        metric: name of the axis.
    """
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    for index, (model, group) in enumerate(scores.groupby("model", sort=False)):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        shape = MODEL_MARKERS[index % len(MODEL_MARKERS)]
        group = group.sort_values("k")
        band = axes.fill_between(
            group["k"], group["ci_low"], group["ci_high"], color=COLOURS[colour], alpha=0.12, linewidth=0
        )
        mark(band, str(model))
        face = COLOURS["surface" if colour == "muted" else colour]
        (line,) = axes.plot(
            group["k"],
            group["value"],
            color=COLOURS[colour],
            marker=shape,
            markerfacecolor=face,
            label=legend_label(model),
        )
        tips = [
            f"{model}\n{row.k:,} samples per class: {number(100 * row.value)} %{interval((row.ci_low, row.ci_high))}"
            for row in records(group)
        ]
        mark(line, str(model), tips, [f"{k} shots" for k in group["k"]])
    axes.set_xscale("log")
    ticks = sorted(scores["k"].unique())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("samples per class")
    axes.set_ylabel(f"{metric}, %")
    percent_axis(axes.yaxis)
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2)
    return figure
