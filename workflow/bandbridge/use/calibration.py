"""Confidence: cosines turned into probabilities, fitted on validation data (Guo et al. 2017)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.metrics.calibration import multi_label_ece, single_label_ece
from bandbridge.use.cache import cached, digest_of_array

COSINE, PROBABILITY = "cosine", "probability"
FEWEST = 20  # validation samples


@dataclass(frozen=True)
class Calibration:
    """Conversion of cosines to probabilities, for one list of classes.

    Attributes:
        kind: 'softmax', one class per sample: softmax(scale * cosine), temperature scaling; or 'sigmoid', several:
            1 / (1 + exp(-scale * cosine - bias)), Platt's.
        samples, dataset, split: the data it was fitted on.
        ece: expected calibration error on these data, after the fit.
    """

    kind: str
    scale: float
    bias: float
    samples: int
    dataset: str
    split: str
    ece: float

    def probabilities(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, class) from cosines (n, class)."""
        from scipy.special import expit, softmax

        logits = self.scale * np.asarray(cosines, np.float64) + self.bias
        shares: NDArray[np.float64] = expit(logits) if self.kind == "sigmoid" else softmax(logits, axis=1)
        return shares.astype(np.float32)


def cached_fit(
    cosines: NDArray[np.float32], labels: NDArray[np.uint8], kind: str, dataset: str, split: str
) -> Calibration | None:
    """`fit`, kept in the user's cache by the digests of its arrays: every command with a run's model needs it."""
    if len(cosines) < FEWEST:
        return None

    def compute() -> dict[str, NDArray[Any]]:
        fitted = fit(cosines, labels, kind, dataset, split)
        numbers = [] if fitted is None else [fitted.scale, fitted.bias, fitted.samples, fitted.ece]
        return {"numbers": np.array(numbers, np.float64)}

    key = {"cosines": digest_of_array(cosines), "labels": digest_of_array(labels), "kind": kind}
    numbers = cached("calibrations", key, compute)["numbers"].tolist()
    if not numbers:
        return None
    scale, bias, samples, ece = numbers
    return Calibration("softmax" if kind == "single" else "sigmoid", scale, bias, int(samples), dataset, split, ece)


def fit(
    cosines: NDArray[np.float32], labels: NDArray[np.uint8], kind: str, dataset: str, split: str
) -> Calibration | None:
    """The scale, and for several labels the bias, of least cross-entropy on validation samples; None for too few.

    Args:
        cosines, labels: (n, class); samples without any label are left out for one class per sample.
        kind: of the labels, 'single' or 'multi'.
        dataset, split: of the samples.
    """
    values, truth = np.asarray(cosines, np.float64), np.asarray(labels, np.float64)
    if kind == "single":
        kept = truth.any(axis=1)
        values, truth = values[kept], truth[kept]
    if len(values) < FEWEST:
        return None
    from scipy.optimize import minimize, minimize_scalar  # takes half a second
    from scipy.special import log_softmax

    if kind == "single":
        true_class = truth.argmax(axis=1)

        def loss(log_scale: float) -> float:
            return -float(log_softmax(np.exp(log_scale) * values, axis=1)[np.arange(len(values)), true_class].mean())

        scale, bias = float(np.exp(minimize_scalar(loss, bounds=(-2.0, 7.0), method="bounded").x)), 0.0
        ece = single_label_ece(true_class, scale * values)
        return Calibration("softmax", scale, bias, len(values), dataset, split, ece)

    def cross_entropy(parameters: NDArray[np.float64]) -> float:
        logits = np.exp(parameters[0]) * values + parameters[1]
        return float((np.logaddexp(0, logits) - truth * logits).mean())

    # The scale's logarithm: a negative scale would call the least similar images the most probable.
    log_scale, bias = minimize(cross_entropy, np.array([2.0, 0.0]), method="L-BFGS-B", bounds=[(-2, 7), (-50, 50)]).x
    scale, bias = float(np.exp(log_scale)), float(bias)
    return Calibration(
        "sigmoid", scale, bias, len(values), dataset, split, multi_label_ece(truth, scale * values + bias)
    )
