"""A scene: the bands of an image that a model takes, on the grid of the finest one, read window by window."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from bandbridge.base.errors import UserError
from bandbridge.base.progress import remark
from bandbridge.catalogue.sensors import SENTINEL_2
from bandbridge.ingest.declarations import grid_of
from bandbridge.ingest.nodata import not_measured
from bandbridge.ingest.radiometry import Radiometry, radiometry_of
from bandbridge.use.bands import RGB, SENTINEL_2_NAMES, match_bands, must_have
from bandbridge.use.rasters import LOCAL, BandFile, bands_of, open_raster

WGS84 = "EPSG:4326"
REFLECTANCE, DECIBELS = "reflectance x 10000", "dB"
_LARGEST_REFLECTANCE = 2.0  # of values that are stored as fractions
_LARGEST_PERCENT = 100.0
_OTHER_SIZE = 1.5  # factor between sizes of pixels from which objects look like others to a model
_MANY_ZEROS = 0.01  # share of the pixels that are read: some dark ones are measured as 0
_CHECKED = 512  # side of the part whose values are checked before the rest is read, in pixels


@dataclass(frozen=True)
class BandSet:
    """Bands that a model can take.

    Attributes:
        may_lack: those that are filled if an image lacks them.
        units: of their values, see `sensors.Sensor.units`; None if unknown.
        resolution: metres of a pixel of the images that the model was trained on; None if unknown.
    """

    bands: tuple[str, ...]
    may_lack: tuple[str, ...] = ()
    units: str | None = None
    resolution: float | None = None

    @property
    def is_picture(self) -> bool:
        return self.bands == RGB


PICTURE = BandSet(RGB)


@dataclass(frozen=True)
class Reading:
    """What the user states about images beyond their files.

    Attributes:
        bands: names of a file's bands, in its order.
        scale, offset: value = stored * scale + offset, in the model's unit, in place of what files state.
        crs: reference system of files that state none.
    """

    bands: tuple[str, ...] | None = None
    scale: float | None = None
    offset: float = 0.0
    crs: str | None = None

    def __post_init__(self) -> None:
        """Raise `UserError` for numbers that would make nothing of every value, or would not count."""
        if self.scale is None and self.offset:
            raise UserError("--offset needs --scale; state both: value = stored * scale + offset.")
        if self.scale is not None and not (math.isfinite(self.scale * self.offset) and self.scale):
            raise UserError(
                f"--scale is {self.scale:g} and --offset {self.offset:g}; expected numbers, and a scale other than 0: "
                "value = stored * scale + offset."
            )


@dataclass(frozen=True, eq=False)
class _Band:
    name: str
    raster: DatasetReader
    index: int
    radiometry: Radiometry | None
    nodata: float | None

    @property
    def dtype(self) -> np.dtype:
        stored = np.dtype(self.raster.dtypes[self.index - 1])
        return stored if self.radiometry is None else self.radiometry.result_type(stored)


@dataclass(eq=False)
class Scene:
    """An open image. Reading is safe from several threads, one at a time.

    Attributes:
        path: as the user named it.
        bands: those that the model takes and the image has, in the model's order.
        missing: those that it lacks, which are filled.
        height, width, transform, crs: of the finest band's grid; `crs` is None if none is stated.
        block: rows that are stored together, the maximum over the bands.
        units: of its values.
    """

    path: Path
    bands: tuple[str, ...]
    missing: tuple[str, ...]
    height: int
    width: int
    transform: Affine
    crs: CRS | None
    block: int
    units: str | None
    _bands: Sequence[_Band]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels that `read` returns: the files', or float32 if they are scaled to fractions."""
        return np.result_type(*(band.dtype for band in self._bands))

    @property
    def ratio(self) -> int:
        """Number of rows of the grid after which rows of all bands begin together; 1 if they never do."""
        ratios = [self.height / band.raster.height for band in self._bands]
        return math.lcm(*(int(ratio) for ratio in ratios)) if all(ratio.is_integer() for ratio in ratios) else 1

    def read(
        self, row: int, col: int, height: int, width: int, shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """A window of all bands in the model's unit, coarser ones resampled (bilinear).

        Args:
            row, col, height, width: of the window, in pixels of the grid.
            shape: (y, x) to resample the window to, by a file's overviews where it has any; None for its own.

        Returns:
            (band, y, x), and (y, x) True where every band has a value; None where all do.
        """
        shape = shape or (height, width)
        with self._lock, rasterio.Env(**LOCAL):
            pixels = np.empty((len(self._bands), *shape), self.dtype)
            valid: NDArray[np.bool_] | None = None
            is_zero = np.ones(shape, np.bool_)
            for place, band in zip(pixels, self._bands, strict=True):
                values, mask = self._read_band(band, (row, col, height, width), shape)
                if mask is not None:
                    valid = mask if valid is None else valid & mask
                is_zero &= values == 0
                if band.radiometry is not None:
                    values = band.radiometry.apply(values[None], None)[0][0]
                place[:] = values
        if len(self._bands) > len(RGB) and (is_zero if valid is None else is_zero & valid).mean() > _MANY_ZEROS:
            _report_zeros(self.path)
        measured = pixels if valid is None or pixels.dtype.kind == "u" else pixels[:, valid]
        if (value := not_measured(measured, self.units)) is not None:
            raise UserError(
                f"{self.path}: a value is {value:g}, which is no measurement; if it marks missing data, the file has "
                "to say so (gdal_edit -a_nodata VALUE FILE)."
            )
        return pixels, None if valid is None or valid.all() else valid

    def _read_band(
        self, band: _Band, place: tuple[int, int, int, int], shape: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        raster, (row, col, height, width) = band.raster, place
        tall, wide = raster.height / self.height, raster.width / self.width
        window = Window(col * wide, row * tall, width * wide, height * tall)
        try:
            values = raster.read(band.index, window=window, out_shape=shape, resampling=Resampling.bilinear)
            is_resampled = raster.shape != (self.height, self.width) or shape != (height, width)
            mask = self._mask(band, values, window, is_resampled)
        except RasterioError as error:
            cause = error.__cause__ or error
            raise UserError(
                f"{raster.name}: rows {row} to {row + height} cannot be read ({cause}); download the file again."
            ) from error
        return values, mask

    def _mask(self, band: _Band, values: NDArray[Any], window: Window, is_resampled: bool) -> NDArray[np.bool_] | None:
        shape, raster, flags = values.shape, band.raster, band.raster.mask_flag_enums[band.index - 1]
        mask = None
        if band.nodata is not None and not np.isnan(band.nodata):
            if is_resampled:
                nearest = raster.read(band.index, window=window, out_shape=shape, resampling=Resampling.nearest)
                mask = nearest != band.nodata
            else:
                mask = values != band.nodata
        elif MaskFlags.per_dataset in flags or MaskFlags.alpha in flags:
            mask = raster.read_masks(band.index, window=window, out_shape=shape) > 0
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            mask = finite if mask is None else mask & finite
        return mask

    def outline(self, row: int, col: int, height: int, width: int) -> list[tuple[float, float]] | None:
        """(longitude, latitude) of a window's corners, the first again at the end; None without a reference system."""
        if self.crs is None:
            return None
        corners = [(col, row), (col + width, row), (col + width, row + height), (col, row + height), (col, row)]
        points = [self.transform * corner for corner in corners]
        x, y = zip(*points, strict=True)
        return list(zip(*_to_wgs84(self.crs.to_wkt()).transform(x, y), strict=True))

    @property
    def pixel_size(self) -> float | None:
        """Metres on the ground of a pixel in the middle, the square root of its area; None without a place."""
        outline = self.outline(self.height // 2, self.width // 2, 1, 1)
        if outline is None or not np.isfinite(outline).all():
            return None
        lon, lat = zip(*outline, strict=True)
        area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
        return math.sqrt(abs(area))


@cache  # said once of a file, not of each of its windows
def _report_zeros(path: Path) -> None:
    remark(
        f"{path}: pixels are 0 in every band, and the file does not call them missing. If they are, as beyond the edge "
        "of an acquisition, state it: gdal_edit -a_nodata 0 FILE. Otherwise they are encoded like any others."
    )


@cache
def _to_wgs84(crs: str) -> Transformer:
    return Transformer.from_crs(crs, WGS84, always_xy=True)


@contextmanager
def open_scene(path: Path, takes: Sequence[BandSet], reading: Reading = Reading()) -> Iterator[Scene]:
    """Open an image for a model.

    Args:
        path: of an image that `rasters.bands_of` reads.
        takes: the sets of bands that the model accepts, the best first; RGB only from images of 8 bits.
        reading: what the user states beyond the files.

    Raises:
        UserError: the image cannot be read, lacks a band, has bands with different extents, or has values that are not
            in the model's unit.
    """
    files = bands_of(path)
    with ExitStack() as stack:
        rasters = {file: stack.enter_context(open_raster(file)) for file in dict.fromkeys(band.path for band in files)}
        chosen, names = _choose(path, files, rasters, takes, reading)
        read_bands = [name for name in chosen.bands if name in names]
        missing = must_have(names, chosen.bands, str(path), chosen.may_lack)
        bands = [
            _band(name, files[names.index(name)], rasters[files[names.index(name)].path], chosen, reading)
            for name in read_bands
        ]
        finest = max(bands, key=lambda band: band.raster.width * band.raster.height).raster
        _must_lie_together(path, bands, finest)
        points = grid_of(finest) if finest.crs is None else None  # ground control points may make a grid
        scene = Scene(
            path=path,
            bands=tuple(read_bands),
            missing=tuple(missing),
            height=finest.height,
            width=finest.width,
            transform=finest.transform if points is None else points.affine,
            crs=_crs(path, finest, reading) if points is None else CRS.from_user_input(points.crs),
            block=max(_block_rows(band.raster, finest) for band in bands),
            units=chosen.units,
            _bands=bands,
        )
        _check_values(scene, chosen, reading)
        if chosen.resolution is not None and (size := scene.pixel_size):
            _compare_sizes(float(f"{size:.2g}"), chosen.resolution)
        yield scene


def _choose(
    path: Path,
    files: Sequence[BandFile],
    rasters: dict[Path, DatasetReader],
    takes: Sequence[BandSet],
    reading: Reading,
) -> tuple[BandSet, tuple[str, ...]]:
    """The bands that the model takes of the image, and the names of all its bands; a grey image's band is repeated."""
    picture = next((bands for bands in takes if bands.is_picture), None)
    eight_bits = all(rasters[band.path].dtypes[band.index - 1] == "uint8" for band in files)
    if picture and eight_bits and not reading.bands:
        colours = [band.name for band in files]
        if set(RGB) <= set(colours):
            return picture, tuple(str(name) for name in colours)
        if len(files) in (3, 4) and not any(name for name in colours if name != "alpha"):
            return picture, (*RGB, "alpha")[: len(files)]
        if len(files) in (1, 2):
            files[:] = [files[0]] * 3  # type: ignore[index]
            return picture, RGB
    bands = next((bands for bands in takes if not bands.is_picture), None)
    if bands is None:
        if reading.bands:
            return PICTURE, match_bands([band.name for band in files], RGB, str(path), reading.bands)
        raise UserError(
            f"{path}: the model takes RGB images of 8 bits, and the image has {len(files)} bands "
            f"of {rasters[files[0].path].dtypes[0]}. State how its bands become an RGB image, such as --composite "
            "B04,B03,B02:3000 (the bands, and the value that becomes white)."
        )
    return bands, match_bands([band.name for band in files], bands.bands, str(path), reading.bands)


def _band(name: str, file: BandFile, raster: DatasetReader, takes: BandSet, reading: Reading) -> _Band:
    if raster.dtypes[file.index - 1].startswith("complex"):
        raise UserError(f"{file.path}: band {name} holds complex numbers; name a file of amplitudes or decibels.")
    of_sentinel_2 = takes.units == REFLECTANCE and name in SENTINEL_2_NAMES
    try:
        radiometry = radiometry_of(
            file.stated,
            file.path.absolute().as_posix(),
            1,
            np.dtype(raster.dtypes[file.index - 1]).kind in "iu",
            sensor=SENTINEL_2.name if of_sentinel_2 else None,
            sensor_unit=takes.units,
            scale=reading.scale,
            offset=None if reading.scale is None else reading.offset,
        )
    except ValueError as error:
        fault = str(error).partition(";")[0]
        raise UserError(f"{file.path}: {fault}; state what makes the model's unit: --scale and --offset.") from error
    return _Band(name, raster, file.index, radiometry, file.nodata)


def _must_lie_together(path: Path, bands: Sequence[_Band], finest: DatasetReader) -> None:
    tolerance = abs(finest.transform.a) / 2
    for band in bands:
        raster = band.raster
        if raster.crs != finest.crs:
            raise UserError(
                f"{path}: band {band.name} is in {raster.crs}, others in {finest.crs}; convert them to one."
            )
        if finest.crs is not None and not np.allclose(raster.bounds, finest.bounds, rtol=0, atol=tolerance):
            raise UserError(
                f"{path}: band {band.name} covers {tuple(raster.bounds)}, others {tuple(finest.bounds)} (left, bottom, "
                "right, top); cut them to one extent."
            )


def _crs(path: Path, finest: DatasetReader, reading: Reading) -> CRS | None:
    if finest.crs is not None or reading.crs is None:
        return finest.crs
    try:
        return CRS.from_user_input(reading.crs)
    except CRSError as error:
        raise UserError(
            f"--crs is '{reading.crs}', which is not a reference system; write it like EPSG:32633."
        ) from error


def _block_rows(raster: DatasetReader, finest: DatasetReader) -> int:
    rows: int = math.ceil(raster.block_shapes[0][0] * finest.height / raster.height)
    return rows


def _check_values(scene: Scene, takes: BandSet, reading: Reading) -> None:
    """Refuse an image whose values, checked in its middle, cannot be in the model's unit."""
    if takes.units is None or reading.scale is not None or takes.is_picture:
        return
    height, width = min(scene.height, _CHECKED), min(scene.width, _CHECKED)
    pixels, valid = scene.read((scene.height - height) // 2, (scene.width - width) // 2, height, width)
    values = pixels if valid is None else pixels[:, valid]
    stored = {band.raster.dtypes[band.index - 1] for band in scene._bands}
    must_be_in_unit(values, stored, takes, reading, str(scene.path))


def must_be_in_unit(values: NDArray[Any], stored: set[str], takes: BandSet, reading: Reading, where: str) -> None:
    """Raise `UserError` if values cannot be in the unit of a model's bands.

    Args:
        values: with data, of any shape.
        stored: types of numbers that they are stored as.
        takes: the bands, with their unit.
        reading: with a scale that the user states, nothing is checked.
        where: the file, for messages.
    """
    if takes.units is None or reading.scale is not None or takes.is_picture or not values.size:
        return
    low, high = float(np.min(values)), float(np.max(values))
    if takes.units == REFLECTANCE and 0 < high <= _LARGEST_PERCENT and "f" in {np.dtype(name).kind for name in stored}:
        kind, scale = ("reflectances", 10_000) if high <= _LARGEST_REFLECTANCE else ("percentages", 100)
        raise UserError(
            f"{where}: values reach from {low:g} to {high:g}, as {kind} do; the model takes {REFLECTANCE}. If "
            f"they are {kind}, add --scale {scale}."
        )
    if takes.units == REFLECTANCE and stored == {"uint8"}:
        raise UserError(
            f"{where}: its bands have 8 bits ({low:g} to {high:g}), as RGB images do; the model takes "
            f"{REFLECTANCE}. Name the image with its measured values, or add --scale if they are stored in 8 bits."
        )
    if takes.units == DECIBELS and low >= 0 and high > 1:
        raise UserError(
            f"{where}: values reach from {low:g} to {high:g}; the model takes decibels, which are below zero "
            "almost everywhere. Convert the image (10 log10 of the calibrated intensity)."
        )


@cache  # said once, not for each of thousands of images
def _compare_sizes(size: float, trained: float) -> None:
    """Report pixels that are much smaller or larger than those of the training."""
    if max(size / trained, trained / size) > _OTHER_SIZE:
        remark(
            f"the pixels are {size:g} m wide, those of the model's training {trained:g} m: what it recognises looks "
            "different at another scale. Resample the images, for example with gdalwarp -tr, or check the results."
        )


def starts(length: int, size: int, stride: int) -> list[int]:
    """First pixels of windows of `size` pixels along one side of a scene: every `stride` pixels, the last at the edge.

    Every pixel is in a window: if the stride does not lead to the edge, one more window ends at the edge.
    """
    regular = list(range(0, length - size + 1, stride))
    return regular if regular and regular[-1] + size == length else [*regular, max(0, length - size)]
