"""The look of the report's charts: colours, markers, names, and the Vega-Lite configuration made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Okabe and Ito's hues, darkened for thin lines on white. Name -> colour on paper. A chart refers to a colour by its
# name, which is a parameter of `theme` and a CSS variable of the page.
COLOURS = {
    "ink": "#21262c",
    "muted": "#626970",
    "hairline": "#d8d6cf",
    "surface": "#ffffff",
    "blue": "#0b62a8",
    "orange": "#b64e0c",
    "green": "#137a5f",
    "plum": "#96538f",
    "ochre": "#a87b00",
}
SPLIT_COLOURS = {"train": "muted", "val": "ochre", "test": "blue"}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
MODEL_COLOURS = ("muted", "blue", "orange", "green", "plum", "ochre")
MODEL_MARKERS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross")
DASHED, SOLID, DOTTED = (4, 3), (1, 0), (1.5, 2)
# Pixels: a page has room for two such charts side by side, a phone for one; the wide ones fill the column.
WIDTH, FULL_WIDTH = 488, 1000
# Of the same charts in their files.
POINTS_PER_PIXEL = 0.62
DOTS_PER_INCH = 300
# With more than these, a chart contains more than can be seen, and the page grows by megabytes.
MOST_STEPS = 500
MOST_CLASSES = 45
# Letters are measured in it, and drawn in files; vl-convert contains it.
PRINT_FONT = "Liberation Sans"
FONT_SIZE = 12


def theme(colours: Mapping[str, str]) -> dict[str, Any]:
    """A Vega-Lite configuration in which charts find their colours as parameters.

    Args:
        colours: name -> colour, for all names of COLOURS.
    """
    plain = {"fontSize": FONT_SIZE, "fontWeight": "normal"}
    of_labels = {"labelColor": {"expr": "muted"}, "labelFontSize": FONT_SIZE}
    of_titles = {"titleColor": {"expr": "muted"}, "titleFontSize": FONT_SIZE, "titleFontWeight": "normal"}
    return {
        "params": [{"name": name, "value": colours[name]} for name in COLOURS],
        "aria": False,
        "background": {"expr": "surface"},
        "font": PRINT_FONT,
        "padding": 2,
        "view": {"stroke": None},
        "axis": {
            **of_labels,
            **of_titles,
            "domainColor": {"expr": "hairline"},
            "gridColor": {"expr": "hairline"},
            "gridWidth": 0.7,
            "labelLimit": 190,
            "tickColor": {"expr": "hairline"},
            "titlePadding": 8,
        },
        "header": {**of_labels, **of_titles},
        "legend": {**of_labels, **of_titles, "labelLimit": 220, "symbolSize": 70, "title": None},
        "title": {**plain, "anchor": "start", "frame": "group", "color": {"expr": "ink"}, "limit": 460},
        "text": {**plain, "color": {"expr": "ink"}},
    }


ON_PAPER = theme(COLOURS)
# Colours of a page are its CSS variables, so that charts follow it from light to dark.
ON_THE_PAGE = theme({name: f"var(--{name})" for name in COLOURS})


def slug(text: str) -> str:
    """Text for ids and file names: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text.replace("α", "alpha")).strip("-.").lower()
