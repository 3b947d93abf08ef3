"""Average precision under many weightings at a time against scikit-learn's, one weighting after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score

from bandbridge.metrics import ranking as ranking_module
from bandbridge.metrics.ranking import LARGEST_COUNT, LONGEST_ROW, exact_sums, rank_class, weighted_average_precision

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60)


@quick
@given(
    seed=seeds,
    n=st.integers(1, 40),
    levels=st.sampled_from([1, 2, 5, 10**6]),
    resamples=st.integers(1, 5),
    entries=st.integers(1, 3),
    dtype=st.sampled_from([np.float64, np.int16]),
)
def test_weighted_average_precision_is_that_of_scikit_learn_with_sample_weights(
    seed, n, levels, resamples, entries, dtype
):
    generator = np.random.default_rng(seed)
    labels = generator.random(n * entries) < generator.random()
    scores = (generator.integers(0, levels, size=n * entries) / levels).astype(np.float32)
    weights = generator.integers(0, 3, size=(n, resamples)).astype(dtype)
    ranking = rank_class(labels, scores, entries)
    if ranking is None:
        assert not labels.any()
        return
    for precision, weight in zip(weighted_average_precision(ranking, weights), weights.T, strict=True):
        each = np.repeat(weight, entries)
        if each[labels].any():
            assert precision == pytest.approx(average_precision_score(labels, scores, sample_weight=each), abs=1e-6)
        else:
            assert np.isnan(precision)


@pytest.mark.parametrize("levels", [1, 3, 10**9])
@pytest.mark.parametrize("share", [0.0005, 0.5])
def test_sums_do_not_overflow_sixteen_bits(levels, share):
    n = 4 * LONGEST_ROW
    generator = np.random.default_rng(0)
    labels, scores = generator.random(n) < share, generator.integers(0, levels, size=n)
    weights = np.full((n, 2), LARGEST_COUNT, np.int16)
    weights[:, 1] = generator.integers(0, LARGEST_COUNT + 1, size=n)
    precisions = weighted_average_precision(rank_class(labels, scores), weights)
    for value, weight in zip(precisions, weights.T, strict=True):
        assert value == pytest.approx(average_precision_score(labels, scores, sample_weight=weight), abs=1e-9)


def test_how_a_ranking_is_cut_changes_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    labels, scores = generator.random(300) < 0.3, generator.integers(0, 100, size=300)
    weights = generator.integers(0, 4, size=(300, 4)).astype(np.int16)
    weights[scores > 50, 3] = 0  # nothing is retrieved before half of the ranking is through
    whole = weighted_average_precision(rank_class(labels, scores), weights)
    monkeypatch.setattr(ranking_module, "ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(ranking_module, "LONGEST_ROW", 2)
    np.testing.assert_allclose(weighted_average_precision(rank_class(labels, scores), weights), whole, rtol=1e-12)


@quick
@given(seed=seeds, rows=st.integers(1, 4), n=st.integers(1, 50))
def test_exact_sums_are_those_of_a_product(seed, rows, n):
    generator = np.random.default_rng(seed)
    matrix = generator.integers(0, 3, size=(rows, n)) * (generator.random((rows, 1)) < 0.7)
    weights = generator.integers(0, LARGEST_COUNT + 1, size=(n, 4)).astype(np.int16)
    np.testing.assert_array_equal(exact_sums(csr_array(matrix))(weights), matrix @ weights.astype(np.int64))


def test_exact_sums_do_not_overflow_sixteen_bits():
    n = 5 * LONGEST_ROW + 3
    weights = np.full((n, 1), LARGEST_COUNT, np.int16)
    sums = exact_sums(csr_array(np.array([np.full(n, 2), np.zeros(n), np.ones(n)])))(weights)
    assert sums[:, 0].tolist() == [2 * n * LARGEST_COUNT, 0, n * LARGEST_COUNT]
