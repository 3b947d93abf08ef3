"""What each reader's options may say, in a data set's file and in the configuration; null stands for the default.

What one option says about another, and the defaults, are in `reader_options`.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bandbridge.base.model_types import (
    BY_TYPE,
    LIST,
    MAPPING,
    NUMBER,
    TEXT,
    UNIQUE,
    AboveZero,
    Count,
    Section,
    Share,
    Text,
    UserPath,
    key,
)

Seed = Annotated[int, Field(ge=0, le=4_294_967_295)]
Resampling = Literal["nearest", "bilinear"]
# What the files say -> class, or null to leave it out.
ClassNames = dict[str, Text | None]
Shares = dict[str, Share]
ListFiles = dict[str, UserPath]
Draw = Literal["by_id", "by_class"]
OtherGrids = Literal["refuse", "resample"]
Stride = Annotated[Annotated[Count, NUMBER] | Annotated[dict[str, Count], MAPPING], BY_TYPE]
Column = Annotated[Annotated[Text, TEXT] | Annotated[dict[str, Text], MAPPING], BY_TYPE]
LabelColumns = Annotated[Annotated[list[Text], UNIQUE, LIST] | Annotated[dict[str, Text], MAPPING], BY_TYPE]
# Shares that several readers draw.
SHARES = "of val and test; the rest is train"
SEED = "of what is drawn"
DRAW = (
    "how shares are drawn: by a hash of the id, so that new samples move no other (by_id, the default), or each class "
    "by the same shares (by_class)"
)
SPATIAL_BLOCK = "shares are drawn of squares of this side, so that neighbours are in one split"
PICTURE_SIZE = "RGB pictures: the shorter side to this, then the middle square"
VALID_SHARE = "a sample counts where this share of its pixels holds data in all bands"
OTHER_GRIDS = "bands and modalities that lie on another grid than the first: refused, or resampled to it"
ARCHIVE = "an archive or folder in place of the data set's own"
CLASSES = "what the files say -> class, or null to leave it out"


class ReaderOptions(Section):
    """Options that every data set may have, whatever its reader."""

    entry: ClassVar[str] = "an option of this data set's reader"

    modalities: Annotated[list[str], Field(min_length=1), UNIQUE] | None = key(
        "the modalities to convert; all where absent", default=None
    )
    treatment: Literal["physical", "reference"] | None = key(
        "whether bands are treated as physics has it or as the paper's code does", default=None
    )
    convert_jobs: Annotated[int, Field(ge=1, le=10_000)] | None = key(
        "jobs that share the conversion of a modality", default=None
    )


class BigEarthNetModel(ReaderOptions):
    """Options of the reader of BigEarthNet."""

    lists: UserPath | None = key("v1: a wheel, an archive or a folder that holds its lists", default=None)
    metadata: UserPath | None = key("v2: its table of samples", default=None)
    leave_out: Annotated[list[Literal["snow", "cloud", "no_19"]], UNIQUE] | None = key(
        "of v1: samples that the official splits have none of", default=None
    )
    resampling: Resampling | None = key("of the coarser bands", default=None)


class DigitsModel(ReaderOptions):
    """Options of the reader of scikit-learn's digits."""

    val: Share | None = key("of each class", default=None)
    test: Share | None = key("of each class", default=None)
    seed: Seed | None = key(SEED, default=None)


class FolderModel(ReaderOptions):
    """Options of the reader of a tree with a folder per class."""

    images: Text | None = key(
        "pattern of the image files; all that end like pictures or rasters where absent", default=None
    )
    class_from: Annotated[int, Field(ge=1, le=100)] | None = key(
        "which part of the path is the class, counted from the file: 1 is its folder, 2 the one above", default=None
    )
    classes: ClassNames | None = key(CLASSES, default=None)
    lists: ListFiles | None = key("split -> file of names", default=None)
    patterns: dict[str, Text] | None = key("split -> pattern of the images' paths", default=None)
    shares: Shares | None = key(SHARES, default=None)
    draw: Draw | None = key(DRAW, default=None)
    spatial_block: AboveZero | None = key(SPATIAL_BLOCK, unit="metres", default=None)
    seed: Seed | None = key(SEED, default=None)
    picture_size: Count | None = key(PICTURE_SIZE, unit="pixels", default=None)
    devkit: UserPath | None = key("ILSVRC 2012's development kit: the classes of its validation pictures", default=None)
    min_valid_share: Share | None = key(VALID_SHARE, default=None)
    archive: UserPath | None = key(ARCHIVE, default=None)


class SceneModel(ReaderOptions):
    """Options of the reader of scenes with polygons."""

    rasters: Text | None = key(
        "pattern of the band files, with {band} where the band's name stands, of one file of all bands, or of a "
        "Sentinel-2 product's .SAFE folder; the one product that there is where absent",
        default=None,
    )
    polygons: Text | None = key("pattern of the polygon file", default=None)
    layer: Text | None = key("of the polygon file, where several have polygons", default=None)
    crs: Text | None = key("reference system of rasters that state none", default=None)
    polygons_crs: Text | None = key("of polygons that state none, or a wrong one", default=None)
    scl: Annotated[list[Annotated[int, Field(ge=0, le=11)]], UNIQUE] | None = key(
        "classes of a product's scene classification (SCL) whose pixels are left out", default=None
    )
    class_field: Text | None = key("the polygons' column that holds the class", default=None)
    class_map: ClassNames | None = key(CLASSES, default=None)
    size: Count | None = key("side of a sample", unit="pixels", default=None)
    stride: Stride | None = key("from one sample to the next; or split -> such a number", unit="pixels", default=None)
    dominant_share: Share | None = key("one class per sample: it must cover this share", default=None)
    labelled_share: Share | None = key("several: a sample needs this share of labelled area", default=None)
    label_share: Share | None = key("several: a class counts from this share", default=None)
    resampling: Literal["nearest", "bilinear", "cubic"] | None = key("of the coarser bands", default=None)
    block: Count | None = key("side of the squares that splits are made of", unit="pixels", default=None)
    blocks: Annotated[list[Text], Field(min_length=1)] | None = key(
        "rows of t (train), v (val), e (test) and '.', repeated over the scene", default=None
    )
    acquired: Text | None = key("date, ISO 8601", default=None)
    min_valid_share: Share | None = key(VALID_SHARE, default=None)
    other_grids: OtherGrids | None = key(OTHER_GRIDS, default=None)
    archive: UserPath | None = key(ARCHIVE, default=None)


class Sen12msModel(ReaderOptions):
    """Options of the reader of SEN12MS."""

    lists: ListFiles | None = key("split -> file of names", default=None)
    val_share: Share | None = key("of each season's training scenes", default=None)
    seed: Seed | None = key(SEED, default=None)
    label_share: Share | None = key("several labels: a class counts from this share", default=None)


class TableModel(ReaderOptions):
    """Options of the reader of a table of samples."""

    table: UserPath | None = key("CSV, TSV or Parquet; its path, or its name beside the images", default=None)
    path: Column | None = key("column of the images' paths; or modality -> column", default=None)
    label: Text | None = key("column with one class", default=None)
    labels: Text | None = key("column with several classes", default=None)
    separator: Text | None = key("between the classes of one cell", default=None)
    label_columns: LabelColumns | None = key("a column of 0 and 1 for each class; or column -> class", default=None)
    classes: ClassNames | None = key(CLASSES, default=None)
    id: Text | None = key("column; the path without its extension where absent", default=None)
    split: Text | None = key("column", default=None)
    split_names: dict[str, Literal["train", "val", "test"] | None] | None = key(
        "value of that column -> split, or null to leave it out", default=None
    )
    shares: Shares | None = key(f"{SHARES}; where there is no column of splits", default=None)
    draw: Draw | None = key(DRAW, default=None)
    spatial_block: AboveZero | None = key(SPATIAL_BLOCK, unit="metres", default=None)
    seed: Seed | None = key(SEED, default=None)
    lat: Text | None = key("column, where the files do not say", default=None)
    lon: Text | None = key("column, where the files do not say", default=None)
    date: Text | None = key("column, where the files do not say", default=None)
    band_files: Text | None = key("one file per band: its path, with {path} and {band}", default=None)
    resampling: Resampling | None = key("of coarser band files", default=None)
    picture_size: Count | None = key(PICTURE_SIZE, unit="pixels", default=None)
    min_valid_share: Share | None = key(VALID_SHARE, default=None)
    other_grids: OtherGrids | None = key(OTHER_GRIDS, default=None)
    archive: UserPath | None = key(ARCHIVE, default=None)


OPTION_MODELS: Mapping[str, type[ReaderOptions]] = {
    "bigearthnet": BigEarthNetModel,
    "digits": DigitsModel,
    "folder": FolderModel,
    "scene": SceneModel,
    "sen12ms": Sen12msModel,
    "table": TableModel,
}
