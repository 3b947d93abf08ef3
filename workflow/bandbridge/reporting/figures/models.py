"""Charts that compare models: class by class, confusions, probes on frozen embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import altair as alt
import pandas as pd

from bandbridge.reporting.figures.parts import (
    PERCENT,
    ROWS,
    Row,
    Spec,
    chart_of,
    colours,
    faded,
    fitted,
    halo,
    ink,
    legend,
    legend_filter,
    names_axis,
    pointed,
    reach,
    records,
    scale,
    score,
    stepped,
    text,
    tips,
    zoom,
)
from bandbridge.reporting.figures.style import FULL_WIDTH, MODEL_COLOURS, MODEL_MARKERS
from bandbridge.reporting.tables.model import number

# With at most this many classes, the cells of a confusion matrix show their numbers.
MOST_NUMBERED = 12
# Cells of fewer samples than this share of their row are too pale to be seen or pointed at.
LEAST_SHARE = 0.005
# One colour of varying opacity: legible on white paper and on a dark page.
CELLS = "#2f86cf"
KIND_NAMES = {"zero-shot": "zero-shot", "knn": "nearest neighbours", "linear-probe": "linear probe"}
KIND_COLOURS = {"zero-shot": "muted", "knn": "green", "linear-probe": "blue"}
KIND_MARKERS = {"zero-shot": "circle", "knn": "square", "linear-probe": "diamond"}


def per_class(scores: pd.DataFrame) -> Spec:
    """One dumbbell per class: dots for the models, a line from the lowest to the highest.

    Args:
        scores: index = classes from top to bottom, columns = models, values 0..1, NaN where undefined.
    """
    models = list(map(str, scores.columns))
    rows = []
    for name, values in scores.iterrows():
        defined = values.dropna()
        for model, value in defined.items():
            ends = {"low": 100 * defined.min(), "high": 100 * defined.max()} if model == defined.index[0] else {}
            rows.append({"key": str(name), "series": str(model), "value": 100 * value, "score": score(value)} | ends)
    shown, at = legend_filter(), pointed()
    base = alt.Chart(ROWS).encode(y=_lines(scores.index), opacity=faded(shown))
    spans = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", title=None, axis=PERCENT, scale=alt.Scale(zero=False, padding=8)),
        x2=alt.X2("high"),
        color=alt.value(ink("hairline")),
        opacity=alt.value(1),
    )
    points = base.mark_point(size=60, filled=True, opacity=1, strokeWidth=1.4).encode(
        x=alt.X("value:Q"), tooltip=tips(key="class", series="model", score="score"), **_looks_of(models)
    )
    chart = alt.layer(spans, points.add_params(shown, at, zoom(axes=["x"])), halo(points, at), reach(points, 200))
    return chart_of(fitted(chart, height=stepped(scores.index, 20)), rows)


def _lines(names: Any, title: str | None = None) -> alt.Y:
    """A row per name, from top to bottom."""
    domain = [text(name) for name in names]
    return alt.Y("key:N", title=title, axis=names_axis(), scale=alt.Scale(domain=domain))


def _looks_of(models: list[str]) -> dict[str, Any]:
    """A colour and a marker for each model."""
    count = range(len(models))
    inks = {models[place]: MODEL_COLOURS[place % len(MODEL_COLOURS)] for place in count}
    markers = {models[place]: MODEL_MARKERS[place % len(MODEL_MARKERS)] for place in count}
    return {
        "color": alt.Color("series:N", scale=colours(inks), legend=legend()),
        "shape": alt.Shape("series:N", scale=scale(markers), legend=legend()),
    }


# --- confusions ------------------------------------------------------------------------------------------------------


def confusions(matrices: Mapping[str, pd.DataFrame], samples: pd.Series) -> Spec:
    """Confusion matrices side by side: rows are true classes, columns predictions, shades shares of the row.

    Args:
        matrices: model -> frame of shares, index = true and columns = predicted classes, the same for all models.
        samples: per true class.
    """
    classes = list(map(str, samples.index))
    edge = min((FULL_WIDTH - 170) / len(matrices), 400)
    rows, panels = [], []
    at = pointed("true", "predicted", mark="rect")
    for place, (model, shares) in enumerate(matrices.items()):
        for pair, stacked in shares.stack().items():
            (true, predicted), share = cast("tuple[str, str]", pair), float(cast("float", stacked))
            if share >= LEAST_SHARE:
                of = f"{number(100 * share)} % of {samples[true]:,}"
                cell = {"true": str(true), "predicted": str(predicted)}
                rows.append({"model": place, "share": 100 * share, "score": of, "right": true == predicted} | cell)
        panel = _confusion_panel(place, classes, edge, at)
        panels.append(panel.properties(title=text(model), width=edge, height=min(edge, 330)))
    return chart_of(alt.hconcat(*panels, spacing=18), rows, wide=True)


def _confusion_panel(place: int, classes: list[str], edge: float, at: alt.Parameter) -> alt.LayerChart:
    size = min(12.0, max(6.0, edge / len(classes)))
    look = {"domain": False, "ticks": False, "grid": False, "labelOverlap": False, "labelFontSize": size}
    true = alt.Axis(title="true", labelLimit=140, labelColor=ink("ink"), **look)
    hidden = alt.Axis(title=None, labels=False, domain=False, ticks=False, grid=False)
    base = (
        alt.Chart(ROWS)
        .transform_filter(f"datum.model === {place}")
        .encode(
            x=alt.X(
                "predicted:N",
                title="predicted",
                scale=alt.Scale(domain=[text(name) for name in classes]),
                axis=alt.Axis(labelAngle=-90, labelLimit=140, **look),
            ),
            y=alt.Y("true:N", scale=alt.Scale(domain=[text(name) for name in classes]), axis=hidden if place else true),
            tooltip=tips(true="true class", predicted="predicted", score="share"),
        )
    )
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 100]), legend=None)
    shade.scale.range = [0.04, 1]
    cells = base.mark_rect(color=CELLS).encode(opacity=shade)
    if place == 0:
        cells = cells.add_params(at)
    ring = base.transform_filter(at).mark_rect(filled=False, stroke=ink("ink"), strokeWidth=1.5)
    layers = [cells, ring]
    if len(classes) <= MOST_NUMBERED:
        bold = alt.ExprRef("datum.right ? 'bold' : 'normal'")
        layers.append(base.mark_text(fontSize=10, fontWeight=bold).encode(text=alt.Text("share:Q", format=".0f")))
    return alt.layer(*layers)


# --- probes ----------------------------------------------------------------------------------------------------------


def probes(scores: pd.DataFrame, metric: str) -> Spec:
    """Zero-shot, nearest neighbours and linear probe: one line per model, one mark per kind.

    Args:
        scores: columns model, kind (of KIND_NAMES), value, ci_low, ci_high; models from top to bottom in their order.
        metric: name of the axis.
    """
    models = list(dict.fromkeys(scores["model"]))
    rows = [{"key": row.model, "series": KIND_NAMES[row.kind]} | _interval(row) for row in records(scores)]
    kinds = {kind: KIND_NAMES[kind] for kind in KIND_NAMES if kind in set(scores["kind"])}
    inks = {name: KIND_COLOURS[kind] for kind, name in kinds.items()}
    markers = {name: KIND_MARKERS[kind] for kind, name in kinds.items()}
    shown, at = legend_filter(), pointed()
    base = alt.Chart(ROWS).encode(
        y=_lines(models),
        # Kinds are apart, so that intervals do not overlap.
        yOffset=alt.YOffset("series:N", scale=alt.Scale(domain=list(inks))),
        color=alt.Color("series:N", scale=colours(inks), legend=legend(3)),
        opacity=faded(shown),
    )
    spans = base.mark_rule(strokeWidth=1.4).encode(
        x=alt.X("low:Q", title=f"{metric}, %", axis=PERCENT, scale=alt.Scale(zero=False, padding=8)), x2=alt.X2("high")
    )
    points = base.mark_point(size=60, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title=f"{metric}, %"),
        shape=alt.Shape("series:N", scale=scale(markers), legend=legend(3)),
        tooltip=tips(key="model", series="by", score="score"),
    )
    chart = alt.layer(spans, points.add_params(shown, at, zoom(axes=["x"])), halo(points, at), reach(points, 200))
    return chart_of(fitted(chart, height=stepped(models, 14 * len(kinds) + 8)), rows)


def shots(scores: pd.DataFrame, metric: str) -> Spec:
    """Probes on few samples per class: one line per model against the number of samples, with the repeats' interval.

    Args:
        scores: columns model, k, value, ci_low, ci_high.
        metric: name of the axis.
    """
    rows = [{"series": row.model, "k": row.k, "key": str(row.k)} | _interval(row) for row in records(scores)]
    looks = _looks_of(list(dict.fromkeys(scores["model"])))
    ticks = sorted(map(int, scores["k"].unique()))
    shown, at = legend_filter(), pointed()
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "k:Q",
            title="samples per class",
            scale=alt.Scale(type="log", nice=False, padding=8),
            axis=alt.Axis(values=ticks, format=",d"),
        ),
        color=looks["color"],
        opacity=faded(shown),
    )
    y = {"type": "quantitative", "title": f"{metric}, %", "axis": PERCENT, "scale": alt.Scale(zero=False)}
    band = base.mark_area().encode(y=alt.Y(field="low", **y), y2=alt.Y2("high"), opacity=faded(shown, 0.12))
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y(field="value", **y))
    points = base.mark_point(size=55, filled=True, opacity=1).encode(
        y=alt.Y(field="value", **y),
        shape=looks["shape"],
        tooltip=tips(series="model", key="samples per class", score="score"),
    )
    chart = alt.layer(band, line, points.add_params(shown, at, zoom()), halo(points, at), reach(points))
    return chart_of(fitted(chart, height=270), rows)


def _interval(row: Any) -> Row:
    ends = (row.ci_low, row.ci_high)
    return {"value": 100 * row.value, "low": 100 * ends[0], "high": 100 * ends[1], "score": score(row.value, ends)}
