"""How to train, as values: the config's mappings as frozen dataclasses, and the learning rate of a step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every stage has in common: AdamW, linear warm-up, cosine to 0, gradient clipping.

    Attributes:
        weight_decay: applied to every parameter.
        warmup_steps: optimiser steps until `learning_rate` is reached.
        clip_norm: largest norm of all gradients together.
        batch_size: samples in one optimiser step, over all processes and micro-batches.
        precision: of the forward pass: 'bfloat16' (autocast), 'float16' (autocast and loss scaling, GPUs only),
            'float32', or 'auto' for what the hardware computes fast, see `device.settle_precision`.
        accumulate: micro-batches that a step's samples are cut into.
        checkpoint_gradients: keep few activations of the trained encoder and compute the others twice.
        compile: run the trained encoder through torch.compile.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    precision: str
    accumulate: int = 1
    checkpoint_gradients: bool = False
    compile: bool = False

    @property
    def shuffle(self) -> bool:
        """Whether the order of the samples is drawn anew in each epoch; otherwise they come as stored."""
        return True

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Self:
        """The recipe of a mapping that the config's schema has checked."""
        return cls(**_hashable(values))


@dataclass(frozen=True, kw_only=True)
class ScratchRecipe(Recipe):
    """Contrastive pre-training: `shift` as a share of the image's side, `zoom` 0.1 for 90 to 110 %.

    `recolour` is the probability of two random colours in place of black and white, see `augment.recolour`.
    """

    shift: float
    zoom: float
    recolour: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to an RGB training image, see `augment.rgb_view`.

    Attributes:
        crop_scale: range of the share of the area that is cut out.
        flip: probability of a flip, of each axis.
        jitter: how far brightness, contrast and saturation may leave 1.
    """

    crop_scale: tuple[float, float]
    flip: float
    jitter: tuple[float, float, float]
    jitter_probability: float
    greyscale_probability: float
    blur_probability: float


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(Recipe):
    """PAINT, step 1.

    Attributes:
        label_smoothing: moves multi-label targets towards 0.5; single-label targets stay hard.
        class_weights: None, 'balanced' or 'root', see `losses.class_weights`.
    """

    label_smoothing: float
    class_weights: str | None = None
    augmentation: Augmentation

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Self:
        return cls(**{**values, "augmentation": Augmentation(**_hashable(values["augmentation"]))})


@dataclass(frozen=True, kw_only=True)
class AlignRecipe(Recipe):
    """Distillation: loss = distillation_weight * `loss`(student, teacher) + label_weight * label loss.

    `label_smoothing` and `class_weights`, of the label loss, as in `FinetuneRecipe`; `crop_scale` and `flip` as in
    `Augmentation`.

    Attributes:
        loss: 'mse', 'cosine' or 'infonce', see `losses.distillation_loss`.
        label_weight, distillation_weight: 0 leaves a term out; it is not computed then.
        temperature: of 'infonce'.
        cache_teacher: compute the teacher's embeddings once instead of once an epoch; for images that do not change.
        shuffle: draw the order of the samples anew in each epoch; without it they come as stored.
        separate_crops: draw crop and flips for each encoder by itself; both see the same ones without it.
    """

    loss: str = "mse"
    label_weight: float
    distillation_weight: float = 1.0
    label_smoothing: float
    class_weights: str | None = None
    crop_scale: tuple[float, float]
    flip: float
    temperature: float = 0.07
    cache_teacher: bool = False
    shuffle: bool = True
    separate_crops: bool = False


def _hashable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the learning rate: up in equal parts over `warmup` steps, then half a cosine down towards 0.

    Args:
        step: 0 for the first update, `total` - 1 for the last one.
        total: number of updates in all; where it is not more than `warmup`, the rate is still rising at the end.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
