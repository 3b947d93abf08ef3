"""Linear probe: logistic regression on frozen embeddings, its strength chosen on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bandbridge.metrics.classification import accuracy, average_precision, mean_of_defined, single_labels

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe on d features.

    Args:
        C: inverse strength of the L2 penalty, the best of the grid on validation.
        validation: what C was best at: accuracy (single label) or macro mAP (multi-label), 0..1.
        mean, deviation: (d,) of the features in train.
        weights, bias: (class, d) and (class,) on standardised features.
    """

    C: float
    validation: float
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: Floats

    def scores(self, embedding: Floats) -> Floats:
        """Logits (n, class) of embeddings (n, d).

        A class that train never shows scores -inf (single label); one that train shows in all samples or in none
        scores NaN, which is undefined (multi-label).
        """
        return _scores(_standardised(embedding, self.mean, self.deviation), self.weights, self.bias)


def fit_probe(
    train: tuple[Floats, Integers],
    validation: tuple[Floats, Integers],
    kind: str,
    grid: Sequence[float],
    max_iterations: int,
) -> Probe:
    """Fit a logistic regression on `train` for each C of the grid and keep the one that is best on `validation`.

    Features are standardised with the mean and deviation of `train`. Single label: multinomial; multi-label: one
    binary regression a class, with one C for all. Ties go to the smallest C. L-BFGS from zero: deterministic.

    Args:
        train, validation: embeddings (n, d) and labels (n, class) of 0 and 1.
        kind: 'single' or 'multi'.
        grid: values of C, above 0.

    Raises:
        ValueError: train shows fewer than two classes (single label), or a sample without exactly one.
    """
    scaler = StandardScaler().fit(np.asarray(train[0], dtype=np.float64))
    mean, deviation = scaler.mean_, scaler.scale_
    features, held_out = (_standardised(part[0], mean, deviation) for part in (train, validation))
    fit, score = (_fit_single, _accuracy) if kind == "single" else (_fit_multi, _macro_map)
    fits = ((C, *fit(features, train[1], LogisticRegression(C=C, max_iter=max_iterations))) for C in sorted(grid))
    probes = [
        Probe(C, score(validation[1], _scores(held_out, weights, bias)), mean, deviation, weights, bias)
        for C, weights, bias in fits
    ]
    return max(probes, key=lambda probe: probe.validation)


def _standardised(embedding: Floats, mean: Floats, deviation: Floats) -> Floats:
    return (np.asarray(embedding, dtype=np.float64) - mean) / deviation


def _scores(features: Floats, weights: Floats, bias: Floats) -> Floats:
    return features @ weights.T + bias


def _fit_single(features: Floats, labels: Integers, regression: LogisticRegression) -> tuple[Floats, Floats]:
    truth = single_labels(labels)
    if len(np.unique(truth)) < 2:
        raise ValueError("a linear probe needs at least two classes in train")
    regression.fit(features, truth)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn scores the second against the first
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0, intercepts)
    weights, bias = np.zeros((labels.shape[1], features.shape[1])), np.full(labels.shape[1], -np.inf)
    weights[regression.classes_], bias[regression.classes_] = coefficients, intercepts
    return weights, bias


def _fit_multi(features: Floats, labels: Integers, regression: LogisticRegression) -> tuple[Floats, Floats]:
    weights, bias = np.full((labels.shape[1], features.shape[1]), np.nan), np.full(labels.shape[1], np.nan)
    for index in np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0)):
        regression.fit(features, labels[:, index])
        weights[index], bias[index] = regression.coef_[0], regression.intercept_[0]
    return weights, bias


def _accuracy(labels: Integers, scores: Floats) -> float:
    return accuracy(single_labels(labels), scores.argmax(axis=1))


def _macro_map(labels: Integers, scores: Floats) -> float:
    return float(mean_of_defined(average_precision(labels, scores)))
