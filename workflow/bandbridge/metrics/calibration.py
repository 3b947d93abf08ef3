"""Calibration: whether predictions are right as often as their confidence claims (Guo et al. 2017, section 2)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15
_ROWS_AT_A_TIME = 2**12  # of logits turned into probabilities: 33 MB at 1,000 classes

Floats = NDArray[np.floating]


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between confidence and share of right predictions in bins of equal width, weighted by their size.

    Bin b of B holds the confidences in ((b - 1) / B, b / B]; the first one holds 0 too. NaN without predictions.

    Args:
        confidence: (m,), 0..1.
        right: (m,), 1 where the prediction is right.
        bins: number of bins.
    """
    confidences, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not len(confidences):
        return float("nan")
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidences, side="left")
    return float(np.abs(np.bincount(bin_of, weights=confidences - hits, minlength=bins)).sum() / len(confidences))


def single_label_ece(truth: NDArray[np.integer], logits: Floats) -> float:
    """Calibration error of the class with the highest score, its confidence that of a softmax.

    Args:
        truth: (n,) indices of classes.
        logits: (n, class).
    """
    parts = [logits[start : start + _ROWS_AT_A_TIME] for start in range(0, len(logits), _ROWS_AT_A_TIME)]
    confidence = np.concatenate([_top_softmax(part) for part in parts] or [np.empty(0)])
    return expected_calibration_error(confidence, logits.argmax(axis=1) == truth)


def multi_label_ece(labels: ArrayLike, logits: Floats) -> float:
    """Calibration error over all (sample, class) pairs, the confidence that a sample carries a class a sigmoid's.

    Args:
        labels: (n, class), not 0 where the sample carries the class.
        logits: (n, class).
    """
    values = np.asarray(logits, dtype=np.float64).ravel()
    return expected_calibration_error(np.exp(-np.logaddexp(0, -values)), (np.asarray(labels) != 0).ravel())


def _top_softmax(logits: Floats) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    top: Floats = 1 / np.exp(values - values.max(axis=1, keepdims=True)).sum(axis=1)
    return top
