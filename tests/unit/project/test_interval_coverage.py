"""The simulation of coverage: its peers are scipy's, and its true values those of a large sample."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bandbridge.metrics.resampled import mean_of, on_all_samples

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import interval_coverage as benchmark


@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
def test_its_bootstrap_is_that_of_scipy(method):
    random = np.random.default_rng(0)
    values, resamples = random.exponential(size=60), 10_000
    statistic = mean_of(values)
    draws = statistic(benchmark.with_replacement(random, 60, resamples))
    ways = {
        "percentile": lambda: benchmark.percentile(draws),
        "basic": lambda: benchmark.basic(values.mean(), draws),
        "BCa": lambda: benchmark.bca(values.mean(), draws, statistic(benchmark.deletions(60, random, 60))),
    }
    theirs = stats.bootstrap((values,), np.mean, n_resamples=resamples, method=method, random_state=1)
    assert ways[method]() == pytest.approx(tuple(theirs.confidence_interval), abs=0.015)


@pytest.mark.slow
def test_its_true_values_are_those_of_a_large_sample():
    large = benchmark.several_labels(100_000, [0.05, 0.2, 0.5], (0.6, 2), "")
    statistics = large.draw(np.random.default_rng(0)).statistics
    for encoder, metrics in statistics.items():
        for name, statistic in metrics.items():
            assert on_all_samples(statistic, large.n) == pytest.approx(large.truth[encoder][name], abs=0.006)
