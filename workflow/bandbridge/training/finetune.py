"""Fine-tuning CLIP's image encoder on RGB images under its frozen zero-shot head (PAINT, step 1)."""

import torch
from torch import Tensor

from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, settle_precision
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.training.augment import rgb_view
from bandbridge.training.batches import Batch
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.draws import Draws
from bandbridge.training.history import Record
from bandbridge.training.loop import fit
from bandbridge.training.losses import FrozenHead, label_loss, train_weights
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.training.splits import store_source
from bandbridge.training.stages import Predictions, Stage, Terms


class Finetuning(Stage):
    """Stage: the image encoder alone learns; its logits are those of the zero-shot head."""

    def __init__(self, clip: Clip, head: Head, store: Store, recipe: FinetuneRecipe, device: torch.device) -> None:
        super().__init__(f"Fine-tuning {clip.name} on {store.attrs['dataset']}", clip.visual.to(device))
        self._clip = clip
        self._head = FrozenHead(head, device)
        self._store = store
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = train_weights(store, recipe.class_weights, device)

    def forward(self, batch: Batch) -> Terms:
        return self._loss(self._logits(batch), batch.labels)

    def validation(self, batch: Batch) -> tuple[Terms, dict[str, Predictions]]:
        logits = self._logits(batch)
        return self._loss(logits, batch.labels), {"": (self._store.headline, logits, batch.labels)}

    def _loss(self, logits: Tensor, labels: Tensor) -> Terms:
        kind, smoothing = self._store.label_kind, self._recipe.label_smoothing
        return {"loss": label_loss(logits, labels, kind, smoothing, self._weights)}

    def _logits(self, batch: Batch) -> Tensor:
        pixels = batch.pixels[self._store.modality]
        rgb = views.rgb_image(pixels, self._store.modality, self._store.bands, self._store.composite)
        values = inputs(self._clip, rgb, self._recipe, batch.draws)
        with autocast(values.device, self._precision):
            embeddings = self.trained(values)
        return self._head(embeddings)


def inputs(clip: Clip, rgb: Tensor, recipe: FinetuneRecipe, draws: Draws | None) -> Tensor:
    """Images (n, 3, y, x) uint8 as the image encoder takes them, changed at random unless `draws` is None."""
    if draws is None:
        return clip.inputs(rgb)
    values = rgb_view(rgb, clip.image_size, recipe.augmentation, draws)
    return views.normalise(values, clip.mean, clip.std)


def finetune(
    clip: Clip,
    head: Head,
    store: Store,
    recipe: FinetuneRecipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
) -> list[Record]:
    """Train `clip.visual` on the store's train split, in place; returns the history.

    Args:
        saving, world: see `loop.fit`.

    Raises:
        UserError: the head's classes are not the store's.
    """
    must_fit(head, tuple(store.classes), store.attrs["dataset"])
    stage = Finetuning(clip, head, store, recipe, device)
    train, val = store_source(store, "train"), store_source(store, "val")
    return fit(stage, train, val, recipe, seed, device, saving=saving, world=world, remarks=store.notes)
