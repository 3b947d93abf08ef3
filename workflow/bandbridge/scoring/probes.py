"""From embeddings to rows of the metrics table: linear probes, on all of train and on a few samples per class."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bandbridge.base.errors import UserError
from bandbridge.metrics.classification import mean_of_defined, single_labels
from bandbridge.scoring.rows import Row
from bandbridge.scoring.zero_shot import Draws, Labelled, classification_rows, row_of

if TYPE_CHECKING:
    from bandbridge.metrics.probe import Part, Solver

# Probes are imported where they are fitted: most jobs only score, and importing scikit-learn takes longer than scoring.


def probe_rows(
    train: Labelled, val: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """Rows of a linear probe fitted on `train`, its C chosen on `val`: the headline on `val`, all metrics on `test`.

    Args:
        train: what the probe is fitted on.
        val: what C is chosen on.
        test: what it is scored on.
        recipe: `C`, the grid, `max_iterations`, `features` and `refit`; other keys are ignored.
        run: name of the run.
        nomenclature: of the labels.
        draws: half-samples of the intervals.

    Raises:
        UserError: train has a single class of a single-label data set.
    """
    from bandbridge.metrics.probe import fit_probe

    _check_classes(train)
    solver, parts = solver_for(_part(train)), (_part(train), _part(val))
    options = {"unit": _is_unit(recipe), "refit": recipe.get("refit", False)}
    probe = fit_probe(*parts, train.kind, recipe["C"], recipe["max_iterations"], solver, train.headline, **options)
    print(f"Probe of {train.embeddings.attrs['encoder']}: solved with {solver.name}, C = {probe.C:g}")
    if math.isnan(probe.validation):
        attrs = val.embeddings.attrs
        print(
            f"Warning: {val.headline} of the probe of {attrs['encoder']} on {attrs['dataset']} (split val) is not "
            f"defined for any C, so none is the best; the smallest, {probe.C:g}, is used. val needs samples with and "
            "without each class."
        )
    common = {"task": "linear-probe", "run": run, "nomenclature": nomenclature, "seed": draws.seed}
    on_val = row_of(val.embeddings.attrs, **common)
    chosen = on_val(metric=val.headline, value=probe.validation, n=len(val.labels))
    scores = probe.scores(test.embeddings.embedding)
    return [chosen, *classification_rows(row_of(test.embeddings.attrs, **common), test, scores, draws)]


def few_shot_rows(
    train: Labelled, val: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """Rows `<headline>@<k>` of probes on k samples per class: the mean over repeats on `test`, with its t interval.

    Args:
        train: what samples are drawn from.
        val: what C is chosen on.
        test: what probes are scored on.
        recipe: as for `probe_rows`, with `shots`, the values of k, and `repeats`.
        run: name of the run.
        nomenclature: of the labels.
        draws: its seed draws the samples, its level is the interval's.

    Raises:
        UserError: train has a single class of a single-label data set.
    """
    from bandbridge.metrics.few_shot import FewShot, few_shot, t_interval

    _check_classes(train)
    values = few_shot(
        _part(train),
        _part(val),
        _part(test),
        kind=train.kind,
        recipe=FewShot(recipe["shots"], recipe["repeats"], recipe["C"], recipe["max_iterations"], _is_unit(recipe)),
        seed=draws.seed,
        solver_for=solver_for,
        metric=test.headline,
    )
    row = row_of(test.embeddings.attrs, task="few-shot", run=run, nomenclature=nomenclature, seed=draws.seed)
    rows = []
    for k, repeats in values.items():
        low, high = t_interval(repeats, draws.level)
        mean = float(mean_of_defined(repeats))
        rows.append(row(metric=f"{test.headline}@{k}", value=mean, ci_low=low, ci_high=high, n=len(test.labels)))
    return rows


def solver_for(train: "Part") -> "Solver":
    """The solver of a probe on `train`: scikit-learn, or torch where `train` is large, whatever the machine."""
    from bandbridge.metrics.probe import SCIKIT_LEARN, is_large

    if not is_large(train):
        return SCIKIT_LEARN
    from bandbridge.scoring.probe_solver import TORCH

    return TORCH


def _is_unit(recipe: Mapping[str, Any]) -> bool:
    return bool(recipe.get("features") == "unit")


def _part(split: Labelled) -> "Part":
    return split.embeddings.embedding, split.labels


def _check_classes(train: Labelled) -> None:
    if train.kind == "single" and len(np.unique(single_labels(train.labels))) < 2:
        dataset = train.embeddings.attrs["dataset"]
        raise UserError(f"{dataset}: train has samples of one class only; a linear probe needs two or more.")
