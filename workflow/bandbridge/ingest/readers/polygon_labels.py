"""The class of each pixel of a scene, from polygons with a column of classes."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.ingest import places
from bandbridge.ingest.label_lists import whole
from bandbridge.ingest.names import plain

POLYGONS = ("Polygon", "MultiPolygon")
# A degree is never more than this; coordinates in metres nearly always are.
MOST_DEGREES = 360


@dataclass(frozen=True)
class Grid:
    """The pixel grid of the finest band."""

    height: int
    width: int
    transform: Affine
    crs: CRS

    @property
    def whole(self) -> places.Grid:
        return places.Grid(self._system, tuple(self.transform)[:6], self.height, self.width)

    def window(self, row: int, col: int, size: int) -> places.Grid:
        """The grid of a square of it."""
        transform = self.transform * Affine.translation(col, row)
        return places.Grid(self._system, tuple(transform)[:6], size, size)

    @cached_property
    def _system(self) -> str:
        return places.short_system(self.crs.to_wkt())


def label_map(
    polygons: geopandas.GeoDataFrame,
    field: str,
    class_map: Mapping[str, str | None],
    classes: Sequence[str],
    grid: Grid,
) -> NDArray[np.uint16]:
    """The class of each pixel of a grid: (y, x), 0 where there is none, i + 1 for `classes[i]`.

    A pixel belongs to a polygon that holds its centre. Where polygons overlap, the smaller one counts. Polygons that
    the map leaves out (null) lie beneath all others: `len(classes) + 1` where there are no others. Of collections the
    polygons count; rings that cross themselves are taken apart where they cross.

    Raises:
        UserError: the field is absent or holds values that are no class; rasters or polygons state no reference
            system; or no polygon lies in the scene (both extents are named).
    """
    if field not in polygons.columns:
        columns = [str(column) for column in polygons.columns]
        raise UserError(
            f"class_field is '{field}', the polygons have: {', '.join(columns)}.{did_you_mean(field, columns)}"
        )
    if polygons.crs is None:
        raise UserError(
            "the polygons state no reference system; assign one (geopandas' set_crs, or a .prj file), or name it "
            "with the option polygons_crs"
        )
    if not grid.crs:
        raise UserError(
            "the rasters state no reference system, so the polygons cannot be placed in them; assign one "
            "(gdal_edit -a_srs EPSG:32633 FILE), or name it with the option crs"
        )
    excluded = len(classes) + 1
    numbers = _class_numbers(polygons[field], class_map, classes, excluded)
    areas = polygons.geometry.map(_polygonal)
    frame = geopandas.GeoDataFrame({"number": numbers}, geometry=areas, crs=polygons.crs).to_crs(grid.crs)
    usable = frame["number"].notna() & frame.geom_type.isin(POLYGONS) & ~frame.is_empty
    _log_unlabelled(polygons, frame, usable, excluded)
    frame = frame[usable]
    if frame.empty:
        if len(polygons) and not polygons.geometry.map(_polygonal).geom_type.isin(POLYGONS).any():
            kinds = Counter(polygons.geom_type.fillna("nothing"))
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            raise UserError(f"there is no polygon among {listed}; polygons are needed (lines and points: buffer them)")
        return np.zeros((grid.height, grid.width), np.uint16)
    _must_meet(polygons, frame, grid)
    # Painted from the largest to the smallest, after those left out; the sort is stable, so of equal ones the later is
    # painted last.
    sizes = shapely.area(frame.geometry.to_numpy())
    frame = frame.iloc[np.lexsort((-sizes, frame["number"].to_numpy() != excluded))]
    shapes = zip(frame.geometry, frame["number"].astype(int), strict=True)
    painted: NDArray[np.uint16] = rasterize(
        shapes, (grid.height, grid.width), transform=grid.transform, dtype=np.uint16
    )
    return painted


def _polygonal(geometry: shapely.Geometry | None) -> shapely.Geometry | None:
    """The valid polygons of a geometry; a geometry without any is returned as it is."""
    if geometry is None or geometry.is_empty:
        return geometry
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    if geometry.geom_type in POLYGONS or geometry.geom_type != "GeometryCollection":
        return geometry
    parts = [shapely.get_parts(_polygonal(part)).tolist() for part in geometry.geoms]
    polygons = [part for group in parts for part in group if part.geom_type == "Polygon"]
    return shapely.union_all(polygons) if polygons else geometry


def _log_unlabelled(
    polygons: geopandas.GeoDataFrame, frame: geopandas.GeoDataFrame, usable: NDArray[Any], excluded: int
) -> None:
    """Log how many polygons are without a class, by reason."""
    kinds = Counter[str]()
    kinds["have a class mapped to null"] = int((usable & (frame["number"] == excluded)).sum())
    kinds["have no class"] = int(frame["number"].isna().sum())
    rest = frame[~usable & frame["number"].notna()]
    kinds["have no geometry"] = int((rest.geometry.isna() | rest.is_empty).sum())
    kinds.update(f"are of the kind {kind}" for kind in rest[~(rest.geometry.isna() | rest.is_empty)].geom_type)
    reasons = [f"{count} {kind}" for kind, count in kinds.items() if count]
    if reasons:
        _log(f"of {len(polygons)} polygons {', '.join(reasons)}")


def _must_meet(polygons: geopandas.GeoDataFrame, frame: geopandas.GeoDataFrame, grid: Grid) -> None:
    left, bottom, right, top = grid.whole.bounds
    bounds = frame.bounds.to_numpy()
    # What cannot be brought to the rasters' reference system is at infinity, and meets nothing.
    with np.errstate(invalid="ignore"):
        meets = (bounds[:, 0] < right) & (bounds[:, 2] > left) & (bounds[:, 1] < top) & (bounds[:, 3] > bottom)
    if meets.any():
        return
    polygon_bounds = polygons.total_bounds
    coverage = f"the polygons cover {_extent(polygon_bounds)} in {_name(polygons.crs)}"
    if not polygons.crs.equals(grid.crs) and np.isfinite(frame.total_bounds).all():
        coverage += f", which is {_extent(frame.total_bounds)} in {_name(grid.crs)}"
    degrees = (
        polygons.crs.is_geographic and np.abs(polygon_bounds[np.isfinite(polygon_bounds)]).max(initial=0) > MOST_DEGREES
    )
    advice = (
        "these coordinates are not degrees: name their reference system with the option polygons_crs "
        f"({_name(grid.crs)} if it is that of the rasters)"
        if degrees
        else "take the polygons of this place, or name their reference system with the option polygons_crs"
    )
    raise UserError(
        f"no polygon lies in the scene: {coverage}; the scene covers {_extent((left, bottom, right, top))} in "
        f"{_name(grid.crs)} (left, bottom, right, top); {advice}"
    )


def _extent(bounds: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in bounds)


def _name(crs: CRS) -> str:
    """'EPSG:32633', or the system's WKT in short."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())[:60]


def _class_numbers(
    values: Sequence[object], class_map: Mapping[str, str | None], classes: Sequence[str], excluded: int
) -> list[int | None]:
    """i + 1 of each polygon's class, `excluded` where the map leaves it out; None where it has no value."""
    translated = {plain(str(value)): None if name is None else plain(name) for value, name in class_map.items()}
    numbers: dict[str | None, int] = {plain(name): index + 1 for index, name in enumerate(classes)}
    numbers[None] = excluded
    texts = [_text(value, {*translated, *map(plain, classes)}) for value in values]
    names = [None if text is None else translated.get(text, text) for text in texts]
    unknown = Counter(name for name, text in zip(names, texts, strict=True) if text is not None and name not in numbers)
    if unknown:
        listed = ", ".join(
            f"{name} ({count})" for name, count in sorted(unknown.items(), key=lambda item: str(item[0]))
        )
        raise UserError(
            f"polygons have values that are no class of the nomenclature: {listed}; its classes: {', '.join(classes)}. "
            "Map each value to a class, or to null to leave it out, with the option class_map"
        )
    return [None if text is None else numbers[name] for name, text in zip(names, texts, strict=True)]


def _text(value: object, names: set[str]) -> str | None:
    """A value as the options write it; None where there is none (NaN differs from itself)."""
    if value is None or value != value:
        return None
    text = plain(str(value))
    if text in names:
        return text
    # Whole numbers with gaps are floats in pandas: 1.0 is the class 1.
    text = whole(text)
    return text if text in names or text else None


def _log(message: str) -> None:
    print(message, file=sys.stderr)
