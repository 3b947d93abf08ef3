"""docs/configuration.md: every key of the configuration, from its schema and the comments of config.yaml."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bandbridge.base.locations import WORKFLOW

CONFIG = WORKFLOW.parent / "config.yaml"
SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"

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

# What a change of a key makes anew, and with it all that is made of that; the longest key that fits counts.
RERUNS = {
    "run": "everything but the data sets, under another name",
    "seed": "everything that draws: trainings, scores",
    "data_root": "what is not there",
    "store_root": "what is not there",
    "results_root": "what is not there",
    "log_root": "nothing but the report",
    "container": "nothing but the report",
    "clip": "the CLIP and all that follows",
    "clip.scratch.dataset": "the CLIP and all that follows",
    "tasks": "the fine-tuning and all that follows",
    "tasks.supported": "its scores and the choice of alpha",
    "datasets": "that data set's conversion, and what reads it",
    "preprocess": "the joining of the stores",
    "preprocess.watch": "the conversion of data sets of your own",
    "prompts": "the heads made of them, and their scores",
    "train": "the report, which shows it",
    "finetune": "the fine-tuning and all that follows",
    "paint": "the choice of alpha and what follows",
    "paint.several": "the fine-tuning and all that follows",
    "paint.alphas": "the new alphas' embeddings and scores, the choice",
    "paint.select": "the choice; what follows, if another alpha is chosen",
    "align": "the students, their embeddings and scores",
    "align.students": "that student, its embeddings and scores",
    "embed": "the embeddings and scores",
    "embed.models_per_job": "nothing",
    "evaluate": "the scores concerned",
    "evaluate.datasets": "what that data set or prompt set lacks",
    "evaluate.encoders": "that encoder's embeddings and scores",
    "evaluate.bootstrap": "all scores",
    "evaluate.words": "the words' embeddings and scores, the galleries",
    "evaluate.words.k": "the words' scores",
    "tables": "the tables and the report",
    "apply": "the maps and archives concerned, the report",
    "compare": "nothing",
    "report": "the report",
}

INTRODUCTION = """\
# Configuration

Written by `make docs` from [config.yaml](../config.yaml) and its
[schema](../workflow/schemas/config.schema.yaml); edit those. `config.yaml` holds the default of every key: the demo.

Lay a file with a few keys over it (`snakemake --configfile workflow/presets/eurosat.yaml`), several one after the
other, or set a key of the first level on the command line (`snakemake --config seed=1 run=seed-1`). Numbers inside a
mapping on the command line arrive as text, and are refused: use a file. In the mappings `align.students`,
`evaluate.datasets`, `evaluate.words.datasets`, `datasets` and `prompts`, a file takes an entry of `config.yaml` away by
setting it to `null`.

Paths may begin with `~` and hold environment variables (`$SCRATCH/data`, `${SCRATCH}`); a dollar sign itself is `$$`.
A number with an exponent needs a point and a sign (`1.0e-5`), and a name that YAML reads as something else (no, 3.10)
needs quotes. Keys are text: 0 and "0" are equal. Numbers far beyond what can run are refused as slips.

A wrong key or value stops the run before its first job with what is allowed; `make doctor` says the same without a run.
What a change *reruns* is told below, and with it comes all that is made of that; the report, which shows the
configuration, is written anew after any change. `snakemake --dry-run` shows it beforehand.
"""


@dataclass(frozen=True)
class Key:
    """One key: its dotted path ('<name>' where any name may stand), its type in words, and its part of the schema."""

    path: str
    type: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Comments:
    """What config.yaml says of its keys: beside one (`of`), or in lines above one (`above`), by dotted path."""

    of: Mapping[str, str]
    above: Mapping[str, str]


def reference() -> str:
    """The page, as Markdown."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    text = CONFIG.read_text(encoding="utf-8")
    config, comments = yaml.safe_load(text), read_comments(text)
    sections: dict[str, list[Key]] = {}
    for key in sorted(keys(schema), key=lambda key: _position(config, key.path)):
        first = key.path.split(".")[0]
        single = "properties" not in _object(schema, schema["properties"][first])
        sections.setdefault("" if single else first, []).append(key)
    # The single keys stand first; a mapping of any names is a single key.
    parts = [INTRODUCTION]
    for section, found in sorted(sections.items(), key=lambda item: item[0] != ""):
        parts.append(f"## {f'`{section}`' if section else 'The run'}\n")
        told = comments.above.get(section, "") or schema["properties"].get(section, {}).get("description", "")
        parts.append(_section(_sentence(told), [row(key, config, comments) for key in found if key.path != section]))
    return "\n".join(parts)


def _section(told: str, rows: list[list[str]]) -> str:
    """A section's words and its table; what a change reruns is a column where that differs from key to key."""
    head = ["key", "type", "default", "meaning", "reruns"]
    causes = {cells[-1] for cells in rows}
    if len(causes) == 1:
        told = f"{told} A change reruns {causes.pop()}.".strip()
        head, rows = head[:-1], [cells[:-1] for cells in rows]
    return f"{told}\n\n{_table(head, rows)}" if told else _table(head, rows)


def _position(config: Mapping[str, Any], path: str) -> tuple[int, ...]:
    """Where a key stands in config.yaml, level by level; keys that are not there come last."""
    place: list[int] = []
    value: Any = config
    for name in path.split("."):
        value = value[0] if isinstance(value, list) and value else value
        names = list(value) if isinstance(value, Mapping) else []
        name = names[0] if name == "<name>" and names else name
        place.append(names.index(name) if name in names else len(names))
        value = value[name] if name in names else None
    return tuple(place)


# --- the schema -------------------------------------------------------------------------------------------------------


def keys(schema: Mapping[str, Any]) -> Iterator[Key]:
    """Every key of the schema, mappings before what they hold."""
    for name, part in schema["properties"].items():
        yield from _keys(schema, name, part)


def _keys(schema: Mapping[str, Any], path: str, part: Mapping[str, Any]) -> Iterator[Key]:
    whole = resolved(schema, part)
    yield Key(path, in_words(schema, whole), whole)
    below = _object(schema, whole)
    for name, inner in below.get("properties", {}).items():
        # Values that stand elsewhere already, such as a student's own recipe, are not listed again.
        if not str(inner.get("$ref", "")).startswith("#/properties/"):
            yield from _keys(schema, f"{path}.{name}", inner)
    extra = below.get("additionalProperties")
    if isinstance(extra, Mapping):
        held = resolved(schema, extra)
        if "properties" in held:
            yield Key(f"{path}.<name>", in_words(schema, held), held)
            for name, inner in held["properties"].items():
                yield from _keys(schema, f"{path}.<name>.{name}", inner)


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
        if found := _object(schema, choice):
            return found
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
    told = [(low, "at least"), (over, "more than"), (high, "at most"), (under, "less than")]
    return ", ".join(f"{words} {value}" for value, words in told if value is not None)


# --- config.yaml ------------------------------------------------------------------------------------------------------


def read_comments(text: str) -> Comments:
    """The comments of a YAML file in block style, by the key they belong to.

    A comment beside a key is its own and goes on in comment lines below that begin as far right; lines of comment above
    a key belong to it. Rules ('# ---') are left out.
    """
    of: dict[str, str] = {}
    above: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    waiting: list[str] = []
    last, column = "", -1
    for line in text.splitlines():
        if comment := re.match(r"(\s*)# ?(.*)", line):
            if last and comment.start(2) > 8 and abs(len(comment[1]) - column) < 3:
                of[last] += f" {comment[2]}"
            elif comment[2].startswith("---"):
                waiting = []
            else:
                waiting.append(comment[2])
            continue
        found = re.match(r"(\s*)([A-Za-z0-9_-]+):(?:\s|$)", line)
        if not found:
            waiting, last = [], ""
            continue
        stack = [entry for entry in stack if entry[0] < len(found[1])] + [(len(found[1]), found[2])]
        path = ".".join(name for _, name in stack)
        if waiting:
            above[path] = " ".join(waiting)
        waiting, last = [], ""
        # What stands in quotes is no comment.
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", lambda quoted: "_" * len(quoted[0]), line)
        if beside := re.search(r"(?:^|\s)#\s(.*)$", plain[found.end() :]):
            last, column = path, found.end() + beside.start() + (beside[0][0] != "#")
            of[last] = line[found.end() + beside.start(1) :]
    return Comments(of, above)


def row(key: Key, config: Mapping[str, Any], comments: Comments) -> list[str]:
    """The cells of a key: path, type, default, meaning, what reruns."""
    place, value = look_up(config, key.path)
    written = comments.of.get(place, "") or ("" if "." not in key.path else comments.above.get(place, ""))
    meaning = written or key.schema.get("description", "")
    held = isinstance(value, Mapping) and value
    default = "" if held or place == "" else f"`{_value(value)}`"
    return [f"`{key.path}`", key.type, default, _sentence(meaning), reruns(key.path)]


def look_up(config: Mapping[str, Any], path: str) -> tuple[str, Any]:
    """The path in config.yaml ('<name>' is its first entry, a list its first item) and the value; '' where absent."""
    place: list[str] = []
    value: Any = config
    for name in path.split("."):
        value = value[0] if isinstance(value, list) and value else value
        if not isinstance(value, Mapping) or not value:
            return "", None
        name = next(iter(value)) if name == "<name>" else name
        if name not in value:
            return "", None
        place.append(name)
        value = value[name]
    return ".".join(place), value


def reruns(path: str) -> str:
    """What a change of a key makes anew; empty where that is not stated."""
    parts = path.split(".")
    ends = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((RERUNS[name] for name in ends if name in RERUNS), "")


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _sentence(text: str) -> str:
    """A comment as a sentence of Markdown; choices ('mse | cosine') and values keep their case."""
    text = text.strip().replace("<", "\\<")
    if re.match(r"[a-z-]+[ ,;:]", text) and " | " not in text and not re.match(r"(null|true|false)\b", text):
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".:" else f"{text}."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
