"""Band files of one sample put together: one type of numbers, one place, one grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.interpretation import together
from bandbridge.ingest.nodata import to_grid_with_data
from bandbridge.ingest.places import Grid, misplaced, modality_difference, on_grid, on_ground
from bandbridge.ingest.rasters import Raster, RasterError, to_grid

Stack = tuple[NDArray[Any], NDArray[np.bool_] | None, Grid | None]


def stacked_bands(
    files: Mapping[str, Raster], modality: Modality, resampling: str, other_grids: str, target: Grid | None = None
) -> Stack:
    """Bands of any resolutions on one grid: pixels (band, y, x), or (y, x, 3) for 'rgb'; their validity; the grid.

    Args:
        files: band -> its file, as `interpretation.interpreted` returns it.
        other_grids: 'refuse' bands that lie elsewhere than the finest, or 'resample' them to its grid.
        target: where the sample is to lie, if not where its finest band does.

    Raises:
        RasterError: the bands are of several types, or lie in several places.
    """
    must_be_of_one_type({name: file.pixels.dtype for name, file in files.items()})
    height, width = modality.size or max((file.pixels.shape[1:] for file in files.values()), key=lambda s: s[0] * s[1])
    grids = {name: file.grid for name, file in files.items()}
    reason = misplaced(grids)
    if reason is None and not _leads_elsewhere(grids, target):
        pixels, valid = _same_ground(files, height, width, resampling)
        stated = [grid for grid in grids.values() if grid is not None]
        grid = min(stated, key=lambda one: one.pixel).resized(height, width) if stated else None
    elif other_grids == "resample":
        pixels, valid, grid = _warped(files, target, height, width, resampling)
    else:
        raise RasterError(f"{reason}; bring them to one place, or state other_grids: resample")
    axis = -1 if modality.is_rgb else 0
    return np.stack(pixels, axis), None if valid is None else np.moveaxis(valid, 0, axis), grid


def must_be_of_one_type(dtypes: Mapping[str, np.dtype]) -> None:
    """A `RasterError` that names the bands of each type of numbers, where there are several types."""
    if len(set(dtypes.values())) == 1:
        return
    names: dict[str, list[str]] = {}
    for band, dtype in dtypes.items():
        names.setdefault(str(dtype), []).append(band)
    which = "; ".join(", ".join(bands) for bands in names.values())
    raise RasterError(f"bands are of several types: {', '.join(names)} ({which}); expected one")


def _leads_elsewhere(grids: Mapping[str, Grid | None], target: Grid | None) -> bool:
    stated = [grid for grid in grids.values() if grid is not None]
    return target is not None and bool(stated) and modality_difference(target, stated[0]) is not None


def _same_ground(
    files: Mapping[str, Raster], height: int, width: int, resampling: str
) -> tuple[list[NDArray[Any]], NDArray[np.bool_] | None]:
    pixels: list[NDArray[Any]] = []
    valid: list[NDArray[np.bool_] | None] = []
    for file in files.values():
        band, data = file.pixels[0], None if file.valid is None else file.valid[0]
        if data is None or data.all():
            try:
                pixels.append(to_grid(band, height, width, resampling))
            except ValueError as error:
                raise RasterError(str(error)) from error
            valid.append(None if data is None else np.ones((height, width), np.bool_))
            continue
        if height < band.shape[0] or width < band.shape[1]:
            raise RasterError(f"a band of {band.shape[0]} x {band.shape[1]} pixels is finer than {height} x {width}")
        moved, has_data = to_grid_with_data(band, data, height, width, resampling)
        pixels.append(moved)
        valid.append(has_data)
    return pixels, together(valid, (height, width))


def _warped(
    files: Mapping[str, Raster], target: Grid | None, height: int, width: int, resampling: str
) -> tuple[list[NDArray[Any]], NDArray[np.bool_], Grid]:
    """All bands on the target's ground, or on that of the finest band."""
    lacking = [name for name, file in files.items() if file.grid is None]
    if lacking:
        raise RasterError(f"band {', '.join(lacking)} states no place, so that it cannot be resampled to the others'")
    finest = min((file.grid for file in files.values() if file.grid is not None), key=lambda grid: grid.pixel)
    grid = finest.resized(height, width) if target is None else on_ground(target, finest)
    moved = []
    for file in files.values():
        assert file.grid is not None
        moved.append(on_grid(file.pixels, file.valid, file.grid, grid, resampling))
    return [pixels[0] for pixels, _ in moved], np.concatenate([valid for _, valid in moved]), grid
