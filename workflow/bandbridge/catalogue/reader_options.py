"""The options of each reader, checked: what a data set's file or the config may say under `options`.

Their types are in `option_models` as well, which speaks first; here is what one option says about another.
`filled_splits` of each names the splits that have samples by them, or is None where the files decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from typing import Any, TypeVar

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.catalogue.datasets import RESAMPLINGS, Dataset

T = TypeVar("T")

SPLIT_LETTERS = {"t": "train", "v": "val", "e": "test"}
UNUSED_LETTER = "."
MOST_SCL = 11  # of the scene classification of Level-2A products: snow or ice
DRAWS = ("by_id", "by_class")
# What becomes of bands and modalities of a sample that lie on another grid than the first.
OTHER_GRIDS = ("refuse", "resample")
SCENE_RESAMPLINGS = (*RESAMPLINGS, "cubic")
# The options of scenes that decide about labels, by their kind.
LABEL_OPTIONS = {"single": ("dominant_share",), "multi": ("labelled_share", "label_share")}
# Lists of v1's samples that the official splits hold none of; the last have no label among the 19 classes.
LEFT_OUT = {
    "snow": "patches_with_seasonal_snow.csv",
    "cloud": "patches_with_cloud_and_shadow.csv",
    "no_19": "patches_with_no_19_class_targets.csv",
}


@dataclass(frozen=True)
class SceneOptions:
    """How a scene becomes samples; lengths are in pixels of the finest band, shares are 0..1 of a sample's area."""

    polygons: str  # pattern of the polygon file
    class_field: str  # the polygons' column that holds the class
    # Pattern of the band files, with {band} where the band's name stands, of one file of all bands, or of a Sentinel-2
    # product's .SAFE folder; None for the one product that there is.
    rasters: str | None = None
    layer: str | None = None  # of the polygon file, where several layers have polygons
    crs: str | None = None  # reference system of rasters that state none
    polygons_crs: str | None = None  # of polygons that state none, or a wrong one
    scl: tuple[int, ...] = ()  # classes of a product's scene classification (SCL) whose pixels are left out
    class_map: Mapping[str, str | None] = field(default_factory=dict)  # value -> class, or null to leave it out
    size: int = 64
    stride: int | Mapping[str, int] = 64  # pixels from one sample to the next; or split -> pixels
    dominant_share: float = 0.6  # one class per sample: it must cover this share
    labelled_share: float = 0.3  # several: a sample needs this share of labelled area
    label_share: float = 0.05  # several: a class counts from this share
    resampling: str = "bilinear"  # of the coarser bands
    block: int = 256
    blocks: tuple[str, ...] = ("tv", "et")  # rows of split letters, repeated over the scene
    acquired: str | None = None  # date, ISO 8601
    min_valid_share: float = 0.9  # a place counts where this share of its pixels holds data in all bands
    other_grids: str = "refuse"  # or resample: bands that lie elsewhere than the finest are brought to its grid
    archive: str | None = None  # an archive or folder in place of the data set's own

    def __post_init__(self) -> None:
        right = all(isinstance(value, int) and 0 <= value <= MOST_SCL for value in self.scl)
        _check(right, f"scl is {list(self.scl)}, expected numbers of classes from 0 to {MOST_SCL}")
        for name in ("size", "block"):
            _check_whole(name, getattr(self, name), least=1)
        self._check_stride()
        for name in ("dominant_share", "labelled_share", "label_share", "min_valid_share"):
            _check_share(name, getattr(self, name))
        _check_choice("other_grids", self.other_grids, OTHER_GRIDS)
        # Up to one half, two classes could cover that share.
        above_half = f"dominant_share is {self.dominant_share}, expected more than 0.5, up to 1"
        _check(self.dominant_share > 0.5, above_half)
        _check_choice("resampling", self.resampling, SCENE_RESAMPLINGS)
        self._check_blocks()
        if self.acquired:
            _check_date("acquired", self.acquired)

    @property
    def filled_splits(self) -> set[str] | None:
        """Those with a square of blocks, in the pattern that repeats, that is large enough for a sample."""
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

    def _check_stride(self) -> None:
        splits = list(SPLIT_LETTERS.values())
        expected = f"stride is {self.stride}, expected a whole number, or one for each of {', '.join(splits)}"
        _check(set(self.strides) == set(splits), expected)
        for split, stride in self.strides.items():
            _check_whole(f"stride of {split}" if isinstance(self.stride, Mapping) else "stride", stride, least=1)

    def _check_blocks(self) -> None:
        letters = {*SPLIT_LETTERS, UNUSED_LETTER}
        widths = {len(row) for row in self.blocks}
        right = len(widths) == 1 and 0 not in widths and set("".join(self.blocks)) <= letters
        expected = "rows of equal length made of t, v, e (train, val, test) and '.'"
        _check(right, f"blocks is {list(self.blocks)}, expected {expected}")


@dataclass(frozen=True)
class DigitsOptions:
    """How the digits are divided: shares of each class for val and test, the rest is train."""

    val: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        _check_shares({"val": self.val, "test": self.test})
        _check_whole("seed", self.seed, least=0)

    @property
    def filled_splits(self) -> set[str] | None:
        return _split_by({"val": self.val, "test": self.test})


@dataclass(frozen=True)
class FolderOptions:
    """How a tree with a folder per class is read and divided: by lists of names, patterns of paths or shares."""

    images: str | None = None  # pattern of the image files; None for all that end like pictures or rasters
    class_from: int = 1  # which part of the path is the class, counted from the file: 1 is its folder, 2 the one above
    classes: Mapping[str, str | None] = field(default_factory=dict)  # folder -> class, or null to leave it out
    lists: Mapping[str, str] = field(default_factory=dict)  # split -> file of names; extensions need not agree
    patterns: Mapping[str, str] = field(default_factory=dict)  # split -> pattern of the images' paths
    shares: Mapping[str, float] = field(default_factory=dict)  # val, test -> share; the rest is train
    draw: str = "by_id"  # how shares are drawn: by a hash of the id, or by_class, so that each class is divided alike
    spatial_block: float | None = None  # metres: the hash of the square that an image lies in decides
    seed: int = 0
    picture_size: int | None = None  # RGB pictures: shorter side to this many pixels, then the middle square
    min_valid_share: float = 0.5  # a sample counts where this share of its pixels holds data in all bands
    devkit: str | None = None  # ILSVRC 2012's development kit: the classes of its validation pictures
    archive: str | None = None  # an archive or folder in place of the data set's own

    def __post_init__(self) -> None:
        ways = [name for name in ("lists", "patterns", "shares") if getattr(self, name)]
        _check(len(ways) == 1, f"expected one of lists, patterns and shares, found {' and '.join(ways) or 'none'}")
        _check_division(self.shares)
        _check_draw(self.draw, self.spatial_block, self.shares)
        _check_whole("seed", self.seed, least=0)
        _check_whole("class_from", self.class_from, least=1)
        if self.picture_size is not None:
            _check_whole("picture_size", self.picture_size, least=1)
        _check_share("min_valid_share", self.min_valid_share)
        for name in ("lists", "patterns"):
            _check_splits(name, getattr(self, name))

    @property
    def filled_splits(self) -> set[str] | None:
        return set(self.lists or self.patterns) or _split_by(self.shares)


@dataclass(frozen=True)
class TableOptions:
    """What the columns of a table of samples are, and where the images lie that it names."""

    table: str  # CSV, TSV or Parquet; its path, or its name beside the images
    path: str | Mapping[str, str] = "path"  # column of the images' paths; or modality -> column
    label: str | None = None  # column with one class
    labels: str | None = None  # column with several classes
    separator: str = "|"  # between the classes of one cell
    label_columns: tuple[str, ...] | Mapping[str, str] = ()  # a column of 0 and 1 for each class; or column -> class
    classes: Mapping[str, str | None] = field(default_factory=dict)  # value -> class, or null to leave it out
    id: str | None = None  # column; the path without its extension where there is none
    split: str | None = None  # column
    split_names: Mapping[str, str | None] = field(default_factory=dict)  # value -> split, or null to leave it out
    shares: Mapping[str, float] = field(default_factory=dict)  # val, test -> share; where there is no column of splits
    draw: str = "by_id"  # as in FolderOptions
    spatial_block: float | None = None
    seed: int = 0
    lat: str | None = None  # columns, where the files do not say
    lon: str | None = None
    date: str | None = None
    band_files: str | None = None  # one file a band: its path, with {path} and {band}
    resampling: str = "bilinear"  # of coarser band files
    other_grids: str = "refuse"  # or resample: band files and modalities that lie elsewhere than the first
    picture_size: int | None = None  # RGB pictures: shorter side to this many pixels, then the middle square
    min_valid_share: float = 0.5  # a sample counts where this share of its pixels holds data in all bands
    archive: str | None = None  # an archive or folder of the images in place of the data set's own

    def __post_init__(self) -> None:
        ways = [name for name in ("label", "labels", "label_columns") if getattr(self, name)]
        found = " and ".join(ways) or "none"
        _check(len(ways) == 1, f"expected one of label, labels and label_columns, found {found}")
        _check(bool(self.split) != bool(self.shares), "expected either split (a column) or shares (val and test)")
        _check(bool(self.lat) == bool(self.lon), "expected both lat and lon, or neither")
        _check_division(self.shares)
        _check_draw(self.draw, self.spatial_block, self.shares)
        _check_whole("seed", self.seed, least=0)
        if self.picture_size is not None:
            _check_whole("picture_size", self.picture_size, least=1)
        if self.band_files is not None:
            right = all(place in self.band_files for place in ("{path}", "{band}"))
            _check(right, f"band_files is '{self.band_files}', expected a pattern with {{path}} and {{band}}")
        _check_choice("resampling", self.resampling, RESAMPLINGS)
        _check_choice("other_grids", self.other_grids, OTHER_GRIDS)
        _check_share("min_valid_share", self.min_valid_share)
        for value, split in self.split_names.items():
            _check(split in (None, *SPLIT_LETTERS.values()), f"split_names says that {value} is '{split}', no split")
        _check(len(self.separator) > 0, "separator is empty; write what stands between two classes")

    @property
    def filled_splits(self) -> set[str] | None:
        return _split_by(self.shares) if self.shares else None


@dataclass(frozen=True)
class Sen12msOptions:
    """How the samples are divided, and from which share of a sample on a class is a label of it."""

    lists: Mapping[str, str] = field(default_factory=lambda: {"train": "train_list.txt", "test": "test_list.txt"})
    val_share: float = 0.1  # of each season's training scenes
    seed: int = 0
    label_share: float = 0.1  # read where a sample may have several labels

    def __post_init__(self) -> None:
        if set(self.lists) != {"train", "test"}:
            raise ValueError(f"lists has {', '.join(self.lists)}, expected train and test")
        for name in ("val_share", "label_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise ValueError(f"{name} is {value}, expected a share from 0 to less than 1")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")

    @property
    def filled_splits(self) -> set[str] | None:
        return {"train", "test", *(["val"] if self.val_share else [])}


@dataclass(frozen=True)
class BigEarthNetOptions:
    """Where the splits come from, `lists` (v1) or `metadata` (v2), and how coarser bands come to the 10 m grid."""

    lists: str | None = None  # a wheel, an archive or a folder that holds v1's lists
    metadata: str | None = None  # v2's table of samples
    leave_out: tuple[str, ...] = tuple(LEFT_OUT)  # of v1: snow, cloud, no_19; the others are added to train
    resampling: str = "nearest"

    def __post_init__(self) -> None:
        if bool(self.lists) == bool(self.metadata):
            raise ValueError("expected either lists (BigEarthNet v1) or metadata (v2)")
        for name, value, allowed in (
            *(("leave_out", kind, tuple(LEFT_OUT)) for kind in self.leave_out),
            ("resampling", self.resampling, RESAMPLINGS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is '{value}', allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}")

    @property
    def filled_splits(self) -> set[str] | None:
        return None


OPTIONS: Mapping[str, type[Any]] = {
    "bigearthnet": BigEarthNetOptions,
    "digits": DigitsOptions,
    "folder": FolderOptions,
    "scene": SceneOptions,
    "sen12ms": Sen12msOptions,
    "table": TableOptions,
}
ONE_MODALITY = ("digits", "folder", "scene")  # readers that read no more than one


def options_of(dataset: Dataset) -> Any:
    """A data set's options as the dataclass of its reader.

    Raises:
        UserError: an option is unknown, missing or wrong, or does not go with the data set's modalities or labels.
    """
    if dataset.reader in ONE_MODALITY and len(dataset.modalities) > 1:
        names = ", ".join(modality.name for modality in dataset.modalities)
        raise UserError(
            f"{dataset.name}: the {dataset.reader} reader reads one modality, not {names}; use the table reader"
        )
    if dataset.reader == "scene":
        for kind, label_options in LABEL_OPTIONS.items():
            wrong = [name for name in label_options if dataset.options.get(name) is not None]
            if wrong and kind != dataset.label_kind:
                raise UserError(
                    f"options of {dataset.name}: {wrong[0]} belongs to labels of kind {kind}, and labels.kind is "
                    f"{dataset.label_kind}; use {' and '.join(LABEL_OPTIONS[dataset.label_kind])}"
                )
    return parse_options(OPTIONS[dataset.reader], dataset)


def min_valid_share(dataset: Dataset) -> float:
    """The share of a sample's pixels that must hold data in all bands, for readers that look at that; 0 for others."""
    stated = dataset.options.get("min_valid_share")
    return float(getattr(OPTIONS[dataset.reader], "min_valid_share", 0.0) if stated is None else stated)


def parse_options(kind: type[T], dataset: Dataset) -> T:
    """The data set's options as a reader's dataclass; a `UserError` names one that is unknown, missing or wrong."""
    where = f"options of {dataset.name}"
    allowed = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    required = [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]  # type: ignore[arg-type]
    for name in dataset.options:
        if name not in allowed:
            guess = did_you_mean(name, allowed)
            raise UserError(f"{where}: '{name}' is not an option of the {dataset.reader} reader.{guess}")
    missing = [name for name in required if not dataset.options.get(name)]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} is missing; the {dataset.reader} reader needs it")
    try:
        # null stands for the default, so that the config can take back what the data set's file says.
        return kind(**{name: _frozen(value) for name, value in dataset.options.items() if value is not None})
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error


def _frozen(value: Any) -> Any:
    # YAML reads an unquoted 2017-02-16 as a date.
    return tuple(value) if isinstance(value, list) else value.isoformat() if isinstance(value, date) else value


def _check(right: bool, message: str) -> None:
    if not right:
        raise ValueError(message)


def _check_whole(name: str, value: object, least: int) -> None:
    right = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _check(right, f"{name} is {value}, expected a whole number from {least}")


def _check_share(name: str, value: object) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    _check(right, f"{name} is {value}, expected a share from 0 to 1")


def _check_date(name: str, value: str) -> None:
    try:
        date.fromisoformat(value)
    except ValueError:
        _check(False, f"{name} is '{value}', expected a date like 2017-02-16")


def _check_splits(name: str, by_split: Mapping[str, object]) -> None:
    splits = list(SPLIT_LETTERS.values())
    wrong = [split for split in by_split if split not in splits]
    _check(not wrong, f"{name} has {', '.join(wrong)}, expected {', '.join(splits)}")


def _split_by(shares: Mapping[str, float]) -> set[str]:
    """The splits that shares leave samples in; train has the rest."""
    rest = 1 - sum(shares.values())
    return {name for name, share in {"train": rest, **shares}.items() if share > 1e-9}


def _check_shares(shares: Mapping[str, float]) -> None:
    for name, value in shares.items():
        _check_share(name, value)
    total = sum(shares.values())
    _check(total < 1, f"{' + '.join(shares)} is {total:g}, expected less than 1: train is the rest")


def _check_division(shares: Mapping[str, float]) -> None:
    """Shares of val and test; together they may be everything, then there is no train."""
    if shares:
        _check(set(shares) == {"val", "test"}, f"shares has {', '.join(shares)}, expected val and test")
        for name, value in shares.items():
            _check_share(name, value)
        total = sum(shares.values())
        _check(total <= 1 + 1e-9, f"{' + '.join(shares)} is {total:g}, expected at most 1: train is the rest")


def _check_draw(draw: str, spatial_block: float | None, shares: Mapping[str, float]) -> None:
    _check_choice("draw", draw, DRAWS)
    if spatial_block is not None:
        _check(bool(shares), "spatial_block belongs to shares; without them nothing is drawn")
        _check(draw == "by_id", "spatial_block draws whole squares, which draw: by_class would take apart; keep one")


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    _check(value in allowed, f"{name} is '{value}', allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}")
