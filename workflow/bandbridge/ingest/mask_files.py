"""Masks in files of their own, as GDAL writes them: beside NAME.tif, NAME.tif.msk is zero where there are no data."""

from collections.abc import Callable
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


def masks_of(path: Path, accepts: Callable[[str], bool], search_tar: bool = False) -> dict[str, bytes]:
    """File -> the content of its mask, for the accepted files that have one.

    Args:
        accepts: a predicate of the files' names.
        search_tar: read a tar for them, from its start to its end; otherwise `watched` has to check that it has none.
    """
    if _is_tar(path) and not search_tar:
        return {}
    contents = members(path, ["*.[mM][sS][kK]"], accepts=lambda name: accepts(_owner(name)))
    return {_owner(name): content for name, content in contents}


def watched(path: Path, accepts: Callable[[str], bool]) -> Callable[[str], bool]:
    """A predicate for `archives.members` that raises a `UserError` where a tar has a mask of an accepted file.

    A mask may come after its file, so that a tar would have to be read twice.
    """
    if not _is_tar(path):
        return accepts

    def accepts_unmasked(name: str) -> bool:
        if is_mask(name) and accepts(_owner(name)):
            raise UserError(
                f"{path}: '{name}' is the mask of another file, which a tar cannot be searched for; unpack the archive "
                "to a folder, or make it a zip"
            )
        return accepts(name)

    return accepts_unmasked


def _owner(name: str) -> str:
    return name[: -len(ENDING)] if is_mask(name) else name


def _is_tar(path: Path) -> bool:
    return not path.is_dir() and not path.name.lower().endswith(ZIP_SUFFIXES)


def masked(raster: Raster, mask: bytes | None) -> Raster:
    """A raster whose `stated` has the mask of its mask file.

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
        actual, expected = (" x ".join(map(str, sides)) for sides in (pixels.shape[1:], shape))
        raise RasterError(f"has a mask file ({ENDING}) of {actual} pixels, expected {expected}")
    return np.asarray((pixels > 0).all(axis=0))
