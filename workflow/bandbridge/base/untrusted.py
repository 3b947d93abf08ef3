"""Text from outside, treated as nothing but text: names as paths, numbers, cells of a spreadsheet."""

import re

# Digits of a 64-bit number; no size or count has more, and `int` refuses thousands of them with a ValueError.
MOST_DIGITS = 19
# Control characters end lines and control terminals; the others change the direction of writing.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def leads_out(name: str) -> bool:
    """Whether a name with '/' between its parts leads out of its folder on any operating system."""
    drive = name[1:2] == ":" and name[0].isalpha()
    return not name or drive or name[0] == "/" or "\\" in name or "\0" in name or ".." in name.split("/")


def has_unseen(name: str) -> bool:
    """Whether a name has invisible characters: control characters, direction overrides, invalid UTF-8."""
    return UNSEEN.search(name) is not None


def visible(text: str) -> str:
    """Text for a terminal or a log, with '?' for each invisible character."""
    return UNSEEN.sub("?", text)


def whole_number(text: str) -> int | None:
    """The value of a text of ASCII digits; None for any other text.

    `int` accepts signs, underscores, spaces and the digits of every script, and `str.isdigit` is true for '²', which
    `int` refuses.
    """
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else None


def decimal_number(text: str) -> float | None:
    """The number in a table's cell, such as 12, -0.5 or 1e3; None for any other text, 'nan' and '1_0' among them."""
    return float(text) if NUMBER.fullmatch(text) else None


def as_cell(text: str) -> str:
    """Text for a CSV cell that no spreadsheet takes for a formula: an apostrophe before text that looks like one.

    Numbers, signed ones included, are unchanged. `from_cell` is the inverse.
    """
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def from_cell(cell: str) -> str:
    """The text of a cell that `as_cell` wrote."""
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell
