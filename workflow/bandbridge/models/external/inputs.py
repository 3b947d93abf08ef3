"""From stored pixels to the input of a published encoder, on the batch's device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bandbridge.catalogue.encoder_model import NormalisationFacts
from bandbridge.catalogue.encoders import EncoderFacts
from bandbridge.catalogue.sensors import SENSOR_BANDS, order_bands
from bandbridge.models import preprocessing as views


def image_input(facts: EncoderFacts, rgb: Tensor) -> Tensor:
    """Images (n, 3, y, x) uint8, resized, cropped and normalised by the facts -> (n, 3, size, size) float32.

    Equal to CLIP's preprocessing if `resize` is 'shortest' and nothing is cropped.
    """
    recipe = facts.normalisation
    assert recipe.mean is not None, f"{facts.name} has no mean"
    assert recipe.std is not None, f"{facts.name} has no std"
    if facts.resize == "shortest" and facts.resize_to == facts.image_size:
        return views.clip_input(rgb, facts.image_size, recipe.mean, recipe.std, facts.interpolation)
    return views.normalise(_fit(rgb.float(), facts).clamp(0, 255) / 255, recipe.mean, recipe.std)


def band_input(facts: EncoderFacts, pixels: Tensor, bands: Sequence[str]) -> Tensor:
    """Bands (n, band, y, x) in stored values, with their names -> (n, band, size, size) float32.

    Values are normalised before they are resized, so that only measured values are clipped. A missing band is zero
    after normalisation if `fill` is 'zero'.

    Raises:
        UserError: a band is missing and `fill` is 'error'.
    """
    positions = order_bands(bands, facts.bands, may_lack=SENSOR_BANDS if facts.fill == "zero" else ())
    values = normalise(views.select_bands(pixels, positions), facts.normalisation)
    present = torch.tensor([at is not None for at in positions], device=values.device).view(-1, 1, 1)
    return _fit(values * present, facts)


def normalise(values: Tensor, recipe: NormalisationFacts) -> Tensor:
    """Stored values (n, band, y, x) float32 in the network's unit, see `NormalisationFacts`."""
    if recipe.kind == "window":
        assert recipe.mean is not None
        assert recipe.std is not None
        lowest = [mean - recipe.deviations * std for mean, std in zip(recipe.mean, recipe.std, strict=True)]
        values = views.normalise(values, lowest, [2 * recipe.deviations * std for std in recipe.std]).clamp(0, 1)
    else:
        values = values / torch.tensor(recipe.divisor, dtype=torch.float32, device=values.device).view(-1, 1, 1)
        if recipe.clip is not None:
            values = values.clamp(recipe.clip[0], recipe.clip[1])
        if recipe.mean is not None and recipe.std is not None:
            values = views.normalise(values, recipe.mean, recipe.std)
    return values if recipe.levels is None else (values * recipe.levels).floor() / recipe.levels


def _fit(values: Tensor, facts: EncoderFacts) -> Tensor:
    """Resize a float batch to `resize_to`, the shorter side or both, and take the middle `image_size` pixels."""
    height, width = values.shape[-2:]
    side = facts.resize_to
    target = (side, side)
    if facts.resize == "shortest":
        target = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    if (height, width) != target:
        values = views.resize(values, target, facts.interpolation)
    return views.centre_crop(values, facts.image_size)
