"""Several classes in a cell of a table: lists as JSON, Python, NumPy and PostgreSQL write them, or with a separator."""

import ast
import json
import re

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_NUMBERS = re.compile(r"[\s\d.+-]+")
_WHOLE = re.compile(r"([+-]?\d+)\.0*")


def is_list(text: str) -> bool:
    """Whether a cell is written as a list: in brackets, parentheses or braces."""
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1]


def names_in(text: str, separator: str) -> list[str]:
    """The names in a cell, in their order, without quotes and spaces around them.

    A cell in brackets is a list: of JSON ('["a", "b"]'), of Python ("['a', 'b']"), of NumPy ("['a' 'b']"), of
    PostgreSQL ('{a,"b c"}') or without quotes ('[a, b]'). In any other, `separator` separates the names.
    """
    text = text.strip()
    names = _listed(text) if is_list(text) else text.split(separator)
    return [name.strip() for name in names if name.strip()]


def _listed(text: str) -> list[str]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, list) and all(isinstance(value, str | int | float) for value in values):
        return [str(value) for value in values]
    inside = text[1:-1]
    quoted = _QUOTED.findall(inside)
    between = _QUOTED.sub("", inside)
    if quoted and not between.replace(",", "").strip():
        return [_unquoted(item) for item in quoted]
    if "," not in inside and _NUMBERS.fullmatch(inside):
        return inside.split()
    return [item.strip().strip("\"'") for item in inside.split(",")]


def _unquoted(item: str) -> str:
    try:
        return str(ast.literal_eval(item))
    except (ValueError, SyntaxError):
        return item[1:-1]


def whole(text: str) -> str:
    """'1' of '1.0', which a program that takes a column for floats makes of whole numbers; other texts as they are."""
    number = _WHOLE.fullmatch(text)
    return number[1] if number else text


def flag(text: str) -> bool | None:
    """Whether a cell of a column of 0 and 1 means yes; None where it means neither. An empty cell means no."""
    word = whole(text.strip().lower())
    if word in ("1", "true", "yes", "t", "y"):
        return True
    return False if word in ("", "0", "false", "no", "f", "n") else None
