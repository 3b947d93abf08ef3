"""Tables as CSV, Markdown and LaTeX (booktabs)."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from bandbridge.files import whole_file
from bandbridge.tables import NOTHING, Cell, Column, Line, Table, number

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
    "α": r"$\alpha$",
    "→": r"$\rightarrow$",
    "−": r"$-$",
    "–": "--",
    "\u00a0": "~",
}
EXTRAS = {"low": "ci_low", "high": "ci_high", "gain": "gain"}
PLAIN = str.maketrans({"α": "alpha", "→": "->", "−": "-", "–": "-", "\u00a0": " "})


def write_table(table: Table, path: Path) -> None:
    """Write a table in the format that the file's suffix names: .csv, .md or .tex."""
    render = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}[path.suffix]
    with whole_file(path) as part:
        part.write_text(render(table), encoding="utf-8", newline="")


def to_csv(table: Table) -> str:
    """One line a row; beside a number stand the ends of its interval and its gain, where its column has any.

    Text is ASCII as far as names allow: 'alpha' for the letter, '-' for the minus sign. A table that has strong lines
    gets a last column, `selected`, of 0 and 1.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    extras = used_extras(table)
    mark = ["selected"] if any(line.strong for line in table.lines) else []
    header = [text.translate(PLAIN).lower() for text in table.headings]
    for column, names in zip(table.columns, extras, strict=True):
        header += [column.key, *(f"{column.key} {EXTRAS[name]}" for name in names)]
    writer.writerow(header + mark)
    for line in table.lines:
        record = [text.translate(PLAIN) for text in line.texts]
        for cell, names in zip(line.cells, extras, strict=True):
            record += [_plain(getattr(cell, name)) for name in ("value", *names)]
        writer.writerow(record + [str(int(line.strong)) for _ in mark])
    return file.getvalue()


def used_extras(table: Table) -> list[list[str]]:
    """For each column, which of low, high and gain its cells have."""
    return [
        [name for name in EXTRAS if any(getattr(line.cells[index], name) is not None for line in table.lines)]
        for index in range(len(table.columns))
    ]


def _plain(value: float | None) -> str:
    return "" if value is None else number(value).translate(PLAIN)


def to_markdown(table: Table) -> str:
    """A pipe table under its caption; bold is the best of its column (or the line that was selected)."""
    if not table.lines:
        return f"{table.caption}\n\n{NOTHING}\n"
    header = [*table.headings, *(": ".join(filter(None, [column.group, heading(column)])) for column in table.columns)]
    rule = ["---"] * len(table.headings) + ["---:"] * len(table.columns)
    body = [
        [*map(_markdown_text, line.texts), *(_markdown_cell(cell, line) for cell in line.cells)] for line in table.lines
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in ([_markdown_text(text) for text in header], rule, *body)]
    note = f"\n{table.note}\n" if table.note else ""
    return f"{table.caption}\n\n" + "\n".join(lines) + "\n" + note


def _markdown_text(text: str) -> str:
    return text.replace("|", "\\|")


def _markdown_cell(cell: Cell, line: Line) -> str:
    value = number(cell.value)
    bold = (cell.strong or line.strong) and cell.value is not None
    return " ".join([f"**{value}**" if bold else value, *_asides(cell)])


def _asides(cell: Cell) -> list[str]:
    """'[34.9, 41.2]' and '(+3.7)', as far as the cell has them."""
    interval = [] if cell.low is None or cell.high is None else [f"[{number(cell.low)}, {number(cell.high)}]"]
    return interval + ([] if cell.gain is None else [f"({number(cell.gain, signed=True)})"])


def to_latex(table: Table) -> str:
    r"""A `table` environment with booktabs' rules; the document needs \usepackage{booktabs}.

    A column whose numbers have intervals or gains is two of the tabular's, so that the numbers stay aligned.
    """
    spans = [2 if extras else 1 for extras in used_extras(table)]
    spec = "l" * len(table.headings) + "".join(r"r@{\ }l" if span == 2 else "r" for span in spans)
    width = len(table.headings) + sum(spans)
    empty = [rf"    \multicolumn{{{width}}}{{l}}{{{NOTHING}}} \\"]
    content = [*_latex_header(table, spans), *_latex_body(table, spans)] if table.lines else empty
    caption = latex_escape(" ".join(filter(None, [table.caption, table.note])))
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{caption}}}",
            rf"  \label{{tab:{table.name.replace('_', '-')}}}",
            rf"  \begin{{tabular}}{{{spec}}}",
            r"    \toprule",
            *content,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex_escape(text: str) -> str:
    """Text as LaTeX prints it: special characters escaped, the table's symbols in maths."""
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def heading(column: Column) -> str:
    """'mAP, osm-landuse-8, satellite'."""
    return ", ".join(filter(None, [column.label, column.detail]))


def column_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """(heading, number of columns) of neighbouring columns that share a group."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]


def _latex_header(table: Table, spans: Sequence[int]) -> list[str]:
    heads, rules = [""] * len(table.headings), []
    position, remaining = len(table.headings), iter(spans)
    for group, count in column_groups(table.columns):
        width = sum(next(remaining) for _ in range(count))
        heads.append(_multicolumn(width, group))
        rules += [rf"\cmidrule(lr){{{position + 1}-{position + width}}}"] if group else []
        position += width
    labels = [latex_escape(text) for text in table.headings]
    labels += [_multicolumn(span, heading(column)) for span, column in zip(spans, table.columns, strict=True)]
    lines = [rf"{' & '.join(heads)} \\", " ".join(rules)] if rules else []
    return [f"    {line}" for line in (*lines, rf"{' & '.join(labels)} \\", r"\midrule")]


def _multicolumn(width: int, text: str) -> str:
    return rf"\multicolumn{{{width}}}{{c}}{{{latex_escape(text)}}}"


def _latex_body(table: Table, spans: Sequence[int]) -> Iterator[str]:
    for line in table.lines:
        cells = [latex_escape(text) for text in line.texts]
        for cell, span in zip(line.cells, spans, strict=True):
            value = latex_escape(number(cell.value))
            bold = (cell.strong or line.strong) and cell.value is not None
            cells.append(rf"\textbf{{{value}}}" if bold else value)
            if span == 2:
                asides = latex_escape(" ".join(_asides(cell)))
                cells.append(rf"{{\scriptsize {asides}}}" if asides else "")
        yield rf"    {' & '.join(cells)} \\"
