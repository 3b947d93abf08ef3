"""Arrays that users hand to a model, held to the same rules as files: real numbers, in its unit, with marked gaps."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.ingest.nodata import not_measured
from bandbridge.use.scenes import BandSet, Reading, must_be_in_unit

ARRAY = "the array"  # in messages, in place of a file
SHAPES = "(band, y, x) or (sample, band, y, x)"


def as_numbers(images: Any) -> NDArray[Any]:
    """Images as an array of real numbers in this machine's byte order.

    Args:
        images: an array, a tensor of any device, or a sequence of such with one shape.

    Raises:
        UserError: several shapes, or no real numbers.
    """
    try:
        parts = [_without_torch(part) for part in images] if isinstance(images, list | tuple) else images
        pixels = np.asarray(_without_torch(parts))
    except ValueError as error:
        raise UserError(
            "the images have different shapes; encode images of one shape at a time, or cut them to one."
        ) from error
    if pixels.dtype.kind not in "iuf":
        raise UserError(f"{ARRAY} holds {pixels.dtype}; expected whole numbers or floats {SHAPES}.")
    if pixels.dtype.itemsize > 8:  # long doubles, which torch does not know
        return pixels.astype(np.float64)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _without_torch(images: Any) -> Any:
    if not isinstance(images, Tensor):
        return images
    values = images.detach().cpu()
    return (values.float() if values.dtype is torch.bfloat16 else values).numpy()


def checked(pixels: NDArray[Any], takes: BandSet, reading: Reading) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Pixels (n, band, y, x) in the model's unit, and (n, y, x) True where every band has a value; None where all do.

    Args:
        pixels: of bands of `takes`.
        takes: the bands that the model takes, with their unit.
        reading: scale and offset of the pixels, if the user states them.

    Raises:
        UserError: images without pixels or without a value, or values that are not in the model's unit.
    """
    if not pixels.size:
        if len(pixels):
            raise UserError(f"{ARRAY} has the shape {pixels.shape}: its images have no pixels.")
        return pixels, None
    stored = pixels.dtype.name
    if reading.scale is not None:
        pixels = (pixels * np.float64(reading.scale) + reading.offset).astype(np.float32)
    valid = np.isfinite(pixels).all(axis=1) if pixels.dtype.kind == "f" else None
    if valid is not None and valid.all():
        valid = None
    if valid is not None and not (has_value := valid.any(axis=(1, 2))).all():
        raise UserError(f"{ARRAY}: image {int(np.argmin(has_value))} has no pixel with a value in every band.")
    values = pixels if valid is None else np.moveaxis(pixels, 1, -1)[valid]
    if (value := not_measured(values, takes.units)) is not None:
        raise UserError(f"{ARRAY}: a value is {value:g}, which is no measurement; if it marks missing data, write NaN.")
    must_be_in_unit(values, {stored}, takes, reading, ARRAY)
    return pixels, valid
