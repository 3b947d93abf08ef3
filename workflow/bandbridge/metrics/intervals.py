"""Intervals of a score, and of the difference between two, from their values on half-samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from bandbridge.metrics.resampled import Floats, Statistic, on_all_samples

Interval = tuple[float, float]
UNDEFINED: Interval = (float("nan"), float("nan"))
FEWEST = 20  # units from which intervals have their nominal coverage: benchmarks/interval_coverage.py
LEAST = 10  # carriers that degrees of freedom count even where the rarest class has fewer


@dataclass(frozen=True)
class Estimate:
    """A metric on all samples, and the uncertainty of its distance from the population's value.

    Attributes:
        value: the metric itself.
        centre: the same without the bias of a finite sample; the middle of intervals.
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
        statistic: the metric.
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
    """The interval of a score in 0..1 at `level` (0..1), clipped to 0..1; (NaN, NaN) where it is undefined.

    It holds all p with (c - p)^2 <= t^2 p (1 - p) / m, of the centre c, Student's quantile t for the score's degrees of
    freedom and m = v (1 - v) / error^2 effective samples of the value v. For hits and misses that is Wilson's interval
    (1927) with t for the normal quantile; the effective samples are those of Korn and Graubard (1998). Where all halves
    score the same (all hits), m is the number of units.
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
    # Rounding of sums is not variation.
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
    Student's quantile t for the scores' degrees of freedom, clipped to -1..1.

    Args:
        score: of the improved encoder.
        reference: of the encoder it is compared with.
        draws: (r,), the metric on each half-sample. Halves in which either is NaN are left out.
        reference_draws: (r,), the reference's on the same half-samples.
        level: of the interval, 0..1.
    """
    gains = np.asarray(draws, dtype=np.float64) - np.asarray(reference_draws, dtype=np.float64)
    defined = gains[~np.isnan(gains)]
    error = _error(defined) if defined.size > 1 else float("nan")
    return _difference(score, reference, error, level, len(defined))


def unpaired_difference(
    score: Estimate, reference: Estimate, draws: ArrayLike, reference_draws: ArrayLike, level: float
) -> Difference:
    """The difference of scores whose halves are not of the same samples: the squares of their standard errors add up.

    Arguments as for `paired_difference`.
    """
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
    """Two-sided p value by Student's t: below 0.05 where the 95 % interval excludes 0.

    Never less than 1 / (1 + resamples), the finest that so many halves resolve; 1 for two scores that never differ.
    """
    if not error:
        return 1.0 if abs(centre) < 1e-12 else 1 / (1 + resamples)
    return float(max(2 * stdtr(freedom, -abs(centre) / error), 1 / (1 + resamples)))
