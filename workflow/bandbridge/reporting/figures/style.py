"""Figures of the report: drawn once, for the page as SVG with tips, for print as files.

A figure is drawn with matplotlib on a transparent background in the colours below. For the page, `svg` turns the
colours into CSS variables, so that a figure follows the page from light to dark, and adds tips to the points that
`mark` named. For print, an `Album` writes it as PDF and PNG, with its numbers as CSV beside them.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from weakref import WeakKeyDictionary

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell, visible

P = ParamSpec("P")

# Okabe and Ito's hues, darkened for thin lines on white. Name -> colour; the name is the CSS variable.
COLOURS = {
    "ink": "#21262c",
    "muted": "#626970",
    "hairline": "#d8d6cf",
    "surface": "#fffffe",
    "blue": "#0b62a8",
    "orange": "#b64e0c",
    "green": "#137a5f",
    "plum": "#96538f",
    "ochre": "#a87b00",
}
VARIABLES = {colour: name for name, colour in COLOURS.items()}
SPLIT_COLOURS = {"train": "muted", "val": "ochre", "test": "blue"}
MODEL_COLOURS = ("muted", "blue", "orange", "green", "plum", "ochre")
MODEL_MARKERS = "oDs^vP"
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
# Inches: a page has room for two such figures side by side, a phone for one; the wide ones fill the column.
WIDTH, FULL_WIDTH = 4.2, 8.8
DOTS_PER_INCH = 300
# With more than these, a figure contains more than can be seen, and the page grows by megabytes.
MOST_STEPS = 500
MOST_CLASSES = 45
LONGEST_NAME = 40
STYLE: Any = {
    "font.size": 8.5,
    "font.family": "sans-serif",
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["hairline"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": "none",
    "grid.color": COLOURS["hairline"],
    "grid.linewidth": 0.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    # Text stays text: TrueType in PDF, which journals ask for, and the page's font in SVG.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "bandbridge",
    # A dollar in a name is a dollar.
    "text.parse_math": False,
    "xtick.color": COLOURS["hairline"],
    "xtick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 8.5,
    "ytick.color": COLOURS["hairline"],
    "ytick.labelcolor": COLOURS["muted"],
    "ytick.labelsize": 8.5,
}
SHAPES = {
    "o": '<circle cx="12" cy="6" r="3.4"/>',
    "s": '<path d="M8.8 2.8h6.4v6.4h-6.4z"/>',
    "D": '<path d="M12 2l4 4-4 4-4-4z"/>',
    "^": '<path d="M12 2.2l4 7h-8z"/>',
    "v": '<path d="M12 9.8l4-7h-8z"/>',
    "P": '<path d="M10.7 2.2h2.6v2.5h2.5v2.6h-2.5v2.5h-2.6V7.3H8.2V4.7h2.5z"/>',
}


@dataclass(frozen=True)
class Key:
    """An entry of a legend: the series as `mark` names it, its label, and its swatch as SVG."""

    series: str
    label: str
    swatch: Markup


@dataclass(frozen=True)
class Plot:
    """A figure of the page.

    Attributes:
        svg: the drawing.
        caption: below the figure.
        alt: the figure in words and numbers, for those who cannot see it.
        keys: of its legend.
        files: links from the page to the figure's files.
        wide: whether it fills the column.
    """

    svg: Markup
    caption: str
    alt: str
    keys: tuple[Key, ...] = ()
    files: tuple[str, ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Mark:
    """What the page needs of an artist, to hide it with its series and to show tips at its points.

    Attributes:
        series: that it belongs to.
        tips: texts of its points.
        keys: what its points represent, so that the same is highlighted in other figures.
    """

    series: str
    tips: tuple[str, ...]
    keys: tuple[str, ...]


_marks: WeakKeyDictionary[Figure, dict[str, Mark]] = WeakKeyDictionary()


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the report's style."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def mark(artist: Any, series: str = "", tips: Sequence[str] = (), keys: Sequence[str] = ()) -> None:
    """Attach a `Mark` to an artist of a figure.

    Args:
        artist: matplotlib's.
        series: its name in the legend, by which the page hides and shows it.
        tips: a text per point that is drawn, in their order.
        keys: as many, or none.
    """
    marks = _marks.setdefault(artist.get_figure(), {})
    name = f"mark{len(marks)}-"
    artist.set_gid(name)
    marks[name] = Mark(slug(series), tuple(tips), tuple(keys))


def slug(text: str) -> str:
    """Text for ids and file names: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text.replace("α", "alpha")).strip("-.").lower()


# --- for the page ----------------------------------------------------------------------------------------------------


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element for a page: its colours are CSS variables, its ids are prefixed with `name`."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    marks = _marks.get(figure, {})
    used = {*re.findall(r"(?:href=\"|url\()#([^\")]+)", text), *marks}
    # Only tags: the text between them are names, which may look like anything.
    text = re.sub(r"<[^>]*>", lambda tag: _for_page(tag[0], name, used), text)
    for gid, what in marks.items():
        text = _with_mark(text, f"{name}-{gid}", what)
    return re.sub(r"\n\s*", "\n", text).strip()


def _for_page(tag: str, name: str, used: Collection[str]) -> str:
    """A tag with the page's fonts and colours, unique ids, and numbers no finer than a screen."""
    tag = re.sub(r"font(-family)?: [^;\"]*sans-serif", lambda match: _font(match.group()), tag)
    for variable, colour in COLOURS.items():
        tag = tag.replace(colour, f"var(--{variable})")
    # A hundredth of a point is finer than any screen.
    tag = re.sub(r' (d|x|y|transform)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), tag)
    tag = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", tag)
    return re.sub(r"((?:href=\"|url\()#)", rf"\g<1>{name}-", tag)


def _font(declaration: str) -> str:
    """A font declaration that keeps its size and leaves the family to the page."""
    size = re.search(r"[\d.]+px", declaration)
    return f"font-size: {size[0]}" if size else ""


def _with_mark(text: str, gid: str, what: Mark) -> str:
    """SVG with the group of an artist as a series, and with its points' tips."""
    opening = f'<g id="{gid}">'
    start = text.find(opening)
    if start < 0:
        return text
    end = _end_of_group(text, start)
    group = text[start + len(opening) : end]
    if what.tips:
        point = "<use " if "<use " in group else "<path "
        head, *points = group.split(point)
        keys = what.keys or ("",) * len(what.tips)
        # Definitions of markers are paths too, but a group that uses markers has <use> elements.
        parts = [
            f'data-tip="{_attribute(tip)}" {_key_attribute(key)}{part}'
            for tip, key, part in zip(what.tips, keys, points, strict=False)
        ]
        group = point.join([head, *parts, *points[len(parts) :]])
    return f'{text[:start]}<g class="series" data-series="{what.series}">{group}{text[end:]}'


def _end_of_group(text: str, start: int) -> int:
    """The position of the closing tag of the group that opens at `start`."""
    depth = 0
    for tag in re.finditer(r"<(/?)g[ >]", text[start:]):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return start + tag.start()
    raise ValueError("a group of an SVG is not closed")


def _key_attribute(key: str) -> str:
    return f'data-key="{_attribute(key)}" ' if key else ""


def _attribute(text: str) -> str:
    return html.escape("\n".join(map(visible, text.splitlines()))).replace("\n", "&#10;")


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame with their values as attributes, whose types pandas cannot state."""
    yield from frame.itertuples(index=False)


def shortened(names: Iterable[str], length: int = LONGEST_NAME) -> list[str]:
    """Names that leave room for a figure beside them; long ones are cut after a whole word."""
    return [textwrap.shorten(visible(str(name)), length, placeholder=" …") for name in names]


def legend_label(name: object) -> str:
    """A name as a label: matplotlib omits labels that begin with an underscore."""
    text = visible(str(name))
    return f" {text}" if text.startswith("_") else text


def legend_keys(figure: Figure) -> tuple[Key, ...]:
    """The entries of all legends of a figure, each name once."""
    entries = {}
    for legend in _legends(figure):
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            label = text.get_text()
            if handle is not None and label not in entries:
                entries[label] = Key(slug(label), label, Markup(_swatch(handle)))
    return tuple(entries.values())


def _legends(figure: Figure) -> list[Legend]:
    of_axes = [axes.get_legend() for axes in figure.axes]
    return [*figure.legends, *(legend for legend in of_axes if legend is not None)]


def _swatch(handle: Artist) -> str:
    """matplotlib's handle of a legend, a line or an area, as SVG in the page's colours."""
    if not isinstance(handle, Line2D):
        return f'<path d="M3 1h18v10h-18z" {_paint(handle)}/>'
    colour = _variable(handle.get_color())
    parts = []
    if handle.get_linestyle() not in ("None", "none", ""):
        dashes = ' stroke-dasharray="4 2.5"' if handle.is_dashed() else ""
        parts.append(f'<path d="M0 6h24" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
    shape = SHAPES.get(str(handle.get_marker()))
    if shape:
        fill, edge = _variable(handle.get_markerfacecolor()), _variable(handle.get_markeredgecolor())
        edge = colour if edge == "var(--surface)" else edge
        parts.append(shape.replace("/>", f' fill="{fill}" stroke="{edge}" stroke-width="1.2"/>'))
    return "".join(parts)


def _paint(handle: Any) -> str:
    face, edge = handle.get_facecolor(), handle.get_edgecolor()
    strength = face[3] if face[3] else 0
    return f'fill="{_variable(face)}" fill-opacity="{strength:.2g}" stroke="{_variable(edge if edge[3] else face)}"'


def _variable(colour: Any) -> str:
    if isinstance(colour, str) and colour.lower() == "none":
        return "none"
    code = to_hex(colour)
    return f"var(--{VARIABLES[code]})" if code in VARIABLES else code


def _cell(value: Any) -> Any:
    return as_cell(value) if isinstance(value, str) else value


# --- for print -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Album:
    """Writer of figures' files; without a folder, figures are only in the page.

    Attributes:
        folder: of the files.
        link: from the page to the folder.
    """

    folder: Path | None = None
    link: str = "figures"

    def plot(self, figure: Figure, name: str, caption: str, alt: str, data: pd.DataFrame | None = None) -> Plot:
        """Render a figure for the page, which shows the legend beside the drawing, and write its files with the legend.

        Args:
            figure: to render.
            name: of the files, without suffix, and the prefix of the ids; no other figure may have it.
            caption: see `Plot`.
            alt: see `Plot`.
            data: the numbers that are drawn.
        """
        name = slug(name)
        keys = legend_keys(figure)
        files = self.files(figure, name, data)
        for legend in _legends(figure):
            legend.remove()
        drawing = Markup(svg(figure, name))
        wide = figure.get_figwidth() > WIDTH
        return Plot(drawing, caption, alt, keys, files, wide)

    def files(self, figure: Figure, name: str, data: pd.DataFrame | None = None) -> tuple[str, ...]:
        """Write a figure's files, with its legend; returns links to them, none without a folder."""
        if self.folder is None:
            return ()
        name = slug(name)
        with matplotlib.rc_context(STYLE), whole_file(self.folder / f"{name}.pdf") as part:
            figure.savefig(part, format="pdf", facecolor="white", metadata={"CreationDate": None})
            # The layout is that of the PDF; solving it again would take as long as drawing.
            layout = figure.get_layout_engine()
            figure.set_layout_engine("none")
            with whole_file(self.folder / f"{name}.png") as image:
                figure.savefig(image, format="png", dpi=DOTS_PER_INCH, facecolor="white")
            figure.set_layout_engine(layout)
        files = [f"{name}.pdf", f"{name}.png"]
        if data is not None:
            with whole_file(self.folder / f"{name}.csv") as part:
                cells = data.rename(columns=_cell).map(_cell)
                cells.to_csv(part, index=False, float_format="%.10g", lineterminator="\n")
            files.append(f"{name}.csv")
        return tuple(f"{self.link}/{file}" for file in files)
