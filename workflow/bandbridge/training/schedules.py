"""Learning rate over the optimiser's steps."""

import math


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the learning rate: up in equal parts over `warmup` steps, then half a cosine down towards 0.

    Args:
        step: 0 for the first update, `total` - 1 for the last one.
        total: number of updates in all; where it is not more than `warmup`, the rate is still rising at the end.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
