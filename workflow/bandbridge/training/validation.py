"""How well labels are predicted while an encoder is being trained: the headline metric of zero-shot classification."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from bandbridge.metrics.classification import accuracy, average_precision, mean_of_defined
from bandbridge.training.history import short

# Of a task's samples: 'single' or 'multi', logits (n, class), labels (n, class).
Predictions = tuple[str, Tensor, Tensor]


def headlines(predicted: Mapping[str, Sequence[Predictions]]) -> dict[str, float | None]:
    """The headline of each task, 0..1: accuracy, or macro mAP of a multi-label one; None where it is undefined."""
    found = {}
    for task, batches in predicted.items():
        kind = batches[0][0]
        logits = np.concatenate([logits.numpy() for _, logits, _ in batches])
        labels = np.concatenate([labels.numpy() for _, _, labels in batches])
        if kind == "single":
            metric, value = "accuracy", accuracy(labels.argmax(axis=1), logits.argmax(axis=1))
        else:
            metric, value = "map", float(mean_of_defined(average_precision(labels, logits)))
        found[f"val_{metric}" + (f"/{task}" if task else "")] = None if math.isnan(value) else short(value)
    return found
