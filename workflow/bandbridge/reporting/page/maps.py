"""The report's maps: a picture, the area of each class, agreement with polygons."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling

from bandbridge.base.files import read_json
from bandbridge.use.colours import class_colours

WIDEST = 1400  # pixels of a picture


def map_view(path: Path) -> dict[str, Any]:
    """What the page shows of a map, of the JSON that `use.apply` wrote beside it."""
    about = read_json(path)
    names = [area["name"] for area in about["areas"]]
    colours, agreement = class_colours(names), about["agreement"]
    picture, width = map_picture(path.parent / about["map"])
    rows = [
        {
            "name": area["name"],
            "colour": f"rgb{colour}",
            "share": f"{area['share']:.1%}",
            "km2": "" if area["km2"] is None else f"{area['km2']:,.1f}",
            "agreement": _percent(agreement["per_class"][area["name"]]) if agreement else "",
        }
        for area, colour in zip(about["areas"], colours, strict=True)
    ]
    step = "" if about["stride"] == about["window"] else f", one every {about['stride']}"
    return {
        "name": about["name"],
        "picture": "data:image/png;base64," + base64.b64encode(picture).decode(),
        "width": width,
        "rows": rows,
        "has_area": any(row["km2"] for row in rows),
        "summary": ", ".join(f"{row['name']} {row['share']}" for row in rows),
        "caption": f"By {about['model']}, in windows of {about['window']} pixels{step}. The map itself: "
        f"apply/{about['map']}.",
        "agreement": ""
        if agreement is None
        else f"{agreement['share']:.1%} of {agreement['pixels']:,} pixels with a known class agree, "
        f"{agreement['balanced']:.1%} as a mean over classes; polygons that the model was trained on are among them.",
    }


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


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
