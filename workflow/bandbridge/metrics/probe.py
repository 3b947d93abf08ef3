"""Linear probe: logistic regression on frozen embeddings, its strength chosen on validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bandbridge.catalogue.datasets import headline_metric
from bandbridge.metrics.classification import single_labels
from bandbridge.metrics.resampled import headline_score

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Part = tuple[Floats, Integers]
Fit = tuple[Floats, Floats]

# Training values (samples x dimensions x classes) above which `is_large` asks for a solver that takes all classes at
# once: about where that is faster even if torch has to be imported first, which takes two seconds.
LARGE = 2**22
# Largest gradient of the mean loss at which scikit-learn stops. At its default of 1e-4 the weights of a weak penalty
# are off by a tenth and mAP by half a point, so that encoders would differ by solver.
GRADIENT = 1e-6
ROWS_AT_A_TIME = 2**14


@dataclass(frozen=True)
class Solver:
    """A way to fit logistic regressions; all solvers minimise the same convex loss, so that they agree.

    Attributes:
        name: as printed in logs.
        dtype: of the features that it takes.
        solve: (features (n, d), truth, values of C in ascending order, iterations at most) -> weights (class, d) and
            bias (class,) for each C. Truth (n,) holds class indices: one multinomial regression, of three classes or
            more. Truth (n, class) of 0 and 1: one binary regression per column. Every class or value occurs.
    """

    name: str
    dtype: type[np.floating]
    solve: Callable[[Floats, Integers, Sequence[float], int], Iterable[Fit]]


def _with_scikit_learn(features: Floats, truth: Integers, grid: Sequence[float], max_iterations: int) -> Iterator[Fit]:
    for C in grid:
        regression = LogisticRegression(C=C, max_iter=max_iterations, tol=GRADIENT)
        columns = [truth] if truth.ndim == 1 else list(truth.T)
        fits = [(fitted.coef_, fitted.intercept_) for fitted in (regression.fit(features, each) for each in columns)]
        yield np.concatenate([weights for weights, _ in fits]), np.concatenate([bias for _, bias in fits])


SCIKIT_LEARN = Solver("scikit-learn", np.float64, _with_scikit_learn)


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe on d features.

    Attributes:
        C: inverse strength of the L2 penalty, the best of the grid on validation.
        validation: the headline on validation that C was chosen by, 0..1.
        mean: (d,) subtracted from the features.
        deviation: (d,) that they are divided by.
        weights: (class, d), on these features.
        bias: (class,).
        unit: whether embeddings are divided by their length first.
    """

    C: float
    validation: float
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: Floats
    unit: bool = False

    def scores(self, embedding: Floats) -> Floats:
        """Logits (n, class) of embeddings (n, d).

        A class missing from train scores -inf (single label); one that all samples of train carry, or none, scores
        NaN, which is undefined (multi-label).
        """
        scores = np.empty((len(embedding), len(self.weights)))
        for rows in _blocks(len(embedding)):
            values = (_double(embedding[rows], self.unit) - self.mean) / self.deviation
            scores[rows] = values @ self.weights.T + self.bias
        return scores


def is_large(train: Part) -> bool:
    """Whether samples x dimensions x classes of `train` are more than LARGE."""
    values: int = train[0].size * train[1].shape[1]
    return values > LARGE


def fit_probe(  # noqa: PLR0913 (the last two are keyword-only options)
    train: Part,
    validation: Part,
    kind: str,
    grid: Sequence[float],
    max_iterations: int,
    solver: Solver = SCIKIT_LEARN,
    metric: str | None = None,
    *,
    unit: bool = False,
    refit: bool = False,
) -> Probe:
    """Fit a logistic regression on `train` for each C of the grid and keep the best one on `validation`.

    Features are standardised with the mean and deviation of what the regression is fitted on. Single label:
    multinomial, binary for two classes; multi-label: one binary regression per class, with one C for all. Ties go to
    the smallest C. Deterministic.

    Args:
        train: embeddings (n, d) and labels (n, class) of 0 and 1.
        validation: like `train`.
        kind: 'single' or 'multi'.
        grid: values of C, above 0.
        max_iterations: of the solver.
        solver: how the regressions are fitted.
        metric: by which C is chosen; None for the headline of the kind.
        unit: divide embeddings by their length in place of standardising them.
        refit: fit once more with the chosen C, on `train` and `validation` together; `Probe.validation` is that of
            the choice. With both options the features and the data are those of LAION's CLIP_benchmark.

    Raises:
        ValueError: train has fewer than two classes (single label), or a sample without exactly one.
    """
    metric = metric or headline_metric(kind)
    probes = [
        replace(probe, validation=headline_score(metric, validation[1], probe.scores(validation[0])))
        for probe in _probes(train, kind, sorted(grid), max_iterations, solver, unit)
    ]
    best = max(probes, key=lambda probe: np.nan_to_num(probe.validation, nan=-1))
    if not refit:
        return best
    both = (np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]]))
    (again,) = _probes(both, kind, [best.C], max_iterations, solver, unit)
    return replace(again, validation=best.validation)


def _probes(
    train: Part, kind: str, grid: Sequence[float], max_iterations: int, solver: Solver, unit: bool
) -> Iterator[Probe]:
    """A probe for each C, its validation still unknown."""
    dim = train[0].shape[1]
    mean, deviation = (np.zeros(dim), np.ones(dim)) if unit else _moments(train[0])
    features = np.empty(train[0].shape, dtype=solver.dtype)
    for rows in _blocks(len(features)):
        features[rows] = (_double(train[0][rows], unit) - mean) / deviation
    fit = _fit_single if kind == "single" else _fit_multi
    for C, (weights, bias) in zip(grid, fit(features, train[1], grid, max_iterations, solver), strict=True):
        yield Probe(C, float("nan"), mean, deviation, weights, bias, unit)


def _double(array: Floats, unit: bool = False) -> NDArray[np.float64]:
    values = np.asarray(array, dtype=np.float64)
    # An embedding of zeros has no direction and stays as it is.
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(float).tiny) if unit else values


def _blocks(n: int) -> list[slice]:
    """Slices of n rows, so that a large set is never held in float64 as a whole."""
    return [slice(start, start + ROWS_AT_A_TIME) for start in range(0, n, ROWS_AT_A_TIME)]


def _moments(embedding: Floats) -> tuple[Floats, Floats]:
    scaler = StandardScaler()
    for rows in _blocks(len(embedding)):
        scaler.partial_fit(_double(embedding[rows]))
    return scaler.mean_, scaler.scale_


def _fit_single(
    features: Floats, labels: Integers, grid: Sequence[float], max_iterations: int, solver: Solver
) -> Iterator[Fit]:
    present, truth = np.unique(single_labels(labels), return_inverse=True)
    if len(present) < 2:
        raise ValueError("a linear probe needs at least two classes in train")
    truth = truth[:, None] if len(present) == 2 else truth
    for coefficients, intercepts in solver.solve(features, truth, grid, max_iterations):
        weights, bias = np.zeros((labels.shape[1], features.shape[1])), np.full(labels.shape[1], -np.inf)
        # With two classes, the one regression scores the second against the first.
        bias[present] = 0
        weights[present[-len(coefficients) :]], bias[present[-len(coefficients) :]] = coefficients, intercepts
        yield weights, bias


def _fit_multi(
    features: Floats, labels: Integers, grid: Sequence[float], max_iterations: int, solver: Solver
) -> Iterator[Fit]:
    mixed = labels.any(axis=0) & ~labels.all(axis=0)
    fits = solver.solve(features, labels[:, mixed], grid, max_iterations) if mixed.any() else [None for _ in grid]
    for fit in fits:
        weights, bias = np.full((labels.shape[1], features.shape[1]), np.nan), np.full(labels.shape[1], np.nan)
        if fit is not None:
            weights[mixed], bias[mixed] = fit
        yield weights, bias
