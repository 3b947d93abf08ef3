"""Training: samples a second of the loop, against the bare steps of the same models on a batch already in memory.

    python benchmarks/train.py [clip] [steps]      demo-vit and a small student, 40 steps; or any CLIP of open_clip
    python benchmarks/train.py demo-vit 12 processor    processor time of one thread in float32, on a busy machine

The loop reads a store in memory, augments the images, records and validates nothing. A bare step is the
models' forward and backward passes and the optimiser's step, with the teacher's forward pass in the alignment.
All ways take turns, several rounds; the median counts. A GPU is used where there is one.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from bandbridge.catalogue.datasets import Composite
from bandbridge.models.clip import Clip, new_clip
from bandbridge.models.device import autocast, set_up
from bandbridge.models.students import StudentSpec, new_student
from bandbridge.store.heads import Head
from bandbridge.training.align import Alignment
from bandbridge.training.batches import KeptPixels, Source
from bandbridge.training.checkpoints import Saving
from bandbridge.training.finetune import Finetuning
from bandbridge.training.history import read_records
from bandbridge.training.loop import fit
from bandbridge.training.recipes import AlignRecipe, Augmentation, FinetuneRecipe

CLOCK = time.perf_counter
THREADS, BATCH, CLASSES, SIDE, ROUNDS = 2, 32, 10, 32, 3
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
COMMON = {
    "epochs": 1,
    "batch_size": BATCH,
    "learning_rate": 1e-4,
    "weight_decay": 0.1,
    "warmup_steps": 5,
    "clip_norm": 1.0,
    "precision": "float32",
    "label_smoothing": 0.0,
}
LIKE_THE_DEMO = Augmentation(
    crop_scale=(0.9, 1.0),
    flip=0.5,
    jitter=(0.1, 0.1, 0.1),
    jitter_probability=0.8,
    greyscale_probability=0.0,
    blur_probability=0.0,
)


def random_samples(n: int) -> Source:
    """Random samples in memory."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (n, len(BANDS), SIDE, SIDE), np.uint16)
    return Source({"s2": KeptPixels(pixels)}, (rng.random((n, CLASSES)) < 0.3).astype(np.uint8), np.arange(n))


STORE = SimpleNamespace(
    modality="s2",
    bands=BANDS,
    composite=Composite(("B04", "B03", "B02"), 3558.0),
    label_kind="multi",
    headline="map",
    attrs={"dataset": "random samples"},
)


def main(name: str, steps: int) -> None:
    device = set_up(THREADS, 0)
    clip, data = new_clip(name), random_samples(BATCH * steps)
    weights = F.normalize(torch.randn(CLASSES, clip.embed_dim)).numpy()
    head = Head(weights, 100.0, tuple(map(str, range(CLASSES))), tuple((str(c),) for c in range(CLASSES)))
    finetune = FinetuneRecipe(**COMMON, augmentation=LIKE_THE_DEMO)
    align = AlignRecipe(**COMMON, label_weight=0.05, crop_scale=(0.9, 1.0), flip=0.5)
    same = replace(align, crop_scale=(1.0, 1.0), flip=0.0)

    def finetuning(recipe: FinetuneRecipe) -> Finetuning:
        return Finetuning(clip, [head], [STORE], recipe, device)

    def alignment(recipe: AlignRecipe) -> Alignment:
        return Alignment(clip, student, head, STORE, recipe, device)

    options = {"img_size": 32, "patch_size": 8, "depth": 4}
    student = new_student(StudentSpec("vit_tiny_patch16_224", options, BANDS, "reflectance", 32), clip.embed_dim)
    cached = alignment(same).taught(data, training=True)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "fine-tuning, float32, bare": lambda: (bare_finetuning(clip, head, device, steps), 0.0),
        "fine-tuning, float32": lambda: loop(finetuning(finetune), data, finetune, device),
        "fine-tuning, bfloat16": lambda: loop(
            finetuning(replace(finetune, precision="bfloat16")), data, replace(finetune, precision="bfloat16"), device
        ),
        "alignment, float32, bare": lambda: (bare_alignment(clip, student, head, device, steps), 0.0),
        "alignment, float32": lambda: loop(alignment(align), data, align, device),
        "alignment, bfloat16": lambda: loop(
            alignment(replace(align, precision="bfloat16")), data, replace(align, precision="bfloat16"), device
        ),
        "alignment, unchanged images": lambda: loop(alignment(same), data, same, device),
        "alignment, cache_teacher": lambda: loop(alignment(same), cached, same, device),
    }
    if CLOCK is time.process_time:
        ways = {way: train for way, train in ways.items() if "bfloat16" not in way}
    rounds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way, train in ways.items():
            rate = train()
            if number:  # the first round warms up
                rounds[way].append(rate)
    report(rounds, f"{name} on {device.type}, {THREADS} threads, {steps} steps of {BATCH}")


def loop(stage, data, recipe, device: torch.device) -> tuple[float, float]:
    """Samples a second and the share of time spent waiting for data."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        saving = Saving(Path(folder) / "checkpoints", 60, 1, "", monitor=Path(folder), tensorboard=False)
        start = CLOCK()
        fit(stage, data, None, recipe, 0, device, saving=saving)
        seconds = CLOCK() - start
        speed = read_records(Path(folder) / "speed.jsonl")
    return len(data) / seconds, statistics.mean(record["waiting"] for record in speed)


def bare_finetuning(clip: Clip, head: Head, device: torch.device, steps: int) -> float:
    values = torch.randn(BATCH, 3, clip.image_size, clip.image_size, device=device)
    return bare(clip.visual.to(device), lambda: clip.visual(values).float(), head, device, steps)


def bare_alignment(clip: Clip, student, head: Head, device: torch.device, steps: int) -> float:
    values = torch.randn(BATCH, len(BANDS), SIDE, SIDE, device=device)
    images = torch.randn(BATCH, 3, clip.image_size, clip.image_size, device=device)
    clip.visual.to(device).eval()

    def forward() -> torch.Tensor:
        with torch.no_grad():
            target = clip.visual(images)
        embeddings = student(values)
        return embeddings + 0 * F.mse_loss(embeddings, target)

    return bare(student.to(device), forward, head, device, steps)


def bare(model: torch.nn.Module, forward, head: Head, device: torch.device, steps: int) -> float:
    weights = torch.from_numpy(head.weights).to(device)
    labels = torch.zeros(BATCH, CLASSES, device=device)
    model.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    start = CLOCK()
    for _ in range(steps):
        with autocast(device, "float32"):
            embeddings = forward()
        loss = F.binary_cross_entropy_with_logits(100 * F.normalize(embeddings) @ weights.T, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return BATCH * steps / (CLOCK() - start)


def report(rounds: dict[str, list[tuple[float, float]]], title: str) -> None:
    print(f"\n{title}\n\n| way | samples/s | of the bare step | waiting for data |\n|---|--:|--:|--:|")
    median = {way: statistics.median(rate for rate, _ in found) for way, found in rounds.items()}
    for way, found in rounds.items():
        against = median[f"{way.split(',')[0]}, float32, bare"]
        waiting = statistics.median(share for _, share in found)
        print(f"| {way} | {median[way]:,.0f} | {median[way] / against:.2f} | {waiting:.1%} |")


if __name__ == "__main__":
    if sys.argv[3:] == ["processor"]:
        CLOCK, THREADS = time.process_time, 1
    main(sys.argv[1] if len(sys.argv) > 1 else "demo-vit", int(sys.argv[2]) if len(sys.argv) > 2 else 40)
