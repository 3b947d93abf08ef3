"""Few-shot probes: linear probes fitted on k samples per class, drawn several times."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from bandbridge.catalogue.datasets import headline_metric
from bandbridge.metrics.intervals import Interval
from bandbridge.metrics.probe import SCIKIT_LEARN, Integers, Part, Solver, fit_probe
from bandbridge.metrics.resampled import headline_score


@dataclass(frozen=True)
class FewShot:
    """What few-shot probes are fitted on and how.

    Attributes:
        shots: values of k, samples per class.
        repeats: draws per k.
        grid: values of C.
        max_iterations: of the solver.
        unit: of the features, see `fit_probe`.
    """

    shots: Sequence[int]
    repeats: int
    grid: Sequence[float]
    max_iterations: int
    unit: bool = False


def shots_of(labels: ArrayLike, k: int, order: Integers) -> NDArray[np.integer]:
    """The samples of a k-shot training set: the first k carriers of each class in `order`.

    In a multi-label set a sample may count for several classes, and a class may have more than k carriers through
    samples drawn for other classes. A class with fewer than k carriers contributes all of them. In the same order,
    the samples of a smaller k are among those of a larger one.

    Args:
        labels: (n, class) of 0 and 1.
        k: samples per class.
        order: (n,) the rows in any order.

    Returns:
        Ascending rows of `labels`.
    """
    carries = np.asarray(labels)[order] != 0
    first = carries & (carries.cumsum(axis=0) <= k)
    return np.sort(order[first.any(axis=1)])


def orders(n: int, repeats: int, seed: int) -> Iterator[NDArray[np.integer]]:
    """The rows in random order, one per repeat; an order depends only on n, the seed and the repeat's index."""
    for repeat in range(repeats):
        yield np.random.default_rng([seed, repeat]).permutation(n)


def few_shot(
    train: Part,
    validation: Part,
    test: Part,
    kind: str,
    recipe: FewShot,
    seed: int,
    solver_for: Callable[[Part], Solver] = lambda _: SCIKIT_LEARN,
    metric: str | None = None,
) -> dict[int, NDArray[np.float64]]:
    """The headline on `test` of probes fitted on k samples per class of `train`.

    Each is a linear probe as of `fit_probe`, standardised by its few training samples if at all; its C is the best on
    all of `validation`.

    Args:
        train: embeddings (n, d) and labels (n, class) of 0 and 1.
        validation: like `train`.
        test: like `train`.
        kind: 'single' or 'multi'.
        recipe: shots, repeats, and how probes are fitted.
        seed: of the draws.
        solver_for: the solver for a training set.
        metric: the headline; None for that of the kind.

    Returns:
        k -> (repeats,) values, 0..1; NaN where no class has a classifier and samples of both values in `test`
        (multi-label).

    Raises:
        ValueError: train shows fewer than two classes (single label), or a sample without exactly one.
    """
    (embedding, labels), metric = train, metric or headline_metric(kind)
    values: dict[int, list[float]] = {k: [] for k in recipe.shots}
    for order in orders(len(labels), recipe.repeats, seed):
        for k in recipe.shots:
            rows = shots_of(labels, k, order)
            few = (embedding[rows], labels[rows])
            how = (recipe.grid, recipe.max_iterations, solver_for(few), metric)
            probe = fit_probe(few, validation, kind, *how, unit=recipe.unit)
            values[k].append(headline_score(metric, test[1], probe.scores(test[0])))
    return {k: np.array(of_repeats) for k, of_repeats in values.items()}


def t_interval(values: ArrayLike, level: float) -> Interval:
    """Student's t interval of the mean of repeats, clipped to 0..1.

    Args:
        values: one per repeat; NaN are left out.
        level: of the interval, 0..1.

    Returns:
        Lower and upper bound; (NaN, NaN) with fewer than two values.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if len(array) < 2:
        return float("nan"), float("nan")
    half = stdtrit(len(array) - 1, (1 + level) / 2) * array.std(ddof=1) / np.sqrt(len(array))
    return max(float(array.mean() - half), 0.0), min(float(array.mean() + half), 1.0)
