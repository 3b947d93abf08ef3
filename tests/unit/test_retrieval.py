"""Recall at k against brute force over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics.retrieval import counterpart_ranks, median_rank, recall_at_k, recall_at_ranks

quick = settings(max_examples=60, deadline=None)


def brute_force_ranks(queries, gallery):
    """The number of gallery rows that are at least as similar as the counterpart, pair by pair in float64."""

    def cosine(a, b):
        length = np.linalg.norm(a) * np.linalg.norm(b)
        return np.dot(a, b) / length if length else 0.0

    scores = [[cosine(query, row) for row in gallery] for query in np.asarray(queries, dtype=np.float64)]
    return [sum(score >= row[i] - 1e-9 for score in row) for i, row in enumerate(scores)]


@quick
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 24),
    dim=st.integers(1, 6),
    block=st.integers(1, 30),
    whole_numbers=st.booleans(),
)
def test_ranks_are_those_of_brute_force_with_ties_against_the_query(seed, n, dim, block, whole_numbers):
    generator = np.random.default_rng(seed)
    pair = generator.integers(-1, 2, size=(2, n, dim)) if whole_numbers else generator.normal(size=(2, n, dim))
    ranks = counterpart_ranks(*pair, block=block)
    assert ranks.tolist() == brute_force_ranks(*pair)
    ks = range(1, n + 1)
    assert recall_at_k(*pair, ks, block=block) == {k: np.mean([rank <= k for rank in ranks]) for k in ks}


def test_the_block_size_changes_nothing():
    queries, gallery = np.random.default_rng(0).normal(size=(2, 100, 16)).astype(np.float32)
    expected = counterpart_ranks(queries, gallery, block=100)
    for block in (1, 7, 64, 99, 4096):
        np.testing.assert_array_equal(counterpart_ranks(queries, gallery, block=block), expected)


def test_equal_embeddings_find_nothing_but_everything():
    collapsed = np.random.default_rng(0).normal(size=(1, 257)).repeat(50, axis=0)
    assert counterpart_ranks(collapsed, 3 * collapsed).tolist() == [50] * 50
    assert recall_at_k(collapsed, collapsed, [1, 49, 50]) == {1: 0.0, 49: 0.0, 50: 1.0}


def test_the_same_embeddings_on_both_sides_are_found_first():
    rows = np.random.default_rng(0).normal(size=(40, 8))
    assert recall_at_k(rows, 2 * rows, [1])[1] == 1.0
    assert median_rank(counterpart_ranks(rows, rows)) == 1.0


def test_an_embedding_of_nans_is_ranked_last():
    rows = np.eye(4)
    broken = rows.copy()
    broken[2] = np.nan
    assert counterpart_ranks(broken, rows).tolist() == [1, 1, 4, 1]
    # As a gallery row it is not below anything either.
    assert counterpart_ranks(rows, broken).tolist() == [2, 2, 4, 2]


@pytest.mark.parametrize("k", [0, -1, 6])
def test_a_k_outside_the_gallery_is_an_error(k):
    with pytest.raises(ValueError, match=rf"k is {k}; expected 1\.\.5"):
        recall_at_ranks(np.ones(5), [1, k])


def test_two_sides_of_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="differ in shape"):
        counterpart_ranks(np.ones((3, 2)), np.ones((4, 2)))


def test_the_median_of_an_even_number_of_ranks_is_between_the_middle_two():
    assert median_rank([1, 2, 5, 40]) == 3.5
