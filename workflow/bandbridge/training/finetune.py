"""Fine-tuning CLIP's image encoder under frozen zero-shot heads: on one task (PAINT, step 1) or jointly on several.

Several tasks are one training on their union (PAINT, section 5).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, sent, settle_precision
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.training.augment import rgb_view
from bandbridge.training.batches import Batch
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.history import Record
from bandbridge.training.loop import fit
from bandbridge.training.losses import FrozenHead, label_loss, train_weights
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.training.splits import store_source, union_source
from bandbridge.training.stages import Predictions, Stage, Terms

# Number of a task -> logits of its samples, by its own head, and their labels.
ByTask = dict[int, tuple[Tensor, Tensor]]


class Finetuning(Stage):
    """Stage: the image encoder alone learns; each sample's logits are those of its own task's zero-shot head.

    The loss is the mean over samples, whatever their task, so that a task counts by its size; classes are weighted
    within their task. Images of several tasks are brought to the size of the largest one's before they are changed at
    random.

    Args:
        stores: of the tasks; of several, in the order of `union_source`'s.
    """

    def __init__(
        self,
        clip: Clip,
        heads: Sequence[Head],
        stores: Sequence[Store],
        recipe: FinetuneRecipe,
        device: torch.device,
    ) -> None:
        names = [store.attrs["dataset"] for store in stores]
        super().__init__(f"Fine-tuning {clip.name} on {', '.join(names)}", clip.visual.to(device))
        self._names = names if len(names) > 1 else [""]
        self._clip = clip
        self._heads = [FrozenHead(head, device) for head in heads]
        self._stores = tuple(stores)
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = [train_weights(store, recipe.class_weights, device) for store in stores]
        sides = [_height_and_width(store) for store in stores] if len(stores) > 1 else []
        self._size = tuple(max(lengths) for lengths in zip(*sides, strict=True))

    def forward(self, batch: Batch) -> Terms:
        return self._loss(self._by_task(batch), len(batch))

    def validation(self, batch: Batch) -> tuple[Terms, dict[str, Predictions]]:
        by_task = self._by_task(batch)
        predicted = {
            self._names[task]: (self._stores[task].headline, logits, labels)
            for task, (logits, labels) in by_task.items()
        }
        return self._loss(by_task, len(batch)), predicted

    def _loss(self, by_task: ByTask, samples: int) -> Terms:
        smoothing = self._recipe.label_smoothing
        losses = [
            label_loss(logits, labels, self._stores[task].label_kind, smoothing, self._weights[task])
            * (len(labels) / samples)
            for task, (logits, labels) in by_task.items()
        ]
        return {"loss": torch.stack(losses).sum()}

    def _by_task(self, batch: Batch) -> ByTask:
        if batch.task is None:
            embeddings = self._embed(batch, self._images(batch.pixels[self._stores[0].modality], self._stores[0]))
            return {0: (self._heads[0](embeddings), batch.labels)}
        device = batch.labels.device
        rows = {number: torch.nonzero(batch.task == number)[:, 0] for number in torch.unique(batch.task).tolist()}
        rows = {number: sent(places, device) for number, places in rows.items()}
        rgb = torch.empty(len(batch), 3, *self._size, dtype=torch.uint8, device=device)
        for number, places in rows.items():
            store = self._stores[number]
            rgb[places] = self._images(batch.pixels[store.attrs["dataset"]], store)
        embeddings = self._embed(batch, rgb)
        classes = [len(store.classes) for store in self._stores]
        return {
            number: (self._heads[number](embeddings[places]), batch.labels[places, : classes[number]])
            for number, places in rows.items()
        }

    def _images(self, pixels: Tensor, store: Store) -> Tensor:
        """A task's RGB images (n, 3, y, x) uint8, in the size that all tasks share."""
        rgb = views.rgb_image(pixels, store.modality, store.bands, store.composite)
        if self._size in ((), tuple(rgb.shape[-2:])):
            return rgb
        return (views.resize(rgb.float(), self._size) + 0.5).floor().clamp(0, 255).to(torch.uint8)

    def _embed(self, batch: Batch, rgb: Tensor) -> Tensor:
        """Embeddings of a batch's images (n, 3, y, x) uint8, which are changed at random unless it has no draws."""
        if batch.draws is None:
            values = self._clip.inputs(rgb)
        else:
            view = rgb_view(rgb, self._clip.image_size, self._recipe.augmentation, batch.draws)
            values = views.normalise(view, self._clip.mean, self._clip.std)
        with autocast(values.device, self._precision):
            embeddings: Tensor = self.trained(values)
        return embeddings


def _height_and_width(store: Store) -> tuple[int, int]:
    """Of a store's samples, in pixels."""
    shape = store.split("train").read(np.arange(1)).shape[1:]
    height, width = shape[:2] if store.modality == "rgb" else shape[-2:]
    return height, width


def finetune(
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
    """Train `clip.visual` on the train splits of one store or of several, in place; returns the history.

    Args:
        heads: the frozen zero-shot head of each store's task.
        saving, world: see `loop.fit`.

    Raises:
        UserError: a head's classes are not its store's, or there is nothing to train on.
    """
    for head, store in zip(heads, stores, strict=True):
        must_fit(head, tuple(store.classes), store.attrs["dataset"])
    stage = Finetuning(clip, heads, stores, recipe, device)
    train, val = (
        store_source(stores[0], split) if len(stores) == 1 else union_source(stores, split)
        for split in ("train", "val")
    )
    remarks = [note for store in stores for note in store.notes]
    return fit(stage, train, val, recipe, seed, device, saving=saving, world=world, remarks=remarks)
