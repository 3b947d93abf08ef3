"""Composites beside the paper's one divisor: ranges of each band, percentiles of the train split, gamma."""

import numpy as np
import pytest
import torch
from own_files import noise

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Composite, conversion_facts
from bandbridge.catalogue.sensors import composite
from bandbridge.models import preprocessing as views
from bandbridge.store.dataset import Store

BANDS = ("B02", "B03", "B04")
COLOURS = ("B04", "B03", "B02")


def described(own, recipe):
    def with_gaps(pixels, i):
        pixels += np.array([1000, 0, 3000], "int16")[:, None, None]
        pixels[:, :2] = -9999
        return pixels

    own.images(with_gaps, bands=3, dtype="int16", nodata=-9999)
    return own.folder(bands=BANDS, modality={"composite": {"bands": list(COLOURS), **recipe}})


def test_percentiles_are_of_the_train_splits_pixels_with_data_and_kept_in_the_store(own):
    store = own.store(described(own, {"percentiles": [2, 98], "gamma": 1.5}))
    train = store.split("train")
    pixels, valid = train.read_with_validity(np.arange(len(train)))
    expected = []
    for band in (2, 1, 0):
        low, high = np.percentile(pixels[:, band][valid[:, band]], [2, 98])
        expected.append((low, high))
    assert store.composite.ranges == pytest.approx(np.array(expected))
    assert store.composite.gamma == 1.5
    assert Store(store.path).composite == store.composite
    picture = composite(pixels, store.bands, store.composite)
    assert (picture == 0).mean() < 0.05
    assert 100 < picture.mean() < 200


def test_ranges_and_gamma_are_what_they_say():
    recipe = Composite(COLOURS, ranges=((100, 200), (0, 1000), (-10, 10)), gamma=2)
    values = np.array([10, 250, 125], np.float32).reshape(3, 1, 1)
    expected = [int(255 * np.sqrt(0.25)), int(255 * np.sqrt(0.25)), 255]
    assert composite(values, BANDS, recipe).ravel().tolist() == expected
    picture = views.rgb_composite(torch.from_numpy(values)[None], BANDS, recipe)
    assert picture.numpy().ravel().tolist() == expected


def test_the_papers_divisor_gives_the_papers_pictures():
    pixels = noise(3, 64, 64, high=9000)
    recipe = Composite(COLOURS, 3558.0)
    expected = np.clip(pixels[::-1].astype(np.float32) / np.float32(3558) * np.float32(255), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(composite(pixels, BANDS, recipe), expected)
    picture = views.rgb_composite(torch.from_numpy(pixels.astype(np.int32))[None], BANDS, recipe)[0]
    np.testing.assert_array_equal(picture.numpy(), expected)


def test_percentiles_without_a_store_say_so():
    with pytest.raises(UserError, match="has percentiles, and the store does not state which values they are"):
        composite(noise(3, 2, 2), BANDS, Composite(COLOURS, percentiles=(2, 98)))


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        ({}, "has none of divisor, ranges and percentiles"),
        ({"divisor": 2000, "percentiles": [2, 98]}, "has divisor and percentiles of divisor, ranges and percentiles"),
        ({"percentiles": [98, 2]}, "98 is not less than 2"),
        ({"ranges": [[0, 1], [5, 5], [0, 1]]}, "5 is not less than 5"),
        ({"divisor": 2000, "gamma": 0}, "gamma"),
        ({"ranges": [[0, 1]]}, "ranges"),
    ],
)
def test_a_composite_that_says_too_little_or_too_much_is_refused(own, recipe, fault):
    with pytest.raises(UserError, match=fault):
        described(own, recipe)


@pytest.mark.parametrize("key", ["nodata", "scale", "offset"])
def test_as_many_numbers_as_bands_are_needed(own, key):
    with pytest.raises(UserError, match=rf"modalities.s2.{key} has 2 numbers for 4 bands; state one for all, or one"):
        own.folder(modality={key: [1, 2]})


def test_another_way_to_read_the_numbers_is_another_conversion(own):
    plain = conversion_facts(own.folder())
    assert conversion_facts(own.folder(modality={"nodata": 0})) != plain
    assert conversion_facts(own.folder(modality={"unit": "reflectance"})) != plain
    assert plain["modalities"] == {"s2": [["B02", "B03", "B04", "B08"], None]}
