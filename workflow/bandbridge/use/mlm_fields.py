"""The fields of STAC's Machine Learning Model extension (version 1.4) that an exported model has, as models to check.

Written after the extension's specification, since its JSON schema is on a server: an export needs no network. Where
there is one, `pystac.Item.validate` compares an item with the schema itself.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bandbridge.base.errors import UserError

EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
MODEL_ROLE = "mlm:model"
# A letter, then at least two letters, digits, spaces or _ . - of which the last is a letter or a digit.
NAME = r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"
VERSION = r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$"

Text = Annotated[str, Field(min_length=1)]
Tasks = list[Literal["scene-classification", "classification", "similarity-search"]]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Structure(_Fields):
    """Shape, order and type of an input's or output's array; -1 for a side of any length."""

    shape: list[Annotated[int, Field(ge=-1)]] = Field(min_length=1)
    dim_order: list[Annotated[str, Field(pattern="^[a-z_-]+$")]] = Field(min_length=1)
    data_type: Literal["uint8", "uint16", "int16", "float16", "float32", "float64"]

    @model_validator(mode="after")
    def one_name_per_dimension(self) -> "Structure":
        if len(self.shape) != len(self.dim_order) or len(set(self.dim_order)) < len(self.dim_order):
            raise ValueError(f"shape has {len(self.shape)} sides, dim_order the names {', '.join(self.dim_order)}")
        return self


class Expression(_Fields):
    """A processing step: a format such as 'python', and an expression in it."""

    format: Text
    expression: Any


class Input(_Fields):
    """What the model takes."""

    name: Text
    bands: list[Text]
    input: Structure
    description: Text | None = None
    value_scaling: None = None  # of each data set: in the folder's own files
    resize_type: None = None  # likewise: antialiased, which the extension has no word for
    pre_processing_function: Expression | None = None


class Output(_Fields):
    """What the model returns."""

    name: Text
    tasks: Tasks
    result: Structure
    description: Text | None = None


class Band(BaseModel):
    """A band of the inputs, as STAC 1.1 describes it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: Text


class Properties(BaseModel):
    """The extension's properties of an item; those of other extensions are not looked at."""

    model_config = ConfigDict(strict=True, extra="ignore")

    bands: list[Band]
    name: Annotated[str, Field(alias="mlm:name", pattern=NAME)]
    architecture: Annotated[Text, Field(alias="mlm:architecture")]
    tasks: Annotated[Tasks, Field(alias="mlm:tasks", min_length=1)]
    framework: Annotated[Text, Field(alias="mlm:framework")]
    framework_version: Annotated[str, Field(alias="mlm:framework_version", pattern=VERSION)]
    total_parameters: Annotated[int, Field(alias="mlm:total_parameters", ge=0)]
    pretrained: Annotated[bool, Field(alias="mlm:pretrained")]
    input: Annotated[list[Input], Field(alias="mlm:input", min_length=1)]
    output: Annotated[list[Output], Field(alias="mlm:output", min_length=1)]

    @model_validator(mode="after")
    def bands_are_described(self) -> "Properties":
        described = {band.name for band in self.bands}
        missing = [name for model_input in self.input for name in model_input.bands if name not in described]
        if missing:
            raise ValueError(f"bands lacks {', '.join(missing)}, which mlm:input names")
        return self


class Asset(BaseModel):
    """A file of the item: the model's own states what kind of artifact it is, and no other does."""

    model_config = ConfigDict(strict=True, extra="ignore")

    href: Text
    roles: list[Text] = Field(default_factory=list)
    artifact_type: Annotated[Text | None, Field(alias="mlm:artifact_type")] = None

    @model_validator(mode="after")
    def artifact_of_the_model(self) -> "Asset":
        if (MODEL_ROLE in self.roles) != (self.artifact_type is not None):
            raise ValueError(f"mlm:artifact_type and the role {MODEL_ROLE} belong together")
        return self


class Item(BaseModel):
    """An item that describes a model."""

    model_config = ConfigDict(strict=True, extra="ignore")

    stac_extensions: list[Text]
    properties: Properties
    assets: dict[str, Asset]

    @model_validator(mode="after")
    def describes_a_model(self) -> "Item":
        if EXTENSION not in self.stac_extensions:
            raise ValueError(f"stac_extensions lacks {EXTENSION}")
        if not any(MODEL_ROLE in asset.roles for asset in self.assets.values()):
            raise ValueError(f"no asset has the role {MODEL_ROLE}")
        return self


def must_be_a_model(item: Mapping[str, Any], where: str) -> None:
    """Raise `UserError` unless an item's fields are as the extension demands; the message names every fault."""
    try:
        Item.model_validate(dict(item))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UserError(f"{where} breaks STAC's extension for models: {'; '.join(faults)}") from error


def fitting_name(name: str) -> str:
    """A name as the extension allows it, as close to a model's as can be: 'clip@0.5' becomes 'clip-0.5'."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-" for letter in name)
    kept = kept.strip("_.-")
    return kept if len(kept) > 2 and kept[0].isalpha() else f"model-{kept or 'unnamed'}"
