"""Training and encoding on a GPU: samples a second, against bare passes and against the card's matrix product.

    python benchmarks/gpu.py [--clips ViT-B-32 ViT-B-16 ViT-L-14] [--steps 40]

Networks of the true architectures with random weights, samples of 12 x 120 x 120. A bare step is the models' forward
and backward passes under autocast and the optimiser's step, on a batch that is on the device already, without
augmentation, records or determinism; a bare pass encodes such a batch with weights that were cast beforehand. "Of the
product" is the rate of counted operations over that of a product of two 8192 x 8192 matrices in bfloat16, of this run.
Ways take turns, after one round to warm up; the better of the two that follow counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from small_store import small_dataset, write_store
from train import BANDS, COMMON, LIKE_THE_DEMO, STORE, loop

from bandbridge.catalogue.datasets import load_nomenclature
from bandbridge.ingest.readers import Sample
from bandbridge.models.clip import Clip, new_clip
from bandbridge.models.device import autocast, cast_layers, set_up
from bandbridge.models.embed import encode_split
from bandbridge.models.preprocessing import rgb_image
from bandbridge.models.students import StudentSpec, new_student
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head
from bandbridge.training.align import Alignment
from bandbridge.training.batches import KeptPixels, Source
from bandbridge.training.finetune import Finetuning
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe

SAMPLES, SIDE, CLASSES, ROUNDS = 2_048, 120, 19, 2
BATCH = {"ViT-L-14": 128}
USUAL_BATCH = 256
FORWARD_AND_BACKWARD = 3
STUDENT = StudentSpec("vit_small_patch16_224", {}, BANDS, "reflectance", 224)
Way = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", default=["ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--compiled", nargs="*", default=["ViT-B-16"], help="CLIPs to train with torch.compile as well")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    device = set_up(options.threads, 0)
    if device.type != "cuda":
        sys.exit("This benchmark needs a GPU.")
    product = product_rate(device)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}: product at {product / 1e12:.0f} TFLOP/s\n")
    print("| CLIP | way | batch | samples/s | of the bare way | of the product | memory |")
    print("|---|---|--:|--:|--:|--:|--:|")
    data = random_source()
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder))
        for name in options.clips:
            batch = BATCH.get(name, USUAL_BATCH)
            clip = new_clip(name)
            forward = operations(clip.visual, 3, clip.image_size, device)
            counted = {"fine-tuning": FORWARD_AND_BACKWARD * forward, "encoding": forward}
            student = new_student(STUDENT, clip.embed_dim)
            of_student = operations(student, len(BANDS), STUDENT.image_size, device)
            counted["alignment"] = FORWARD_AND_BACKWARD * of_student + forward
            ways = trainings(clip, student, data, batch, options.steps, name in options.compiled, device)
            rates = measured(ways | encodings(clip, store, batch, device))
            for way, (rate, memory) in rates.items():
                stage = way.split(",")[0]
                bare, share = rates[f"{stage}, bare"][0], rate * counted[stage] / product
                print(f"| {name} | {way} | {batch} | {rate:,.0f} | {rate / bare:.2f} | {share:.0%} | {memory:.1f} GB |")
            sys.stdout.flush()


def product_rate(device: torch.device) -> float:
    """Operations a second of a large product in bfloat16."""
    side, times = 8192, 30
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    left @ right
    seconds = timed(lambda: [left @ right for _ in range(times)])
    return 2 * side**3 * times / seconds


def timed(run: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(ways: dict[str, Way]) -> dict[str, tuple[float, float]]:
    """Samples a second and gigabytes on the device at the most, by way."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    memory: dict[str, float] = {}
    for number in range(ROUNDS + 1):
        for way, run in ways.items():
            torch.cuda.reset_peak_memory_stats()
            rate = run()
            memory[way] = torch.cuda.max_memory_allocated() / 1e9
            if number:
                rates[way].append(rate)
    return {way: (max(rates[way]), memory[way]) for way in ways}


def operations(encoder: torch.nn.Module, channels: int, side: int, device: torch.device) -> float:
    """Operations of one image's forward pass, counted."""
    images = torch.randn(4, channels, side, side, device=device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.to(device).eval()(images)
    return counter.get_total_flops() / len(images)


def random_source() -> Source:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (SAMPLES, len(BANDS), SIDE, SIDE), np.uint16)
    labels = (rng.random((SAMPLES, CLASSES)) < 0.3).astype(np.uint8)
    return Source({"s2": KeptPixels(pixels)}, labels, np.arange(SAMPLES))


def random_store(folder: Path) -> Store:
    """A store on disk, for encoding; half of each image is even, so that it compresses as a real one does."""
    dataset = small_dataset("bigearthnet_v1", ("test",))
    classes = load_nomenclature(dataset.nomenclature).classes
    rng = np.random.default_rng(1)

    def samples() -> Iterator[tuple[str, Sample]]:
        for number in range(SAMPLES):
            pixels = np.full((len(BANDS), SIDE, SIDE), 1_000, np.uint16)
            pixels[:, : SIDE // 2] = rng.integers(0, 4000, (len(BANDS), SIDE // 2, SIDE), np.uint16)
            yield "test", Sample(f"{number:05d}", pixels, (classes[number % 5],))

    write_store(folder / "store.zarr", dataset, samples())
    return Store(folder / "store.zarr")


def trainings(
    clip: Clip, student: torch.nn.Module, data: Source, batch: int, steps: int, compiled: bool, device: torch.device
) -> dict[str, Way]:
    weights = F.normalize(torch.randn(CLASSES, clip.embed_dim)).numpy()
    head = Head(weights, 100.0, tuple(map(str, range(CLASSES))), tuple((str(c),) for c in range(CLASSES)))
    common = COMMON | {"batch_size": batch, "epochs": max(1, steps * batch // SAMPLES), "precision": "bfloat16"}
    finetune = FinetuneRecipe(**common, augmentation=LIKE_THE_DEMO)
    align = AlignRecipe(**common, label_weight=0.05, crop_scale=(0.9, 1.0), flip=0.5)

    def finetuning(of: Clip, **changes) -> Way:
        recipe = replace(finetune, **changes)
        return lambda: whole(lambda: Finetuning(of, [head], [STORE], recipe, device), of.visual, recipe)

    def whole(stage, trained, recipe) -> float:
        trained.to(device).requires_grad_(True)
        return loop(stage(), data, recipe, device)[0] * recipe.epochs

    images = torch.randn(batch, 3, clip.image_size, clip.image_size, device=device)
    values = torch.randn(batch, len(BANDS), STUDENT.image_size, STUDENT.image_size, device=device)

    def taught() -> torch.Tensor:
        with torch.no_grad():
            target = clip.visual(images)
        embeddings = student(values)
        return embeddings + 0 * F.mse_loss(embeddings, target)

    def alignment() -> float:
        return whole(lambda: Alignment(clip, student, head, STORE, align, device), student, align)

    ways = {
        "fine-tuning, bare": lambda: bare(clip.visual, lambda: clip.visual(images), head, steps, device),
        "fine-tuning, bfloat16": finetuning(clip),
        "fine-tuning, float32 (TF32)": finetuning(clip, precision="float32"),
        "alignment, bare": lambda: bare(student, taught, head, steps, device),
        "alignment, bfloat16": alignment,
    }
    if compiled:
        # An encoder stays compiled, so this is another.
        ways["fine-tuning, compiled"] = finetuning(new_clip(clip.name), compile=True)
    return ways


def bare(model: torch.nn.Module, forward, head: Head, steps: int, device: torch.device) -> float:
    weights = torch.from_numpy(head.weights).to(device)
    model.train().requires_grad_(True).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    torch.use_deterministic_algorithms(False)
    batch = 0

    def run() -> None:
        nonlocal batch
        for _ in range(steps):
            with autocast(device, "bfloat16"):
                embeddings = forward().float()
            batch = len(embeddings)
            logits = 100 * F.normalize(embeddings) @ weights.T
            loss = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()

    seconds = timed(run)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return batch * steps / seconds


def encodings(clip: Clip, store: Store, batch: int, device: torch.device) -> dict[str, Way]:
    # Another network of the same kind: its weights are cast for good.
    visual = new_clip(clip.name).visual.to(device).eval().requires_grad_(False)
    cast_layers(visual, "bfloat16")
    images = torch.randn(batch, 3, clip.image_size, clip.image_size, device=device)

    def prepare(pixels: torch.Tensor) -> torch.Tensor:
        return clip.inputs(rgb_image(pixels, store.modality, store.bands, store.composite))

    def passes() -> None:
        with torch.inference_mode(), autocast(device, "bfloat16"):
            for _ in range(SAMPLES // batch):
                visual(images)

    def encoded(models: int) -> float:
        ready = [lambda: visual] * models
        seconds = timed(lambda: encode_split(store, "test", prepare, ready, batch, "bfloat16", device))
        return models * SAMPLES / seconds

    return {
        "encoding, bare": lambda: SAMPLES / timed(passes),
        "encoding, one model": lambda: encoded(1),
        "encoding, 11 models in one pass": lambda: encoded(11),
    }


if __name__ == "__main__":
    main()
