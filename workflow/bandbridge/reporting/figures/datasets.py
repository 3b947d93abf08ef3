"""Charts of a data set: samples per class, values per band, places on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bandbridge.reporting.figures.parts import (
    PLAIN,
    ROWS,
    Row,
    Spec,
    chart_of,
    colours,
    faded,
    fitted,
    ink,
    legend,
    legend_filter,
    names_axis,
    scale,
    stepped,
    text,
    tips,
    zoom,
)
from bandbridge.reporting.figures.style import DASHED, DOTTED, MODEL_COLOURS, SOLID, SPLIT_COLOURS, SPLIT_NAMES, WIDTH

MOST_POINTS = 4000
# Up to the first number of bands are overlaid; up to the second, each has a curve; of more, quantiles are drawn.
MOST_OVERLAID, MOST_CURVES = 3, 24
BINS = 64
# A map's smallest extent in degrees, its margin and the size of a dot as shares of its width.
LEAST_EXTENT, MARGIN, DOT = 0.02, 0.04, 1 / 220
HALF_WORLD = 180
# Round degrees between the lines of a map.
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 90)
# Strengths of the splits' colours, so that they stay apart in grey.
SPLIT_STRENGTHS = {"train": 0.4, "val": 0.75, "test": 1.0}
# Pixels: the lowest and the highest map, and the letters beside one.
LEAST_HEIGHT, MOST_HEIGHT, BESIDE = 115, 480, 70


def class_counts(counts: pd.DataFrame) -> Spec:
    """Samples per class, stacked by split.

    Args:
        counts: index = classes from top to bottom, columns = splits.
    """
    rows = [
        {"key": str(name), "series": SPLIT_NAMES[str(split)], "place": place, "count": count, "samples": f"{count:,}"}
        for name, of_class in counts.iterrows()
        for place, (split, count) in enumerate(of_class.items())
    ]
    inks = {SPLIT_NAMES[split]: colour for split, colour in SPLIT_COLOURS.items() if split in counts}
    strengths = {SPLIT_NAMES[split]: strength for split, strength in SPLIT_STRENGTHS.items() if split in counts}
    shown = legend_filter()
    bars = (
        alt.Chart(ROWS)
        .mark_bar(height={"band": 0.66}, stroke=ink("surface"), strokeWidth=0.5)
        .encode(
            x=alt.X("count:Q", stack=True, title="samples", axis=alt.Axis(format=",d", tickMinStep=1, tickCount=5)),
            y=alt.Y(
                "key:N", title=None, axis=names_axis(), scale=alt.Scale(domain=[text(name) for name in counts.index])
            ),
            color=alt.Color("series:N", scale=colours(inks), legend=legend(3)),
            fillOpacity=alt.FillOpacity("series:O", scale=scale(strengths), legend=legend(3)),
            opacity=faded(shown),
            order=alt.Order("place:Q"),
            tooltip=tips(key="class", series="split", samples="samples"),
        )
        .add_params(shown, zoom(axes=["x"]))
    )
    return chart_of(fitted(bars, height=stepped(counts.index, 20)), rows)


def with_commas(value: float) -> str:
    """'1,234', '0.4321', with a true minus sign."""
    shown = f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
    return shown.replace("-", "−")


# --- values ----------------------------------------------------------------------------------------------------------


def band_values(values: NDArray[Any], bands: Sequence[str], span: tuple[float, float], label: str) -> Spec:
    """Distribution of the values of each band: up to three bands overlaid, more below each other.

    Args:
        values: (pixel, band), any number type.
        bands: their names.
        span: the range of values to show; values outside count in the shares, but are not drawn.
        label: of the values, with their unit.
    """
    edges = _edges(span, whole=values.dtype.kind in "ui")
    shares = [100 * np.histogram(column, edges)[0] / len(values) for column in values.T]
    x = alt.X(
        "value:Q",
        title=text(label),
        axis=alt.Axis(tickCount=6, format=PLAIN),
        scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False),
    )
    if len(bands) <= MOST_OVERLAID:
        return _overlaid(shares, edges, bands, x)
    return _below_each_other(shares, edges, bands, values, x)


def _edges(span: tuple[float, float], whole: bool) -> NDArray[np.float64]:
    """Edges of the bins; bins of whole numbers contain equally many numbers, so that their heights are comparable."""
    low, high = span
    if not whole:
        return np.linspace(low, high, BINS + 1)
    low, high = np.floor(low), np.ceil(high)
    width = np.ceil((high - low + 1) / BINS)
    return np.arange(low, high + width + 1, width) - 0.5


def _steps(band: str, share: NDArray[Any], edges: NDArray[Any]) -> list[Row]:
    """The left edge of each bin and its share; the last edge repeats the last share."""
    pairs = zip(edges, [*share, share[-1]], strict=True)
    return [{"band": band, "value": float(low), "share": float(value)} for low, value in pairs]


def _of_bins() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("band:N"),
        alt.Tooltip("value:Q", title="values from", format=PLAIN),
        alt.Tooltip("share:Q", title="pixels, %", format=".3~r"),
    ]


def _overlaid(shares: Sequence[NDArray[Any]], edges: NDArray[Any], bands: Sequence[str], x: alt.X) -> Spec:
    rows = [row for band, share in zip(bands, shares, strict=True) for row in _steps(str(band), share, edges)]
    named = {"red": "orange", "green": "green", "blue": "blue"}
    inks = {
        str(band): named.get(str(band).lower(), colour) for band, colour in zip(bands, MODEL_COLOURS[1:], strict=False)
    }
    dashes = dict(zip(map(str, bands), (SOLID, DASHED, DOTTED), strict=False))
    shown = legend_filter("band")
    base = alt.Chart(ROWS).encode(
        x=x,
        y=alt.Y("share:Q", title="pixels per bin, %", axis=alt.Axis(tickCount=6), stack=None),
        color=alt.Color("band:N", scale=colours(inks), legend=legend(3, lines=True)),
        tooltip=_of_bins(),
    )
    area = base.mark_area(interpolate="step-after").encode(opacity=faded(shown, 0.1))
    line = base.mark_line(interpolate="step-after", strokeWidth=1.5).encode(
        strokeDash=alt.StrokeDash("band:N", scale=scale(dashes), legend=legend(3, lines=True)), opacity=faded(shown)
    )
    return chart_of(fitted(alt.layer(area, line.add_params(shown, zoom())), height=230), rows)


def _below_each_other(
    shares: Sequence[NDArray[Any]], edges: NDArray[Any], bands: Sequence[str], values: NDArray[Any], x: alt.X
) -> Spec:
    """One curve per band, scaled to its peak, with a mark at its median."""
    rows: list[Row] = []
    for place, (band, share, column) in enumerate(zip(bands, shares, values.T, strict=True)):
        middle = float(np.median(column))
        of_band = {"band": str(band), "place": place}
        rows += [*_steps(str(band), share, edges), of_band | {"median": middle, "words": with_commas(middle)}]
    y = alt.Y("share:Q", title=None, axis=None, scale=alt.Scale(nice=False))
    base = alt.Chart().encode(x=x)
    curves = base.transform_filter("isValid(datum.share)").encode(y=y, tooltip=_of_bins())
    area = curves.mark_area(interpolate="step-after", color=ink("blue"), opacity=0.25, line=False)
    line = curves.mark_line(interpolate="step-after", color=ink("blue"), strokeWidth=1)
    median = (
        base.transform_filter("isValid(datum.median)")
        .mark_rule(color=ink("orange"), strokeWidth=1.8)
        .encode(x=alt.X("median:Q"), tooltip=tips(band="band", words="median"))
    )
    header = alt.Header(
        title=None, labelAngle=0, labelAlign="right", labelOrient="left", labelColor=ink("ink"), labelPadding=6
    )
    in_order = alt.EncodingSortField(field="place", op="max")
    row = alt.Row("band:N", sort=in_order, header=header)
    chart = (
        alt.layer(area, line, median.add_params(zoom(axes=["x"])), data=ROWS)
        .properties(width=WIDTH - BESIDE, height=22)
        .facet(row=row, spacing=1, title=alt.Title("the upright line is the median", color=ink("muted"), fontSize=11))
        .resolve_scale(y="independent")
    )
    return chart_of(chart, rows)


def band_spectrum(quantiles: pd.DataFrame, wavelengths: Sequence[float] | None, label: str) -> Spec:
    """Median and a range of values against wavelength, or against the number of the band.

    Args:
        quantiles: index = bands; columns = a low quantile, the median, a high quantile, with names to show.
        wavelengths: of the bands in nanometres; None where unknown.
        label: of the values, with their unit.
    """
    places = np.arange(1, len(quantiles) + 1) if wavelengths is None else np.asarray(wavelengths, float)
    order = np.argsort(places, kind="stable")
    low, middle, high = map(str, quantiles.columns)
    rows = []
    for place, band, values in zip(
        places[order], quantiles.index[order], quantiles.to_numpy(float)[order], strict=True
    ):
        ends = f"{with_commas(values[0])} to {with_commas(values[2])}"
        rows.append(
            {"band": str(band), "x": place, "low": values[0], "median": values[1], "high": values[2], "ends": ends}
        )
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "x:Q",
            title="band" if wavelengths is None else "wavelength, nm",
            axis=alt.Axis(tickCount=6, format=PLAIN),
            scale=alt.Scale(zero=False, nice=False),
        ),
        tooltip=[*tips(band="band", ends=f"{low} to {high}"), alt.Tooltip("median:Q")],
    )
    y = {"type": "quantitative", "title": text(label), "axis": alt.Axis(format=PLAIN, tickCount=6)}
    y["scale"] = alt.Scale(zero=False)
    area = base.mark_area(color=ink("blue"), opacity=0.18).encode(y=alt.Y(field="low", **y), y2=alt.Y2("high"))
    line = base.mark_line(color=ink("blue"), strokeWidth=1.5).encode(y=alt.Y(field="median", **y))
    title = alt.Title(f"line: {middle}; area: {low} to {high}", color=ink("muted"))
    return chart_of(fitted(alt.layer(area, line.add_params(zoom())), height=250, title=title), rows)


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


def sample_map(places: pd.DataFrame) -> Spec:
    """Places of samples, coloured by split, in degrees; the aspect ratio is right at the middle latitude.

    Args:
        places: columns split, lat, lon in degrees, as `drawn_places` returns them.
    """
    west, east = _extent(places["lon"])
    south, north = _extent(places["lat"], 90)
    stretch = 1 / max(0.2, float(np.cos(np.radians((south + north) / 2))))
    width = float(WIDTH - BESIDE)
    height = width * stretch * (north - south) / (east - west)
    if height > MOST_HEIGHT:
        width, height = max(width * MOST_HEIGHT / height, LEAST_HEIGHT), MOST_HEIGHT
    height = max(height, LEAST_HEIGHT)
    splits = {SPLIT_NAMES[split]: colour for split, colour in SPLIT_COLOURS.items() if split in set(places["split"])}
    shown = legend_filter()
    # Lines of no length with round ends: one path for all samples of a split, a fifth of the size of points. After
    # each sample comes a place that is missing, which ends its line.
    rows: list[Row] = [
        {"series": SPLIT_NAMES[str(split)]}
        | {axis: [end for degree in of_split[axis] for end in (float(degree), None)] for axis in ("lon", "lat")}
        for split, of_split in places.groupby("split", sort=False)
    ]
    size = float(np.clip(110 / np.sqrt(len(places)), 2.4, 5.5))
    dots = (
        alt.Chart(ROWS)
        .transform_flatten(["lon", "lat"])
        .transform_window([{"op": "row_number", "as": "place"}])
        .mark_line(strokeCap="round", strokeWidth=size, invalid="break-paths-show-path-domains")
        .encode(
            x=_degrees_axis(alt.X, "lon", (west, east), width, "EW"),
            y=_degrees_axis(alt.Y, "lat", (south, north), height, "NS"),
            color=alt.Color("series:N", scale=colours(splits), legend=legend(3)),
            order=alt.Order("place:Q"),
            opacity=faded(shown),
        )
        .properties(width=width, height=height)
        .add_params(shown, zoom())
    )
    return chart_of(dots, rows, keeps_aspect=True)


def _degrees_axis(channel: Any, field: str, span: tuple[float, float], pixels: float, sides: str) -> Any:
    """Lines at round degrees, as many as their labels leave room for."""
    low, high = span
    most = float(np.clip(pixels / (75 if sides == "EW" else 30), 1, 6))
    step = next((step for step in STEPS if (high - low) / step <= most), STEPS[-1])
    values = [round(step * number, 6) for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]
    shown = "abs((datum.value + 540) % 360 - 180)" if sides == "EW" else "abs(datum.value)"
    positive = "(datum.value + 540) % 360 > 180" if sides == "EW" else "datum.value > 0"
    size = f"format({shown}, '.4~f')"
    side = f"({shown} === 0 || {shown} === 180 ? '' : {positive} ? ' {sides[0]}' : ' {sides[1]}')"
    axis = alt.Axis(values=values, labelExpr=f"{size} + '°' + {side}")
    return channel(
        field=field,
        type="quantitative",
        title=None,
        axis=axis,
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
    )


def _extent(degrees: pd.Series, limit: float = np.inf) -> tuple[float, float]:
    """The ends of a map along one axis: the extent of the samples, and a margin."""
    low, high = float(degrees.min()), float(degrees.max())
    margin = max(MARGIN * (high - low), (LEAST_EXTENT - (high - low)) / 2)
    return max(-limit, low - margin), min(limit, high + margin)


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
