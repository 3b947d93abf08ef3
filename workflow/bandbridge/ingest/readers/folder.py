"""Images in a folder per class, inside an archive or a directory, divided by lists of names, patterns or shares."""

import posixpath
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.option_models import FolderOptions
from bandbridge.catalogue.reader_options import options_of
from bandbridge.ingest.archives import is_archive, locate, member_names, members
from bandbridge.ingest.divide import divide
from bandbridge.ingest.junk import is_junk
from bandbridge.ingest.names import composed, ending, folded, has_image_ending, matches, with_slashes
from bandbridge.ingest.other_formats import OtherFormats
from bandbridge.ingest.rasters import RasterError
from bandbridge.ingest.readers import Planned, Rejected, Sample, images_path
from bandbridge.ingest.readers.ilsvrc_devkit import picture_number, validation_classes
from bandbridge.ingest.readers.images import most_bytes, read_image
from bandbridge.ingest.side_files import side_files_of
from bandbridge.ingest.text_files import read_lines

HEADER = ".hdr"


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Every image of the lists, or every existing image; only names are read.

    An image's id is its file name without the extension; where file names are not unique, its folder and its name
    (`Forest/1`), and where these are not either, its path. Hidden files and the traces of other programs are no images.
    With `shares`, the hash of an image's folder and name decides its split (`divide`).

    Raises:
        UserError: no image matches, or a list of names is missing.
    """
    options = _options(dataset)
    path = images_path(dataset, archives)
    folder_of = _folders(path, archives, options)
    names = _names(path, options, folder_of)
    if not names:
        raise UserError(f"{dataset.name}: the option classes leaves out every folder of {path}")
    id_of = _naming(names, folder_of)
    ids = {name: id_of(name) for name in names}
    inner = {ids[name]: _inner_path(name, options) for name in names}
    if options.lists:
        planned = _listed(options, archives, set(ids.values()), id_of)
    elif options.patterns:
        planned = _by_pattern(options.patterns, ids)
    else:
        # Sorted, so that the order of an archive's members does not decide who is in which split.
        names.sort()
        classes, keys = [folder_of(name) for name in names], [f"{folder_of(name)}/{_stem(name)}" for name in names]
        places = _places(dataset, path, names) if options.spatial_block else ()
        splits = divide(keys, classes, options.shares, options.seed, options.draw, places, options.spatial_block)
        planned = [Planned(ids[name], split, name) for name, split in zip(names, splits, strict=True)]
    paths = (_inner_path(item.path, options) if item.path else inner.get(item.id, "") for item in planned)
    return [Planned(item.id, item.split, path) for item, path in zip(planned, paths, strict=True)]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """Images with their folder, or the class that the option `classes` makes of it, as the label.

    Bands stay in the file's order, which the data set's `bands` name.
    """
    options = _options(dataset)
    modality = dataset.modality(stream)
    path = images_path(dataset, archives)
    folder_of = _folders(path, archives, options)
    # Only ids with more than the file's name depend on the other files.
    longer = any("/" in name for name in ids)
    id_of = _naming(_names(path, options, folder_of), folder_of) if longer else _stem
    ids = set(ids)
    formats = OtherFormats(path)

    def is_wanted(member: str) -> bool:
        # Without an ending it is ENVI's, or nothing that was planned.
        may_be = options.images is not None or has_image_ending(member) or not ending(member)
        return may_be and id_of(member) in ids and _is_image(member, options, folder_of)

    beside = side_files_of(path, is_wanted)
    for member, content in members(path, accepts=is_wanted):
        folder = folder_of(member)
        label = options.classes.get(folder, folder)
        try:
            content = formats.readable(member, content, len(modality.bands), most_bytes(modality, options.picture_size))
            image = read_image(content, modality, options.picture_size, member, beside.get(member))
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


def _options(dataset: Dataset) -> FolderOptions:
    options = options_of(dataset)
    assert isinstance(options, FolderOptions)
    # As folders' names are compared.
    return options.model_copy(update={"classes": {composed(name): label for name, label in options.classes.items()}})


def _names(path: Path, options: FolderOptions, folder_of: Callable[[str], str]) -> list[str]:
    """The images of an archive; logs the number of other files, and of images with an ending spelled otherwise."""
    present = member_names(path)
    everything = [name for name in present if not is_junk(name)]
    pattern = options.images
    if pattern is None:
        headers = {posixpath.splitext(name)[0] for name in present if name.lower().endswith(HEADER)}
        matching = [name for name in everything if has_image_ending(name) or (not ending(name) and name in headers)]
    else:
        matching = [name for name in everything if matches(name, pattern)]
        spelled = [name for name in matching if not fnmatchcase(name, pattern)]
        if spelled:
            _log(f"{len(spelled)} of {len(matching)} images spell '{pattern}' otherwise: {_endings(spelled)}; read")
    if not matching:
        expected = f"the option images ('{pattern}')" if pattern else "any ending of images and rasters"
        actual = f"the {len(everything)} files end in {_endings(everything)}" if everything else "it holds no files"
        if any(is_archive(name) for name in everything):
            actual += "; archives inside are not opened: unpack them"
        raise UserError(f"no file of {path} matches {expected}; {actual}")
    if others := set(everything) - set(matching):
        _log(f"{len(others)} of {len(everything)} files are no images by their names and left out: {_endings(others)}")
    return [name for name in matching if _is_image(name, options, folder_of)]


def _endings(names: Collection[str]) -> str:
    """'.TIF (3), no ending (1), such as a/b.TIF'."""
    counts = Counter(posixpath.splitext(name)[1] or "no ending" for name in names)
    return ", ".join(f"{suffix} ({count})" for suffix, count in counts.most_common(5)) + f", such as {min(names)}"


def _is_image(member: str, options: FolderOptions, folder_of: Callable[[str], str]) -> bool:
    """Whether a file is of the data set: traces of programs and folders that are mapped to null are not."""
    is_named = options.images is None or matches(member, options.images)
    return is_named and not is_junk(member) and options.classes.get(folder_of(member), "") is not None


def _inner_path(member: str, options: FolderOptions) -> str:
    """The path from the folder that is the class: what is the same in an archive and where it was unpacked."""
    return "/".join(member.split("/")[-1 - options.class_from :])


def _places(dataset: Dataset, path: Path, names: Sequence[str]) -> list[tuple[float, float] | None]:
    """Where each image states that it lies; this reads all of them."""
    places: dict[str, tuple[float, float] | None] = {}
    images, formats, modality = set(names), OtherFormats(path), dataset.primary
    beside = side_files_of(path, images.__contains__)
    for member, content in members(path, accepts=images.__contains__):
        try:
            content = formats.readable(member, content, len(modality.bands))
            places[member] = read_image(content, modality, beside=beside.get(member)).centre
        except RasterError:  # it will be set aside when it is converted
            places[member] = None
    return [places[name] for name in names]


def _stem(member: str) -> str:
    # Names of members are normal; a path object for each of a million takes long.
    return posixpath.splitext(posixpath.basename(member))[0]


def _naming(names: Sequence[str], folder_of: Callable[[str], str]) -> Callable[[str], str]:
    """The shortest way to make ids of members' names under which no two of them are the same."""

    def with_folder(member: str) -> str:
        return f"{folder_of(member)}/{_stem(member)}"

    def with_path(member: str) -> str:
        return posixpath.splitext(member)[0]

    for id_of in (_stem, with_folder):
        if len({id_of(name) for name in names}) == len(names):
            return id_of
    return with_path


def _folders(path: Path, archives: Path, options: FolderOptions) -> Callable[[str], str]:
    """A function of a member's name: its folder, which is its class; of ILSVRC's flat images, the devkit's class."""
    kit: list[str] = []

    def folder_of(member: str) -> str:
        parts = member.split("/")
        if len(parts) > options.class_from:
            return composed(parts[-1 - options.class_from])
        number = picture_number(_stem(member)) if options.devkit else None
        if number is None:
            return ""
        if not kit:
            kit.extend(validation_classes(_devkit_path(str(options.devkit), path, archives)))
        return kit[number - 1] if number <= len(kit) else ""

    return folder_of


def _devkit_path(file: str, images: Path, archives: Path) -> Path:
    places = [archives, images.parent] + ([images] if images.is_dir() else [])
    for place in places:
        if (path := locate(place, file)) is not None:
            return path
    looked = ", ".join(dict.fromkeys(str(place) for place in places))
    raise UserError(
        f"{file} not found (looked in {looked}); it has the classes of the images of {images}: copy it there, or set "
        "the option archive to a folder with a folder per class"
    )


def _listed(options: FolderOptions, archives: Path, present: set[str], id_of: Callable[[str], str]) -> list[Planned]:
    planned = []
    # Where two names fold to the same key, a third spelling means neither of them.
    keys = Counter(map(folded, present))
    alike = {folded(name): name for name in present if keys[folded(name)] == 1}
    for split, file in options.lists.items():
        path = archives / file
        if not path.is_file():
            raise UserError(f"{path} not found, the list of the {split} split; run the download again")
        # Without the extension: EuroSAT's lists say .jpg for the .tif files as well.
        for name in map(with_slashes, read_lines(path)):
            sample_id = name if name in present else id_of(name)
            planned.append(
                Planned(sample_id if sample_id in present else alike.get(folded(sample_id), sample_id), split)
            )
    listed = {sample.id for sample in planned}
    _log_left_out(len(present - listed), len(present), "in no list")
    return planned


def _by_pattern(patterns: Mapping[str, str], ids: Mapping[str, str]) -> list[Planned]:
    planned = [
        Planned(ids[name], split, name)
        for name in ids
        for split, pattern in patterns.items()
        if fnmatchcase(name, pattern)
    ]
    empty = [f"{split} ('{pattern}')" for split, pattern in patterns.items() if split not in {p.split for p in planned}]
    if empty:
        example = next(iter(ids))
        raise UserError(
            f"the option patterns finds no image for {', '.join(empty)}; an image of the archive: {example}"
        )
    _log_left_out(len(ids) - len({sample.id for sample in planned}), len(ids), "matched by no pattern")
    return planned


def _log_left_out(count: int, total: int, why: str) -> None:
    if count:
        _log(f"{count} of {total} images are {why} and left out")


def _log(message: str) -> None:
    print(message, file=sys.stderr)
