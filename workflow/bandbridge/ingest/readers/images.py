"""One image file as a sample's pixels: an RGB image or a raster with all bands, as delivered."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rasterio import Affine

from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.declarations import NOTHING
from bandbridge.ingest.interpretation import interpreted
from bandbridge.ingest.nodata import IGNORE, validity
from bandbridge.ingest.other_formats import JP2_BOX
from bandbridge.ingest.places import Grid
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, Raster, RasterError, centre_of, decode
from bandbridge.ingest.readers.tiff_pictures import picture_raster, with_pages
from bandbridge.ingest.side_files import SideFiles, stated_with, with_side_files

# Pillow has some 40 formats, and tries all of them: of these, EPS runs Ghostscript.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM")
# How many times the pixels of a sample a file may hold, and the bytes of a float64.
ROOM, LARGEST_NUMBER = 4, 8
CHANNELS = 3
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Images that GDAL reads: Pillow reads no JPEG 2000 that GDAL wrote, and the upper bits of others.
BY_GDAL = (*TIFF_MARKS, b"\xff\x4f\xff\x51")
# Modes that become red, green and blue without loss of depth: grey, palettes, CMYK, with or without an alpha channel.
PICTURE_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
# Pillow raises SyntaxError and ValueError for damaged files, too.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(
    content: bytes,
    modality: Modality,
    picture_size: int | None = None,
    name: str = "",
    beside: SideFiles | None = None,
) -> Raster:
    """The pixels of a file, in the modality's unit, where it lies and where it holds data.

    Args:
        modality: 'rgb' makes (y, x, 3) uint8 of any image of 8 bits per channel (grey is repeated, an alpha channel
            dropped, palettes and CMYK are translated), TIFFs among them; others give (band, y, x) as the file has
            them, one per page where every page holds one.
        picture_size: of 'rgb': bring the shorter side to this many pixels and cut the middle square out, as CLIP's
            preprocessing does.
        name: of the file; those of Sentinel-2 products state their processing baseline.
        beside: the mask, the notes and the world file beside it.

    Raises:
        RasterError: the file is damaged, has another number of bands than the modality, more than 8 bits per
            channel, or more pixels than `most_bytes` allows.
    """
    limit = most_bytes(modality, picture_size)
    if not modality.is_rgb:
        return _with_bands(content, modality, limit, name, beside)
    if content.startswith(BY_GDAL) or content[4:8] == JP2_BOX:
        raster = picture_raster(with_side_files(decode(content, limit), beside), content, modality, name)
        raster = replace(raster, pixels=np.ascontiguousarray(raster.pixels.transpose(1, 2, 0)))
    else:
        raster = _picture(content, modality, limit, beside)
    # Of an image whose value for no data is 0, black holds none, and a dark red does.
    pixels, valid = raster.pixels, None if raster.valid is None else np.asarray(raster.valid.any(axis=0))
    if picture_size:
        pixels, valid = _cut_with_data(Image.fromarray(pixels), valid, picture_size)
        uncut = raster
        raster = replace(raster, find_grid=lambda: _cut_grid(uncut.grid, picture_size))
    return replace(raster, pixels=pixels, valid=_on_channels(valid, pixels))


def most_bytes(modality: Modality, picture_size: int | None = None) -> int:
    """How many bytes the pixels of a file may take: a multiple of a sample's where its size is known."""
    if modality.size is None or picture_size:
        return MOST_SAMPLE_BYTES
    height, width = modality.size
    return min(MOST_SAMPLE_BYTES, ROOM * height * width * len(modality.bands) * LARGEST_NUMBER)


def _with_bands(content: bytes, modality: Modality, limit: int, name: str, beside: SideFiles | None) -> Raster:
    raster = with_side_files(decode(content, limit), beside)
    if len(raster.pixels) != len(modality.bands) and content.startswith(TIFF_MARKS):
        raster = with_pages(raster, content, len(modality.bands), limit)
    return interpreted(raster, modality, name)


def _picture(content: bytes, modality: Modality, limit: int, beside: SideFiles | None) -> Raster:
    """(y, x, 3), and (band, y, x) where it holds data: where it is not transparent and nothing else is stated."""
    try:
        with _no_warnings_of_bombs(), Image.open(BytesIO(content), formats=PICTURE_FORMATS) as picture:
            width, height = picture.size
            if width * height * CHANNELS > limit:
                raise RasterError(f"states {height:,} x {width:,} pixels; the limit is {limit // CHANNELS:,}")
            if picture.mode not in PICTURE_MODES:
                raise RasterError(f"is an image of mode {picture.mode}, expected 8 bits per channel")
            if _is_deep(picture):
                raise RasterError("has more than 8 bits per channel; describe it as bands")
            rgb = picture.convert("RGB")
            clear = None if modality.nodata == IGNORE else _transparent(picture)
            numbers = _numbers(picture, rgb)
    except UnidentifiedImageError as error:
        raise RasterError(f"cannot be read as an image: it is none of {', '.join(PICTURE_FORMATS)}") from error
    except UNREADABLE as error:
        if isinstance(error, RasterError):
            raise
        raise RasterError(f"cannot be read as an image: {' '.join(str(error).split())}") from error
    stated = stated_with(NOTHING, beside, numbers.shape)
    valid = validity(numbers, stated, modality.nodata)
    if clear is not None:
        valid = ~clear[None] if valid is None else valid & ~clear
    return Raster(np.asarray(rgb), lambda: centre_of(stated.grid), stated, lambda: stated.grid, valid)


def _is_deep(picture: Image.Image) -> bool:
    """Whether a file has more than 8 bits per channel, of which Pillow keeps the upper ones."""
    tiles = getattr(picture, "tile", None)
    stored = tiles[0].args if tiles else ()  # "RGB;16B" of a PNG, ("RGB", 65535) of a PPM
    largest = stored[-1] if picture.format == "PPM" and isinstance(stored, tuple) else 255
    return ";16" in str(stored) or largest > 255


def _numbers(picture: Image.Image, rgb: Image.Image) -> NDArray[np.uint8]:
    """(band, y, x) as the file has them, which no-data values refer to: one band of grey or of a palette's indices."""
    if picture.mode in ("L", "P"):
        return np.asarray(picture)[None]
    if picture.mode in ("LA", "La", "PA"):
        return np.asarray(picture)[None, ..., 0]
    return np.asarray(rgb).transpose(2, 0, 1)


def _transparent(picture: Image.Image) -> NDArray[np.bool_] | None:
    """(y, x), True where an image is fully transparent; None where no pixel is."""
    if not picture.has_transparency_data:
        return None
    clear = np.asarray(picture.convert("RGBA").getchannel("A")) == 0
    return clear if clear.any() else None


def _on_channels(valid: NDArray[np.bool_] | None, pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    return None if valid is None else np.broadcast_to(valid[..., None], pixels.shape)


def _cut_with_data(
    picture: Image.Image, valid: NDArray[np.bool_] | None, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """An image brought to `size`, and which of its pixels come only from pixels with data.

    Pixels without data take the mean colour of the others first, so that their arbitrary values are not mixed in.
    """
    if valid is None or not valid.any():
        return _cut(picture, size), None if valid is None else np.zeros((size, size), np.bool_)
    values = np.asarray(picture)
    mean = values[valid].mean(axis=0).astype(np.uint8)
    whole = _cut(Image.fromarray((255 * valid).astype(np.uint8)), size) == 255
    return _cut(Image.fromarray(np.where(valid[..., None], values, mean)), size), whole


@contextmanager
def _no_warnings_of_bombs() -> Iterator[None]:
    """Pillow warns of images of half the size that it refuses; here the limit decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _cut(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Shorter side to `size` (bicubic), middle square: torchvision's Resize and CenterCrop, to the pixel."""
    scaled = _scaled(*picture.size, size)
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    left, top = (round((length - size) / 2) for length in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def _scaled(width: int, height: int, size: int) -> tuple[int, int]:
    short, long = min(width, height), max(width, height)
    length = int(size * long / short)  # truncated, not rounded
    return (size, length) if width <= height else (length, size)


def _cut_grid(grid: Grid | None, size: int) -> Grid | None:
    """Where an image lies that `_cut` made of one on a grid."""
    if grid is None:
        return None
    width, height = _scaled(grid.width, grid.height, size)
    scaled = grid.resized(height, width)
    moved = scaled.affine * Affine.translation(round((width - size) / 2), round((height - size) / 2))
    return Grid(grid.crs, (moved.a, moved.b, moved.c, moved.d, moved.e, moved.f), size, size)
