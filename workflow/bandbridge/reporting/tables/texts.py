"""What a cell shows, in words: its number, interval, gain and published figures; the same in every format."""

from collections.abc import Sequence
from itertools import groupby

from bandbridge.reporting.tables.model import Cell, Column, Quote, number


def shown_value(cell: Cell, column: Column) -> str:
    """A cell's number, '54.3 ± 0.4' with a deviation; empty if only its gain is known."""
    if cell.value is None and cell.gain is not None:
        return ""
    value = number(cell.value, signed=column.signed, decimals=column.decimals) + _plus_minus(cell.deviation, column)
    return value + (cell.mark if cell.gain is None else "")


def _plus_minus(deviation: float | None, column: Column) -> str:
    return "" if deviation is None else f"\u00a0±\u00a0{number(deviation, decimals=column.decimals)}"


def asides(cell: Cell, column: Column) -> list[str]:
    """'[34.9, 41.2]', '(+3.7*)' and '† 39.8', as far as the cell has them."""
    return interval(cell, column) + gain(cell, column) + quotes(cell, column)


def interval(cell: Cell, column: Column) -> list[str]:
    """'[34.9, 41.2]', '~[34.9, 41.2]' if it is approximate, or nothing."""
    if cell.low is None or cell.high is None:
        return []
    ends = [number(end, signed=column.signed, decimals=column.decimals) for end in (cell.low, cell.high)]
    return [f"{cell.about}[{', '.join(ends)}]"]


def gain(cell: Cell, column: Column) -> list[str]:
    """'(+3.7*)', '(+3.7 ± 0.2)', or nothing."""
    if cell.gain is None:
        return []
    value = number(cell.gain, signed=True, decimals=column.decimals) + _plus_minus(cell.gain_deviation, column)
    return [f"({value}{cell.mark})"]


def quotes(cell: Cell, column: Column) -> list[str]:
    """'‡ 69.7' for a published score, '† (+39.8)' for a published gain, one per figure."""
    return [f"{quote.mark}\u00a0{quoted_number(quote, column)}" for quote in cell.quotes]


def quoted_number(quote: Quote, column: Column) -> str:
    """'69.7', or '(+39.8)' for a gain."""
    if quote.value is not None:
        return number(quote.value, decimals=column.decimals)
    return f"({number(quote.gain, signed=True, decimals=column.decimals)})"


def heading(column: Column) -> str:
    """'mAP, osm-landuse-8, satellite'."""
    return ", ".join(filter(None, [column.label, column.detail]))


def column_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """(heading, number of columns) of neighbouring columns that share a group."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
