"""Images in a folder per class, inside an archive or a directory, divided by lists of names, patterns or shares."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.reader_options import FolderOptions, options_of
from bandbridge.ingest.archives import locate, member_names
from bandbridge.ingest.mask_files import is_mask, members_with_masks
from bandbridge.ingest.rasters import RasterError
from bandbridge.ingest.readers import Planned, Rejected, Sample, images_path, stratified_splits
from bandbridge.ingest.readers.ilsvrc_devkit import picture_number, validation_classes
from bandbridge.ingest.readers.images import read_image


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Every image of the lists, or every image that is there, by the names alone.

    An image's id is its file name without the extension; where file names are not unique, its folder and its name
    (`Forest/1`), and where these are not either, its path. Hidden files are no images.

    Raises:
        UserError: no image matches, or a list of names is missing.
    """
    options = _options(dataset)
    path = images_path(dataset, archives)
    folder_of = _folders(path, archives, options)
    names = _names(path, options, folder_of)
    if not names:
        raise UserError(f"{dataset.name}: no file of {path} matches the option images ('{options.images}')")
    id_of = _naming(names, folder_of)
    ids = {name: id_of(name) for name in names}
    if options.lists:
        return _listed(options, archives, set(ids.values()), id_of)
    if options.patterns:
        return _by_pattern(options.patterns, ids)
    # Sorted, so that the order of an archive's members does not decide who is in which split.
    names.sort()
    splits = divide([folder_of(name) for name in names], options.shares, options.seed)
    return [Planned(ids[name], split) for name, split in zip(names, splits, strict=True)]


def read(dataset: Dataset, archives: Path, stream: str, wanted: Collection[str]) -> Iterator[Sample | Rejected]:
    """Images with their folder, or the class that the option `classes` makes of it, as the label.

    Bands stay in the file's order, which the data set's `bands` name.
    """
    options = _options(dataset)
    modality = dataset.modality(stream)
    path = images_path(dataset, archives)
    folder_of = _folders(path, archives, options)
    # Only ids with more than the file's name depend on what other files there are.
    longer = any("/" in name for name in wanted)
    id_of = _naming(_names(path, options, folder_of), folder_of) if longer else _stem
    wanted = set(wanted)

    def is_wanted(member: str) -> bool:
        return id_of(member) in wanted and _is_image(member, options, folder_of)

    for member, content, mask in members_with_masks(path, [options.images], wanted=is_wanted):
        folder = folder_of(member)
        label = options.classes.get(folder, folder)
        try:
            image = read_image(content, modality, options.picture_size, member, mask)
            lat, lon = image.centre or (None, None)
        except RasterError as error:
            yield Rejected(id_of(member), str(error))
        else:
            labels = (label,) if label else ()
            yield Sample(
                id_of(member),
                image.pixels,
                labels,
                lat,
                lon,
                valid=image.valid,
                radiometry=image.radiometry,
                grid=image.grid,
            )


def divide(classes: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    """A split for each item by shares of each class; 'train' is what val and test leave, and may be nothing."""
    splits = stratified_splits(classes, shares["val"], shares["test"], seed)
    if sum(shares.values()) < 1 - 1e-9:
        return splits
    # Rounding may leave an item of a class.
    return ["test" if split == "train" else split for split in splits]


def _options(dataset: Dataset) -> FolderOptions:
    options = options_of(dataset)
    assert isinstance(options, FolderOptions)
    return options


def _names(path: Path, options: FolderOptions, folder_of: Callable[[str], str]) -> list[str]:
    return [name for name in member_names(path) if _is_image(name, options, folder_of)]


def _is_image(member: str, options: FolderOptions, folder_of: Callable[[str], str]) -> bool:
    """Whether a file is of the data set: what operating systems add and folders that are mapped to null are not."""
    parts = PurePosixPath(member).parts
    return (
        fnmatchcase(member, options.images)
        and not is_mask(member)
        and not any(part.startswith(".") or part == "__MACOSX" for part in parts)
        and options.classes.get(folder_of(member), "") is not None
    )


def _stem(member: str) -> str:
    return PurePosixPath(member).stem


def _naming(names: Sequence[str], folder_of: Callable[[str], str]) -> Callable[[str], str]:
    """The shortest way to make ids of members' names under which no two of them are the same."""

    def with_folder(member: str) -> str:
        return f"{folder_of(member)}/{_stem(member)}"

    def with_path(member: str) -> str:
        return str(PurePosixPath(member).with_suffix(""))

    for id_of in (_stem, with_folder):
        if len({id_of(name) for name in names}) == len(names):
            return id_of
    return with_path


def _folders(path: Path, archives: Path, options: FolderOptions) -> Callable[[str], str]:
    """A function of a member's name: the part that is its class; of ILSVRC's flat pictures, what the devkit says."""
    kit: list[str] = []

    def folder_of(member: str) -> str:
        parts = PurePosixPath(member).parts
        if len(parts) > options.class_from:
            return parts[-1 - options.class_from]
        number = picture_number(PurePosixPath(member).stem) if options.devkit else None
        if number is None:
            return ""
        if not kit:
            kit.extend(validation_classes(_devkit_path(str(options.devkit), path, archives)))
        return kit[number - 1] if number <= len(kit) else ""

    return folder_of


def _devkit_path(file: str, images: Path, archives: Path) -> Path:
    places = [archives, images.parent] + ([images] if images.is_dir() else [])
    for place in places:
        if (found := locate(place, file)) is not None:
            return found
    looked = ", ".join(dict.fromkeys(str(place) for place in places))
    raise UserError(
        f"{file} is not there (looked in {looked}); it says what the pictures of {images} show: put it there, or give "
        "the option archive a folder per class"
    )


def _listed(options: FolderOptions, archives: Path, present: set[str], id_of: Callable[[str], str]) -> list[Planned]:
    planned = []
    for split, file in options.lists.items():
        path = archives / file
        if not path.is_file():
            raise UserError(f"{path} is not there, the list of the {split} split; run the download again")
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        # Without the extension: EuroSAT's lists say .jpg for the .tif files as well.
        planned += [Planned(name if name in present else id_of(name), split) for name in names]
    listed = {sample.id for sample in planned}
    _tell_left_out(len(present - listed), len(present), "in no list")
    return planned


def _by_pattern(patterns: Mapping[str, str], ids: Mapping[str, str]) -> list[Planned]:
    planned = [
        Planned(ids[name], split) for name in ids for split, pattern in patterns.items() if fnmatchcase(name, pattern)
    ]
    empty = [f"{split} ('{pattern}')" for split, pattern in patterns.items() if split not in {p.split for p in planned}]
    if empty:
        example = next(iter(ids))
        raise UserError(f"the option patterns finds no image for {', '.join(empty)}; one that is there: {example}")
    _tell_left_out(len(ids) - len({sample.id for sample in planned}), len(ids), "matched by no pattern")
    return planned


def _tell_left_out(count: int, total: int, why: str) -> None:
    if count:
        print(f"{count} of {total} images are {why} and left out", file=sys.stderr)
