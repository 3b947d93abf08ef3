"""Ten steps of the paper's two trainings, against a training loop in plain torch.

The encoders are the paper's, but for a quarter of their layers: a step of the whole ones is in test_paper_step.py.
The plain side is written out from the paper: its own composite, input, losses, clipping, schedule, and torch's AdamW.
It shares nothing with the package but the weights that it starts from. Random changes to images are off, and so is
stochastic depth: what they draw is not the paper's to fix.
"""

import math

import numpy as np
import pytest
import timm
import torch
from test_paper_step import CPU, HEAD, L2A, clip_of_the_papers_size, label_loss, picture
from tiny import COMMON, UNCHANGED, MemoryStore

from bandbridge.catalogue.datasets import Composite
from bandbridge.models.students import StudentSpec
from bandbridge.training.align import align
from bandbridge.training.finetune import finetune
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe

pytestmark = pytest.mark.slow
STEPS, WARMUP, LAYERS = 10, 4, 3


def store_of(count):
    store = MemoryStore()
    store.splits, store.bands, store.composite = ("train",), L2A, Composite(("B04", "B03", "B02"), 2000.0)
    split, random = store.split("train"), np.random.default_rng(0)
    split.pixels = random.integers(0, 5000, size=(count, 12, 224, 224)).astype(np.uint16)
    split.labels = (random.random((count, 3)) < 0.5).astype(np.uint8)
    split.ids = np.arange(count)
    return store


def rate(step, base):
    if step < WARMUP:
        return base * (step + 1) / WARMUP
    return base * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def plain_training(module, loss_of_step, base, weight_decay):
    """The losses of ten steps that change `module` in place."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=base, weight_decay=weight_decay, foreach=False)
    losses = []
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = rate(step, base)
        optimiser.zero_grad()
        loss = loss_of_step(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


def assert_same(trained, plain, history, losses):
    """Losses agree to the digits of the history, and weights to 1e-6, but for ten in a million.

    Those that differ more have a gradient of rounding alone, which AdamW turns into a step like any other; which
    of them do depends on the processor. They stay within a step.
    """
    epoch_losses = [record["loss"] for record in history if "loss" in record]  # of each epoch, to six digits
    assert epoch_losses == pytest.approx(np.mean(np.split(np.array(losses), len(epoch_losses)), axis=1), rel=6e-6)
    differing, count = 0, 0
    for (name, weight), expected in zip(trained.named_parameters(), plain.parameters(), strict=True):
        off = (weight.detach() - expected.detach()).abs()
        if name.endswith(("in_proj_bias", "qkv.bias")):
            queries, _, values = off.chunk(3)  # the keys' third has no gradient but rounding
            off = torch.cat([queries, values])
        assert off.max() <= 1e-4, name
        differing, count = differing + int((off > 1e-6).sum()), count + off.numel()
    assert differing <= count / 1e5


def test_ten_steps_of_patching():
    store = store_of(2)  # one batch, seen ten times: its order does not matter
    values = {"learning_rate": 1e-5, "weight_decay": 0.5, "label_smoothing": 0.0, "augmentation": UNCHANGED}
    recipe = COMMON | {"epochs": STEPS, "batch_size": 2, "warmup_steps": WARMUP} | values
    clip, plain = clip_of_the_papers_size(LAYERS), clip_of_the_papers_size(LAYERS).visual
    history = finetune(clip, [HEAD], [store], FinetuneRecipe.from_config(recipe), 0, CPU)
    split = store.split("train")
    images = picture(split.pixels)
    losses = plain_training(plain, lambda _: label_loss(plain(images), split.labels, 0.0), 1e-5, 0.5)
    assert losses[-1] < losses[0]
    assert_same(clip.visual, plain, history, losses)


def test_ten_steps_of_alignment():
    store = store_of(STEPS)
    bands = [*L2A[:10], "B10", *L2A[10:]]
    student = {"backbone": "vit_small_patch16_224", "options": {"depth": LAYERS}, "bands": bands, "image_size": 224}
    values = {"learning_rate": 1e-4, "weight_decay": 0.01, "label_weight": 0.05, "label_smoothing": 0.0}
    recipe = COMMON | {"epochs": 1, "batch_size": 1, "warmup_steps": WARMUP, "crop_scale": [1, 1], "flip": 0}
    spec = StudentSpec.from_config(student | {"scaling": "reflectance"})
    teacher = clip_of_the_papers_size(LAYERS)
    recipe = AlignRecipe.from_config(recipe | values | {"shuffle": False})
    trained, history = align(teacher, HEAD, store, spec, recipe, 0, CPU)

    torch.manual_seed(0)
    trunk = timm.create_model("vit_small_patch16_224", in_chans=13, num_classes=0, depth=LAYERS)
    plain = torch.nn.Sequential(trunk, torch.nn.Linear(384, 512)).train()
    split = store.split("train")
    reflectances = torch.from_numpy(split.pixels.astype(np.float32) / 10_000).clamp(0, 1)
    inputs = torch.cat([reflectances[:, :10], torch.zeros(STEPS, 1, 224, 224), reflectances[:, 10:]], dim=1)
    images = picture(split.pixels)

    def loss_of(step):
        rows = slice(step, step + 1)
        with torch.no_grad():
            targets = teacher.visual(images[rows])
        embeddings = plain(inputs[rows])
        distillation = (embeddings - targets).square().mean()
        return distillation + 0.05 * label_loss(embeddings, split.labels[rows], 0.0)

    losses = plain_training(plain, loss_of, 1e-4, 0.01)
    assert_same(trained, plain, history, losses)
