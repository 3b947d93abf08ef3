"""What YAML files may say: the JSON schemas of workflow/schemas, and a sentence for every place that breaks one."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from bandbridge.base.errors import did_you_mean
from bandbridge.base.locations import WORKFLOW

Path = tuple[str | int, ...]

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


def _is_whole(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    """Neither NaN nor infinite, which YAML writes as .nan and .inf."""
    return _is_whole(_, value) or (isinstance(value, float) and math.isfinite(value))


def _matches(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """In Python's patterns '$' stands before a last line end as well, which is no part of a name."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Strict: Any = extend(
    Draft202012Validator,
    validators={"pattern": _matches},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_whole, "number": _is_number}),
)


@cache
def schema_of(name: str) -> dict[str, Any]:
    """The content of workflow/schemas/<name>.schema.yaml."""
    text = (WORKFLOW / "schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@cache
def _validator(name: str, part: str | None) -> Any:
    schema = schema_of(name)
    return _Strict(schema if part is None else {"$defs": schema["$defs"], "$ref": f"#/$defs/{part}"})


def schema_faults(content: Any, schema: str, part: str | None = None, under: str = "") -> Iterator[str]:
    """A sentence for every place where `content` breaks workflow/schemas/<schema>.schema.yaml.

    Args:
        part: a name of the schema's `$defs`, where `content` is that alone.
        under: the key that `content` stands under, for the sentences.
    """
    errors = _validator(schema, part).iter_errors(content)
    for error in sorted(errors, key=lambda error: [str(step) for step in error.path]):
        for inner in _innermost(error):
            yield from _sentences(inner, under)


def _innermost(error: ValidationError) -> Iterator[ValidationError]:
    """The faults that the user made: of `anyOf: [null, mapping]`, which fails as a whole, those inside the mapping."""
    if error.validator != "anyOf":
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for item in error.context or ():
        branches.setdefault(item.schema_path[0], []).append(item)
    of_its_type = [
        faults
        for faults in branches.values()
        if not any(fault.validator in ("type", "const") and not fault.path for fault in faults)
    ]
    if not of_its_type:
        yield error
    for fault in of_its_type[0] if of_its_type else ():
        yield from _innermost(fault)


def _sentences(error: ValidationError, under: str) -> Iterator[str]:
    key = dotted(error.absolute_path, under)
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            allowed = list(schema.get("properties", {}))
            for name in (name for name in value if name not in allowed):
                listed = f"allowed: {', '.join(allowed)}" if allowed else "no keys are allowed here"
                what, guess = schema.get("x-entry", "a known key"), did_you_mean(name, allowed)
                yield f"{_below(key, name)} is not {what}; {listed}.{guess}"
        case "required":
            # One error for each missing key, each of which lists all.
            missing = [name for name in wanted if name not in value]
            if missing and f"'{missing[0]}'" in error.message:
                names = ", ".join(_below(key, name) for name in missing)
                yield f"{names} is missing; {_example(missing, schema)}."
        case "enum" | "const":
            choices = wanted if error.validator == "enum" else [wanted]
            allowed = ["null" if item is None else str(item) for item in choices]
            yield f"{key} is {shown(value)}; allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}"
        case "type":
            yield f"{key} is {shown(value)}; expected {_expected(wanted)}.{_hint(value, wanted)}"
        case "anyOf":
            kinds = list(dict.fromkeys(kind for fault in error.context or () for kind in _kinds(fault)))
            yield f"{key} is {shown(value)}; expected {_expected(kinds)}.{_hint(value, kinds)}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            relation = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
            yield f"{key} is {shown(value)}; expected {relation.get(str(error.validator), 'less than')} {wanted}."
        case "minItems" | "minProperties" | "minLength" if not value:
            yield f"{key} is empty; expected at least {wanted} {'entry' if wanted == 1 else 'entries'}."
        case "minItems" | "maxItems":
            exact = schema.get("minItems") == schema.get("maxItems")
            bound = "" if exact else "at least " if error.validator == "minItems" else "at most "
            yield f"{key} has {len(value)} entries; expected {bound}{wanted}."
        case "maxLength":
            yield f"{key} has {len(value)} characters; expected at most {wanted}."
        case "uniqueItems":
            twice = next(item for number, item in enumerate(value) if item in value[:number])
            yield f"{key} lists {shown(twice)} twice; list each once."
        case "pattern" if wanted.endswith("\\}[^{}]*$"):
            yield f"{key} is {shown(value)}; a template has exactly one {{}}, which takes the class name."
        case "pattern":
            what = schema.get("x-allowed", "allowed are letters, digits, '_', '-'")
            # Of a key that is no name, the key is what is wrong.
            place = _below(key, value) if "propertyNames" in error.absolute_schema_path else key
            yield f"{place} is {shown(value)}; {what} (pattern {wanted})."
        case _:
            yield f"{key}: {error.message}."


def _example(missing: Sequence[str], schema: Mapping[str, Any]) -> str:
    about = [schema.get("properties", {}).get(name, {}).get("description", "") for name in missing]
    described = [f"{name}: {text.rstrip('.')}" for name, text in zip(missing, about, strict=True) if text]
    return "; ".join(described) if described else "the repository's config.yaml and the files of workflow/ show it"


def _kinds(fault: ValidationError) -> list[str]:
    """What one of several alternatives wanted."""
    wanted: Any = fault.validator_value
    if fault.path or fault.validator not in ("type", "const"):
        return []
    return [f"'{wanted}'"] if fault.validator == "const" else [wanted] if isinstance(wanted, str) else list(wanted)


def _expected(kinds: Any) -> str:
    listed = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(TYPE_NAMES.get(kind, kind) for kind in listed)


def _hint(value: Any, kinds: Any) -> str:
    """What to write instead, where that is clear."""
    listed = [kinds] if isinstance(kinds, str) else list(kinds)
    number = next((kind for kind in ("integer", "number") if kind in listed), None)
    if isinstance(value, str) and number:
        return _hint_of_text(value, number)
    if isinstance(value, float) and number == "integer" and value.is_integer():
        return f" Write {int(value)}, without a point."
    if isinstance(value, bool) and "string" in listed:
        return ' YAML reads yes, no, on, off, true and false as such: if it is a name, quote it, as in "no".'
    if isinstance(value, int | float) and not isinstance(value, bool) and "string" in listed:
        return f' If it is a name, quote it as it is meant, as in "{value}".'
    if isinstance(value, str) and "array" in listed and "{" not in value[:1]:
        return f" Write it as a list: [{shown(value)}]."
    if value is None and {"object", "array"} & set(listed):
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


def dotted(path: Any, under: str = "") -> str:
    """'align.students.ms-vit.bands[2]' of the steps to a value."""
    text = under
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_name(step)}"
    return text.lstrip(".") or "the file"


def _below(key: str, name: str) -> str:
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


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


# --- content by its schema --------------------------------------------------------------------------------------------

# value, its schema, the steps to it -> the value to put in its place
Change = Callable[[Any, Mapping[str, Any], Path], Any]


def rewritten(content: Any, schema: str, change: Change, part: str | None = None) -> Any:
    """A copy of `content` in which every value that is neither list nor mapping has gone through `change`.

    What no schema describes goes through it with an empty one.
    """
    whole = schema_of(schema)
    return _rewritten(content, whole if part is None else whole["$defs"][part], whole, change, ())


def _rewritten(value: Any, schema: Mapping[str, Any], whole: Mapping[str, Any], change: Change, path: Path) -> Any:
    schema = _described(value, schema, whole)
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        others = others if isinstance(others, Mapping) else {}
        return {
            key: _rewritten(item, known.get(key, others), whole, change, (*path, key)) for key, item in value.items()
        }
    if isinstance(value, list):
        first, others = schema.get("prefixItems", []), schema.get("items", {})
        return [
            _rewritten(item, first[at] if at < len(first) else others, whole, change, (*path, at))
            for at, item in enumerate(value)
        ]
    return change(value, schema, path)


def _described(value: Any, schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself: references followed, of alternatives the first that may hold a value like this one."""
    while "$ref" in schema:
        target: Any = whole
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{key: item for key, item in schema.items() if key != "$ref"}}
    for branch in schema.get("anyOf", ()):
        inner = _described(value, branch, whole)
        kinds = inner.get("type", ())
        kind = "object" if isinstance(value, Mapping) else "array" if isinstance(value, list) else "string"
        if kind in ([kinds] if isinstance(kinds, str) else kinds) or inner.get("const") == value:
            return inner
    return schema


def with_texts(content: Any, texts: Any, schema: str, part: str | None = None) -> Any:
    """`content` with the text that stands in the file wherever the schema asks for text alone.

    So a class may be called no, 3.10 or 111 without quotes. `texts` is what `yaml_files.Document` has beside it.
    """

    def change(value: Any, about: Mapping[str, Any], path: Path) -> Any:
        kinds = about.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if value is None or isinstance(value, str) or set(kinds) - {"null"} != {"string"}:
            return value
        text = texts
        for step in path:
            text = text[step]
        return text

    return rewritten(content, schema, change, part)
