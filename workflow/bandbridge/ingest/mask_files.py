"""Masks in files of their own, as GDAL writes them: beside NAME.tif, NAME.tif.msk is zero where there are no data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from bandbridge.base.errors import UserError
from bandbridge.ingest.archives import ZIP_SUFFIXES, members
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, Raster, RasterError, in_gdals_words, must_fit, opened

ENDING = ".msk"


def is_mask(name: str) -> bool:
    return name.lower().endswith(ENDING)


def members_with_masks(
    path: Path, patterns: Sequence[str] = ("*",), wanted: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, bytes, bytes | None]]:
    """As `archives.members`, with the content of each file's mask, None where it has none.

    Masks are read first, so that they may stand behind their files.

    Raises:
        UserError: as of `members`; or a tar holds masks, which would have to be read twice.
    """

    def is_wanted(name: str) -> bool:
        return wanted is None or wanted(name)

    if _is_read_from_its_start(path):
        masks_too = [*patterns, *(pattern + "[.][mM][sS][kK]" for pattern in patterns)]
        for name, content in members(path, masks_too, wanted=lambda name: is_wanted(_owner(name))):
            if is_mask(name):
                raise UserError(
                    f"{path}: '{name}' is the mask of another file, which a tar cannot be searched for; unpack the "
                    "archive to a folder, or make it a zip"
                )
            yield name, content, None
        return
    beside = members(path, ["*.[mM][sS][kK]"], wanted=lambda name: is_wanted(_owner(name)))
    masks = {_owner(name): content for name, content in beside}
    for name, content in members(path, patterns, wanted=lambda name: not is_mask(name) and is_wanted(name)):
        yield name, content, masks.get(name)


def _owner(name: str) -> str:
    return name[: -len(ENDING)] if is_mask(name) else name


def _is_read_from_its_start(path: Path) -> bool:
    return not path.is_dir() and not path.name.lower().endswith(ZIP_SUFFIXES)


def masked(raster: Raster, mask: bytes | None) -> Raster:
    """A raster whose `stated` says where its mask file has data.

    Raises:
        RasterError: the mask is damaged or of another size.
    """
    if mask is None:
        return raster
    return replace(raster, stated=replace(raster.stated, mask=read_mask(mask, raster.pixels.shape[1:])))


def read_mask(content: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(y, x), True where all bands of a mask say that there are data.

    Raises:
        RasterError: it is damaged, or has another size than `shape`.
    """
    try:
        with opened(content) as file:
            must_fit(file, MOST_SAMPLE_BYTES)
            pixels = file.read()
    except (RasterError, RasterioError) as error:
        reason = in_gdals_words(error) if isinstance(error, RasterioError) else str(error)
        raise RasterError(f"has a mask file ({ENDING}) that {reason}") from error
    if pixels.shape[1:] != tuple(shape):
        found, expected = (" x ".join(map(str, sides)) for sides in (pixels.shape[1:], shape))
        raise RasterError(f"has a mask file ({ENDING}) of {found} pixels, expected {expected}")
    return np.asarray((pixels > 0).all(axis=0))
