"""The Jinja templates of workflow/report, for the report and for comparisons."""

import math
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from bandbridge.base.locations import WORKFLOW
from bandbridge.base.untrusted import visible
from bandbridge.reporting.tables.model import Column, Table, number
from bandbridge.reporting.tables.texts import asides, column_groups, quoted_number, shown_value

FOLDER = WORKFLOW / "report"


def template(name: str) -> Template:
    """A template of workflow/report; a name that it uses and is not passed is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (number, shown_value, quoted_number, wide, group_cells, plain):
        environment.filters[filter_.__name__] = filter_
    environment.filters |= {"groups": column_groups, "is_numeric": is_numeric_dtype}
    return environment.get_template(name)


def wide(table: Table) -> list[bool]:
    """Of each column of numbers, whether its cells have more than the number."""
    return [any(asides(line.cells[i], column) for line in table.lines) for i, column in enumerate(table.columns)]


def group_cells(table: Table) -> list[tuple[str, int]]:
    """(heading, number of columns) of the first row of headings; '' over what has no group, the texts among it."""
    return column_groups([*(Column("", heading, "") for heading in table.headings), *table.columns])


def plain(value: Any) -> str:
    """A value of a chart's numbers: numbers of four digits, '–' for a missing one."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.4g}".replace("-", "−")
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else visible(str(value))


def asset(name: str) -> Markup:
    """The text of a style sheet or script of workflow/report, to be put into a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
