"""Figures of a data set: samples per class, values per band, places on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from bandbridge.reporting.figures.style import (
    COLOURS,
    MODEL_COLOURS,
    SPLIT_COLOURS,
    SPLIT_NAMES,
    WIDTH,
    legend_label,
    mark,
    shortened,
    styled,
)

MOST_POINTS = 4000
# Up to the first number of bands are overlaid; up to the second, each has a curve; of more, quantiles are drawn.
MOST_OVERLAID, MOST_CURVES = 3, 24
BINS = 64
# A map's smallest extent in degrees, its margin and the size of a dot as shares of its width.
LEAST_EXTENT, MARGIN, DOT = 0.02, 0.04, 1 / 220
HALF_WORLD = 180
# Round degrees between the lines of a map.
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 90)


@styled
def class_counts(counts: pd.DataFrame) -> Figure:
    """Samples per class, stacked by split.

    Args:
        counts: index = classes from top to bottom, columns = splits.
    """
    figure = Figure(figsize=(WIDTH, 0.7 + 0.235 * len(counts)), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(counts))
    left = np.zeros(len(counts))
    for split, values in counts.items():
        colour = COLOURS[SPLIT_COLOURS[str(split)]]
        name = SPLIT_NAMES[str(split)]
        bars = axes.barh(y, values, left=left, height=0.62, color=colour, label=name)
        for bar, (label, value) in zip(bars, values.items(), strict=True):
            mark(bar, name, [f"{label}\n{value:,} {name} samples"], [str(label)])
        left += values.to_numpy()
    axes.set_yticks(y, shortened(counts.index))
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))
    axes.set_xlabel("samples")
    figure.legend(loc="outside upper left", ncols=len(counts.columns), handlelength=0.9, columnspacing=1.2)
    return figure


def _with_commas(value: float, _: Any) -> str:
    text = f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
    return text.replace("-", "−")


# --- values ----------------------------------------------------------------------------------------------------------


@styled
def band_values(values: NDArray[Any], bands: Sequence[str], span: tuple[float, float], label: str) -> Figure:
    """Distribution of the values of each band: up to three bands overlaid, more below each other.

    Args:
        values: (pixel, band), any number type.
        bands: their names.
        span: the range of values to show; values outside count in the shares, but are not drawn.
        label: of the values, with their unit.
    """
    edges = _edges(span, whole=values.dtype.kind in "ui")
    shares = [100 * np.histogram(column, edges)[0] / len(values) for column in values.T]
    draw = _overlaid if len(bands) <= MOST_OVERLAID else _below_each_other
    figure = draw(shares, edges, bands, values)
    axes = figure.axes[0]
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))
    return figure


def _edges(span: tuple[float, float], whole: bool) -> NDArray[np.float64]:
    """Edges of the bins; bins of whole numbers contain equally many numbers, so that their heights are comparable."""
    low, high = span
    if not whole:
        return np.linspace(low, high, BINS + 1)
    low, high = np.floor(low), np.ceil(high)
    width = np.ceil((high - low + 1) / BINS)
    return np.arange(low, high + width + 1, width) - 0.5


def _overlaid(
    shares: Sequence[NDArray[Any]], edges: NDArray[Any], bands: Sequence[str], values: NDArray[Any]
) -> Figure:
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    named = {"red": "orange", "green": "green", "blue": "blue"}
    for band, share, colour, line in zip(bands, shares, MODEL_COLOURS[1:], ("-", "--", ":"), strict=False):
        shade = COLOURS[named.get(band.lower(), colour)]
        mark(axes.stairs(share, edges, fill=True, color=shade, alpha=0.1, linewidth=0), band)
        mark(axes.stairs(share, edges, color=shade, linestyle=line, linewidth=1.2, label=legend_label(band)), band)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("pixels per bin, %")
    figure.legend(loc="outside upper left", ncols=len(bands))
    return figure


def _below_each_other(
    shares: Sequence[NDArray[Any]], edges: NDArray[Any], bands: Sequence[str], values: NDArray[Any]
) -> Figure:
    """One curve per band, scaled to its peak, with a mark at its median."""
    figure = Figure(figsize=(WIDTH, 0.7 + 0.27 * len(bands)), layout="constrained")
    axes = figure.subplots()
    for row, (share, column) in enumerate(zip(shares, values.T, strict=True)):
        # The axis counts downwards.
        top = row + 0.4 - 0.8 * share / max(share.max(), 1e-12)
        axes.stairs(top, edges, baseline=row + 0.4, fill=True, color=COLOURS["blue"], alpha=0.25, linewidth=0)
        axes.stairs(top, edges, baseline=None, color=COLOURS["blue"], linewidth=0.9)
        middle = float(np.median(column))
        (line,) = axes.plot([middle, middle], [row + 0.4, row - 0.4], color=COLOURS["orange"], linewidth=1.2)
        mark(line, "median", [f"{bands[row]}\nmedian {_with_commas(middle, None)}"], [str(bands[row])])
    axes.plot([], [], color=COLOURS["orange"], linewidth=1.2, label="median")
    axes.set_yticks(np.arange(len(bands)), shortened(bands), color=COLOURS["ink"])
    axes.set_ylim(len(bands) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper left")
    return figure


@styled
def band_spectrum(quantiles: pd.DataFrame, wavelengths: Sequence[float] | None, label: str) -> Figure:
    """Median and a range of values against wavelength, or against the number of the band.

    Args:
        quantiles: index = bands; columns = a low quantile, the median, a high quantile, with names to show.
        wavelengths: of the bands in nanometres; None where unknown.
        label: of the values, with their unit.
    """
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    x = np.arange(1, len(quantiles) + 1) if wavelengths is None else np.asarray(wavelengths, float)
    order = np.argsort(x, kind="stable")
    low, middle, high = (quantiles[name].to_numpy(float)[order] for name in quantiles)
    names = list(quantiles.columns)
    axes.fill_between(
        x[order], low, high, color=COLOURS["blue"], alpha=0.18, linewidth=0, label=f"{names[0]} to {names[2]}"
    )
    axes.plot(x[order], middle, color=COLOURS["blue"], linewidth=1.2, label=names[1])
    axes.set_xlim(x.min(), x.max())
    axes.set_xlabel("band" if wavelengths is None else "wavelength, nm")
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(FuncFormatter(_with_commas))
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))
    figure.legend(loc="outside upper left", ncols=2)
    return figure


# --- places ----------------------------------------------------------------------------------------------------------


def drawn_places(places: pd.DataFrame) -> pd.DataFrame:
    """The samples that a map draws: one per dot, chosen at random, and at most MOST_POINTS.

    The map looks as if all were drawn, and crowded places do not displace isolated ones.

    Args:
        places: columns split, lat, lon in degrees.
    """
    dot = DOT * max(float(np.ptp(places["lon"])), float(np.ptp(places["lat"])), LEAST_EXTENT)
    mixed = places.sample(frac=1, random_state=0)
    cells = pd.DataFrame({"x": mixed["lon"] // dot, "y": mixed["lat"] // dot})
    return mixed[~cells.duplicated()].iloc[:MOST_POINTS]


def unbroken(longitudes: pd.Series) -> pd.Series:
    """Longitudes that continue beyond 180 if the samples are on both sides of it and so become one region."""
    eastwards = longitudes % 360
    return eastwards if np.ptp(eastwards) < HALF_WORLD <= np.ptp(longitudes) else longitudes


@styled
def sample_map(places: pd.DataFrame) -> Figure:
    """Places of samples, coloured by split, in degrees; the aspect ratio is right at the middle latitude.

    Args:
        places: columns split, lat, lon in degrees, as `drawn_places` returns them.
    """
    west, east = _extent(places["lon"])
    south, north = _extent(places["lat"], 90)
    stretch = 1 / max(0.2, float(np.cos(np.radians((south + north) / 2))))
    height = float(np.clip(0.85 * WIDTH * stretch * (north - south) / (east - west), 1.0, 4.2))
    figure = Figure(figsize=(WIDTH, height + 0.8), layout="constrained")
    axes = figure.subplots()
    size = float(np.clip(70 / np.sqrt(len(places)), 1.5, 3.5))
    for split, colour in SPLIT_COLOURS.items():
        points = places.loc[places["split"] == split, ["lon", "lat"]].to_numpy(float)
        if len(points):
            mark(axes.add_patch(_dots(points, size, COLOURS[colour])), SPLIT_NAMES[split])
            axes.plot([], [], marker="o", linestyle="none", color=COLOURS[colour], label=SPLIT_NAMES[split])
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect(stretch, adjustable="box")
    _graticule(axes, east - west, north - south, height / stretch / (north - south))
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.1, columnspacing=1.2)
    return figure


def _dots(points: NDArray[Any], size: float, colour: str) -> PathPatch:
    """Lines of no length with round ends: one SVG element for all of them, a fifth of the size of markers."""
    path = Path(np.repeat(points, 2, axis=0), np.tile([Path.MOVETO, Path.LINETO], len(points)))
    path.should_simplify = False
    return PathPatch(path, facecolor="none", edgecolor=colour, linewidth=size, capstyle="round")


def _extent(degrees: pd.Series, limit: float = np.inf) -> tuple[float, float]:
    """The ends of a map along one axis: the extent of the samples, and a margin."""
    low, high = float(degrees.min()), float(degrees.max())
    margin = max(MARGIN * (high - low), (LEAST_EXTENT - (high - low)) / 2)
    return max(-limit, low - margin), min(limit, high + margin)


def _graticule(axes: Axes, width: float, height: float, inches: float) -> None:
    """Lines at round degrees, as many as their labels leave room for; `inches` is the width of a degree east."""
    for axis, extent, sides, most in ((axes.xaxis, width, "EW", 1.3), (axes.yaxis, height, "NS", 3)):
        lines = np.clip(most * extent * inches, 1, 6)
        step = next((step for step in STEPS if extent / step <= lines), STEPS[-1])
        axis.set_major_locator(MultipleLocator(step))
        axis.set_major_formatter(FuncFormatter(lambda value, _, sides=sides: degrees(value, sides)))


def degrees(value: float, sides: str, digits: int | None = None) -> str:
    """Degrees with their side of the world, as in 12.5° W.

    Args:
        value: in degrees.
        sides: the letters of the positive and the negative side, 'NS' or 'EW'.
        digits: after the point; None for as many as are needed, four at most.
    """
    if sides == "EW":
        value = (value + HALF_WORLD) % 360 - HALF_WORLD
    value = round(value, 4 if digits is None else digits)
    size = f"{abs(value):g}" if digits is None else f"{abs(value):.{digits}f}"
    side = "" if value in (0, -HALF_WORLD) else f" {sides[int(value < 0)]}"
    return f"{size}°{side}"
