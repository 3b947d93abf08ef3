"""Metrics as functions of how often each sample counts, for many resamples at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from bandbridge.metrics.classification import mean_of_defined, single_labels
from bandbridge.metrics.ranking import (
    Ranking,
    exact_sums,
    pairs_ranking,
    precision_over_others,
    rank_class,
    weighted_average_precision,
)
from bandbridge.metrics.thresholds import f1_of_sums, f1_terms

Floats = NDArray[np.floating]
Counts = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Statistic:
    """A metric of n samples, and what its interval depends on; called with counts, the metric in each resample.

    Attributes:
        of_counts: from counts (n, r), a column per resample, to the metric in each, (r,); NaN where it is undefined.
        carriers: of a mean over classes (n, class), not 0 where a sample carries a class; None of a mean over samples.
        unbiased: from the unit of each sample (n,) to the metric on all samples without the bias of a finite sample;
            None where the bias is estimated from the half-samples.
    """

    of_counts: Callable[[Counts], Floats]
    carriers: NDArray[Any] | None = None
    unbiased: Callable[[NDArray[np.integer]], float] | None = None

    def __call__(self, counts: Counts) -> Floats:
        return self.of_counts(counts)

    def units(self, units: NDArray[np.integer]) -> int:
        """Number of distinct units (n,); of a mean over classes, the number that carry the rarest class with any."""
        number = int(units.max(initial=-1)) + 1
        if self.carriers is None:
            return number
        columns = (self.carriers != 0).T
        carrying = [np.count_nonzero(np.bincount(units[column], minlength=number)) for column in columns]
        return int(min((count for count in carrying if count), default=0))


def on_all_samples(statistic: Statistic, n: int) -> float:
    """The metric itself: each of the n samples counts once. NaN without samples."""
    if not n:
        return float("nan")
    return float(statistic(np.ones((n, 1), np.int16))[0])


def mean_of(values: ArrayLike) -> Statistic:
    """Mean over samples: accuracy where `values` (n,) are hits, recall@k where they are rank <= k."""
    array = np.asarray(values)
    if array.dtype != bool:
        return Statistic(lambda counts: array.astype(np.float64) @ counts / _total(counts))
    hits = exact_sums(csr_array(array[None, :]))
    return Statistic(lambda counts: hits(counts)[0] / _total(counts))


def _total(counts: Counts) -> NDArray[np.int64]:
    total: NDArray[np.int64] = counts.sum(axis=0, dtype=np.int64)
    return total


def headline_statistic(metric: str, labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """The statistic of a data set's headline metric.

    Args:
        metric: 'accuracy', 'balanced_accuracy' (single label) or 'map' (multi-label).
        labels: (n, class) of 0 and 1.
        scores: (n, class).
    """
    if metric == "map":
        return macro_map(labels, scores)
    truth, values = single_labels(labels), np.asarray(scores)
    hits = truth == values.argmax(axis=1)
    return mean_of(hits) if metric == "accuracy" else balanced_accuracy(truth, hits, values.shape[1])


def headline_score(metric: str, labels: ArrayLike, scores: ArrayLike) -> float:
    """The headline metric on all samples, 0..1; NaN where it is undefined. Arguments as for `headline_statistic`."""
    return on_all_samples(headline_statistic(metric, labels, scores), len(np.asarray(labels)))


def balanced_accuracy(truth: NDArray[np.integer], hits: NDArray[np.bool_], classes: int) -> Statistic:
    """Mean over classes of the share of their samples that are hits (as sklearn.metrics.balanced_accuracy_score).

    A class missing from a resample is left out of the resample's mean.

    Args:
        truth: (n,) indices of classes.
        hits: (n,), where the predicted class is the true one.
        classes: number of classes.
    """
    samples = np.arange(len(truth))
    shape = (classes, len(truth))
    all_of_class = exact_sums(csr_array((np.ones(len(truth)), (truth, samples)), shape=shape))
    hits_of_class = exact_sums(csr_array((hits[hits], (truth[hits], samples[hits])), shape=shape))

    def statistic(counts: Counts) -> Floats:
        number = all_of_class(counts)
        shares = np.divide(hits_of_class(counts), number, out=np.full(number.shape, np.nan), where=number > 0)
        return mean_of_defined(shares.T)

    return Statistic(statistic, carriers=truth[:, None] == np.arange(classes))


def macro_map(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """Mean over classes of average precision; each class is sorted once.

    A class without positives in a resample is left out of its mean, and one that all its samples have counts 1; NaN
    scores as in `average_precision`.

    Args:
        labels: (n, class) of 0 and 1.
        scores: (n, class).
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    rankings = [rank_class(truth[:, index], values[:, index]) for index in range(truth.shape[1])]
    ranked = np.array([ranking is not None for ranking in rankings], dtype=bool)

    def unbiased(units: NDArray[np.integer]) -> float:
        pairs = zip(truth[:, ranked].T, values[:, ranked].T, strict=True)
        each = [precision_over_others(positive, score, units) for positive, score in pairs]
        return float(mean_of_defined(np.array([*each, np.nan])))

    return Statistic(_mean_average_precision(rankings), truth[:, ranked], unbiased)


def micro_map(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """Average precision of all (sample, class) pairs as one ranking, sorted once.

    Args:
        labels: (n, class) of 0 and 1.
        scores: (n, class).
    """
    return Statistic(_mean_average_precision([pairs_ranking(labels, scores)]))


def _mean_average_precision(rankings: list[Ranking | None]) -> Callable[[Counts], Floats]:
    def statistic(counts: Counts) -> Floats:
        total = _total(counts)
        precisions = [weighted_average_precision(ranking, counts, total) for ranking in rankings if ranking]
        return mean_of_defined(np.stack([*precisions, np.full(len(total), np.nan)], axis=-1))

    return statistic


def f1(labels: ArrayLike, scores: ArrayLike, thresholds: Floats) -> dict[str, Statistic]:
    """`macro_f1` and `micro_f1` at thresholds chosen elsewhere; a class whose threshold is NaN is left out.

    A class without predictions and positives in a resample is left out of its macro mean.

    Args:
        labels: (n, class), not 0 where the sample carries the class.
        scores: (n, class).
        thresholds: (class,), of the scores.
    """
    hits, marks = (exact_sums(csr_array(terms.T)) for terms in f1_terms(labels, scores, thresholds))

    def macro(counts: Counts) -> Floats:
        return mean_of_defined(f1_of_sums(hits(counts), marks(counts)).T)

    def micro(counts: Counts) -> Floats:
        return f1_of_sums(hits(counts).sum(axis=0, dtype=np.int64), marks(counts).sum(axis=0, dtype=np.int64))

    carriers = np.asarray(labels)[:, ~np.isnan(thresholds)]
    return {"macro_f1": Statistic(macro, carriers), "micro_f1": Statistic(micro)}
