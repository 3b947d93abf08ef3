"""Simulation of how often 95 % intervals hold the true value, and of p values where there is no difference.

    python benchmarks/interval_coverage.py    every population, 500 trials each: 15 minutes of a core
    python benchmarks/interval_coverage.py --only rare --trials 200
    python benchmarks/interval_coverage.py --only overlapping --trials 1500 --ours    BandBridge's way alone

Samples are drawn from populations whose true scores are known by integration (of recall@k: from 1,000 galleries). Each
trial scores them as a run does and makes intervals in several ways, BandBridge's among them. For each population,
metric and way the table has the share of intervals that hold the true value, the shares that miss it to either side
(too low: the interval ends below it), their mean width, and how often the way takes as long as the percentile
bootstrap. Then the p values of a second encoder that is as good as the first: the shares below .01, .05, .1 and .5, and
the largest distance from the uniform distribution (Kolmogorov and Smirnov's).
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import kstest, norm

from bandbridge.metrics.half_samples import on_half_samples
from bandbridge.metrics.intervals import estimate, paired_difference, score_interval
from bandbridge.metrics.neighbours import METRES_PER_DEGREE, neighbour_blocks, own_units
from bandbridge.metrics.resampled import Statistic, balanced_accuracy, f1, macro_map, mean_of, micro_map, on_all_samples
from bandbridge.metrics.retrieval import mutual_ranks

LEVEL = 0.95
OURS, BEFORE = "half-samples, unbiased centre, t", "percentile"
SHARED = 0.5  # correlation of two encoders' noise
SCORES = np.linspace(-9, 14, 40_001)
ENCODERS = ("first", "equal", "better")  # the second has the population scores of the first, the third better ones
GALLERIES = 1_000


@dataclass(frozen=True)
class Trial:
    """One draw of samples.

    Attributes:
        statistics: encoder -> metric -> statistic.
        units: (n,) of the samples.
        strata: (n,) the class of each sample, where it has one.
    """

    statistics: Mapping[str, Mapping[str, Statistic]]
    units: NDArray[np.integer]
    strata: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Population:
    """Where samples come from: their number, their draws, and the true scores: encoder -> metric -> value."""

    n: int
    draw: Callable[[np.random.Generator], Trial]
    truth: Mapping[str, Mapping[str, float]]
    headline: str
    about: str


# --- populations ---------------------------------------------------------------------------------------------------


def several_labels(n: int, prevalence: list[float], separation: tuple[float, float], about: str) -> Population:
    """Classes that go together, and normal scores of each; encoders whose scores are correlated."""
    shares = np.array(prevalence)
    first = np.linspace(*separation, len(shares))
    distances = {"first": first, "equal": first, "better": first + 0.2}
    thresholds = first / 2 + norm.isf(shares) / 2
    truth = {name: true_scores(shares, distance, thresholds) for name, distance in distances.items()}

    def draw(random: np.random.Generator) -> Trial:
        common = np.sqrt(0.2) * random.normal(size=(n, 1))
        labels = (common + np.sqrt(0.8) * random.normal(size=(n, len(shares))) > norm.isf(shares)).astype(np.uint8)
        shared = np.sqrt(SHARED) * random.normal(size=labels.shape)
        statistics = {}
        for name, distance in distances.items():
            noise = shared + np.sqrt(1 - SHARED) * random.normal(size=labels.shape)
            scores = distance * labels + noise
            statistics[name] = {"map": macro_map(labels, scores)}
            if name == "first":
                statistics[name] |= {"micro_map": micro_map(labels, scores), **f1(labels, scores, thresholds)}
        return Trial(statistics, own_units(n))

    return Population(n, draw, truth, "map", about)


def true_scores(shares: NDArray, distances: NDArray, thresholds: NDArray) -> dict[str, float]:
    """Of normal scores with unit variance, around 0 without the class and around its distance with it."""
    step = SCORES[1] - SCORES[0]
    positive = shares[:, None] * norm.sf(SCORES - distances[:, None])
    negative = (1 - shares[:, None]) * norm.sf(SCORES)
    density = shares[:, None] * norm.pdf(SCORES - distances[:, None]) * step
    each = (density * positive / (positive + negative)).sum(axis=1) / shares
    pooled, retrieved = positive.sum(axis=0), (positive + negative).sum(axis=0)
    hits = shares * norm.sf(thresholds - distances)
    marks = hits + (1 - shares) * norm.sf(thresholds) + shares
    return {
        "map": float(each.mean()),
        "micro_map": float((density.sum(axis=0) * pooled / retrieved).sum() / shares.sum()),
        "macro_f1": float((2 * hits / marks).mean()),
        "micro_f1": float(2 * hits.sum() / marks.sum()),
    }


def one_label(n: int, shares: list[float], accuracies: tuple[float, float], about: str) -> Population:
    """Classes of different size and accuracy; hits of encoders are correlated."""
    classes = len(shares)
    rates = np.linspace(*accuracies, classes)
    chances = {"first": rates, "equal": rates, "better": rates + (1 - rates) * 0.2}
    truth = {
        name: {"accuracy": float(np.dot(shares, rate)), "balanced_accuracy": float(rate.mean())}
        for name, rate in chances.items()
    }

    def draw(random: np.random.Generator) -> Trial:
        classified = random.choice(classes, size=n, p=shares)
        shared = np.sqrt(SHARED) * random.normal(size=n)
        statistics = {}
        for name, rate in chances.items():
            hits = shared + np.sqrt(1 - SHARED) * random.normal(size=n) > norm.isf(rate[classified])
            statistics[name] = {
                "accuracy": mean_of(hits),
                "balanced_accuracy": balanced_accuracy(classified, hits, classes),
            }
        return Trial(statistics, own_units(n), classified)

    return Population(n, draw, truth, "balanced_accuracy", about)


def retrieval(n: int, noise: float, about: str) -> Population:
    """Embeddings of two modalities, which differ by noise; the gallery is the sample itself."""

    def ranks(random: np.random.Generator) -> NDArray:
        content = random.normal(size=(n, 16))
        return mutual_ranks(*(content + noise * random.normal(size=content.shape) for _ in range(2)))[0]

    def draw(random: np.random.Generator) -> Trial:
        rank = ranks(random)
        return Trial({"first": {f"recall@{k}": mean_of(rank <= k) for k in (1, 5)}}, own_units(n))

    random = np.random.default_rng(1)
    rank = np.stack([ranks(random) for _ in range(GALLERIES)])
    truth = {"first": {f"recall@{k}": float(np.mean(rank <= k)) for k in (1, 5)}}
    return Population(n, draw, truth, "recall@1", about)


def neighbours(edge: int, stride: float, about: str) -> Population:
    """Samples on a square grid, `stride` of a sample's side apart.

    What neighbours have in common are pixels, where they overlap, and the landscape: labels and a part of the scores
    are smooth, with a correlation of 0.6 one side of a sample apart and 0.13 two sides apart.
    """
    shares, distance = np.array([0.1, 0.2, 0.3, 0.5]), np.linspace(0.8, 1.6, 4)
    truth = true_scores(shares, distance, distance / 2)
    n, cells = edge**2, round(1 / stride)
    metres = np.arange(edge) * stride / METRES_PER_DEGREE
    lat, lon = (axis.ravel() for axis in np.meshgrid(metres, metres, indexing="ij"))
    units = neighbour_blocks(lat, lon, side=1)
    own, wide = np.ones(cells), norm.pdf(np.arange(-4 * cells, 4 * cells + 1) / (0.7 * cells))

    def smooth(random: np.random.Generator, kernel: NDArray) -> NDArray:
        """A field (n, class) of unit variance."""
        field = random.normal(size=(len(shares), edge + len(kernel) - 1, edge + len(kernel) - 1))
        for axis in (1, 2):
            field = sliding_window_view(field, len(kernel), axis=axis) @ (kernel / np.sqrt((kernel**2).sum()))
        return field.reshape(len(shares), n).T

    def noise(random: np.random.Generator) -> NDArray:
        return np.sqrt(0.7) * smooth(random, own) + np.sqrt(0.3) * smooth(random, wide)

    def draw(random: np.random.Generator) -> Trial:
        labels = (smooth(random, wide) > norm.isf(shares)).astype(np.uint8)
        shared = np.sqrt(SHARED) * noise(random)
        statistics = {}
        for name in ("first", "equal"):
            scores = distance * labels + shared + np.sqrt(1 - SHARED) * noise(random)
            statistics[name] = {"map": macro_map(labels, scores)}
            if name == "first":
                hits = (scores[:, 1] > distance[1] / 2) == labels[:, 1]
                statistics[name] |= {"accuracy": mean_of(hits), "micro_map": micro_map(labels, scores)}
        return Trial(statistics, units)

    rate = shares[1] * norm.sf(-distance[1] / 2) + (1 - shares[1]) * norm.cdf(distance[1] / 2)
    return Population(n, draw, {"first": truth | {"accuracy": rate}, "equal": truth}, "map", about)


def populations() -> dict[str, Callable[[], Population]]:
    eight = [0.15, 0.15, 0.2, 0.2, 0.25, 0.3, 0.4, 0.5]
    rare = [0.03, 0.03, 0.03, 0.03, 0.04, 0.04, 0.05, 0.06]
    wide = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    ten = [0.02, 0.03, 0.05, 0.05, 0.05, 0.1, 0.1, 0.15, 0.2, 0.25]
    unmarked = {
        "few": lambda: several_labels(200, eight, (0.6, 2), "8 classes of 15 to 50 %"),
        "rare": lambda: several_labels(1_000, rare, (0.6, 2), "8 classes of 3 to 6 %"),
        "good": lambda: several_labels(400, eight, (2.5, 4.5), "8 classes of 15 to 50 %, scores near 1"),
        "many": lambda: several_labels(2_000, 40 * [0.02], (0.5, 3), "40 classes of 2 %"),
        "wide": lambda: several_labels(5_000, wide, (0.6, 2), "8 classes of 1 to 50 %"),
        "five": lambda: one_label(200, [0.15, 0.15, 0.2, 0.2, 0.3], (0.5, 0.9), "5 classes of 15 to 30 %"),
        "ten": lambda: one_label(1_500, ten, (0.3, 0.95), "10 classes of 2 to 25 %"),
        "sure": lambda: one_label(1_000, [0.05, 0.15, 0.2, 0.6], (0.95, 0.99), "4 classes of 5 to 60 %, scores near 1"),
        "retrieval": lambda: retrieval(200, 0.5, "a gallery of 200"),
        "gallery": lambda: retrieval(1_000, 0.5, "a gallery of 1,000"),
        "adjoining": lambda: neighbours(64, 1, "samples side by side, in blocks"),
        "overlapping": lambda: neighbours(80, 0.5, "samples that overlap by half, in blocks"),
    }
    marked = {
        "scarce": lambda: several_labels(
            282, [0.05, 0.07, 0.1, 0.1, 0.15, 0.2, 0.25, 0.25], (0.6, 2), "5 to 25 %, fewer than 20 positives"
        ),
        "hardly": lambda: several_labels(
            200, [0.03, 0.03, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2], (0.6, 2), "3 to 20 %, fewer than 20 positives"
        ),
    }
    return unmarked | marked


# --- ways to make an interval --------------------------------------------------------------------------------------


def with_replacement(random: np.random.Generator, n: int, resamples: int, strata: NDArray | None = None) -> NDArray:
    """Counts (n, resamples) of the bootstrap; within each stratum as many as it has."""
    rows = [np.arange(n)] if strata is None else [np.flatnonzero(strata == value) for value in np.unique(strata)]
    counts = np.zeros((n, resamples), np.int16)
    for column in range(resamples):
        for members in rows:
            drawn = random.integers(len(members), size=len(members))
            counts[members, column] = np.bincount(drawn, minlength=len(members))
    return counts


def deletions(n: int, random: np.random.Generator, groups: int) -> NDArray:
    """Counts (n, groups) that each leave out one of so many groups of samples."""
    group = random.permutation(n) % groups
    return (group[:, None] != np.arange(groups)).astype(np.int16)


def percentile(draws: NDArray) -> tuple[float, float]:
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def basic(value: float, draws: NDArray) -> tuple[float, float]:
    low, high = percentile(draws)
    return 2 * value - high, 2 * value - low


def bca(value: float, draws: NDArray, left_out: NDArray) -> tuple[float, float]:
    """Bias-corrected and accelerated (Efron 1987); `left_out` are the jackknife's values."""
    draws = draws[~np.isnan(draws)]
    below = (np.count_nonzero(draws < value) + np.count_nonzero(draws <= value)) / (2 * len(draws))
    shift = norm.ppf(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))
    influence = left_out.mean() - left_out
    squares = (influence**2).sum()
    acceleration = (influence**3).sum() / (6 * squares**1.5) if squares else 0.0
    tails = shift + norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(draws, norm.cdf(shift + tails / (1 - acceleration * tails)))
    return float(low), float(high)


def jackknife_error(left_out: NDArray) -> NDArray:
    """Standard errors from values (..., groups) that each lack one group."""
    groups = left_out.shape[-1]
    return np.sqrt((groups - 1) * left_out.var(axis=-1))


def studentised(
    statistic: Statistic, value: float, counts: NDArray, draws: NDArray, left_out: NDArray, deleted: NDArray
) -> tuple[float, float]:
    """Quantiles of (resample - value) / error, the error of each resample by leaving out groups of its samples."""
    errors = np.array([jackknife_error(statistic(column[:, None] * deleted)) for column in counts.T])
    low, high = percentile((draws - value) / np.where(errors > 0, errors, np.nan))
    error = float(jackknife_error(left_out))
    return value - high * error, value - low * error


def sign_p(differences: NDArray) -> float:
    """The p value of before: how rarely resampling turns the sign."""
    defined = differences[~np.isnan(differences)]
    fewer = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (1 + fewer) / (1 + len(defined)))


# --- trials --------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Results: (metric, way) -> ends of each trial; way -> p values, seconds."""

    ends: dict[tuple[str, str], list[tuple[float, float]]]
    p: dict[str, list[float]]
    seconds: dict[str, float]


def run_trials(population: Population, arguments: argparse.Namespace) -> Tally:
    tally = Tally(defaultdict(list), defaultdict(list), defaultdict(float))
    for number in range(arguments.trials):
        random = np.random.default_rng([arguments.seed, number])
        trial = population.draw(random)
        if not arguments.ours:
            _bootstrapped(trial, population, arguments.resamples, random, tally, arguments.studentised)
        _halved(trial, population, arguments.resamples, number, tally)
    return tally


def _bootstrapped(
    trial: Trial, population: Population, resamples: int, random: np.random.Generator, tally: Tally, slow: bool
) -> None:
    n, first = population.n, trial.statistics["first"]
    start = time.process_time()
    counts = with_replacement(random, n, resamples)
    draws = {name: statistic(counts) for name, statistic in first.items()}
    for name in first:
        tally.ends[name, BEFORE].append(percentile(draws[name]))
    tally.seconds[BEFORE] += time.process_time() - start
    deleted = deletions(n, random, min(n, 50))
    for name, statistic in first.items():
        value = on_all_samples(statistic, n)
        left_out = statistic(deleted)
        tally.ends[name, "basic"].append(basic(value, draws[name]))
        tally.ends[name, "BCa"].append(bca(value, draws[name], left_out))
        error = float(jackknife_error(left_out))
        tally.ends[name, "jackknife, normal"].append((value - norm.ppf(0.975) * error, value + norm.ppf(0.975) * error))
        if slow:
            ends = studentised(statistic, value, counts, draws[name], left_out, deletions(n, random, 20))
            tally.ends[name, "studentised"].append(ends)
    if trial.strata is not None:
        stratified = with_replacement(random, n, resamples, trial.strata)
        for name, statistic in first.items():
            tally.ends[name, "stratified, percentile"].append(percentile(statistic(stratified)))
    headline = population.headline
    for other in set(trial.statistics) - {"first"}:
        gains = trial.statistics[other][headline](counts) - first[headline](counts)
        tally.ends[f"{headline}, gain of {other}", BEFORE].append(percentile(gains))
        if other == "equal":
            tally.p[BEFORE].append(sign_p(gains))


def _halved(trial: Trial, population: Population, resamples: int, seed: int, tally: Tally) -> None:
    first, units = trial.statistics["first"], trial.units
    start = time.process_time()
    draws = on_half_samples(first, units, resamples, seed)
    estimates = {name: estimate(statistic, draws[name], units) for name, statistic in first.items()}
    for name, score in estimates.items():
        tally.ends[name, OURS].append(score_interval(score, LEVEL))
    tally.seconds[OURS] += time.process_time() - start
    for name, score in estimates.items():
        mean = float(np.nanmean(draws[name]))
        value, quantile = score.value, float(norm.ppf((1 + LEVEL) / 2))
        tally.ends[name, "half-samples, quantiles"].append(basic(value, draws[name]))
        centre = 2 * value - mean
        ends = (centre - quantile * score.error, centre + quantile * score.error)
        tally.ends[name, "half-samples, normal"].append(ends)
    if len(units) > units.max() + 1:
        independent = own_units(len(units))
        independent_draws = on_half_samples(first, independent, resamples, seed)
        for name, statistic in first.items():
            apart = estimate(statistic, independent_draws[name], independent)
            tally.ends[name, "ours, each sample by itself"].append(score_interval(apart, LEVEL))
    headline = population.headline
    for other in set(trial.statistics) - {"first"}:
        statistic = trial.statistics[other][headline]
        theirs = on_half_samples({headline: statistic}, units, resamples, seed)[headline]
        gain = paired_difference(
            estimate(statistic, theirs, units), estimates[headline], theirs, draws[headline], LEVEL
        )
        tally.ends[f"{headline}, gain of {other}", OURS].append((gain.low, gain.high))
        if other == "equal":
            tally.p[OURS].append(gain.p)


# --- tables --------------------------------------------------------------------------------------------------------


def true_value(population: Population, metric: str) -> float:
    headline, _, other = metric.partition(", gain of ")
    if not other:
        return population.truth["first"][metric]
    return population.truth[other][headline] - population.truth["first"][headline]


def coverage_lines(name: str, population: Population, tally: Tally) -> Iterator[str]:
    before = tally.seconds.get(BEFORE)
    for (metric, way), every in sorted(tally.ends.items(), key=lambda item: item[0][0]):
        low, high = np.array(every).T
        truth = true_value(population, metric)
        too_low, too_high = np.mean(high < truth), np.mean(low > truth)
        undefined = np.isnan(low).mean()
        covered = 1 - too_low - too_high - undefined
        cost = f"{tally.seconds[way] / before:.2f}" if before and way in (OURS, BEFORE) else ""
        cells = [name, f"{population.n:,}", metric, f"{truth:.3f}", way, f"{100 * covered:.1f}"]
        cells += [f"{100 * too_low:.1f}", f"{100 * too_high:.1f}", f"{100 * np.nanmean(high - low):.2f}", cost]
        yield f"| {' | '.join(cells)} |"


def p_lines(name: str, tally: Tally) -> Iterator[str]:
    for way, values in tally.p.items():
        array = np.array(values)[~np.isnan(values)]
        shares = [f"{100 * np.mean(array < limit):.1f}" for limit in (0.01, 0.05, 0.1, 0.5)]
        yield f"| {name} | {way} | {' | '.join(shares)} | {kstest(array, 'uniform').statistic:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=populations(), help="only these populations")
    parser.add_argument("--studentised", action="store_true", help="this too, which takes 20 times as long")
    parser.add_argument(
        "--ours", action="store_true", help="what is made of half-samples alone, in a tenth of the time"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start, ps = time.process_time(), []
    print("| population | n | metric | true | way | covered, % | too low, % | too high, % | width, points | cost |")
    print("|---|--:|---|--:|---|--:|--:|--:|--:|--:|", flush=True)
    for name in arguments.only or populations():
        population = populations()[name]()
        tally = run_trials(population, arguments)
        for line in coverage_lines(f"{name}: {population.about}", population, tally):
            print(line, flush=True)
        ps += p_lines(name, tally)
    print("\n| population | p value of | < .01, % | < .05, % | < .1, % | < .5, % | KS distance |")
    print("|---|---|--:|--:|--:|--:|--:|", *ps, sep="\n")
    print(f"\n{arguments.trials:,} trials, {time.process_time() - start:,.0f} s of processor time")


if __name__ == "__main__":
    main()
