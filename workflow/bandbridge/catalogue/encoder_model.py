"""What a file of workflow/encoders may say."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bandbridge.base.model_types import (
    BY_TYPE,
    LIST,
    NUMBER,
    TEXT,
    UNIQUE,
    AboveZero,
    Address,
    FileName,
    Name,
    Number,
    Pixels,
    Section,
    key,
)

Numbers = Annotated[list[Number], Field(min_length=1)]
NumbersAboveZero = Annotated[list[AboveZero], Field(min_length=1)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PerBand = Annotated[Annotated[AboveZero, NUMBER] | Annotated[NumbersAboveZero, LIST], BY_TYPE]
Bands = Annotated[
    Annotated[Literal["rgb"], TEXT] | Annotated[list[str], Field(min_length=1), UNIQUE, LIST],
    BY_TYPE,
]


class Weights(Section):
    """Either a tag, or one file with its addresses."""

    tag: str = key("weights that open_clip, timm or torchgeo fetches by name", is_optional=True)
    file: FileName = key("the checkpoint's name", is_optional=True)
    urls: Annotated[list[Address], Field(min_length=1)] = key("where the file is, the first that answers", default=[])
    sha256: Checksum | None = key(
        "null where the publisher states none; then nothing is downloaded unless the user agrees (`unpinned`)",
        default=None,
    )
    unpinned: bool = key(
        "agree to weights without a checksum; that of the first download is recorded, and others are refused",
        default=False,
    )
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] = key("the publisher's md5", is_optional=True)
    size: Annotated[int, Field(ge=1)] = key("of the file", unit="bytes", is_optional=True)
    manual: str = key("the steps to take where no program may fetch the file", is_optional=True)
    member: str = key("the checkpoint in a .zip, by its last part: 'epoch_20.pt'", is_optional=True)
    prefix: str = key("under which names in the checkpoint the open_clip model is", default="")


class NormalisationFacts(Section):
    """From stored values to the network's."""

    kind: Literal["picture", "scale", "window"] = key(
        "picture: (value / 255 - mean) / std; an open_clip model brings its own mean and std. scale: (value / divisor, "
        "clipped, - mean) / std. window: mean - d std becomes 0, mean + d std becomes 1, clipped"
    )
    divisor: PerBand = key("one number, or one per band", default=1.0)
    clip: Annotated[list[Number], Field(min_length=2, max_length=2)] = key(
        "lowest and highest value after the division", is_optional=True
    )
    mean: Numbers = key("one per band, after the division", is_optional=True)
    std: NumbersAboveZero = key("one per band, after the division", is_optional=True)
    deviations: AboveZero = key("half the width of a window", unit="standard deviations", default=2.0)
    levels: Annotated[int, Field(ge=1, le=1_000_000)] = key(
        "round down to this many steps between 0 and 1", is_optional=True
    )


class Input(Section):
    """What the network sees."""

    bands: Bands = key("'rgb' for pictures and composites; otherwise the bands in the order of the input")
    wavelengths: NumbersAboveZero = key("one per band", unit="micrometres", default=[])
    product: Literal["L1C", "L2A"] | None = key(
        "product level of Sentinel-2 that the weights have seen; null where it does not matter", default=None
    )
    size: Pixels = key("side of the input", unit="pixels")
    resize: Literal["shortest", "square"] = key(
        "the shorter side to the size, then the middle; or both sides", default="shortest"
    )
    resize_to: Pixels = key(
        "resize to this side first, then take the middle `size` pixels; `size` where absent",
        unit="pixels",
        is_optional=True,
    )
    interpolation: Literal["bicubic", "bilinear"] = key("between pixels", default="bicubic")
    normalisation: NormalisationFacts = key("from stored values to the network's")
    fill: Literal["zero", "error"] = key(
        "a band that the data lack: zero after normalisation, or an error", default="error"
    )


class EncoderFile(Section):
    """An encoder that is not our own."""

    name: Name = key("the file's own name")
    title: str = key("its name in tables")
    description: str = key("what it is and what it was trained on", default="")
    kind: Literal["open_clip", "satmae", "timm", "torchgeo"] = key("what builds the network")
    architecture: str = key("a name that open_clip, timm or torchgeo knows; vit-group-channels for satmae")
    options: dict[str, Any] = key("keyword arguments of the architecture", default={})
    quick_gelu: bool = key("the activation that an open_clip model's weights were trained with", is_optional=True)
    weights: Weights = key("either a tag, or one file with its addresses")
    input: Input = key("what the network sees")
    has_text: bool = key("it comes with a text encoder, so that zero-shot heads can be built")
    licence: str = key("of the weights, as their publisher states it")
    attribution: str = key("whom to name", default="")
    cite: list[str] = key("keys of the report's references", default=[])
