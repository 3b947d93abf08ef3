"""F1 of multi-label predictions, and the score thresholds that maximise it on other samples."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


def best_thresholds(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """The threshold per class that maximises F1, among all scores; a sample is predicted to carry it from there on.

    Of equally good thresholds, the highest.

    Args:
        labels: (n, class), 1 where the sample carries the class.
        scores: (n, class), any increasing function of confidence.

    Returns:
        (class,). NaN for a class without positives and for one with a NaN among its scores: its F1 is undefined.
    """
    truth, values = np.asarray(labels) != 0, np.asarray(scores)
    return np.array([_best_threshold(truth[:, index], values[:, index]) for index in range(truth.shape[1])])


def _best_threshold(positive: NDArray[np.bool_], score: Floats) -> float:
    if not positive.any() or np.isnan(score).any():
        return float("nan")
    order = np.argsort(score)[::-1]
    descending = score[order]
    ends = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(score) - 1)  # last of each run of ties
    f1 = 2 * np.cumsum(positive[order])[ends] / (ends + 1 + positive.sum())
    return float(descending[ends[f1.argmax()]])


def predictions(scores: ArrayLike, thresholds: Floats) -> NDArray[np.bool_]:
    """Where a score reaches its class's threshold, (n, class); False for a class whose threshold is NaN."""
    return np.asarray(scores) >= thresholds


def f1_terms(labels: ArrayLike, scores: ArrayLike, thresholds: Floats) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Terms of F1 = 2 * sum of hits / sum of marks, for the classes whose threshold is defined.

    Returns:
        Hits (n, class), 1 for a predicted positive, and marks (n, class), predictions plus positives.
    """
    defined = ~np.isnan(thresholds)
    predicted = predictions(scores, thresholds)[:, defined].astype(np.int8)
    positive = (np.asarray(labels)[:, defined] != 0).astype(np.int8)
    return predicted * positive, predicted + positive


def f1_of_sums(hits: NDArray[np.integer], marks: NDArray[np.integer]) -> Floats:
    """F1 of summed terms; NaN without predictions and positives."""
    values: Floats = np.divide(2 * hits, marks, out=np.full(np.shape(marks), np.nan), where=np.asarray(marks) > 0)
    return values


def class_f1(labels: ArrayLike, scores: ArrayLike, thresholds: Floats) -> Floats:
    """F1 per class, (class,); NaN where its threshold is NaN, and without a prediction and a positive."""
    hits, marks = f1_terms(labels, scores, thresholds)
    values = np.full(len(thresholds), np.nan)
    values[~np.isnan(thresholds)] = f1_of_sums(hits.sum(axis=0, dtype=np.int64), marks.sum(axis=0, dtype=np.int64))
    return values
