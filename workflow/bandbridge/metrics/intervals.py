"""Intervals of a score, and of the difference between two, from their values on half-samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from bandbridge.metrics.resampled import Floats, Statistic, on_all_samples

Interval = tuple[float, float]
UNDEFINED: Interval = (float("nan"), float("nan"))
FEWEST = 20  # units from which intervals cover what they say: benchmarks/coverage.py
LEAST = 10  # carriers that degrees of freedom count even where the rarest class has fewer


@dataclass(frozen=True)
class Estimate:
    """A metric on all samples, and what is known of its distance from the population's.

    Attributes:
        value: the metric itself.
        centre: the same without the bias of a finite sample; intervals lie around it.
        error: standard error of both, 0 where no half differs from another, NaN where it is undefined.
        units: number of independent units behind it; of a mean over classes, those that carry the rarest one.
        freedom: degrees of freedom of the error.
    """

    value: float
    centre: float
    error: float
    units: int
    freedom: int


def estimate(statistic: Statistic, draws: Floats, units: NDArray[np.integer]) -> Estimate:
    """Centre and standard error of a metric, from its values on half-samples.

    The statistic's own unbiased value is the centre. Without one it is 2 t - m, of the metric t and the mean m of the
    halves: a bias of c / n is 2 c / n on a half (the jackknife of Quenouille 1956, with groups of one half).

    Args:
        draws: (r,), as of `on_half_samples`; halves where the metric is undefined are left out. The error is undefined
            with fewer than two others.
        units: (n,) the unit of each sample.
    """
    value, fewest = on_all_samples(statistic, len(units)), statistic.units(units)
    # The error of a class with few carriers is uncertain; it is not all of a mean over classes, hence the least.
    freedom = min(max(fewest, LEAST), int(units.max(initial=0)) + 1) - 1
    defined = draws[~np.isnan(draws)]
    if defined.size < 2:
        return Estimate(value, value, float("nan"), fewest, freedom)
    centre = statistic.unbiased(units) if statistic.unbiased else 2 * value - float(defined.mean())
    return Estimate(value, centre, _error(defined), fewest, freedom)


def score_interval(score: Estimate, level: float) -> Interval:
    """The interval of a score in 0..1 at `level` (0..1), never beyond 0 and 1; (NaN, NaN) where it is undefined.

    All p with (c - p)^2 <= t^2 p (1 - p) / m, of the centre c, Student's quantile t for the score's degrees of freedom
    and m = v (1 - v) / error^2 effective samples of the value v. Of hits and misses that is Wilson's interval (1927)
    with t for the normal quantile; the effective samples are those of Korn and Graubard (1998). Where no half differs
    from another (all hits), m is the number of units.
    """
    if score.freedom < 1 or np.isnan([score.centre, score.error]).any():
        return UNDEFINED
    square = stdtrit(score.freedom, (1 + level) / 2) ** 2
    spread = score.value * (1 - score.value)
    size = spread / score.error**2 if spread > 0 and score.error > 0 else score.units
    centre = min(max(score.centre, 0.0), 1.0)
    middle = (centre + square / (2 * size)) / (1 + square / size)
    half = np.sqrt(square * (centre * (1 - centre) / size + square / (4 * size**2))) / (1 + square / size)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def _error(draws: NDArray[np.floating]) -> float:
    # Rounding of sums is no variation.
    error = float(draws.std())
    return error if error > 1e-12 else 0.0


@dataclass(frozen=True)
class Difference:
    """A difference between two scores with its interval and its two-sided p value."""

    value: float
    low: float
    high: float
    p: float


def paired_difference(
    score: Estimate, reference: Estimate, draws: ArrayLike, reference_draws: ArrayLike, level: float
) -> Difference:
    """By how much a score exceeds a reference's on the same samples, from both on the same half-samples.

    The interval is c -+ t e: the difference c of the two centres, the standard error e of the halves' differences and
    Student's quantile t for the scores' degrees of freedom, cut to -1..1.

    Args:
        draws, reference_draws: (r,), the metric on half j of the same samples. Halves in which either is NaN are left
            out.
        level: of the interval, 0..1.
    """
    gains = np.asarray(draws, dtype=np.float64) - np.asarray(reference_draws, dtype=np.float64)
    defined = gains[~np.isnan(gains)]
    error = _error(defined) if defined.size > 1 else float("nan")
    return _difference(score, reference, error, level, len(defined))


def unpaired_difference(
    score: Estimate, reference: Estimate, draws: ArrayLike, reference_draws: ArrayLike, level: float
) -> Difference:
    """The same of scores whose halves are not of the same samples: the squares of their standard errors add up."""
    defined = min(np.count_nonzero(~np.isnan(np.asarray(each))) for each in (draws, reference_draws))
    return _difference(score, reference, float(np.hypot(score.error, reference.error)), level, int(defined))


def _difference(score: Estimate, reference: Estimate, error: float, level: float, resamples: int) -> Difference:
    value, centre = score.value - reference.value, score.centre - reference.centre
    freedom = min(score.freedom, reference.freedom)
    if freedom < 1 or np.isnan([centre, error]).any():
        return Difference(value, *UNDEFINED, float("nan"))
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    low, high = (min(max(end, -1.0), 1.0) for end in (centre - half, centre + half))
    return Difference(value, low, high, _two_sided_p(centre, error, freedom, resamples))


def _two_sided_p(centre: float, error: float, freedom: int, resamples: int) -> float:
    """How likely so large a difference is where there is none, by Student's t: below 0.05 where the 95 % interval
    leaves out 0.

    Never less than 1 / (1 + resamples), as so many halves say no more; 1 for two scores that never differ.
    """
    if not error:
        return 1.0 if abs(centre) < 1e-12 else 1 / (1 + resamples)
    return float(max(2 * stdtr(freedom, -abs(centre) / error), 1 / (1 + resamples)))
