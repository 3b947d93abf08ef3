"""Aligning a multispectral student to a patched CLIP by distillation (Zavras et al. 2025, stage 2)."""

from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress
from bandbridge.config.stages import alignment_faults
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.models.device import autocast, settle_precision
from bandbridge.models.students import Student, StudentSpec, band_statistics, new_student
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, must_fit
from bandbridge.store.prefetch import read_ahead
from bandbridge.training.augment import Crops, crop, draw_crops
from bandbridge.training.batches import Batch, Source
from bandbridge.training.checkpoints import Saving
from bandbridge.training.distributed import ALONE, World
from bandbridge.training.draws import Draws
from bandbridge.training.history import Record
from bandbridge.training.loop import fit
from bandbridge.training.losses import FrozenHead, distillation_loss, label_loss, train_weights
from bandbridge.training.recipes import AlignRecipe
from bandbridge.training.splits import store_source
from bandbridge.training.stages import Predictions, Stage, Terms


class Alignment(Stage):
    """Stage: the student, on its own bands, learns the teacher's embedding of the RGB image and the labels.

    loss = distillation_weight * distillation(student, teacher) + label_weight * label loss of head(student), on
    embeddings before normalisation. The label loss is that of the fine-tuning: cross entropy where samples have one
    class, binary cross entropy where they have several. Teacher and head are frozen. Both encoders see the same crop
    and the same flips, unless the recipe has separate crops. A term whose weight is 0 is not computed.

    Args:
        store: of the teacher's images.
        second: of the student's pixels, where they are of another modality than `store`'s.
        world: the processes whose samples the loss 'infonce' contrasts with each other.

    Raises:
        UserError: the store lacks bands of the student.
    """

    trained: Student

    def __init__(
        self,
        teacher: Clip,
        student: Student,
        head: Head,
        store: Store,
        recipe: AlignRecipe,
        device: torch.device,
        second: Store | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__(f"Aligning to {teacher.name} on {store.attrs['dataset']}", student.to(device))
        self._teacher = teacher
        self._encoder = teacher.visual.to(device).eval().requires_grad_(False)
        self._head = FrozenHead(head, device)
        self._store = store
        self._recipe = recipe
        self._precision = settle_precision(recipe.precision, device).name
        self._weights = train_weights(store, recipe.class_weights, device)
        self._device = device
        self._world = world
        pixels = store if second is None else second
        self._modality, self._bands = pixels.modality, tuple(pixels.bands)
        # Refuses bands that are missing, and says which ones are filled, before any work is done.
        student.inputs(torch.zeros(1, len(self._bands), 1, 1, device=device), self._bands)

    def forward(self, batch: Batch) -> Terms:
        crops = self._draw(batch)
        return self._losses(batch, self._embed(batch, crops), self._teachers_crops(batch, crops))

    def validation(self, batch: Batch) -> tuple[Terms, dict[str, Predictions]]:
        embedding = self._embed(batch, None)
        predictions = self._store.headline, self._head(embedding), batch.labels
        return self._losses(batch, embedding, None), {"": predictions}

    def _embed(self, batch: Batch, crops: Crops | None) -> Tensor:
        values = self._student_input(batch.pixels[self._modality], crops)
        with autocast(values.device, self._precision):
            embedding: Tensor = self.trained(values)
        return embedding

    def _losses(self, batch: Batch, embedding: Tensor, crops: Crops | None) -> Terms:
        weighted, terms = [], {}
        if self._recipe.distillation_weight:
            target = self._target(batch, crops) if batch.teacher is None else batch.teacher
            world = self._world if batch.is_shared else ALONE
            distillation = distillation_loss(embedding, target, self._recipe.loss, self._recipe.temperature, world)
            terms["distillation"] = distillation
            weighted.append(self._recipe.distillation_weight * distillation)
        if self._recipe.label_weight:
            logits = self._head(embedding)
            kind, smoothing = self._store.label_kind, self._recipe.label_smoothing
            terms["label"] = label_loss(logits, batch.labels, kind, smoothing, self._weights)
            weighted.append(self._recipe.label_weight * terms["label"])
        return {"loss": torch.stack(weighted).sum(), **terms}

    def taught(self, source: Source, training: bool, world: World = ALONE) -> Source:
        """A source with the teacher's embedding of each sample, (n, dim) float32, kept in memory.

        Several processes compute their share each and exchange them. The embeddings are what `forward` would compute,
        except for the rounding that comes with which samples share a batch.

        Args:
            training: whether the images come as in training, which must not change them at random.
        """
        size = self._recipe.batch_size
        begin, end = (len(source) * rank // world.world_size for rank in (world.rank, world.rank + 1))
        share = np.arange(begin, end)
        parts = [share[at : at + size] for at in range(0, len(share), size)]
        embeddings = np.empty((len(share), self._teacher.embed_dim), np.float32)
        reading = progress(read_ahead(source.read, parts), "Embedding by the teacher", len(parts), "batches")
        for part, read in zip(parts, reading, strict=True):
            batch = read.to(self._device)
            if training:
                batch = replace(batch, draws=Draws.of(0, 0, part))
            embeddings[part - begin] = self._target(batch, self._draw(batch)).float().cpu().numpy()
        return replace(source, teacher=np.concatenate(world.gather(embeddings)))

    @torch.no_grad()
    def _target(self, batch: Batch, crops: Crops | None) -> Tensor:
        values = self._teacher_input(batch.pixels[self._store.modality], crops)
        with autocast(values.device, self._precision):
            embedding: Tensor = self._encoder(values)
        return embedding

    def _draw(self, batch: Batch) -> Crops | None:
        if batch.draws is None:
            return None
        shape = batch.pixels[self._store.modality].shape
        height, width = shape[1:3] if self._store.modality == "rgb" else shape[-2:]
        return draw_crops(batch.draws, height, width, self._recipe.crop_scale, self._recipe.flip)

    def _teachers_crops(self, batch: Batch, crops: Crops | None) -> Crops | None:
        """What the teacher sees: the student's crops, or others of the same samples."""
        if batch.draws is None or not self._recipe.separate_crops:
            return crops
        return self._draw(replace(batch, draws=batch.draws.apart("teacher")))

    def _teacher_input(self, pixels: Tensor, crops: Crops | None) -> Tensor:
        rgb = views.rgb_image(pixels, self._store.modality, self._store.bands, self._store.composite)
        if crops is None:
            return self._teacher.inputs(rgb)
        image = crop(rgb.float() / 255, crops, self._teacher.image_size).clamp(0, 1)
        return views.normalise(image, self._teacher.mean, self._teacher.std)

    def _student_input(self, pixels: Tensor, crops: Crops | None) -> Tensor:
        if crops is None:
            return self.trained.inputs(pixels, self._bands)
        spec = self.trained.spec
        positions = spec.find(self._bands)
        values = views.select_bands(pixels, positions)
        return self.trained.scale(crop(values, crops.on(*values.shape[-2:]), spec.image_size), positions)


def align(  # noqa: PLR0913 (the last two are keyword-only options)
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
        store: of the teacher's images; the student's pixels are of the same modality unless `spec` names another.
        seed: of the student's first weights, the order of samples and the random changes to them.
        saving, world: see `loop.fit`.

    Raises:
        UserError: the recipe contradicts itself or leaves nothing to learn, the head's classes are not the store's, or
            the store lacks bands or the modality of the student.
    """
    if faults := [*alignment_faults(asdict(recipe))]:
        raise UserError("The recipe cannot be followed:\n" + "\n".join(faults))
    must_fit(head, tuple(store.classes), store.attrs["dataset"])
    second = _second(store, spec.modality)
    train, val = store_source(store, "train", second), store_source(store, "val", second)
    pixels = store if second is None else second
    needed = spec.needs_statistics
    statistics = band_statistics(pixels.split("train"), pixels.bands, spec.bands) if needed else None
    torch.manual_seed(seed)
    student = new_student(spec, teacher.embed_dim, statistics)
    stage = Alignment(teacher, student, head, store, recipe, device, second, world)
    if recipe.cache_teacher and recipe.distillation_weight and train:
        train = stage.taught(train, training=True, world=world)
        val = stage.taught(val, training=False, world=world) if val else val
    history = fit(stage, train, val, recipe, seed, device, saving=saving, world=world, remarks=store.notes)
    return student, history


def _second(store: Store, modality: str | None) -> Store | None:
    """The store of the student's pixels, where they are of another modality than the teacher's images."""
    if modality is None or modality == store.modality:
        return None
    return Store(store.path, store.nomenclature if store.labelled_only else None, modality)
