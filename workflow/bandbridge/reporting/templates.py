"""The Jinja templates of workflow/report, for the report and for comparisons."""

import math
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from bandbridge.base.locations import WORKFLOW
from bandbridge.base.untrusted import visible
from bandbridge.reporting.tables.html import to_html
from bandbridge.reporting.tables.model import number
from bandbridge.reporting.tables.texts import column_groups

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
    environment.filters.update(
        number=number, groups=column_groups, table=to_html, plain=plain, is_numeric=is_numeric_dtype
    )
    return environment.get_template(name)


def plain(value: Any) -> str:
    """A value of a chart's numbers: numbers of four digits, '–' for a missing one."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.4g}".replace("-", "−")
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else visible(str(value))


def asset(name: str) -> Markup:
    """The text of a style sheet or script of workflow/report, to be put into a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
