"""Where the samples of a split lie, as coordinates that xarray, rioxarray and other readers of CF know.

A sample has a grid of its own: `transform` (sample, 6), and `x` and `y` (sample, pixel) of the pixels' centres where
the grid's axes are those of its reference system. So `train.s2.isel(sample=0)` has one-dimensional x and y, of which
rioxarray makes the transform. The reference system is the scalar `spatial_ref` with CF's attributes where all samples
of the split are in one, else `crs` (sample).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS

from bandbridge.store.zarr_files import write_array

CF = "CF-1.11"
# Names a group's or an array's reference system as Zarr's own conventions do.
PROJ_CONVENTION = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
    "description": "Coordinate reference system",
}
AFFINE_AXIS = "affine"
# Coordinates of this many samples are one chunk.
CHUNK = 2_000


def write_places(
    group: zarr.Group, suffix: str, shape: tuple[int, int], systems: Sequence[str], transforms: NDArray[np.float64]
) -> tuple[list[str], dict[str, Any]]:
    """Write the places of a modality's samples; names of the coordinates, and attributes for the array of pixels.

    Args:
        suffix: of the names, '' for the first modality, '_s1' for a further one.
        shape: height and width of the samples.
        systems: of each sample, its reference system as text; empty where its place is unknown.
        transforms: (sample, 6) a, b, c, d, e, f as GDAL's affine in rasterio's order; NaN where unknown.
    """
    placed = np.isfinite(transforms).all(axis=1)
    if not placed.any():
        return [], {}
    length = max(1, min(CHUNK, len(transforms)))
    names = [f"transform{suffix}"]
    described = {"description": "x = a * column + b * row + c, y = d * column + e * row + f, of the pixels' corners"}
    write_array(group, names[0], transforms, ("sample", AFFINE_AXIS), (length, 6), described)
    different = sorted({system for system in systems if system})
    geographic = len(different) == 1 and CRS.from_user_input(different[0]).is_geographic
    if (transforms[placed][:, [1, 3]] == 0).all():
        for axis, size, first, step in (("x", shape[1], 2, 0), ("y", shape[0], 5, 4)):
            centres = transforms[:, first, None] + transforms[:, step, None] * (np.arange(size) + 0.5)
            name = f"{axis}{suffix}"
            write_array(group, name, centres, ("sample", name), (length, size), _axis_attributes(axis, geographic))
            names.append(name)
    if len(different) != 1:
        write_array(group, f"crs{suffix}", np.array(systems, dtype=np.dtypes.StringDType()), ("sample",))
        return [*names, f"crs{suffix}"], {}
    reference = f"spatial_ref{suffix}"
    attributes = _system_attributes(different[0])
    write_array(group, reference, np.array(0, np.int64), (), attributes=attributes)
    pixels = {"grid_mapping": reference, "proj:wkt2": attributes["crs_wkt"], "zarr_conventions": [PROJ_CONVENTION]}
    code = CRS.from_user_input(different[0]).to_authority(min_confidence=100)
    return [*names, reference], {**pixels, **({"proj:code": ":".join(code)} if code else {})}


def _axis_attributes(axis: str, geographic: bool) -> dict[str, str]:
    """CF's names and units of an axis."""
    if geographic:
        name, units = ("longitude", "degrees_east") if axis == "x" else ("latitude", "degrees_north")
    else:
        name, units = f"projection_{axis}_coordinate", "m"
    return {"axis": axis.upper(), "standard_name": name, "units": units}


def _system_attributes(system: str) -> dict[str, Any]:
    """CF's attributes of a grid mapping, and what GDAL and rioxarray look for."""
    crs = CRS.from_user_input(system)
    wkt = crs.to_wkt()
    return {**crs.to_cf(), "crs_wkt": wkt, "spatial_ref": wkt}


def write_wavelengths(
    group: zarr.Group, axis: str, suffix: str, wavelengths: Sequence[float | None] | None
) -> list[str]:
    """Write the centre wavelengths of a modality's bands as a coordinate; its name, if any is known."""
    if wavelengths is None:
        return []
    values = np.array([np.nan if wave is None else wave for wave in wavelengths])
    attributes = {"standard_name": "radiation_wavelength", "units": "nm"}
    write_array(group, f"wavelength{suffix}", values, (axis,), attributes=attributes)
    return [f"wavelength{suffix}"]
