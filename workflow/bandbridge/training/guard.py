"""Stopping a training that has gone wrong, before it costs more time."""

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW = 50
TIMES_THE_BEST = 10.0


@dataclass
class Guard:
    """Watches the loss of each step.

    Attributes:
        warmup: steps before which only a loss that is no number counts.
        recent: losses of the last steps, up to `WINDOW`.
        best: smallest mean of `WINDOW` losses so far.
    """

    warmup: int
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    best: float = math.inf

    def complaint(self, step: int, loss: float, gradient_norm: float) -> str | None:
        """What is wrong after a step, or None."""
        if not math.isfinite(loss):
            return "the loss is not finite"
        if not math.isfinite(gradient_norm):
            return "the gradient is not finite"
        if step <= self.warmup:
            return None
        self.recent.append(loss)
        if len(self.recent) < WINDOW:
            return None
        mean = sum(self.recent) / WINDOW
        if mean > TIMES_THE_BEST * self.best > 0:
            return f"training diverges: the loss of the last {WINDOW} steps is {mean:.4g}, it was {self.best:.4g}"
        self.best = min(self.best, mean)
        return None
