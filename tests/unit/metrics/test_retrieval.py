"""Retrieval against brute force over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics import retrieval
from bandbridge.metrics.retrieval import (
    counterpart_ranks,
    label_average_precision,
    median_rank,
    mutual_ranks,
    top_k,
)

quick = settings(max_examples=60)


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
    ranks, back = mutual_ranks(*pair, block=block)
    assert ranks.tolist() == brute_force_ranks(*pair)
    assert back.tolist() == brute_force_ranks(*pair[::-1])
    some = np.arange(0, n, 2)
    assert counterpart_ranks(pair[0][some], pair[1], some, block=block).tolist() == ranks[::2].tolist()


def test_the_block_size_changes_nothing():
    queries, gallery = np.random.default_rng(0).normal(size=(2, 100, 16)).astype(np.float32)
    expected, _ = mutual_ranks(queries, gallery, block=100)
    for block in (1, 7, 64, 99, 4096):
        np.testing.assert_array_equal(mutual_ranks(queries, gallery, block=block)[0], expected)
        np.testing.assert_array_equal(counterpart_ranks(queries, gallery, np.arange(100), block=block), expected)


@pytest.mark.slow
def test_ranks_over_several_blocks_are_those_of_brute_force_with_ties():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(2000, 6)).astype(np.float32)
    second = (first + generator.normal(size=first.shape)).astype(np.float32)
    copies = generator.permutation(len(first))[:400].reshape(2, 200)
    first[copies[0]], second[copies[0]] = first[copies[1]], second[copies[1]]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in np.float64([first, second])]
    scores = unit[0] @ unit[1].T
    own = scores.diagonal() - 1e-6
    ranks, back = mutual_ranks(first, second, block=512)
    # A score within rounding of the limit of a tie may fall on either side of it.
    for ranks_of_side, at_least in ((ranks, scores - own[:, None]), (back, (scores - own).T)):
        assert (ranks_of_side >= (at_least > 2e-7).sum(axis=1)).all()
        assert (ranks_of_side <= (at_least > -2e-7).sum(axis=1)).all()
    assert np.mean(ranks == (scores >= own[:, None]).sum(axis=1)) > 0.98
    assert (ranks[copies[0]] >= 2).all()


def test_equal_embeddings_find_nothing_but_everything():
    collapsed = np.random.default_rng(0).normal(size=(1, 257)).repeat(50, axis=0)
    assert mutual_ranks(collapsed, 3 * collapsed)[0].tolist() == [50] * 50
    assert counterpart_ranks(collapsed[:2], 3 * collapsed, np.array([0, 1])).tolist() == [50, 50]


def test_the_same_embeddings_on_both_sides_are_found_first():
    rows = np.random.default_rng(0).normal(size=(40, 8))
    assert mutual_ranks(rows, 2 * rows)[0].tolist() == [1] * 40
    assert median_rank(mutual_ranks(rows, rows)[0]) == 1.0


def test_an_embedding_of_nans_is_ranked_last():
    rows = np.eye(4)
    broken = rows.copy()
    broken[2] = np.nan
    for ranks_of in (lambda *pair: mutual_ranks(*pair)[0], lambda *pair: counterpart_ranks(*pair, np.arange(4))):
        assert ranks_of(broken, rows).tolist() == [1, 1, 4, 1]
        # As a gallery row it is not below anything either.
        assert ranks_of(rows, broken).tolist() == [2, 2, 4, 2]


def test_two_sides_of_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="differ in shape"):
        mutual_ranks(np.ones((3, 2)), np.ones((4, 2)))


def test_the_median_of_an_even_number_of_ranks_is_between_the_middle_two():
    assert median_rank([1, 2, 5, 40]) == 3.5


# --- the k most similar ----------------------------------------------------------------------------------------------


def brute_force_top_k(queries, gallery, k):
    """The k best of each query, pair by pair in float64, of equal cosines the lower index."""
    best = []
    for query in np.asarray(queries, dtype=np.float64):
        cosines = []
        for row in np.asarray(gallery, dtype=np.float64):
            length = np.linalg.norm(query) * np.linalg.norm(row)
            cosines.append(round(query @ row / length, 6) if length else 0.0)
        best.append(sorted(range(len(cosines)), key=lambda index: (-cosines[index], index))[:k])
    return best


@quick
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    n=st.integers(1, 200),
    k=st.integers(1, 8),
    scores_at_a_time=st.sampled_from([1, 300, 2**20]),
)
def test_the_k_most_similar_are_those_of_brute_force_and_equal_ones_in_order(seed, queries, n, k, scores_at_a_time):
    generator = np.random.default_rng(seed)
    k = min(k, n)
    # Of -1, 0 and 1 there are few different rows and many ties.
    whole, gallery = generator.integers(-1, 2, size=(queries, 3)), generator.integers(-1, 2, size=(n, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "SCORES_AT_A_TIME", scores_at_a_time)
        indices, cosines = top_k(whole, gallery, k)
    assert indices.tolist() == brute_force_top_k(whole, gallery, k)
    assert (np.diff(cosines, axis=1) < 1e-6).all()


def test_the_k_most_similar_in_a_large_gallery_are_those_of_a_full_sort():
    generator = np.random.default_rng(1)
    queries, gallery = generator.normal(size=(50, 32)), generator.normal(size=(9000, 32))
    scores = (queries @ gallery.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(gallery, axis=1))
    indices, cosines = top_k(queries, gallery, 10)
    expected = np.argsort(-scores, axis=1)[:, :10]
    np.testing.assert_allclose(cosines, np.take_along_axis(scores, expected, axis=1), atol=1e-6)
    assert (indices == expected).mean() > 0.99


@pytest.mark.parametrize("dim", [3, 512])
def test_copies_of_a_row_are_found_in_the_order_of_the_gallery(dim):
    generator = np.random.default_rng(dim)
    queries, gallery = generator.normal(size=(20, dim)), generator.normal(size=(3000, dim))
    places = np.sort(generator.permutation(3000)[:800].reshape(20, 40), axis=1)
    gallery[places] = queries[:, None]
    indices, cosines = top_k(queries, gallery, 12)
    assert indices.tolist() == places[:, :12].tolist()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize("k", [0, 5])
def test_more_neighbours_than_the_gallery_has_are_an_error(k):
    with pytest.raises(ValueError, match=rf"k is {k}; expected 1\.\.4"):
        top_k(np.ones((2, 3)), np.ones((4, 3)), k)


# --- by shared labels ------------------------------------------------------------------------------------------------


def brute_force_average_precision(found, labels):
    values = []
    for query, row in enumerate(found):
        relevant = [bool(set(np.flatnonzero(labels[query])) & set(np.flatnonzero(other))) for other in labels]
        hits, area = 0, 0.0
        for place, index in enumerate(row, start=1):
            if relevant[index]:
                hits += 1
                area += hits / place
        values.append(area / min(len(row), sum(relevant)) if any(relevant) else np.nan)
    return values


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), classes=st.integers(1, 5), share=st.floats(0, 1))
def test_label_average_precision_is_that_of_brute_force(seed, n, classes, share):
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, classes)) < share).astype(np.uint8)
    k = int(generator.integers(1, n + 1))
    ranked = np.stack([generator.permutation(n)[:k] for _ in range(n)])
    expected = brute_force_average_precision(ranked, labels)
    np.testing.assert_allclose(label_average_precision(ranked, labels, labels), expected, atol=1e-12)


def test_label_average_precision_is_one_where_all_that_is_relevant_comes_first():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    ranked = np.array([[1, 0, 2], [0, 1, 3], [2, 0, 1], [0, 1, 2]])
    # The third query has one relevant row, itself; the last has no label and so no relevant row.
    np.testing.assert_array_equal(label_average_precision(ranked, labels, labels), [1, 1, 1, np.nan])
    assert label_average_precision([[2, 0, 1]], labels[:1], labels)[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
