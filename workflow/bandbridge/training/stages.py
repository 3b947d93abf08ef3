"""What every stage of training is: a module whose forward pass over a batch is its loss."""

from torch import Tensor, nn

from bandbridge.training.batches import Batch

# Scalars by name; 'loss' is what is minimised, the others are its parts.
Terms = dict[str, Tensor]

# Of a task's samples: the metric that stands for its data set, logits (n, class), labels (n, class).
Predictions = tuple[str, Tensor, Tensor]


class Stage(nn.Module):
    """A training stage; its forward pass is the loss of a `Batch`.

    Encoders run in the recipe's precision, all else in float32: rounded images would be other images.

    Args:
        name: for progress and messages.
        trained: the module whose parameters the optimiser moves. Everything else stays as it is, in eval mode.
    """

    def __init__(self, name: str, trained: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.trained = trained

    def forward(self, batch: Batch) -> Terms:
        """The loss of a batch and its parts.

        Where several processes or `accumulate` share a step, the terms of the shares are averaged by their samples,
        which is exact for means over samples. Terms that contrast samples look at all processes' samples of the
        micro-batch where `batch.is_shared`.
        """
        raise NotImplementedError

    def validation(self, batch: Batch) -> tuple[Terms, dict[str, Predictions]]:
        """The terms of a batch, and what is predicted for its samples, by task; '' where there is one task alone."""
        return self(batch), {}

    def train(self, mode: bool = True) -> "Stage":
        """Set the mode of `trained` alone: what is frozen keeps to eval mode."""
        self.training = mode
        self.trained.train(mode)
        return self
