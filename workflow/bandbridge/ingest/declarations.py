"""What a raster file states of its own pixels: no data, scale and offset, names of bands, its grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, PhotometricInterp
from rasterio.io import DatasetReader
from rasterio.transform import from_gcps

from bandbridge.ingest.places import Grid, Transform, short_system

# Tags of a file that state how its numbers are to be interpreted.
TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET", "PROCESSING_BASELINE")
# Red, green and blue, and an alpha channel.
PICTURE_BANDS = 4
# Ground control points that make a grid, and how far a grid may pass them by, in pixels.
FEWEST_POINTS, OFF_THE_GRID = 3, 0.5


@dataclass(frozen=True, eq=False)
class Declarations:
    """What a file states; a tuple has an entry for each of its bands, and is empty where the file states nothing.

    Attributes:
        nodata: the value that marks missing data, None where a band has none.
        mask: (y, x), True where a mask inside or beside the file states that there are data; None without one.
        alpha: which band is an alpha channel, None where none is.
        scales, offsets: physical value = scale * number + offset.
        names: descriptions of the bands.
        colours: 'red', 'green', 'blue' ..., empty for a band that is none.
        is_picture: whether its colours are those of any image of three bands, or four: writers call them red, green
            and blue whatever they are, so that it is no claim.
        wavelengths: centres in nanometres.
        tags: metadata of `TAGS` by name.
        grid: where the file lies, None where the file states none.
        bare_transform: GDAL's affine of a file without a reference system, which may be stated beside it; else None.
    """

    nodata: tuple[float | None, ...] = ()
    mask: NDArray[np.bool_] | None = None
    alpha: int | None = None
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    is_picture: bool = False
    wavelengths: tuple[float | None, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    grid: Grid | None = None
    bare_transform: Transform | None = None

    @property
    def may_lack_data(self) -> bool:
        return self.mask is not None or self.alpha is not None or any(value is not None for value in self.nodata)

    def of_band(self, at: int) -> "Declarations":
        """What is stated of one band."""
        return self.of_bands([at])

    def of_bands(self, chosen: list[int]) -> "Declarations":
        """What is stated of some bands, in their order; the alpha channel is none of them."""

        def pick(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[at] for at in chosen) if values else ()

        return Declarations(
            pick(self.nodata), self.mask, None, pick(self.scales), pick(self.offsets), pick(self.names),
            pick(self.colours), self.is_picture, pick(self.wavelengths), self.tags, self.grid,
            self.bare_transform,
        )  # fmt: skip


NOTHING = Declarations()


def declarations_of(file: DatasetReader, reads_mask: bool = True) -> Declarations:
    """What an open file states. Only the pixels of its mask are read, if it has one, and if `reads_mask`."""
    # JPEG within a TIFF needs three bands to be red, green and blue, whatever they are: that states nothing.
    is_by_compression = file.photometric is PhotometricInterp.ycbcr
    colours = ["" if is_by_compression else colour.name for colour in file.colorinterp]
    alpha = file.colorinterp.index(ColorInterp.alpha) if ColorInterp.alpha in file.colorinterp else None
    has_mask = reads_mask and alpha is None and any(MaskFlags.per_dataset in flags for flags in file.mask_flag_enums)
    tags = file.tags()
    return Declarations(
        nodata=tuple(file.nodatavals),
        mask=file.dataset_mask() > 0 if has_mask else None,
        alpha=alpha,
        scales=scales_of(file),
        offsets=tuple(file.offsets),
        names=tuple(name or "" for name in file.descriptions),
        colours=tuple(name if name in ("red", "green", "blue") else "" for name in colours),
        is_picture=file.count <= PICTURE_BANDS and colours[:3] == ["red", "green", "blue"],
        wavelengths=tuple(_wavelength(file, band) for band in file.indexes),
        tags={name: tags[name] for name in TAGS if name in tags},
        grid=grid_of(file),
        bare_transform=None if file.crs is not None or file.transform.is_identity else _six(file.transform),
    )


def grid_of(file: DatasetReader) -> Grid | None:
    """Where an open file lies; None where it states no reference system, or points that no grid has."""
    if file.crs is None:
        points, crs = file.gcps
        return grid_of_points(points, crs, file.height, file.width)
    return Grid(short_system(file.crs.to_wkt()), _six(file.transform), file.height, file.width)


def _six(transform: Affine) -> Transform:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a, b, c, d, e, f


def grid_of_points(points: Sequence[GroundControlPoint], crs: CRS | None, height: int, width: int) -> Grid | None:
    """The grid with which all ground control points agree to half a pixel; None where there is none."""
    if crs is None or len(points) < FEWEST_POINTS:
        return None
    transform = from_gcps(points)
    for point in points:
        col, row = ~transform * (point.x, point.y) if transform.determinant else (np.inf, np.inf)
        if max(abs(col - point.col), abs(row - point.row)) > OFF_THE_GRID:
            return None
    return Grid(short_system(crs.to_wkt()), _six(transform), height, width)


def scales_of(file: DatasetReader) -> tuple[float, ...]:
    """Scales of the bands, where none is stated by the factor of ENVI's header: reflectance = number / factor."""
    factor = _number(file.tags(ns="ENVI").get("reflectance_scale_factor"))
    scales: tuple[float, ...] = tuple(file.scales)
    if factor is None or factor <= 0 or any(scale != 1 for scale in scales):
        return scales
    return (1 / factor,) * len(scales)


def _wavelength(file: DatasetReader, band: int) -> float | None:
    """The centre of a band in nanometres, as GDAL's IMAGERY domain or ENVI's header state it."""
    if centre := _number(file.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")):
        return 1000 * centre
    stated = {name.lower(): value for name, value in file.tags(band).items()}
    value = _number(stated.get("wavelength") or stated.get("center_wavelength") or stated.get("central_wavelength"))
    if value is None:
        return None
    units = stated.get("wavelength_units", "").lower()
    # Micrometres and nanometres of the optical range cannot be mistaken for each other.
    return 1000 * value if units.startswith("micro") or units in ("um", "µm") or value < 100 else value


def _number(text: str | None) -> float | None:
    try:
        value = float(text.split()[0]) if text and text.split() else None
    except ValueError:
        return None
    return value if value is not None and np.isfinite(value) else None
