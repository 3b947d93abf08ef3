"""Confidence: cosines made probabilities by what validation data say (Guo et al. 2017)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.metrics.calibration import multi_label_ece, single_label_ece

COSINE, PROBABILITY = "cosine", "probability"
FEWEST = 20  # validation samples


@dataclass(frozen=True)
class Calibration:
    """From cosines to probabilities, for one list of classes.

    Attributes:
        kind: 'softmax', one class per sample: softmax(scale * cosine), temperature scaling; or 'sigmoid', several:
            1 / (1 + exp(-scale * cosine - bias)), Platt's.
        samples, dataset, split: what it was fitted on.
        ece: expected calibration error there, after it.
    """

    kind: str
    scale: float
    bias: float
    samples: int
    dataset: str
    split: str
    ece: float

    @classmethod
    def from_card(cls, content: Mapping[str, Any] | None) -> "Calibration | None":
        return None if content is None else cls(**content)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def probabilities(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, class) of cosines (n, class)."""
        logits = self.scale * np.asarray(cosines, np.float64) + self.bias
        if self.kind == "sigmoid":
            return np.exp(-np.logaddexp(0, -logits)).astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        shares: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


def fit(
    cosines: NDArray[np.float32], labels: NDArray[np.uint8], kind: str, dataset: str, split: str
) -> Calibration | None:
    """The scale, and for several labels the bias, of least cross-entropy on validation samples; None for too few.

    Args:
        cosines, labels: (n, class); samples without any label are left out for one class per sample.
        kind: of the labels, 'single' or 'multi'.
    """
    from scipy.optimize import minimize, minimize_scalar

    values, truth = np.asarray(cosines, np.float64), np.asarray(labels, np.float64)
    if kind == "single":
        kept = truth.any(axis=1)
        values, truth = values[kept], truth[kept]
    if len(values) < FEWEST:
        return None
    if kind == "single":
        right = truth.argmax(axis=1)

        def loss(log_scale: float) -> float:
            logits = np.exp(log_scale) * values
            top = logits.max(axis=1)
            total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
            return float((total - logits[np.arange(len(right)), right]).mean())

        scale, bias = float(np.exp(minimize_scalar(loss, bounds=(-2.0, 7.0), method="bounded").x)), 0.0
        ece = single_label_ece(right, scale * values)
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
