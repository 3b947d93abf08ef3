"""Tables as HTML: pandas' Styler with a template whose headings say what they are of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
from markupsafe import Markup, escape
from pandas.io.formats.style import Styler

from bandbridge.base.locations import WORKFLOW
from bandbridge.reporting.tables.model import Cell, Column, Line, Table, number
from bandbridge.reporting.tables.texts import asides, quoted_number, shown_value

AIRY = 3  # columns with intervals or gains, which a wide page has room to show beside the numbers


@dataclass(frozen=True)
class Piece:
    """A cell, heading or row: its HTML, its classes, and the number to sort by."""

    html: str = ""
    classes: str = ""
    value: float | str = ""
    key: int = 0  # keeps headings apart that look alike


def to_html(table: Table, classes: str = "sortable") -> Markup:
    """A `table` element, described by the caption `<name>-caption` that the page has beside it.

    The first text of a row is its heading. A cell of numbers has the number in `data-value`, and `span` elements
    `gain`, `interval` and `quote` (a published figure, with its source as title).
    """
    wide = [any(asides(line.cells[i], column) for line in table.lines) for i, column in enumerate(table.columns)]
    labels = [Piece(escape(heading), key=key) for key, heading in enumerate(table.headings)]
    labels += [_heading(column, flag, key) for key, (column, flag) in enumerate(zip(table.columns, wide, strict=True))]
    groups = [*[""] * len(table.headings), *(column.group for column in table.columns)]
    columns = pd.MultiIndex.from_arrays([groups, labels]) if any(groups) else pd.Index(labels, dtype=object)
    rows = [[*map(Piece, map(escape, line.texts)), *_numbers(line, table.columns, wide)] for line in table.lines]
    kinds = pd.Index([Piece(classes=_row_classes(line)) for line in table.lines], dtype=object)
    frame = pd.DataFrame(rows, index=kinds, columns=columns, dtype=object)
    airy = " airy" if classes and sum(wide) <= AIRY else ""
    attributes = f'class="{classes}{airy}" aria-labelledby="{escape(table.name)}-caption"'
    styler = _styler()(frame).hide(axis="index").set_table_attributes(attributes)
    with pd.option_context("styler.render.max_elements", 2**40):  # the limit is for notebooks
        return Markup(styler.to_html(exclude_styles=True))


@cache
def _styler() -> type[Styler]:
    return Styler.from_custom_template(str(WORKFLOW / "report"), html_table="table.html.j2")


def _heading(column: Column, wide: bool, key: int) -> Piece:
    detail = Markup("<small>{}</small>").format(column.detail) if column.detail else ""
    return Piece(escape(column.label) + detail, f"number{' wide' if wide else ''}", key=key)


def _row_classes(line: Line) -> str:
    return "selected" if line.strong else "published" if line.source else ""


def _numbers(line: Line, columns: Sequence[Column], wide: Sequence[bool]) -> Iterator[Piece]:
    for cell, column, flag in zip(line.cells, columns, wide, strict=True):
        bold = (cell.strong or line.strong) and cell.value is not None
        value = Markup("<{0}>{1}</{0}>").format("strong" if bold else "span", shown_value(cell, column))
        html = Markup(" ").join([value, *_asides(cell, column)])
        yield Piece(html, f"number{' wide' if flag else ''}", "" if cell.value is None else cell.value)


def _asides(cell: Cell, column: Column) -> list[Markup]:
    parts = []
    if cell.gain is not None:
        gain = number(cell.gain, signed=True, decimals=column.decimals)
        spread = "" if cell.gain_deviation is None else f" ± {number(cell.gain_deviation, decimals=column.decimals)}"
        parts.append(Markup('<span class="gain">{}{}{}</span>').format(gain, spread, cell.mark))
    if cell.low is not None and cell.high is not None:
        ends = [number(end, signed=column.signed, decimals=column.decimals) for end in (cell.low, cell.high)]
        parts.append(Markup('<span class="interval">{}{} to {}</span>').format(cell.about, *ends))
    for quote in cell.quotes:
        text = f"{quote.mark}\u00a0{quoted_number(quote, column)}"
        parts.append(Markup('<span class="quote" title="{}">{}</span>').format(quote.source, text))
    return parts
