"""Differences between two encoders scored on the same bootstrap resamples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bandbridge.metrics.bootstrap import percentile_interval


@dataclass(frozen=True)
class Difference:
    """A difference with its percentile interval and its two-sided p value."""

    value: float
    low: float
    high: float
    p: float


def paired_difference(
    value: float, reference: float, draws: ArrayLike, reference_draws: ArrayLike, level: float
) -> Difference:
    """By how much a metric exceeds a reference's, from the values of both in the same resamples.

    Args:
        value, reference: the metric on all samples.
        draws, reference_draws: (r,), the metric in resample j of the same samples. Resamples in which either is NaN are
            left out.
        level: of the interval, 0..1.
    """
    gains = np.asarray(draws, dtype=np.float64) - np.asarray(reference_draws, dtype=np.float64)
    low, high = percentile_interval(gains, level)
    return Difference(value - reference, low, high, two_sided_p(gains))


def two_sided_p(differences: ArrayLike) -> float:
    """How rarely resampling turns the sign: min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (1 + r)) of r differences d.

    The 1 counts the observed sample itself, so that p is never 0: at least 2 / (1 + r). NaN without a defined one.
    """
    given = np.asarray(differences, dtype=np.float64)
    defined = given[~np.isnan(given)]
    if not defined.size:
        return float("nan")
    fewer = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (1 + fewer) / (1 + defined.size))
