"""Bootstrap intervals against a plain loop over the same resamples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bandbridge.metrics import bootstrap
from bandbridge.metrics.bootstrap import macro_map_interval, mean_interval, percentile_interval, resample_counts

quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def drawn_samples(n, resamples, seed):
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def plain_macro_map(labels, scores):
    values = [average_precision_score(y, s) for y, s in zip(labels.T, scores.T, strict=True) if y.any() and not y.all()]
    return np.mean(values) if values else np.nan


@pytest.mark.parametrize("block", [1, 50, 2**20])
def test_counts_are_those_of_the_drawn_samples_however_they_are_blocked(monkeypatch, block):
    monkeypatch.setattr(bootstrap, "COUNTS_AT_A_TIME", block)
    counts = np.concatenate(list(resample_counts(11, resamples=17, seed=5)), axis=1)
    expected = [np.bincount(row, minlength=11) for row in drawn_samples(11, 17, 5)]
    np.testing.assert_array_equal(counts, np.transpose(expected))


@quick
@given(seed=seeds, n=st.integers(1, 40), resamples=st.integers(1, 30))
def test_the_interval_of_a_mean_is_that_of_a_plain_loop(seed, n, resamples):
    hits = np.random.default_rng(seed).random(n) < 0.4
    means = [hits[row].mean() for row in drawn_samples(n, resamples, seed)]
    expected = np.quantile(means, [0.05, 0.95])
    np.testing.assert_allclose(mean_interval(hits, resamples, level=0.9, seed=seed), expected, atol=1e-6)


@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(1, 3), levels=st.sampled_from([2, 10**6]))
def test_the_interval_of_macro_map_is_that_of_a_plain_loop(seed, n, classes, levels):
    generator = np.random.default_rng(seed)
    labels = generator.random((n, classes)) < 0.3
    scores = generator.integers(0, levels, size=(n, classes)) / levels
    maps = np.array([plain_macro_map(labels[row], scores[row]) for row in drawn_samples(n, 8, seed)])
    found = macro_map_interval(labels, scores, resamples=8, level=0.95, seed=seed)
    maps = maps[~np.isnan(maps)]
    expected = np.quantile(maps, [0.025, 0.975]) if maps.size else [np.nan, np.nan]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_class_without_classifier_is_left_out():
    generator = np.random.default_rng(0)
    labels, scores = generator.random((30, 3)) < 0.4, generator.random((30, 3))
    scores[:, 1] = np.nan
    kept = [0, 2]
    assert macro_map_interval(labels, scores, 50, 0.95, 1) == macro_map_interval(
        labels[:, kept], scores[:, kept], 50, 0.95, 1
    )


def test_the_interval_holds_the_value_and_narrows_with_samples():
    generator = np.random.default_rng(0)
    few, many = generator.random(100) < 0.7, generator.random(10_000) < 0.7
    (low, high), (near_low, near_high) = (mean_interval(hits, 500, 0.95, 0) for hits in (few, many))
    assert low < few.mean() < high
    assert near_low < many.mean() < near_high
    assert near_high - near_low < (high - low) / 5


def test_the_seed_decides():
    hits = np.random.default_rng(0).random(200) < 0.5
    assert mean_interval(hits, 100, 0.95, seed=1) == mean_interval(hits, 100, 0.95, seed=1)
    assert mean_interval(hits, 100, 0.95, seed=1) != mean_interval(hits, 100, 0.95, seed=2)


def test_an_undefined_metric_has_an_undefined_interval():
    assert np.isnan(percentile_interval([np.nan, np.nan], 0.95)).all()
    assert np.isnan(macro_map_interval(np.zeros((5, 2)), np.zeros((5, 2)), 10, 0.95, 0)).all()
