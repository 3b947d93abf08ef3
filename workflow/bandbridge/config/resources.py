"""What a job asks of a scheduler: memory and minutes, from the data that it reads and the network that runs over them.

The figures are meant to be enough, not to be exact: a job that asks too much waits longer, one that asks too little is
killed. Each further attempt asks for more.
"""

import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bandbridge.base.locations import WORKFLOW

# Ten minutes cover the start of a job on a slow file system, half an hour that of a training with its validations.
SHORT, LONG = 10, 30
# A process with torch, its CUDA context and its libraries; one without.
TORCH_MB, PLAIN_MB = 6_000, 1_500
# Multiply-adds a second that a GPU of the last ten years sustains in these networks; half of them leave margin.
GPU_RATE = 5e12
# Samples a second out of a store, and bytes a second out of an archive, on a busy file system.
READ_SAMPLES, READ_BYTES = 1_000, 10e6
# The memory of a sample from the store until its batch has been used: as stored, as float32, augmented, read ahead.
COPIES = 40
# A sweep holds both ends of its line and the model between them, for any number of alphas, and a few prepared batches.
SWEPT_MODELS, HELD_MB = 4, 600
# A weight as float32, its gradient, AdamW's two moments, and their copies in a checkpoint.
BYTES_PER_TRAINED_WEIGHT = 32
MOST_ATTEMPTS = 3  # that ask for more: a job that fails with three times the memory has another fault


@dataclass(frozen=True)
class Ask:
    """Memory of each node, and minutes; at the first attempt."""

    mem_mb: int
    minutes: int

    def repeated(self, times: int) -> "Ask":
        """What a job asks that does the same several times, one after the other."""
        return Ask(self.mem_mb, self.minutes * times)

    def memory(self, attempt: int) -> int:
        return self.mem_mb * min(attempt, MOST_ATTEMPTS)

    def runtime(self, attempt: int, limit: int | None = None) -> int:
        """In minutes, no more than the longest that the scheduler allows."""
        asked = self.minutes * min(attempt, MOST_ATTEMPTS)
        return asked if limit is None else min(asked, limit)


@dataclass(frozen=True)
class Stored:
    """How large a store is: samples by split, bytes of one with all modalities, classes of its largest nomenclature."""

    samples: Mapping[str, int]
    sample_bytes: int
    classes: int

    @property
    def total(self) -> int:
        return sum(self.samples.values())


@dataclass(frozen=True)
class Network:
    """What an encoder costs: multiply-adds of an image, forward, and its weights."""

    operations: float
    weights: float


# The assumed cost of an architecture that is not a plain ViT: that of a ViT-L/14.
UNKNOWN = Network(81e9, 304e6)
TIMM_WIDTHS = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24), "huge": (1280, 32)}


def stored(metadata: Path) -> Stored:
    """A store's size, from only its root metadata.

    Raises:
        FileNotFoundError: it does not exist yet; Snakemake asks again once it does.
    """
    arrays = json.loads(metadata.read_text(encoding="utf-8"))["consolidated_metadata"]["metadata"]
    samples: dict[str, int] = {}
    sample_bytes: dict[str, dict[str, int]] = {}
    classes = 1
    for path, facts in arrays.items():
        split, _, name = path.partition("/")
        shape = facts.get("shape")
        if not shape:
            continue
        if name == "id":
            samples[split] = shape[0]
        elif name.startswith("labels_"):
            classes = max(classes, shape[1])
        elif len(shape) == 4:
            bits = re.search(r"\d+", str(facts["data_type"]))
            width = int(bits.group()) // 8 if bits else 4
            sample_bytes.setdefault(split, {})[name] = math.prod(shape[1:]) * width
    return Stored(samples, max((sum(modalities.values()) for modalities in sample_bytes.values()), default=0), classes)


def vit(image_size: int, patch_size: int, width: int, layers: int) -> Network:
    """A vision transformer."""
    tokens = (image_size // patch_size) ** 2 + 1
    return Network(layers * (12 * width**2 * tokens + 2 * tokens**2 * width), 12.0 * layers * width**2)


def clip_network(name: str) -> Network:
    """The image encoder of an architecture of `workflow/clip_configs` or open_clip, without importing the latter."""
    architecture = clip_architecture(name)
    if architecture is not None:
        vision = architecture["vision_cfg"]
        if all(isinstance(vision.get(key), int) for key in ("image_size", "patch_size", "width", "layers")):
            return vit(vision["image_size"], vision["patch_size"], vision["width"], vision["layers"])
    return UNKNOWN


def clip_architecture(name: str) -> dict[str, Any] | None:
    """The content of an architecture's file in `workflow/clip_configs` or open_clip; None for a name of neither."""
    path = clip_architectures().get(name.replace("/", "-"))
    content: dict[str, Any] | None = None if path is None else json.loads(path.read_text(encoding="utf-8"))
    return content


@cache  # called for each job, and there are a hundred files
def clip_architectures() -> dict[str, Path]:
    """Architectures of open_clip, without importing it, and of `workflow/clip_configs`: name -> description.

    Only the latter where open_clip is not installed, as on a login node.
    """
    folders = [WORKFLOW / "clip_configs"]
    package = importlib.util.find_spec("open_clip")
    if package is not None and package.origin is not None:
        folders.insert(0, Path(package.origin).parent / "model_configs")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def student_network(student: Mapping[str, Any]) -> Network:
    """A student's backbone, as configured."""
    options: Mapping[str, Any] = student.get("options") or {}
    match = re.match(r"vit_([a-z]+)_patch(\d+)_(\d+)", str(student["backbone"]))
    if not match or match[1] not in TIMM_WIDTHS:
        return UNKNOWN
    width, layers = TIMM_WIDTHS[match[1]]
    return vit(
        int(options.get("img_size", student["image_size"])),
        int(options.get("patch_size", match[2])),
        int(options.get("embed_dim", width)),
        int(options.get("depth", layers)),
    )


def training(
    stores: Sequence[Stored],
    trained: Network,
    recipe: Mapping[str, Any],
    gpus: int = 1,
    nodes: int = 1,
    teacher: Network | None = None,
) -> Ask:
    """A training over the train splits of stores: `recipe` has epochs and batch_size."""
    samples = recipe["epochs"] * sum(store.samples.get("train", 0) + store.samples.get("val", 0) for store in stores)
    operations = 3 * trained.operations + (teacher.operations if teacher else 0)
    seconds = samples * (operations / (GPU_RATE * gpus * nodes) + 1 / (READ_SAMPLES * nodes))
    sample_bytes = max((store.sample_bytes for store in stores), default=0)
    weights = trained.weights * BYTES_PER_TRAINED_WEIGHT + (teacher.weights * 4 if teacher else 0)
    memory = gpus * (TORCH_MB + weights / 1e6) + recipe["batch_size"] * sample_bytes * COPIES / 1e6
    return _ask(memory, LONG + seconds / 60)


def encoding(store: Stored, network: Network, models: int, batch_size: int, splits: Sequence[str]) -> Ask:
    """Splits of a store, read once and encoded by several models of one architecture."""
    samples = sum(store.samples.get(split, 0) for split in splits)
    seconds = samples * (models * network.operations / GPU_RATE + 1 / READ_SAMPLES)
    memory = (
        TORCH_MB + HELD_MB + SWEPT_MODELS * network.weights * 4 / 1e6 + batch_size * store.sample_bytes * COPIES / 1e6
    )
    return _ask(memory, SHORT + seconds / 60)


def scoring(store: Stored, width: int = 1024, resamples: int = 1000) -> Ask:
    """Metrics of one encoder's embeddings, with their intervals."""
    floats = store.total * (3 * width + 6 * store.classes)
    seconds = store.total * store.classes * resamples / 20e6
    return _ask(PLAIN_MB + floats * 4 / 1e6, SHORT + seconds / 60)


def probing(store: Stored, settings: Mapping[str, Any], width: int = 1024) -> Ask:
    """Logistic regressions on frozen embeddings: `settings` is evaluate.linear_probe."""
    fits = len(settings["C"]) + len(settings.get("shots") or ()) * int(settings.get("repeats") or 1)
    floats = store.total * (6 * width + 6 * store.classes)
    seconds = fits * settings["max_iterations"] * store.samples.get("train", 0) * store.classes * width * 4 / 5e9
    return _ask(PLAIN_MB + floats * 4 / 1e6, SHORT + seconds / 60)


def converting(archive_bytes: float) -> Ask:
    """One share of a data set: every share streams the archives once, and keeps the samples of its shards on disk."""
    return _ask(2_000, LONG + archive_bytes / READ_BYTES / 60)


def joining(archive_bytes: float) -> Ask:
    """Plans and stores, which hold a row per sample."""
    return _ask(2_000 + archive_bytes / 1e9 * 30, LONG + archive_bytes / (10 * READ_BYTES) / 60)


def small(torch: bool = False) -> Ask:
    """Jobs that read little, whatever the data set: heads, choices, tables."""
    return _ask(TORCH_MB if torch else PLAIN_MB, SHORT)


def applying() -> Ask:
    """Windows of a scene of any size, of which one strip is in memory."""
    return _ask(TORCH_MB + 2_000, 24 * 60)


def drawing(processes: int) -> Ask:
    """The report, whose figures several processes draw at once: each holds the tables and a plotting library."""
    return _ask(PLAIN_MB + 400 * processes, SHORT)


def size_of(folder: Path) -> int:
    """Bytes of a folder of archives, of the files directly in it or one below."""
    return sum(path.stat().st_size for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())


def _ask(memory: float, minutes: float) -> Ask:
    """In whole half gigabytes and tens of minutes."""
    return Ask(500 * math.ceil(memory / 500), 10 * math.ceil(minutes / 10))
