"""Losses of the three training stages."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bandbridge.heads import Head


class FrozenHead:
    """A zero-shot head on a device: logits = exp(logit_scale) * cosine(embedding, class) + logit_bias."""

    def __init__(self, head: Head, device: torch.device) -> None:
        self.weights = (torch.from_numpy(head.weights) * head.logit_scale).to(device)
        self.bias = head.logit_bias

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(n, dim), not normalised -> (n, class)."""
        return F.normalize(embeddings.float(), dim=-1) @ self.weights.T + self.bias


def label_loss(logits: Tensor, labels: Tensor, kind: str, smoothing: float = 0.0) -> Tensor:
    """Cross entropy for single-label, binary cross entropy for multi-label data sets.

    Args:
        logits: (n, class).
        labels: (n, class) of 0 and 1.
        kind: 'single' or 'multi'.
        smoothing: multi-label only: targets are labels * (1 - smoothing) + smoothing / 2, as timm's
            BinaryCrossEntropy with `smooth_dense` makes them. Without `smooth_dense` timm leaves such targets as they
            are, which is smoothing 0 here.
    """
    if kind == "single":
        return F.cross_entropy(logits, labels.argmax(dim=1))
    targets = labels.float() * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, targets)


def distillation_loss(student: Tensor, teacher: Tensor, kind: str, temperature: float = 1.0) -> Tensor:
    """How far a student's embeddings are from the teacher's of the same samples, on average.

    'mse' compares the embeddings as they are, the others their directions. 'infonce' is CLIP's loss with cosines
    divided by `temperature`: each embedding has to find its partner among those of this call. So it depends on the
    number of rows, which are those of one process and of one micro-batch alone.

    Args:
        student, teacher: (n, dim), not normalised; row i of one belongs to row i of the other.
        kind: 'mse', 'cosine' (1 - cosine) or 'infonce'.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "mse":
        return F.mse_loss(student, teacher)
    if kind == "cosine":
        return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()
    if kind == "infonce":
        rows = torch.arange(len(student), device=student.device)
        return contrastive_loss(student, teacher, rows, 1 / temperature)
    raise ValueError(f"the distillation loss is {kind!r}; expected 'mse', 'cosine' or 'infonce'")


def contrastive_loss(images: Tensor, captions: Tensor, classes: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Symmetric contrastive loss in which every caption of an image's class is a positive.

    The target of a row is spread evenly over its positives; with one image a class this is CLIP's loss
    (Radford et al. 2021, figure 3).

    Args:
        images, captions: (n, dim), need not be normalised; row i of one belongs to row i of the other.
        classes: (n,) class index of each row.
        logit_scale: factor on the cosines, already exponentiated.
    """
    logits = logit_scale * F.normalize(images.float(), dim=-1) @ F.normalize(captions.float(), dim=-1).T
    same = (classes[:, None] == classes[None, :]).float()
    # Both directions share their targets, because `same` is symmetric.
    targets = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
