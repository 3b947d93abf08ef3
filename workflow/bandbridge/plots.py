"""Figures of the report: matplotlib without pyplot, in colours that the colour-blind tell apart and a page can theme.

Every figure is drawn on a transparent ground in the colours below, which `svg` turns into CSS variables, so that a
figure follows the page from light to dark. Figures are 4.2 inches wide: a page sets two beside each other, a phone one.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bandbridge.tables import Curve, metric_name, short_title

# Okabe and Ito's hues, darkened to be read as thin lines on white. Name -> colour; the name is the CSS variable.
COLOURS = {
    "ink": "#21262c",
    "muted": "#6a7178",
    "hairline": "#d8d6cf",
    "surface": "#fffffe",
    "blue": "#0b62a8",
    "orange": "#c4560f",
    "green": "#17876a",
    "plum": "#96538f",
    "ochre": "#a87b00",
}
SPLIT_COLOURS = {"train": "muted", "val": "ochre", "test": "blue"}
MODEL_COLOURS = ("muted", "blue", "orange", "green", "plum", "ochre")
WIDTH = 4.2
# Beyond these a figure holds more than can be seen, and the page grows by megabytes.
MOST_STEPS = 500
MOST_CLASSES = 45
LONGEST_NAME = 40
STYLE: Any = {
    "font.size": 8.5,
    "font.family": "sans-serif",
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["hairline"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": "none",
    "grid.color": COLOURS["hairline"],
    "grid.linewidth": 0.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "bandbridge",
    "xtick.color": COLOURS["hairline"],
    "xtick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 8.5,
    "ytick.color": COLOURS["hairline"],
    "ytick.labelcolor": COLOURS["muted"],
    "ytick.labelsize": 8.5,
}
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
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Plot:
    """A figure of the page: its SVG, a caption, and the same in words and numbers for those who cannot see it."""

    svg: Markup
    caption: str
    alt: str


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element to stand in a page: its colours as CSS variables, its ids prefixed with `name`."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    text = re.sub(r"font(-family)?: [^;\"]*sans-serif", lambda match: _font(match.group()), text)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    # A hundredth of a point is finer than any screen.
    text = re.sub(r' (d|x|y|transform)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), text)
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", text)
    return re.sub(r"((?:href=\"|url\()#)", rf"\g<1>{name}-", text).strip()


def _font(declaration: str) -> str:
    """A font declaration that keeps its size and leaves the family to the page."""
    size = re.search(r"[\d.]+px", declaration)
    return f"font-size: {size[0]}" if size else ""


def shortened(names: Iterable[str]) -> list[str]:
    """Names that leave room for a figure beside them, cut after a whole word where they are long."""
    return [textwrap.shorten(str(name), LONGEST_NAME, placeholder=" …") for name in names]


def _percent_axis(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: "" if value > 1.0001 else f"{100 * value:.4g}"))


# --- the PAINT curve -------------------------------------------------------------------------------------------------


@styled
def paint_curve(curve: Curve, supported_title: str) -> Figure:
    """Patching against supported metric, one point an alpha; the selected one is ringed."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for split, look in SPLIT_STYLE.items():
        x, y = curve.points[f"supported_{split}"], curve.points[f"patching_{split}"]
        colour = COLOURS["blue" if split == "test" else "muted"]
        axes.plot(x, y, color=colour, label=SPLIT_NAMES[split], **look)
        chosen = curve.at(curve.selected)
        _ring(axes, chosen[f"supported_{split}"], chosen[f"patching_{split}"])
    # Names stand on the outer side of the front, to the right: they need the room.
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.2 * (right - left))
    axes.margins(y=0.12)
    _name_points(axes, curve)
    axes.set_xlabel(f"{supported_title}: {curve.metric('supported')}, %")
    axes.set_ylabel(f"{short_title(curve.dataset)}: {curve.metric('patching')}, %")
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    axes.legend(loc="lower left")
    return figure


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.plot(
        x, y, linestyle="none", marker="o", markersize=10, markerfacecolor="none", markeredgecolor=COLOURS["orange"]
    )


def _name_points(axes: Axes, curve: Curve) -> None:
    """Names beside the points of alpha 0, 1 and the selected one, on the test line where there is one."""
    split = "test" if curve.points["patching_test"].notna().any() else "val"
    names = {0.0: "zero-shot", 1.0: "fine-tuned"}
    names[curve.selected] = ", ".join(filter(None, [names.get(curve.selected), f"α = {curve.selected:g}"]))
    for alpha, name in names.items():
        point = curve.at(alpha)
        axes.annotate(
            name,
            (point[f"supported_{split}"], point[f"patching_{split}"]),
            xytext={0.0: (9, -4), 1.0: (4, 7)}.get(alpha, (9, 3)),
            textcoords="offset points",
            color=COLOURS["orange" if alpha == curve.selected else "ink"],
        )


@styled
def paint_by_alpha(curve: Curve, supported_title: str) -> Figure:
    """The two tasks' metrics against alpha, each in a panel of its own scale; a line stands at the selected alpha."""
    tasks = [("patching", short_title(curve.dataset), "blue")]
    if curve.has_supported:
        tasks.append(("supported", supported_title, "green"))
    figure = Figure(figsize=(WIDTH, 1.7 * len(tasks) if len(tasks) > 1 else 2.6), layout="constrained")
    panels = figure.subplots(len(tasks), sharex=True, squeeze=False)[:, 0]
    for axes, (task, title, colour) in zip(panels, tasks, strict=True):
        for split, look in SPLIT_STYLE.items():
            column = f"{task}_{split}"
            if f"{column}_ci_low" in curve.points:
                low, high = curve.points[f"{column}_ci_low"], curve.points[f"{column}_ci_high"]
                axes.fill_between(curve.points["alpha"], low, high, color=COLOURS[colour], alpha=0.1, linewidth=0)
            axes.plot(
                curve.points["alpha"], curve.points[column], color=COLOURS[colour], label=SPLIT_NAMES[split], **look
            )
        axes.axvline(curve.selected, color=COLOURS["orange"], linewidth=1)
        axes.set_title(f"{title}: {curve.metric(task)}, %")
        _percent_axis(axes.yaxis)
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
        _percent_axis(panels["Validation, %"].yaxis)
    _learning_rate(panels["Learning rate"], frame["learning_rate"].dropna())
    return figure


def _training_lines(axes: Axes, title: str, frame: pd.DataFrame) -> None:
    """A line for each column; those of the same term, one of training and one of validation, share a colour."""
    terms = list(dict.fromkeys(str(name).removeprefix("val_") for name in frame.columns))
    colours = dict(zip(terms, MODEL_COLOURS[1:], strict=False))
    for name, values in frame.items():
        term = str(name).removeprefix("val_")
        known = _thinned(values.dropna())
        look: dict[str, Any] = (
            {} if name == term else {"linestyle": (0, (3, 2)), "marker": "o" if len(known) < 50 else None}
        )
        label = "_" if name != term and term in frame else metric_name(term)
        axes.plot(known.index, known, color=COLOURS[colours[term]], markersize=2.5, linewidth=1.1, label=label, **look)
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


# --- classes ---------------------------------------------------------------------------------------------------------


@styled
def per_class(scores: pd.DataFrame) -> Figure:
    """A dumbbell a class: dots for the models, a line from the lowest to the highest.

    Args:
        scores: index = classes from top to bottom, columns = models, values 0..1, NaN where undefined.
    """
    figure = Figure(figsize=(WIDTH, 0.75 + 0.235 * len(scores)), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(scores))
    axes.hlines(y, scores.min(axis=1), scores.max(axis=1), color=COLOURS["hairline"], linewidth=2.5, zorder=1)
    for (model, values), colour, marker in zip(scores.items(), MODEL_COLOURS, "oDs^vP", strict=False):
        hollow = colour == "muted"
        axes.plot(
            values,
            y,
            linestyle="none",
            marker=marker,
            color=COLOURS[colour],
            markerfacecolor=COLOURS["surface" if hollow else colour],
            markersize=4.5,
            label=model,
        )
    axes.set_yticks(y, shortened(scores.index), color=COLOURS["ink"])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    _percent_axis(axes.xaxis)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2, columnspacing=1.2)
    return figure
