"""Paired differences of bootstrap draws."""

import numpy as np
import pytest

from bandbridge.metrics.bootstrap import bootstrap
from bandbridge.metrics.paired import paired_difference, two_sided_p
from bandbridge.metrics.resampled import mean_of


def draws_of(hits, resamples=999):
    return bootstrap({"accuracy": mean_of(hits)}, len(hits), resamples, seed=0)["accuracy"]


def test_the_interval_of_a_paired_difference_is_that_of_the_differences():
    generator = np.random.default_rng(0)
    first, second = generator.random(400) < 0.5, generator.random(400) < 0.6
    found = paired_difference(second.mean(), first.mean(), draws_of(second), draws_of(first), level=0.9)
    rows = np.random.default_rng(0).integers(400, size=(999, 400))
    gains = [second[row].mean() - first[row].mean() for row in rows]
    assert found.value == pytest.approx(second.mean() - first.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gains, [0.05, 0.95])))
    below, above = np.sum(np.array(gains) <= 0), np.sum(np.array(gains) >= 0)
    assert found.p == pytest.approx(2 * (1 + min(below, above)) / 1000)


def test_pairing_makes_a_small_gain_on_the_same_samples_plain():
    hits = np.random.default_rng(0).random(1000) < 0.5
    better = hits.copy()
    better[np.flatnonzero(~hits)[:20]] = True
    found = paired_difference(better.mean(), hits.mean(), draws_of(better), draws_of(hits), level=0.95)
    assert 0 < found.low < 0.02 < found.high
    assert found.p == 2 / 1000  # no resample without the gain: the least there is


def test_an_encoder_does_not_differ_from_itself():
    draws = draws_of(np.random.default_rng(0).random(50) < 0.5)
    found = paired_difference(0.5, 0.5, draws, draws, level=0.95)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_sign_of_the_difference_does_not_change_p():
    differences = np.random.default_rng(0).normal(0.7, 1, size=500)
    assert two_sided_p(differences) == two_sided_p(-differences)
    assert 0.2 < two_sided_p(differences) < 0.9


def test_resamples_without_a_value_are_left_out():
    found = paired_difference(0.3, 0.1, [np.nan, 0.3, 0.4], [0.1, 0.1, np.nan], level=0.95)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))
    assert found.p == 1.0
    assert np.isnan(two_sided_p([np.nan, np.nan]))
