"""Intervals from half-samples: how often they hold the true value, and what they are where theory says it."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bandbridge.metrics.half_samples import on_half_samples
from bandbridge.metrics.intervals import (
    Estimate,
    estimate,
    paired_difference,
    score_interval,
    unpaired_difference,
)
from bandbridge.metrics.neighbours import own_units
from bandbridge.metrics.ranking import precision_over_others
from bandbridge.metrics.resampled import Statistic, balanced_accuracy, macro_map, mean_of

TRIALS, N, CLASSES, SHARE, DISTANCE, RESAMPLES = 300, 200, 6, 0.15, 1.0, 100
HITS = Estimate(value=0.8, centre=0.8, error=0.02, units=400, freedom=399)


def measured(statistic, n, seed=0, resamples=400):
    draws = on_half_samples({"metric": statistic}, own_units(n), resamples, seed)["metric"]
    return estimate(statistic, draws, own_units(n)), draws


def true_average_precision():
    """Of scores that are normal around 0 without the class and around DISTANCE with it."""
    at = np.linspace(-8, 10, 20_001)
    positive, negative = SHARE * stats.norm.sf(at - DISTANCE), (1 - SHARE) * stats.norm.sf(at)
    return np.sum(stats.norm.pdf(at - DISTANCE) * positive / (positive + negative)) * (at[1] - at[0])


@pytest.fixture(scope="module")
def trials():
    """Of each trial our interval of macro mAP, the percentile bootstrap's, and p of another encoder as good."""
    ours, percentile, ps = [], [], []
    for trial in range(TRIALS):
        random = np.random.default_rng([7, trial])
        labels = random.random((N, CLASSES)) < SHARE
        shared = random.normal(size=labels.shape)
        first, second = (
            macro_map(labels, DISTANCE * labels + (shared + random.normal(size=labels.shape)) / np.sqrt(2))
            for _ in range(2)
        )
        (score, draws), (other, other_draws) = (measured(each, N, trial, RESAMPLES) for each in (first, second))
        ours.append(score_interval(score, 0.95))
        ps.append(paired_difference(other, score, other_draws, draws, 0.95).p)
        counts = np.stack([np.bincount(random.integers(N, size=N), minlength=N) for _ in range(RESAMPLES)], axis=1)
        percentile.append(np.quantile(first(counts.astype(np.int16)), [0.025, 0.975]))
    return np.array(ours), np.array(percentile), np.array(ps)


def covered(intervals):
    low, high = intervals.T
    return np.count_nonzero((low <= true_average_precision()) & (true_average_precision() <= high))


@pytest.mark.slow
def test_intervals_of_macro_map_hold_the_true_value_as_often_as_they_say(trials):
    least, most = stats.binom.ppf([0.001, 0.999], TRIALS, [0.93, 0.97])
    assert least <= covered(trials[0]) <= most


@pytest.mark.slow
def test_percentiles_of_the_bootstrap_would_not(trials):
    assert covered(trials[1]) < stats.binom.ppf(0.001, TRIALS, 0.93)


@pytest.mark.slow
def test_p_values_are_uniform_where_there_is_no_difference(trials):
    ps = trials[2]
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    assert stats.binom.ppf(0.001, TRIALS, 0.05) <= np.count_nonzero(ps < 0.05) <= stats.binom.ppf(0.999, TRIALS, 0.05)


def test_all_halves_together_vary_as_the_mean_does():
    values = np.random.default_rng(0).random(8)
    draws = np.array([values[list(half)].mean() for half in combinations(range(8), 4)])
    score = estimate(mean_of(values), draws, own_units(8))
    assert score.error == pytest.approx(values.std(ddof=1) / np.sqrt(8))
    assert score.centre == pytest.approx(score.value) == pytest.approx(values.mean())


@settings(max_examples=50)
@given(n=st.integers(20, 5_000), share=st.floats(0.01, 0.99), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_of_a_share_is_wilsons(n, share, level):
    hits = min(max(round(n * share), 1), n - 1)
    value = hits / n
    score = Estimate(value, value, np.sqrt(value * (1 - value) / n), n, freedom=10**9)
    expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    assert score_interval(score, level) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_paired_difference_is_that_of_students_test():
    random = np.random.default_rng(0)
    first = random.random(300)
    second = first + random.normal(0.01, 0.1, size=300)
    (score, draws), (other, other_draws) = (measured(mean_of(each), 300, resamples=4_000) for each in (first, second))
    gain = paired_difference(other, score, other_draws, draws, 0.95)
    expected = stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert gain.value == pytest.approx(second.mean() - first.mean())
    assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    assert gain.p == pytest.approx(expected.pvalue, rel=0.15)


@settings(max_examples=100)
@given(value=st.floats(-0.2, 0.2), error=st.floats(0.01, 0.1), freedom=st.integers(1, 500))
def test_p_is_below_a_twentieth_exactly_where_the_interval_leaves_out_zero(value, error, freedom):
    draws = np.array([error, -error] * 50)
    scores = [Estimate(at, at, error, freedom + 1, freedom) for at in (0.5 + value, 0.5)]
    gain = paired_difference(*scores, draws, np.zeros(100), 0.95)
    opposite = paired_difference(*scores[::-1], np.zeros(100), draws, 0.95)
    assert (gain.p < 0.05) == (gain.low > 0 or gain.high < 0)
    assert gain.p == pytest.approx(opposite.p)
    assert (gain.low, gain.high) == pytest.approx((-opposite.high, -opposite.low))


def test_p_is_never_less_than_so_many_halves_can_say():
    hits = np.random.default_rng(0).random(1_000) < 0.5
    (score, draws), (other, other_draws) = (measured(mean_of(each), 1_000) for each in (hits, np.ones(1_000, bool)))
    assert paired_difference(other, score, other_draws, draws, 0.95).p == 1 / 401


def test_an_encoder_does_not_differ_from_itself():
    score, draws = measured(mean_of(np.random.default_rng(0).random(50) < 0.5), 50)
    gain = paired_difference(score, score, draws, draws, 0.95)
    assert (gain.value, gain.low, gain.high, gain.p) == (0, 0, 0, 1)


def test_pairing_makes_a_small_gain_on_the_same_samples_plain():
    hits = np.random.default_rng(0).random(1000) < 0.5
    better = hits.copy()
    better[np.flatnonzero(~hits)[:20]] = True
    (score, draws), (other, other_draws) = (measured(mean_of(each), 1_000) for each in (hits, better))
    paired = paired_difference(other, score, other_draws, draws, 0.95)
    assert 0 < paired.low < 0.02 < paired.high
    unpaired = unpaired_difference(other, score, other_draws, draws, 0.95)
    assert unpaired.low < 0 < unpaired.high
    assert unpaired.p > 0.05 > paired.p


def test_intervals_stay_within_what_a_score_can_be():
    for hits in (np.ones(50, bool), np.zeros(50, bool)):
        low, high = score_interval(measured(mean_of(hits), 50)[0], 0.95)
        assert 0 <= low <= hits.mean() <= high <= 1
        assert 0.05 < high - low < 0.1  # 50 hits of 50 do not show a sure thing
    for score in (replace(HITS, centre=1.02), replace(HITS, value=0.001, centre=-0.01)):
        low, high = score_interval(score, 0.95)
        assert 0 <= low < high <= 1


def test_the_interval_narrows_with_samples_and_widens_with_the_level():
    random = np.random.default_rng(0)
    few, many = (measured(mean_of(random.random(n) < 0.7), n)[0] for n in (100, 10_000))
    widths = [high - low for low, high in (score_interval(score, 0.95) for score in (few, many))]
    assert widths[1] < widths[0] / 5
    assert np.ptp(score_interval(few, 0.8)) < widths[0] < np.ptp(score_interval(few, 0.99))


def test_halves_without_a_value_are_left_out():
    statistic = mean_of(np.array([True, False, True, True]))
    score = estimate(statistic, np.array([np.nan, 0.5, 1.0]), own_units(4))
    assert (score.centre, score.error) == (0.75, 0.25)
    draws = np.array([np.nan, 0.3, 0.4, 0.5]), np.array([0.1, 0.1, np.nan, 0.3])
    assert paired_difference(HITS, replace(HITS, centre=0.6), *draws, 0.95).high == pytest.approx(0.2)


def test_an_undefined_metric_has_no_interval_and_no_p():
    score, draws = measured(macro_map(np.zeros((5, 2)), np.zeros((5, 2))), 5)
    assert np.isnan(score_interval(score, 0.95)).all()
    gain = paired_difference(score, score, draws, draws, 0.95)
    assert np.isnan([gain.value, gain.low, gain.high, gain.p]).all()
    alone, draws = measured(mean_of(np.array([True])), 1)
    assert (alone.value, alone.units) == (1, 1)
    assert np.isnan(score_interval(alone, 0.95)).all()


def test_the_units_of_a_mean_over_classes_are_those_of_its_rarest():
    truth, units = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 2])
    per_class = balanced_accuracy(truth, truth == 0, 3)
    assert per_class.units(own_units(6)) == 3
    assert per_class.units(units) == 1
    assert mean_of(truth == 0).units(units) == 3
    assert isinstance(per_class, Statistic)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 20), levels=st.integers(1, 9), groups=st.integers(1, 20))
def test_precision_over_others_is_that_of_a_plain_loop(seed, n, levels, groups):
    random = np.random.default_rng(seed)
    positive, score = random.random(n) < 0.5, random.integers(0, levels, size=n) / levels
    positive[0] = True
    units = np.unique(random.integers(0, groups, size=n), return_inverse=True)[1]
    precisions = []
    for at in np.flatnonzero(positive):
        others = (score >= score[at]) & (units != units[at])
        precisions.append(positive[others].mean() if others.any() else 1.0)
    assert precision_over_others(positive, score, units) == pytest.approx(np.mean(precisions))


def test_the_centre_of_macro_map_has_no_bias():
    random, centres, values = np.random.default_rng(0), [], []
    for _ in range(300):
        labels = random.random((100, 4)) < SHARE
        statistic = macro_map(labels, DISTANCE * labels + random.normal(size=labels.shape))
        centres.append(statistic.unbiased(own_units(100)))
        values.append(float(statistic(np.ones((100, 1), np.int16))[0]))
    truth = true_average_precision()
    assert np.mean(values) - truth > 0.02
    assert abs(np.mean(centres) - truth) < 0.008
