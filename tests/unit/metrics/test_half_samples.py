"""Every metric on every half-sample against scikit-learn, called on one half after the other."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, f1_score

from bandbridge.metrics import half_samples as half_samples_module
from bandbridge.metrics.half_samples import half_samples, on_half_samples
from bandbridge.metrics.neighbours import own_units
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

quick = settings(max_examples=60)
seeds = st.integers(0, 2**32 - 1)
RESAMPLES = 8


def halves_of(n, resamples, seed):
    """The samples of each half, plainly: a permutation's first half and its rest, in turns."""
    generator, halves = np.random.default_rng(seed), []
    for _ in range(-(-resamples // 2)):
        order = generator.permutation(n)
        halves += [np.sort(order[: n // 2]), np.sort(order[n // 2 :])]
    return halves[:resamples]


def on_halves(statistics, n, resamples, seed, **options):
    return on_half_samples(statistics, own_units(n), resamples, seed, **options)


def multi_label(seed, n, classes, levels):
    generator = np.random.default_rng(seed)
    labels = generator.random((n, classes)) < generator.random(classes)
    return labels, (generator.integers(0, levels, size=(n, classes)) / levels).astype(np.float32)


def plain_average_precision(labels, scores):
    return average_precision_score(labels, scores) if labels.any() else np.nan


def plain_macro_map(labels, scores):
    values = [average_precision_score(y, s) for y, s in zip(labels.T, scores.T, strict=True) if y.any()]
    return np.mean(values) if values else np.nan


def quiet(metric, *arrays, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(*arrays, **options)


@pytest.mark.parametrize("block", [2, 3, 128])
def test_counts_are_those_of_the_halves_however_they_are_blocked(monkeypatch, block):
    monkeypatch.setattr(half_samples_module, "HALVES_AT_A_TIME", block)
    counts = np.concatenate(list(half_samples(own_units(11), resamples=17, seed=5)), axis=1)
    expected = [np.isin(np.arange(11), half) for half in halves_of(11, 17, 5)]
    np.testing.assert_array_equal(counts, np.transpose(expected))


def test_halves_complement_each_other():
    counts = next(half_samples(own_units(9), resamples=20, seed=0))
    assert (counts[:, ::2] + counts[:, 1::2] == 1).all()
    assert set(counts.sum(axis=0)) == {4, 5}


@quick
@given(seed=seeds, sizes=st.lists(st.integers(1, 5), min_size=2, max_size=9))
def test_the_samples_of_a_unit_are_in_a_half_together(seed, sizes):
    units = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    counts = np.concatenate(list(half_samples(units, 12, seed)), axis=1)
    for unit in range(len(sizes)):
        assert (counts[units == unit] == counts[units == unit][0]).all()
    of_units = np.stack([counts[units == unit][0] for unit in range(len(sizes))])
    assert set(of_units.sum(axis=0)) <= {len(sizes) // 2, len(sizes) - len(sizes) // 2}


def test_memory_of_counts_is_bounded(monkeypatch):
    monkeypatch.setattr(half_samples_module, "COUNTS_AT_A_TIME", 120)
    assert [part.shape for part in half_samples(own_units(30), resamples=7, seed=0)] == [(30, 4), (30, 3)]
    assert [part.shape for part in half_samples(own_units(300), resamples=3, seed=0)] == [(300, 2), (300, 1)]


@quick
@given(seed=seeds, n=st.integers(2, 40), resamples=st.integers(1, 30), is_hit=st.booleans())
def test_means_are_those_of_a_plain_loop(seed, n, resamples, is_hit):
    values = np.random.default_rng(seed).random(n)
    values = values < 0.4 if is_hit else values
    draws = on_halves({"mean": mean_of(values)}, n, resamples, seed)["mean"]
    np.testing.assert_allclose(draws, [values[row].mean() for row in halves_of(n, resamples, seed)], atol=1e-6)
    assert on_all_samples(mean_of(values), n) == pytest.approx(values.mean())


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(1, 5))
def test_balanced_accuracies_are_those_of_scikit_learn(seed, n, classes):
    truth, predicted = np.random.default_rng(seed).integers(0, classes, size=(2, n))
    statistic = balanced_accuracy(truth, truth == predicted, classes)
    draws = on_halves({"mean": statistic}, n, RESAMPLES, seed)["mean"]
    rows = halves_of(n, RESAMPLES, seed)
    expected = [quiet(balanced_accuracy_score, truth[row], predicted[row]) for row in rows]
    np.testing.assert_allclose(draws, expected, atol=1e-6)


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(2, 5))
def test_headlines_of_one_class_per_sample_are_those_of_scikit_learn(seed, n, classes):
    generator = np.random.default_rng(seed)
    truth, scores = generator.integers(0, classes, size=n), generator.normal(size=(n, classes))
    labels, predicted = np.eye(classes, dtype=np.uint8)[truth], scores.argmax(axis=1)
    rows = halves_of(n, RESAMPLES, seed)
    for metric, theirs in {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}.items():
        draws = on_halves({metric: headline_statistic(metric, labels, scores)}, n, RESAMPLES, seed)[metric]
        np.testing.assert_allclose(draws, [quiet(theirs, truth[row], predicted[row]) for row in rows], atol=1e-6)
        assert headline_score(metric, labels, scores) == pytest.approx(quiet(theirs, truth, predicted))


@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(1, 4))
def test_the_headline_of_several_classes_per_sample_is_macro_map(seed, n, classes):
    labels, scores = multi_label(seed, n, classes, 5)
    np.testing.assert_equal(headline_score("map", labels, scores), on_all_samples(macro_map(labels, scores), n))
    assert headline_score("map", labels, scores) == pytest.approx(plain_macro_map(labels, scores), nan_ok=True)


@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(1, 3), levels=st.sampled_from([1, 2, 10**6]))
def test_maps_are_those_of_scikit_learn(seed, n, classes, levels):
    labels, scores = multi_label(seed, n, classes, levels)
    statistics = {"macro": macro_map(labels, scores), "micro": micro_map(labels, scores)}
    draws = on_halves(statistics, n, RESAMPLES, seed)
    rows = halves_of(n, RESAMPLES, seed)
    macro = [plain_macro_map(labels[row], scores[row]) for row in rows]
    micro = [plain_average_precision(labels[row].ravel(), scores[row].ravel()) for row in rows]
    np.testing.assert_allclose(draws["macro"], macro, atol=1e-6)
    np.testing.assert_allclose(draws["micro"], micro, atol=1e-6)


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(2, 15), classes=st.integers(1, 4))
def test_f1_is_that_of_scikit_learn_and_leaves_out_classes_without_a_threshold(seed, n, classes):
    labels, scores = multi_label(seed, n, classes, 5)
    thresholds = np.random.default_rng(seed).choice([0.0, 0.4, 0.8, np.nan], size=classes)
    kept = ~np.isnan(thresholds)
    draws = on_halves(f1(labels, scores, thresholds), n, RESAMPLES, seed)
    if not kept.any():
        assert np.isnan([*draws["macro_f1"], *draws["micro_f1"]]).all()
        return
    predicted = (scores >= thresholds)[:, kept]
    for at, row in enumerate(halves_of(n, RESAMPLES, seed)):
        parts = (labels[row][:, kept], predicted[row])
        each = [f1_score(y, p, zero_division=np.nan) for y, p in zip(parts[0].T, parts[1].T, strict=True)]
        macro = np.nanmean(each) if not np.isnan(each).all() else np.nan
        micro = f1_score(parts[0].ravel(), parts[1].ravel(), zero_division=np.nan)
        np.testing.assert_allclose([draws["macro_f1"][at], draws["micro_f1"][at]], [macro, micro], atol=1e-6)


def test_large_samples_with_many_ties_are_exact():
    labels, scores = multi_label(seed=2, n=3_000, classes=2, levels=4)
    draws = on_halves({"macro": macro_map(labels, scores), "micro": micro_map(labels, scores)}, 3_000, 5, seed=9)
    for at, row in enumerate(halves_of(3_000, 5, 9)):
        assert draws["macro"][at] == pytest.approx(plain_macro_map(labels[row], scores[row]), abs=1e-9)
        expected = plain_average_precision(labels[row].ravel(), scores[row].ravel())
        assert draws["micro"][at] == pytest.approx(expected, abs=1e-9)


def test_a_class_without_classifier_is_left_out():
    labels, scores = multi_label(seed=0, n=30, classes=3, levels=10**6)
    scores[:, 1] = np.nan
    for metric in (macro_map, micro_map):
        draws = on_halves({"all": metric(labels, scores)}, 30, 50, seed=1)["all"]
        kept = on_halves({"kept": metric(labels[:, [0, 2]], scores[:, [0, 2]])}, 30, 50, seed=1)["kept"]
        np.testing.assert_array_equal(draws, kept)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(half_samples_module, "HALVES_AT_A_TIME", 6)
    labels, scores = multi_label(seed=4, n=60, classes=4, levels=9)
    statistics = {"map": macro_map(labels, scores), "mean": mean_of(labels[:, 0])}
    alone, together = (on_halves(statistics, 60, 100, seed=1, threads=threads) for threads in (1, 3))
    for name in statistics:
        np.testing.assert_array_equal(alone[name], together[name])


def test_the_seed_decides():
    hits = {"mean": mean_of(np.random.default_rng(0).random(200) < 0.5)}
    first, again, other = (on_halves(hits, 200, 100, seed)["mean"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_undefined_metric_is_undefined_on_every_half():
    undefined = macro_map(np.zeros((5, 2)), np.zeros((5, 2)))
    assert np.isnan(on_halves({"map": undefined}, 5, 10, seed=0)["map"]).all()


def test_without_samples_all_is_undefined():
    for statistic in (mean_of(np.empty(0)), mean_of(np.empty(0, bool)), macro_map(np.empty((0, 2)), np.empty((0, 2)))):
        assert np.isnan(on_halves({"metric": statistic}, 0, 3, seed=0)["metric"]).tolist() == [True] * 3
        assert np.isnan(on_all_samples(statistic, 0))
