"""From a batch of stored pixels to a model's input, on the batch's device.

Stores give pixels without data the mean of the sample's others in the same band (`Samples.read`), so that no fill value
reaches a composite, a resize or a network; statistics leave them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Composite
from bandbridge.catalogue.sensors import order_bands
from bandbridge.models.device import sent

REFLECTANCE_SCALE = 10_000.0  # Sentinel-2 digital numbers per unit of reflectance


@dataclass(frozen=True)
class BandStatistics:
    """Mean and standard deviation of each band a student takes, in digital numbers, over a train split."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def rgb_image(pixels: Tensor, modality: str, bands: Sequence[str], composite: Composite | None) -> Tensor:
    """The RGB image of a store's pixels: the photo itself, or the data set's composite.

    Args:
        pixels: (n, y, x, 3) uint8 if `modality` is 'rgb', otherwise (n, band, y, x) digital numbers.
        modality: of the store.
        bands: names of the second axis.
        composite: the data set's.

    Returns:
        (n, 3, y, x) uint8.

    Raises:
        UserError: the data set has no composite.
    """
    if modality == "rgb":
        return pixels.permute(0, 3, 1, 2)
    if composite is None:
        raise UserError(f"The store's {modality} pixels have no RGB composite; add `composite` to the data set's file.")
    return rgb_composite(pixels, bands, composite)


def rgb_composite(pixels: Tensor, bands: Sequence[str], composite: Composite) -> Tensor:
    """RGB images of a batch, see `Composite`: clipped, truncated; equal to `sensors.composite` (but gamma's rounding).

    Args:
        pixels: (n, band, y, x), any numeric type, without gaps (`Samples.read` fills them).
        bands: names of the second axis.
        composite: bands, and the values that become black and white.

    Returns:
        (n, 3, y, x) uint8.

    Raises:
        UserError: a band of the composite is missing.
    """
    values = select_bands(pixels, order_bands(bands, composite.bands, may_lack=()))
    # Tensors, because CUDA multiplies by the reciprocal of a plain number, which moves values across a truncation.
    limits = torch.tensor(composite.limits(), dtype=torch.float32)
    low, high = sent(limits, pixels.device).T[:, :, None, None]
    scaled: Tensor = (values - low) / (high - low)
    if composite.gamma != 1:
        scaled = scaled.clamp(0, 1) ** (1 / composite.gamma)
    return (scaled * 255).clamp(0, 255).to(torch.uint8)


def clip_input(
    rgb: Tensor,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    interpolation: str = "bicubic",
    resize_mode: str = "shortest",
) -> Tensor:
    """CLIP's preprocessing of whole images: shorter side to `size` (antialiased), centre crop, normalise.

    With `resize_mode` 'squash', SigLIP's, both sides are resized to `size` and nothing is cropped.

    Equal to open_clip's transform for inference, which resizes with Pillow, except that a few values halfway between
    two levels may be rounded the other way. The width is resized before the height, as Pillow did up to version 12.
    Pillow 13 begins with the height of some images that are not square, mostly tall ones: its result then differs in
    places by several levels from this one, which does not depend on the version.

    Args:
        rgb: (n, 3, y, x) uint8.
        size: of the result, in pixels.
        mean: per channel, of values in 0..1.
        std: per channel, of values in 0..1.
        interpolation: 'bicubic' or 'bilinear'.
        resize_mode: 'shortest' or 'squash'.

    Returns:
        (n, 3, size, size) float32.
    """
    height, width = rgb.shape[-2:]
    values = rgb.float()
    rows, columns = (size, int(size * width / height)) if height <= width else (int(size * height / width), size)
    if resize_mode == "squash":
        rows = columns = size
    if (rows, columns) != (height, width):
        # Pillow resizes along one axis, then the other, and keeps whole levels in between, halves rounded up.
        for target in ((height, columns), (rows, columns)):
            values = (resize(values, target, interpolation) + 0.5).floor().clamp(0, 255)
    return normalise(centre_crop(values, size) / 255, mean, std)


def normalise(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(values - mean) / std per channel of a batch (n, channel, y, x)."""
    shift, scale = sent(torch.tensor([list(mean), list(std)], dtype=torch.float32), values.device)[:, :, None, None]
    normalised: Tensor = (values - shift) / scale
    return normalised


def square_bands(pixels: Tensor, positions: Sequence[int | None], size: int) -> Tensor:
    """The bands at `positions` (see `select_bands`), resized to `size` by `size`: bicubic with antialiasing."""
    values = select_bands(pixels, positions)
    return values if values.shape[-2:] == (size, size) else resize(values, (size, size))


def select_bands(pixels: Tensor, positions: Sequence[int | None]) -> Tensor:
    """The bands at `positions` of (n, band, y, x) as float32; zeros for a position that is None."""
    empty = torch.zeros_like(pixels[:, 0], dtype=torch.float32)
    return torch.stack([empty if at is None else pixels[:, at].float() for at in positions], dim=1)


def scale_bands(
    values: Tensor, positions: Sequence[int | None], scaling: str, statistics: BandStatistics | None = None
) -> Tensor:
    """Selected bands from digital numbers to model units; absent bands stay zero.

    Args:
        values: (n, band, y, x) digital numbers.
        positions: of the bands in the data; None for an absent band.
        scaling: 'reflectance', clip(value / 10,000, 0, 1), or 'standardise', (value - mean) / std.
        statistics: mean and std, for 'standardise'.
    """
    if scaling == "reflectance":
        return (values / REFLECTANCE_SCALE).clamp(0, 1)
    if scaling != "standardise" or statistics is None:
        raise ValueError(f"scaling is {scaling!r} with statistics {statistics}; 'standardise' needs them")
    present = sent(torch.tensor([at is not None for at in positions]), values.device).view(-1, 1, 1)
    return normalise(values, statistics.mean, statistics.std) * present


def resize(values: Tensor, size: tuple[int, int], interpolation: str = "bicubic") -> Tensor:
    """Antialiased resize of a float batch (n, channel, y, x) to `size` (y, x)."""
    return F.interpolate(values, size=size, mode=interpolation, antialias=True)


def centre_crop(values: Tensor, size: int) -> Tensor:
    """The middle `size` by `size` pixels; odd margins are rounded as torchvision does."""
    top = round((values.shape[-2] - size) / 2)
    left = round((values.shape[-1] - size) / 2)
    return values[..., top : top + size, left : left + size]
