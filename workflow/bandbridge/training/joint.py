"""Fine-tuning CLIP's image encoder on several tasks jointly: one training on their union (PAINT, section 5)."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, settle_precision
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.training.batches import Split
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.finetune import inputs
from bandbridge.training.loop import Predictions, Record, Terms, fit
from bandbridge.training.losses import FrozenHead, label_loss, train_weights
from bandbridge.training.recipes import FinetuneRecipe


class Union:
    """Several stores as one. A sample travels as its bytes, filled up to the longest; its labels say whose it is.

    Args:
        stores: their pixels may differ in modality, bands, size and number type, their labels in kind.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple(stores)
        samples = [torch.from_numpy(store.split("train").read(np.arange(1))) for store in stores]
        self.layouts = [(sample.dtype, tuple(sample.shape[1:])) for sample in samples]
        self.bytes = max(dtype.itemsize * prod(shape) for dtype, shape in self.layouts)
        # Where each task's classes begin and end among the columns of the labels; column 0 is the task's number.
        self.bounds = list(accumulate((len(store.classes) for store in stores), initial=1))

    def split(self, name: str) -> "UnionSplit | None":
        """A split of those stores that have it; None where none has."""
        there = [(number, store.split(name)) for number, store in enumerate(self.stores) if name in store.splits]
        there = [(number, split) for number, split in there if len(split)]
        return UnionSplit(self, there) if there else None

    def unpack(self, pixels: Tensor, task: int) -> Tensor:
        """Rows (n, byte) of one task -> its pixels as its store reads them."""
        dtype, shape = self.layouts[task]
        # A copy, because numbers of several bytes have to begin at a multiple of their size.
        part = pixels[:, : dtype.itemsize * prod(shape)].clone(memory_format=torch.contiguous_format)
        return part.view(dtype).view(len(pixels), *shape)

    def labels(self, labels: Tensor, task: int) -> Tensor:
        """Rows of a `UnionSplit`'s labels of one task -> (n, class) of its store."""
        return labels[:, self.bounds[task] : self.bounds[task + 1]]


class UnionSplit:
    """The samples of several splits, one after another; `labels` (n, 1 + all classes) begin with the task's number."""

    def __init__(self, union: Union, splits: Sequence[tuple[int, Split]]) -> None:
        self._union = union
        self._splits = [split for _, split in splits]
        self._first = np.array(list(accumulate((len(split) for split in self._splits), initial=0)))
        self.labels: NDArray[np.uint8] = np.zeros((len(self), union.bounds[-1]), np.uint8)
        names = []
        for (task, split), start, end in zip(splits, self._first, self._first[1:], strict=False):
            self.labels[start:end, 0] = task
            self.labels[start:end, union.bounds[task] : union.bounds[task + 1]] = split.labels
            dataset = union.stores[task].attrs["dataset"]
            names += [f"{dataset}/{name}" for name in getattr(split, "ids", np.arange(len(split)))]
        self.ids: NDArray[np.str_] = np.array(names)

    def __len__(self) -> int:
        return int(self._first[-1])

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, byte)."""
        found = np.zeros((len(indices), self._union.bytes), np.uint8)
        which = np.searchsorted(self._first, indices, side="right") - 1
        for number, split in enumerate(self._splits):
            rows = np.flatnonzero(which == number)
            if rows.size:
                pixels = np.ascontiguousarray(split.read(indices[rows] - self._first[number]))
                packed = pixels.reshape(len(rows), -1).view(np.uint8)
                found[rows, : packed.shape[1]] = packed
        return found


class JointFinetuning:
    """Stage: the image encoder alone learns; each sample's logits are those of its own task's zero-shot head.

    The loss is the mean over samples, whatever their task, so that a task counts by its size; classes are weighted
    within their task. Pictures are brought to
    the size of the largest task's before they are changed at random.
    """

    def __init__(
        self, clip: Clip, heads: Sequence[Head], union: Union, recipe: FinetuneRecipe, device: torch.device
    ) -> None:
        self.name = f"Fine-tuning {clip.name} on {', '.join(store.attrs['dataset'] for store in union.stores)}"
        self.trained: nn.Module = clip.visual.to(device)
        self._clip = clip
        self._heads = [FrozenHead(head, device) for head in heads]
        self._union = union
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = [train_weights(store, recipe.class_weights, device) for store in union.stores]
        shapes = [
            shape[:2] if store.modality == "rgb" else shape[-2:]
            for store, (_, shape) in zip(union.stores, union.layouts, strict=True)
        ]
        self._size = max(height for height, _ in shapes), max(width for _, width in shapes)

    def terms(self, pixels: Tensor, labels: Tensor, generator: Generator | None) -> Terms:
        return self._loss(self._by_task(pixels, labels, generator), len(pixels))

    def validation(self, pixels: Tensor, labels: Tensor) -> tuple[Terms, dict[str, Predictions]]:
        by_task = self._by_task(pixels, labels, None)
        stores = self._union.stores
        predicted = {
            stores[task].attrs["dataset"]: (stores[task].headline, logits, own)
            for task, (logits, own) in by_task.items()
        }
        return self._loss(by_task, len(pixels)), predicted

    def _loss(self, by_task: dict[int, tuple[Tensor, Tensor]], samples: int) -> Terms:
        smoothing, stores = self._recipe.label_smoothing, self._union.stores
        losses = [
            label_loss(logits, labels, stores[task].label_kind, smoothing, self._weights[task])
            * (len(labels) / samples)
            for task, (logits, labels) in by_task.items()
        ]
        return {"loss": torch.stack(losses).sum()}

    def _by_task(self, pixels: Tensor, labels: Tensor, generator: Generator | None) -> dict[int, tuple[Tensor, Tensor]]:
        """Number of a task -> logits of its samples, by its own head, and their labels."""
        task = labels[:, 0].long()
        rows = {number: torch.nonzero(task == number)[:, 0] for number in task.unique().tolist()}
        rgb = torch.empty(len(pixels), 3, *self._size, dtype=torch.uint8, device=pixels.device)
        for number, own in rows.items():
            rgb[own] = self._pictures(self._union.unpack(pixels[own], number), number)
        values = inputs(self._clip, rgb, self._recipe, generator)
        with autocast(values.device, self._precision):
            embeddings = self.trained(values)
        return {
            number: (self._heads[number](embeddings[own]), self._union.labels(labels[own], number))
            for number, own in rows.items()
        }

    def _pictures(self, pixels: Tensor, task: int) -> Tensor:
        store = self._union.stores[task]
        rgb = views.rgb_image(pixels, store.modality, store.bands, store.composite)
        if tuple(rgb.shape[-2:]) == self._size:
            return rgb
        return (views.resize(rgb.float(), self._size) + 0.5).floor().clamp(0, 255).to(torch.uint8)


def finetune_jointly(
    clip: Clip,
    heads: Sequence[Head],
    stores: Sequence[Store],
    recipe: FinetuneRecipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
) -> list[Record]:
    """Train `clip.visual` on the train splits of several stores, in place; returns the history.

    Args:
        heads: the frozen zero-shot head of each store's task.
        saving, world: see `loop.fit`.

    Raises:
        UserError: a head's classes are not its store's, or there is nothing to train on.
    """
    for head, store in zip(heads, stores, strict=True):
        must_fit(head, tuple(store.classes), store.attrs["dataset"])
    union = Union(stores)
    train = union.split("train")
    if train is None:
        raise UserError(f"none of {', '.join(store.attrs['dataset'] for store in stores)} has training samples.")
    stage = JointFinetuning(clip, heads, union, recipe, device)
    remarks = [note for store in stores for note in store.notes]
    return fit(stage, train, union.split("val"), recipe, seed, device, saving=saving, world=world, remarks=remarks)
