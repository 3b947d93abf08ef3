"""Zero-shot scores, accuracies and average precision: arrays in, numbers out."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.ranking import rank_class, weighted_average_precision

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def unit_rows(rows: ArrayLike) -> NDArray[np.float32]:
    """Rows scaled to length one, in float32; a row of zeros stays zeros."""
    array = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(array, length, out=np.zeros_like(array), where=length != 0)
    return unit


def logits_from_head(
    embedding: ArrayLike, weights: ArrayLike, logit_scale: float, logit_bias: float = 0.0
) -> NDArray[np.float32]:
    """Zero-shot logits: logit_scale * cosine of each embedding and class vector (CLIP, section 3.1.2) + logit_bias.

    Args:
        embedding: (n, d), need not be normalised.
        weights: (class, d), need not be normalised.
        logit_scale: the factor itself, not its logarithm: 100 for OpenAI's models.
        logit_bias: SigLIP's (Zhai et al. 2023, eq. 1).
    """
    return np.float32(logit_scale) * (unit_rows(embedding) @ unit_rows(weights).T) + np.float32(logit_bias)


def single_labels(labels: ArrayLike) -> Integers:
    """Class index (n,) of one-hot labels (n, class).

    Raises:
        ValueError: a row that does not have exactly one 1.
    """
    one_hot = np.asarray(labels)
    wrong = np.flatnonzero((one_hot != 0).sum(axis=1) != 1)
    if wrong.size:
        raise ValueError(f"{wrong.size} of {len(one_hot)} samples do not have exactly one label, first at {wrong[0]}")
    indices: Integers = one_hot.argmax(axis=1)
    return indices


def top_k_hits(truth: Integers, scores: Floats, k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the k classes of highest score, (n,); of equal scores the first class wins.

    With k = 1 a sample is a hit where `argmax` returns the true class.

    Args:
        truth: (n,) indices of classes.
        scores: (n, class).
        k: number of classes.
    """
    of_truth = scores[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    better = np.count_nonzero(scores > of_truth, axis=1) + np.count_nonzero((scores == of_truth) & earlier, axis=1)
    hits: NDArray[np.bool_] = better < k
    return hits


def confusion_matrix(truth: Integers, predicted: Integers, classes: int) -> Integers:
    """Number of samples per true class (row) and predicted class (column), (class, class)."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def class_accuracy(truth: Integers, predicted: Integers, classes: int) -> Floats:
    """Accuracy among the samples of each class (its recall), (classes,); NaN for a class without samples."""
    samples = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    shares: Floats = np.divide(hits, samples, out=np.full(classes, np.nan), where=samples > 0)
    return shares


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of the values that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    mean: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def average_precision(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Average precision per class (as sklearn.metrics.average_precision_score), NaN where undefined.

    Args:
        labels: (n, class), 1 where the sample carries the class.
        scores: (n, class), any increasing function of confidence.

    Returns:
        (class,). NaN for a class without positives and for one with a NaN among its scores; 1 for one that all
        samples have.
    """
    truth, values = np.asarray(labels), np.asarray(scores)
    once = np.ones((len(truth), 1), np.int16)
    rankings = [rank_class(truth[:, index], values[:, index]) for index in range(truth.shape[1])]
    return np.array([weighted_average_precision(r, once)[0] if r else np.nan for r in rankings])
