"""Agreement of a map with polygons of known classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize

from bandbridge.base.errors import UserError
from bandbridge.ingest.readers.polygon_labels import POLYGONS, Grid, label_map
from bandbridge.ingest.readers.polygons import read_polygons
from bandbridge.store.places import read_table


@dataclass(frozen=True)
class Agreement:
    """Agreement of a map with polygons, in pixels.

    Attributes:
        pixels: number with a class both on the map and in the polygons.
        share: of these pixels, those with the same class.
        balanced: the mean of `per_class` over the polygons' classes.
        per_class: label -> share of its polygons' pixels with that class on the map; None for no pixels.
    """

    pixels: int
    share: float
    balanced: float
    per_class: Mapping[str, float | None]


def compare_with_polygons(
    cover: Path, names: Sequence[str], polygons: Mapping[str, Any], store: Path | None = None
) -> tuple[Agreement, Agreement | None]:
    """Compare a map's classes with polygons: everywhere, and where the model was neither trained nor chosen.

    Args:
        cover: path of the map.
        names: the map's labels, class i + 1 being `names[i]`.
        polygons: `file`, `class_field`, and `class_map` from its values to labels, or to None for no label.
        store: of the data set that the model was trained on; None if unknown.

    Returns:
        The agreement on all polygons, and that on the pixels of the store's test samples that are in no other sample;
        None for the second where no such pixel has a class.

    Raises:
        UserError: the polygons cannot be read, or none of them is on the map.
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
            f"{file}: none of its polygons with a label is on the map {cover.name}; name those of the scene."
        )
    on_test = None if store is None else compared & _test_pixels(store, grid)
    return (
        _agreement(truth, mapped, compared, names),
        None if on_test is None or not on_test.any() else _agreement(truth, mapped, on_test, names),
    )


def _agreement(
    truth: NDArray[np.uint16], mapped: NDArray[np.uint8], compared: NDArray[np.bool_], names: Sequence[str]
) -> Agreement:
    right = (truth == mapped) & compared
    totals = np.bincount(truth[compared], minlength=len(names) + 1)[1 : len(names) + 1]
    hits = np.bincount(truth[right], minlength=len(names) + 1)[1 : len(names) + 1]
    shares = {name: float(hit / total) if total else None for name, hit, total in zip(names, hits, totals, strict=True)}
    defined = [share for share in shares.values() if share is not None]
    return Agreement(int(compared.sum()), float(right.sum() / compared.sum()), float(np.mean(defined)), shares)


def _test_pixels(store: Path, grid: Grid) -> NDArray[np.bool_]:
    """(y, x), True for a pixel whose centre is in a test sample of a store and in no sample of another split."""
    samples = read_table(store)
    samples = samples[samples.geom_type.isin(POLYGONS)].to_crs(grid.crs)
    is_test = samples["split"] == "test"

    def within(chosen: geopandas.GeoDataFrame) -> NDArray[np.bool_]:
        if chosen.empty:
            return np.zeros((grid.height, grid.width), bool)
        painted = rasterize(chosen.geometry, (grid.height, grid.width), transform=grid.transform, dtype=np.uint8)
        inside: NDArray[np.bool_] = painted > 0
        return inside

    return within(samples[is_test]) & ~within(samples[~is_test])
