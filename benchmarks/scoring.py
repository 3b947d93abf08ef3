"""What the jobs that score cost against the number of samples: processor time, with lines through it.

    python benchmarks/scoring.py --samples 2000 8000 24000

Embeddings of 512 values and 19 classes, several a sample, are drawn at random; as many validation as test samples and
twice as many for training, as in BigEarthNet v1. The workflow's own scripts score them, each in a process of its own,
with the settings of config.yaml. The line of a script is against test samples; of the linear probe against training
samples, of retrieval against pairs of test samples, of neighbours against pairs of a training and a test sample.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from synthetic_run import write_plain_store  # noqa: E402

from bandbridge.store.dataset import Store  # noqa: E402
from bandbridge.store.embeddings import Embeddings, save_embeddings  # noqa: E402
from bandbridge.store.heads import Head, save_head  # noqa: E402

WIDTH, CLASSES = 512, 19
NOMENCLATURE = "classes"
MODALITIES = {"first": "rgb", "second": "s2"}  # of two encoders
# What a script's time is proportional to, from the number of test samples.
WORK = {"score_retrieval": lambda n: n**2, "score_knn": lambda n: 2 * n**2, "score_probe": lambda n: 2 * n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[2_000, 8_000, 24_000], help="test samples")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    measured: dict[str, dict[int, float]] = {}
    print("| test samples | script | processor, s |\n|--:|---|--:|")
    for samples in options.samples:
        with tempfile.TemporaryDirectory() as folder:
            for script, arguments in jobs(Path(folder), samples):
                measured.setdefault(script, {})[samples] = seconds = run(script, arguments)
                print(f"| {samples:,} | {script} | {seconds:.1f} |", flush=True)
    lines = {script: line(script, values) for script, values in measured.items()}
    print("\n| script | fixed, s | per sample or pair, us | largest residual, s |\n|---|--:|--:|--:|")
    for script, fit in lines.items():
        print(f"| {script} | {fit['fixed']:.1f} | {1e6 * fit['slope']:.4g} | {fit['residual']:.2f} |")
    if options.json:
        options.json.write_text(json.dumps({"measured": measured, "lines": lines}, indent=1))


def jobs(folder: Path, samples: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(script, its arguments) of each job that scores, on data written to `folder`."""
    settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["evaluate"]
    store, head, vectors = write_data(folder, samples)
    encoders = {
        name: {
            split: write_embeddings(folder / name, store, split, vectors, name) for split in ("train", "val", "test")
        }
        for name in ("first", "second")
    }
    first, second = encoders["first"], encoders["second"]
    marker = store.path / "zarr.json"
    common = {"store": marker, "run": "benchmark", "seed": 0, "bootstrap": settings["bootstrap"]}
    scored = {**common, "nomenclatures": [NOMENCLATURE]}
    table = [folder / "metrics.csv"]
    probe = {key: value for key, value in settings["linear_probe"].items() if key != "datasets"}
    plain_probe = {key: value for key, value in probe.items() if key not in ("shots", "repeats")}
    heads = {"heads": [head], "prompts": ["satellite"]}
    tested = {"embeddings": [first["val"], first["test"]], "draws": [folder / "draws.npz"]}
    yield "score_zero_shot", {**scored, **heads, **tested, "metrics": table}
    ks = settings["text_retrieval"]["ks"]
    yield "score_text_retrieval", {**scored, **heads, "embeddings": first["test"], "ks": ks, "metrics": table}
    shared = {"run": "benchmark", "seed": 0, "metrics": table[0]}
    yield "score_gap", {**shared, "rgb": first["test"], "multispectral": second["test"]}
    recall = {"ks": settings["retrieval"]["ks"], "label_map_k": settings["retrieval"]["label_map_k"]}
    sides = {"rgb": first["test"], "multispectral": second["test"], "nomenclature": NOMENCLATURE}
    yield "score_retrieval", {**common, **recall, **sides, "metrics": table[0]}
    yield "score_probe", {**scored, **first, "recipe": plain_probe, "metrics": table}
    yield "score_few_shot", {**scored, **first, "recipe": probe, "metrics": table}
    learnt = {"train": first["train"], "test": first["test"]}
    yield "score_knn", {**scored, **learnt, "recipe": settings["knn"], "metrics": table}


def write_data(folder: Path, samples: int) -> tuple[Store, Path, np.ndarray]:
    """A store of labels (its pixels are one per sample), a head, and the classes' vectors."""
    random = np.random.default_rng(0)
    names = tuple(f"class {number}" for number in range(CLASSES))
    counts = {"train": 2 * samples, "val": samples, "test": samples}
    labels = {
        split: {NOMENCLATURE: (random.random((n, CLASSES)) < 0.15).astype(np.uint8)} for split, n in counts.items()
    }
    pixels = {split: {"rgb": np.zeros((n, 3, 1, 1), np.uint8)} for split, n in counts.items()}
    write_plain_store(
        folder / "data.zarr", {"rgb": {"bands": ["red", "green", "blue"]}}, {NOMENCLATURE: list(names)}, pixels, labels
    )
    vectors = random.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    save_head(folder / "head.npz", Head(vectors, 100.0, names, tuple((name,) for name in names)))
    return Store(folder / "data.zarr", NOMENCLATURE), folder / "head.npz", vectors


def write_embeddings(folder: Path, store: Store, split: str, vectors: np.ndarray, encoder: str) -> Path:
    """Embeddings that know something of their classes; their marker."""
    samples = store.split(split)
    noise = np.random.default_rng([len(encoder), len(split)]).normal(size=(len(samples), WIDTH))
    attrs = {"encoder": encoder, "clip": "", "alpha": None, "dataset": "data", "split": split}
    attrs |= {"modality": MODALITIES[encoder], "store_digest": store.digest}
    values = (samples.labels @ vectors + 8 * noise).astype(np.float32)
    path = folder / f"data.{split}.zarr"
    save_embeddings(path, Embeddings(values, samples.ids, attrs))
    return path / "zarr.json"


def run(script: str, arguments: dict[str, Any]) -> float:
    """Processor seconds of a script."""
    words = [sys.executable, str(ROOT / "workflow" / "scripts" / f"{script}.py")]
    for name, value in arguments.items():
        paths = isinstance(value, list) and isinstance(value[0], Path)
        values = value if paths else [value if isinstance(value, str | Path | int) else json.dumps(value)]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    process = subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{script} failed")
    return usage.ru_utime + usage.ru_stime


def line(script: str, values: dict[int, float]) -> dict[str, float]:
    """Seconds = fixed + slope * work by least squares, and the largest residual in seconds."""
    work = [WORK.get(script, lambda n: n)(samples) for samples in values]
    seconds = list(values.values())
    slope, fixed = np.polyfit(work, seconds, 1)
    residual = np.abs(np.polyval([slope, fixed], work) - seconds).max()
    return {"fixed": float(fixed), "slope": float(slope), "residual": float(residual)}


if __name__ == "__main__":
    main()
