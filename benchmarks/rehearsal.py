"""A dress rehearsal: every rule of a preset on archives in the publishers' layouts, at fractions of their size.

    python benchmarks/rehearsal.py eurosat --parts 500 250 125 [--small] [--folder PATH]

Presets: eurosat, ablations (on EuroSAT), paper. For each part (1/500 of each data set ...) it makes the archives,
copies the workflow, gives CLIP random weights of its true architecture, runs Snakemake on one core and collects, stage
by stage, the processor time, the memory and the disk that its jobs took. Then it fits a line through each stage's
processor time against the number of samples, and prints fits and residuals; the same as JSON with --json.

--small replaces CLIP and students by networks of 4 layers for images of 32 pixels, for machines without a GPU. Left out
on any machine: ImageNet (its prompts alone are 80,000 texts, its images cannot be made up), and weights that are
fetched (students start from random ones).
"""

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rehearsal_archives import DATASETS, state_checksums  # beside this file

from bandbridge.catalogue.datasets import merged
from bandbridge.models.clip import new_clip, save_clip

ROOT = Path(__file__).parents[1]
PRESETS = {"eurosat": ["eurosat"], "ablations": ["eurosat", "ablations"], "paper": ["paper"]}
FEWEST = 60  # samples of a data set, for five neighbours and two splits of a class
SMALL_STUDENT = {
    "backbone": "vit_tiny_patch16_224",
    "options": {"img_size": 32, "patch_size": 8, "depth": 4, "embed_dim": 128, "num_heads": 4},
    "image_size": 32,
}
# What is smaller so that few samples suffice; none of it leaves a rule out.
FEW_SAMPLES: dict[str, Any] = {
    "tasks": {"supported": None},
    "finetune": {"warmup_steps": 1, "batch_size": 32, "precision": "float32"},
    "align": {"warmup_steps": 1, "batch_size": 32, "precision": "float32"},
    "embed": {"batch_size": 32, "precision": "float32"},
    "evaluate": {
        "retrieval": {"ks": [1, 5], "label_map_k": 5},
        "text_retrieval": {"ks": [1, 5]},
        "knn": {"k": 5},
        "linear_probe": {"shots": [1], "repeats": 2, "C": [0.1, 1]},
    },
}


@dataclass
class Stage:
    """What the jobs of a stage took together: processor seconds, the largest job's memory, the files that they left."""

    jobs: int = 0
    seconds: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--parts", type=int, nargs="+", default=[200, 100, 50], help="200 for 1/200 of each data set")
    parser.add_argument("--small", action="store_true", help="small networks")
    parser.add_argument("--folder", type=Path, help="where to work; removed afterwards only if it is not named")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rehearsal-"))
    measured: dict[int, dict[str, Stage]] = {}
    try:
        for part in options.parts:
            samples, stages = rehearse(options.preset, part, options.small, folder / str(part))
            measured[samples] = stages
            print(table(samples, stages), flush=True)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(fits_table(measured))
    if options.json:
        content = {"preset": options.preset, "small": options.small, "fits": fits(measured)}
        content["measured"] = {n: {name: asdict(stage) for name, stage in of.items()} for n, of in measured.items()}
        options.json.write_text(json.dumps(content, indent=1))


def rehearse(preset: str, part: int, small: bool, folder: Path) -> tuple[int, dict[str, Stage]]:
    """Run a preset on 1/part of its data sets; returns their samples and what each stage took."""
    config = read(ROOT / "config.yaml")
    for name in PRESETS[preset]:
        config = merged(config, read(ROOT / "workflow" / "presets" / f"{name}.yaml"))
    clone(folder)
    datasets = [name for name in DATASETS if name in uses(config)]
    sizes = {name: max(FEWEST, DATASETS[name][1] // part) for name in datasets}
    for name, samples in sizes.items():
        archives = folder / "data" / "archives" / name
        archives.mkdir(parents=True, exist_ok=True)
        DATASETS[name][0](archives, samples)
        state_checksums(folder / "workflow" / "datasets" / f"{name}.yaml", archives)
    (folder / "rehearsal.yaml").write_text(yaml.safe_dump(reduced(config, small, datasets, folder)))
    presets = [f"workflow/presets/{name}.yaml" for name in PRESETS[preset]]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", *presets, "rehearsal.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow")}
    before = processor_seconds()
    with (folder / "snakemake.log").open("w") as log:
        called = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    if called.returncode:
        sys.exit(f"Snakemake failed:\n{(folder / 'snakemake.log').read_text()[-4000:]}")
    return sum(sizes.values()), collected(folder, config["run"], processor_seconds() - before)


def reduced(config: dict[str, Any], small: bool, datasets: list[str], folder: Path) -> dict[str, Any]:
    """The values that are laid over the presets."""
    names = config["clip"]["name"]
    clip = "demo-vit" if small else (names if isinstance(names, str) else names[0])
    weights = folder / "weights" / clip
    save_clip(new_clip(clip), weights)
    students = {name: spec for name, spec in config["align"]["students"].items() if spec}
    changed = {name: {"pretrained": None, **(SMALL_STUDENT if small else {})} for name in students}
    left_out = {name: None for name in config["evaluate"]["datasets"] if name not in datasets}
    prompts = {
        name: [p for p in sets if p != "imagenet-80"]
        for name, sets in config["evaluate"]["datasets"].items()
        if name in datasets and sets
    }
    changes = {
        "clip": {"name": clip, "pretrained": str(weights)},
        "datasets": {name: {"convert_jobs": 1} for name in datasets if name != "eurosat_ms"},
        "align": {"students": changed},
        "evaluate": {"datasets": {**left_out, **prompts}},
    }
    return merged(FEW_SAMPLES, changes)


def clone(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)


def uses(config: dict[str, Any]) -> set[str]:
    """The data sets of a run."""
    patching = config["tasks"]["patching"]
    return {patching["dataset"], *(name for name, prompts in config["evaluate"]["datasets"].items() if prompts)}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


# --- what it took ----------------------------------------------------------------------------------------------------


def collected(folder: Path, run: str, total: float) -> dict[str, Stage]:
    """Each stage's figures, from Snakemake's benchmark files and the folders of results."""
    stages: dict[str, Stage] = defaultdict(Stage)
    logs = folder / "logs" / run
    for file in sorted(logs.rglob("*.tsv")):
        stage = stages[file.relative_to(logs).parts[0]]
        with file.open(newline="") as rows:
            for row in csv.DictReader(rows, delimiter="\t"):
                stage.jobs += 1
                stage.seconds += number(row["cpu_time"])
                stage.memory_mb = max(stage.memory_mb, number(row["max_rss"]))
    results = folder / "results" / run
    places = {name: results / name for name in ("clip", "heads", "finetune", "paint", "align", "metrics", "report")}
    places |= {"embed": results / "embeddings", "download": folder / "data/archives", "convert": folder / "data/zarr"}
    for name, place in places.items():
        stages[name].disk_mb = disk_mb(place)
    stages["scores, tables, report, Snakemake"].seconds = total - sum(stage.seconds for stage in stages.values())
    return dict(stages)


def number(cell: str) -> float:
    """A benchmark's figure; 0 for a job that ended before it could be measured."""
    try:
        return float(cell)
    except ValueError:
        return 0.0


def disk_mb(folder: Path) -> float:
    """The space of its files, each inode once: shares of a store are links."""
    sizes = {(s.st_dev, s.st_ino): s.st_size for f in folder.rglob("*") if f.is_file() for s in [f.stat()]}
    return sum(sizes.values()) / 1e6


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- fits ------------------------------------------------------------------------------------------------------------


def fits(measured: dict[int, dict[str, Stage]]) -> dict[str, dict[str, float]]:
    """Stage -> seconds = fixed + per_sample * samples by least squares, and the largest residual in seconds."""
    samples = sorted(measured)
    found: dict[str, dict[str, float]] = {}
    for name in measured[samples[-1]]:
        seconds = [measured[n].get(name, Stage()).seconds for n in samples]
        if len(samples) > 1:
            slope, fixed = np.polyfit(samples, seconds, 1)
            residual = float(np.abs(np.polyval([slope, fixed], samples) - seconds).max())
            found[name] = {"fixed": float(fixed), "per_sample": float(slope), "residual": residual}
    return found


def table(samples: int, stages: dict[str, Stage]) -> str:
    lines = [
        f"\n{samples:,} samples\n",
        "| stage | jobs | processor, s | peak, MB | disk, MB |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {stage.jobs or ''} | {stage.seconds:.1f} | {stage.memory_mb:,.0f} | {stage.disk_mb:,.1f} |"
        for name, stage in stages.items()
    ]
    return "\n".join(lines)


def fits_table(measured: dict[int, dict[str, Stage]]) -> str:
    lines = ["\n| stage | fixed, s | ms per sample | largest residual, s |", "|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {fit['fixed']:.1f} | {1000 * fit['per_sample']:.2f} | {fit['residual']:.2f} |"
        for name, fit in fits(measured).items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
