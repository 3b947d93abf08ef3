"""Aligning a multispectral student to a patched CLIP by distillation (Zavras et al. 2025, stage 2)."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from bandbridge import views
from bandbridge.clip import Clip
from bandbridge.device import autocast
from bandbridge.heads import Head, must_fit
from bandbridge.sensors import order_bands
from bandbridge.store import Store
from bandbridge.students import Student, StudentSpec, band_statistics, new_student
from bandbridge.training.augment import crop, draw_crops
from bandbridge.training.loop import Record, Terms, fit
from bandbridge.training.losses import FrozenHead, label_loss
from bandbridge.training.recipes import AlignRecipe


class Alignment:
    """Stage: the student, on all its bands, learns the teacher's embedding of the RGB picture and the labels.

    loss = distillation_weight * MSE(student, teacher) + label_weight * label loss of head(student), on embeddings
    before normalisation. Teacher and head are frozen. Both encoders see the same crop and the same flips.
    """

    def __init__(
        self, teacher: Clip, student: Student, head: Head, store: Store, recipe: AlignRecipe, device: torch.device
    ) -> None:
        self.name = f"Aligning to {teacher.name} on {store.attrs['dataset']}"
        self.trained: nn.Module = student.to(device)
        self._student = student
        self._teacher = teacher
        self._encoder = teacher.visual.to(device).eval().requires_grad_(False)
        self._head = FrozenHead(head, device)
        self._store = store
        self._recipe = recipe

    def terms(self, pixels: Tensor, labels: Tensor, generator: Generator | None) -> Terms:
        rgb = views.rgb_image(pixels, self._store.modality, self._store.bands, self._store.composite)
        if generator is None:
            teacher_input, student_input = self._teacher.inputs(rgb), self._student.inputs(pixels, self._store.bands)
        else:
            teacher_input, student_input = self._cropped(rgb, pixels, generator)
        with autocast(pixels.device, self._recipe.precision):
            with torch.no_grad():
                target = self._encoder(teacher_input)
            embedding = self._student(student_input)
        distillation = F.mse_loss(embedding.float(), target.float())
        label = label_loss(self._head(embedding), labels, self._store.label_kind, self._recipe.label_smoothing)
        loss = self._recipe.distillation_weight * distillation + self._recipe.label_weight * label
        return {"loss": loss, "distillation": distillation, "label": label}

    def _cropped(self, rgb: Tensor, pixels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, _, height, width = rgb.shape
        crops = draw_crops(n, height, width, self._recipe.crop_scale, self._recipe.flip, generator)
        teacher, spec = self._teacher, self._student.spec
        picture = crop(rgb.float() / 255, crops, teacher.image_size).clamp(0, 1)
        positions = order_bands(self._store.bands, spec.bands)
        bands = crop(views.select_bands(pixels, positions), crops, spec.image_size)
        scaled = views.scale_bands(bands, positions, spec.scaling, self._student.statistics)
        return views.normalise(picture, teacher.mean, teacher.std), scaled


def align(
    teacher: Clip, head: Head, store: Store, spec: StudentSpec, recipe: AlignRecipe, seed: int, device: torch.device
) -> tuple[Student, list[Record]]:
    """Train a new student on the store's train split; returns it and the history.

    Args:
        teacher: the CLIP whose image encoder is to be imitated, already patched.
        seed: of the student's first weights, the order of samples and the random changes to them.

    Raises:
        UserError: the head's classes are not the store's, or the store lacks bands of the student.
    """
    must_fit(head, tuple(store.classes), store.attrs["dataset"])
    train = store.split("train")
    statistics = band_statistics(train, store.bands, spec.bands) if spec.scaling == "standardise" else None
    torch.manual_seed(seed)
    student = new_student(spec, teacher.embed_dim, statistics)
    stage = Alignment(teacher, student, head, store, recipe, device)
    val = store.split("val") if "val" in store.splits else None
    return student, fit(stage, train, val, recipe, seed, device)
