"""One step of the paper's two trainings, on encoders of the paper's size, against plain torch.

The plain side is written out from the paper and shares nothing with the package but the weights it starts from. The
first step is taken at the full learning rate: a two-hundredth of it would drown in the rounding of the weights.
"""

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from tiny import COMMON, UNCHANGED, MemoryStore, tiny_clip

from bandbridge.catalogue.datasets import Composite
from bandbridge.models.students import StudentSpec
from bandbridge.store.heads import Head
from bandbridge.training.align import align
from bandbridge.training.finetune import finetune
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
WEIGHTS = F.normalize(torch.randn(3, 512, generator=torch.Generator().manual_seed(5)), dim=-1)
HEAD = Head(WEIGHTS.numpy(), 100.0, tuple("abc"), (("",),) * 3)
ONE_STEP = COMMON | {"epochs": 1, "batch_size": 2, "warmup_steps": 1}


def clip_of_the_papers_size(layers=12):
    """The image encoder of ViT-B-32 with QuickGELU and random weights; the text encoder is a tiny one."""
    vision = open_clip.get_model_config("ViT-B-32-quickgelu")["vision_cfg"] | {"layers": layers}
    clip = tiny_clip(3, embed_dim=512, vision_cfg=vision, quick_gelu=True)
    clip.preprocess_cfg["size"] = [224, 224]
    return clip


def two_samples():
    store = MemoryStore()
    store.splits, store.bands, store.composite = ("train",), L2A, Composite(("B04", "B03", "B02"), 2000.0)
    split = store.split("train")
    split.pixels = np.random.default_rng(0).integers(0, 5000, size=(2, 12, 224, 224)).astype(np.uint16)
    split.labels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    return store


def picture(pixels):
    rgb = torch.from_numpy(pixels[:, [3, 2, 1]].astype(np.float32)) / 2000 * 255
    return (rgb.clamp(0, 255).floor() / 255 - MEAN) / STD


def label_loss(embeddings, labels, smoothing):
    logits = 100 * embeddings / embeddings.norm(dim=-1, keepdim=True) @ WEIGHTS.T
    targets = torch.from_numpy(labels).float() * (1 - smoothing) + smoothing / 2
    return -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).mean()


@torch.no_grad()
def assert_same_step(module, plain, loss, rate, weight_decay):
    """`module` has taken the step that AdamW's first is, from where `plain` is, down the gradient of `loss`."""
    with torch.enable_grad():
        loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    for (name, parameter), expected in zip(module.named_parameters(), plain.parameters(), strict=True):
        gradient = expected.grad
        if name.endswith(("in_proj_bias", "qkv.bias")):
            # The keys' third has no gradient but rounding.
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-5)
            continue
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()), msg=name)
        moved = expected * (1 - rate * weight_decay) - rate * gradient / (gradient.abs() + 1e-8)
        # Where a gradient is next to nothing, rounding decides how far the first step goes.
        off = (parameter - moved).abs() > rate / 50 + 1e-7 * moved.abs()
        assert off.sum() <= 1 + off.numel() / 1000, name


def test_a_step_of_patching():
    store = two_samples()
    values = {"learning_rate": 1e-5, "weight_decay": 0.5, "label_smoothing": 0.2, "augmentation": UNCHANGED}
    clip, plain = clip_of_the_papers_size(), clip_of_the_papers_size().visual
    history = finetune(clip, [HEAD], [store], FinetuneRecipe.from_config(ONE_STEP | values), 0, CPU)
    split = store.split("train")
    loss = label_loss(plain(picture(split.pixels)), split.labels, 0.2)
    assert next(record["loss"] for record in history if "loss" in record) == pytest.approx(loss.item(), rel=1e-5)
    assert_same_step(clip.visual, plain, loss, 1e-5, 0.5)


def test_a_step_of_alignment():
    store = two_samples()
    bands = [*L2A[:10], "B10", *L2A[10:]]
    student = {"backbone": "vit_small_patch16_224", "options": {}, "bands": bands, "image_size": 224}
    values = {"learning_rate": 1e-4, "weight_decay": 0.01, "label_weight": 0.05, "label_smoothing": 0.0}
    recipe = AlignRecipe.from_config(ONE_STEP | values | {"crop_scale": [1, 1], "flip": 0})
    spec = StudentSpec.from_config(student | {"scaling": "reflectance"})
    teacher = clip_of_the_papers_size()
    trained, history = align(teacher, HEAD, store, spec, recipe, 0, CPU)

    torch.manual_seed(0)
    trunk = timm.create_model("vit_small_patch16_224", in_chans=13, num_classes=0)
    plain = torch.nn.Sequential(trunk, torch.nn.Linear(384, 512))
    split = store.split("train")
    reflectances = torch.from_numpy(split.pixels.astype(np.float32) / 10_000).clamp(0, 1)
    nothing = torch.zeros(2, 1, 224, 224)
    embeddings = plain(torch.cat([reflectances[:, :10], nothing, reflectances[:, 10:]], dim=1))
    with torch.no_grad():
        targets = teacher.visual(picture(split.pixels))
    loss = (embeddings - targets).square().mean() + 0.05 * label_loss(embeddings, split.labels, 0.0)
    assert next(record["loss"] for record in history if "loss" in record) == pytest.approx(loss.item(), rel=1e-5)
    assert_same_step(trained, plain, loss, 1e-4, 0.01)
