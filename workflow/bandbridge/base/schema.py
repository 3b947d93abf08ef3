"""What YAML files may say: the JSON schemas of workflow/schemas, and a sentence for every place that breaks one."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from bandbridge.base import wording
from bandbridge.base.locations import WORKFLOW

Path = tuple[str | int, ...]


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
    key = wording.dotted(error.absolute_path, under)
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            allowed = list(schema.get("properties", {}))
            entry = schema.get("x-entry", "a known key")
            for name in (name for name in value if name not in allowed):
                yield wording.unknown_key(key, name, allowed, entry)
        case "required":
            # One error for each missing key, each of which lists all.
            missing = [name for name in wanted if name not in value]
            if missing and f"'{missing[0]}'" in error.message:
                parts = schema.get("properties", {})
                yield wording.missing_keys(key, {name: parts.get(name, {}).get("description", "") for name in missing})
        case "enum" | "const":
            yield wording.not_among(key, value, wanted if error.validator == "enum" else [wanted])
        case "type":
            yield wording.wrong_type(key, value, [wanted] if isinstance(wanted, str) else wanted)
        case "anyOf":
            kinds = list(dict.fromkeys(kind for fault in error.context or () for kind in _kinds(fault)))
            yield wording.wrong_type(key, value, kinds)
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            relation = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
            yield wording.out_of_range(key, value, relation.get(str(error.validator), "less than"), wanted)
        case "minItems" | "minProperties" | "minLength":
            yield wording.too_few(key, value, wanted, schema.get("minItems") == schema.get("maxItems"))
        case "maxItems" | "maxLength":
            yield wording.too_many(key, value, wanted, schema.get("minItems") == schema.get("maxItems"))
        case "uniqueItems":
            yield wording.listed_twice(key, value)
        case "pattern" if wanted.endswith("\\}[^{}]*$"):
            yield wording.wrong_characters(key, value, wording.TEMPLATE_ALLOWED, "")
        case "pattern":
            # Of a key that is no name, the key is what is wrong.
            place = wording.below(key, value) if "propertyNames" in error.absolute_schema_path else key
            yield wording.wrong_characters(place, value, schema.get("x-allowed", wording.NAME_ALLOWED), wanted)
        case _:
            yield f"{key}: {error.message}."


def _kinds(fault: ValidationError) -> list[str]:
    """What one of several alternatives wanted."""
    wanted: Any = fault.validator_value
    if fault.path or fault.validator not in ("type", "const"):
        return []
    return [f"'{wanted}'"] if fault.validator == "const" else [wanted] if isinstance(wanted, str) else list(wanted)


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
