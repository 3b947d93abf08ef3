"""The sweep over alpha: one pass over the pixels for all of them, against a loop that reads again for each.

    python benchmarks/sweep.py                                       ViT-B-32, a twentieth of the samples
    python benchmarks/sweep.py --clip demo-vit --share 0.1 --rounds 2   the better of two rounds
    python benchmarks/sweep.py --share 0.2 --no-loops                without the ways that take longest

11 alphas of a model with random weights, over 2,000 samples scored in three nomenclatures, 500 of a second data set
and 500 of a supported task, or a share of these; samples of 12 x 120 x 120 cut from the demo's scene, and images. The
loop does what scripts written for one model and one nomenclature at a time do: for each alpha and nomenclature it reads
tar.gz files of pickled tensors, decodes, preprocesses with open_clip's transform, and encodes. 'Bare' are the forward
passes only, on batches already in memory, with weights cast to bfloat16 beforehand, as ours are. The loop has them as
scripts have them, cast by autocast at each call; and once more cast beforehand. Two threads; the parts take turns.
"""

import argparse
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from small_store import small_dataset, write_store

from bandbridge.catalogue.datasets import load_nomenclature
from bandbridge.ingest.readers import Sample
from bandbridge.models.clip import Clip, load_clip, new_clip, save_clip
from bandbridge.models.device import cast_layers
from bandbridge.models.embed import sweep
from bandbridge.models.paint import interpolate
from bandbridge.models.weights import load_weights, save_weights
from bandbridge.store.dataset import Store

THREADS, BATCH = 2, 100
ALPHAS = [alpha / 10 for alpha in range(11)]
SCENE = Path(__file__).parents[1] / "tests" / "data" / "scene_crop"
# Data set -> samples, and how many nomenclatures it is scored in.
TASKS = {"bigearthnet_v1": (2_000, 3), "eurosat_ms": (500, 1), "eurosat_rgb": (500, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="ViT-B-32", help="a CLIP of open_clip, or demo-vit")
    parser.add_argument("--share", type=float, default=0.05, help="of the samples")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-loops", action="store_true")
    arguments = parser.parse_args()
    name, share = arguments.clip, arguments.share
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.manual_seed(0)
        save_clip(new_clip(name), root / "clip")
        save_weights(root / "tuned.safetensors", new_clip(name).visual.state_dict(), {})
        clip = load_clip(root / "clip")
        stores = {dataset: make_store(root, dataset, round(count * share)) for dataset, (count, _) in TASKS.items()}
        tars = {dataset: make_tar(root, store) for dataset, store in stores.items()}
        as_it_is = load_clip(root / "clip")
        cast_layers(clip.visual, "bfloat16")
        ways = {"BandBridge: one pass": lambda: [ours(root, store) for store in stores.values()]}
        if not arguments.no_loops:
            ways["reading again for each alpha and nomenclature"] = lambda: loop(as_it_is, root, stores, tars)
            ways["the same, weights cast beforehand"] = lambda: loop(clip, root, stores, tars)
        ways["bare forward passes"] = lambda: bare(clip, stores)
        seconds = {way: min(timed(run) for _ in range(arguments.rounds)) for way, run in ways.items()}
    samples = sum(round(count * share) for count, _ in TASKS.values())
    print(f"\n{name}, {len(ALPHAS)} alphas, {samples} samples, {THREADS} threads, bfloat16\n")
    print("| way | seconds | BandBridge is |\n|---|--:|--:|")
    own = next(iter(seconds.values()))
    for way, total in seconds.items():
        print(f"| {way} | {total:.1f} | {total / own:.2f} times as fast |")


def timed(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def make_store(root: Path, name: str, count: int) -> Store:
    """Samples cut from the demo's scene at random places."""
    dataset = small_dataset(name, ("test",))
    classes = load_nomenclature(dataset.nomenclature).classes
    rng = np.random.default_rng(0)
    bands = scene()
    depth = 3 if dataset.primary.is_rgb else len(dataset.primary.bands)
    side = 120 if name.startswith("bigearthnet") else 64

    def samples() -> Iterator[tuple[str, Sample]]:
        for number in range(count):
            top, left = (int(rng.integers(size - side)) for size in bands.shape[1:])
            cut = np.resize(bands, (depth, *bands.shape[1:]))[:, top : top + side, left : left + side]
            pixels = np.ascontiguousarray(cut)
            if dataset.primary.is_rgb:
                pixels = (pixels.transpose(1, 2, 0) // 16).clip(0, 255).astype(np.uint8)
            yield "test", Sample(f"{number:05d}", pixels, (classes[number % len(classes)],))

    write_store(root / f"{name}.zarr", dataset, samples())
    return Store(root / f"{name}.zarr")


def scene() -> np.ndarray:
    """(band, y, x) uint16 of the crop of the demo's scene that the tests use, all bands on its finest grid."""
    paths = sorted(path for path in SCENE.rglob("*") if path.suffix in (".tif", ".jp2"))
    bands = []
    for path in paths:
        with rasterio.open(path) as file:
            bands.append(file.read(1))
    height, width = max(band.shape for band in bands)
    return np.stack([np.asarray(Image.fromarray(band).resize((width, height)), np.uint16) for band in bands])


def make_tar(root: Path, store: Store) -> Path:
    samples = store.split("test")
    path = root / f"{store.attrs['dataset']}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for number in range(len(samples)):
            content = BytesIO()
            torch.save(torch.from_numpy(samples.read([number])[0]), content)
            info = tarfile.TarInfo(f"{number:06d}.pth")
            info.size = len(content.getvalue())
            archive.addfile(info, BytesIO(content.getvalue()))
    return path


def ours(root: Path, store: Store) -> None:
    for _ in sweep(root / "clip", root / "tuned.safetensors", ALPHAS, store, ["test"], BATCH, "bfloat16"):
        pass


@torch.inference_mode()
def loop(clip: Clip, root: Path, stores: dict[str, Store], tars: dict[str, Path]) -> None:
    import open_clip

    preprocess = open_clip.image_transform(clip.image_size, is_train=False, mean=clip.mean, std=clip.std)
    ends = load_clip(root / "clip").visual.state_dict(), load_weights(root / "tuned.safetensors")
    for alpha in ALPHAS:
        clip.visual.load_state_dict(interpolate(*ends, alpha))
        for dataset, store in stores.items():
            for _ in range(TASKS[dataset][1]):
                for values in batches(tars[dataset], store, preprocess):
                    with torch.autocast("cpu", dtype=torch.bfloat16):
                        clip.visual(values)


def batches(path: Path, store: Store, preprocess) -> Iterator[torch.Tensor]:
    images = []
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            pixels = torch.load(BytesIO(archive.extractfile(member).read()), weights_only=True)
            images.append(preprocess(rgb_image(pixels, store)))
            if len(images) == BATCH:
                yield torch.stack(images)
                images = []
    if images:
        yield torch.stack(images)


def rgb_image(pixels: torch.Tensor, store: Store) -> Image.Image:
    if store.composite is None:
        return Image.fromarray(pixels.numpy())
    rows = [store.bands.index(band) for band in store.composite.bands]
    rgb = (pixels[rows].float() / store.composite.divisor * 255).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())


@torch.inference_mode()
def bare(clip: Clip, stores: dict[str, Store]) -> None:
    for store in stores.values():
        left = len(store.split("test"))
        while left:
            size = min(left, BATCH)
            values = torch.randn(size, 3, clip.image_size, clip.image_size)
            for _ in ALPHAS:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    clip.visual(values)
            left -= size


if __name__ == "__main__":
    main()
