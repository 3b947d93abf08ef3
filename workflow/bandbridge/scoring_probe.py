"""From embeddings to rows of the metrics table: linear probes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bandbridge.errors import UserError
from bandbridge.metrics.classification import single_labels
from bandbridge.metrics.rows import Row
from bandbridge.scoring import HEADLINE, Draws, Labelled, classification_rows, row_of


def probe_rows(
    train: Labelled, val: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """Rows of a linear probe fitted on `train`, its C chosen on `val`: the headline on `val`, all metrics on `test`.

    Args:
        recipe: `C`, the grid, and `max_iterations`.

    Raises:
        UserError: train shows a single class of a single-label data set.
    """
    # Here and not above: a run scores far more than it probes, and scikit-learn takes longer to import than scoring.
    from bandbridge.metrics.probe import fit_probe

    attrs = test.embeddings.attrs
    if train.kind == "single" and len(np.unique(single_labels(train.labels))) < 2:
        raise UserError(f"{attrs['dataset']}: train shows one class only; a linear probe needs two or more.")
    probe = fit_probe(
        (train.embeddings.embedding, train.labels),
        (val.embeddings.embedding, val.labels),
        kind=train.kind,
        grid=recipe["C"],
        max_iterations=recipe["max_iterations"],
    )
    common = {"task": "linear-probe", "run": run, "nomenclature": nomenclature, "seed": draws.seed}
    on_val = row_of(val.embeddings.attrs, **common)
    chosen = on_val(metric=HEADLINE[val.kind], value=probe.validation, n=len(val.labels))
    scores = probe.scores(test.embeddings.embedding)
    return [chosen, *classification_rows(row_of(attrs, **common), test, scores, draws)]
