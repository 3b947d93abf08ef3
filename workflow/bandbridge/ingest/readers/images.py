"""One image file as a sample's pixels: an RGB picture or a raster with all bands, as delivered."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bandbridge.catalogue.datasets import Modality
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, Raster, RasterError, decode
from bandbridge.ingest.readers.tiff_pictures import page_count, pages_as_bands, picture_of

# Pillow has some 40 formats, and tries all of them: of these, EPS runs Ghostscript.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "JPEG2000")
# How many times the pixels of a sample a file may hold, and the bytes of a float64.
ROOM, LARGEST_NUMBER = 4, 8
CHANNELS = 3
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Modes that become red, green and blue without loss of depth: grey, palettes, CMYK, with or without an alpha channel.
PICTURE_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
# Pillow raises SyntaxError and ValueError for damaged files, too.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(content: bytes, modality: Modality, picture_size: int | None = None) -> Raster:
    """The pixels of a file in its own number type, and where it lies.

    Args:
        modality: 'rgb' makes (y, x, 3) uint8 of any picture of 8 bits a channel (grey is repeated, an alpha channel
            dropped, palettes and CMYK are translated), TIFFs among them; others give (band, y, x) as the file has
            them, a page each where every page holds one band.
        picture_size: of 'rgb': bring the shorter side to this many pixels and cut the middle square out, as CLIP's
            preprocessing does.

    Raises:
        RasterError: the file is damaged, has another number of bands than the modality, more than 8 bits a channel, or
            more pixels than `most_bytes` allows.
    """
    limit = most_bytes(modality, picture_size)
    if not modality.is_rgb:
        return _with_bands(content, modality, limit)
    if content.startswith(TIFF_MARKS):
        raster = decode(content, limit)
        if raster.pixels.dtype != np.uint8:
            raise RasterError(f"pixels are {raster.pixels.dtype}, expected uint8; describe other types as bands")
        pixels = picture_of(raster.pixels, content)
        return Raster(_cut(Image.fromarray(pixels), picture_size) if picture_size else pixels, raster.place)
    return Raster(_picture(content, picture_size, limit), _nowhere)


def most_bytes(modality: Modality, picture_size: int | None = None) -> int:
    """How many bytes the pixels of a file may take: a multiple of a sample's where its size is known."""
    if modality.size is None or picture_size:
        return MOST_SAMPLE_BYTES
    height, width = modality.size
    return min(MOST_SAMPLE_BYTES, ROOM * height * width * len(modality.bands) * LARGEST_NUMBER)


def _nowhere() -> None:
    """The place of a file that states none."""


def _with_bands(content: bytes, modality: Modality, limit: int) -> Raster:
    raster = decode(content, limit)
    found, expected = len(raster.pixels), len(modality.bands)
    if found == expected:
        return raster
    if content.startswith(TIFF_MARKS) and (pages := page_count(content)) > 1:
        if found == 1 and pages == expected:
            return Raster(pages_as_bands(content, pages, limit), raster.place)
        raise RasterError(f"has {pages} pages, the first of {found} bands; expected {expected} bands in one image")
    raise RasterError(f"has {found} bands, expected {expected}")


def _picture(content: bytes, size: int | None, limit: int) -> NDArray[np.uint8]:
    try:
        with _no_warnings_of_bombs(), Image.open(BytesIO(content), formats=PICTURE_FORMATS) as picture:
            width, height = picture.size
            if width * height * CHANNELS > limit:
                raise RasterError(f"states {height:,} x {width:,} pixels; the limit is {limit // CHANNELS:,}")
            if picture.mode not in PICTURE_MODES:
                raise RasterError(f"is a picture of mode {picture.mode}, expected 8 bits a channel")
            rgb = picture.convert("RGB")
    except UnidentifiedImageError as error:
        raise RasterError(f"cannot be read as a picture: it is none of {', '.join(PICTURE_FORMATS)}") from error
    except UNREADABLE as error:
        if isinstance(error, RasterError):
            raise
        raise RasterError(f"cannot be read as a picture: {' '.join(str(error).split())}") from error
    return _cut(rgb, size) if size else np.asarray(rgb)


@contextmanager
def _no_warnings_of_bombs() -> Iterator[None]:
    """Pillow warns of pictures of half the size that it refuses; here the limit decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _cut(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Shorter side to `size` (bicubic), middle square: torchvision's Resize and CenterCrop, to the pixel."""
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    if short != size:
        scaled = int(size * long / short)  # truncated, not rounded
        picture = picture.resize((size, scaled) if width <= height else (scaled, size), Image.Resampling.BICUBIC)
    left, top = (round((length - size) / 2) for length in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)))
