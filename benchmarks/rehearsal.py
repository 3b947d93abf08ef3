"""A dress rehearsal: every rule of a preset on archives in the publishers' layouts, at fractions of their size.

    python benchmarks/rehearsal.py eurosat --parts 500 250 125 [--small] [--without imagenet] [--folder PATH]

Presets: eurosat, ablations (on EuroSAT), paper, and what is laid over the paper's experiment: paper-backbones,
paper-sentinel-1, paper-sen12ms, paper-eurosat. For each part (1/500 of each data set ...) it makes the archives, copies
the workflow, gives CLIP random weights of its true architecture, runs Snakemake and collects, script by script and data
set by data set, the processor time and the memory that its jobs took, and the disk. Then it fits lines through them
against the data set's samples (those of the patching data set for jobs that name none), and prints fits and residuals;
--json keeps what was measured. `--until preprocess` ends with the stores.

--small replaces CLIP and students by networks of 4 layers for images of 32 pixels, for machines without a GPU; all
alphas stay. Left out on any machine: weights that are fetched (students start from random ones). No data set is
smaller than each of its classes needs in each split, so ImageNet has 3,000 images at parts above 16. The true CLIP
takes their embeddings at 21 alphas and their 80,000 texts an hour of two cores: --without imagenet leaves them out.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rehearsal_archives import DATASETS, state_checksums  # beside this file

from bandbridge.catalogue.datasets import merged
from bandbridge.config.networks import clips
from bandbridge.models.clip import new_clip, save_clip

ROOT = Path(__file__).parents[1]
PRESETS = {
    "eurosat": ["eurosat"],
    "ablations": ["eurosat", "ablations"],
    "paper": ["paper"],
    **{name: ["paper", name] for name in ("paper-backbones", "paper-sentinel-1", "paper-sen12ms", "paper-eurosat")},
}
SMALL_STUDENT = {
    "backbone": "vit_tiny_patch16_224",
    "options": {"img_size": 32, "patch_size": 8, "depth": 4, "embed_dim": 128, "num_heads": 4},
    "image_size": 32,
}
# What is smaller so that few samples suffice; none of it leaves a rule out.
FEW_SAMPLES: dict[str, Any] = {
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


WATCHED = "BANDBRIDGE_REHEARSAL_JOBS"
# Python reads this at the start of each process (as sitecustomize). A job of Snakemake's leaves a line with its script,
# its outputs, the processor time of itself and its children, and its largest memory.
WATCHER = f"""
import os, sys
import atexit, json, resource


def leave_a_line():
    job = getattr(sys.modules.get("__main__"), "snakemake", None)
    if job is None or not hasattr(job, "rule"):
        return
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in used)
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    script = os.path.basename(sys.argv[0]).split(".")[-2]
    line = dict(script=script, rule=job.rule, outputs=list(map(str, job.output)), seconds=seconds)
    line["memory_mb"] = int(status["VmHWM"].split()[0]) / 1000
    with open(os.environ["{WATCHED}"], "a") as file:
        file.write(json.dumps(line) + chr(10))


if "{WATCHED}" in os.environ:
    atexit.register(leave_a_line)
"""


# Where files lie that a run leaves, in its folder.
PLACES = {
    "archives": "data/archives/{dataset}",
    "store": "data/zarr/{dataset}.zarr",
    "embeddings": "results/{run}/embeddings/*/{dataset}.*",
    "heads": "results/{run}/heads/*",
    "CLIP": "results/{run}/clip",
    "fine-tuned": "results/{run}/finetune",
    "patched": "results/{run}/paint",
    "student": "results/{run}/align",
    "scores": "results/{run}/metrics",
    "report": "results/{run}/report",
}


@dataclass
class Figures:
    """What the jobs of a script took together on a data set: processor seconds, the largest memory; or files."""

    stage: str
    dataset: str
    samples: int
    jobs: int = 0
    seconds: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--parts", type=int, nargs="+", default=[200, 100, 50], help="200 for 1/200 of each data set")
    parser.add_argument("--small", action="store_true", help="small networks")
    parser.add_argument("--without", nargs="+", default=[], metavar="DATASET", help="data sets that are left out")
    parser.add_argument("--cores", type=int, default=1, help="of Snakemake")
    parser.add_argument("--until", nargs="+", default=[], metavar="RULE", help="only these rules, and what they need")
    parser.add_argument("--folder", type=Path, help="where to work; each part's folder stays only if it is named")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rehearsal-"))
    rows: list[Figures] = []
    try:
        for part in options.parts:
            extra = ["--cores", str(options.cores), *(["--until", *options.until] if options.until else [])]
            of_part = rehearse(options.preset, part, options.small, options.without, folder / str(part), extra)
            print(table(of_part), flush=True)
            rows += of_part
            if options.folder is None:
                shutil.rmtree(folder / str(part))
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(fits_table(rows))
    if options.json:
        content = {"preset": options.preset, "small": options.small, "measured": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=1))


def rehearse(preset: str, part: int, small: bool, without: list[str], folder: Path, extra: list[str]) -> list[Figures]:
    """Run a preset on 1/part of its data sets, with further options of Snakemake; returns what each stage took."""
    config = read(ROOT / "config.yaml")
    for name in PRESETS[preset]:
        config = merged(config, read(ROOT / "workflow" / "presets" / f"{name}.yaml"))
    clone(folder)
    datasets = [name for name in DATASETS if name in uses(config) and name not in without]
    sizes = {name: DATASETS[name].samples(part) for name in datasets}
    for name, samples in sizes.items():
        archives = folder / "data" / "archives" / name
        archives.mkdir(parents=True, exist_ok=True)
        DATASETS[name].make(archives, samples, config["datasets"].get(name, {}).get("modalities", ()))
        state_checksums(folder / "workflow" / "datasets" / f"{name}.yaml", archives)
    (folder / "rehearsal.yaml").write_text(yaml.safe_dump(reduced(config, small, datasets, folder)))
    presets = [f"workflow/presets/{name}.yaml" for name in PRESETS[preset]]
    command = [sys.executable, "-m", "snakemake", *extra, "--configfile", *presets, "rehearsal.yaml"]
    watcher = folder / "watcher"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(WATCHER)
    environment = os.environ | {"PYTHONPATH": f"{folder / 'workflow'}{os.pathsep}{watcher}"}
    environment[WATCHED] = str(folder / "jobs.jsonl")
    before = processor_seconds()
    with (folder / "snakemake.log").open("w") as log:
        called = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    if called.returncode:
        sys.exit(f"Snakemake failed:\n{(folder / 'snakemake.log').read_text()[-4000:]}")
    patching = config["tasks"]["patching"]["dataset"]
    return figures(folder, config["run"], sizes, patching, processor_seconds() - before)


def reduced(config: dict[str, Any], small: bool, datasets: list[str], folder: Path) -> dict[str, Any]:
    """The values that are laid over the presets."""
    names = list(clips(config))
    if small and len(names) == 1:
        names = ["demo-vit"]
    for name in names:
        save_clip(new_clip("demo-vit" if small else name), folder / "weights" / name)
    students = {name: spec for name, spec in config["align"]["students"].items() if spec}
    changed = {name: {"pretrained": None, **(SMALL_STUDENT if small else {})} for name in students}
    left_out = {name: None for name in config["evaluate"]["datasets"] if name not in datasets}
    changes = {
        "clip": {"name": names, "pretrained": [str(folder / "weights" / name) for name in names]},
        "datasets": {name: {"convert_jobs": 1} for name in datasets if name != "eurosat_ms"},
        "align": {"students": changed},
        "evaluate": {"datasets": left_out},
    }
    supported = config["tasks"]["supported"]
    if supported and supported["dataset"] not in datasets:
        changes["tasks"] = {"supported": None}
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


def figures(folder: Path, run: str, sizes: dict[str, int], patching: str, total: float) -> list[Figures]:
    """What the run in a folder took, by stage and data set; `total` are the processor seconds of all of it."""
    rows: dict[tuple[str, str], Figures] = {}
    for line in (folder / "jobs.jsonl").read_text().splitlines():
        job = json.loads(line)
        dataset = next((name for name in sizes if any(name in output for output in job["outputs"])), patching)
        row = rows.setdefault((job["script"], dataset), Figures(job["script"], dataset, sizes[dataset]))
        row.jobs += 1
        row.seconds += job["seconds"]
        row.memory_mb = max(row.memory_mb, job["memory_mb"])
    total -= sum(row.seconds for row in rows.values())
    rows["Snakemake", patching] = Figures("Snakemake", patching, sizes[patching], jobs=1, seconds=total)
    for place, pattern in PLACES.items():
        for dataset in sizes if "{dataset}" in pattern else [patching]:
            found = folder.glob(pattern.format(run=run, dataset=dataset))
            if used := disk_mb(found):
                row = Figures(f"disk: {place}", dataset, sizes[dataset], disk_mb=used)
                rows[row.stage, dataset] = row
    return sorted(rows.values(), key=lambda row: (row.stage, row.dataset))


def disk_mb(places: Iterator[Path]) -> float:
    """The space of the files in folders, each inode once: shares of a store are links."""
    files = (file.stat() for place in places for file in place.rglob("*") if file.is_file())
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values()) / 1e6


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- fits ------------------------------------------------------------------------------------------------------------


def fits(rows: list[Figures]) -> list[dict[str, Any]]:
    """A line of each stage, data set and quantity through runs of several sizes, by least squares.

    `fixed` and `per_sample` of seconds are of one job; `residual` is the largest, in the quantity's unit.
    """
    found = []
    for stage, dataset in sorted({(row.stage, row.dataset) for row in rows}):
        of_stage = sorted((r for r in rows if (r.stage, r.dataset) == (stage, dataset)), key=lambda row: row.samples)
        samples = [row.samples for row in of_stage]
        if len(set(samples)) < 2:
            continue
        for quantity in ("seconds", "memory_mb", "disk_mb"):
            values = [
                getattr(row, quantity) / (row.jobs if quantity == "seconds" and row.jobs else 1) for row in of_stage
            ]
            if any(values):
                slope, fixed = np.polyfit(samples, values, 1)
                residual = np.abs(np.polyval([slope, fixed], samples) - values).max()
                line = {"fixed": float(fixed), "per_sample": float(slope), "residual": float(residual)}
                found.append(
                    {"stage": stage, "dataset": dataset, "quantity": quantity, "jobs": of_stage[0].jobs} | line
                )
    return found


def table(rows: list[Figures]) -> str:
    lines = [
        "\n| stage | data set | samples | jobs | processor, s | peak, MB | disk, MB |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.stage} | {row.dataset} | {row.samples:,} | {row.jobs or ''} | {row.seconds:.1f} "
        f"| {row.memory_mb:,.0f} | {row.disk_mb:,.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def fits_table(rows: list[Figures]) -> str:
    lines = ["\n| stage | data set | jobs | of a job | fixed | per 1,000 samples | largest residual |"]
    lines += ["|---|---|--:|---|--:|--:|--:|"]
    lines += [
        f"| {fit['stage']} | {fit['dataset']} | {fit['jobs'] or ''} | {fit['quantity']} | {fit['fixed']:.2f} "
        f"| {1000 * fit['per_sample']:.2f} | {fit['residual']:.2f} |"
        for fit in fits(rows)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
