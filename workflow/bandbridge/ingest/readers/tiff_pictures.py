"""What only TIFF can hold: images in grey, with a palette, an alpha channel or in CMYK; bands on pages."""

from dataclasses import replace
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.interpretation import interpreted
from bandbridge.ingest.nodata import IGNORE, validity
from bandbridge.ingest.rasters import Raster, RasterError, in_gdals_words, must_fit, opened

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
PICTURES = "grey, a palette, RGB or CMYK, with or without an alpha channel"


def picture_raster(raster: Raster, content: bytes, modality: Modality, name: str) -> Raster:
    """A decoded TIFF or JPEG 2000 as red, green and blue, (3, y, x) uint8, and where it holds data.

    Raises:
        RasterError: it has more than 8 bits per channel, or its bands are no image.
    """
    if raster.pixels.dtype != np.uint8:
        raise RasterError(f"pixels are {raster.pixels.dtype}, expected uint8; describe other types as bands")
    bands, alpha = len(raster.pixels), raster.stated.alpha
    if bands == len(RGB) or (bands == len(RGB) + 1 and alpha is not None):
        return interpreted(raster, modality, name)
    valid = validity(raster.pixels[:1], raster.stated.of_band(0), modality.nodata)
    if alpha is not None and modality.nodata != IGNORE:
        opaque = raster.pixels[alpha : alpha + 1] > 0
        valid = opaque if valid is None else valid & opaque
    picture = picture_of(raster.pixels, content).transpose(2, 0, 1)
    return replace(raster, pixels=picture, valid=None if valid is None else np.broadcast_to(valid, picture.shape))


def picture_of(pixels: NDArray[np.uint8], content: bytes) -> NDArray[np.uint8]:
    """(y, x, 3) of a TIFF's bands (band, y, x), by the meanings that it states.

    Grey is repeated, also where white is 0 or a pixel has one bit; an alpha channel is dropped; a palette is looked up;
    CMYK and YCbCr are RGB already, since GDAL reads them so.

    Raises:
        RasterError: the bands are none of these.
    """
    if len(pixels) == len(RGB):
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))
    with opened(content) as file:
        return _translated(pixels, file)


def _translated(pixels: NDArray[np.uint8], file: DatasetReader) -> NDArray[np.uint8]:
    meaning = [kind for kind in file.colorinterp if kind is not ColorInterp.alpha]
    if meaning[0] is ColorInterp.palette:
        table = np.zeros((256, len(RGB)), np.uint8)
        for index, colour in file.colormap(1).items():
            table[index] = colour[: len(RGB)]
        coloured: NDArray[np.uint8] = table[pixels[0]]
        return coloured
    if meaning[: len(RGB)] == RGB and len(file.colorinterp) - len(RGB) <= 1:
        return np.ascontiguousarray(pixels[: len(RGB)].transpose(1, 2, 0))
    if meaning[0] is ColorInterp.gray and len(pixels) <= 2:
        structure = file.tags(1, ns="IMAGE_STRUCTURE") | file.tags(ns="IMAGE_STRUCTURE")
        grey = pixels[0] * np.uint8(255 // (2 ** int(structure.get("NBITS", 8)) - 1))
        return np.repeat((255 - grey if "MINISWHITE" in structure else grey)[..., None], len(RGB), axis=-1)
    names = ", ".join(kind.name for kind in file.colorinterp)
    raise RasterError(f"has {len(pixels)} bands ({names}), which are no image: expected {PICTURES}")


def with_pages(raster: Raster, content: bytes, expected: int, limit: int) -> Raster:
    """The pages of a TIFF as its bands, where each holds one and there are as many as expected; else the first.

    Raises:
        RasterError: there are several pages, and they are not those bands.
    """
    bands, pages = len(raster.pixels), page_count(content)
    if pages == 1:
        return raster
    if bands == 1 and pages == expected:
        return Raster(pages_as_bands(content, pages, limit), raster.place, find_grid=raster.find_grid)
    raise RasterError(f"has {pages} pages, the first of {bands} bands; expected {expected} bands in one image")


def page_count(content: bytes) -> int:
    """How many images of full size a TIFF holds; overviews and masks do not count."""
    with opened(content) as file:
        return max(1, len(file.subdatasets))


def pages_as_bands(content: bytes, pages: int, limit: int) -> NDArray[Any]:
    """(page, y, x) of a TIFF whose pages hold one band each, as microscopes and tifffile write them.

    Raises:
        RasterError: pages differ in size or number type, or hold more than one band.
    """
    bands = []
    try:
        with opened(content) as file:
            for number in range(1, pages + 1):
                with rasterio.open(f"GTIFF_DIR:{number}:{file.name}", driver="GTiff") as page:
                    must_fit(page, limit // pages)
                    facts = page.count, page.shape, page.dtypes[0]
                    if facts != (1, file.shape, file.dtypes[0]):
                        raise RasterError(
                            f"page {number} holds {page.count} bands of {page.height} x {page.width} {page.dtypes[0]}, "
                            f"the first one of {file.height} x {file.width} {file.dtypes[0]}; expected equal ones"
                        )
                    bands.append(page.read(1))
    except rasterio.errors.RasterioError as error:
        raise RasterError(f"cannot be read as a raster: {in_gdals_words(error)}") from error
    return np.stack(bands)
