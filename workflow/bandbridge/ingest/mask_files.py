"""Masks in files of their own, as GDAL writes them: beside NAME.tif, NAME.tif.msk is zero where there are no data."""

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, RasterError, in_gdals_words, must_fit, opened

ENDING = ".msk"


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
