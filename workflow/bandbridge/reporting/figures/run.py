"""Charts of the report about a run: the PAINT curve, trainings, and the stages' costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.catalogue.titles import short_title
from bandbridge.reporting.figures.parts import (
    PERCENT,
    PLAIN,
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
    scale,
    score,
    stepped,
    text,
    tips,
    zoom,
)
from bandbridge.reporting.figures.style import DASHED, FULL_WIDTH, MODEL_COLOURS, MOST_STEPS, SOLID, SPLIT_NAMES, WIDTH
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import metric_name

# (task, split, alpha) -> the ends of an interval, 0..1; the task is 'patching' or 'supported'.
Intervals = Mapping[tuple[str, str, float], tuple[float, float]]
DASHES = scale({SPLIT_NAMES["val"]: DASHED, SPLIT_NAMES["test"]: SOLID})
# Width of the letters beside an axis, which charts below each other do not count themselves.
BESIDE = 60


# --- the PAINT curve -------------------------------------------------------------------------------------------------


def paint_curve(curve: Curve, supported_title: str, intervals: Intervals | None = None) -> Spec:
    """Patching against supported metric, one point per alpha; the selected one is ringed."""
    titles = {"patching": short_title(curve.dataset), "supported": supported_title}
    axes = {task: f"{text(title)}: {curve.metric(task)}, %" for task, title in titles.items()}
    rows = [row for split in SPLIT_NAMES if split != "train" for row in _front(curve, split, titles, intervals or {})]
    shown, at = legend_filter(), pointed()
    span = [row["x"] for row in rows]
    low, high = min(span), max(span)
    margin = 0.04 * (high - low) or 1.0
    base = alt.Chart(ROWS).encode(
        # Names are on the outer side of the curve, to the right, where they need room.
        x=alt.X(
            "x:Q",
            title=axes["supported"],
            axis=PERCENT,
            scale=alt.Scale(domain=[low - margin, high + 8 * margin], nice=False),
        ),
        y=alt.Y("y:Q", title=axes["patching"], axis=PERCENT, scale=alt.Scale(zero=False, nice=False, padding=26)),
        opacity=faded(shown),
    )
    inks = colours({SPLIT_NAMES["val"]: "muted", SPLIT_NAMES["test"]: "blue"})
    line = base.mark_line(strokeWidth=2).encode(
        color=alt.Color("series:N", scale=inks, legend=legend(lines=True)),
        order=alt.Order("alpha:Q"),
        strokeDash=alt.StrokeDash("series:N", scale=DASHES, legend=legend(lines=True)),
    )
    points = base.mark_point(size=55, strokeWidth=1.5, opacity=1).encode(
        stroke=alt.Stroke("series:N", scale=inks, legend=legend(lines=True)),
        fill=_hollow_unless_test("blue"),
        tooltip=tips(label="α", series="split", patching="patching task", supported="supported task"),
    )
    ring = base.transform_filter("datum.chosen").mark_point(size=320, filled=False, strokeWidth=1.6)
    names = base.transform_filter("isValid(datum.name)").mark_text(
        align="left", baseline="middle", dx=alt.ExprRef("datum.dx"), dy=alt.ExprRef("datum.dy")
    )
    chart = alt.layer(
        line.add_params(shown),
        points.add_params(at, zoom()),
        ring.encode(color=alt.value(ink("orange"))),
        halo(points, at),
        reach(points),
        names.encode(text=alt.Text("name:N"), color=alt.value(ink("ink"))),
    )
    return chart_of(fitted(chart, height=320), rows)


def _hollow_unless_test(colour: str) -> Any:
    """Points of the test split are filled, those of validation are not."""
    return alt.when("datum.series === 'test'").then(alt.value(ink(colour))).otherwise(alt.value(ink("surface")))


def _front(curve: Curve, split: str, titles: Mapping[str, str], intervals: Intervals) -> Iterator[Row]:
    """The points of the patching against the supported task, with the names of the ends and of the selected one."""
    named = "test" if curve.points["patching_test"].notna().any() else "val"
    names = {0.0: "zero-shot", 1.0: "fine-tuned"}
    names[curve.selected] = ", ".join(filter(None, [names.get(curve.selected), f"α = {alpha_name(curve.selected)}"]))
    places = {0.0: (12, 5), 1.0: (8, -13)}
    for row in _alphas(curve, split, tuple(titles), intervals):
        alpha = row["alpha"]
        if alpha in names and split == named:
            dx, dy = places.get(alpha, (14, -3))
            row |= {"name": names[alpha], "dx": dx, "dy": dy}
        yield row | {"x": 100 * curve.at(alpha)[f"supported_{split}"], "y": 100 * curve.at(alpha)[f"patching_{split}"]}


def _alphas(curve: Curve, split: str, roles: Sequence[str], intervals: Intervals) -> Iterator[Row]:
    """A row for each alpha with a value for all of the tasks: what it is, and each task's score in words."""
    drawn = curve.points[[f"{task}_{split}" for task in roles]].notna().all(axis=1)
    for alpha in map(float, curve.points.loc[drawn, "alpha"]):
        chosen = alpha == curve.selected
        scores = {}
        for task in roles:
            value = float(curve.at(alpha)[f"{task}_{split}"])
            scores[task] = f"{curve.metric(task)} {score(value, intervals.get((task, split, alpha)))}"
        yield {
            "series": SPLIT_NAMES[split],
            "alpha": alpha,
            "label": f"{alpha_name(alpha)}{', selected' if chosen else ''}",
            "key": alpha_name(alpha),
            "chosen": chosen,
            **scores,
        }


def paint_by_alpha(curve: Curve, supported_title: str, intervals: Intervals | None = None) -> Spec:
    """The two tasks' metrics against alpha, each in a panel with a separate scale; a line marks the selected alpha."""
    tasks = [("patching", short_title(curve.dataset), "blue")]
    if curve.has_supported:
        tasks.append(("supported", supported_title, "green"))
    rows, panels = [], []
    shown, at = legend_filter(), pointed()
    for task, title, colour in tasks:
        for split in ("val", "test"):
            rows += list(_against_alpha(curve, task, split, intervals or {}))
        panel = _alpha_panel(task, colour, shown, at, is_last=task == tasks[-1][0])
        heading = f"{text(title)}: {curve.metric(task)}, %"
        panels.append(panel.properties(title=heading, height=150 if len(tasks) > 1 else 260))
    rows.append({"task": "selected", "alpha": curve.selected})
    return chart_of(alt.vconcat(*panels, spacing=14), rows)


def _against_alpha(curve: Curve, task: str, split: str, intervals: Intervals) -> Iterator[Row]:
    column = f"{task}_{split}"
    for row in _alphas(curve, split, (task,), intervals):
        point = curve.at(row["alpha"])
        row |= {"task": task, "score": row.pop(task), "value": 100 * point[column]}
        if f"{column}_ci_low" in curve.points:
            row |= {"low": 100 * point[f"{column}_ci_low"], "high": 100 * point[f"{column}_ci_high"]}
        yield row


def _alpha_panel(task: str, colour: str, shown: alt.Parameter, at: alt.Parameter, is_last: bool) -> Any:
    base = (
        alt.Chart(ROWS)
        .transform_filter(f"datum.task === '{task}'")
        .encode(
            x=alt.X(
                "alpha:Q",
                title="α" if is_last else None,
                axis=alt.Axis(tickCount=6),
                scale=alt.Scale(nice=False, padding=6),
            ),
            y=alt.Y("value:Q", title=None, axis=PERCENT, scale=alt.Scale(zero=False)),
            opacity=faded(shown),
        )
    )
    band = base.mark_area(color=ink(colour)).encode(
        y=alt.Y("low:Q", title=None), y2=alt.Y2("high"), opacity=faded(shown, 0.12), detail=alt.Detail("series:N")
    )
    line = base.mark_line(color=ink(colour), strokeWidth=2).encode(
        strokeDash=alt.StrokeDash("series:N", scale=DASHES, legend=legend(lines=True))
    )
    points = base.mark_point(size=45, strokeWidth=1.5, color=ink(colour)).encode(
        fill=_hollow_unless_test(colour), tooltip=tips(label="α", series="split", score="score")
    )
    chosen = (
        alt.Chart(ROWS)
        .transform_filter("datum.task === 'selected'")
        .mark_rule(color=ink("orange"), strokeWidth=1.4)
        .encode(x=alt.X("alpha:Q"))
    )
    # Parameters are of the whole chart, but each panel is zoomed by itself.
    of_all = [shown, at] if task == "patching" else []
    line = line.add_params(*of_all, zoom(f"zoom_{task}"))
    layers = alt.layer(band, chosen, line, points, halo(points, at), reach(points))
    return layers.properties(width=WIDTH - BESIDE)


# --- training --------------------------------------------------------------------------------------------------------


def training_curves(history: Sequence[Mapping[str, float]]) -> Spec:
    """Losses, validation scores and learning rate of one training against its steps."""
    frame = pd.DataFrame(history).set_index("step")
    terms = [str(name) for name in frame.columns if name not in ("epoch", "learning_rate", "gradient_norm")]
    scores = [name for name in terms if name.startswith("val_") and name.removeprefix("val_") not in terms]
    losses = [name for name in terms if name not in scores]
    span = (float(frame.index.min()), float(frame.index.max()))
    named = dict.fromkeys(metric_name(name.removeprefix("val_")) for name in [*losses, *scores])
    looks = {name: MODEL_COLOURS[1 + place % (len(MODEL_COLOURS) - 1)] for place, name in enumerate(named)}
    rows = list(_training_rows("loss", frame[losses]))
    panels = [_training_panel("loss", "Loss", frame[losses], looks, span)]
    if scores:
        rows += list(_training_rows("score", 100 * frame[scores]))
        panels.append(_training_panel("score", "Validation, %", frame[scores], looks, span))
    rates = _thinned(frame["learning_rate"].dropna())
    rows += [{"panel": "rate", "step": step, "value": rate} for step, rate in rates.items()]
    panels.append(_rate_panel(f"Learning rate, at most {rates.max():.2g}", span))
    return chart_of(alt.vconcat(*panels, spacing=14), rows)


def _training_rows(panel: str, frame: pd.DataFrame) -> Iterator[Row]:
    for name, values in frame.items():
        term = str(name).removeprefix("val_")
        for step, value in _thinned(values.dropna()).items():
            kind = SPLIT_NAMES["train" if name == term else "val"]
            yield {"panel": panel, "series": metric_name(term), "kind": kind, "step": step, "value": value}


def _training_panel(
    panel: str, title: str, frame: pd.DataFrame, looks: Mapping[str, str], span: tuple[float, float]
) -> Any:
    """A line per column; the training and the validation line of the same term share a colour."""
    shown = legend_filter(name=f"shown_{panel}")
    dashes = scale({SPLIT_NAMES["train"]: SOLID, SPLIT_NAMES["val"]: DASHED})
    base = (
        alt.Chart(ROWS, title=title)
        .transform_filter(f"datum.panel === '{panel}'")
        .encode(
            x=_steps(span),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=False, padding=4)),
            color=alt.Color("series:N", scale=colours(looks), legend=legend(3, lines=True)),
            opacity=faded(shown),
        )
    )
    points = base.mark_point(size=16, filled=True).encode(
        detail=alt.Detail("kind:N"), tooltip=[*tips(series="term", kind="split"), *_step_and_value()]
    )
    dashed = alt.StrokeDash("kind:N", scale=dashes, legend=legend(2, lines=True, stroke="muted"))
    lines = base.mark_line(strokeWidth=1.5).encode(strokeDash=dashed)
    if len(frame) > MOST_STEPS // 4:
        points = points.transform_filter(f"datum.kind === '{SPLIT_NAMES['val']}'")
        lines = lines.encode(tooltip=[*tips(series="term", kind="split")])
    layers = alt.layer(lines, points.add_params(shown, zoom(f"zoom_{panel}")))
    return layers.properties(width=WIDTH - BESIDE, height=150)


def _steps(span: tuple[float, float], title: str | None = None) -> alt.X:
    """The axis of steps, the same in all panels."""
    axis = alt.Axis(tickCount=6, format=",d")
    return alt.X("step:Q", title=title, axis=axis, scale=alt.Scale(domain=list(span), padding=4))


def _step_and_value() -> list[alt.Tooltip]:
    return [alt.Tooltip("step:Q", format=","), alt.Tooltip("value:Q", format=".4~g")]


def _rate_panel(title: str, span: tuple[float, float]) -> Any:
    nothing = alt.Axis(labels=False, ticks=False)
    return (
        alt.Chart(ROWS, title=title)
        .transform_filter("datum.panel === 'rate'")
        .mark_line(color=ink("muted"), strokeWidth=1.5)
        .encode(x=_steps(span, "step"), y=alt.Y("value:Q", title=None, axis=nothing))
        .properties(width=WIDTH - BESIDE, height=80)
    )


def _thinned(values: pd.Series) -> pd.Series:
    """At most MOST_STEPS of the values, evenly spaced."""
    return values.iloc[:: max(1, -(-len(values) // MOST_STEPS))]


# --- cost ------------------------------------------------------------------------------------------------------------


def stage_costs(seconds: pd.Series, memory: pd.Series) -> Spec:
    """Time and peak memory of each stage, as bars side by side; both axes are logarithmic.

    Args:
        seconds: by stage from top to bottom; NaN where unknown.
        memory: in megabytes, like `seconds`.
    """
    stages = list(map(str, seconds.index))
    rows, panels = [], []
    for kind, values, colour, label, unit in (
        ("time", seconds, "blue", "all jobs' time, s", "s"),
        ("memory", memory, "green", "peak memory, MB", "MB"),
    ):
        measured = values[values.notna() & (values > 0)]
        low = float(10 ** np.floor(np.log10(0.99 * measured.min()))) if len(measured) else 1.0
        rows += [
            {"kind": kind, "key": str(stage), "value": value, "low": low, "cost": f"{value:,.4g} {unit}"}
            for stage, value in measured.items()
        ]
        axis = names_axis() if kind == "time" else alt.Axis(labels=False, title=None, domain=False, ticks=False)
        panels.append(_cost_panel(kind, stages, axis, colour, label, low))
    return chart_of(alt.hconcat(*panels, spacing=24), rows, wide=True)


def _cost_panel(kind: str, stages: Sequence[str], axis: alt.Axis, colour: str, label: str, low: float) -> Any:
    x = alt.X(
        "value:Q",
        title=label,
        scale=alt.Scale(type="log", domainMin=low, nice=True),
        axis=alt.Axis(format=PLAIN, tickCount=5, labelOverlap="greedy"),
    )
    base = (
        alt.Chart(ROWS)
        .transform_filter(f"datum.kind === '{kind}'")
        .encode(
            x=x,
            y=alt.Y("key:N", axis=axis, scale=alt.Scale(domain=list(map(text, stages)))),
            tooltip=tips(key="stage", cost=kind),
        )
    )
    bars = base.mark_rule(strokeWidth=6, opacity=0.35, color=ink(colour)).encode(x2=alt.X2("low"))
    dots = base.mark_point(size=60, filled=True, opacity=1, color=ink(colour))
    width = (FULL_WIDTH - 170) / 2
    return alt.layer(bars, dots).properties(width=width, height=stepped(stages, 24))
