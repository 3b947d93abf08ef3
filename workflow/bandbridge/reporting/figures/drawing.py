"""Charts for the page and as files, drawn by vl-convert: the same specification gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from markupsafe import Markup

from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell
from bandbridge.reporting.figures.parts import REACH, Spec
from bandbridge.reporting.figures.style import DOTS_PER_INCH, ON_PAPER, ON_THE_PAGE, POINTS_PER_PIXEL, slug

POINTS_PER_INCH = 72
# A page lists the numbers of a chart up to this many rows; its CSV file has all.
MOST_ROWS = 120
NOTHING = pd.DataFrame()


@dataclass(frozen=True)
class Plot:
    """A chart of the page.

    Attributes:
        name: of its files, without suffix.
        svg: the drawing, which is shown until the live chart takes its place, and without scripts.
        spec: the specification as JSON that cannot end a script element.
        caption: below the chart.
        alt: the chart in words and numbers, for those who cannot see it.
        values: numbers to be listed below it; none where the page lists them otherwise.
        is_part: whether they are some of many rows, all of which are in its CSV file.
        files: links from the page to the chart's files.
        wide: whether it fills the column.
    """

    name: str
    svg: Markup
    spec: Markup
    caption: str
    alt: str
    values: pd.DataFrame
    is_part: bool = False
    files: tuple[str, ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Album:
    """Writer of charts' files; without a folder, charts are only in the page.

    Attributes:
        folder: of the files.
        link: from the page to the folder.
    """

    folder: Path | None = None
    link: str = "figures"

    def plot(
        self, spec: Spec, name: str, caption: str, alt: str, data: pd.DataFrame, listed: pd.DataFrame | None = None
    ) -> Plot:
        """Draw a chart for the page, and write its files.

        Args:
            spec: of `chart_of`.
            name: of the files, without suffix; no other chart may have it.
            caption: see `Plot`.
            alt: see `Plot`.
            data: the numbers that are drawn.
            listed: numbers to be listed below the chart in place of `data`; `NOTHING` where the page has them anyway.
        """
        files = self.files(spec, name, data)
        whole = data if listed is None else listed
        values = whole.iloc[:: max(1, -(-len(whole) // MOST_ROWS))]
        is_part = len(values) < len(whole)
        return Plot(
            slug(name), page_svg(spec), page_json(spec), caption, alt, values, is_part, files, spec["usermeta"]["wide"]
        )

    def files(self, spec: Spec, name: str, data: pd.DataFrame) -> tuple[str, ...]:
        """Write a chart as PDF, PNG and SVG, and its numbers as CSV; returns links to them, none without a folder."""
        if self.folder is None:
            return ()
        name = slug(name)
        drawing = print_svg(spec)
        contents = {"pdf": pdf(drawing), "png": png(drawing), "svg": drawing.encode(), "csv": _csv(data)}
        for kind, content in contents.items():
            with whole_file(self.folder / f"{name}.{kind}") as part:
                part.write_bytes(content)
        return tuple(f"{self.link}/{name}.{kind}" for kind in contents)


def _csv(data: pd.DataFrame) -> bytes:
    cells = data.rename(columns=_cell).map(_cell)
    return cells.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode()


def _cell(value: Any) -> Any:
    return as_cell(value) if isinstance(value, str) else value


# --- for the page ----------------------------------------------------------------------------------------------------


def page_json(value: Any) -> Markup:
    """JSON for a script element of a page: no character of it can end the element or begin a comment."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(content.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def page_svg(spec: Spec) -> Markup:
    """The chart as an SVG element in the page's colours, without what answers to a pointer."""
    # What it shows is said by the element around it.
    return Markup(_drawn(spec, ON_THE_PAGE).replace("<svg", '<svg aria-hidden="true"', 1))


def still(spec: Any) -> Any:
    """A specification without zoom, for which charts are clipped by ids, and without what only catches a pointer."""
    if isinstance(spec, Mapping):
        return {key: still(value) for key, value in spec.items()}
    return [still(one) for one in spec if not _only_answers(one)] if isinstance(spec, list) else spec


def _only_answers(part: Any) -> bool:
    if not isinstance(part, Mapping):
        return False
    return part.get("bind") == "scales" or part.get("description") == REACH


def _drawn(spec: Spec, config: dict[str, Any]) -> str:
    drawing: str = vl_convert.vegalite_to_svg({**still(spec), "datasets": spec["datasets"]}, config=config)
    # A hundredth of a pixel is finer than any screen. Only in tags: names between them may look like anything.
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), drawing)


# --- for print -------------------------------------------------------------------------------------------------------


def print_svg(spec: Spec) -> str:
    """The chart as an SVG file in the colours of paper, with letters of 7 points."""
    # Enlarged samples show their pixels; to smooth them takes five times as long.
    drawing = _drawn(spec, ON_PAPER).replace("<image ", '<image style="image-rendering:pixelated" ')
    return re.sub(r' width="([\d.]+)" height="([\d.]+)"', _in_points, drawing, count=1)


def _in_points(size: re.Match[str]) -> str:
    width, height = (f"{POINTS_PER_PIXEL * float(pixels):.5g}" for pixels in size.groups())
    return f' width="{width}" height="{height}"'


def png(drawing: str) -> bytes:
    """An SVG file as PNG with 300 pixels per inch."""
    content: bytes = vl_convert.svg_to_png(drawing, scale=DOTS_PER_INCH / POINTS_PER_INCH, ppi=POINTS_PER_INCH)
    return content


def pdf(drawing: str) -> bytes:
    """An SVG file as PDF."""
    content: bytes = vl_convert.svg_to_pdf(drawing)
    # The entries of its dictionaries come in the order of a hash table, which differs each time.
    return re.sub(rb"(?:\n +/[\w.+-]+ \d+ 0 R)+", _in_order, content)


def _in_order(entries: re.Match[bytes]) -> bytes:
    first, *lines = entries[0].split(b"\n")
    return b"\n".join([first, *sorted(lines)])


@cache
def scripts() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script that needs no network; `vegaEmbed` is its entry."""
    return Markup(f"(() => {{{vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;')}}})();")
