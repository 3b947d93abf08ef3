"""Models and samples small enough that a test trains them in a moment."""

import numpy as np
import torch

from bandbridge.catalogue.datasets import Composite, headline_metric
from bandbridge.catalogue.sensors import order_bands
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import Clip
from bandbridge.store.heads import Head
from bandbridge.training.draws import Draws

MODEL_CFG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "patch_size": 8, "head_width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
BANDS = ("B02", "B03", "B04", "B08")


def tiny_clip(seed=0, **changes):
    import open_clip  # takes seconds, which processes that train something else are spared

    torch.manual_seed(seed)
    model_cfg = MODEL_CFG | changes
    model = open_clip.CLIP(**model_cfg).eval()
    preprocess = {
        "size": [model_cfg["vision_cfg"]["image_size"]] * 2,
        "mode": "RGB",
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }
    return Clip("tiny", model, open_clip.SimpleTokenizer(context_length=8), model_cfg, preprocess)


def tiny_head(classes=3, seed=0):
    weights = np.random.default_rng(seed).normal(size=(classes, 8)).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    names = tuple("abcdefgh"[:classes])
    return Head(weights, 10.0, names, tuple((f"a photo of {name}.",) for name in names))


class MemorySplit:
    """Samples in memory, with the interface of a store's split that training uses."""

    def __init__(self, pixels, labels):
        self.pixels = pixels
        self.labels = labels
        self.ids = np.arange(len(labels))

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        return self.pixels[indices]

    def read_with_validity(self, indices):
        return self.read(indices), None


class MemoryStore:
    """Random samples, brighter with their class, in splits train and val."""

    def __init__(self, modality="s2", kind="multi", classes=3, side=12, train=14, seed=0, headline=None):
        rng = np.random.default_rng(seed)
        self.modality = modality
        self.label_kind = kind
        self.headline = headline_metric(kind, headline)
        self.classes = tuple("abcdefgh"[:classes])
        self.bands = () if modality == "rgb" else BANDS
        self.composite = None if modality == "rgb" else Composite(("B04", "B03", "B02"), 3558.0)
        self.attrs = {"dataset": "memory"}
        self.splits = ("train", "val")
        self.notes = []
        shape = (side, side, 3) if modality == "rgb" else (len(BANDS), side, side)
        self._splits = {}
        for name, count in (("train", train), ("val", 6)):
            brightest = np.arange(count) % classes
            labels = np.eye(classes, dtype=np.uint8)[brightest]
            if kind == "multi":
                labels |= rng.random((count, classes)) < 0.2
            pixels = rng.integers(0, 100, size=(count, *shape)) + 70 * brightest.reshape(-1, 1, 1, 1)
            pixels = pixels.astype(np.uint8) if modality == "rgb" else (12 * pixels).astype(np.uint16)
            self._splits[name] = MemorySplit(pixels, labels)

    def split(self, name):
        return self._splits[name]


COMMON = {
    "epochs": 2,
    "batch_size": 5,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "warmup_steps": 2,
    "clip_norm": 1.0,
    "precision": "float32",
}
SCRATCH = COMMON | {"shift": 0.1, "zoom": 0.1}
FINETUNE = COMMON | {
    "label_smoothing": 0.2,
    "augmentation": {
        "crop_scale": [0.9, 1.0],
        "flip": 0.5,
        "jitter": [0.4, 0.4, 0.4],
        "jitter_probability": 0.8,
        "greyscale_probability": 0.2,
        "blur_probability": 0.4,
    },
}
UNCHANGED = {
    "crop_scale": [1.0, 1.0],
    "flip": 0.0,
    "jitter": [0.0, 0.0, 0.0],
    "jitter_probability": 0.0,
    "greyscale_probability": 0.0,
    "blur_probability": 0.0,
}
ALIGN = COMMON | {"label_weight": 0.05, "label_smoothing": 0.0, "crop_scale": [0.9, 1.0], "flip": 0.5}
STUDENT = {
    "backbone": "vit_tiny_patch16_224",
    "options": {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2},
    "bands": ["B04", "B03", "B02", "B08", "B10"],
    "scaling": "standardise",
    "image_size": 16,
    "pretrained": None,
}


def draws(n, seed=0):
    """What n samples draw."""
    return Draws.of(seed, 0, np.arange(n))


def same_weights(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def band_input(pixels, bands, wanted, size, scaling, statistics=None):
    """The input of a student with these bands and size, by the steps of `views`."""
    positions = order_bands(bands, wanted)
    return views.scale_bands(views.square_bands(pixels, positions, size), positions, scaling, statistics)
