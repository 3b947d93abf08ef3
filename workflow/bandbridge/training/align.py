"""Aligning a multispectral student to a patched CLIP by distillation (Zavras et al. 2025, stage 2)."""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, settle_precision
from bandbridge.models.students import Student, StudentSpec, band_statistics, new_student
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.store.prefetch import read_ahead
from bandbridge.training.augment import Crops, crop, draw_crops
from bandbridge.training.batches import Split
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.loop import Predictions, Record, Terms, fit
from bandbridge.training.losses import FrozenHead, distillation_loss, label_loss, train_weights
from bandbridge.training.recipes import AlignRecipe
from bandbridge.training.splits import PairedStore, TaughtSplit


class Alignment:
    """Stage: the student, on its own bands, learns the teacher's embedding of the RGB picture and the labels.

    loss = distillation_weight * distillation(student, teacher) + label_weight * label loss of head(student), on
    embeddings before normalisation. The label loss is that of the fine-tuning: cross entropy where samples have one
    class, binary cross entropy where they have several. Teacher and head are frozen. Both encoders see the same crop
    and the same flips. A term whose weight is 0 is not computed.

    Args:
        paired: where the student sees another modality than `store`'s; the batches are those of its splits then.

    Raises:
        UserError: the store lacks bands of the student.
    """

    def __init__(
        self,
        teacher: Clip,
        student: Student,
        head: Head,
        store: Store,
        recipe: AlignRecipe,
        device: torch.device,
        paired: PairedStore | None = None,
    ) -> None:
        self.name = f"Aligning to {teacher.name} on {store.attrs['dataset']}"
        self.trained: nn.Module = student.to(device)
        self._student = student
        self._teacher = teacher
        self._encoder = teacher.visual.to(device).eval().requires_grad_(False)
        self._head = FrozenHead(head, device)
        self._store = store
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = train_weights(store, recipe.class_weights, device)
        self._device = device
        self._paired = paired
        self._bands = tuple(store.bands if paired is None else paired.second.bands)
        # Refuses bands that are not there, and says which ones are filled, before any work is done.
        student.inputs(torch.zeros(1, len(self._bands), 1, 1, device=device), self._bands)

    def terms(self, pixels: Tensor, labels: Tensor, generator: Generator | None) -> Terms:
        """As every stage's. Labels may go on with the teacher's embeddings, see `taught`."""
        pictures, bands, crops = self._views(pixels, generator)
        return self._losses(self._embed(bands, crops), pictures, labels, crops)

    def validation(self, pixels: Tensor, labels: Tensor) -> tuple[Terms, dict[str, Predictions]]:
        pictures, bands, crops = self._views(pixels, None)
        embedding = self._embed(bands, crops)
        predictions = self._store.headline, self._head(embedding), labels[:, : len(self._head.weights)]
        return self._losses(embedding, pictures, labels, crops), {"": predictions}

    def _views(self, pixels: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Crops | None]:
        """The pixels of the teacher's pictures and of the student's bands, and how both are cropped."""
        pictures, bands = (pixels, pixels) if self._paired is None else self._paired.unpack(pixels)
        return pictures, bands, None if generator is None else self._draw(pictures, generator)

    def _embed(self, bands: Tensor, crops: Crops | None) -> Tensor:
        values = self._student_input(bands, crops)
        with autocast(values.device, self._precision):
            return self._student(values)

    def _losses(self, embedding: Tensor, pictures: Tensor, labels: Tensor, crops: Crops | None) -> Terms:
        classes = len(self._head.weights)
        weighted, terms = [], {}
        if self._recipe.distillation_weight:
            target = labels[:, classes:] if labels.shape[1] > classes else self._target(pictures, crops)
            distillation = distillation_loss(embedding, target, self._recipe.loss, self._recipe.temperature)
            terms["distillation"] = distillation
            weighted.append(self._recipe.distillation_weight * distillation)
        if self._recipe.label_weight:
            logits = self._head(embedding)
            kind, smoothing = self._store.label_kind, self._recipe.label_smoothing
            terms["label"] = label_loss(logits, labels[:, :classes], kind, smoothing, self._weights)
            weighted.append(self._recipe.label_weight * terms["label"])
        return {"loss": torch.stack(weighted).sum(), **terms}

    def taught(self, split: Split, training: bool, world: World = ALONE) -> TaughtSplit:
        """A split with the teacher's embedding of each sample, for `terms` to find.

        Several processes compute their share each and exchange them. What is found is what `terms` would compute, but
        for the rounding that comes with which samples share a batch.

        Args:
            training: whether the pictures come as in training, which must not change them at random.
        """
        size, generator = self._recipe.batch_size, Generator() if training else None
        begin, end = (len(split) * rank // world.world_size for rank in (world.rank, world.rank + 1))
        share = np.arange(begin, end)
        parts = [share[at : at + size] for at in range(0, len(share), size)]
        own = np.empty((len(share), self._teacher.embed_dim), np.float32)
        reading = progress(read_ahead(split.read, parts), "Embedding by the teacher", len(parts), "batches")
        for part, read in zip(parts, reading, strict=True):
            pixels = torch.from_numpy(read).to(self._device)
            pictures = pixels if self._paired is None else self._paired.unpack(pixels)[0]
            crops = None if generator is None else self._draw(pictures, generator)
            own[part - begin] = self._target(pictures, crops).float().cpu().numpy()
        return TaughtSplit(split, np.concatenate(world.gather(own)))

    @torch.no_grad()
    def _target(self, pictures: Tensor, crops: Crops | None) -> Tensor:
        values = self._teacher_input(pictures, crops)
        with autocast(values.device, self._precision):
            return self._encoder(values)

    def _draw(self, pictures: Tensor, generator: Generator) -> Crops:
        height, width = pictures.shape[1:3] if self._store.modality == "rgb" else pictures.shape[-2:]
        return draw_crops(len(pictures), height, width, self._recipe.crop_scale, self._recipe.flip, generator)

    def _teacher_input(self, pictures: Tensor, crops: Crops | None) -> Tensor:
        rgb = views.rgb_image(pictures, self._store.modality, self._store.bands, self._store.composite)
        if crops is None:
            return self._teacher.inputs(rgb)
        picture = crop(rgb.float() / 255, crops, self._teacher.image_size).clamp(0, 1)
        return views.normalise(picture, self._teacher.mean, self._teacher.std)

    def _student_input(self, pixels: Tensor, crops: Crops | None) -> Tensor:
        if crops is None:
            return self._student.inputs(pixels, self._bands)
        spec = self._student.spec
        positions = spec.find(self._bands)
        values = views.select_bands(pixels, positions)
        return self._student.scale(crop(values, crops.on(*values.shape[-2:]), spec.image_size), positions)


def align(
    teacher: Clip,
    head: Head,
    store: Store,
    spec: StudentSpec,
    recipe: AlignRecipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
) -> tuple[Student, list[Record]]:
    """Train a new student on the store's train split; returns it and the history.

    Args:
        teacher: the CLIP whose image encoder is to be imitated, already patched.
        store: of the teacher's pictures; the student's pixels are of the same modality unless `spec` names another.
        seed: of the student's first weights, the order of samples and the random changes to them.
        saving, world: see `loop.fit`.

    Raises:
        UserError: the head's classes are not the store's, the store lacks bands or the modality of the student, or the
            recipe leaves nothing to learn or asks to keep the teacher's embeddings of pictures that change.
    """
    _must_make_sense(recipe)
    must_fit(head, tuple(store.classes), store.attrs["dataset"])
    paired = _paired(store, spec.modality)
    pixels = store if paired is None else paired.second
    source = paired or store
    train: Split = source.split("train")
    val: Split | None = source.split("val") if "val" in store.splits else None
    known = spec.needs_statistics
    statistics = band_statistics(pixels.split("train"), pixels.bands, spec.bands) if known else None
    torch.manual_seed(seed)
    student = new_student(spec, teacher.embed_dim, statistics)
    stage = Alignment(teacher, student, head, store, recipe, device, paired)
    if recipe.cache_teacher and recipe.distillation_weight and len(train):
        train = stage.taught(train, training=True, world=world)
        val = stage.taught(val, training=False, world=world) if val is not None and len(val) else val
    history = fit(stage, train, val, recipe, seed, device, saving=saving, world=world, remarks=store.notes)
    return student, history


def _paired(store: Store, modality: str | None) -> PairedStore | None:
    if modality is None or modality == store.modality:
        return None
    return PairedStore(store, Store(store.path, store.nomenclature if store.labelled_only else None, modality))


def _must_make_sense(recipe: AlignRecipe) -> None:
    if not recipe.distillation_weight and not recipe.label_weight:
        raise UserError(
            "align.distillation_weight and align.label_weight are both 0, which leaves nothing to learn; "
            "set one of them to more than 0."
        )
    if recipe.cache_teacher and recipe.changes_pictures:
        raise UserError(
            f"align.cache_teacher is true with crop_scale {list(recipe.crop_scale)} and flip {recipe.flip:g}: the "
            "teacher sees other pictures in each epoch, so that its embeddings cannot be kept. Set crop_scale: [1, 1] "
            "and flip: 0, or cache_teacher: false."
        )
