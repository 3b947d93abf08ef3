"""A scene: band rasters of any resolutions and a polygon file with a class field, cut into labelled samples."""

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import array_bounds
from rasterio.transform import xy as pixels_to_points
from rasterio.warp import transform as transform_points

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.option_models import SPLIT_LETTERS, SceneOptions
from bandbridge.catalogue.reader_options import OTHER_GRIDS, options_of
from bandbridge.ingest.declarations import grid_of
from bandbridge.ingest.interpretation import together
from bandbridge.ingest.rasters import RasterError, in_gdals_words
from bandbridge.ingest.readers import Planned, Rejected, Sample, images_path
from bandbridge.ingest.readers.polygon_labels import Grid, label_map
from bandbridge.ingest.readers.polygons import polygons_path, read_polygons
from bandbridge.ingest.readers.scene_files import SceneFiles, find_files, open_file, open_files, scene_path
from bandbridge.ingest.scene_bands import Layer, layer_of, must_agree, valid_pixels
from bandbridge.ingest.side_files import side_files_of

WGS84 = "EPSG:4326"


@dataclass(frozen=True, eq=False)
class Scene:
    """All bands of a scene (band, y, x), where they hold data (None where all do), what was made of their numbers."""

    pixels: NDArray[Any]
    valid: NDArray[np.bool_] | None
    radiometry: str
    grid: Grid
    files: SceneFiles


@dataclass(frozen=True)
class Window:
    """A sample's place: its first row and column, the split of its blocks, the indices of its classes."""

    row: int
    col: int
    split: str
    classes: tuple[int, ...]


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Samples of a scene, each inside blocks of one split, so that no pixel of the grid is shared between splits.

    Labels of kind 'multi' are the classes whose polygons cover `label_share` of a sample; the label of kind 'single'
    is the class that covers `dominant_share` of it. Where polygons overlap, the smaller one counts, and of two equal
    ones the later: a pond counts in its meadow. How many possible samples were left out, and why, goes to standard
    error.

    Raises:
        UserError: a band or the polygons are missing or occur twice, bands differ in extent or reference system, the
            class field is absent or holds values that are no class of the nomenclature, or an option belongs to
            labels of the other kind.
    """
    options, path = _options_and_path(dataset, archives)
    with _opened(path, options.rasters, dataset.primary, options.other_grids) as (layers, files, grid):
        try:
            valid = valid_pixels(list(layers.values()), grid.height, grid.width, options.resampling)
        except RasterioError:
            valid = None  # the conversion names the file that cannot be read
    grid = with_system(path, grid, options.crs)
    if options.scl:
        clear = clear_pixels(path, files, options.scl, grid)
        valid = clear if valid is None else valid & clear
    labels, n_classes = _labels(dataset, options, path, archives, grid)
    windows, left_out = choose_windows(labels, n_classes, options, dataset.label_kind, valid)
    reasons = "".join(f"; {count} left out: {reason}" for reason, count in sorted(left_out.items()))
    _log(f"{len(windows)} samples of {len(windows) + left_out.total()} places{reasons}")
    if not windows:
        raise UserError(
            f"{path}: no place of {grid.height} x {grid.width} pixels is a sample of {options.size} x {options.size}"
            f"{reasons}; change size, block or the shares that a sample needs"
        )
    first = next(iter(files.bands.values())).file
    return [Planned(_sample_id(dataset.name, window, grid), window.split, first) for window in windows]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """The samples with these ids, with all bands on the grid of the finest one.

    The whole scene is in memory: 2 or 4 bytes per pixel and band, and one more where data may be missing.
    """
    options, path = _options_and_path(dataset, archives)
    scene = read_scene(path, options.rasters, dataset.primary, options.resampling, options.other_grids)
    grid = with_system(path, scene.grid, options.crs)
    valid = scene.valid
    if options.scl:
        clear = clear_pixels(path, scene.files, options.scl, grid)
        valid = np.broadcast_to(clear, scene.pixels.shape) if valid is None else valid & clear
    labels, n_classes = _labels(dataset, options, path, archives, grid)
    with_data = None if valid is None else np.asarray(valid.all(axis=0))
    windows, _ = choose_windows(labels, n_classes, options, dataset.label_kind, with_data)
    windows = [window for window in windows if _sample_id(dataset.name, window, grid) in ids]
    classes = load_nomenclature(dataset.nomenclature).classes
    centres = [(window.row + options.size / 2, window.col + options.size / 2) for window in windows]
    for window, (lat, lon) in zip(windows, _to_wgs84(centres, grid), strict=True):
        rows = slice(window.row, window.row + options.size)
        cols = slice(window.col, window.col + options.size)
        yield Sample(
            id=_sample_id(dataset.name, window, grid),
            pixels=scene.pixels[:, rows, cols].copy(),
            labels=tuple(classes[index] for index in window.classes),
            lat=lat,
            lon=lon,
            date=options.acquired or scene.files.date or None,
            valid=None if valid is None else valid[:, rows, cols],
            radiometry=scene.radiometry,
            grid=grid.window(window.row, window.col, options.size),
        )


def _options_and_path(dataset: Dataset, archives: Path) -> tuple[SceneOptions, Path]:
    options = options_of(dataset)
    assert isinstance(options, SceneOptions)
    return options, scene_path(images_path(dataset, archives), options.rasters)


def _labels(
    dataset: Dataset, options: SceneOptions, path: Path, archives: Path, grid: Grid
) -> tuple[NDArray[np.uint16], int]:
    """The class of each pixel, and how many classes there are."""
    classes = load_nomenclature(dataset.nomenclature).classes
    try:
        place = polygons_path((path, images_path(dataset, archives), archives), options.polygons)
        polygons = read_polygons(place, options.polygons, options.layer, options.polygons_crs)
        return label_map(polygons, options.class_field, options.class_map, classes, grid), len(classes)
    except UserError as error:
        raise UserError(f"{dataset.name}, polygons '{options.polygons}': {error}") from error


# --- bands ---------------------------------------------------------------------------------------------------------


def read_grid(path: Path, pattern: str | None, bands: Sequence[str]) -> Grid:
    """The grid of the finest band; no pixels are read."""
    with _opened(path, pattern, _of_bands(bands)) as (_, _, grid):
        return grid


def with_system(path: Path, grid: Grid, crs: str | None) -> Grid:
    """The grid in the reference system that the option `crs` names, where the rasters state none.

    Raises:
        UserError: the rasters state another one, or it is none.
    """
    if crs is None:
        return grid
    try:
        stated = CRS.from_user_input(crs)
    except CRSError as error:
        raise UserError(f"crs is '{crs}', no reference system; expected one like EPSG:32633") from error
    if grid.crs and grid.crs != stated:
        raise UserError(f"{path}: crs is '{crs}', and the rasters state {grid.crs}; remove the option")
    return replace(grid, crs=stated)


def clear_pixels(path: Path, files: SceneFiles, classes: Sequence[int], grid: Grid) -> NDArray[np.bool_]:
    """(y, x), where a product's scene classification is none of some classes, such as clouds and their shadows.

    Raises:
        UserError: there is no such file, as in Level-1C products.
    """
    if files.classes is None:
        raise UserError(
            f"{path}: scl is {list(classes)}, but there is no scene classification (SCL); products of Level 2A have one"
        )
    with ExitStack() as stack:
        raster = open_file(path, files.classes, stack)
        scene_classes = raster.read(1, out_shape=(grid.height, grid.width), resampling=Resampling.nearest)
    return ~np.isin(scene_classes, classes)


def read_bands(path: Path, pattern: str | None, bands: Sequence[str], resampling: str) -> tuple[NDArray[Any], Grid]:
    """All bands on the grid of the finest one, as delivered: (band, y, x) in the files' number type, and the grid."""
    scene = read_scene(path, pattern, _of_bands(bands), resampling)
    return scene.pixels, scene.grid


def _of_bands(bands: Sequence[str]) -> Modality:
    return Modality("bands", None, None, tuple(bands))


def read_scene(
    path: Path, pattern: str | None, modality: Modality, resampling: str, other_grids: str = OTHER_GRIDS[0]
) -> Scene:
    """All bands of a modality on the grid of the finest one, in the sensor's unit.

    Args:
        path: an archive or a folder.
        pattern: of the files, as `find_files` has it.
        resampling: 'nearest', 'bilinear' or 'cubic', for the bands of coarser resolution.
        other_grids: what to do with bands that lie elsewhere, one of `OTHER_GRIDS`.
    """
    with _opened(path, pattern, modality, other_grids) as (layers, files, grid):
        dtype = next(iter(layers.values())).dtype
        _must_fit_into_memory(path, len(layers) * grid.height * grid.width * dtype.itemsize)
        pixels = np.empty((len(layers), grid.height, grid.width), dtype)
        valid: list[NDArray[np.bool_] | None] = []
        for place, (band, layer) in zip(pixels, layers.items(), strict=True):
            try:
                place[:], data = layer.read(grid.height, grid.width, resampling)
            except RasterioError as error:
                raise _unreadable(path, files.bands[band].file, in_gdals_words(error)) from error
            valid.append(data)
    made = dict.fromkeys(str(layer.radiometry) for layer in layers.values() if layer.radiometry)
    return Scene(pixels, together(valid, (grid.height, grid.width)), "; ".join(made), grid, files)


def _must_fit_into_memory(path: Path, size: int) -> None:
    """A file of some kilobytes may state any number of pixels."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise UserError(
            f"{path}: the scene states {size:,} bytes of pixels, and this machine has {memory:,} bytes of memory; "
            "cut the scene, or name fewer bands"
        )


@contextmanager
def _opened(
    path: Path, pattern: str | None, modality: Modality, other_grids: str = OTHER_GRIDS[0]
) -> Iterator[tuple[Mapping[str, Layer], SceneFiles, Grid]]:
    """Each band in its open file, which files these are, and the grid of the finest."""
    files = find_files(path, pattern, modality)
    with open_files(path, files) as opened_files:
        rasters = {band: opened_files[band_file.file] for band, band_file in files.bands.items()}
        beside = side_files_of(path, {band_file.file for band_file in files.bands.values()}.__contains__)
        grid, elsewhere = _common_grid(path, rasters, other_grids)
        layers = {}
        for band, band_file in files.bands.items():
            on, side = grid.whole if band in elsewhere else None, beside.get(band_file.file)
            one = modality.of_band(band)
            try:
                layers[band] = layer_of(
                    rasters[band], one, band_file.file, on, band_file.index, band_file.product, side
                )
            except RasterError as error:
                raise UserError(f"{path}: {band_file.file}, band {band}, {error}") from error
        try:
            must_agree(layers)
        except RasterError as error:
            raise UserError(f"{path}: {error}; bring the files to one type") from error
        yield layers, files, grid


def _unreadable(path: Path, file: str, reason: str) -> UserError:
    return UserError(f"{path}: {file} cannot be read as a raster: {reason}; get the file again")


def _common_grid(path: Path, rasters: Mapping[str, DatasetReader], other_grids: str) -> tuple[Grid, set[str]]:
    """The grid of the finest band, and the bands that lie elsewhere, where these are to be resampled."""
    grids = {band: _grid(path, raster) for band, raster in rasters.items()}
    finest_band = max(grids, key=lambda band: grids[band].width * grids[band].height)
    finest = grids[finest_band]
    tolerance = abs(finest.transform.a) / 2
    elsewhere = set()
    for band, raster in grids.items():
        if raster.crs != finest.crs:
            problem = (
                f"band {band} is in {raster.crs}, {finest_band} in {finest.crs}; bring them to one reference system"
            )
        elif not np.allclose(_bounds(raster), _bounds(finest), rtol=0, atol=tolerance):
            problem = (
                f"band {band} covers {_extent(raster)}, {finest_band} covers {_extent(finest)} "
                "(left, bottom, right, top); cut them to one extent"
            )
        else:
            continue
        if other_grids != "resample" or raster.crs is None or finest.crs is None:
            raise UserError(f"{path}: {problem}, or state other_grids: resample")
        elsewhere.add(band)
    _must_fit_into_memory(path, finest.height * finest.width * np.dtype(np.uint16).itemsize)
    return finest, elsewhere


def _grid(path: Path, raster: DatasetReader) -> Grid:
    """Of a file, or of its ground control points where it has no other place."""
    if raster.crs is not None or not raster.transform.is_identity or not (raster.gcps[0] or raster.rpcs):
        return Grid(raster.height, raster.width, raster.transform, raster.crs)
    if (of_points := grid_of(raster)) is None:
        raise UserError(
            f"{path}: the rasters are placed by points or polynomials that no grid of pixels follows; bring them to "
            "one (gdalwarp -t_srs EPSG:32633 FILE OUT)"
        )
    return Grid(raster.height, raster.width, of_points.affine, CRS.from_user_input(of_points.crs))


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    left, bottom, right, top = array_bounds(grid.height, grid.width, grid.transform)
    return left, bottom, right, top


def _extent(grid: Grid) -> str:
    return " ".join(f"{value:.10g}" for value in _bounds(grid))


# --- windows -------------------------------------------------------------------------------------------------------


def choose_windows(
    labels: NDArray[np.uint16],
    n_classes: int,
    options: SceneOptions,
    kind: str,
    valid: NDArray[np.bool_] | None = None,
) -> tuple[list[Window], Counter[str]]:
    """Places of samples, row by row: inside blocks of one split, with labels that the options accept.

    Args:
        labels: (y, x) as `label_map` makes them.
        kind: 'multi' for the classes on at least `label_share` of the area, of which `labelled_share` has a class;
            'single' for the one class on at least `dominant_share`.
        valid: (y, x), where all bands hold data; a place needs `min_valid_share` of such pixels. None for everywhere.

    Returns:
        The places, and how many others were left out, by reason.
    """
    chosen, left_out = [], Counter[str]()
    for row, col, split in _places(labels.shape, options):
        if split is None:
            left_out["not inside blocks of one split"] += 1
            continue
        area = labels[row : row + options.size, col : col + options.size]
        if valid is not None:
            with_data = valid[row : row + options.size, col : col + options.size].mean()
            if with_data < options.min_valid_share or not with_data:
                left_out[f"data on less than {options.min_valid_share:g} of the area"] += 1
                continue
        shares = np.bincount(area.ravel(), minlength=n_classes + 2)[1:] / area.size
        classes, reason = _classes(shares, options) if kind == "multi" else _dominant_class(shares, options)
        if reason:
            left_out[reason] += 1
        else:
            chosen.append(Window(row, col, split, classes))
    return chosen, left_out


def _classes(shares: NDArray[np.float64], options: SceneOptions) -> tuple[tuple[int, ...], str]:
    """Indices of an area's classes, or none and why it is no sample; the last of `shares` is of classes left out."""
    kept = shares[:-1]
    if kept.sum() < options.labelled_share:
        return (), f"labelled on less than {options.labelled_share:g} of the area"
    if kept.max() < options.label_share:
        return (), f"no class on {options.label_share:g} of the area"
    return tuple(np.flatnonzero(kept >= options.label_share).tolist()), ""


def _dominant_class(shares: NDArray[np.float64], options: SceneOptions) -> tuple[tuple[int, ...], str]:
    """The same for one class per sample."""
    largest = int(shares.argmax())
    if shares[largest] < options.dominant_share:
        return (), f"no class on {options.dominant_share:g} of the area"
    if largest == len(shares) - 1:
        return (), f"a class left out on {options.dominant_share:g} of the area"
    return (largest,), ""


def _places(shape: tuple[int, ...], options: SceneOptions) -> Iterator[tuple[int, int, str | None]]:
    """Row, column and split of every place of a sample; None where its blocks are of several splits, or unused.

    Each split has a grid of its own stride, which begins at the scene's corner.
    """
    strides = set(options.strides.values())
    rows, cols = (
        sorted({at for stride in strides for at in range(0, length - options.size + 1, stride)}) for length in shape
    )
    for row, col in product(rows, cols):
        split = block_split(row, col, options)
        grids = strides if split is None else {options.strides[split]}
        if any(row % stride == 0 and col % stride == 0 for stride in grids):
            yield row, col, split


def block_split(row: int, col: int, options: SceneOptions) -> str | None:
    """The split of the blocks that a sample at (row, col) touches; None if they are of several, or unused."""
    rows = range(row // options.block, (row + options.size - 1) // options.block + 1)
    cols = range(col // options.block, (col + options.size - 1) // options.block + 1)
    pattern = options.blocks
    letters = {pattern[y % len(pattern)][x % len(pattern[0])] for y in rows for x in cols}
    return SPLIT_LETTERS.get(letters.pop()) if len(letters) == 1 else None


def _sample_id(name: str, window: Window, grid: Grid) -> str:
    digits = max(4, len(str(max(grid.height, grid.width))))
    return f"{name}_{window.row:0{digits}d}_{window.col:0{digits}d}"


def _to_wgs84(places: Sequence[tuple[float, float]], grid: Grid) -> list[tuple[float, float]]:
    """Latitude and longitude of each (row, column)."""
    rows, cols = [row for row, _ in places], [col for _, col in places]
    x, y = pixels_to_points(grid.transform, rows, cols, offset="ul")
    longitudes, latitudes = transform_points(grid.crs, WGS84, x, y)
    return list(zip(latitudes, longitudes, strict=True))


def _log(message: str) -> None:
    print(message, file=sys.stderr)
