"""A table with a row for each sample: where its images lie, what they show, which split it is of."""

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.untrusted import decimal_number, has_unseen, leads_out
from bandbridge.catalogue.datasets import Dataset, Modality
from bandbridge.catalogue.reader_options import TableOptions, parse_options
from bandbridge.ingest.archives import is_archive, members
from bandbridge.ingest.declarations import grid_of
from bandbridge.ingest.mask_files import members_with_masks
from bandbridge.ingest.places import Grid, modality_difference, on_grid, on_ground
from bandbridge.ingest.rasters import Raster, RasterError, opened
from bandbridge.ingest.readers import Planned, Rejected, Sample, source_path
from bandbridge.ingest.readers.folder import divide
from bandbridge.ingest.readers.images import read_image
from bandbridge.ingest.stacking import stacked_bands

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """A sample as the table describes it; `paths` has the modalities whose cells are not empty."""

    id: str
    paths: Mapping[str, str]
    labels: tuple[str, ...]
    split: str | None
    lat: float | None
    lon: float | None
    date: str | None


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Every row of the table, but for those whose split or class is mapped to null.

    Rows without a column of splits are divided by shares: of each class where samples have one class, of all rows
    where they have several. The order of the rows does not matter.

    Raises:
        UserError: the table is missing, empty or damaged, lacks a column, or a cell is not what its column should hold;
            a path leads out of the images' folder.
    """
    options = parse_options(TableOptions, dataset)
    rows = read_rows(dataset, options, _table_path(dataset, options, archives))
    if options.split:
        return [Planned(row.id, row.split) for row in rows if row.split is not None]
    rows.sort(key=lambda row: row.id)
    classes = ["|".join(row.labels) if dataset.label_kind == "single" else "" for row in rows]
    splits = divide(classes, options.shares, options.seed)
    return [Planned(row.id, split) for row, split in zip(rows, splits, strict=True)]


def read(dataset: Dataset, archives: Path, stream: str, wanted: Collection[str]) -> Iterator[Sample | Rejected]:
    """The images of the wanted rows, one file a sample with all bands or, with the option `band_files`, one a band.

    Band files of several resolutions are brought to the modality's `size`, or to the finest of them.
    """
    options = parse_options(TableOptions, dataset)
    wanted = set(wanted)
    rows = read_rows(dataset, options, table := _table_path(dataset, options, archives))
    rows = [row for row in rows if row.id in wanted]
    if empty := [row for row in rows if stream not in row.paths]:
        column = _path_columns(dataset, options)[stream]
        yield from (Rejected(row.id, f"its cell of column '{column}' is empty: no path of its {stream}") for row in empty)
    rows = [row for row in rows if stream in row.paths]
    images = _images_path(dataset, archives, stream, table)
    modality = dataset.modality(stream)
    read_files = _read_band_files if options.band_files else _read_files
    first = dataset.primary
    targets: dict[str, Grid] = {}
    if options.other_grids == "resample" and modality.name != first.name and not first.is_rgb:
        both = [row for row in rows if first.name in row.paths]
        targets = _grids(_images_path(dataset, archives, first.name, table), both, first, options)
    yield from read_files(images, rows, modality, options, targets)


# --- the table -----------------------------------------------------------------------------------------------------


def read_rows(dataset: Dataset, options: TableOptions, path: Path) -> list[Row]:
    """The rows of a CSV, TSV or Parquet file that are not left out by `split_names` or `classes`."""
    columns = _columns(dataset, options, path)
    count = len(next(iter(columns.values())))
    if not count:
        raise UserError(f"{path} has no rows; expected one for each sample")
    path_columns = _path_columns(dataset, options)
    class_columns = _class_columns(options)
    rows = []
    for number in range(count):
        cells = {name: values[number] for name, values in columns.items()}
        where = f"{path}, row {number + 1}"
        paths = {name: _inner_path(cells[column], where, column) for name, column in path_columns.items()}
        labels = _labels(cells, options, class_columns, where)
        split = _split(cells[options.split], options, where) if options.split else None
        name = _text(cells[options.id]) if options.id else _default_id(paths, options)
        if not name:
            raise UserError(f"{where}: {options.id or ' and '.join(path_columns.values())} is empty")
        if labels is None or (options.split and split is None):
            continue
        rows.append(
            Row(
                id=name,
                paths={modality: value for modality, value in paths.items() if value},
                labels=labels,
                split=split,
                lat=_degrees(cells[options.lat], 90, where, options.lat) if options.lat else None,
                lon=_degrees(cells[options.lon], 180, where, options.lon) if options.lon else None,
                date=_date(cells[options.date], where, options.date) if options.date else None,
            )
        )
    return rows


def _table_path(dataset: Dataset, options: TableOptions, archives: Path) -> Path:
    places = [archives / options.table, Path(options.table)]
    if options.archive:
        places.append(Path(options.archive, options.table))
    found = [place for place in places if place.is_file()]
    if not found:
        looked = ", ".join(map(str, places))
        raise UserError(f"{dataset.name}: the table '{options.table}' is not there; looked for {looked}")
    return found[0]


def _columns(dataset: Dataset, options: TableOptions, path: Path) -> dict[str, list[Any]]:
    """The columns that the options name, as lists; texts as they stand in a CSV, so that '007' keeps its zeros."""
    frame = _frame(path)
    present = [str(name) for name in frame.columns]
    named = dict.fromkeys(_path_columns(dataset, options).values(), "path")
    for option in ("id", "label", "labels", "split", "lat", "lon", "date"):
        if getattr(options, option):
            named[getattr(options, option)] = option
    named |= dict.fromkeys(_class_columns(options), "label_columns")
    for column, option in named.items():
        if column not in present:
            shown = ", ".join(present[:30]) + (" ..." if len(present) > 30 else "")
            guess = did_you_mean(column, present)
            raise UserError(f"{path} has no column '{column}' (option {option}); it has: {shown}.{guess}")
    return {column: frame[column].tolist() for column in named}


def _frame(path: Path) -> pandas.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pandas.read_parquet(path)
        if suffix in (".csv", ".tsv"):
            separator = "\t" if suffix == ".tsv" else ","
            return pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pandas.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty; expected a line of column names and a row for each sample") from error
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise UserError(f"{path} cannot be read as a table ({' '.join(str(error).split())})") from error
    raise UserError(f"{path} is no table that can be read here; expected .csv, .tsv or .parquet")


def _path_columns(dataset: Dataset, options: TableOptions) -> dict[str, str]:
    """Modality -> column of its paths."""
    names = [modality.name for modality in dataset.modalities]
    if isinstance(options.path, str):
        if len(names) > 1:
            example = ", ".join(f"{name}: {name}_path" for name in names)
            where = f"options of {dataset.name}: path is '{options.path}'"
            raise UserError(f"{where}, expected a column for each modality: {{{example}}}")
        return {names[0]: options.path}
    missing = [name for name in names if name not in options.path]
    if missing:
        raise UserError(f"options of {dataset.name}: path has no column for {', '.join(missing)}")
    return {name: options.path[name] for name in names}


def _class_columns(options: TableOptions) -> dict[str, str]:
    """Column of 0 and 1 -> class."""
    if isinstance(options.label_columns, Mapping):
        return dict(options.label_columns)
    return {name: name for name in options.label_columns}


def _labels(
    cells: Mapping[str, Any], options: TableOptions, class_columns: Mapping[str, str], where: str
) -> tuple[str, ...] | None:
    """The classes of a row; None where it had some and all are mapped to null."""
    if options.label:
        names = [_text(cells[options.label])]
    elif options.labels:
        cell = cells[options.labels]
        several = isinstance(cell, list | tuple | np.ndarray)
        names = [_text(item) for item in cell] if several else _text(cell).split(options.separator)
    else:
        names = [name for column, name in class_columns.items() if _flag(cells[column], where, column)]
    names = [name.strip() for name in names if name.strip()]
    kept = [options.classes.get(name, name) for name in names]
    if names and all(name is None for name in kept):
        return None
    return tuple(dict.fromkeys(name for name in kept if name is not None))


def _flag(value: Any, where: str, column: str) -> bool:
    text = _text(value).lower()
    if text in ("1", "true"):
        return True
    if text in ("0", "false", ""):
        return False
    raise UserError(f"{where}: {column} is '{value}', expected 0 or 1")


def _split(value: Any, options: TableOptions, where: str) -> str | None:
    """The split of a row; None where it is left out."""
    text = _text(value)
    split = options.split_names.get(text, text)
    if split is None or split in SPLITS:
        return split
    raise UserError(
        f"{where}: {options.split} is '{text}', expected {', '.join(SPLITS)}.{did_you_mean(text, SPLITS)} Other names "
        f"are translated by the option split_names, as in {{{text or 'unused'}: null}}, which leaves such rows out"
    )


def _inner_path(value: Any, where: str, column: str) -> str:
    """A path below the images' folder; empty where the cell is."""
    text = _text(value)
    parts = text.split("/")
    if text and (leads_out(text) or has_unseen(text)):
        raise UserError(
            f"{where}: {column} is '{text}', expected a path with '/' below the images' folder or archive, "
            "without '..'; give the folder with the option archive"
        )
    # As archives' members are named; a path object for each cell of a large table takes long.
    return str(PurePosixPath(text)) if "" in parts[1:] or "." in parts else text


def _default_id(paths: Mapping[str, str], options: TableOptions) -> str:
    first = next((path for path in paths.values() if path), "")
    return first if options.band_files else posixpath.splitext(first)[0]


def _degrees(value: Any, limit: int, where: str, column: str) -> float | None:
    text = _text(value)
    if not text:
        return None
    degrees = decimal_number(text)
    if degrees is None or abs(degrees) > limit:
        raise UserError(f"{where}: {column} is '{text}', expected degrees from -{limit} to {limit}")
    return degrees


def _date(value: Any, where: str, column: str) -> str | None:
    text = _text(value)
    try:
        return text if not text or datetime.fromisoformat(text) else None
    except ValueError as error:
        raise UserError(f"{where}: {column} is '{text}', expected a date like 2024-06-01") from error


def _text(value: Any) -> str:
    """A cell as text; empty where there is no value."""
    if value is None or value is pandas.NaT or value is pandas.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, datetime) and value == datetime(value.year, value.month, value.day, tzinfo=value.tzinfo):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    # A column of whole numbers with gaps is one of floats in pandas.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


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


def _whole(row: Row, image: Raster, target: Grid | None, options: TableOptions) -> Sample:
    """The sample of one file, on the grid of another modality's where it is to be brought there."""
    pixels, valid, grid = image.pixels, image.valid, image.grid
    if target is not None and image.grid is not None and modality_difference(target, image.grid):
        grid = on_ground(target, image.grid)
        pixels, valid = on_grid(pixels, valid, image.grid, grid, options.resampling)
    return _sample(row, pixels, [image], valid, grid)


def _grids(images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions) -> dict[str, Grid]:
    """Row -> the grid of a modality's file, or of its finest band file."""
    owners: dict[str, list[str]] = {}
    for row in rows:
        for band in modality.bands if options.band_files else ("",):
            owners.setdefault(_file_of(row, modality, band, options), []).append(row.id)
    grids: dict[str, Grid] = {}
    for member, content in members(images, wanted=owners.__contains__):
        try:
            with opened(content) as file:
                grid = grid_of(file)
        except RasterError:
            continue  # it is refused where its pixels are read
        for name in owners[member]:
            if grid is not None and (name not in grids or grid.pixel < grids[name].pixel):
                grids[name] = grid
    return grids


def _file_of(row: Row, modality: Modality, band: str, options: TableOptions) -> str:
    """The name of a row's file of a modality, or of one of its bands."""
    path = row.paths[modality.name]
    if not options.band_files:
        return path
    return str(PurePosixPath(str(options.band_files).replace("{path}", path).replace("{band}", band)))


def _read_files(
    images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions, targets: Mapping[str, Grid]
) -> Iterator[Sample | Rejected]:
    owners: dict[str, list[Row]] = {}
    for row in rows:
        owners.setdefault(row.paths[modality.name], []).append(row)
    for member, content, mask in members_with_masks(images, wanted=owners.__contains__):
        items: list[Sample | Rejected]
        try:
            image = read_image(content, modality, options.picture_size, member, mask)
            items = [_whole(row, image, targets.get(row.id), options) for row in owners[member]]
        except RasterError as error:
            items = [Rejected(row.id, str(error)) for row in owners[member]]
        yield from items


@dataclass
class _Open:
    """A sample whose bands have not all come yet."""

    row: Row
    bands: dict[str, Raster]


def _read_band_files(
    images: Path, rows: Sequence[Row], modality: Modality, options: TableOptions, targets: Mapping[str, Grid]
) -> Iterator[Sample | Rejected]:
    one = {band: modality.of_band(band) for band in modality.bands}
    owners: dict[str, list[tuple[int, str]]] = {}
    for at, row in enumerate(rows):
        for band in modality.bands:
            owners.setdefault(_file_of(row, modality, band, options), []).append((at, band))
    waiting: dict[int, _Open] = {}
    done: set[int] = set()
    for member, content, mask in members_with_masks(images, wanted=owners.__contains__):
        for at, band in owners[member]:
            if at in done:
                continue
            sample = waiting.setdefault(at, _Open(rows[at], {}))
            result = _add_band(sample, one[band], (member, content, mask), modality, options, targets.get(rows[at].id))
            if result is not None:
                yield result
                done.add(at)
                del waiting[at]
    for sample in waiting.values():
        missing = [band for band in modality.bands if band not in sample.bands]
        kind = "band" if len(missing) == 1 else "bands"
        found = f"found {len(sample.bands)} of {len(modality.bands)}"
        yield Rejected(sample.row.id, f"lacks {kind} {', '.join(missing)} ({found})")


def _add_band(
    sample: _Open,
    band: Modality,
    file: tuple[str, bytes, bytes | None],
    modality: Modality,
    options: TableOptions,
    target: Grid | None,
) -> Sample | Rejected | None:
    """The sample once it is complete, or why it will never be.

    Args:
        band: the modality with this band alone.
        file: its name, its content and that of its mask, if it has one.
        target: the grid of another modality, on which the sample is to lie.
    """
    (name,) = band.bands
    try:
        member, content, mask = file
        sample.bands[name] = read_image(content, band, name=member, mask=mask)
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
