"""A map beside polygons whose classes are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from bandbridge.base.errors import UserError
from bandbridge.ingest.readers.polygon_labels import Grid, label_map
from bandbridge.ingest.readers.polygons import read_polygons


@dataclass(frozen=True)
class Agreement:
    """How far a map and polygons agree, by pixels.

    Attributes:
        pixels: that have a class on the map and by the polygons.
        share: of them, those with the same class.
        balanced: the mean over the polygons' classes of each one's share.
        per_class: label -> share of its polygons' pixels that the map gives it; None where it has none.
    """

    pixels: int
    share: float
    balanced: float
    per_class: Mapping[str, float | None]


def compare_with_polygons(cover: Path, names: Sequence[str], polygons: Mapping[str, Any]) -> Agreement:
    """Compare a map's classes with polygons.

    Args:
        names: the map's labels, class i + 1 being `names[i]`.
        polygons: `file`, `class_field`, and `class_map` from its values to labels, or to None for what has no label.

    Raises:
        UserError: the polygons cannot be read, or none of them lies on the map.
    """
    file = Path(polygons["file"])
    with rasterio.open(cover) as raster:
        grid = Grid(raster.height, raster.width, raster.transform, raster.crs)
        mapped = raster.read(1)
    try:
        frame = read_polygons(file.parent, file.name)
        truth = label_map(frame, polygons["class_field"], polygons.get("class_map") or {}, names, grid)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    compared = (truth > 0) & (truth <= len(names)) & (mapped > 0)
    if not compared.any():
        raise UserError(
            f"{file}: none of its polygons with a label lies on the map {cover.name}; name those of the scene."
        )
    right = (truth == mapped) & compared
    totals = np.bincount(truth[compared], minlength=len(names) + 1)[1 : len(names) + 1]
    hits = np.bincount(truth[right], minlength=len(names) + 1)[1 : len(names) + 1]
    shares = {name: float(hit / total) if total else None for name, hit, total in zip(names, hits, totals, strict=True)}
    known = [share for share in shares.values() if share is not None]
    return Agreement(int(compared.sum()), float(right.sum() / compared.sum()), float(np.mean(known)), shares)
