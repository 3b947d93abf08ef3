"""Encoders that runs do not train: the YAML files of `workflow/encoders`, checked and typed, without torch."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.locations import WORKFLOW
from bandbridge.base.model_faults import model_faults
from bandbridge.base.wording import shown
from bandbridge.catalogue.datasets import Dataset, Source, read_yaml
from bandbridge.catalogue.encoder_model import EncoderFile, NormalisationFacts
from bandbridge.catalogue.sensors import SENSOR_BANDS

FOLDER = "encoders"
MARKER = "encoder.json"  # in the directory of a fetched encoder
# torch.hub's convention: a file's name ends in the beginning of its sha256.
NAMED_SHA256 = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder's facts, as its YAML file states them, and the user's checkpoint in place of its weights.

    Attributes:
        kind: 'open_clip', 'timm', 'torchgeo' or 'satmae'.
        architecture, options: of the network, and keyword arguments to build it with.
        quick_gelu: the activation of an open_clip model; None for other kinds.
        tag: weights that the library fetches by name.
        source: or the file to fetch; both are ignored if there is a `checkpoint`.
        member: the checkpoint inside a .zip.
        prefix: what the names in the checkpoint begin with.
        bands: in the order of the input; empty for an encoder of RGB images.
        wavelengths: in micrometres, for networks that need them.
        product: the level of Sentinel-2 that the weights have seen, None where it does not matter.
        resize_to: side to resize to before the middle `image_size` pixels are taken.
        fill: what a band that the data lack becomes: 'zero' after normalisation, or 'error'.
        unpinned: whether the user has agreed to weights without a known checksum.
        checkpoint: a local file in place of the published weights.
    """

    name: str
    title: str
    kind: str
    architecture: str
    options: Mapping[str, Any]
    quick_gelu: bool | None
    tag: str | None
    source: Source | None
    member: str | None
    prefix: str
    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    product: str | None
    image_size: int
    resize: str
    resize_to: int
    interpolation: str
    normalisation: NormalisationFacts
    fill: str
    has_text: bool
    licence: str
    attribution: str
    cite: tuple[str, ...]
    unpinned: bool = False
    checkpoint: str | None = None

    @property
    def is_rgb(self) -> bool:
        """Whether it sees RGB images, and so any store that has them or a composite."""
        return not self.bands

    @property
    def is_pinned(self) -> bool:
        """Whether the published weights can be verified: by a checksum, or by the beginning of one."""
        if self.checkpoint is not None:
            return True
        if self.source is None:
            # TorchGeo's files have such names, and open_clip verifies the sha256 of OpenAI's.
            return self.kind == "torchgeo" or (self.kind == "open_clip" and self.tag == "openai")
        return bool(self.source.sha256 or self.source.md5 or NAMED_SHA256.search(self.source.file))

    @property
    def channels(self) -> int:
        return len(self.bands) or 3


def encoder_names() -> list[str]:
    return sorted(path.stem for path in (WORKFLOW / FOLDER).glob("*.yaml"))


def load_encoder_facts(name: str, checkpoint: str | None = None) -> EncoderFacts:
    """An encoder by name; `checkpoint` is a local file in place of its published weights.

    Raises:
        UserError: there is no such encoder, or its file breaks the schema or contradicts itself; one line per fault.
    """
    return facts_of(read_yaml(FOLDER, name), checkpoint)


def encoder_content(name: str, unpinned: bool = False) -> dict[str, Any]:
    """The content of an encoder's file, for provenance and for Snakemake's params.

    `unpinned` adds the user's consent to weights without a checksum, see `must_be_pinned`.
    """
    content = read_yaml(FOLDER, name)
    return {**content, "weights": {**content["weights"], "unpinned": True}} if unpinned else content


def must_be_pinned(facts: EncoderFacts, archives: Path) -> None:
    """Require the user's consent before weights without a published checksum are downloaded.

    A file that is already in `archives` is the user's choice.

    Raises:
        UserError: there is no checksum and no consent; the message states what to write.
    """
    if facts.is_pinned or facts.unpinned or (facts.source and (archives / facts.source.file).exists()):
        return
    what = facts.source.file if facts.source else f"{facts.architecture}.{facts.tag}"
    raise UserError(
        f"nobody states a checksum of {what}, so a download cannot be compared with what its "
        f"authors published. State its sha256 in workflow/{FOLDER}/{facts.name}.yaml (weights.sha256); or agree to "
        f"whatever is served at the first download, and to nothing else later: {{name: {facts.name}, unpinned: true}} "
        "in evaluate.encoders, or weights.unpinned: true in the encoder's file."
    )


def facts_of(content: Mapping[str, Any], checkpoint: str | None = None) -> EncoderFacts:
    """The facts in the content of an encoder's file; raises as `load_encoder_facts` does."""
    faults = list(model_faults(content, EncoderFile)) or list(_faults(content))
    if faults:
        place = f"workflow/{FOLDER}/{content.get('name', '?')}.yaml"
        raise UserError("\n".join(f"{place}: {fault}" for fault in faults))
    file = EncoderFile.model_validate(content)
    weights, inputs = file.weights, file.input
    return EncoderFacts(
        name=file.name,
        title=file.title,
        kind=file.kind,
        architecture=file.architecture,
        options=file.options,
        quick_gelu=file.quick_gelu,
        tag=weights.tag,
        source=_source(content["name"], content["weights"]),
        member=weights.member,
        prefix=weights.prefix,
        bands=() if inputs.bands == "rgb" else tuple(inputs.bands),
        wavelengths=tuple(inputs.wavelengths),
        product=inputs.product,
        image_size=inputs.size,
        resize=inputs.resize,
        resize_to=inputs.resize_to or inputs.size,
        interpolation=inputs.interpolation,
        normalisation=inputs.normalisation,
        fill=inputs.fill,
        has_text=file.has_text,
        licence=file.licence,
        attribution=file.attribution,
        cite=tuple(file.cite),
        unpinned=weights.unpinned,
        checkpoint=checkpoint,
    )


def sees(facts: EncoderFacts, dataset: Dataset) -> bool:
    """Whether an encoder can encode a data set: it has the bands, or RGB images or a composite for an RGB encoder."""
    return not blindness(facts, dataset)


def blindness(facts: EncoderFacts, dataset: Dataset) -> str:
    """Why an encoder cannot encode a data set, in a sentence; empty where it can."""
    if facts.is_rgb:
        if dataset.primary.is_rgb or dataset.primary.composite is not None:
            return ""
        return f"it sees RGB images, and {dataset.name} states no composite of its bands."
    try:
        bands = {modality.name: {"bands": modality.bands} for modality in dataset.modalities}
        chosen_modality(facts, bands, dataset.name)
    except UserError as error:
        return str(error)
    return ""


def chosen_modality(facts: EncoderFacts, modalities: Mapping[str, Mapping[str, Any]], store: str | Path) -> str:
    """The modality of a store that the encoder sees: the first with all its bands, else the first with some of them.

    Args:
        facts: of the encoder.
        modalities: a store's `attrs["modalities"]`, in its order.
        store: its name, for messages.

    Raises:
        UserError: no modality has any of the bands, or none has all and `fill` is 'error'.
    """
    if facts.is_rgb:
        return next(iter(modalities))
    shared = {name: set(about["bands"]) & set(facts.bands) for name, about in modalities.items() if name != "rgb"}
    complete = [name for name, bands in shared.items() if len(bands) == len(facts.bands)]
    partial = [name for name, bands in shared.items() if bands]
    if complete:
        return complete[0]
    if not partial:
        available = "; ".join(f"{name}: {' '.join(about['bands'])}" for name, about in modalities.items())
        raise UserError(
            f"{facts.name} sees the bands {' '.join(facts.bands)}; {store} has {available}. Remove it from "
            "evaluate.encoders, or evaluate a data set with these bands; an encoder of RGB images (input.bands: rgb) "
            "works on both."
        )
    if facts.fill == "error":
        absent = [band for band in facts.bands if band not in shared[partial[0]]]
        raise UserError(
            f"{facts.name} sees {', '.join(absent)}, which {store} lacks ({partial[0]}: "
            f"{' '.join(modalities[partial[0]]['bands'])}). Its file states `fill: error`; with `fill: zero` "
            "missing bands become zeros after normalisation."
        )
    return partial[0]


def _source(name: str, weights: Mapping[str, Any]) -> Source | None:
    if "file" not in weights:
        return None
    facts = {key: weights[key] for key in ("file", "sha256", "md5", "size", "manual") if key in weights}
    try:
        return Source(**facts, urls=tuple(weights.get("urls", ())))
    except UserError as error:
        raise UserError(f"workflow/{FOLDER}/{name}.yaml, weights: {error}") from error


# --- checks across keys -----------------------------------------------------------------------------------------------


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    weights, inputs, kind = content["weights"], content["input"], content["kind"]
    if ("tag" in weights) == ("file" in weights):
        stated = "both" if "tag" in weights else "neither"
        yield f"weights has {stated} of tag and file; state one: a tag that {kind} knows, or a file with its urls."
    if "file" in weights and not ("urls" in weights or "manual" in weights):
        yield "weights.file has no urls; state its addresses, or in `manual` the steps to get it manually."
    if kind == "open_clip" and "quick_gelu" not in content:
        yield "quick_gelu is missing; state which activation the weights were trained with: true (QuickGELU) or false."
    if kind == "open_clip" and inputs["bands"] != "rgb" and "tag" in weights:
        yield "weights.tag is of a model of RGB images; for bands name the file whose patch embedding sees them."
    if kind == "open_clip" and not content["has_text"]:
        yield "has_text is false, but an open_clip model has a text side; for only an image encoder take another kind."
    if kind != "open_clip" and content["has_text"]:
        yield f"has_text is true, but only encoders of the kind open_clip have a text side here; kind is {kind}."
    if kind == "torchgeo" and content["architecture"].startswith("dofa_") and "wavelengths" not in inputs:
        yield "input.wavelengths is missing; DOFA makes its patch embedding from them, in micrometres, one per band."
    for key, place in (("options", content), ("quick_gelu", content), ("prefix", weights)):
        if key in place and (kind == "open_clip") == (key == "options"):
            yield f"{key} has no meaning for the kind {kind}; leave it out."
    if kind == "satmae" and inputs["bands"] != "rgb":
        yield from _group_faults(inputs["bands"], content.get("options", {}).get("groups", []))
    yield from _input_faults(inputs, kind)


def _input_faults(inputs: Mapping[str, Any], kind: str) -> Iterator[str]:
    rgb = inputs["bands"] == "rgb"
    count = 3 if rgb else len(inputs["bands"])
    normalisation = inputs["normalisation"]
    if rgb != (normalisation["kind"] == "picture"):
        expected = "picture" if rgb else "scale or window"
        yield f"input.normalisation.kind is '{normalisation['kind']}'; for bands {inputs['bands']} expected {expected}."
    if kind == "satmae" and rgb:
        yield "input.bands is 'rgb'; SatMAE's network has groups of bands, list them."
    yield from _normalisation_faults(normalisation, count, built_in=kind == "open_clip" and rgb)
    if "wavelengths" in inputs and len(inputs["wavelengths"]) != count:
        yield f"input.wavelengths has {len(inputs['wavelengths'])} values; expected one for each of {count} bands."
    for band in [] if rgb else inputs["bands"]:
        if inputs.get("fill") == "zero" and band not in SENSOR_BANDS:
            guess = did_you_mean(band, SENSOR_BANDS)
            yield f"input.bands names '{band}', which no described sensor has, so it cannot be filled.{guess}"
    if inputs.get("resize_to", inputs["size"]) < inputs["size"]:
        yield f"input.resize_to is {inputs['resize_to']}, less than input.size {inputs['size']}, which is cut from it."


def _normalisation_faults(normalisation: Mapping[str, Any], count: int, built_in: bool) -> Iterator[str]:
    """The faults of a normalisation for `count` bands; `built_in` if the model has its own mean and std."""
    if built_in and ("mean" in normalisation or "std" in normalisation):
        yield "input.normalisation has mean or std; an open_clip model of RGB images has its own, leave them out."
    if not built_in and normalisation["kind"] in ("picture", "window") and not {"mean", "std"} <= set(normalisation):
        yield f"input.normalisation lacks mean or std, which the kind '{normalisation['kind']}' needs."
    if ("mean" in normalisation) != ("std" in normalisation):
        yield "input.normalisation has only one of mean and std; state both."
    for key in ("mean", "std", "divisor"):
        value = normalisation.get(key)
        if isinstance(value, list) and len(value) != count:
            yield f"input.normalisation.{key} has {len(value)} values; expected one for each of {count} bands."
    low, high = normalisation.get("clip", (0, 1))
    if low >= high:
        yield f"input.normalisation.clip is [{low}, {high}]; expected the lower value first."


def _group_faults(bands: list[str], groups: Any) -> Iterator[str]:
    lists = groups if isinstance(groups, list) else [None]
    if not all(isinstance(group, list) and all(isinstance(band, str) for band in group) for group in lists):
        yield f"options.groups is {shown(groups)}; expected a list of lists of bands, which are text."
        return
    grouped = [band for group in groups for band in group]
    if sorted(grouped) != sorted(bands):
        yield f"options.groups has {' '.join(grouped) or 'none'}; expected each of input.bands once: {' '.join(bands)}."
