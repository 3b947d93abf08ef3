"""Zero-shot scores, accuracies and average precision: arrays in, numbers out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def unit_rows(rows: ArrayLike) -> NDArray[np.float32]:
    """Rows scaled to length one, in float32; a row of zeros stays zeros."""
    array = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    return np.divide(array, length, out=np.zeros_like(array), where=length != 0)


def logits_from_head(embedding: ArrayLike, weights: ArrayLike, logit_scale: float) -> NDArray[np.float32]:
    """Zero-shot logits: logit_scale * cosine between each embedding and each class vector (CLIP, section 3.1.2).

    Args:
        embedding: (n, d), need not be normalised.
        weights: (class, d), need not be normalised.
        logit_scale: the factor itself, not its logarithm: 100 for OpenAI's models.
    """
    return np.float32(logit_scale) * (unit_rows(embedding) @ unit_rows(weights).T)


def single_labels(labels: ArrayLike) -> Integers:
    """Class index (n,) of one-hot labels (n, class).

    Raises:
        ValueError: a row that does not have exactly one 1.
    """
    one_hot = np.asarray(labels)
    wrong = np.flatnonzero((one_hot != 0).sum(axis=1) != 1)
    if wrong.size:
        raise ValueError(f"{wrong.size} of {len(one_hot)} samples do not have exactly one label, first at {wrong[0]}")
    return one_hot.argmax(axis=1)


def accuracy(truth: Integers, predicted: Integers) -> float:
    """Share of samples whose predicted class is the true one; NaN without samples."""
    return float(np.mean(truth == predicted)) if len(truth) else float("nan")


def class_accuracy(truth: Integers, predicted: Integers, classes: int) -> Floats:
    """Accuracy among the samples of each class (its recall), (classes,); NaN for a class without samples."""
    samples = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    return np.divide(hits, samples, out=np.full(classes, np.nan), where=samples > 0)


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of the values that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


@dataclass(frozen=True)
class Ranking:
    """One class's samples from the highest score down, cut into runs at every threshold where recall grows.

    A run ends with the last sample whose score equals that of some positive sample; negatives scoring below every
    positive one are in no run.

    Args:
        positives: (runs, n), 1 where the run holds the sample and the sample carries the class.
        samples: (runs, n), 1 where the run holds the sample.
    """

    positives: csr_array
    samples: csr_array


def rank_class(labels: ArrayLike, scores: ArrayLike) -> Ranking | None:
    """Sort one class's samples by score, ties together; None where average precision is undefined.

    It is undefined for a class without positives or without negatives, and where a score is NaN (a class without a
    classifier).

    Args:
        labels: (n,), 1 where the sample carries the class.
        scores: (n,).
    """
    positive, score = np.asarray(labels) != 0, np.asarray(scores)
    if positive.all() or not positive.any() or np.isnan(score).any():
        return None
    order = np.argsort(score, kind="stable")[::-1]
    ascending, positives = score[order[::-1]], order[positive[order]]
    reached = len(score) - np.searchsorted(ascending, score[positives], side="left")
    ends, first = np.unique(reached, return_index=True)
    return Ranking(
        positives=_runs(positives, np.append(first, len(positives)), len(score)),
        samples=_runs(order[: ends[-1]], np.append(0, ends), len(score)),
    )


def _runs(order: Integers, bounds: Integers, n: int) -> csr_array:
    return csr_array((np.ones(len(order)), order, bounds), shape=(len(bounds) - 1, n))


def weighted_average_precision(ranking: Ranking, weights: NDArray[np.float64]) -> Floats:
    """Average precision of one ranking under many weightings of its samples at a time.

    AP = sum over thresholds t of (R_t - R_(t-1)) P_t, without interpolation, as in scikit-learn. Precision and recall
    count each sample with its weight, so that the counts of a bootstrap resample give the resample's AP.

    Args:
        weights: (n, r) non-negative, one column a weighting.

    Returns:
        (r,), NaN where the weights leave no positive or no negative.
    """
    gained = ranking.positives @ weights
    true_positives, retrieved = gained.cumsum(axis=0), (ranking.samples @ weights).cumsum(axis=0)
    precision = np.divide(true_positives, retrieved, out=np.zeros_like(retrieved), where=retrieved > 0)
    positives = true_positives[-1]
    defined = (positives > 0) & (positives < weights.sum(axis=0))
    area = (gained * precision).sum(axis=0)
    return np.divide(area, positives, out=np.full(area.shape, np.nan), where=defined)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Average precision of each class (as sklearn.metrics.average_precision_score), NaN where undefined.

    Args:
        labels: (n, class), 1 where the sample carries the class.
        scores: (n, class), any increasing function of confidence.

    Returns:
        (class,). NaN for a class without positives or without negatives, and for one with a NaN among its scores.
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    once = np.ones((len(truth), 1))
    rankings = [rank_class(truth[:, index], values[:, index]) for index in range(truth.shape[1])]
    return np.array([weighted_average_precision(r, once)[0] if r else np.nan for r in rankings])


def micro_average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision of all (sample, class) pairs as one ranking; classes with a NaN among their scores left out."""
    truth, values = np.asarray(labels), np.asarray(scores)
    scored = ~np.isnan(values).any(axis=0)
    return float(average_precision(truth[:, scored].reshape(-1, 1), values[:, scored].reshape(-1, 1))[0])
