"""Blocks of neighbouring samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics.neighbours import METRES_PER_DEGREE, SIDES, neighbour_blocks, own_units


def metres_apart(lat, lon, first, second):
    east = (lon[first] - lon[second]) * np.cos(np.radians((lat[first] + lat[second]) / 2))
    return METRES_PER_DEGREE * np.hypot(lat[first] - lat[second], east)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), latitude=st.floats(-80, 80), side=st.sampled_from([160.0, 1_200.0]))
def test_samples_of_a_block_are_near_each_other(seed, latitude, side):
    random = np.random.default_rng(seed)
    lat = latitude + random.uniform(-0.1, 0.1, size=60)
    lon = random.uniform(-0.1, 0.1, size=60)
    blocks = neighbour_blocks(lat, lon, side)
    assert set(blocks) == set(range(blocks.max() + 1))
    for block in range(blocks.max() + 1):
        members = np.flatnonzero(blocks == block)
        for other in members:
            assert metres_apart(lat, lon, members[0], other) < 1.5 * SIDES * side


@pytest.mark.parametrize("latitude", [0.0, 52.0, -70.0])
def test_most_samples_that_adjoin_share_a_block(latitude):
    step = 100 / METRES_PER_DEGREE
    rows, columns = (axis.ravel() for axis in np.meshgrid(np.arange(40), np.arange(40), indexing="ij"))
    lat, lon = latitude + rows * step, 10 + columns * step / np.cos(np.radians(latitude))
    blocks = neighbour_blocks(lat, lon, 100).reshape(40, 40)
    assert np.mean(blocks[1:] == blocks[:-1]) > 0.8
    assert np.mean(blocks[:, 1:] == blocks[:, :-1]) > 0.8
    assert 20 < blocks.max() + 1 < 60


def test_samples_far_apart_or_without_a_place_are_alone():
    lat, lon = [50.0, 51.0, np.nan, np.nan, 50.0], [10.0, 10.0, np.nan, 10.0, 10.0]
    assert neighbour_blocks(lat, lon, 1_000).tolist() == [0, 1, 2, 3, 0]
    assert own_units(3).tolist() == [0, 1, 2]
    assert neighbour_blocks([], [], 10).tolist() == []
