"""The cost of verifying checksums of everything read, and of flushing everything written to disk.

    python benchmarks/verify.py                            1,000 samples of 12 x 120 x 120 cut from the demo's scene
    python benchmarks/verify.py --samples 200 --rounds 3

Each stage runs on files with checksums, and in the same round on the same files as versions without checksums left
them; then it takes no checksum of what it writes either. Compared is processor time of all threads, which other
processes on the machine change little, pair by pair. Flushing is waiting: its table has seconds on the clock.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from sweep import make_store  # beside this file

from bandbridge.base.files import write_json
from bandbridge.models.clip import WEIGHTS_FILE, new_clip, save_clip
from bandbridge.models.embed import embed_student, sweep
from bandbridge.models.students import StudentSpec, new_student, save_student
from bandbridge.models.weights import load_metadata, load_weights, save_weights
from bandbridge.store import embeddings as embeddings_module
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings, load_embeddings, save_embeddings
from bandbridge.store.shard_writer import CRC_BYTES, read_index, with_crc
from bandbridge.store.zarr_files import CHECKSUM

DATASET = "bigearthnet_v1"
BATCH = 256
STUDENT = {"img_size": 120, "patch_size": 20, "depth": 4, "embed_dim": 192, "num_heads": 3}
EMBEDDINGS, DIM = 20_000, 512
ABSENT = 2**64 - 1


@dataclass(frozen=True)
class Files:
    """What the stages read, with checksums or without."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / f"{DATASET}.zarr"

    @property
    def student(self) -> Path:
        return self.root / "student.safetensors"

    @property
    def clip(self) -> Path:
        return self.root / "clip"

    @property
    def weights(self) -> Path:
        return self.root / "large.safetensors"

    @property
    def embeddings(self) -> Path:
        return self.root / "embeddings.zarr"


def make_files(root: Path, samples: int) -> tuple[Files, Files]:
    """All files with checksums, and without."""
    checked, bare = Files(root / "checked"), Files(root / "bare")
    checked.root.mkdir()
    bare.root.mkdir()
    torch.manual_seed(0)
    bands = make_store(checked.root, DATASET, samples).bands
    spec = StudentSpec("vit_tiny_patch16_224", STUDENT, bands, "reflectance", STUDENT["img_size"])
    save_student(checked.student, new_student(spec, DIM), "demo", "float32")
    save_clip(new_clip("demo-vit"), checked.clip)
    save_weights(checked.weights, {f"blocks.{number}": torch.randn(4096, 1024) for number in range(20)}, {})
    save_embeddings(checked.embeddings, some_embeddings())
    for name in ("store", "embeddings"):
        bare_tree(getattr(checked, name), getattr(bare, name))
    shutil.copytree(checked.clip, bare.clip, ignore=shutil.ignore_patterns(".*"))
    for path in (checked.student, checked.weights, checked.clip / WEIGHTS_FILE):
        save_file(load_weights(path), bare.root / path.relative_to(checked.root), metadata=load_metadata(path))
    return checked, bare


def some_embeddings() -> Embeddings:
    values = np.random.default_rng(0).normal(size=(EMBEDDINGS, DIM)).astype(np.float32)
    ids = np.array([f"S2A_MSIL2A_20170613T101031_{number:06d}" for number in range(EMBEDDINGS)])
    return Embeddings(values, ids, {"encoder": "demo", "dataset": "demo", "split": "test"})


def bare_tree(source: Path, target: Path) -> None:
    """Copy a Zarr group without any checksum but that of a shard's index, which every version wrote."""
    shutil.copytree(source, target)
    for metadata in target.rglob("zarr.json"):
        content = json.loads(metadata.read_bytes())
        del content["attributes"][CHECKSUM]
        *_, last = codecs = content.get("codecs") or [{}]
        if last.get("name") == "sharding_indexed":
            del last["configuration"]["codecs"][-1]
            places = content["chunk_grid"]["configuration"]["chunk_shape"][0]
            for shard in metadata.parent.glob("c.*"):
                bare_shard(shard, places)
        elif last.get("name") == "crc32c":
            del codecs[-1]
            for chunk in filter(Path.is_file, (metadata.parent / "c").rglob("*")):
                chunk.write_bytes(chunk.read_bytes()[:-CRC_BYTES])
        metadata.write_text(json.dumps(content))


def bare_shard(path: Path, places: int) -> None:
    content, chunks, index, end = path.read_bytes(), [], [], 0
    for start, length in read_index(path, places).tolist():
        if start == ABSENT:
            index.append((ABSENT, ABSENT))
            continue
        chunks.append(content[start : start + length - CRC_BYTES])
        index.append((end, len(chunks[-1])))
        end += len(chunks[-1])
    path.write_bytes(b"".join(chunks) + with_crc(np.array(index, "<u8").tobytes()))


@contextmanager
def no_checksums() -> Iterator[None]:
    """What is written in this block has checksums that took no time, and are of no use."""
    with (
        mock.patch.object(embeddings_module, "crc32c", return_value=0),
        mock.patch("zarr.codecs.crc32c_.google_crc32c", SimpleNamespace(value=lambda content: 0)),
    ):
        yield


@contextmanager
def no_flushing() -> Iterator[None]:
    with mock.patch.object(os, "fsync"):
        yield


# --- measuring -----------------------------------------------------------------------------------------------------


def pairs(
    one: Callable[[], object], other: Callable[[], object], rounds: int, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Medians of both in seconds, and the median over the rounds of what `one` takes of `other`."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            start = clock()
            (one, other)[which]()
            if number:  # the first round fills caches
                seconds[which].append(clock() - start)
    ratios = [first / second for first, second in zip(*seconds, strict=True)]
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.median(ratios)


def read_epoch(files: Files) -> None:
    samples = Store(files.store).split("test")
    order = np.random.default_rng(0).permutation(len(samples))
    for at in range(0, len(order), BATCH):
        samples.read(order[at : at + BATCH])


def embed(files: Files, by_clip: bool) -> None:
    store = Store(files.store)
    if by_clip:
        made = sweep(files.clip, None, [0.0], store, ["test"], BATCH)
    else:
        made = embed_student(files.student, "demo", store, ["test"], BATCH)
    for embeddings in made:
        save_embeddings(files.root / "made.zarr", embeddings)


def compare_reading(checked: Files, bare: Files, samples: int, rounds: int) -> None:
    size = checked.weights.stat().st_size / 1e6
    stages: dict[str, Callable[[Files], object]] = {
        f"reading an epoch of {samples:,} samples": read_epoch,
        "embedding them with a student of four layers": lambda files: embed(files, by_clip=False),
        "embedding them with demo-vit": lambda files: embed(files, by_clip=True),
        f"reading {EMBEDDINGS:,} embeddings of {DIM}": lambda files: load_embeddings(files.embeddings),
        # Copied, as a model does: what nobody touches is not read.
        f"loading weights of {size:,.0f} MB": lambda files: [
            part.clone() for part in load_weights(files.weights).values()
        ],
    }
    print("| stage | with, s | without, s | ratio |\n|---|--:|--:|--:|")
    for name, stage in stages.items():

        def without(stage: Callable[[Files], object] = stage) -> None:
            with no_checksums():
                stage(bare)

        with no_flushing():
            first, second, ratio = pairs(lambda stage=stage: stage(checked), without, rounds, time.process_time)
        print(f"| {name} | {first:.3f} | {second:.3f} | {ratio:.3f} |", flush=True)


def compare_flushing(root: Path, samples: int, rounds: int) -> None:
    made = some_embeddings()
    weights = {f"blocks.{number}": torch.randn(4096, 1024) for number in range(20)}
    writers: dict[str, Callable[[], object]] = {
        "a JSON file": lambda: write_json(root / "a.json", {"alpha": 0.5}),
        f"{EMBEDDINGS:,} embeddings of {DIM}": lambda: save_embeddings(root / "e.zarr", made),
        "weights of 336 MB": lambda: save_weights(root / "w.safetensors", weights, {}),
        f"converting and joining {samples:,} samples": lambda: remake_store(root / "made", samples),
    }
    print("\n| writing | flushed, s | not flushed, s | difference, s |\n|---|--:|--:|--:|")
    for name, write in writers.items():

        def unflushed(write: Callable[[], object] = write) -> None:
            with no_flushing():
                write()

        first, second, _ = pairs(write, unflushed, rounds, time.perf_counter)
        print(f"| {name} | {first:.3f} | {second:.3f} | {first - second:.3f} |", flush=True)


def remake_store(root: Path, samples: int) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    make_store(root, DATASET, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="for the files; otherwise a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        checked, bare = make_files(Path(folder), arguments.samples)
        compare_reading(checked, bare, arguments.samples, arguments.rounds)
        compare_flushing(Path(folder), arguments.samples, min(3, arguments.rounds))


if __name__ == "__main__":
    main()
