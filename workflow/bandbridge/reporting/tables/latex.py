r"""Tables as LaTeX: booktabs rules, set for a two-column paper with no text under 7 points.

pandas' Styler writes each tabular: headings over several columns, rules, cells. What it lacks is here: the environment
and size that fit the paper, rules below groups of columns, intervals and published figures below their numbers, and
tables that are too wide or too long for a page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
from pandas.io.formats.style import Styler

from bandbridge.base.untrusted import visible
from bandbridge.reporting.tables.model import NOTHING, Cell, Column, Line, Table
from bandbridge.reporting.tables.texts import asides, column_groups, gain, interval, quotes, shown_value

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "\u00a0": "~",
}

# Points of LaTeX's two-column article, whose columns and pages are the narrowest of common classes.
COLUMN, TEXT = 229.0, 469.0
GAP = 8.0  # between columns
# Command and width relative to 10 points. None is smaller than \scriptsize, 7 points.
SIZES = ((r"\normalsize", 1.0), (r"\small", 0.925), (r"\footnotesize", 0.85), (r"\scriptsize", 0.8))
ASIDE, ASIDE_SCALE = SIZES[-1]
MOST_LINES = 36  # of a page, beside a header, a caption and a note
HEADER_LINES = 5
# A document with narrower text, of one column for example, shrinks what is set for a wider one.
MERGED = "\0"  # a cell that the one before it covers
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


@dataclass(frozen=True)
class Layout:
    """How a table is set: its environment and size, and whether intervals are below their numbers or beside them."""

    environment: str
    room: float
    size: str
    scale: float
    stacked: bool


# The first in which a table fits is taken: a column of the paper if the text stays at 8 points, or the page's width.
LAYOUTS = (
    *(Layout("table", COLUMN, *size, False) for size in SIZES[:3]),
    *(Layout("table*", TEXT, *size, stacked) for stacked in (False, True) for size in SIZES),
)


def to_latex(table: Table) -> str:
    r"""`table` environments, `table*` if it is wider than a column; needs \usepackage{booktabs} and {graphicx}.

    A column whose numbers have intervals, gains or published figures takes two of the tabular's columns, so that the
    numbers are aligned. A table that is too wide even at 7 points is split between columns into several under one
    caption, and one that is too long continues in a further environment of the same number. A comment for a table
    without rows.
    """
    if not table.lines:
        return f"% {table.name}: {NOTHING}\n"
    widths = {layout: _widths(table, layout) for layout in LAYOUTS}
    layout = next((layout for layout in LAYOUTS if _total(table, widths[layout], layout) <= layout.room), LAYOUTS[-1])
    pages = _pages(table, _blocks(table, widths[layout], layout), layout)
    parts = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}."]
    for number, page in enumerate(pages):
        caption = f"{table.caption.partition('. ')[0].rstrip('.')} (continued)." if number else table.caption
        parts += [r"\addtocounter{table}{-1}"] if number else []
        parts += [rf"\begin{{{layout.environment}}}", r"  \centering", rf"  \caption{{{latex_escape(caption)}}}"]
        parts += [] if number else [rf"  \label{{tab:{table.name.replace('_', '-')}}}"]
        parts += [rf"  {layout.size}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"]
        for index, (block, lines) in enumerate(page):
            parts += [r"  \par\medskip"] if index else []
            parts += [f"  {FIT}", *(f"  {line}" for line in _tabular(table, block, lines, layout))]
            parts[-1] += "}"
        if table.note and page is pages[-1]:
            parts += [rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize {latex_escape(table.note)}}}"]
        parts += [rf"\end{{{layout.environment}}}"]
    return "\n".join([*parts, ""])


def latex_escape(text: str) -> str:
    """Text escaped for LaTeX: special characters escaped, the table's symbols in maths."""
    text = visible(" ".join(text.splitlines()))
    # Two hyphens must not become a dash; after the end of a row, a bracket or star would be read as its argument.
    pieces = ["{}" if text[:1] in ("[", "*") else ""]
    for before, character in zip(" " + text, text, strict=False):
        pieces.append("{}-" if before == character == "-" else LATEX_ESCAPES.get(character, character))
    return "".join(pieces)


# --- one tabular -----------------------------------------------------------------------------------------------------


def _tabular(table: Table, block: Sequence[int], lines: Sequence[Line], layout: Layout) -> Iterator[str]:
    """The lines of a tabular of some columns and rows."""
    columns = [table.columns[index] for index in block]
    # By the whole table, so that its parts look alike.
    paired = [any(asides(line.cells[index], table.columns[index]) for line in table.lines) for index in block]
    rows = [_rows(line, block, paired, table, layout) for line in lines]
    frame = pd.DataFrame(
        [row for of_line in rows for row in of_line], columns=_headings(table.headings, columns, paired), dtype=object
    )
    spec = "l" * len(table.headings) + "".join(r"r@{\ }l" if pair else "r" for pair in paired)
    styler = Styler(frame).hide(axis="index").hide(axis="columns", level=frame.columns.nlevels - 1)
    text = styler.to_latex(column_format=spec, hrules=True, multicol_align="c", sparse_columns=True).replace(
        f" & {MERGED}", ""
    )
    begin, toprule, *inner = text.rstrip().splitlines()
    yield from (begin, toprule)
    middle = inner.index(r"\midrule")
    yield from inner[:1]
    if any(column.group for column in columns):
        yield from _group_rules(columns, paired, len(table.headings))
    yield from inner[1 : middle + 1]
    body = iter(inner[middle + 1 :])
    for number, (line, of_line) in enumerate(zip(lines, rows, strict=True)):
        if number and line.source and not lines[number - 1].source:
            yield r"\midrule"
        elif number and layout.stacked and len(rows[number - 1]) > 1:
            yield r"\addlinespace[2pt]"
        yield from (next(body) for _ in of_line)
    yield from body


def _headings(headings: Sequence[str], columns: Sequence[Column], paired: Sequence[bool]) -> pd.MultiIndex:
    """Levels: group, if there is one; label; the parts of the detail; and a number, which is hidden."""
    depth = max((len(column.detail.split(", ")) for column in columns if column.detail), default=0)
    keys: list[tuple[str, ...]] = [("", latex_escape(heading), *([""] * depth)) for heading in headings]
    for column, pair in zip(columns, paired, strict=True):
        details = column.detail.split(", ") if column.detail else []
        smaller = [f"{ASIDE} {latex_escape(part)}" if part else "" for part in [*details, *[""] * depth][:depth]]
        keys += [(latex_escape(column.group), latex_escape(column.label), *smaller)] * (2 if pair else 1)
    grouped = any(column.group for column in columns)
    return pd.MultiIndex.from_tuples([(*(key if grouped else key[1:]), number) for number, key in enumerate(keys)])


def _group_rules(columns: Sequence[Column], paired: Sequence[bool], before: int) -> Iterator[str]:
    position, remaining, rules = before, iter(paired), []
    for group, count in column_groups(columns):
        width = sum(2 if next(remaining) else 1 for _ in range(count))
        rules += [rf"\cmidrule(lr){{{position + 1}-{position + width}}}"] if group else []
        position += width
    yield " ".join(rules)


def _rows(
    line: Line, block: Sequence[int], paired: Sequence[bool], table: Table, layout: Layout
) -> list[tuple[str, ...]]:
    """A line as rows of the tabular: its numbers, and below them what is stacked."""
    columns: list[list[tuple[str, ...]]] = [[(latex_escape(text),)] for text in line.texts]
    for index, pair in zip(block, paired, strict=True):
        cell, column = line.cells[index], table.columns[index]
        value = latex_escape(shown_value(cell, column))
        value = rf"\textbf{{{value}}}" if (cell.strong or line.strong) and cell.value is not None else value
        beside, below = _asides(cell, column, layout.stacked)
        small = f"{ASIDE} {latex_escape(beside)}" if beside else ""
        under = [(rf"\multicolumn{{2}}{{l}}{{{ASIDE} {latex_escape(text)}}}", MERGED) for text in below]
        columns.append([(value, small), *under] if pair else [(value,)])
    rows = []
    for number in range(max(map(len, columns))):
        cells = [parts[number] if number < len(parts) else ("",) * len(parts[0]) for parts in columns]
        rows.append(tuple(part for cell in cells for part in cell))
    return rows


def _asides(cell: Cell, column: Column, stacked: bool) -> tuple[str, list[str]]:
    """What is beside a number, and what is below it: gain, interval, published figures."""
    if stacked:
        return " ".join(gain(cell, column)), [*interval(cell, column), *quotes(cell, column)]
    return " ".join(asides(cell, column)), []


# --- what fits -------------------------------------------------------------------------------------------------------


def _points(text: str) -> float:
    """About the width of a text in 10-point Computer Modern."""
    narrow = sum(character in " .,:;'()[]|ijlt-\u00a0" for character in text)
    wide = sum(character.isupper() or character in "%−+±→~mw≥≤×" for character in text)
    return 3.2 * narrow + 7.6 * wide + 5.1 * (len(text) - narrow - wide)


def _widths(table: Table, layout: Layout) -> list[float]:
    """Per column of numbers its width in points, with the gap beside it."""
    widths = []
    for index, column in enumerate(table.columns):
        cells = [line.cells[index] for line in table.lines]
        body = max(_points(shown_value(cell, column)) * (1.1 if cell.strong else 1) for cell in cells)
        apart = [_asides(cell, column, layout.stacked) for cell in cells]
        beside = max(_points(text) for text, _ in apart)
        below = max((_points(text) for _, texts in apart for text in texts), default=0)
        widths.append(
            GAP
            + max(
                body * layout.scale + (3.4 + beside * ASIDE_SCALE if beside or below else 0),
                below * ASIDE_SCALE,
            )
        )
    # A heading is above all columns that share it; where they are narrower, the last of them becomes wider.
    headings = [(column.group, column.label, *column.detail.split(", ")) for column in table.columns]
    for level in range(max(map(len, headings))):
        scale = layout.scale if level < 2 else ASIDE_SCALE
        for shared, members in groupby(range(len(headings)), key=lambda index: headings[index][: level + 1]):
            below_it = list(members)
            spare = sum(widths[index] for index in below_it) - GAP
            text = shared[level] if len(shared) > level else ""
            widths[below_it[-1]] += max(0.0, _points(text) * scale - spare)
    return widths


def _texts(table: Table, layout: Layout) -> float:
    """Width of the columns of text."""
    return sum(
        GAP + layout.scale * max(map(_points, [name, *(line.texts[index] for line in table.lines)]))
        for index, name in enumerate(table.headings)
    )


def _total(table: Table, widths: Sequence[float], layout: Layout) -> float:
    return _texts(table, layout) + sum(widths)


def _blocks(table: Table, widths: Sequence[float], layout: Layout) -> list[list[int]]:
    """Columns side by side, block below block; groups of columns stay whole if they fit."""
    room = layout.room - _texts(table, layout)
    blocks: list[list[int]] = [[]]
    position = 0
    for _, count in column_groups(table.columns):
        group = list(range(position, position + count))
        position += count
        by_label = [list(members) for _, members in groupby(group, key=lambda index: table.columns[index].label)]
        by_detail = [list(members) for _, members in groupby(group, key=lambda index: table.columns[index].detail)]
        choices = ([group], by_label, by_detail)
        pieces = next(
            (some for some in choices if all(sum(widths[i] for i in piece) <= room for piece in some)),
            [[index] for index in group],
        )
        for piece in pieces:
            if blocks[-1] and sum(widths[index] for index in (*blocks[-1], *piece)) > room:
                blocks.append([])
            blocks[-1] += piece
    return blocks


def _pages(table: Table, blocks: Sequence[list[int]], layout: Layout) -> list[list[tuple[list[int], Sequence[Line]]]]:
    """The content of each page: parts of the table, some of its columns and rows, as many as fit."""
    pages: list[list[tuple[list[int], Sequence[Line]]]] = []
    room = 0
    several = len(blocks) > 1
    for lines in _chunks(table, layout):
        for block in blocks:
            rows = [line for line in lines if not several or any(line.cells[index] != Cell() for index in block)]
            if not rows:
                continue
            used = [i for i in block if not several or any(line.cells[i] != Cell() for line in rows)]
            height = HEADER_LINES + sum(_height(line, table, layout) for line in rows)
            if height > room:
                pages.append([])
                room = MOST_LINES + HEADER_LINES
            pages[-1].append((used, rows))
            room -= height
    return pages


def _chunks(table: Table, layout: Layout) -> Iterator[list[Line]]:
    """Rows that fit a page."""
    chunk: list[Line] = []
    height = 0
    for line in table.lines:
        own = _height(line, table, layout)
        if chunk and height + own > MOST_LINES:
            yield chunk
            chunk, height = [], 0
        chunk.append(line)
        height += own
    yield chunk


def _height(line: Line, table: Table, layout: Layout) -> int:
    below = (_asides(cell, column, layout.stacked)[1] for cell, column in zip(line.cells, table.columns, strict=True))
    return 1 + max(map(len, below), default=0)
