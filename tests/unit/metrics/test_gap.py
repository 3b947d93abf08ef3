"""The modality gap and its companions against definitions written out pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics.gap import alignment, centroid_distance, mean_cosine, uniformity

quick = settings(max_examples=60)


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40), dim=st.integers(1, 8), block=st.integers(1, 50))
def test_all_are_those_of_their_definitions_pair_by_pair(seed, n, dim, block):
    first, second = np.random.default_rng(seed).normal(size=(2, n, dim))
    a, b = unit(first), unit(second)
    assert centroid_distance(first, second) == pytest.approx(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)), abs=1e-6)
    squared = [np.sum((a[i] - b[i]) ** 2) for i in range(n)]
    assert alignment(first, second) == pytest.approx(np.mean(squared), abs=1e-5)
    assert mean_cosine(first, second) == pytest.approx(np.mean([a[i] @ b[i] for i in range(n)]), abs=1e-6)
    pairs = [np.exp(-2 * np.sum((a[i] - a[j]) ** 2)) for i in range(n) for j in range(i)]
    assert uniformity(first, block=block) == pytest.approx(np.log(np.mean(pairs)), abs=1e-4)


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20), scale=st.floats(1e-3, 1e3))
def test_lengths_have_no_say(seed, n, scale):
    first, second = np.random.default_rng(seed).normal(size=(2, n, 5))
    for measure in (centroid_distance, alignment, mean_cosine):
        assert measure(first * scale, second) == pytest.approx(measure(first, second), abs=1e-5)


def test_centroids_may_be_of_different_numbers_of_rows():
    assert centroid_distance(np.eye(2)[:1], -3 * np.ones((4, 1)) * np.eye(2)[:1]) == pytest.approx(2)
    assert centroid_distance(np.eye(3), np.eye(3)[[0, 0, 1, 1, 2, 2]]) == pytest.approx(0)


def test_the_same_embeddings_are_aligned_and_opposite_ones_as_far_apart_as_can_be():
    rows = np.random.default_rng(0).normal(size=(30, 7))
    assert alignment(rows, 2 * rows) == pytest.approx(0, abs=1e-10)
    assert mean_cosine(rows, 2 * rows) == pytest.approx(1)
    assert alignment(rows, -rows) == pytest.approx(4)
    assert mean_cosine(rows, -rows) == pytest.approx(-1)


def test_collapsed_embeddings_are_not_uniform_and_even_ones_are():
    assert uniformity(np.ones((50, 4))) == pytest.approx(0, abs=1e-6)
    # Four corners of a square: each has two neighbours at distance sqrt(2) and one at 2.
    square = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    assert uniformity(square) == pytest.approx(np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6))
    assert uniformity(np.random.default_rng(0).normal(size=(500, 256))) == pytest.approx(-4, abs=0.05)


def test_without_rows_to_compare_they_are_undefined():
    empty = np.empty((0, 3))
    assert np.isnan([centroid_distance(empty, np.eye(3)), alignment(empty, empty), mean_cosine(empty, empty)]).all()
    assert np.isnan([uniformity(empty), uniformity(np.eye(3)[:1])]).all()


def test_pairs_of_other_shapes_are_an_error():
    for measure in (alignment, mean_cosine):
        with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\) differ in shape"):
            measure(np.ones((3, 2)), np.ones((4, 2)))
