"""docs/configuration.md: every key of the configuration, from its models and the defaults of config.yaml."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bandbridge.base.locations import WORKFLOW
from bandbridge.config.checks import REMOVABLE
from bandbridge.config.sections.whole import Config
from bandbridge.ops.schema_files import json_schema, sentence

CONFIG = WORKFLOW.parent / "config.yaml"

TYPES = {
    "object": "mapping",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
}

# Upper ends from here on only catch slips of the keyboard.
SLIP = 10_000

INTRODUCTION = """\
# Configuration

Written by `make docs` from the [models](../workflow/bandbridge/config/sections/whole.py) of the configuration and from
[config.yaml](../config.yaml); edit those. `config.yaml` holds the default of every key: the demo. A key that it lacks
may be left out, and then has the default below. Editors check it against a
[schema](../workflow/schemas/config.schema.yaml), which is written from the same models.

Lay a file with a few keys over it (`snakemake --configfile workflow/presets/eurosat.yaml`), several one after the
other, or set a key of the first level on the command line (`snakemake --config seed=1 run=seed-1`). Numbers inside a
mapping on the command line arrive as text, and are refused: use a file. A file takes an entry of `config.yaml` away by
setting it to `null`, in these mappings:
{removable}.

Paths may begin with `~` and hold environment variables (`$SCRATCH/data`, `${{SCRATCH}}`); a dollar sign itself is `$$`.
A number with an exponent needs a point and a sign (`1.0e-5`), and a name that YAML reads as something else (no, 3.10)
needs quotes. Keys are text: 0 and "0" are equal. Numbers far beyond what can run are refused as slips.

A wrong key or value stops the run before its first job with what is allowed; `make doctor` says the same without a run.
The tables say what a change *reruns*, and with it everything that is made of that; the report, which shows the
configuration, is rebuilt after any change. `snakemake --dry-run` shows it beforehand.
"""


@dataclass(frozen=True)
class Key:
    """One key of the configuration.

    Attributes:
        path: dotted, '<name>' where any name may stand.
        type: in words, with the unit.
        schema: its part of the schema.
        reruns: what a change rebuilds.
    """

    path: str
    type: str
    schema: Mapping[str, Any]
    reruns: str


def reference() -> str:
    """The page, as Markdown."""
    schema = json_schema(Config)
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    sections: dict[str, list[Key]] = {}
    for key in sorted(keys(schema), key=lambda key: _position(config, key.path)):
        first = key.path.split(".")[0]
        single = "properties" not in _object(schema, schema["properties"][first])
        sections.setdefault("" if single else first, []).append(key)
    # The single keys stand first; a mapping of any names is a single key.
    parts = [INTRODUCTION.format(removable=", ".join(f"`{'.'.join(path)}`" for path in REMOVABLE))]
    for section, entries in sorted(sections.items(), key=lambda item: item[0] != ""):
        parts.append(f"## {f'`{section}`' if section else 'The run'}\n")
        about = _markdown(schema["properties"].get(section, {}).get("description", ""))
        parts.append(_section(about, [row(key, config) for key in entries if key.path != section]))
    return "\n".join(parts)


def _section(about: str, rows: list[list[str]]) -> str:
    """A section's words and its table; what a change reruns is a column where that differs from key to key."""
    head = ["key", "type", "default", "meaning", "reruns"]
    causes = {cells[-1] for cells in rows}
    if len(causes) == 1:
        about = f"{about} A change reruns {causes.pop()}.".strip()
        head, rows = head[:-1], [cells[:-1] for cells in rows]
    return f"{about}\n\n{_table(head, rows)}" if about else _table(head, rows)


def _walk(config: Mapping[str, Any], path: str) -> Iterator[tuple[str, list[str], Any]]:
    """Level by level of config.yaml: a key ('<name>' is the first one, a list its first item), all keys, its value."""
    value: Any = config
    for name in path.split("."):
        value = value[0] if isinstance(value, list) and value else value
        names = list(value) if isinstance(value, Mapping) else []
        name = names[0] if name == "<name>" and names else name
        value = value[name] if name in names else None
        yield name, names, value


def _position(config: Mapping[str, Any], path: str) -> tuple[int, ...]:
    """Where a key stands in config.yaml, level by level; keys that are not there come last."""
    return tuple(names.index(name) if name in names else len(names) for name, names, _ in _walk(config, path))


# --- the schema -------------------------------------------------------------------------------------------------------


def keys(schema: Mapping[str, Any]) -> Iterator[Key]:
    """Every key of the schema, mappings before what they hold."""
    for name, part in schema["properties"].items():
        yield from _keys(schema, name, part, "")


def _keys(schema: Mapping[str, Any], path: str, part: Mapping[str, Any], reruns: str) -> Iterator[Key]:
    whole = resolved(schema, part)
    reruns = whole.get("x-reruns", reruns)
    unit = f", in {whole['x-unit']}" if "x-unit" in whole else ""
    yield Key(path, f"{in_words(schema, whole)}{unit}", whole, reruns)
    # What stands elsewhere already, such as a student's own recipe, is not listed again.
    if "x-same-as" in whole:
        return
    section = _object(schema, whole)
    for name, inner in section.get("properties", {}).items():
        yield from _keys(schema, f"{path}.{name}", inner, reruns)
    extra = section.get("additionalProperties")
    if isinstance(extra, Mapping):
        entry = resolved(schema, extra)
        if "properties" in entry:
            yield Key(f"{path}.<name>", in_words(schema, entry), {**entry, "description": ""}, reruns)
            for name, inner in entry["properties"].items():
                yield from _keys(schema, f"{path}.<name>.{name}", inner, reruns)


def resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema with what it refers to put in; its own description wins."""
    if "$ref" not in part:
        return dict(part)
    target: Any = schema
    for name in part["$ref"].removeprefix("#/").split("/"):
        target = target[name]
    return {**resolved(schema, target), **{key: value for key, value in part.items() if key != "$ref"}}


def _object(schema: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that a key may hold, also where it may hold a list of such or null; empty if it may not."""
    whole = resolved(schema, part)
    for choice in whole.get("anyOf", []):
        if section := _object(schema, choice):
            return section
    if "items" in whole:
        return {}
    return whole if "properties" in whole or isinstance(whole.get("additionalProperties"), Mapping) else {}


def in_words(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """'whole number, at least 1', 'one of `mean`, `max_loss`', 'list of text', 'mapping or `null`'."""
    whole = resolved(schema, part)
    if "enum" in whole:
        return f"one of {', '.join(f'`{_value(value)}`' for value in whole['enum'])}"
    if "anyOf" in whole:
        return " or ".join(dict.fromkeys(in_words(schema, choice) for choice in whole["anyOf"]))
    kinds = whole.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_kind(schema, whole, kind) for kind in kinds) or "any value"


def _kind(schema: Mapping[str, Any], whole: Mapping[str, Any], kind: str) -> str:
    if kind in ("integer", "number"):
        return ", ".join(filter(None, [TYPES[kind], _bounds(whole)]))
    if kind == "array":
        item = in_words(schema, whole.get("items") or next(iter(whole.get("prefixItems", [])), {}))
        fixed = whole.get("minItems") == whole.get("maxItems") and whole.get("minItems")
        return f"list of {f'{fixed}: ' if fixed else ''}{item}"
    if kind == "object" and isinstance(whole.get("additionalProperties"), Mapping) and "properties" not in whole:
        return f"mapping of names to {in_words(schema, whole['additionalProperties'])}"
    return TYPES[kind]


def _bounds(part: Mapping[str, Any]) -> str:
    low, high, over, under = (part.get(name) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"))
    high = None if high is not None and high >= SLIP else high
    if low is not None and high is not None:
        return f"{low} to {high}"
    limits = [(low, "at least"), (over, "more than"), (high, "at most"), (under, "less than")]
    return ", ".join(f"{words} {value}" for value, words in limits if value is not None)


# --- config.yaml ------------------------------------------------------------------------------------------------------


def row(key: Key, config: Mapping[str, Any]) -> list[str]:
    """The cells of a key: path, type, default, meaning, what reruns."""
    place, value = look_up(config, key.path)
    default = "" if isinstance(value, Mapping) and value else f"`{_value(value)}`"
    if place == "":
        default = f"`{_value(key.schema['default'])}`" if "default" in key.schema else ""
    return [f"`{key.path}`", key.type, default, _markdown(key.schema.get("description", "")), key.reruns]


def look_up(config: Mapping[str, Any], path: str) -> tuple[str, Any]:
    """The path in config.yaml and the value; '' where absent."""
    steps = list(_walk(config, path))
    if not all(name in names for name, names, _ in steps):
        return "", None
    return ".".join(name for name, _, _ in steps), steps[-1][2]


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _markdown(text: str) -> str:
    return sentence(text).replace("<", "\\<")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
