"""Shares by the hash of a name: growth moves nothing, squares stay together, small sets fill their splits."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.base.errors import UserError
from bandbridge.ingest.divide import block_of, divide, fraction_of, splits_of

SHARES = {"val": 0.2, "test": 0.2}
NAMES = st.lists(st.text("abcdefgh0123456789/_", min_size=1, max_size=8), unique=True, min_size=60, max_size=120)


@settings(max_examples=25)
@given(names=NAMES, seed=st.integers(0, 3), added=st.text(min_size=1, max_size=6))
def test_growth_and_another_order_move_nothing(names, seed, added):
    before = splits_of(names, SHARES, seed)
    after = splits_of([added, *reversed(names)], SHARES, seed)
    assert {name: after[name] for name in names} == before


def test_the_hash_is_as_documented():
    """So that who reads the page finds the same splits without this code."""
    first_bytes = hashlib.sha256(b"0:maize/field_1").hexdigest()[:16]
    assert fraction_of("maize/field_1", 0) == int(first_bytes, 16) / 2**64 == pytest.approx(0.01994, abs=1e-5)
    assert splits_of(["maize/field_1"], SHARES, 0) == {"maize/field_1": "test"}


def test_shares_hold_on_average_and_seeds_differ():
    names = [f"sample {number}" for number in range(20_000)]
    counts = Counter(splits_of(names, {"val": 0.1, "test": 0.25}, 0).values())
    assert {split: round(count / len(names), 2) for split, count in counts.items()} == {
        "train": 0.65,
        "val": 0.1,
        "test": 0.25,
    }
    assert splits_of(names, SHARES, 1) != splits_of(names, SHARES, 2)


def test_a_larger_share_takes_from_train_alone():
    names = [str(number) for number in range(500)]
    small, large = splits_of(names, SHARES, 0), splits_of(names, {"val": 0.3, "test": 0.25}, 0)
    moved = {(small[name], large[name]) for name in names if small[name] != large[name]}
    assert moved == {("train", "val"), ("train", "test")}


def test_everything_may_be_val_and_test():
    splits = splits_of([str(number) for number in range(300)], {"val": 0.33, "test": 0.67}, 0)
    assert set(splits.values()) == {"val", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_a_few_samples_fill_every_split(seed, capsys):
    splits = splits_of(["a", "b", "c"], SHARES, seed)
    assert sorted(splits.values()) == ["test", "train", "val"]
    assert "is moved to it, until there are more samples" in capsys.readouterr().err


def test_a_class_that_a_split_has_none_of_is_named(capsys):
    divide([str(n) for n in range(50)], ["rare", *["usual"] * 49], SHARES, 0, "by_id")
    assert "of 1 classes: rare; another seed may help" in capsys.readouterr().err


@settings(max_examples=50)
@given(lat=st.floats(-89, 89), lon=st.floats(-180, 180), side=st.sampled_from([500.0, 20_000.0]))
def test_squares_have_the_side_that_is_asked_for(lat, lon, side):
    rng = np.random.default_rng(0)
    square = block_of(lat, lon, side)
    metre = 180 / (np.pi * 6_371_008.8)
    near = [block_of(lat + side * metre * dy, lon, side) for dy in rng.uniform(-1, 1, 20)]
    assert all(abs(int(other.split()[0]) - int(square.split()[0])) <= 1 for other in near)


def test_samples_of_a_square_are_in_one_split():
    rng = np.random.default_rng(1)
    places = list(zip(rng.uniform(50, 51, 2_000), rng.uniform(8, 10, 2_000), strict=True))
    names = [str(number) for number in range(len(places))]
    splits = divide(names, ["x"] * len(names), SHARES, 0, "by_id", places, 10_000.0)
    of_square = {}
    for place, split in zip(places, splits, strict=True):
        of_square.setdefault(block_of(*place, 10_000.0), set()).add(split)
    assert all(len(splits_in_square) == 1 for splits_in_square in of_square.values())
    assert len(of_square) > 100
    assert set(splits) == {"train", "val", "test"}


def test_samples_without_a_place_are_counted():
    with pytest.raises(UserError, match=r"place of every sample, and 2 of 3 have none: b, c; add columns"):
        divide(["a", "b", "c"], ["x"] * 3, SHARES, 0, "by_id", [(50.0, 8.0), None, None], 1_000.0)
