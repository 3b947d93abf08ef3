"""Metrics as functions of how often each sample counts, for all resamples of a bootstrap at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from bandbridge.metrics.classification import mean_of_defined, single_labels
from bandbridge.metrics.ranking import Ranking, exact_sums, pairs_ranking, rank_class, weighted_average_precision
from bandbridge.metrics.thresholds import f1_of_sums, f1_terms

Floats = NDArray[np.floating]
Counts = NDArray[np.integer]
Statistic = Callable[[Counts], Floats]
"""From counts (n, r), a column a resample, to the metric in each, (r,); NaN where it is undefined."""


def on_all_samples(statistic: Statistic, n: int) -> float:
    """The metric itself: each of the n samples counts once. NaN without samples."""
    if not n:
        return float("nan")
    return float(statistic(np.ones((n, 1), np.int16))[0])


def mean_of(values: ArrayLike) -> Statistic:
    """Mean over samples: accuracy where `values` (n,) are hits, recall@k where they are rank <= k."""
    array = np.asarray(values)
    if array.dtype != bool:
        return lambda counts: array.astype(np.float64) @ counts / len(counts)
    hits = exact_sums(csr_array(array[None, :]))
    return lambda counts: hits(counts)[0] / len(counts)


def headline_statistic(metric: str, labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """'accuracy', 'balanced_accuracy' (single label) or 'map' (multi-label), as a data set's headline is named.

    Args:
        labels, scores: (n, class), labels of 0 and 1.
    """
    if metric == "map":
        return macro_map(labels, scores)
    truth, values = single_labels(labels), np.asarray(scores)
    hits = truth == values.argmax(axis=1)
    return mean_of(hits) if metric == "accuracy" else balanced_accuracy(truth, hits, values.shape[1])


def headline_score(metric: str, labels: ArrayLike, scores: ArrayLike) -> float:
    """The same on all samples, 0..1; NaN where it is undefined."""
    return on_all_samples(headline_statistic(metric, labels, scores), len(np.asarray(labels)))


def balanced_accuracy(truth: NDArray[np.integer], hits: NDArray[np.bool_], classes: int) -> Statistic:
    """Mean over classes of the share of their samples that are hits (as sklearn.metrics.balanced_accuracy_score).

    A class that a resample lacks is left out of its mean.

    Args:
        truth: (n,) indices of classes.
        hits: (n,), where the predicted class is the true one.
    """
    samples = np.arange(len(truth))
    shape = (classes, len(truth))
    all_of_class = exact_sums(csr_array((np.ones(len(truth)), (truth, samples)), shape=shape))
    hits_of_class = exact_sums(csr_array((hits[hits], (truth[hits], samples[hits])), shape=shape))

    def statistic(counts: Counts) -> Floats:
        number = all_of_class(counts)
        shares = np.divide(hits_of_class(counts), number, out=np.full(number.shape, np.nan), where=number > 0)
        return mean_of_defined(shares.T)

    return statistic


def macro_map(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """Mean over classes of average precision; each class is sorted once.

    A class without positives or without negatives in a resample is left out of its mean; NaN scores as in
    `average_precision`.

    Args:
        labels, scores: (n, class).
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    return _mean_average_precision([rank_class(truth[:, index], values[:, index]) for index in range(truth.shape[1])])


def micro_map(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """Average precision of all (sample, class) pairs as one ranking, sorted once.

    Args:
        labels, scores: (n, class).
    """
    return _mean_average_precision([pairs_ranking(labels, scores)])


def _mean_average_precision(rankings: list[Ranking | None]) -> Statistic:
    def statistic(counts: Counts) -> Floats:
        total = counts.sum(axis=0, dtype=np.int64)
        found = [weighted_average_precision(ranking, counts, total) for ranking in rankings if ranking]
        return mean_of_defined(np.stack([*found, np.full(len(total), np.nan)], axis=-1))

    return statistic


def f1(labels: ArrayLike, scores: ArrayLike, thresholds: Floats) -> dict[str, Statistic]:
    """`macro_f1` and `micro_f1` at given thresholds (class,) of scores (n, class); a class without one is left out.

    A class without predictions and positives in a resample is left out of its macro mean.
    """
    hits, marks = (exact_sums(csr_array(terms.T)) for terms in f1_terms(labels, scores, thresholds))

    def macro(counts: Counts) -> Floats:
        return mean_of_defined(f1_of_sums(hits(counts), marks(counts)).T)

    def micro(counts: Counts) -> Floats:
        return f1_of_sums(hits(counts).sum(axis=0, dtype=np.int64), marks(counts).sum(axis=0, dtype=np.int64))

    return {"macro_f1": macro, "micro_f1": micro}
