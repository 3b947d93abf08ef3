"""Small images for the page and for galleries, as data URIs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bandbridge.base.data_uris import data_uri

# Pixels: thumbnails of data sets are enlarged to the first edge at least and reduced to the second.
SMALLEST_EDGE, LARGEST_EDGE = 64, 160
# Of galleries, images up to the first edge are kept as they are, larger ones are reduced to the second.
KEPT_EDGE, GALLERY_EDGE = 64, 96
QUALITY = 82


def image_uri(image: Image.Image, kind: str, quality: int = 100) -> str:
    """An image as a data URI.

    Args:
        image: to encode.
        kind: 'png' or 'jpeg'.
        quality: of a JPEG.
    """
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), optimize=True, **({"quality": quality} if kind == "jpeg" else {}))
    return data_uri(buffer.getvalue(), f"image/{kind}")


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (y, x, 3) as a PNG data URI; tiny ones are enlarged pixel by pixel, large ones reduced."""
    image = Image.fromarray(pixels)
    edge = max(image.size)
    if edge < SMALLEST_EDGE:
        factor = -(-SMALLEST_EDGE // edge)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((LARGEST_EDGE, LARGEST_EDGE), Image.Resampling.LANCZOS)
    return image_uri(image, "png")


def gallery_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (y, x, 3) as a small data URI: a PNG of its pixels if there are few, otherwise a reduced JPEG."""
    image = Image.fromarray(pixels)
    if max(image.size) <= KEPT_EDGE:
        return image_uri(image, "png")
    image.thumbnail((GALLERY_EDGE, GALLERY_EDGE), Image.Resampling.LANCZOS)
    return image_uri(image, "jpeg", QUALITY)


def decoded(uri: str) -> Image.Image:
    """The image of a data URI."""
    content = io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))
    return Image.open(content, formats=["PNG", "JPEG"]).convert("RGB")
