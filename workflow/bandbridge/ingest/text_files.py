"""Text files of any encoding that Excel, editors and databases write, and tables in them with any separator."""

import codecs
import csv
import re
import sys
import warnings
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import pandas

SEPARATORS = (",", ";", "\t", "|")
# The longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Text of another encoding hardly ever decodes as Windows-1252; Latin-1 would accept any bytes.
_FALLBACK = "cp1252"
# How Excel states the separator, in a line before the table.
_STATED_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


def read_text(path: Path) -> str:
    """A text file, in the encoding that its first bytes state, else UTF-8, else Windows-1252 (with a line in the log).

    Raises:
        ValueError: it is none of these.
    """
    content = path.read_bytes()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    start = content[:200]
    if start.count(b"\0") > len(start) // 4:  # every other byte of UTF-16, in names of files
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode()
    except UnicodeDecodeError:
        text = content.decode(_FALLBACK)
        print(f"{path} is no UTF-8; read as Windows-1252 ({_FALLBACK})", file=sys.stderr)
        return text


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without spaces and quotes around them; empty ones are left out."""
    lines = (line.strip().strip("\"'").strip() for line in read_text(path).splitlines())
    return [line for line in lines if line]


def read_table(path: Path, usual: str, columns: Collection[str]) -> pandas.DataFrame:
    """A table of unchanged texts, so that '007' keeps its zeros.

    Args:
        usual: the preferred separator where several fit.
        columns: names that the table should have; the separator that yields most of them is used.

    Lines of comments (#) before the column names, and rows of empty cells and empty cells after the last column, as
    spreadsheets append them, are left out.

    Raises:
        ValueError: it cannot be decoded or parsed (pandas' errors are of this kind), or a row has too many cells.
    """
    text = read_text(path)
    text = _without_comments(text if "\n" in text else text.replace("\r", "\n"), columns)
    stated = _STATED_SEPARATOR.match(text)
    if stated:
        text = text[stated.end() :]
    separator = stated[1] if stated else _separator(text, usual, columns)
    frame = _frame(text, separator)
    # As they are written: of two columns of one name, pandas renames the second.
    names = _parsed(text, separator, header=None, nrows=1)
    frame.columns = pandas.Index(names.iloc[0].str.strip())
    frame = frame.fillna("")
    return frame[(frame != "").any(axis=1)]


def _frame(text: str, separator: str) -> pandas.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # cells that would be cut off
        try:
            return _parsed(text, separator, index_col=False)
        except (pandas.errors.ParserWarning, pandas.errors.ParserError):
            width, widest = _widths(text, separator)
    frame = _parsed(text, separator, header=None, names=range(widest))
    return frame.iloc[1:, :width]


def _parsed(text: str, separator: str, **options: Any) -> pandas.DataFrame:
    """A table whose cells are not interpreted: '007' keeps its zeros, and 'NA' may be a class."""
    frame: pandas.DataFrame = pandas.read_csv(
        StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True, **options
    )
    return frame


def _widths(text: str, separator: str) -> tuple[int, int]:
    """How many column names there are, and cells in the longest row, where those that have no name are empty."""
    rows = filter(None, csv.reader(StringIO(text), delimiter=separator, skipinitialspace=True))
    try:
        width = widest = len(next(rows))
        for row in rows:
            widest = max(widest, len(row))
            if any(cell.strip() for cell in row[width:]):
                raise ValueError(
                    f"its row '{shorten(separator.join(row), 80)}' has more cells than the {width} column names; name "
                    f"the others, or put quotes around cells with '{separator}' in them, such as decimal commas"
                )
    except csv.Error as error:
        raise ValueError(f"it cannot be divided into cells: {error}") from error
    return width, widest


def _without_comments(text: str, columns: Collection[str]) -> str:
    while text.startswith("#") and not any(_matching(text, separator, columns)[0] for separator in SEPARATORS):
        text = text.partition("\n")[2]
    return text


def _separator(text: str, usual: str, columns: Collection[str]) -> str:
    # Python's max takes the first of equal ones.
    by_preference = sorted(SEPARATORS, key=lambda separator: separator != usual)
    return max(by_preference, key=lambda separator: _matching(text, separator, columns))


def _matching(text: str, separator: str, columns: Collection[str]) -> tuple[int, int]:
    """How many cells of the first line are such columns, and how many there are."""
    names = next(csv.reader([text.partition("\n")[0].rstrip("\r")], delimiter=separator, skipinitialspace=True), [])
    return len({name.strip() for name in names} & set(columns)), len(names)
