"""Training a CLIP from scratch, image by caption (Radford et al. 2021), on a data set of labelled images.

With a locked text tower only the image encoder and the scale of the logits learn, under the same loss (LiT, Zhai et al.
2022, section 3): a caption's embedding then never changes, so each is computed once.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Nomenclature
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, sent, settle_precision
from bandbridge.models.text_heads import embed_sentences
from bandbridge.store.dataset import Store
from bandbridge.store.heads import fill_templates
from bandbridge.training.augment import recolour, shift_and_zoom
from bandbridge.training.batches import Batch
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.draws import Draws
from bandbridge.training.history import Record
from bandbridge.training.loop import fit
from bandbridge.training.losses import contrastive_loss
from bandbridge.training.recipes import ScratchRecipe
from bandbridge.training.splits import store_source
from bandbridge.training.stages import Stage, Terms

LARGEST_LOGIT_SCALE = math.log(100)  # as in CLIP


class ImageSide(nn.Module):
    """What learns under a locked text tower: the image encoder and the scale of the logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual = model.visual
        self.logit_scale = model.logit_scale


class Pretraining(Stage):
    """Stage: both encoders, or the image encoder against a locked text tower.

    The caption of an image is a random template filled with its class's prompt name.

    Args:
        captions: the sentences of each class.
        world: the processes whose images and captions are contrasted with each other.
    """

    def __init__(
        self,
        clip: Clip,
        captions: Sequence[Sequence[str]],
        store: Store,
        recipe: ScratchRecipe,
        world: World = ALONE,
    ) -> None:
        trained = ImageSide(clip.model) if clip.text_is_locked else clip.model
        super().__init__(f"Training {clip.name} from scratch", trained)
        self._clip = clip
        self._store = store
        self._recipe = recipe
        self._world = world
        device = next(clip.model.parameters()).device
        self._precision = settle_precision(recipe.precision, device).name
        # (class, template, token), or of a locked tower, in float32, (class, template, dim)
        self._captions = (
            torch.stack([embed_sentences(clip, sentences) for sentences in captions]).clone()
            if clip.text_is_locked
            else torch.stack([clip.tokenizer(sentences) for sentences in captions]).to(device)
        )

    def forward(self, batch: Batch) -> Terms:
        pixels, draws = batch.pixels[self._store.modality], batch.draws
        rgb = views.rgb_image(pixels, self._store.modality, self._store.bands, self._store.composite)
        if draws is not None:
            rgb = recolour(rgb, self._recipe.recolour, draws)
        values = self._clip.inputs(rgb)
        if draws is not None:
            values = shift_and_zoom(values, self._recipe.shift, self._recipe.zoom, draws)
        classes = batch.labels.argmax(dim=1)
        with autocast(values.device, self._precision):
            images = self._clip.visual(values)
            captions = self._caption_embeddings(classes, draws)
        scale = self._clip.model.logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp()  # type: ignore[operator]
        world = self._world if batch.is_shared else ALONE
        return {"loss": contrastive_loss(images, captions, classes, scale, world)}

    def _caption_embeddings(self, classes: Tensor, draws: Draws | None) -> Tensor:
        """(n, dim): one caption of each image's class, at random, or the first without draws."""
        templates = self._captions.shape[1]
        chosen = torch.zeros(len(classes), dtype=torch.long) if draws is None else draws.integers("caption", templates)
        chosen = sent(chosen, classes.device)
        if self._clip.text_is_locked:
            return self._captions[classes, chosen]
        # Far fewer captions than images are different: each is embedded once.
        different, which = torch.unique(classes * templates + chosen, return_inverse=True)
        texts: Tensor = self._clip.model.encode_text(self._captions.flatten(0, 1)[different])  # type: ignore[operator]
        return texts[which]


def pretrain(  # noqa: PLR0913 (the last two are keyword-only options)
    clip: Clip,
    nomenclature: Nomenclature,
    templates: Sequence[str],
    store: Store,
    recipe: ScratchRecipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
) -> list[Record]:
    """Train a CLIP on the store's train split, in place, but for a locked text tower; returns the history.

    An image's wrong captions are those of its micro-batch, over all processes.

    Args:
        saving, world: see `loop.fit`.

    Raises:
        UserError: the store's labels are not one class of `nomenclature` an image.
    """
    if store.label_kind != "single" or tuple(store.classes) != nomenclature.classes:
        raise UserError(
            f"clip.scratch.dataset {store.attrs['dataset']}: captions need one class of {nomenclature.name} an image; "
            f"found {store.label_kind}-label data of {', '.join(store.classes)}."
        )
    clip.model.to(device)
    stage = Pretraining(clip, fill_templates(templates, nomenclature.prompt_names), store, recipe, world)
    train, val = store_source(store, "train"), store_source(store, "val")
    history = fit(stage, train, val, recipe, seed, device, saving=saving, world=world)
    with torch.no_grad():
        clip.model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)  # type: ignore[operator]
    return history
