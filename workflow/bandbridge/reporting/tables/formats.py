"""Tables as files: CSV, Markdown, LaTeX."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from bandbridge.base.files import whole_directory, whole_file
from bandbridge.base.untrusted import as_cell, visible
from bandbridge.reporting.tables.latex import to_latex
from bandbridge.reporting.tables.model import NOTHING, Cell, Column, Line, Table, number
from bandbridge.reporting.tables.texts import asides, heading, shown_value

ENDINGS = (".csv", ".md", ".tex")
# Only underscores at the ends of a word, since no others emphasise; of addresses, what makes them links.
MARKDOWN = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
PLAIN = str.maketrans(
    {"α": "alpha", "→": "->", "−": "-", "–": "-", "\u00a0": " ", "Δ": "change"}
    | {"†": "+", "‡": "++", "§": "+++", "¶": "++++"}
)


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    """Write a folder with every table that has rows, as CSV, Markdown and LaTeX; it appears whole, or not at all."""
    with whole_directory(folder) as part:
        for table in tables:
            for ending in ENDINGS if table.lines else ():
                write_table(table, part / f"{table.name}{ending}")


def table_files(folder: Path) -> list[Path]:
    """The files that `write_tables` wrote to a folder, where Snakemake has a file of its own."""
    return sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)


def write_table(table: Table, path: Path) -> None:
    """Write a table in the format that the file's suffix names: .csv, .md or .tex."""
    render = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}[path.suffix]
    with whole_file(path) as part:
        part.write_text(render(table), encoding="utf-8", newline="")


# --- CSV -------------------------------------------------------------------------------------------------------------


def to_csv(table: Table) -> str:
    """One line per row; a column of numbers is followed by what its cells have: interval, gain, p, published figures.

    A name that a spreadsheet would take for a formula gets a leading apostrophe, see `untrusted.as_cell`. Text is ASCII
    as far as names allow: 'alpha' for the letter, '-' for the minus sign. A table with strong rows gets a last column
    `selected` of 0 and 1; one with rows of published figures, `source`, empty for the run's own rows.
    """
    records = []
    for line in table.lines:
        record = {f"text {index}": text.translate(PLAIN) for index, text in enumerate(line.texts)}
        for cell, column in zip(line.cells, table.columns, strict=True):
            record |= {f"{column.key} {name}".rstrip(): text for name, text in _numbers(cell, column.decimals).items()}
        records.append(record | {"selected": str(int(line.strong)), "source": line.source.translate(PLAIN)})
    keys = [f"text {index}" for index in range(len(table.headings))]
    for column in table.columns:
        names = [f"{column.key} {name}" for name in _numbers(Cell(), 0) if name]
        keys += [column.key, *(name for name in names if any(record[name] for record in records))]
    keys += ["selected"] if any(line.strong for line in table.lines) else []
    keys += ["source"] if any(line.source for line in table.lines) else []
    header = [*(text.translate(PLAIN).lower() for text in table.headings), *keys[len(table.headings) :]]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(as_cell, header))
    writer.writerows([_cell_text(key, record[key]) for key in keys] for record in records)
    return file.getvalue()


def _cell_text(key: str, text: str) -> str:
    """Names are from anywhere, numbers from here: a negative one is no formula."""
    return as_cell(text) if key.startswith("text ") or key == "source" else text


def _numbers(cell: Cell, decimals: int) -> dict[str, str]:
    """What a cell has, by the ending of its column's name."""

    def text(value: float | None) -> str:
        return "" if value is None else number(value, decimals=decimals).translate(PLAIN)

    quoted = cell.quotes
    return {
        "": text(cell.value),
        "sd": text(cell.deviation),
        "ci_low": text(cell.low),
        "ci_high": text(cell.high),
        "gain": text(cell.gain),
        "gain_sd": text(cell.gain_deviation),
        "p": "" if cell.p is None else f"{cell.p:.3g}",
        "published": "; ".join(text(quote.value) for quote in quoted if quote.value is not None),
        "published_gain": "; ".join(text(quote.gain) for quote in quoted if quote.gain is not None),
        "published_source": "; ".join(quote.source.translate(PLAIN) for quote in quoted),
    }


# --- Markdown --------------------------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A pipe table under its caption; the best of a column (or the selected row) is bold."""
    caption = f"{markdown_text(table.caption)}\n\n"
    if not table.lines:
        return f"{caption}{NOTHING}\n"
    names = [*table.headings, *(": ".join(filter(None, [column.group, heading(column)])) for column in table.columns)]
    frame = pd.DataFrame(
        [
            [*map(markdown_text, line.texts), *map(_markdown_cell, line.cells, table.columns, [line] * len(line.cells))]
            for line in table.lines
        ],
        dtype=object,
    )
    labels: dict[object, str] = dict(enumerate(map(markdown_text, names)))
    styler = Styler(frame).hide(axis="index").format_index(lambda column: labels[column], axis=1)
    header, *body = styler.to_string(delimiter=" | ").splitlines()
    rule = " | ".join(["---"] * len(table.headings) + ["---:"] * len(table.columns))
    lines = [f"| {line} |" for line in (header, rule, *body)]
    note = f"\n{markdown_text(table.note)}\n" if table.note else ""
    return caption + "\n".join(lines) + "\n" + note


def markdown_text(text: str) -> str:
    """Text escaped for Markdown: nothing in it is a link, an emphasis, code, maths, HTML or the end of a cell."""
    return MARKDOWN.sub(r"\\\g<0>", visible(" ".join(text.splitlines())))


def _markdown_cell(cell: Cell, column: Column, line: Line) -> str:
    value = shown_value(cell, column)
    bold = (cell.strong or line.strong) and cell.value is not None
    return " ".join(filter(None, [f"**{value}**" if bold else value, *map(markdown_text, asides(cell, column))]))
