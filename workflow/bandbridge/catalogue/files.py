"""The YAML files of `workflow/`: each checked against its model, and what no type of one key can say."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.model_faults import model_faults
from bandbridge.base.model_forms import with_paths, with_texts
from bandbridge.base.model_types import Section
from bandbridge.base.yaml_files import Document
from bandbridge.catalogue.dataset_model import DatasetFile
from bandbridge.catalogue.encoder_model import EncoderFile
from bandbridge.catalogue.file_models import NomenclatureFile, PromptsFile, PublishedFile, TextTowerFile
from bandbridge.catalogue.option_models import OPTION_MODELS

# Folder of workflow/ -> what its files may say.
MODELS: Mapping[str, type[Section]] = {
    "datasets": DatasetFile,
    "encoders": EncoderFile,
    "nomenclatures": NomenclatureFile,
    "prompts": PromptsFile,
    "published": PublishedFile,
    "text_towers": TextTowerFile,
}


def checked_content(document: Document, folder: str, name: str) -> dict[str, Any]:
    """The content of `workflow/<folder>/<name>.yaml`, with text where the model asks for text, its paths expanded.

    Raises:
        UserError: a line for each fault.
    """
    where = f"workflow/{folder}/{name}.yaml"
    if not isinstance(document.content, dict):
        raise UserError(f"{where} holds no keys; the other files of its folder show what it should hold.")
    model = MODELS[folder]
    content: dict[str, Any] = with_texts(document.content, document.texts, model)
    if content.get("name") != name:
        raise UserError(f"{where}: name is {content.get('name')!r}, expected {name!r} (the file's own name)")
    faults = list(model_faults(content, model))
    if not faults:
        content, faults = with_paths(content, model)
    if not faults and folder == "datasets":
        content, faults = _with_options(content, document.texts)
    faults = faults or list(_CHECKS[folder](content) if folder in _CHECKS else ())
    if faults:
        raise UserError("\n".join(f"{where}: {fault}" for fault in faults))
    return content


def _with_options(content: dict[str, Any], texts: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same for the options of a data set's reader."""
    model = OPTION_MODELS[content["reader"]]
    options = with_texts(content.get("options", {}), texts.get("options", {}), model)
    faults = list(model_faults(options, model, under="options"))
    if not faults:
        options, faults = with_paths(options, model, under="options")
    return {**content, "options": options}, faults


def _nomenclature_faults(content: Mapping[str, Any]) -> Iterator[str]:
    """What no type of one key can say of a nomenclature."""
    classes = [entry["name"] if isinstance(entry, dict) else entry for entry in content["classes"]]
    for name in sorted({name for name in classes if classes.count(name) > 1}):
        yield f"classes lists '{name}' twice; list each class once."
    for other, united in content.get("maps", {}).items():
        for name in united:
            if name not in classes:
                yield f"maps.{other} leads to '{name}', which is none of its classes.{did_you_mean(name, classes)}"


def _dataset_faults(content: Mapping[str, Any]) -> Iterator[str]:
    """What no type of one key can say of a data set's file, and needs no other file."""
    for number, source in enumerate(content["sources"]):
        where = f"sources[{number}]"
        if source.get("parts"):
            continue
        if not ("urls" in source or "pip" in source or "manual" in source):
            yield f"{where} ({source['file']}) has no urls, no pip and no manual; say where the file comes from."
    for name, modality in content["modalities"].items():
        if modality["bands"] == "from-files":
            continue
        try:
            bands = expand_bands(modality["bands"])
        except UserError as error:
            yield f"modalities.{name}.bands: {error}."
            continue
        twice = sorted({band for band in bands if bands.count(band) > 1})
        if twice:
            yield f"modalities.{name}.bands lists {', '.join(twice)} twice; list each band once."
        yield from _pixel_faults(f"modalities.{name}", modality, bands)
        if name == "rgb" and len(bands) != 3:
            yield f"modalities.rgb.bands has {len(bands)} names; pictures have three channels: [red, green, blue]."


def _pixel_faults(where: str, modality: Mapping[str, Any], bands: Sequence[str]) -> Iterator[str]:
    """How the numbers of a modality are read, and pictures made of them."""
    for key in ("nodata", "scale", "offset"):
        value = modality.get(key)
        if isinstance(value, list) and len(value) != len(bands):
            yield f"{where}.{key} has {len(value)} numbers for {len(bands)} bands; give one for all, or one for each."
    for above, composite in ((where, modality), (f"{where}.reference", modality.get("reference", {}))):
        yield from _composite_faults(f"{above}.composite", composite.get("composite") or {})


def _composite_faults(where: str, composite: Mapping[str, Any]) -> Iterator[str]:
    if not composite:
        return
    ways = [key for key in ("divisor", "ranges", "percentiles") if key in composite]
    if len(ways) != 1:
        yield f"{where} has {' and '.join(ways) or 'none'} of divisor, ranges and percentiles; state one of them."
    pairs = [*composite.get("ranges", ()), *([composite["percentiles"]] if "percentiles" in composite else [])]
    for low, high in pairs:
        if low >= high:
            yield f"{where}: {low:g} is not less than {high:g}; state the value of black, then that of white."


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[str]]] = {
    "nomenclatures": _nomenclature_faults,
    "datasets": _dataset_faults,
}


def expand_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Band names with ranges written out: 'b001..b224' is b001, b002 ... b224."""
    names: list[str] = []
    for band in bands:
        first = re.fullmatch(r"(\D*)(\d+)\.\.(\D*)(\d+)", str(band))
        if first is None:
            names.append(str(band))
            continue
        prefix, low, again, high = first.groups()
        if prefix != again or len(high) > 5 or int(low) > int(high):
            raise UserError(f"band range '{band}' does not count up; write it like b001..b224")
        names += [f"{prefix}{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
    return tuple(names)
