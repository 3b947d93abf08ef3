"""Model inputs from stored pixels."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from tiny import band_input

from bandbridge.base.errors import UserError
from bandbridge.catalogue import sensors
from bandbridge.catalogue.datasets import Composite
from bandbridge.models import preprocessing as views
from bandbridge.models.preprocessing import BandStatistics

BANDS = ("B02", "B03", "B04", "B8A")
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
SHAPES = [(64, 64, 32), (40, 61, 48), (33, 50, 33), (8, 8, 64)]  # height, width, size


def digital_numbers(n=3, bands=4, side=12, high=5000, seed=0):
    return np.random.default_rng(seed).integers(0, high, size=(n, bands, side, side)).astype(np.uint16)


@pytest.mark.parametrize("divisor", [2000.0, 3558.0])
def test_the_composite_equals_the_sensors_one(divisor):
    recipe = Composite(("B04", "B03", "B02"), divisor)
    pixels = np.arange(4 * 65536, dtype=np.int64).reshape(1, 4, 256, 256).astype(np.uint16)
    picture = views.rgb_composite(torch.from_numpy(pixels), BANDS, recipe)
    np.testing.assert_array_equal(picture.numpy(), sensors.composite(pixels, BANDS, recipe))


def test_the_composite_is_the_formula_of_the_paper():
    pixels = torch.tensor([0, 400, 1999, 2000, 60000], dtype=torch.uint16).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    picture = views.rgb_composite(pixels, ("B02", "B03", "B04"), Composite(("B04", "B03", "B02"), 2000.0))
    assert picture[0, 0, 0].tolist() == [0, 51, 254, 255, 255]


def test_the_composite_takes_red_green_blue_by_name():
    pixels = torch.tensor([20, 30, 40, 80]).view(1, 4, 1, 1)
    picture = views.rgb_composite(pixels, BANDS, Composite(("B04", "B03", "B02"), 255.0))
    assert picture.flatten().tolist() == [40, 30, 20]


def test_a_composite_of_an_absent_band_is_refused():
    with pytest.raises(UserError, match="B05"):
        views.rgb_composite(torch.zeros(1, 4, 2, 2), BANDS, Composite(("B05", "B03", "B02"), 2000.0))


def test_photos_go_through_and_bands_need_a_composite():
    photos = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
    assert torch.equal(views.rgb_image(photos, "rgb", (), None), photos.permute(0, 3, 1, 2))
    with pytest.raises(UserError, match="no RGB composite"):
        views.rgb_image(torch.zeros(1, 4, 2, 2), "s2", BANDS, None)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("height", "width", "size", "resize_mode"),
    [
        *((*shape, mode) for shape in SHAPES for mode in ("shortest", "squash")),
        (61, 40, 32, "shortest"),
    ],
)
def test_clip_input_is_open_clips_preprocessing(height, width, size, resize_mode, interpolation):
    picture = np.random.default_rng(0).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    check_against_open_clip(picture, Image.fromarray(picture), size, interpolation, resize_mode)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width", "size"), [(61, 40, 32), (90, 30, 24), (50, 20, 25)])
def test_tall_images_are_squashed_in_width_first_whatever_pillow_does(height, width, size, interpolation):
    """Pillow 13 begins with the height where that shrinks more, and so rounds other values in between."""
    picture = np.random.default_rng(0).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    narrowed = Image.fromarray(picture).resize((size, height), Image.Resampling[interpolation.upper()])
    check_against_open_clip(picture, narrowed, size, interpolation, "squash")


def check_against_open_clip(picture, image, size, interpolation, resize_mode):
    """What `views.clip_input` makes of `picture` is what open_clip's transform makes of `image`."""
    config = open_clip.transform.PreprocessCfg(size=size, interpolation=interpolation, resize_mode=resize_mode)
    expected = open_clip.transform.image_transform_v2(config, is_train=False)(image)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    transformed = views.clip_input(batch, size, MEAN, STD, interpolation, resize_mode)[0]
    levels = (transformed - expected).abs() * torch.tensor(STD).view(3, 1, 1) * 255
    assert transformed.shape == expected.shape
    # Pillow computes with 22-bit fractions, so that a value halfway between two levels may go the other way.
    assert levels.max() < 1.01
    assert (levels > 0.01).float().mean() < 0.05


def test_a_picture_of_the_right_size_is_only_normalised():
    batch = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    expected = (batch / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(views.clip_input(batch, 16, MEAN, STD), expected)


def test_bands_are_ordered_by_name_and_b10_is_zero_where_absent():
    pixels = torch.from_numpy(digital_numbers())
    network_input = band_input(pixels, BANDS, ("B8A", "B10", "B02"), 12, "reflectance")
    torch.testing.assert_close(network_input[:, 0], pixels[:, 3].float().div(10_000).clamp(0, 1))
    torch.testing.assert_close(network_input[:, 2], pixels[:, 0].float().div(10_000).clamp(0, 1))
    assert not network_input[:, 1].any()


def test_another_absent_band_is_refused():
    with pytest.raises(UserError, match="B05"):
        band_input(torch.zeros(1, 4, 2, 2), BANDS, ("B04", "B05"), 2, "reflectance")


def test_reflectance_is_resized_before_it_is_clipped():
    pixels = torch.zeros(1, 1, 8, 8)
    pixels[..., 4:] = 20_000
    network_input = band_input(pixels, ("B02",), ("B02",), 16, "reflectance")
    expected = torch.nn.functional.interpolate(pixels, (16, 16), mode="bicubic", antialias=True) / 10_000
    torch.testing.assert_close(network_input, expected.clamp(0, 1))
    assert network_input.min() == 0
    assert network_input.max() == 1


def test_standardised_bands_use_the_statistics_and_an_absent_one_stays_zero():
    pixels = torch.from_numpy(digital_numbers())
    statistics = BandStatistics((100.0, 0.0), (50.0, 1.0))
    network_input = band_input(pixels, BANDS, ("B03", "B10"), 12, "standardise", statistics)
    torch.testing.assert_close(network_input[:, 0], (pixels[:, 1].float() - 100) / 50)
    assert not network_input[:, 1].any()


@pytest.mark.parametrize("scaling", ["standardise", "minmax"])
def test_a_scaling_without_what_it_needs_is_refused(scaling):
    with pytest.raises(ValueError, match=scaling):
        band_input(torch.zeros(1, 4, 2, 2), BANDS, ("B04",), 2, scaling)
