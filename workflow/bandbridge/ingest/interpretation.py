"""From a decoded file to what a store holds: its bands in order, values in the sensor's unit, where there are data."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.band_names import BandNamesError, order_of
from bandbridge.ingest.declarations import Declarations
from bandbridge.ingest.nodata import IGNORE, validity
from bandbridge.ingest.radiometry import Radiometry, radiometry_of, store_unit
from bandbridge.ingest.rasters import Raster, RasterError


def interpreted(raster: Raster, modality: Modality, name: str = "") -> Raster:
    """A file's bands in the modality's order and the sensor's unit, with `valid` and `radiometry` filled in.

    A last band that is an alpha channel is no band: where it is zero, there are no data.

    Args:
        name: of the file, which may state a processing baseline.

    Raises:
        RasterError: the file has another number of bands, or what it states of them contradicts the data set's file.
    """
    order, stated, alpha = chosen_bands(raster.stated, modality, len(raster.pixels))
    pixels = raster.pixels
    transparent = None if alpha is None or modality.nodata == IGNORE else pixels[alpha] == 0
    if order is not None:
        pixels = pixels[order]
    valid = validity(pixels, stated, modality.nodata)
    if transparent is not None:
        valid = ~transparent if valid is None else valid & ~transparent
        valid = np.broadcast_to(valid, pixels.shape)
    radiometry = radiometry_for(stated, modality, name, pixels.dtype)
    if radiometry is not None:
        pixels, valid = radiometry.apply(pixels, valid)
    return replace(raster, pixels=pixels, stated=stated, valid=valid, radiometry=str(radiometry) if radiometry else "")


def chosen_bands(
    stated: Declarations, modality: Modality, bands: int
) -> tuple[list[int] | None, Declarations, int | None]:
    """Which bands of a file are taken (None for all), what is stated of them, and which band is its alpha channel.

    Raises:
        RasterError: there are more bands or fewer than the modality's, or their names contradict it.
    """
    alpha = stated.alpha if bands == len(modality.bands) + 1 else None
    kept = [at for at in range(bands) if at != alpha]
    try:
        order = order_of(stated.of_bands(kept) if alpha is not None else stated, modality, len(kept))
    except BandNamesError as error:
        raise RasterError(str(error)) from error
    if order is None and len(kept) != len(modality.bands):
        raise RasterError(f"has {bands} bands, expected {len(modality.bands)}{_if_named(stated, modality)}")
    chosen = kept if order is None else [kept[at] for at in order]
    if chosen == list(range(bands)):
        return None, stated, None
    return chosen, stated.of_bands(chosen), alpha


def _if_named(stated: Declarations, modality: Modality) -> str:
    names = [name or "-" for name in stated.names]
    if not any(stated.names):
        return ""
    return f": it names {' '.join(names)}, the data set's file {' '.join(modality.bands)} (band_names: take finds them)"


def radiometry_for(stated: Declarations, modality: Modality, name: str, dtype: np.dtype) -> Radiometry | None:
    """The conversion of a file's numbers to the modality's unit; None where they need none.

    Raises:
        RasterError: the file's statements give no such conversion.
    """
    if modality.is_rgb:
        return None
    try:
        return radiometry_of(
            stated,
            name,
            len(modality.bands),
            dtype.kind in "iu",
            sensor=modality.sensor if isinstance(modality.sensor, str) else None,
            sensor_unit=store_unit(modality),
            unit=modality.unit,
            scale=modality.scale,
            offset=modality.offset,
        )
    except ValueError as error:
        raise RasterError(str(error)) from error


def may_lack_data(stated: Declarations, modality: Modality, dtype: np.dtype) -> bool:
    """Whether a band's pixels have to be read to know where it holds data."""
    if modality.nodata == IGNORE:
        return dtype.kind == "f"
    return dtype.kind == "f" or modality.nodata is not None or stated.may_lack_data


def together(valid: list[NDArray[np.bool_] | None], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Where several bands (y, x) hold data, (band, y, x); None where no statement implies that any might be missing."""
    if all(band is None for band in valid):
        return None
    return np.stack([np.ones(shape, np.bool_) if band is None else band for band in valid])
