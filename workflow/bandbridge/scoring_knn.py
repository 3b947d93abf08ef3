"""From embeddings to rows of the metrics table: k-nearest-neighbour classification."""

from collections.abc import Mapping
from typing import Any

from bandbridge.errors import UserError
from bandbridge.metrics.classification import accuracy, average_precision, mean_of_defined, single_labels
from bandbridge.metrics.knn import knn_scores
from bandbridge.metrics.rows import Row
from bandbridge.scoring import HEADLINE, Draws, Labelled, row_of

TEMPERATURE = 0.07


def knn_rows(
    train: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """The headline of classifying `test` by its k nearest samples of `train`, with its interval.

    Args:
        recipe: `k`, and `temperature` of the neighbours' weights (0.07, the protocol of DINO, unless it is there).

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
    scores = knn_scores(neighbours, test.embeddings.embedding, k, recipe.get("temperature", TEMPERATURE))
    if test.kind == "single":
        truth, predicted = single_labels(test.labels), scores.argmax(axis=1)
        value, interval = accuracy(truth, predicted), draws.of_mean(truth == predicted)
    else:
        value = float(mean_of_defined(average_precision(test.labels, scores)))
        interval = draws.of_map(test.labels, scores)
    row = row_of(attrs, task="knn", run=run, nomenclature=nomenclature, seed=draws.seed)
    return [row(metric=HEADLINE[test.kind], value=value, n=len(test.labels), **interval)]
