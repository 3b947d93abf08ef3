"""What the report's charts are made of: data rows, scales, tooltips, and what answers to the pointer.

Names of classes, models and data sets come from outside. They are data values, or the literal text of a title; never a
field's name, and never part of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from bandbridge.base.untrusted import visible
from bandbridge.reporting.figures.style import WIDTH
from bandbridge.reporting.tables.model import number

Spec = dict[str, Any]
Row = dict[str, Any]
ROWS = alt.NamedData(name="rows")
DIGITS = 6
# An axis may reach beyond 100 % to leave room for letters, without saying so.
# Numbers of up to five digits, without exponents and without zeros at the end.
PLAIN = ",.5~r"
PERCENT = alt.Axis(labelExpr="datum.value > 100.01 ? '' : datum.label", tickCount=6)
FADED = 0.08
REACH = "catches the pointer"


def chart_of(chart: alt.TopLevelMixin, rows: Iterable[Row], *, wide: bool = False, keeps_aspect: bool = False) -> Spec:
    """The Vega-Lite specification of a chart with its data.

    Args:
        chart: whose data are ROWS.
        rows: with plain values; None and NaN are left out, text loses its invisible characters.
        wide: whether it fills the page's column.
        keeps_aspect: whether its height follows its width.
    """
    # Altair would check our own charts in every report; tests do it.
    spec: Spec = chart.to_dict(validate=False)
    spec["datasets"] = {"rows": [dict(_plain(row)) for row in rows]}
    spec["usermeta"] = {"wide": wide, "keepsAspect": keeps_aspect}
    return spec


def _plain(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, str):
            yield name, visible(value)
        elif isinstance(value, bool | np.bool_):
            yield name, bool(value)
        elif isinstance(value, list):
            yield name, [rounded(one) if isinstance(one, float) else one for one in value]
        elif value is not None and math.isfinite(value):
            yield name, rounded(value)


def rounded(value: float) -> float | int:
    """A number of DIGITS digits."""
    return int(value) if value == int(value) else float(f"{float(value):.{DIGITS}g}")


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame with their values as attributes, whose types pandas cannot state."""
    yield from frame.itertuples(index=False)


def text(name: object) -> str:
    """A name as it is shown: without invisible characters."""
    return visible(str(name))


def interval(ends: tuple[float, float] | None) -> str:
    """' (31.0 to 38.5)', of fractions; empty without an interval."""
    if ends is None or not all(map(math.isfinite, ends)):
        return ""
    return f" ({number(100 * ends[0])} to {number(100 * ends[1])})"


def score(value: float, ends: tuple[float, float] | None = None) -> str:
    """'38.0 % (35.0 to 42.0)', of fractions."""
    return f"{number(100 * value)} %{interval(ends)}"


# --- encodings -------------------------------------------------------------------------------------------------------


def ink(name: str) -> alt.ExprRef:
    """A colour of the theme."""
    return alt.ExprRef(name)


def scale(looks: Mapping[str, Any]) -> alt.Scale:
    """A scale with a look of its own for each name."""
    return alt.Scale(domain=[text(name) for name in looks], range=list(looks.values()))


def colours(looks: Mapping[str, str]) -> alt.Scale:
    """A scale with a colour of the theme for each name."""
    return scale({name: ink(colour) for name, colour in looks.items()})


def legend(columns: int = 2, lines: bool = False, stroke: str = "") -> alt.Legend:
    """A legend above the chart, without a title; its symbols are short lines if `lines`, of one colour if given."""
    look: dict[str, Any] = {"symbolType": "stroke", "symbolSize": 400} if lines else {}
    look |= {"symbolStrokeColor": ink(stroke)} if stroke else {}
    return alt.Legend(title=None, orient="top", direction="horizontal", columns=columns, symbolOpacity=1, **look)


def names_axis() -> alt.Axis:
    """An axis of names: no lines, all labels, long ones cut."""
    return alt.Axis(
        title=None, domain=False, ticks=False, grid=False, labelColor=ink("ink"), labelLimit=190, labelOverlap=False
    )


def tips(**titles: str) -> list[alt.Tooltip]:
    """What a tooltip shows: field -> its title."""
    return [alt.Tooltip(field=field, type="nominal", title=title) for field, title in titles.items()]


# --- what answers ----------------------------------------------------------------------------------------------------


def zoom(name: str = "zoom", axes: Sequence[str] = ("x", "y")) -> alt.Parameter:
    """Drag to move, pinch or Ctrl with the wheel to zoom, double click to return; the wheel alone scrolls the page."""
    how: dict[str, Any] = {"zoom": "wheel![event.ctrlKey || event.metaKey]", "encodings": list(axes)}
    return alt.selection_interval(name=name, bind="scales", **how)


def legend_filter(field: str = "series", name: str = "shown") -> alt.Parameter:
    """A click on entries of the legend leaves only them; a double click shows all again."""
    return alt.selection_point(name=name, fields=[field], bind="legend", toggle="true")


def faded(shown: alt.Parameter, opacity: float = 1) -> Any:
    """The opacity of what the legend's filter leaves, and of the rest."""
    return alt.when(shown).then(alt.value(opacity)).otherwise(alt.value(FADED * opacity))


def pointed(*fields: str, mark: str = "symbol") -> alt.Parameter:
    """What the mark of this type under the pointer represents: its key, or these fields."""
    over = f"pointerover[event.item && event.item.mark.marktype === '{mark}']"
    return alt.selection_point(name="pointed", fields=list(fields or ["key"]), on=over, clear="pointerout", empty=False)


def halo(points: alt.Chart, at: alt.Parameter) -> alt.Chart:
    """A ring around every point with the key of the one that is pointed at."""
    look = {"filled": False, "stroke": ink("ink"), "strokeWidth": 1.4, "size": 200}
    return points.transform_filter(at).mark_point(shape="circle", **look)


def reach(points: alt.Chart, size: int = 400) -> alt.Chart:
    """What catches the pointer around points, unseen; a drawing has none of it (`still`)."""
    around = points.mark_point(filled=True, strokeWidth=0)
    return around.encode(opacity=alt.value(0), size=alt.value(size)).properties(description=REACH)


def fitted(chart: alt.LayerChart | alt.Chart, **size: Any) -> Any:
    """A chart that is WIDTH pixels wide with its axes."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return chart.properties(width=WIDTH, autosize=fit, **size)


def stepped(names: Sized, step: float) -> float:
    """The height of a chart with a row per name."""
    return step * max(len(names), 1)
