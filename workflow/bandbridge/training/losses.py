"""Losses of the three training stages."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head
from bandbridge.training.distributed import ALONE, World


class FrozenHead:
    """A zero-shot head on a device: logits = exp(logit_scale) * cosine(embedding, class) + logit_bias."""

    def __init__(self, head: Head, device: torch.device) -> None:
        self.weights = (torch.from_numpy(head.weights) * head.logit_scale).to(device)
        self.bias = head.logit_bias

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(n, dim), not normalised -> (n, class)."""
        return F.normalize(embeddings.float(), dim=-1) @ self.weights.T + self.bias


def class_weights(labels: NDArray[np.uint8], kind: str, how: str) -> NDArray[np.float32]:
    """Weights of the classes for `label_loss`, (class,), so that rare classes count more.

    A weight is one over the class's number of samples ('balanced') or over its square root ('root'), scaled so that
    the weights of the terms of the loss have mean 1 over `labels`. There is a term for each sample (single label;
    'balanced' is then scikit-learn's n / (classes * count)), or for each sample and class (multi-label). A class
    without samples weighs 1.

    Args:
        labels: (n, class) of 0 and 1, of the train split.
        kind: 'single' or 'multi'.
        how: 'balanced' or 'root'.
    """
    counts = labels.sum(axis=0, dtype=np.int64)
    present = counts > 0
    raw = counts[present] ** {"balanced": -1.0, "root": -0.5}[how]
    weights = np.ones(len(counts))
    weights[present] = raw / (np.average(raw, weights=counts[present]) if kind == "single" else raw.mean())
    return weights.astype(np.float32)


def train_weights(store: Store, how: str | None, device: torch.device) -> Tensor | None:
    """`class_weights` of a store's train split, on a device; None where a recipe has none."""
    if how is None:
        return None
    return torch.from_numpy(class_weights(store.split("train").labels, store.label_kind, how)).to(device)


def label_loss(
    logits: Tensor, labels: Tensor, kind: str, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross entropy for single-label, binary cross entropy for multi-label data sets.

    Args:
        logits: (n, class).
        labels: (n, class) of 0 and 1.
        kind: 'single' or 'multi'.
        smoothing: multi-label only: targets are labels * (1 - smoothing) + smoothing / 2, as timm's
            BinaryCrossEntropy with `smooth_dense` makes them. Without `smooth_dense` timm leaves such targets as they
            are, which is smoothing 0 here.
        weights: (class,) factors of the terms: of a sample's by its class (single-label), of each class's, whether a
            sample has it or not (multi-label). The loss stays the mean over samples, not over weights, so that a share
            of a batch counts by its size.
    """
    if kind == "single":
        classes = labels.argmax(dim=1)
        if weights is None:
            return F.cross_entropy(logits, classes)
        return F.cross_entropy(logits, classes, weight=weights, reduction="sum") / len(classes)
    targets = labels.float() * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weights)


def distillation_loss(
    student: Tensor, teacher: Tensor, kind: str, temperature: float = 1.0, world: World = ALONE
) -> Tensor:
    """How far a student's embeddings are from the teacher's of the same samples, on average.

    'mse' compares the embeddings as they are, the others their directions. 'infonce' is CLIP's loss with cosines
    divided by `temperature`: each embedding has to find its partner among those of the micro-batch, over all processes.

    Args:
        student, teacher: (n, dim), not normalised; row i of one belongs to row i of the other.
        kind: 'mse', 'cosine' (1 - cosine) or 'infonce'.
        world: the processes whose rows make up the micro-batch; only 'infonce' looks at those of the others.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "mse":
        return F.mse_loss(student, teacher)
    if kind == "cosine":
        return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()
    if kind == "infonce":
        return contrastive_loss(student, teacher, None, 1 / temperature, world)
    raise ValueError(f"the distillation loss is {kind!r}; expected 'mse', 'cosine' or 'infonce'")


def contrastive_loss(
    images: Tensor, captions: Tensor, classes: Tensor | None, logit_scale: Tensor | float, world: World = ALONE
) -> Tensor:
    """Symmetric contrastive loss in which every caption of an image's class is a positive.

    The target of a row is spread evenly over its positives; with one image per class this is CLIP's loss
    (Radford et al. 2021, figure 3).

    Args:
        images, captions: (n, dim), need not be normalised; row i of one belongs to row i of the other.
        classes: (n,) class index of each row; None where each is of a class of its own.
        logit_scale: factor on the cosines, already exponentiated.
        world: the processes whose rows are contrasted with each other. Each returns the mean over its own rows, and all
            of them must call.
    """
    (images, captions), rows = world.whole_batch(images.float(), captions.float())
    logits = logit_scale * F.normalize(images, dim=-1) @ F.normalize(captions, dim=-1).T
    if classes is None:
        classes = torch.arange(len(images), device=images.device)
    else:
        (classes,), _ = world.whole_batch(classes)
    same = (classes[:, None] == classes[None, :]).float()
    # Both directions share their targets, because `same` is symmetric.
    targets = (same / same.sum(dim=1, keepdim=True))[rows]
    return (F.cross_entropy(logits[rows], targets) + F.cross_entropy(logits.T[rows], targets)) / 2
