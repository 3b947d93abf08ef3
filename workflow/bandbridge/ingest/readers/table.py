"""A table with a row per sample: the paths of its images, their classes, its split."""

import posixpath
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.option_models import TableOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.ingest.archives import is_archive, member_names, read_member
from bandbridge.ingest.divide import divide
from bandbridge.ingest.names import plain
from bandbridge.ingest.other_formats import OtherFormats
from bandbridge.ingest.places import Grid, modality_difference, on_grid, on_ground
from bandbridge.ingest.rasters import Raster, RasterError, decode, opened
from bandbridge.ingest.readers import Planned, Rejected, Sample, source_path
from bandbridge.ingest.readers.cells import (
    date_of,
    degrees_of,
    inner_path,
    items_of,
    labels_of,
    split_of_cell,
    text_of,
)
from bandbridge.ingest.readers.frames import LATITUDE, LONGITUDE, read_columns, unpacked_table
from bandbridge.ingest.readers.images import most_bytes, read_image
from bandbridge.ingest.side_files import NONE_BESIDE, SideFiles, place_of, side_files_of
from bandbridge.ingest.stac import AssetFacts
from bandbridge.ingest.stacking import stacked_bands
from bandbridge.ingest.wanted import wanted_members

BAND = "{band}"


@dataclass(frozen=True)
class Row:
    """A sample as the table describes it.

    `paths` has the modalities whose cells are not empty: one path, or one per band where each band has a column.
    `items` has what a STAC item states of these files: path -> facts.
    """

    id: str
    paths: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    split: str | None
    lat: float | None
    lon: float | None
    date: str | None
    items: Mapping[str, AssetFacts] = field(default_factory=dict)


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Every row of the table, except those whose split or class is mapped to null.

    Without a column of splits, rows are divided by shares (`divide`): by the hash of their ids or, if drawn by class,
    within each class (within all rows if these have several classes). The order of the rows does not matter.

    Raises:
        UserError: the table is missing, empty or damaged, lacks a column, or a cell is not what its column should hold;
            a path leads out of the images' folder.
    """
    options = parse_options(TableOptions, dataset)
    rows = read_rows(dataset, options, table := _table_path(dataset, options, archives), archives)
    if options.split:
        return [Planned(row.id, row.split, _path(row)) for row in rows if row.split is not None]
    rows.sort(key=lambda row: row.id)
    classes = ["|".join(row.labels) if dataset.label_kind == "single" else "" for row in rows]
    places = _places(dataset, options, rows, _images_path(dataset, archives, dataset.primary.name, table))
    ids = [row.id for row in rows]
    splits = divide(ids, classes, options.shares, options.seed, options.draw, places, options.spatial_block)
    return [Planned(row.id, split, _path(row)) for row, split in zip(rows, splits, strict=True)]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """The images of the rows with these ids: one file per sample or, with the option `band_files`, one per band.

    Band files of several resolutions are brought to the modality's `size`, or to the finest of them.
    """
    options = parse_options(TableOptions, dataset)
    ids = set(ids)
    rows = read_rows(dataset, options, table := _table_path(dataset, options, archives), archives)
    rows = [row for row in rows if row.id in ids]
    for row in rows:
        if stream not in row.paths:
            yield Rejected(row.id, f"names no file of {stream}: its cell is empty")
    rows = [row for row in rows if stream in row.paths]
    images = _images_path(dataset, archives, stream, table)
    modality = dataset.modality(stream)
    has_band_files = options.band_files or any(len(row.paths[stream]) > 1 for row in rows)
    read_files = _read_band_files if has_band_files else _read_files
    first = dataset.primary
    targets: dict[str, Grid] = {}
    if options.other_grids == "resample" and modality.name != first.name and not first.is_rgb:
        both = [row for row in rows if first.name in row.paths]
        targets = _grids(_images_path(dataset, archives, first.name, table), both, first, options)
    yield from read_files(images, rows, modality, options, targets)


# --- the table -----------------------------------------------------------------------------------------------------


def read_rows(dataset: Dataset, options: TableOptions, path: Path, archives: Path) -> list[Row]:
    """The rows of a table that are not left out by `split_names` or `classes`."""
    path_columns = _path_columns(dataset, options)
    class_columns = _class_columns(options)
    with _on_disk(path, options) as file:
        try:
            columns = read_columns(file, _named(options, path_columns, class_columns))
        except UserError as error:
            raise UserError(str(error).replace(str(file), str(path))) from error
    count = len(next(iter(columns.values())))
    folders = {name: _images_path(dataset, archives, name, path) for name in path_columns}
    own_names = {name: name for name in load_nomenclature(dataset.nomenclature).classes}
    classes = {plain(name): meant for name, meant in (own_names | dict(options.classes)).items()}
    lat, lon = (options.lat, options.lon) if options.lat else (LATITUDE, LONGITUDE)
    rows = []
    for number in range(count):
        cells = {name: values[number] for name, values in columns.items()}
        where = f"{path}, row {number + 1}"
        paths = {
            name: tuple(inner_path(cells[column], where, column, folders[name]) for column in modality_columns)
            for name, modality_columns in path_columns.items()
        }
        labels = labels_of(cells, options, class_columns, classes, where)
        split = split_of_cell(cells[options.split], options, where) if options.split else None
        name = text_of(cells[options.id]) if options.id else _default_id(paths, options)
        if not name:
            columns_of_paths = " and ".join(
                column for modality_columns in path_columns.values() for column in modality_columns
            )
            raise UserError(f"{where}: {options.id or columns_of_paths} is empty")
        if labels is None or (options.split and split is None):
            continue
        rows.append(
            Row(
                id=name,
                paths={modality: modality_paths for modality, modality_paths in paths.items() if any(modality_paths)},
                labels=labels,
                split=split,
                lat=degrees_of(cells[lat], 90, where, lat) if lat in cells else None,
                lon=degrees_of(cells[lon], 180, where, lon) if lon in cells else None,
                date=date_of(cells[options.date], where, options.date) if options.date else None,
                items=items_of(cells, paths, path_columns, where),
            )
        )
    return rows


def _with_item(beside: SideFiles | None, row: Row, file: str) -> SideFiles | None:
    item = row.items.get(file)
    return beside if item is None else replace(beside or NONE_BESIDE, item=item)


def _path(row: Row) -> str:
    return next((path for paths in row.paths.values() for path in paths if path), "")


def _table_path(dataset: Dataset, options: TableOptions, archives: Path) -> Path:
    places = [archives / options.table, Path(options.table)]
    if options.archive:
        places.append(Path(options.archive, options.table))
    existing = [place for place in places if place.is_file()]
    if not existing and options.archive and is_archive(options.archive):
        names = [name for name in member_names(Path(options.archive)) if f"/{name}".endswith(f"/{options.table}")]
        existing = [Path(options.archive, name) for name in names if len(names) == 1 or name == options.table]
    if not existing:
        looked = ", ".join(map(str, places))
        raise UserError(f"{dataset.name}: the table '{options.table}' not found; looked for {looked}")
    return existing[0]


@contextmanager
def _on_disk(path: Path, options: TableOptions) -> Iterator[Path]:
    """A table's file, which may be compressed, or a member of the option `archive`."""
    with tempfile.TemporaryDirectory() as folder:
        file = path
        if not path.is_file():
            assert options.archive is not None
            file = Path(folder, path.name)
            file.write_bytes(read_member(Path(options.archive), path.relative_to(options.archive).as_posix()))
        yield unpacked_table(file, Path(folder))


def _named(
    options: TableOptions, path_columns: Mapping[str, Sequence[str]], class_columns: Mapping[str, str]
) -> dict[str, str]:
    """Column -> the option that names it."""
    named = dict.fromkeys((column for modality_columns in path_columns.values() for column in modality_columns), "path")
    for option in ("id", "label", "labels", "split", "lat", "lon", "date"):
        if getattr(options, option):
            named[getattr(options, option)] = option
    return named | dict.fromkeys(class_columns, "label_columns")


def _path_columns(dataset: Dataset, options: TableOptions) -> dict[str, tuple[str, ...]]:
    """Modality -> column of its paths, or a column for each of its bands."""
    names = [modality.name for modality in dataset.modalities]
    if isinstance(options.path, str):
        if len(names) > 1:
            example = ", ".join(f"{name}: {name}_path" for name in names)
            where = f"options of {dataset.name}: path is '{options.path}'"
            raise UserError(f"{where}, expected a column for each modality: {{{example}}}")
        columns: Mapping[str, str] = {names[0]: options.path}
    else:
        missing = [name for name in names if name not in options.path]
        if missing:
            raise UserError(f"options of {dataset.name}: path has no column for {', '.join(missing)}")
        columns = options.path
    return {name: _columns_of_bands(columns[name], dataset.modality(name)) for name in names}


def _columns_of_bands(column: str, modality: Modality) -> tuple[str, ...]:
    return tuple(column.replace(BAND, band) for band in modality.bands) if BAND in column else (column,)


def _class_columns(options: TableOptions) -> dict[str, str]:
    """Column of 0 and 1 -> class."""
    if isinstance(options.label_columns, Mapping):
        return dict(options.label_columns)
    return {name: name for name in options.label_columns}


def _default_id(paths: Mapping[str, tuple[str, ...]], options: TableOptions) -> str:
    first = next((path for modality_paths in paths.values() for path in modality_paths if path), "")
    return first if options.band_files else posixpath.splitext(first)[0]


def _places(
    dataset: Dataset, options: TableOptions, rows: Sequence[Row], images: Path
) -> list[tuple[float, float] | None]:
    """Where each row's sample lies: by the table, else as its first file states; empty without `spatial_block`."""
    if options.spatial_block is None:
        return []
    places = {row.id: (row.lat, row.lon) for row in rows if row.lat is not None and row.lon is not None}
    modality = dataset.primary
    unplaced = [row for row in rows if row.id not in places and modality.name in row.paths]
    rest = {_file_names(row, modality, options)[0]: row.id for row in unplaced}
    for name, content in wanted_members(images, rest) if rest else ():
        with suppress(RasterError):  # it will be set aside when it is converted
            if centre := decode(content).centre:
                places[rest[name]] = centre
    return [places.get(row.id) for row in rows]


# --- the images ----------------------------------------------------------------------------------------------------


def _images_path(dataset: Dataset, archives: Path, stream: str, table: Path) -> Path:
    """The option `archive`, else the first source that is an archive for this stream, else the table's folder."""
    if options_archive := dataset.options.get("archive"):
        return Path(options_archive)
    held = [source for source in dataset.sources if is_archive(source.file) and source.stream in (None, stream)]
    return source_path(held[0].file, archives) if held else table.parent


def _sample(
    row: Row, pixels: np.ndarray, files: Sequence[Raster], valid: np.ndarray | None, grid: Grid | None
) -> Sample:
    """A row's sample; its place is the table's, else that of the first file that states one."""
    lat, lon = row.lat, row.lon
    if lat is None or lon is None:
        lat, lon = next((file.centre for file in files if file.centre), (None, None))
    radiometry = "; ".join(dict.fromkeys(file.radiometry for file in files if file.radiometry))
    return Sample(row.id, pixels, row.labels, lat, lon, row.date, valid, radiometry, grid)


def _whole(row: Row, image: Raster, modality: Modality, target: Grid | None, options: TableOptions) -> Sample:
    """The sample of one file, on the grid of another modality's where it is to be resampled to that."""
    pixels, valid, grid = image.pixels, image.valid, image.grid
    if target is not None and image.grid is not None and modality_difference(target, image.grid):
        grid = on_ground(target, image.grid)
        if modality.is_rgb:  # (y, x, channel)
            channels = None if valid is None else valid.transpose(2, 0, 1)
            pixels, valid = on_grid(pixels.transpose(2, 0, 1), channels, image.grid, grid, options.resampling)
            pixels, valid = np.ascontiguousarray(pixels.transpose(1, 2, 0)), valid.transpose(1, 2, 0)
        else:
            pixels, valid = on_grid(pixels, valid, image.grid, grid, options.resampling)
    return _sample(row, pixels, [image], valid, grid)


def _grids(images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions) -> dict[str, Grid]:
    """Row -> the grid of a modality's file, or of its finest band file."""
    owners: dict[str, list[str]] = {}
    for row in rows:
        for name in _file_names(row, modality, options):
            owners.setdefault(name, []).append(row.id)
    grids: dict[str, Grid] = {}
    formats, beside = OtherFormats(images), side_files_of(images, owners.__contains__)
    for member, content in wanted_members(images, owners):
        try:
            with opened(formats.readable(member, content, len(modality.bands))) as file:
                crs, transform = place_of(file, beside.get(member))
                grid = None if crs is None or transform is None else Grid(crs, transform, file.height, file.width)
        except RasterError:
            continue  # it is refused where its pixels are read
        for name in owners[member]:
            if grid is not None and (name not in grids or grid.pixel < grids[name].pixel):
                grids[name] = grid
    return grids


def _file_names(row: Row, modality: Modality, options: TableOptions) -> list[str]:
    """The names of a row's files of a modality: one, or one per band, by columns or as `band_files` makes them."""
    paths = row.paths[modality.name]
    if len(paths) > 1 or not options.band_files:
        return list(paths)
    names = (options.band_files.replace("{path}", paths[0]).replace(BAND, band) for band in modality.bands)
    return [str(PurePosixPath(name)) for name in names]


def _read_files(
    images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions, targets: Mapping[str, Grid]
) -> Iterator[Sample | Rejected]:
    owners: dict[str, list[Row]] = {}
    for row in rows:
        owners.setdefault(row.paths[modality.name][0], []).append(row)
    formats, beside = OtherFormats(images), side_files_of(images, owners.__contains__)
    for member, content in wanted_members(images, owners):
        items: list[Sample | Rejected]
        try:
            content = formats.readable(member, content, len(modality.bands), most_bytes(modality, options.picture_size))
            sides = _with_item(beside.get(member), owners[member][0], member)
            image = read_image(content, modality, options.picture_size, member, sides)
            items = [_whole(row, image, modality, targets.get(row.id), options) for row in owners[member]]
        except RasterError as error:
            items = [Rejected(row.id, str(error)) for row in owners[member]]
        yield from items


@dataclass
class _Open:
    """A sample of which some bands have not been read yet."""

    row: Row
    bands: dict[str, Raster]


def _read_band_files(
    images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions, targets: Mapping[str, Grid]
) -> Iterator[Sample | Rejected]:
    one = {band: modality.of_band(band) for band in modality.bands}
    owners: dict[str, list[tuple[int, str]]] = {}
    for at, row in enumerate(rows):
        for band, name in zip(modality.bands, _file_names(row, modality, options), strict=True):
            owners.setdefault(name, []).append((at, band))
    formats, beside = OtherFormats(images), side_files_of(images, owners.__contains__)
    waiting: dict[int, _Open] = {}
    done: set[int] = set()
    for member, content in wanted_members(images, owners):
        for at, band in owners[member]:
            if at in done:
                continue
            sample = waiting.setdefault(at, _Open(rows[at], {}))
            target = targets.get(rows[at].id)
            file = member, content, _with_item(beside.get(member), rows[at], member)
            result = _add_band(sample, one[band], file, formats, modality, options, target)
            if result is not None:
                yield result
                done.add(at)
                del waiting[at]
    for sample in waiting.values():
        missing = [band for band in modality.bands if band not in sample.bands]
        kind = "band" if len(missing) == 1 else "bands"
        count = f"found {len(sample.bands)} of {len(modality.bands)}"
        yield Rejected(sample.row.id, f"lacks {kind} {', '.join(missing)} ({count})")


def _add_band(
    sample: _Open,
    band: Modality,
    file: tuple[str, bytes, SideFiles | None],
    formats: OtherFormats,
    modality: Modality,
    options: TableOptions,
    target: Grid | None,
) -> Sample | Rejected | None:
    """The sample once it is complete, or why it is rejected; None while bands are missing.

    Args:
        band: the modality with only this band.
        file: its name, its content and what lies beside it.
        target: the grid of another modality, on which the sample is to lie.
    """
    (name,) = band.bands
    member, content, beside = file
    try:
        content = formats.readable(member, content, 1, most_bytes(band))
        sample.bands[name] = read_image(content, band, name=member, beside=beside)
    except RasterError as error:
        return Rejected(sample.row.id, f"band {name}: {error}")
    if len(sample.bands) < len(modality.bands):
        return None
    files = {name: sample.bands[name] for name in modality.bands}
    try:
        pixels, valid, grid = stacked_bands(files, modality, options.resampling, options.other_grids, target)
        return _sample(sample.row, pixels, list(files.values()), valid, grid)
    except RasterError as error:
        return Rejected(sample.row.id, str(error))
