"""Models of each reader's options, with their defaults and checks across options.

In a data set's file and in the configuration each may be null, which stands for the default: `OPTION_MODELS`.
"""

from collections.abc import Iterator, Mapping
from datetime import date as calendar_date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

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
# Name in the files -> class, or null to leave it out.
ClassNames = dict[str, Text | None]
Shares = dict[str, Share]
ListFiles = dict[str, UserPath]
Draw = Literal["by_id", "by_class"]
OtherGrids = Literal["refuse", "resample"]
Stride = Annotated[Annotated[Count, NUMBER] | Annotated[dict[str, Count], MAPPING], BY_TYPE]
Column = Annotated[Annotated[Text, TEXT] | Annotated[dict[str, Text], MAPPING], BY_TYPE]
LabelColumns = Annotated[Annotated[list[Text], UNIQUE, LIST] | Annotated[dict[str, Text], MAPPING], BY_TYPE]
SPLIT_LETTERS = {"t": "train", "v": "val", "e": "test"}
UNUSED_LETTER = "."
# Lists of BigEarthNet v1's samples that are not in the official splits; the last have no label among the 19 classes.
LEFT_OUT = {
    "snow": "patches_with_seasonal_snow.csv",
    "cloud": "patches_with_cloud_and_shadow.csv",
    "no_19": "patches_with_no_19_class_targets.csv",
}
# Shares that several readers draw.
SHARES = "of val and test; the rest is train"
SEED = "of what is drawn"
DRAW = (
    "how shares are drawn: by a hash of the id, so that new samples move no other (by_id, the default), or each class "
    "by the same shares (by_class)"
)
SPATIAL_BLOCK = "shares are drawn from squares of this side, so that neighbours are in one split"
PICTURE_SIZE = "RGB images: the shorter side to this, then the middle square"
VALID_SHARE = "a sample counts where this share of its pixels holds data in all bands"
OTHER_GRIDS = "bands and modalities on another grid than the first: refused, or resampled to it"
ARCHIVE = "an archive or folder in place of the data set's own"
CLASSES = "name in the files -> class, or null to leave it out"


class Options(Section):
    """Options of one reader, with their defaults."""

    entry: ClassVar[str] = "an option of this data set's reader"

    def faults(self) -> Iterator[str]:
        """A sentence for each contradiction between them."""
        yield from ()

    @property
    def filled_splits(self) -> set[str] | None:
        """The splits that have samples under these options; None where the files decide."""
        return None


class BigEarthNetOptions(Options):
    """Options of the reader of BigEarthNet."""

    lists: UserPath | None = key("v1: a wheel, an archive or a folder that holds its lists", default=None)
    metadata: UserPath | None = key("v2: its table of samples", default=None)
    leave_out: Annotated[list[Literal["snow", "cloud", "no_19"]], UNIQUE] = key(
        "of v1: samples that are not in the official splits", default=[*LEFT_OUT]
    )
    resampling: Resampling = key("of the coarser bands", default="nearest")

    def faults(self) -> Iterator[str]:
        if bool(self.lists) == bool(self.metadata):
            yield "expected either lists (BigEarthNet v1) or metadata (v2)"


class DigitsOptions(Options):
    """Options of the reader of scikit-learn's digits."""

    val: Share = key("of each class", default=0.15)
    test: Share = key("of each class", default=0.15)
    seed: Seed = key(SEED, default=0)

    def faults(self) -> Iterator[str]:
        if self.val + self.test >= 1:
            yield f"val + test is {self.val + self.test:g}, expected less than 1: train is the rest"

    @property
    def filled_splits(self) -> set[str] | None:
        return _filled_by({"val": self.val, "test": self.test})


class FolderOptions(Options):
    """Options of the reader of a tree with a folder per class."""

    images: Text | None = key(
        "pattern of the image files; all with the ending of an image or raster where absent", default=None
    )
    class_from: Annotated[int, Field(ge=1, le=100)] = key(
        "which part of the path is the class, counted from the file: 1 is its folder, 2 the one above", default=1
    )
    classes: ClassNames = key(CLASSES, default={})
    lists: ListFiles = key("split -> file of names", default={})
    patterns: dict[str, Text] = key("split -> pattern of the images' paths", default={})
    shares: Shares = key(SHARES, default={})
    draw: Draw = key(DRAW, default="by_id")
    spatial_block: AboveZero | None = key(SPATIAL_BLOCK, unit="metres", default=None)
    seed: Seed = key(SEED, default=0)
    picture_size: Count | None = key(PICTURE_SIZE, unit="pixels", default=None)
    devkit: UserPath | None = key("ILSVRC 2012's development kit: the classes of its validation images", default=None)
    min_valid_share: Share = key(VALID_SHARE, default=0.5)
    archive: UserPath | None = key(ARCHIVE, default=None)

    def faults(self) -> Iterator[str]:
        ways = [name for name in ("lists", "patterns", "shares") if getattr(self, name)]
        if len(ways) != 1:
            yield f"expected one of lists, patterns and shares, found {' and '.join(ways) or 'none'}"
        yield from _share_faults(self)
        splits = list(SPLIT_LETTERS.values())
        for name, by_split in (("lists", self.lists), ("patterns", self.patterns)):
            if wrong := [split for split in by_split if split not in splits]:
                yield f"{name} has {', '.join(wrong)}, expected {', '.join(splits)}"

    @property
    def filled_splits(self) -> set[str] | None:
        return set(self.lists or self.patterns) or _filled_by(self.shares)


class SceneOptions(Options):
    """Options of the reader of scenes with polygons."""

    rasters: Text | None = key(
        "pattern of the band files, with {band} in place of the band's name, of one file of all bands, or of a "
        "Sentinel-2 product's .SAFE folder; the only product where absent",
        default=None,
    )
    polygons: Text = key("pattern of the polygon file")
    layer: Text | None = key("of the polygon file, where several have polygons", default=None)
    crs: Text | None = key("reference system of rasters that state none", default=None)
    polygons_crs: Text | None = key("of polygons that state none, or a wrong one", default=None)
    scl: Annotated[list[Annotated[int, Field(ge=0, le=11)]], UNIQUE] = key(
        "classes of a product's scene classification (SCL) whose pixels are left out", default=[]
    )
    class_field: Text = key("the polygons' column that holds the class")
    class_map: ClassNames = key(CLASSES, default={})
    size: Count = key("side of a sample", unit="pixels", default=64)
    stride: Stride = key("from one sample to the next; or split -> such a number", unit="pixels", default=64)
    dominant_share: Share = key("one class per sample: it must cover this share", default=0.6)
    labelled_share: Share = key("several: a sample needs this share of labelled area", default=0.3)
    label_share: Share = key("several: a class counts from this share", default=0.05)
    resampling: Literal["nearest", "bilinear", "cubic"] = key("of the coarser bands", default="bilinear")
    block: Count = key("side of the squares that splits are made of", unit="pixels", default=256)
    blocks: Annotated[list[Text], Field(min_length=1)] = key(
        "rows of t (train), v (val), e (test) and '.', repeated over the scene", default=["tv", "et"]
    )
    acquired: Text | None = key("date, ISO 8601", default=None)
    min_valid_share: Share = key(VALID_SHARE, default=0.9)
    other_grids: OtherGrids = key(OTHER_GRIDS, default="refuse")
    archive: UserPath | None = key(ARCHIVE, default=None)

    def faults(self) -> Iterator[str]:
        splits = list(SPLIT_LETTERS.values())
        if set(self.strides) != set(splits):
            yield f"stride is {self.stride}, expected a whole number, or one for each of {', '.join(splits)}"
        if self.dominant_share <= 0.5:  # two classes could cover that share
            yield f"dominant_share is {self.dominant_share}, expected more than 0.5, up to 1"
        one_width = len({len(row) for row in self.blocks}) == 1
        if not one_width or not set("".join(self.blocks)) <= {*SPLIT_LETTERS, UNUSED_LETTER}:
            expected = "rows of equal length made of t, v, e (train, val, test) and '.'"
            yield f"blocks is {self.blocks}, expected {expected}"
        try:
            calendar_date.fromisoformat(self.acquired or "2017-02-16")
        except ValueError:
            yield f"acquired is '{self.acquired}', expected a date like 2017-02-16"

    @property
    def filled_splits(self) -> set[str] | None:
        """The splits with a square of blocks, in the repeated pattern, that is large enough for a sample."""
        rows, cols = len(self.blocks), len(self.blocks[0])
        across = -(-self.size // self.block)

        def square(row: int, col: int) -> set[str]:
            down, right = range(min(across, rows)), range(min(across, cols))
            return {self.blocks[(row + i) % rows][(col + j) % cols] for i in down for j in right}

        squares = [square(row, col) for row in range(rows) for col in range(cols)]
        return {SPLIT_LETTERS[min(letters)] for letters in squares if len(letters) == 1 and letters <= {*SPLIT_LETTERS}}

    @property
    def strides(self) -> Mapping[str, int]:
        """Split -> pixels from one of its samples to the next."""
        return self.stride if isinstance(self.stride, Mapping) else dict.fromkeys(SPLIT_LETTERS.values(), self.stride)


class Sen12msOptions(Options):
    """Options of the reader of SEN12MS."""

    lists: ListFiles = key("split -> file of names", default={"train": "train_list.txt", "test": "test_list.txt"})
    val_share: Share = key("of each season's training scenes", default=0.1)
    seed: Seed = key(SEED, default=0)
    label_share: Share = key("several labels: a class counts from this share", default=0.1)

    def faults(self) -> Iterator[str]:
        if set(self.lists) != {"train", "test"}:
            yield f"lists has {', '.join(self.lists)}, expected train and test"
        for name, value in (("val_share", self.val_share), ("label_share", self.label_share)):
            if value == 1:
                yield f"{name} is 1, expected a share from 0 to less than 1"

    @property
    def filled_splits(self) -> set[str] | None:
        return {"train", "test", *(["val"] if self.val_share else [])}


class TableOptions(Options):
    """Options of the reader of a table of samples."""

    table: UserPath = key("CSV, Parquet, GeoPackage ...; its path, or its name beside the images")
    path: Column = key("column of the images' paths; or modality -> column", default="path")
    label: Text | None = key("column with one class", default=None)
    labels: Text | None = key("column with several classes", default=None)
    separator: Text = key("between the classes of one cell", default="|")
    label_columns: LabelColumns = key("a column of 0 and 1 for each class; or column -> class", default=[])
    classes: ClassNames = key(CLASSES, default={})
    id: Text | None = key("column; the path without its extension where absent", default=None)
    split: Text | None = key("column", default=None)
    split_names: dict[str, Literal["train", "val", "test"] | None] = key(
        "value of that column -> split, or null to leave it out", default={}
    )
    shares: Shares = key(f"{SHARES}; where there is no column of splits", default={})
    draw: Draw = key(DRAW, default="by_id")
    spatial_block: AboveZero | None = key(SPATIAL_BLOCK, unit="metres", default=None)
    seed: Seed = key(SEED, default=0)
    lat: Text | None = key("column, where the files do not state it", default=None)
    lon: Text | None = key("column, where the files do not state it", default=None)
    date: Text | None = key("column, where the files do not state it", default=None)
    band_files: Text | None = key("one file per band: its path, with {path} and {band}", default=None)
    resampling: Resampling = key("of coarser band files", default="bilinear")
    picture_size: Count | None = key(PICTURE_SIZE, unit="pixels", default=None)
    min_valid_share: Share = key(VALID_SHARE, default=0.5)
    other_grids: OtherGrids = key(OTHER_GRIDS, default="refuse")
    archive: UserPath | None = key(ARCHIVE, default=None)

    def faults(self) -> Iterator[str]:
        ways = [name for name in ("label", "labels", "label_columns") if getattr(self, name)]
        if len(ways) != 1:
            yield f"expected one of label, labels and label_columns, found {' and '.join(ways) or 'none'}"
        if bool(self.split) == bool(self.shares):
            yield "expected either split (a column) or shares (val and test)"
        if bool(self.lat) != bool(self.lon):
            yield "expected both lat and lon, or neither"
        yield from _share_faults(self)
        if self.band_files is not None and not all(place in self.band_files for place in ("{path}", "{band}")):
            yield f"band_files is '{self.band_files}', expected a pattern with {{path}} and {{band}}"

    @property
    def filled_splits(self) -> set[str] | None:
        return _filled_by(self.shares) if self.shares else None


def _filled_by(shares: Mapping[str, float]) -> set[str]:
    """The splits that have samples under these shares; train has the rest."""
    rest = 1 - sum(shares.values())
    return {name for name, share in {"train": rest, **shares}.items() if share > 1e-9}


def _share_faults(options: FolderOptions | TableOptions) -> Iterator[str]:
    """The faults of shares of val and test and of how they are drawn; together they may be 1, which leaves no train."""
    shares, total = options.shares, sum(options.shares.values())
    if shares and set(shares) != {"val", "test"}:
        yield f"shares has {', '.join(shares)}, expected val and test"
    if total > 1 + 1e-9:
        yield f"{' + '.join(shares)} is {total:g}, expected at most 1: train is the rest"
    if options.spatial_block is not None and not shares:
        yield "spatial_block belongs to shares; without them nothing is drawn"
    if options.spatial_block is not None and options.draw != "by_id":
        yield "spatial_block draws whole squares, which draw: by_class would divide; keep one"


OPTIONS: Mapping[str, type[Options]] = {
    "bigearthnet": BigEarthNetOptions,
    "digits": DigitsOptions,
    "folder": FolderOptions,
    "scene": SceneOptions,
    "sen12ms": Sen12msOptions,
    "table": TableOptions,
}


# --- as files state them ----------------------------------------------------------------------------------------------


class ReaderOptions(Section):
    """Options that every data set may have, whatever its reader."""

    entry: ClassVar[str] = Options.entry

    modalities: Annotated[list[str], Field(min_length=1), UNIQUE] | None = key(
        "the modalities to convert; all where absent", default=None
    )
    treatment: Literal["physical", "reference"] | None = key(
        "whether bands are treated physically or as the paper's code does", default=None
    )
    convert_jobs: Annotated[int, Field(ge=1, le=10_000)] | None = key(
        "jobs that share the conversion of a modality", default=None
    )


def _as_stated(options: type[Options]) -> type[ReaderOptions]:
    """The model of options in a file or in the configuration: each of them may be absent or null."""
    keys: dict[str, Any] = {
        name: (
            field.rebuild_annotation() | None,
            Field(None, description=field.description, json_schema_extra=field.json_schema_extra),
        )
        for name, field in options.model_fields.items()
    }
    name = options.__name__.replace("Options", "Model")
    return create_model(name, __base__=ReaderOptions, __doc__=options.__doc__, **keys)


OPTION_MODELS: Mapping[str, type[ReaderOptions]] = {reader: _as_stated(model) for reader, model in OPTIONS.items()}
