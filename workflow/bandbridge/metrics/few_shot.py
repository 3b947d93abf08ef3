"""Few-shot probes: linear probes fitted on k samples a class, drawn several times."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from bandbridge.catalogue.datasets import headline_metric
from bandbridge.metrics.intervals import Interval
from bandbridge.metrics.probe import SCIKIT_LEARN, Integers, Part, Solver, fit_probe
from bandbridge.metrics.resampled import headline_score


def shots_of(labels: ArrayLike, k: int, order: Integers) -> NDArray[np.integer]:
    """The samples, as ascending rows, of a k-shot training set: the first k carriers of each class in `order`.

    Of a multi-label set they are united: a sample may count for several classes, and a class may have more than k
    carriers through the samples that others took. A class with fewer than k carriers gives all it has. In the same
    order, the samples of a smaller k are among those of a larger one.

    Args:
        labels: (n, class) of 0 and 1.
        order: (n,) the rows in any order.
    """
    carries = np.asarray(labels)[order] != 0
    first = carries & (carries.cumsum(axis=0) <= k)
    return np.sort(order[first.any(axis=1)])


def orders(n: int, repeats: int, seed: int) -> Iterator[NDArray[np.integer]]:
    """The rows in random order, once a repeat. They hang on n, seed and repeat alone, and thus not on the encoder."""
    for repeat in range(repeats):
        yield np.random.default_rng([seed, repeat]).permutation(n)


def few_shot(
    train: Part,
    validation: Part,
    test: Part,
    kind: str,
    shots: Sequence[int],
    repeats: int,
    grid: Sequence[float],
    max_iterations: int,
    seed: int,
    solver_for: Callable[[Part], Solver] = lambda _: SCIKIT_LEARN,
    metric: str | None = None,
) -> dict[int, NDArray[np.float64]]:
    """The headline on `test` of probes fitted on k samples a class of `train`, each k of `shots`: (repeats,) values.

    Each is a linear probe as of `fit_probe`, standardised by its own few samples, its C the best on all of
    `validation`. NaN where no class has a classifier and samples of both values in `test` (multi-label).

    Args:
        train, validation, test: embeddings (n, d) and labels (n, class) of 0 and 1.
        kind: 'single' or 'multi'.
        metric: the headline; None for that of the kind.

    Raises:
        ValueError: train shows fewer than two classes (single label), or a sample without exactly one.
    """
    (embedding, labels), metric = train, metric or headline_metric(kind)
    values: dict[int, list[float]] = {k: [] for k in shots}
    for order in orders(len(labels), repeats, seed):
        for k in shots:
            rows = shots_of(labels, k, order)
            few = (embedding[rows], labels[rows])
            probe = fit_probe(few, validation, kind, grid, max_iterations, solver_for(few), metric)
            values[k].append(headline_score(metric, test[1], probe.scores(test[0])))
    return {k: np.array(found) for k, found in values.items()}


def t_interval(values: ArrayLike, level: float) -> Interval:
    """Student's interval of the mean of repeats at `level` (0..1), cut to 0..1; (NaN, NaN) of fewer than two.

    NaN are left out.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if len(array) < 2:
        return float("nan"), float("nan")
    half = stdtrit(len(array) - 1, (1 + level) / 2) * array.std(ddof=1) / np.sqrt(len(array))
    return max(float(array.mean() - half), 0.0), min(float(array.mean() + half), 1.0)
