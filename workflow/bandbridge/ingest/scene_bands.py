"""The bands of a scene, each an open file: values in the sensor's unit on one grid, and where they hold data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.declarations import Declarations, declarations_of
from bandbridge.ingest.interpretation import chosen_bands, may_lack_data, radiometry_for
from bandbridge.ingest.nodata import IGNORE, to_grid_with_data, validity
from bandbridge.ingest.places import Grid, on_grid
from bandbridge.ingest.radiometry import Radiometry
from bandbridge.ingest.side_files import SideFiles, stated_with
from bandbridge.ingest.stacking import must_be_of_one_type


@dataclass(frozen=True)
class ProductFacts:
    """What a product's metadata state of a band: the number that is no data, and metadata by GDAL's names."""

    nodata: float
    tags: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Layer:
    """A band of a scene in an open file.

    Attributes:
        index: of the band in the file, counted from 1; `alpha` that of its alpha channel, None without one.
        on: the grid that it is brought to; None where it covers the scene's ground already.
    """

    raster: DatasetReader
    index: int
    alpha: int | None
    stated: Declarations
    modality: Modality
    radiometry: Radiometry | None
    on: Grid | None = None

    @property
    def may_lack_data(self) -> bool:
        dtype = np.dtype(self.raster.dtypes[self.index - 1])
        has_alpha = self.alpha is not None and self.modality.nodata != IGNORE
        return self.on is not None or has_alpha or may_lack_data(self.stated, self.modality, dtype)

    @property
    def dtype(self) -> np.dtype:
        """Of its values in the sensor's unit."""
        dtype = np.dtype(self.raster.dtypes[self.index - 1])
        return dtype if self.radiometry is None else self.radiometry.result_type(dtype)

    def read(self, height: int, width: int, resampling: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Values (y, x) on a grid of that size and where they hold data; None where all of them do and must."""
        pixels, valid = self._pixels(height, width, resampling)
        if self.radiometry is None:
            return pixels, valid
        values, _ = self.radiometry.apply(pixels[None], None)
        return values[0], valid

    def _pixels(self, height: int, width: int, resampling: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        valid = self._valid() if self.may_lack_data else None
        if self.on is not None:
            assert self.stated.grid is not None
            data = None if valid is None else valid[None]
            moved, has_data = on_grid(self.raster.read([self.index]), data, self.stated.grid, self.on, resampling)
            return moved[0], has_data[0]
        if valid is None or valid.all():
            pixels = self.raster.read(self.index, out_shape=(height, width), resampling=Resampling[resampling])
            return pixels, None if valid is None else np.ones((height, width), np.bool_)
        return to_grid_with_data(self.raster.read(self.index), valid, height, width, resampling)

    def _valid(self) -> NDArray[np.bool_] | None:
        valid = validity(self.raster.read([self.index]), self.stated, self.modality.nodata)
        if self.alpha is not None and self.modality.nodata != IGNORE:
            clear: NDArray[np.bool_] = self.raster.read(self.alpha) == 0
            return ~clear if valid is None else valid[0] & ~clear
        return None if valid is None else valid[0]


def layer_of(
    raster: DatasetReader,
    modality: Modality,
    file: str,
    on: Grid | None = None,
    index: int | None = None,
    product: ProductFacts | None = None,
    beside: SideFiles | None = None,
) -> Layer:
    """A band in an open file.

    Args:
        modality: with only this band.
        index: of the band in a file of several, from 1; None for a file with only this band.
        product: what the metadata of the product that the file is of state.
        beside: the mask and the notes beside it.

    Raises:
        RasterError: the file has further bands, or what it states of this one contradicts the data set's file.
    """
    own = declarations_of(raster)
    # Files are opened with the place that is stated beside them.
    stated = replace(stated_with(own, beside, (raster.count, raster.height, raster.width)), grid=own.grid)
    if index is not None:
        of_band, alpha = stated.of_band(index - 1), stated.alpha
    else:
        chosen, of_band, alpha = chosen_bands(stated, modality, raster.count)
        index = 1 if chosen is None else chosen[0] + 1
    if product is not None:
        of_band = replace(of_band, nodata=(product.nodata,), tags={**of_band.tags, **product.tags})
    radiometry = radiometry_for(of_band, modality, file, np.dtype(raster.dtypes[index - 1]))
    return Layer(raster, index, None if alpha is None else alpha + 1, of_band, modality, radiometry, on)


def must_agree(layers: Mapping[str, Layer]) -> None:
    """A `RasterError` where the values of the bands are of several types."""
    must_be_of_one_type({band: layer.dtype for band, layer in layers.items()})


def valid_pixels(layers: Sequence[Layer], height: int, width: int, resampling: str) -> NDArray[np.bool_] | None:
    """(y, x), where all bands hold data; None where no statement implies missing data.

    Only the pixels of bands that may lack data are read.
    """
    whole: NDArray[np.bool_] | None = None
    for layer in layers:
        if layer.may_lack_data:
            _, valid = layer.read(height, width, resampling)
            if valid is not None:
                whole = valid if whole is None else whole & valid
    return whole
