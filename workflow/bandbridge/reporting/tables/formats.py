"""Tables as CSV, Markdown and LaTeX (booktabs)."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell, visible
from bandbridge.reporting.tables.model import NOTHING, Cell, Column, Line, Table, number

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
# Only underscores at the ends of a word, since no others emphasise; of addresses, what makes them links.
MARKDOWN = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
EXTRAS = {
    "deviation": "sd",
    "low": "ci_low",
    "high": "ci_high",
    "gain": "gain",
    "gain_deviation": "gain_sd",
    "p": "p",
}
ASIDES = {"low", "gain"}  # what is shown beside a number
PLAIN = str.maketrans(
    {"α": "alpha", "→": "->", "−": "-", "–": "-", "\u00a0": " ", "Δ": "change", "†": "+", "‡": "++", "§": "+++"}
)

# A line of a 10-point article has room for about 75 characters of normal size, and more of smaller ones: the width of
# the widest table per size, the size, and the size of intervals and gains.
SIZES = (
    (75, r"\normalsize", r"\scriptsize"),
    (83, r"\small", r"\scriptsize"),
    (93, r"\footnotesize", r"\tiny"),
    (106, r"\scriptsize", r"\tiny"),
)
MOST_LINES = 36  # of a page, beside a header, a caption and a note
HEADER_LINES = 5
SMALL = 0.75  # width of the smaller letters
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def write_table(table: Table, path: Path) -> None:
    """Write a table in the format that the file's suffix names: .csv, .md or .tex."""
    render = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}[path.suffix]
    with whole_file(path) as part:
        part.write_text(render(table), encoding="utf-8", newline="")


# --- CSV -------------------------------------------------------------------------------------------------------------


def to_csv(table: Table) -> str:
    """One line per row; a column of numbers is followed by the ends of intervals, gains and p values, if it has any.

    A name that a spreadsheet would take for a formula gets a leading apostrophe, see `untrusted.as_cell`. Text is ASCII
    as far as names allow: 'alpha' for the letter, '-' for the minus sign. A table with strong rows gets a last column
    `selected` of 0 and 1; one with published figures, `source`, empty for the run's figures.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    extras = used_extras(table)
    ends: dict[str, Callable[[Line], str]] = {}
    if any(line.strong for line in table.lines):
        ends["selected"] = lambda line: str(int(line.strong))
    if any(line.source for line in table.lines):
        ends["source"] = lambda line: as_cell(line.source)
    header = [text.translate(PLAIN).lower() for text in table.headings]
    for column, names in zip(table.columns, extras, strict=True):
        header += [column.key, *(f"{column.key} {EXTRAS[name]}" for name in names)]
    writer.writerow(map(as_cell, [*header, *ends]))
    for line in table.lines:
        record = [as_cell(text.translate(PLAIN)) for text in line.texts]
        for cell, column, names in zip(line.cells, table.columns, extras, strict=True):
            record += [_plain(cell, name, column.decimals) for name in ("value", *names)]
        writer.writerow([*record, *(end(line) for end in ends.values())])
    return file.getvalue()


def used_extras(table: Table) -> list[list[str]]:
    """Per column, which of EXTRAS its cells have."""
    return [
        [name for name in EXTRAS if any(getattr(line.cells[index], name) is not None for line in table.lines)]
        for index in range(len(table.columns))
    ]


def _plain(cell: Cell, name: str, decimals: int) -> str:
    value = getattr(cell, name)
    if value is None:
        return ""
    return f"{value:.3g}" if name == "p" else number(value, decimals=decimals).translate(PLAIN)


# --- Markdown --------------------------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A pipe table under its caption; the best of a column (or the selected row) is bold."""
    if not table.lines:
        return f"{markdown_text(table.caption)}\n\n{NOTHING}\n"
    header = [*table.headings, *(": ".join(filter(None, [column.group, heading(column)])) for column in table.columns)]
    rule = ["---"] * len(table.headings) + ["---:"] * len(table.columns)
    body = [
        [*map(markdown_text, line.texts), *map(_markdown_cell, line.cells, table.columns, [line] * len(line.cells))]
        for line in table.lines
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in ([markdown_text(text) for text in header], rule, *body)]
    note = f"\n{markdown_text(table.note)}\n" if table.note else ""
    return f"{markdown_text(table.caption)}\n\n" + "\n".join(lines) + "\n" + note


def markdown_text(text: str) -> str:
    """Text escaped for Markdown: nothing in it is a link, an emphasis, code, maths, HTML or the end of a cell."""
    return MARKDOWN.sub(r"\\\g<0>", visible(" ".join(text.splitlines())))


def _markdown_cell(cell: Cell, column: Column, line: Line) -> str:
    value = shown_value(cell, column)
    bold = (cell.strong or line.strong) and cell.value is not None
    return " ".join(filter(None, [f"**{value}**" if bold else value, *map(markdown_text, asides(cell, column))]))


def shown_value(cell: Cell, column: Column) -> str:
    """A cell's number, '54.3 ± 0.4' with a deviation; empty if only its gain is known."""
    if cell.value is None and cell.gain is not None:
        return ""
    value = number(cell.value, signed=column.signed, decimals=column.decimals) + _plus_minus(cell.deviation, column)
    return value + (cell.mark if cell.gain is None else "")


def _plus_minus(deviation: float | None, column: Column) -> str:
    return "" if deviation is None else f"\u00a0±\u00a0{number(deviation, decimals=column.decimals)}"


def asides(cell: Cell, column: Column) -> list[str]:
    """'[34.9, 41.2]' and '(+3.7*)', if the cell has them."""
    return interval(cell, column) + gain(cell, column)


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


def heading(column: Column) -> str:
    """'mAP, osm-landuse-8, satellite'."""
    return ", ".join(filter(None, [column.label, column.detail]))


def column_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """(heading, number of columns) of neighbouring columns that share a group."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]


# --- LaTeX -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The layout of a table in LaTeX.

    Attributes:
        blocks: indices of the columns side by side, block below block.
        stacked: whether intervals are below their numbers rather than beside them.
        size: command for the size of numbers.
        aside_size: command for the size of intervals and gains.
    """

    blocks: list[list[int]]
    stacked: bool
    size: str
    aside_size: str


def to_latex(table: Table) -> str:
    r"""`table` environments with booktabs' rules; the document needs \usepackage{booktabs} and \usepackage{graphicx}.

    A column whose numbers have intervals or gains takes two of the tabular's columns, so that the numbers are aligned.
    The wider a table, the smaller its letters; one that is still too wide is split between columns into several under
    one caption, and one that is too long continues in a further environment of the same number.
    """
    table = _shortened(table)
    layout = _layout(table)
    pages = _pages(table, layout)
    spans = [2 if ASIDES & set(extras) else 1 for extras in used_extras(table)]
    parts = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}."]
    for page in pages:
        continued = page is not pages[0]
        caption = f"{table.caption.partition('. ')[0].rstrip('.')} (continued)." if continued else table.caption
        parts += [r"\addtocounter{table}{-1}"] if continued else []
        parts += [r"\begin{table}", r"  \centering", rf"  \caption{{{latex_escape(caption)}}}"]
        parts += [] if continued else [rf"  \label{{tab:{table.name.replace('_', '-')}}}"]
        parts += [f"  {layout.size}"]
        for block, lines in page:
            parts += [] if block is page[0][0] else [r"  \par\medskip"]
            parts += _tabular(table, block, [spans[index] for index in block], lines, layout)
        if table.note and page is pages[-1]:
            parts += [rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize {latex_escape(table.note)}}}"]
        parts += [r"\end{table}"]
    return "\n".join([*parts, ""])


def latex_escape(text: str) -> str:
    """Text escaped for LaTeX: special characters escaped, the table's symbols in maths."""
    text = visible(" ".join(text.splitlines()))
    # Two hyphens must not become a dash; after the end of a row, a bracket or star would be read as its argument.
    pieces = ["{}" if text[:1] in ("[", "*") else ""]
    for before, character in zip(" " + text, text, strict=False):
        pieces.append("{}-" if before == character == "-" else LATEX_ESCAPES.get(character, character))
    return "".join(pieces)


def _layout(table: Table) -> Layout:
    """The largest letters with which the table fits unsplit, and where to split it if it does not fit."""
    texts = sum(
        2 + max([len(name), *(len(line.texts[index]) for line in table.lines)])
        for index, name in enumerate(table.headings)
    )
    columns = range(len(table.columns))
    has_intervals = any(cell.low is not None for line in table.lines for cell in line.cells)
    stacked = has_intervals and texts + sum(_width(table, index, False) for index in columns) > SIZES[-1][0]
    widths = [_width(table, index, stacked) for index in columns]
    blocks: list[list[int]] = [[]]
    position = 0
    for _, count in column_groups(table.columns):
        group = list(range(position, position + count))
        position += count
        for piece in _pieces(table, group, widths, SIZES[-1][0] - texts):
            width = texts + sum(widths[index] for index in (*blocks[-1], *piece))
            if blocks[-1] and width > SIZES[-1][0]:
                blocks.append([])
            blocks[-1] += piece
    widest = max(texts + sum(widths[index] for index in block) for block in blocks)
    _, size, aside_size = next((choice for choice in SIZES if widest <= choice[0]), SIZES[-1])
    return Layout(blocks, stacked, size, aside_size)


def _pieces(table: Table, group: list[int], widths: Sequence[float], room: float) -> list[list[int]]:
    """A group of columns whole, or split by their details, or one by one: the first choice whose parts all fit."""
    by_detail = [list(members) for _, members in groupby(group, key=lambda index: table.columns[index].detail)]
    one_by_one = [[index] for index in group]
    choices = ([group], by_detail)
    return next(
        (pieces for pieces in choices if all(sum(widths[index] for index in piece) <= room for piece in pieces)),
        one_by_one,
    )


def _width(table: Table, index: int, stacked: bool) -> float:
    """The approximate width of a column in characters."""
    column = table.columns[index]
    cells = [line.cells[index] for line in table.lines]
    body = max(len(shown_value(cell, column)) for cell in cells)
    beside = max(
        len(" ".join(["", *([] if stacked else interval(cell, column)), *gain(cell, column)])) for cell in cells
    )
    under = max(len("".join(interval(cell, column))) for cell in cells) if stacked else 0
    return 2 + max(
        body + SMALL * beside, SMALL * under, len(column.label), SMALL * max(map(len, column.detail.split(", ")))
    )


def _pages(table: Table, layout: Layout) -> list[list[tuple[list[int], Sequence[Line]]]]:
    """The content of each page: parts of the table, some of its columns and rows, as many as fit."""
    most = MOST_LINES // 2 if layout.stacked else MOST_LINES
    pages: list[list[tuple[list[int], Sequence[Line]]]] = []
    room = 0
    for start in range(0, max(len(table.lines), 1), most):
        lines = table.lines[start : start + most]
        for block in layout.blocks:
            filled = [line for line in lines if any(line.cells[index] != Cell() for index in block)]
            rows = filled if len(layout.blocks) > 1 else lines
            if table.lines and not rows:
                continue
            height = len(rows) * (2 if layout.stacked else 1) + HEADER_LINES
            if height > room:
                pages.append([])
                room = MOST_LINES + HEADER_LINES
            used = [index for index in block if any(line.cells[index] != Cell() for line in rows)]
            pages[-1].append((used if len(layout.blocks) > 1 else block, rows))
            room -= height
    return pages


def _tabular(
    table: Table, block: Sequence[int], spans: Sequence[int], lines: Sequence[Line], layout: Layout
) -> Iterator[str]:
    spec = "l" * len(table.headings) + "".join(r"r@{\ }l" if span == 2 else "r" for span in spans)
    yield rf"  {FIT}"
    yield rf"  \begin{{tabular}}{{{spec}}}"
    yield r"    \toprule"
    if table.lines:
        yield from _latex_header(table, block, spans, layout)
        yield from _latex_body(table, block, spans, lines, layout)
    else:
        yield rf"    \multicolumn{{{len(table.headings) + sum(spans)}}}{{l}}{{{NOTHING}}} \\"
    yield r"    \bottomrule"
    yield r"  \end{tabular}}"


def _latex_header(table: Table, block: Sequence[int], spans: Sequence[int], layout: Layout) -> Iterator[str]:
    columns = [table.columns[index] for index in block]
    heads, rules = [""] * len(table.headings), []
    position, remaining = len(table.headings), iter(spans)
    for group, count in column_groups(columns):
        width = sum(next(remaining) for _ in range(count))
        heads.append(_multicolumn(width, group))
        rules += [rf"\cmidrule(lr){{{position + 1}-{position + width}}}"] if group else []
        position += width
    if rules:
        yield rf"    {' & '.join(heads)} \\"
        yield f"    {' '.join(rules)}"
    labels = [latex_escape(text) for text in table.headings]
    labels += [_multicolumn(span, column.label) for span, column in zip(spans, columns, strict=True)]
    yield rf"    {' & '.join(labels)} \\"
    details = [column.detail.split(", ") if column.detail else [] for column in columns]
    for row in range(max(map(len, details), default=0)):
        cells = [""] * len(table.headings)
        for span, parts in zip(spans, details, strict=True):
            cells.append(_multicolumn(span, parts[row] if row < len(parts) else "", layout.aside_size))
        yield rf"    {' & '.join(cells)} \\"
    yield r"    \midrule"


def _multicolumn(width: int, text: str, style: str = "", side: str = "c") -> str:
    return rf"\multicolumn{{{width}}}{{{side}}}{{{style + ' ' if style and text else ''}{latex_escape(text)}}}"


def _shortened(table: Table) -> Table:
    """The table with data sets' titles without the brackets at their ends, if they stay distinct."""
    named = [index for index, name in enumerate(table.headings) if name in ("Data set", "Patched on")]
    titles = {column.group for column in table.columns} | {line.texts[index] for line in table.lines for index in named}
    count = Counter(title.partition(" (")[0] for title in titles)
    short = {title: start for title in titles if count[start := title.partition(" (")[0]] == 1}
    return replace(
        table,
        columns=tuple(replace(column, group=short.get(column.group, column.group)) for column in table.columns),
        lines=tuple(
            replace(
                line, texts=tuple(short.get(text, text) if i in named else text for i, text in enumerate(line.texts))
            )
            for line in table.lines
        ),
    )


def _latex_body(
    table: Table, block: Sequence[int], spans: Sequence[int], lines: Sequence[Line], layout: Layout
) -> Iterator[str]:
    for above, line in zip((None, *lines), lines, strict=False):
        if above and line.source and not above.source:
            yield r"    \midrule"
        cells = [latex_escape(text) for text in line.texts]
        under = [""] * len(line.texts)
        for index, span in zip(block, spans, strict=True):
            cell, column = line.cells[index], table.columns[index]
            value = latex_escape(shown_value(cell, column))
            bold = (cell.strong or line.strong) and cell.value is not None
            cells.append(rf"\textbf{{{value}}}" if bold else value)
            ends = interval(cell, column)
            if span == 2:
                beside = latex_escape(" ".join([*([] if layout.stacked else ends), *gain(cell, column)]))
                cells.append(rf"{{{layout.aside_size} {beside}}}" if beside else "")
            under.append(_multicolumn(span, "".join(ends), layout.aside_size, "l") if ends or span == 2 else "")
        if layout.stacked and any(interval(line.cells[index], table.columns[index]) for index in block):
            yield rf"    {' & '.join(cells)} \\[-2pt]"
            yield rf"    {' & '.join(under)} \\"
        else:
            yield rf"    {' & '.join(cells)} \\"
