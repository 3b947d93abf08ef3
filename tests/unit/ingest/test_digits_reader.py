"""scikit-learn's digits as samples."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reading import read_all
from sklearn.datasets import load_digits

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.divide import stratified_splits
from bandbridge.ingest.readers import reader


def read(**options):
    return read_all(load_dataset("digits", options), Path("unused"))


def plan(**options):
    dataset = load_dataset("digits", options)
    return reader(dataset).plan(dataset, Path("unused"))


def test_every_digit_is_a_grey_picture_on_the_full_scale():
    samples = list(read()[1].values())
    digits = load_digits()
    assert len(samples) == 1797
    for row in (0, 42, 1796):
        sample = samples[row]
        assert sample.id == f"digits_{row:04d}"
        assert sample.labels == (str(digits.target[row]),)
        assert sample.pixels.shape == (8, 8, 3)
        assert sample.pixels.dtype == np.uint8
        for channel in range(3):
            np.testing.assert_array_equal(sample.pixels[..., channel], np.round(digits.images[row] * 255 / 16))
    assert (min(sample.pixels.min() for sample in samples), max(sample.pixels.max() for sample in samples)) == (0, 255)


def test_each_class_is_divided_by_the_shares():
    splits, samples = read(val=0.1, test=0.2)
    counts = Counter((splits[name], *sample.labels) for name, sample in samples.items())
    for label in map(str, range(10)):
        total = sum(counts[split, label] for split in ("train", "val", "test"))
        assert counts["val", label] == round(0.1 * total)
        assert counts["test", label] == round(0.2 * total)


def test_the_seed_alone_decides_who_is_where():
    one, again, other = (plan(seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_only_the_wanted_digits_are_read():
    dataset = load_dataset("digits")
    samples = list(reader(dataset).read(dataset, Path("unused"), "rgb", {"digits_0007", "digits_1000"}))
    assert [sample.id for sample in samples] == ["digits_0007", "digits_1000"]


def test_splits_do_not_depend_on_other_classes():
    many = stratified_splits(["a", "b"] * 50, 0.2, 0.2, seed=0)
    alone = stratified_splits(["a"] * 50, 0.2, 0.2, seed=0)
    assert Counter(many[::2]) == Counter(alone) == {"train": 30, "val": 10, "test": 10}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0.5, "test": 0.5}, r"val \+ test is 1, expected less than 1"),
        ({"val": -1}, "val is -1; expected at least 0"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number"),
        ({"vali": 0.1}, "vali is not an option of .* Did you mean 'val'"),
    ],
)
def test_wrong_shares_are_explained(options, message):
    with pytest.raises(UserError, match=message):
        plan(**options)
