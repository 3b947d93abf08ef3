"""Figures of the embedding space: a projection before and after, and galleries of retrieval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bandbridge.reporting.figures.style import COLOURS, FULL_WIDTH, mark, styled
from bandbridge.reporting.thumbnails import decoded

LOOKS: dict[str, dict[str, Any]] = {
    "rgb": {"color": COLOURS["orange"], "marker": "o", "markersize": 3},
    "student": {"color": COLOURS["blue"], "marker": "s", "markersize": 2.8},
    "text": {"color": COLOURS["ink"], "marker": "^", "markersize": 5},
}
NAMES = {"rgb": "RGB images", "student": "multispectral images", "text": "class names"}
# Inches of a gallery: its labels, an image, the space between two, the space above an image.
LABEL, CELL, GUTTER, TITLE = 1.6, 0.78, 0.08, 0.24
DOTS = 250  # per inch, of its images


@styled
def projection(panels: Mapping[str, Sequence[Mapping[str, Any]]], explained: Sequence[float]) -> Figure:
    """Two directions of the embedding space before and after; lines join the centroids and state their distance.

    Args:
        panels: title -> groups with `kind` (of LOOKS), `points` (n, 2), `labels` per point, `centroid`, and `gap` (the
            distance of centroids in all dimensions to the first group's; None for the first).
        explained: shares of the variance along the two axes.
    """
    figure = Figure(figsize=(FULL_WIDTH, 4.1), layout="constrained")
    axes_of = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, groups) in zip(axes_of, panels.items(), strict=True):
        for group in groups:
            name, points = NAMES[group["kind"]], np.asarray(group["points"], float)
            strength = 1.0 if group["kind"] == "text" else 0.55
            (dots,) = axes.plot(
                points[:, 0],
                points[:, 1],
                linestyle="none",
                markeredgewidth=0,
                alpha=strength,
                label=name,
                **LOOKS[group["kind"]],
            )
            tips = [f"{', '.join(labels) or 'no class'}\n{name[:-1]}" for labels in group["labels"]]
            mark(dots, name, tips, ["|".join(labels) for labels in group["labels"]])
        _draw_gaps(axes, groups)
        axes.set_title(title)
        axes.set_xlabel(f"first axis, {100 * explained[0]:.0f} % of the variance")
        axes.margins(0.06)
        axes.set_aspect("equal", adjustable="box")
    axes_of[0].set_ylabel(f"second axis, {100 * explained[1]:.0f} %")
    handles: dict[str, Any] = {}
    for axes in axes_of:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=3)
    return figure


def _draw_gaps(axes: Any, groups: Sequence[Mapping[str, Any]]) -> None:
    """Lines from the first group's centroid to the others', each with its length in all dimensions."""
    first = np.asarray(groups[0]["centroid"], float)
    for group in groups[1:]:
        other = np.asarray(group["centroid"], float)
        axes.plot(*zip(first, other, strict=True), color=COLOURS["ink"], linewidth=1.2, zorder=4)
        for centre, kind in ((first, groups[0]["kind"]), (other, group["kind"])):
            axes.plot(
                *centre,
                marker=LOOKS[kind]["marker"],
                markersize=8,
                markerfacecolor=LOOKS[kind]["color"],
                markeredgecolor=COLOURS["surface"],
                markeredgewidth=1.2,
                zorder=5,
            )
        middle = (first + other) / 2
        # White behind the letters would be a box on a dark page: the letters are beside the line instead.
        axes.annotate(
            f"gap {group['gap']:.2f}",
            middle,
            xytext=(6, 5),
            textcoords="offset points",
            color=COLOURS["ink"],
            fontweight="bold",
            zorder=6,
        )


@styled
def gallery(rows: Sequence[tuple[str, Sequence[tuple[str, str, bool | None]]]]) -> Figure:
    """Images in rows, for print: right ones ticked, wrong ones crossed.

    Args:
        rows: per row a label, and per image (data URI, text, right: None for a query).
    """
    columns = max(len(images) for _, images in rows)
    width, height = LABEL + columns * (CELL + GUTTER), len(rows) * (CELL + TITLE)
    figure = Figure(figsize=(width, height))
    # One pair of axes in inches, downwards: a pair per image would take many times as long to draw.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    # Likewise all images are pasted into one, transparent elsewhere.
    sheet = Image.new("RGBA", (round(width * DOTS), round(height * DOTS)))
    for number, (label, images) in enumerate(rows):
        top = number * (CELL + TITLE) + TITLE - GUTTER
        text = textwrap.fill(label, 24)
        axes.text(LABEL - GUTTER, top + CELL / 2, text, ha="right", va="center", fontsize=7)
        for column, (uri, name, right) in enumerate(images):
            left = LABEL + column * (CELL + GUTTER)
            edge = round(CELL * DOTS)
            image = decoded(uri).resize((edge, edge), Image.Resampling.NEAREST)
            sheet.paste(image, (round(left * DOTS), round(top * DOTS)))
            sign, colour = {None: ("", "ink"), True: ("✓ ", "green"), False: ("✕ ", "orange")}[right]
            axes.text(left, top - 0.03, f"{sign}{name}", fontsize=5.5, color=COLOURS[colour], va="bottom")
    axes.imshow(np.asarray(sheet), extent=(0, width, height, 0), aspect="auto", interpolation="none")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return figure
