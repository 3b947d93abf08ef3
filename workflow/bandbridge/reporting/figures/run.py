"""Figures of the report about a run: the PAINT curve, trainings, and the stages' costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from bandbridge.base.alphas import alpha_name
from bandbridge.reporting.figures.style import (
    COLOURS,
    FULL_WIDTH,
    MODEL_COLOURS,
    MOST_STEPS,
    SPLIT_NAMES,
    WIDTH,
    mark,
    shortened,
    styled,
)
from bandbridge.reporting.tables.all import Curve, metric_name, number, short_title

SPLIT_STYLE: dict[str, dict[str, Any]] = {
    "val": {
        "linestyle": (0, (3, 2)),
        "marker": "o",
        "markerfacecolor": COLOURS["surface"],
        "markersize": 3.5,
        "linewidth": 1.1,
    },
    "test": {"linestyle": "-", "marker": "o", "markeredgecolor": COLOURS["surface"], "markeredgewidth": 0.6},
}
# (task, split, alpha) -> the ends of an interval, 0..1; the task is 'patching' or 'supported'.
Intervals = Mapping[tuple[str, str, float], tuple[float, float]]


def percent_axis(axis: Any) -> None:
    """Label an axis of fractions in percent; values above 1 have no label."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: "" if value > 1.0001 else f"{100 * value:.4g}"))


# --- the PAINT curve -------------------------------------------------------------------------------------------------


@styled
def paint_curve(curve: Curve, supported_title: str, intervals: Intervals | None = None) -> Figure:
    """Patching against supported metric, one point per alpha; the selected one is ringed."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    titles = {"patching": short_title(curve.dataset), "supported": supported_title}
    for split, look in SPLIT_STYLE.items():
        x, y = curve.points[f"supported_{split}"], curve.points[f"patching_{split}"]
        if not (x.notna() & y.notna()).any():
            continue
        colour = COLOURS["blue" if split == "test" else "muted"]
        (line,) = axes.plot(x, y, color=colour, label=SPLIT_NAMES[split], **look)
        _mark_alphas(line, curve, split, titles, intervals or {})
        chosen = curve.at(curve.selected)
        _ring(axes, chosen[f"supported_{split}"], chosen[f"patching_{split}"], SPLIT_NAMES[split])
    # Names are on the outer side of the curve, to the right, where they need room.
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.2 * (right - left))
    axes.margins(y=0.12)
    _name_points(axes, curve)
    axes.set_xlabel(f"{supported_title}: {curve.metric('supported')}, %")
    axes.set_ylabel(f"{titles['patching']}: {curve.metric('patching')}, %")
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.legend(loc="lower left")
    return figure


def _mark_alphas(line: Any, curve: Curve, split: str, titles: Mapping[str, str], intervals: Intervals) -> None:
    """Tips for the drawn points of a line: alpha, and the score per task in `titles`."""
    drawn = curve.points[[f"{task}_{split}" for task in titles]].notna().all(axis=1)
    alphas = [float(alpha) for alpha in curve.points.loc[drawn, "alpha"]]
    tips = []
    for alpha in alphas:
        chosen = ", selected" if alpha == curve.selected else ""
        lines = [f"α = {alpha_name(alpha)}, {SPLIT_NAMES[split]}{chosen}"]
        for task, title in titles.items():
            value = curve.at(alpha)[f"{task}_{split}"]
            span = interval(intervals.get((task, split, alpha)))
            lines.append(f"{title}: {curve.metric(task)} {number(100 * value)} %{span}")
        tips.append("\n".join(lines))
    mark(line, SPLIT_NAMES[split], tips, [f"alpha {alpha_name(alpha)}" for alpha in alphas])


def interval(ends: tuple[float, float] | None) -> str:
    """' (31.0 to 38.5)', of fractions; empty without an interval."""
    if ends is None or not all(np.isfinite(ends)):
        return ""
    return f" ({number(100 * ends[0])} to {number(100 * ends[1])})"


def _ring(axes: Axes, x: float, y: float, series: str) -> None:
    look: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": COLOURS["orange"]}
    (ring,) = axes.plot(x, y, linestyle="none", marker="o", markersize=10, **look)
    mark(ring, series)


def _name_points(axes: Axes, curve: Curve) -> None:
    """Names beside the points of alpha 0, 1 and the selected one, on the test line if there is one."""
    split = "test" if curve.points["patching_test"].notna().any() else "val"
    names = {0.0: "zero-shot", 1.0: "fine-tuned"}
    names[curve.selected] = ", ".join(filter(None, [names.get(curve.selected), f"α = {alpha_name(curve.selected)}"]))
    for alpha, name in names.items():
        point = curve.at(alpha)
        if pd.isna(point[f"supported_{split}"]):
            continue
        axes.annotate(
            name,
            (point[f"supported_{split}"], point[f"patching_{split}"]),
            xytext={0.0: (9, -4), 1.0: (4, 7)}.get(alpha, (9, 3)),
            textcoords="offset points",
            color=COLOURS["orange" if alpha == curve.selected else "ink"],
        )


@styled
def paint_by_alpha(curve: Curve, supported_title: str, intervals: Intervals | None = None) -> Figure:
    """The two tasks' metrics against alpha, each in a panel with a separate scale; a line marks the selected alpha."""
    tasks = [("patching", short_title(curve.dataset), "blue")]
    if curve.has_supported:
        tasks.append(("supported", supported_title, "green"))
    figure = Figure(figsize=(WIDTH, 1.7 * len(tasks) if len(tasks) > 1 else 2.6), layout="constrained")
    panels = figure.subplots(len(tasks), sharex=True, squeeze=False)[:, 0]
    for axes, (task, title, colour) in zip(panels, tasks, strict=True):
        for split, look in SPLIT_STYLE.items():
            column = f"{task}_{split}"
            if not curve.points[column].notna().any():
                continue
            if f"{column}_ci_low" in curve.points:
                low, high = curve.points[f"{column}_ci_low"], curve.points[f"{column}_ci_high"]
                band = axes.fill_between(
                    curve.points["alpha"], low, high, color=COLOURS[colour], alpha=0.1, linewidth=0
                )
                mark(band, SPLIT_NAMES[split])
            (line,) = axes.plot(
                curve.points["alpha"], curve.points[column], color=COLOURS[colour], label=SPLIT_NAMES[split], **look
            )
            _mark_alphas(line, curve, split, {task: title}, intervals or {})
        axes.axvline(curve.selected, color=COLOURS["orange"], linewidth=1)
        axes.set_title(f"{title}: {curve.metric(task)}, %")
        percent_axis(axes.yaxis)
    panels[0].legend(loc="best", ncols=2)
    panels[-1].set_xlabel("α")
    return figure


# --- training --------------------------------------------------------------------------------------------------------


@styled
def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Losses, validation scores and learning rate of one training against its steps."""
    frame = pd.DataFrame(history).set_index("step")
    terms = [str(name) for name in frame.columns if name not in ("epoch", "learning_rate", "gradient_norm")]
    scores = [name for name in terms if name.startswith("val_") and name.removeprefix("val_") not in terms]
    losses = [name for name in terms if name not in scores]
    heights = {"Loss": 1.6, "Validation, %": 1.6 if scores else 0, "Learning rate": 1.0}
    heights = {title: height for title, height in heights.items() if height}
    figure = Figure(figsize=(WIDTH, sum(heights.values()) + 0.4), layout="constrained")
    axes = figure.subplots(len(heights), sharex=True, height_ratios=list(heights.values()))
    panels: dict[str, Axes] = dict(zip(heights, axes, strict=True))
    _training_lines(panels["Loss"], "Loss", frame[losses])
    if scores:
        _training_lines(panels["Validation, %"], "Validation, %", frame[scores])
        percent_axis(panels["Validation, %"].yaxis)
    _learning_rate(panels["Learning rate"], frame["learning_rate"].dropna())
    return figure


def _training_lines(axes: Axes, title: str, frame: pd.DataFrame) -> None:
    """A line per column; the training and the validation line of the same term share a colour."""
    terms = list(dict.fromkeys(str(name).removeprefix("val_") for name in frame.columns))
    colours = dict(zip(terms, MODEL_COLOURS[1:], strict=False))
    for name, values in frame.items():
        term = str(name).removeprefix("val_")
        points = _thinned(values.dropna())
        look: dict[str, Any] = (
            {} if name == term else {"linestyle": (0, (3, 2)), "marker": "o" if len(points) < 50 else None}
        )
        label = "_" if name != term and term in frame else metric_name(term)
        colour = COLOURS[colours.get(term, "muted")]
        (line,) = axes.plot(points.index, points, color=colour, markersize=2.5, linewidth=1.1, label=label, **look)
        kind = "validation" if name != term else metric_name(term)
        tips = [f"{kind}, step {step:,}\n{metric_name(term)} {value:.4g}" for step, value in points.items()]
        mark(line, kind if name != term and term in frame else metric_name(term), tips if "marker" in look else ())
    if any(f"val_{term}" in frame and term in frame for term in terms):
        axes.plot([], [], color=COLOURS["muted"], linestyle=(0, (3, 2)), linewidth=1.1, label="validation")
    axes.set_title(title)
    axes.legend(loc="best", ncols=2)


def _learning_rate(axes: Axes, rates: pd.Series) -> None:
    rates = _thinned(rates)
    axes.plot(rates.index, rates, color=COLOURS["muted"], linewidth=1.1)
    axes.set_title(f"Learning rate, at most {rates.max():.2g}")
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.set_xlabel("step")


def _thinned(values: pd.Series) -> pd.Series:
    """At most MOST_STEPS of the values, evenly spaced."""
    return values.iloc[:: max(1, -(-len(values) // MOST_STEPS))]


# --- cost ------------------------------------------------------------------------------------------------------------


@styled
def stage_costs(seconds: pd.Series, memory: pd.Series) -> Figure:
    """Time and peak memory of each stage, as bars side by side; both axes are logarithmic.

    Args:
        seconds: by stage from top to bottom; NaN where unknown.
        memory: in megabytes, like `seconds`.
    """
    figure = Figure(figsize=(FULL_WIDTH, 0.7 + 0.24 * len(seconds)), layout="constrained")
    times, sizes = figure.subplots(1, 2, sharey=True)
    y = np.arange(len(seconds))
    for axes, values, colour, label, unit in (
        (times, seconds, "blue", "all jobs' time, s", "s"),
        (sizes, memory, "green", "peak memory, MB", "MB"),
    ):
        measured = values.notna() & (values > 0)
        low = 10 ** np.floor(np.log10(0.99 * values[measured].min())) if measured.any() else 1
        axes.set_xscale("log")
        axes.hlines(y[measured], low, values[measured], color=COLOURS[colour], linewidth=5, alpha=0.35)
        (dots,) = axes.plot(values[measured], y[measured], linestyle="none", marker="o", color=COLOURS[colour])
        tips = [f"{stage}\n{value:,.4g} {unit}" for stage, value in values[measured].items()]
        mark(dots, "", tips, [str(stage) for stage in seconds.index[measured]])
        axes.set_xlim(left=low)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        # The default formatter writes maths, which is off.
        axes.xaxis.set_minor_formatter(LogFormatter())
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
        axes.spines["left"].set_visible(False)
    times.set_yticks(y, shortened(seconds.index))
    times.set_ylim(len(seconds) - 0.5, -0.5)
    return figure
