"""How well labels are predicted while an encoder is being trained: the headline metric of zero-shot classification."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from bandbridge.metrics.resampled import headline_score
from bandbridge.training.history import short

# Of a task's samples: the metric that stands for its data set, logits (n, class), labels (n, class).
Predictions = tuple[str, Tensor, Tensor]


def headlines(predicted: Mapping[str, Sequence[Predictions]]) -> dict[str, float | None]:
    """The headline of each task, 0..1; None where it is undefined."""
    found = {}
    for task, batches in predicted.items():
        metric = batches[0][0]
        logits = np.concatenate([logits.numpy() for _, logits, _ in batches])
        labels = np.concatenate([labels.numpy() for _, _, labels in batches])
        # The largest of scores with a NaN among them is the first NaN, which would count as a prediction.
        value = headline_score(metric, labels, logits) if np.isfinite(logits).all() else math.nan
        found[f"val_{metric}" + (f"/{task}" if task else "")] = None if math.isnan(value) else short(value)
    return found
