"""Charts of the embedding space: a projection before and after, and galleries of retrieval."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from PIL import Image

from bandbridge.reporting.figures.parts import (
    ROWS,
    Row,
    Spec,
    chart_of,
    colours,
    ink,
    legend,
    pointed,
    reach,
    scale,
    text,
    tips,
    zoom,
)
from bandbridge.reporting.figures.style import FULL_WIDTH
from bandbridge.reporting.thumbnails import decoded, image_uri

NAMES = {"rgb": "RGB images", "student": "multispectral images", "text": "class names"}
INKS = {"rgb": "orange", "student": "blue", "text": "ink"}
MARKERS = {"rgb": "circle", "student": "square", "text": "triangle-up"}
ALL_CLASSES = "all classes"
MARGIN = 0.06
# Pixels of a gallery: its labels, an image, the space between two, the space above an image.
LABEL, CELL, GUTTER, TITLE = 160, 78, 8, 24
ENLARGED = 2
SIGNS = {"right": "M-1,0L-0.3,0.8L1,-0.9", "wrong": "M-0.8,-0.8L0.8,0.8M-0.8,0.8L0.8,-0.8"}


def projection(panels: Mapping[str, Sequence[Mapping[str, Any]]], explained: Sequence[float]) -> Spec:
    """Two directions of the embedding space before and after; lines join the centroids and state their distance.

    Args:
        panels: title -> groups with `kind` (of NAMES), `points` (n, 2), `labels` per point, `centroid`, and `gap` (the
            distance of centroids in all dimensions to the first group's; None for the first).
        explained: shares of the variance along the two axes.
    """
    rows = [row for place, groups in enumerate(panels.values()) for row in _points(place, groups)]
    kinds = list(dict.fromkeys(group["kind"] for groups in panels.values() for group in groups))
    classes = list(dict.fromkeys(name for row in rows for name in row.get("classes", ()) if row["kind"] == "text"))
    width = (FULL_WIDTH - 90) / len(panels)
    domains = _domains(rows, width, 360)
    picked = alt.param(
        name="picked", value=ALL_CLASSES, bind=alt.binding_select(options=[ALL_CLASSES, *classes], name="Show ")
    )
    shown = alt.selection_point(name="shown", fields=["series"], bind="legend", toggle="true")
    at = pointed()
    markers = scale({NAMES[kind]: MARKERS[kind] for kind in kinds})
    shape = alt.Shape("series:N", scale=markers, legend=legend(3))
    charts = []
    for place, title in enumerate(panels):
        base = _projection_base(place, kinds, domains, explained)
        strength = "(datum.kind === 'text' ? 1 : 0.6)"
        chosen = f"(picked === '{ALL_CLASSES}' || indexof(datum.classes, picked) >= 0)"
        opacity = (
            alt.when(shown).then(alt.value(alt.ExprRef(f"{chosen} ? {strength} : 0.06"))).otherwise(alt.value(0.06))
        )
        dots = base.transform_filter("datum.part === 'point'").mark_point(filled=True, opacity=1)
        dots = dots.encode(
            shape=shape,
            size=alt.value(alt.ExprRef("datum.kind === 'text' ? 55 : 24")),
            opacity=opacity,
            tooltip=tips(words="classes", series="of"),
        )
        ring = base.transform_filter("datum.part === 'point'").transform_filter(at)
        ring = ring.mark_point(shape="circle", filled=False, size=160, strokeWidth=1.4).encode(
            color=alt.value(ink("ink"))
        )
        around = reach(dots, 120)
        dots = dots.add_params(zoom(f"zoom_{place}"), *([shown, at, picked] if place == 0 else []))
        layers = alt.layer(dots, *_gaps(base, shape), ring, around)
        charts.append(layers.properties(title=text(title), width=width, height=360))
    return chart_of(alt.hconcat(*charts, spacing=16), rows, wide=True)


def _points(place: int, groups: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The points of a panel, its centroids, and the lines between them."""
    first = groups[0]["centroid"]
    for group in groups:
        of_group = {"panel": place, "kind": group["kind"], "series": NAMES[group["kind"]]}
        for (x, y), labels in zip(group["points"], group["labels"], strict=True):
            classes = [text(name) for name in labels]
            words = ", ".join(classes) or "no class"
            yield of_group | {"part": "point", "x": x, "y": y, "classes": classes, "words": words, "key": words}
        x, y = group["centroid"]
        ends = {"x": x, "y": y, "x2": first[0], "y2": first[1]}
        yield of_group | {"part": "centroid"} | ends
        if group["gap"] is not None:
            middle = {"x3": (x + first[0]) / 2, "y3": (y + first[1]) / 2, "gap": f"gap {group['gap']:.2f}"}
            yield of_group | {"part": "gap"} | ends | middle


def _domains(rows: Sequence[Row], width: float, height: float) -> tuple[list[float], list[float]]:
    """The ranges of both axes: a unit is as long on one as on the other."""
    points = np.array([(row["x"], row["y"]) for row in rows], float)
    low, high = points.min(axis=0), points.max(axis=0)
    middle, extent = (low + high) / 2, (1 + 2 * MARGIN) * np.maximum(high - low, 1e-6)
    unit = max(extent[0] / width, extent[1] / height)
    half = unit * np.array([width, height]) / 2
    x, y = np.stack([middle - half, middle + half], axis=1).tolist()
    return x, y


def _projection_base(place: int, kinds: Sequence[str], domains: tuple[list[float], list[float]], explained: Any) -> Any:
    x, y = (alt.Scale(domain=domain, nice=False, zero=False) for domain in domains)
    second = f"second axis, {100 * explained[1]:.0f} %" if place == 0 else None
    return (
        alt.Chart(ROWS)
        .transform_filter(f"datum.panel === {place}")
        .encode(
            x=alt.X(
                "x:Q",
                title=f"first axis, {100 * explained[0]:.0f} % of the variance",
                scale=x,
                axis=alt.Axis(tickCount=6),
            ),
            y=alt.Y("y:Q", title=second, scale=y, axis=alt.Axis(tickCount=6, labels=place == 0, ticks=place == 0)),
            color=alt.Color("series:N", scale=colours({NAMES[kind]: INKS[kind] for kind in kinds}), legend=legend(3)),
        )
    )


def _gaps(base: Any, shape: alt.Shape) -> list[Any]:
    """Lines from the first group's centroid to the others', each with its length in all dimensions."""
    gaps = base.transform_filter("datum.part === 'gap'")
    lines = gaps.mark_rule(strokeWidth=1.6).encode(x2=alt.X2("x2"), y2=alt.Y2("y2"), color=alt.value(ink("ink")))
    centres = base.transform_filter("datum.part === 'centroid'").mark_point(filled=True, opacity=1, size=150)
    centres = centres.encode(shape=shape, stroke=alt.value(ink("surface")), strokeWidth=alt.value(1.5))
    words = gaps.mark_text(align="left", dx=7, dy=-7, fontWeight="bold").encode(
        x=alt.X("x3:Q"), y=alt.Y("y3:Q"), text=alt.Text("gap:N"), color=alt.value(ink("ink"))
    )
    return [lines, centres, words]


# --- galleries -------------------------------------------------------------------------------------------------------


def gallery(rows: Sequence[tuple[str, Sequence[tuple[str, str, bool | None]]]]) -> Spec:
    """Images in rows, for print: right ones ticked, wrong ones crossed.

    Args:
        rows: per row a label, and per image (data URI, text, right: None for a query).
    """
    columns = max(len(images) for _, images in rows)
    width, height = LABEL + columns * (CELL + GUTTER), len(rows) * (CELL + TITLE)
    # All images are pasted into one, transparent elsewhere.
    sheet = Image.new("RGBA", (ENLARGED * width, ENLARGED * height))
    letters: list[Row] = []
    for number, (label, images) in enumerate(rows):
        top = number * (CELL + TITLE) + TITLE - GUTTER
        lines = [text(line) for line in textwrap.wrap(label, 26)]
        letters.append({"x": LABEL - GUTTER, "y": top + CELL / 2, "label": lines, "part": "label"})
        for column, (uri, name, right) in enumerate(images):
            left = LABEL + column * (CELL + GUTTER)
            image = decoded(uri).resize((ENLARGED * CELL, ENLARGED * CELL), Image.Resampling.NEAREST)
            sheet.paste(image, (ENLARGED * left, ENLARGED * top))
            part, colour = {None: ("query", "ink"), True: ("right", "green"), False: ("wrong", "orange")}[right]
            letters.append({"x": left, "y": top - 3, "label": text(name), "part": part, "ink": colour})
    at = {
        "x": alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False)),
        "y": alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[height, 0], nice=False)),
    }
    picture = (
        alt.Chart(ROWS)
        .transform_filter("datum.part === 'sheet'")
        .mark_image(width=width, height=height, align="left", baseline="top")
        .encode(**at, url=alt.Url("uri:N"))
    )
    words = alt.Chart(ROWS).encode(**at, text=alt.Text("label:N"))
    labels = words.transform_filter("datum.part === 'label'").mark_text(align="right", baseline="middle", fontSize=10)
    inks = alt.Color("ink:N", scale=colours({name: name for name in ("ink", "green", "orange")}), legend=None)
    # No letters: few fonts have a tick.
    signs = alt.Chart(ROWS).transform_filter("isValid(datum.ink) && datum.part !== 'query'").encode(**at, color=inks)
    signs = signs.mark_point(filled=False, size=30, strokeWidth=1.6, xOffset=5, yOffset=-5).encode(
        shape=alt.Shape("part:N", scale=scale(SIGNS), legend=None)
    )
    names = words.transform_filter("isValid(datum.ink)").encode(color=inks)
    beside = alt.ExprRef("datum.part === 'query' ? 0 : 13")
    names = names.mark_text(align="left", baseline="bottom", fontSize=8, dx=beside)
    letters.append({"part": "sheet", "x": 0, "y": 0, "uri": image_uri(sheet, "png")})
    layers = alt.layer(picture, labels, signs, names).properties(width=width, height=height)
    return chart_of(layers, letters, wide=True)
