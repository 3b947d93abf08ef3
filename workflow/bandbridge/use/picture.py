"""A map as a picture for pages."""

import io
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling

WIDEST = 1400  # pixels of a picture


def map_picture(path: Path) -> tuple[bytes, int]:
    """A map as a PNG with its own colours, no wider than `WIDEST`, and its width."""
    from PIL import Image

    with rasterio.open(path) as file:
        factor = max(1, -(-max(file.width, file.height) // WIDEST))
        shape = (-(-file.height // factor), -(-file.width // factor))
        classes = file.read(1, out_shape=shape, resampling=Resampling.nearest)
        table = file.colormap(1)
    colours = np.zeros((256, 3), np.uint8)
    for number, colour in table.items():
        colours[number] = colour[:3] if colour[3] else (255, 255, 255)
    image = Image.fromarray(classes, "P")
    image.putpalette(colours.tobytes())
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True, transparency=0)
    return content.getvalue(), image.width
