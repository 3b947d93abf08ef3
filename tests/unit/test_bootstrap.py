"""Every metric in every bootstrap resample against scikit-learn, called on one resample after the other."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, f1_score

from bandbridge.metrics import bootstrap as bootstrap_module
from bandbridge.metrics.bootstrap import bootstrap, percentile_interval, resample_counts
from bandbridge.metrics.ranking import LARGEST_COUNT
from bandbridge.metrics.resampled import (
    balanced_accuracy,
    f1,
    headline_score,
    headline_statistic,
    macro_map,
    mean_of,
    micro_map,
    on_all_samples,
)

quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)
RESAMPLES = 8


def drawn_samples(n, resamples, seed):
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def multi_label(seed, n, classes, levels):
    generator = np.random.default_rng(seed)
    labels = generator.random((n, classes)) < generator.random(classes)
    return labels, (generator.integers(0, levels, size=(n, classes)) / levels).astype(np.float32)


def plain_average_precision(labels, scores):
    return average_precision_score(labels, scores) if labels.any() and not labels.all() else np.nan


def plain_macro_map(labels, scores):
    values = [average_precision_score(y, s) for y, s in zip(labels.T, scores.T, strict=True) if y.any() and not y.all()]
    return np.mean(values) if values else np.nan


def quiet(metric, *arrays, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(*arrays, **options)


@pytest.mark.parametrize("block", [1, 3, 128])
def test_counts_are_those_of_the_drawn_samples_however_they_are_blocked(monkeypatch, block):
    monkeypatch.setattr(bootstrap_module, "RESAMPLES_AT_A_TIME", block)
    counts = list(resample_counts(11, resamples=17, seed=5))
    assert {part.shape[1] for part in counts} <= {block, 17 % block or block, 17}
    expected = [np.bincount(row, minlength=11) for row in drawn_samples(11, 17, 5)]
    np.testing.assert_array_equal(np.concatenate(counts, axis=1), np.transpose(expected))


def test_counts_too_large_for_sums_of_sixteen_bits_have_more(monkeypatch):
    monkeypatch.setattr(bootstrap_module, "LARGEST_COUNT", 3)
    counts = np.concatenate([part.astype(int) for part in resample_counts(40, resamples=300, seed=0)], axis=1)
    assert counts.max() > 3
    assert {part.dtype for part in resample_counts(40, 300, 0) if part.max() > 3} == {np.dtype(np.int32)}
    assert LARGEST_COUNT > 3


def test_memory_of_counts_is_bounded(monkeypatch):
    monkeypatch.setattr(bootstrap_module, "COUNTS_AT_A_TIME", 100)
    assert [part.shape for part in resample_counts(30, resamples=7, seed=0)] == [(30, 3), (30, 3), (30, 1)]
    assert [part.shape for part in resample_counts(300, resamples=2, seed=0)] == [(300, 1)] * 2


@quick
@given(seed=seeds, n=st.integers(1, 40), resamples=st.integers(1, 30), is_hit=st.booleans())
def test_means_are_those_of_a_plain_loop(seed, n, resamples, is_hit):
    values = np.random.default_rng(seed).random(n)
    values = values < 0.4 if is_hit else values
    found = bootstrap({"mean": mean_of(values)}, n, resamples, seed)["mean"]
    np.testing.assert_allclose(found, [values[row].mean() for row in drawn_samples(n, resamples, seed)], atol=1e-6)
    assert on_all_samples(mean_of(values), n) == pytest.approx(values.mean())


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(1, 15), classes=st.integers(1, 5))
def test_balanced_accuracies_are_those_of_scikit_learn(seed, n, classes):
    truth, predicted = np.random.default_rng(seed).integers(0, classes, size=(2, n))
    statistic = balanced_accuracy(truth, truth == predicted, classes)
    found = bootstrap({"mean": statistic}, n, RESAMPLES, seed)["mean"]
    rows = drawn_samples(n, RESAMPLES, seed)
    expected = [quiet(balanced_accuracy_score, truth[row], predicted[row]) for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(1, 15), classes=st.integers(2, 5))
def test_headlines_of_one_class_per_sample_are_those_of_scikit_learn(seed, n, classes):
    generator = np.random.default_rng(seed)
    truth, scores = generator.integers(0, classes, size=n), generator.normal(size=(n, classes))
    labels, predicted = np.eye(classes, dtype=np.uint8)[truth], scores.argmax(axis=1)
    rows = drawn_samples(n, RESAMPLES, seed)
    for metric, theirs in {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}.items():
        found = bootstrap({metric: headline_statistic(metric, labels, scores)}, n, RESAMPLES, seed)[metric]
        np.testing.assert_allclose(found, [quiet(theirs, truth[row], predicted[row]) for row in rows], atol=1e-6)
        assert headline_score(metric, labels, scores) == pytest.approx(quiet(theirs, truth, predicted))


@quick
@given(seed=seeds, n=st.integers(1, 15), classes=st.integers(1, 4))
def test_the_headline_of_several_classes_per_sample_is_macro_map(seed, n, classes):
    labels, scores = multi_label(seed, n, classes, 5)
    np.testing.assert_equal(headline_score("map", labels, scores), on_all_samples(macro_map(labels, scores), n))
    assert headline_score("map", labels, scores) == pytest.approx(plain_macro_map(labels, scores), nan_ok=True)


@quick
@given(seed=seeds, n=st.integers(1, 15), classes=st.integers(1, 3), levels=st.sampled_from([1, 2, 10**6]))
def test_maps_are_those_of_scikit_learn(seed, n, classes, levels):
    labels, scores = multi_label(seed, n, classes, levels)
    statistics = {"macro": macro_map(labels, scores), "micro": micro_map(labels, scores)}
    found = bootstrap(statistics, n, RESAMPLES, seed)
    rows = drawn_samples(n, RESAMPLES, seed)
    macro = [plain_macro_map(labels[row], scores[row]) for row in rows]
    micro = [plain_average_precision(labels[row].ravel(), scores[row].ravel()) for row in rows]
    np.testing.assert_allclose(found["macro"], macro, atol=1e-6)
    np.testing.assert_allclose(found["micro"], micro, atol=1e-6)


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(1, 15), classes=st.integers(1, 4))
def test_f1_is_that_of_scikit_learn_and_leaves_out_classes_without_a_threshold(seed, n, classes):
    labels, scores = multi_label(seed, n, classes, 5)
    thresholds = np.random.default_rng(seed).choice([0.0, 0.4, 0.8, np.nan], size=classes)
    kept = ~np.isnan(thresholds)
    found = bootstrap(f1(labels, scores, thresholds), n, RESAMPLES, seed)
    if not kept.any():
        assert np.isnan([*found["macro_f1"], *found["micro_f1"]]).all()
        return
    predicted = (scores >= thresholds)[:, kept]
    for at, row in enumerate(drawn_samples(n, RESAMPLES, seed)):
        parts = (labels[row][:, kept], predicted[row])
        each = [f1_score(y, p, zero_division=np.nan) for y, p in zip(parts[0].T, parts[1].T, strict=True)]
        macro = np.nanmean(each) if not np.isnan(each).all() else np.nan
        micro = f1_score(parts[0].ravel(), parts[1].ravel(), zero_division=np.nan)
        np.testing.assert_allclose([found["macro_f1"][at], found["micro_f1"][at]], [macro, micro], atol=1e-6)


def test_large_samples_with_many_ties_are_exact():
    labels, scores = multi_label(seed=2, n=3_000, classes=2, levels=4)
    found = bootstrap({"macro": macro_map(labels, scores), "micro": micro_map(labels, scores)}, 3_000, 5, seed=9)
    for at, row in enumerate(drawn_samples(3_000, 5, 9)):
        assert found["macro"][at] == pytest.approx(plain_macro_map(labels[row], scores[row]), abs=1e-9)
        expected = plain_average_precision(labels[row].ravel(), scores[row].ravel())
        assert found["micro"][at] == pytest.approx(expected, abs=1e-9)


def test_a_class_without_classifier_is_left_out():
    labels, scores = multi_label(seed=0, n=30, classes=3, levels=10**6)
    scores[:, 1] = np.nan
    for metric in (macro_map, micro_map):
        found = bootstrap({"all": metric(labels, scores)}, 30, 50, seed=1)["all"]
        kept = bootstrap({"kept": metric(labels[:, [0, 2]], scores[:, [0, 2]])}, 30, 50, seed=1)["kept"]
        np.testing.assert_array_equal(found, kept)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(bootstrap_module, "RESAMPLES_AT_A_TIME", 7)
    labels, scores = multi_label(seed=4, n=60, classes=4, levels=9)
    statistics = {"map": macro_map(labels, scores), "mean": mean_of(labels[:, 0])}
    alone, together = (bootstrap(statistics, 60, 100, seed=1, threads=threads) for threads in (1, 3))
    for name in statistics:
        np.testing.assert_array_equal(alone[name], together[name])


def test_the_interval_holds_the_value_and_narrows_with_samples():
    generator = np.random.default_rng(0)
    few, many = generator.random(100) < 0.7, generator.random(10_000) < 0.7
    (low, high), (near_low, near_high) = (
        percentile_interval(bootstrap({"mean": mean_of(hits)}, len(hits), 500, 0)["mean"], 0.95) for hits in (few, many)
    )
    assert low < few.mean() < high
    assert near_low < many.mean() < near_high
    assert near_high - near_low < (high - low) / 5


def test_the_interval_leaves_out_undefined_resamples():
    assert percentile_interval([np.nan, *range(101)], 0.9) == pytest.approx((5, 95))


def test_the_seed_decides():
    hits = {"mean": mean_of(np.random.default_rng(0).random(200) < 0.5)}
    first, again, other = (bootstrap(hits, 200, 100, seed)["mean"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_undefined_metric_has_an_undefined_interval():
    undefined = macro_map(np.zeros((5, 2)), np.zeros((5, 2)))
    assert np.isnan(bootstrap({"map": undefined}, 5, 10, seed=0)["map"]).all()
    assert np.isnan(percentile_interval([np.nan, np.nan], 0.95)).all()


def test_without_samples_all_is_undefined():
    for statistic in (mean_of(np.empty(0)), mean_of(np.empty(0, bool)), macro_map(np.empty((0, 2)), np.empty((0, 2)))):
        assert np.isnan(bootstrap({"metric": statistic}, 0, 3, seed=0)["metric"]).tolist() == [True] * 3
        assert np.isnan(on_all_samples(statistic, 0))
