"""Fine-tuning CLIP's image encoder on several tasks jointly: one training on their union (PAINT, section 5)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, sent, settle_precision
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.training.batches import Batch
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.finetune import inputs
from bandbridge.training.history import Record
from bandbridge.training.loop import fit
from bandbridge.training.losses import FrozenHead, label_loss, train_weights
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.training.splits import union_source
from bandbridge.training.stages import Predictions, Stage, Terms


class JointFinetuning(Stage):
    """Stage: the image encoder alone learns; each sample's logits are those of its own task's zero-shot head.

    The loss is the mean over samples, whatever their task, so that a task counts by its size; classes are weighted
    within their task. Images are brought to the size of the largest task's before they are changed at random.

    Args:
        stores: of the tasks, in the order of `union_source`'s.
    """

    def __init__(
        self,
        clip: Clip,
        heads: Sequence[Head],
        stores: Sequence[Store],
        recipe: FinetuneRecipe,
        device: torch.device,
    ) -> None:
        names = ", ".join(store.attrs["dataset"] for store in stores)
        super().__init__(f"Fine-tuning {clip.name} on {names}", clip.visual.to(device))
        self._clip = clip
        self._heads = [FrozenHead(head, device) for head in heads]
        self._stores = tuple(stores)
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = [train_weights(store, recipe.class_weights, device) for store in stores]
        sides = [_height_and_width(store) for store in stores]
        self._size = max(height for height, _ in sides), max(width for _, width in sides)

    def forward(self, batch: Batch) -> Terms:
        return self._loss(self._by_task(batch), len(batch))

    def validation(self, batch: Batch) -> tuple[Terms, dict[str, Predictions]]:
        by_task = self._by_task(batch)
        predicted = {
            self._stores[task].attrs["dataset"]: (self._stores[task].headline, logits, labels)
            for task, (logits, labels) in by_task.items()
        }
        return self._loss(by_task, len(batch)), predicted

    def _loss(self, by_task: dict[int, tuple[Tensor, Tensor]], samples: int) -> Terms:
        smoothing = self._recipe.label_smoothing
        losses = [
            label_loss(logits, labels, self._stores[task].label_kind, smoothing, self._weights[task])
            * (len(labels) / samples)
            for task, (logits, labels) in by_task.items()
        ]
        return {"loss": torch.stack(losses).sum()}

    def _by_task(self, batch: Batch) -> dict[int, tuple[Tensor, Tensor]]:
        """Number of a task -> logits of its samples, by its own head, and their labels."""
        assert batch.task is not None
        device = batch.labels.device
        rows = {number: torch.nonzero(batch.task == number)[:, 0] for number in torch.unique(batch.task).tolist()}
        rows = {number: sent(places, device) for number, places in rows.items()}
        rgb = torch.empty(len(batch), 3, *self._size, dtype=torch.uint8, device=device)
        for number, places in rows.items():
            store = self._stores[number]
            rgb[places] = self._images(batch.pixels[store.attrs["dataset"]], store)
        values = inputs(self._clip, rgb, self._recipe, batch.draws)
        with autocast(values.device, self._precision):
            embeddings = self.trained(values)
        classes = [len(store.classes) for store in self._stores]
        return {
            number: (self._heads[number](embeddings[places]), batch.labels[places, : classes[number]])
            for number, places in rows.items()
        }

    def _images(self, pixels: Tensor, store: Store) -> Tensor:
        rgb = views.rgb_image(pixels, store.modality, store.bands, store.composite)
        if tuple(rgb.shape[-2:]) == self._size:
            return rgb
        return (views.resize(rgb.float(), self._size) + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _height_and_width(store: Store) -> tuple[int, int]:
    """Of a store's samples, in pixels."""
    shape = store.split("train").read(np.arange(1)).shape[1:]
    height, width = shape[:2] if store.modality == "rgb" else shape[-2:]
    return height, width


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
    stage = JointFinetuning(clip, heads, stores, recipe, device)
    train, val = union_source(stores, "train"), union_source(stores, "val")
    remarks = [note for store in stores for note in store.notes]
    return fit(stage, train, val, recipe, seed, device, saving=saving, world=world, remarks=remarks)
