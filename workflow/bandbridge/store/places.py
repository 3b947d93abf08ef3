"""Samples as maps: a table of all of them as GeoParquet, one as a raster with its place, a scene put together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import xarray
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from bandbridge.base.errors import UserError
from bandbridge.store.zarr_files import read_attributes

TABLE = "samples.parquet"
WGS84 = "OGC:CRS84"
# How far a sample may lie beside the pixels of a common grid, in pixels.
TOLERANCE = 1e-3


def footprints(
    shape: tuple[int, int],
    systems: Sequence[str],
    transforms: NDArray[np.float64],
    centres: NDArray[np.float64],
) -> NDArray[np.object_]:
    """The outline of each sample in degrees (WGS 84); a point where only its centre is known, None where nothing is.

    Args:
        shape: height and width of the samples in pixels.
        systems: of each sample, its reference system as text; empty where unknown.
        transforms: (sample, 6), as `coordinates.write_places` has them.
        centres: (sample, 2) latitude and longitude, NaN where unknown.
    """
    outlines = np.full(len(centres), None, dtype=object)
    points = np.isfinite(centres).all(axis=1)
    outlines[points] = shapely.points(centres[points, 1], centres[points, 0])
    height, width = shape
    columns, rows = np.array([0, width, width, 0, 0]), np.array([0, 0, height, height, 0])
    of_system = np.array(systems, dtype=object)
    for system in sorted({system for system in systems if system}):
        members = np.flatnonzero((of_system == system) & np.isfinite(transforms).all(axis=1))
        a, b, c, d, e, f = transforms[members].T[:, :, None]
        try:
            to_degrees = Transformer.from_crs(CRS.from_user_input(system), WGS84, always_xy=True)
        except ProjError:  # a local system is nowhere on Earth
            continue
        longitude, latitude = to_degrees.transform(a * columns + b * rows + c, d * columns + e * rows + f)
        corners = np.stack([longitude, latitude], axis=-1)
        finite = np.isfinite(corners).all(axis=(1, 2))
        outlines[members[finite]] = shapely.polygons(corners[finite])
    return outlines


def write_table(path: Path, columns: Mapping[str, Any], outlines: NDArray[np.object_]) -> None:
    """Write one row per sample as GeoParquet, which QGIS, GDAL, DuckDB and geopandas open.

    Args:
        columns: name -> one value per sample; texts, numbers or lists of texts.
        outlines: as `footprints` makes them.
    """
    geopandas.GeoDataFrame(dict(columns), geometry=outlines, crs=WGS84).to_parquet(path, index=False)


def read_table(store: Path) -> geopandas.GeoDataFrame:
    """The samples of a store: id, split, path, labels, date, valid share as far as they are known, and geometry.

    Raises:
        UserError: the store is of a version without such a table.
    """
    if not (store / TABLE).is_file():
        raise UserError(
            f"{store} has no {TABLE}: an earlier version wrote it; delete it, and it is joined again of its parts"
        )
    return geopandas.read_parquet(store / TABLE)


def georeferenced(store: Path, split: str, index: int, modality: str | None = None) -> xarray.DataArray:
    """One sample's pixels with x, y and `spatial_ref`, as rioxarray writes and warps them.

    Args:
        index: of the sample in its split, in the order of the store.
        modality: None for the first.

    Returns:
        (band, y, x), or (y, x, channel) for 'rgb'; a copy in memory.

    Raises:
        UserError: the store has no such split, modality or sample, or does not state where the sample lies.
    """
    name, suffix, group = _modality(store, split, modality)
    array = group[name]
    if not 0 <= index < array.sizes["sample"]:
        raise UserError(f"{store}, {split}: sample {index} of {array.sizes['sample']}; counted from 0")
    systems, transforms = _places(store, group, suffix)
    if not np.isfinite(transforms[index]).all():
        raise UserError(f"{store}, {split}: where sample {index} lies is unknown; its file states no place")
    kept = str(array.dims[1])
    pixels = array.isel(sample=index).drop_vars([str(item) for item in array.coords if str(item) != kept])
    pixels = pixels.rename({dim: str(dim).removesuffix(suffix) for dim in pixels.dims if suffix})
    return _with_place(pixels.load(), systems[index], transforms[index].tolist())


def put_together(store: Path, splits: Sequence[str] | None = None, modality: str | None = None) -> xarray.DataArray:
    """A scene's samples on the grid that they were cut from, pixel by pixel; what no sample covers is the fill value.

    Args:
        splits: None for all.
        modality: None for the first.

    Returns:
        (band, y, x) from the northernmost to the southernmost sample and from the westernmost to the easternmost, with
        x, y and `spatial_ref`; `_FillValue` is 0 for whole numbers unless the store states another, NaN for others.

    Raises:
        UserError: samples lie in several reference systems or are not of one grid, or their places are unknown.
    """
    names = list(read_attributes(store)["counts"]) if splits is None else list(splits)
    arrays, systems, parts = [], [], []
    for split in names:
        name, suffix, group = _modality(store, split, modality)
        split_systems, transforms = _places(store, group, suffix)
        if not np.isfinite(transforms).all() or group[name].dims[1] != f"band{suffix}":
            raise UserError(f"{store}, {split}: not all samples state where they lie, so that they make no scene")
        arrays.append(group[name])
        systems += split_systems
        parts.append(transforms)
    if len(set(systems)) != 1:
        examples = ", ".join(sorted(system[:40] for system in set(systems))[:3])
        raise UserError(f"{store}: the samples lie in {len(set(systems))} reference systems ({examples})")
    return _mosaic(store, arrays, np.concatenate(parts), systems[0])


def _mosaic(
    store: Path, arrays: Sequence[xarray.DataArray], transforms: NDArray[np.float64], system: str
) -> xarray.DataArray:
    first = arrays[0]
    _, bands, height, width = first.shape
    step = transforms[0, [0, 1, 3, 4]]
    left = transforms[np.argmin(transforms[:, 2] * np.sign(step[0])), 2]
    top = transforms[np.argmin(transforms[:, 5] * np.sign(step[3])), 5]
    at = np.stack([(transforms[:, 5] - top) / step[3], (transforms[:, 2] - left) / step[0]], axis=1)
    places = np.round(at).astype(int)
    same_steps = (transforms[:, [0, 1, 3, 4]] == step).all() and not step[1] and not step[2]
    if not same_steps or np.abs(at - places).max() > TOLERANCE:
        raise UserError(f"{store}: the samples are not cut from one grid; merge them by their places instead")
    fill = first.attrs.get("_FillValue", np.nan if first.dtype.kind == "f" else 0)
    south, east = places.max(axis=0).tolist()
    pixels = np.full((bands, south + height, east + width), fill, first.dtype)
    squares = iter(places.tolist())
    for array in arrays:
        for index in range(array.sizes["sample"]):
            row, column = next(squares)
            pixels[:, row : row + height, column : column + width] = array.isel(sample=index).values
    band = {"band": first[first.dims[1]].values} if first.dims[1] in first.coords else {}
    scene = xarray.DataArray(pixels, band, ("band", "y", "x"), attrs={"_FillValue": fill})
    return _with_place(scene, system, (step[0], 0.0, left, 0.0, step[3], top))


def _modality(store: Path, split: str, modality: str | None) -> tuple[str, str, xarray.Dataset]:
    """Name of an array of pixels, the suffix of its coordinates, and the split that it is in."""
    attributes = read_attributes(store)
    modalities = list(attributes["modalities"])
    name = modality or modalities[0]
    if name not in modalities or split not in attributes["counts"]:
        available = f"{', '.join(attributes['counts'])} with {', '.join(modalities)}"
        raise UserError(f"{store} has no {name} of the split {split}; it has {available}")
    group = xarray.open_zarr(store, group=split, mask_and_scale=False)
    return name, "" if name == modalities[0] else f"_{name}", group


def _places(store: Path, group: xarray.Dataset, suffix: str) -> tuple[list[str], NDArray[np.float64]]:
    """Reference system and transform of each sample; empty and NaN where unknown."""
    if f"transform{suffix}" not in group.coords:
        raise UserError(
            f"{store} does not state where its samples lie: their files state none, or an earlier version wrote it; "
            "to have it written again, delete it and its folder in parts, and preprocess the data set again"
        )
    transforms = group[f"transform{suffix}"].values
    reference = f"spatial_ref{suffix}"
    if reference in group.coords:
        return [_short(str(group[reference].attrs["crs_wkt"]))] * len(transforms), transforms
    return [str(system) for system in group[f"crs{suffix}"].values], transforms


def _short(wkt: str) -> str:
    """'EPSG:32633' of its WKT, as the stores of several systems name it; the WKT where it has no code."""
    code = CRS.from_user_input(wkt).to_authority(min_confidence=100)
    return ":".join(code) if code else wkt


def _with_place(pixels: xarray.DataArray, system: str, transform: Sequence[float]) -> xarray.DataArray:
    """Pixels with the coordinates of their centres and their reference system."""
    a, b, c, d, e, f = map(float, transform)
    wkt = CRS.from_user_input(system).to_wkt()
    reference = {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
    placed = pixels.assign_coords(spatial_ref=xarray.DataArray(0, attrs=reference))
    if b == d == 0:
        columns, rows = np.arange(pixels.sizes["x"]) + 0.5, np.arange(pixels.sizes["y"]) + 0.5
        placed = placed.assign_coords(x=("x", c + a * columns), y=("y", f + e * rows))
    placed.attrs["grid_mapping"] = "spatial_ref"
    return placed
