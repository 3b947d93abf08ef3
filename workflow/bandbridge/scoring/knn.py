"""From embeddings to rows of the metrics table: k-nearest-neighbour classification."""

from collections.abc import Mapping
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.metrics.knn import knn_scores
from bandbridge.metrics.resampled import headline_statistic
from bandbridge.scoring.rows import Row
from bandbridge.scoring.zero_shot import Draws, Labelled, row_of

TEMPERATURE = 0.07  # of the neighbours' weights, the protocol of DINO


def knn_rows(
    train: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """The headline of classifying `test` by its k nearest samples of `train`, with its interval.

    Args:
        train: the neighbours.
        test: the queries.
        recipe: `k`.
        run: name of the run.
        nomenclature: of the labels.
        draws: half-samples of the interval.

    Raises:
        UserError: k exceeds the samples of train.
    """
    attrs, k = test.embeddings.attrs, recipe["k"]
    if k > len(train.labels):
        raise UserError(
            f"evaluate.knn.k is {k}, and {attrs['dataset']} has {len(train.labels)} samples in train; "
            f"expected 1..{len(train.labels)}."
        )
    neighbours = (train.embeddings.embedding, train.labels)
    scores = knn_scores(neighbours, test.embeddings.embedding, k, TEMPERATURE)
    metric, n = test.headline, len(test.labels)
    measured = draws.of_one(headline_statistic(metric, test.labels, scores), test.units)
    row = row_of(attrs, task="knn", run=run, nomenclature=nomenclature, seed=draws.seed)
    return [row(metric=metric, n=n, **measured)]
