"""The sentences about what a file may not say: where, what was found, what is allowed, what to write instead."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bandbridge.base.errors import did_you_mean

# Of JSON's types; a type that is a value in quotes stands for itself.
TYPE_NAMES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
MOST_SHOWN = 80
NAME_ALLOWED = "allowed are letters, digits, '_', '-'"
TEMPLATE_ALLOWED = "a template has exactly one {}, which takes the class name"


# --- sentences --------------------------------------------------------------------------------------------------------


def unknown_key(section: str, name: str, allowed: Sequence[str], entry: str = "a known key") -> str:
    """A key that its section does not have; `entry` is what the section's keys are."""
    listed = f"allowed: {', '.join(allowed)}" if allowed else "no keys are allowed here"
    return f"{below(section, name)} is not {entry}; {listed}.{did_you_mean(name, allowed)}"


def missing_keys(section: str, descriptions: Mapping[str, str]) -> str:
    """All keys that a section lacks, each with what it is for."""
    names = ", ".join(below(section, name) for name in descriptions)
    described = [f"{name}: {text.rstrip('.')}" for name, text in descriptions.items() if text]
    help_text = "; ".join(described) or "the repository's config.yaml and the files of workflow/ show it"
    return f"{names} is missing; {help_text}."


def not_among(key: str, value: Any, choices: Iterable[Any]) -> str:
    """A value that is none of a few."""
    allowed = [item if isinstance(item, str) else shown(item) for item in choices]
    return f"{key} is {shown(value)}; allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}"


def wrong_type(key: str, value: Any, types: Sequence[str]) -> str:
    """A value of another type than all of `types`, names of JSON's."""
    expected = " or ".join(TYPE_NAMES.get(name, name) for name in types)
    return f"{key} is {shown(value)}; expected {expected}.{_hint(value, types)}"


def out_of_range(key: str, value: Any, relation: str, bound: float) -> str:
    """A number beyond a bound: 'at least', 'more than', 'at most', 'less than' it."""
    return f"{key} is {shown(value)}; expected {relation} {as_written(bound)}."


def too_few(key: str, value: Sequence[Any] | Mapping[str, Any], least: int, is_exact: bool = False) -> str:
    """A text, list or mapping with less in it than it needs."""
    if not value:
        return f"{key} is empty; expected at least {least} {'entry' if least == 1 else 'entries'}."
    return f"{key} has {len(value)} entries; expected {'' if is_exact else 'at least '}{least}."


def too_many(key: str, value: Sequence[Any], most: int, is_exact: bool = False) -> str:
    """A text or list with more in it than it may have."""
    if isinstance(value, str):
        return f"{key} has {len(value)} characters; expected at most {most}."
    return f"{key} has {len(value)} entries; expected {'' if is_exact else 'at most '}{most}."


def listed_twice(key: str, value: Sequence[Any]) -> str:
    """A list that holds something twice."""
    repeated = next(item for number, item in enumerate(value) if item in value[:number])
    return f"{key} lists {shown(repeated)} twice; list each once."


def wrong_characters(key: str, value: str, allowed: str, pattern: str) -> str:
    """A text that does not match its pattern."""
    return f"{key} is {shown(value)}; {allowed}{f' (pattern {pattern})' if pattern else ''}."


# --- what to write instead --------------------------------------------------------------------------------------------


def _hint(value: Any, types: Sequence[str]) -> str:
    """What to write instead, where that is clear."""
    number = next((name for name in ("integer", "number") if name in types), None)
    if isinstance(value, str) and number:
        return _hint_of_text(value, number)
    if isinstance(value, float) and number == "integer" and value.is_integer():
        return f" Write {int(value)}, without a point."
    if isinstance(value, bool) and "string" in types:
        return ' YAML reads yes, no, on, off, true and false as such: if it is a name, quote it, as in "no".'
    if isinstance(value, int | float) and not isinstance(value, bool) and "string" in types and abs(value) < 1e30:
        return f' If it is a name, quote it as it is meant, as in "{value}".'
    if isinstance(value, str) and "array" in types and "{" not in value[:1]:
        return f" Write it as a list: [{shown(value)}]."
    if value is None and {"object", "array"} & set(types):
        return " The section is empty: give it keys, or delete its line."
    return ""


def _hint_of_text(value: str, kind: str) -> str:
    text = value.strip().replace(" ", "")
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", text):
        mantissa, exponent = re.split("[eE]", text)
        mantissa = mantissa if "." in mantissa else f"{mantissa}."
        mantissa = f"{mantissa}0" if mantissa.endswith(".") else mantissa
        exponent = exponent if exponent[0] in "+-" else f"+{exponent}"
        written = str(int(float(text))) if kind == "integer" and float(text).is_integer() else f"{mantissa}e{exponent}"
        return f" YAML reads it as text; write {written}."
    if re.fullmatch(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)", text):
        return (
            f" In a file, write {text} without quotes; on the command line, numbers inside braces arrive as text: use "
            "--configfile."
        )
    if re.fullmatch(r"\d+(,\d+)+", text):
        return f" Write a number with a point and without commas: {text.replace(',', '.', 1)}."
    return ""


# --- keys and values --------------------------------------------------------------------------------------------------


def dotted(path: Any, under: str = "") -> str:
    """'align.students.ms-vit.bands[2]' of the steps to a value."""
    text = under
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_name(step)}"
    return text.lstrip(".") or "the file"


def below(key: str, name: str) -> str:
    """The dotted path of a key in a section."""
    return _name(name) if key == "the file" else f"{key}.{_name(name)}"


def _name(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def shown(value: Any) -> str:
    """A value as a message shows it, in one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN (not a number)" if math.isnan(value) else "infinite"
    if isinstance(value, str):
        # Line ends and other characters that cannot be seen.
        text = value if value.isprintable() else repr(value)[1:-1]
        return f"'{_cut(text)}'"
    try:
        return _cut(str(value))
    except ValueError:
        return "a number of more than 4,000 digits"


def as_written(number: float) -> str:
    """A bound as people write it: whole numbers without a point."""
    return str(int(number)) if float(number).is_integer() else str(number)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
