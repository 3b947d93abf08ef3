"""Kill whole runs of the small configuration with SIGKILL, once in every stage, and compare the results.

    python tests/support/kills.py [--runs 10] [--pairs 1] [--seed 0] [--folder FOLDER] [--warm]

Each run begins in its own clone. Snakemake is killed at a random moment of a job of each stage in turn, together
with its jobs or (every other time) alone, so that its jobs survive while the next Snakemake starts; then the same
command is repeated. Pairs are two clones that begin at once with one `data_root`, undisturbed otherwise. In the end
metrics.csv and all weights are compared with those of an undisturbed run.
With --warm, jobs do not spend most of their time on imports: they are forks of a process that has imported PyTorch and
the like, and are killed as soon as the process that Snakemake started is.
Prints a table with a row per stage; the exit status is 1 where a file differs. A run takes minutes on two cores.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clones import FEW_STEPS, Clone, make_clone
from warm_jobs import warm_jobs

LOGS = Path("logs", "small")
RESULTS = Path("results", "small")
# Jobs with several threads each would wait for each other on a busy machine.
HOW = ["--cores", "2", "--max-threads", "1"]


@dataclass(frozen=True)
class Stage:
    """Jobs that are killed: their logs, their rules (a pattern), what they write, the longest wait in seconds."""

    logs: str
    rules: str
    outputs: str
    wait: float


STAGES = {
    "download": Stage("download/*.log", "download", "data/zarr/*.files.json", 1.0),
    "plan": Stage("plan/*.log", "plan", "data/zarr/parts/*/plan.csv", 1.5),
    "convert": Stage("convert/*.log", "convert", "data/zarr/parts/*/*/records.npz", 3.0),
    "preprocess": Stage("preprocess/*.log", "preprocess", "data/zarr/*.zarr/zarr.json", 2.0),
    "train CLIP": Stage("clip/*.log", "scratch_clip", "results/small/clip/*/open_clip_model.safetensors", 8.0),
    "heads": Stage("heads/**/*.log", "zero_shot_head", "results/small/heads/**/*.npz", 4.0),
    "fine-tune": Stage("finetune/*.log", "finetune", "results/small/finetune/*/model.safetensors", 8.0),
    "encode": Stage("embed/*.log", r"embed_\w+", "results/small/embeddings/*/*.zarr/zarr.json", 5.0),
    "select alpha": Stage("paint/*.select.log", "select_alpha", "results/small/paint/*/selected.json", 2.0),
    "patch": Stage("paint/*.patched.log", "patched_clip", "results/small/paint/*/patched/open_clip_config.json", 4.0),
    "align": Stage("align/*.log", "align", "results/small/align/*/model.safetensors", 8.0),
    "score": Stage("metrics/**/*.log", r"score_\w+", "results/small/metrics/**/*.csv", 3.0),
    "collect": Stage("metrics.log", "collect_metrics", "results/small/metrics.csv", 1.5),
    "views": Stage("tables.log", "tables", "results/small/tables", 2.0),
    "report": Stage("report.log", "report", "results/small/report/index.html", 6.0),
}
MOST_TRIES = 5
WARM = 0.3  # of a job's time, without its imports


def start(clone: Clone, output: Path, targets: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "snakemake", *HOW, "--", "all", *targets]
    environment = warm_jobs.added_to(clone.environment) if clone.warm else clone.environment
    with output.open("wb") as stream:
        return subprocess.Popen(
            command, cwd=clone.root, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )


def is_running(clone: Clone, stage: str, since: float, output: Path) -> bool:
    """Whether a job of a stage has begun since, and not all of those that have are finished."""
    logs = (clone.root / LOGS).glob(STAGES[stage].logs)
    begun = sum(path.stat().st_mtime >= since for path in logs if path.exists())
    finished = rf"Finished jobid: \d+ \(Rule: (?:{STAGES[stage].rules})\)"
    return begun > len(re.findall(finished, output.read_text(errors="replace")))


def kill_in_every_stage(clone: Clone, rng: random.Random) -> Counter[tuple[str, str]]:
    """Run a clone to its end; (stage, who was killed) -> how often it was, with a job of that stage running."""
    kills: Counter[tuple[str, str]] = Counter()
    output = clone.root / "run.log"
    left, targets = list(STAGES), []
    while True:
        since, process = time.time(), start(clone, output, targets)
        targets = []
        aim = None
        while process.poll() is None and aim is None:
            time.sleep(0.05)
            aim = next((stage for stage in left if is_running(clone, stage, since, output)), None)
        if aim is None:
            if process.returncode:
                raise SystemExit(f"{clone.root}: the run failed\n{output.read_text(errors='replace')[-4000:]}")
            if not left:
                return kills
            # It ran while another stage was waited for: once more.
            kills[left[0], "tried"] += 1
            if kills[left[0], "tried"] > 2 * MOST_TRIES:
                raise SystemExit(f"{clone.root}: no job of the stage '{left[0]}' was seen")
            # Asked for by name, as Snakemake does not miss what nothing else has to be made of.
            for path in [*clone.root.glob(STAGES[left[0]].outputs)]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                targets.append(str(path.relative_to(clone.root)))
            continue
        time.sleep(rng.uniform(0, STAGES[aim].wait * (WARM if clone.warm else 1)))
        # Jobs that are shorter than the wait are tried again, up to a few times.
        hit = process.poll() is None and is_running(clone, aim, since, output)
        alone = rng.random() < 0.5
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL) if alone else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills[aim, "alone" if alone else "all"] += hit
        kills[aim, "tried"] += 1
        if hit or kills[aim, "tried"] >= MOST_TRIES:
            left.remove(aim)


def begin_at_once(folder: Path, warm: bool) -> list[Clone]:
    """Two clones after they have begun at once with one data_root and ended, of whom one has waited for the other."""
    clones = [make_clone(folder / name, warm) for name in ("first", "second")]
    for clone in clones:
        clone.configure({**FEW_STEPS, "data_root": str(clones[0].root / "data")})
    outputs = [clone.root / "run.log" for clone in clones]
    processes = [start(clone, output) for clone, output in zip(clones, outputs, strict=True)]
    codes = [process.wait() for process in processes]
    texts = [output.read_text(errors="replace") for output in outputs]
    converted = [len(re.findall(r"\(Rule: preprocess\)", text)) for text in texts]
    if codes != [0, 0] or sorted(converted) != [0, 2]:
        raise SystemExit(f"{folder}: exit statuses {codes}, stores made {converted}\n" + "\n".join(texts)[-8000:])
    return clones


def digests(clone: Clone) -> dict[str, str]:
    """metrics.csv and every file of weights -> sha256."""
    results = clone.root / RESULTS
    paths = [results / "metrics.csv", *sorted(results.rglob("*.safetensors"))]
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="where the clones are made and kept; an undisturbed run in it is used again"
    )
    parser.add_argument("--warm", action="store_true", help="jobs are forks of a process that has imported PyTorch")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    undisturbed = Clone(folder / "undisturbed")
    if not (undisturbed.root / RESULTS / "report/index.html").exists():
        undisturbed = make_clone(undisturbed.root, options.warm)
        undisturbed.configure(FEW_STEPS)
        completed = undisturbed.snakemake(*HOW)
        if completed.returncode:
            raise SystemExit(completed.stdout + completed.stderr)
    expected = digests(undisturbed)
    kills: Counter[tuple[str, str]] = Counter()
    different: list[str] = []
    for number in range(options.runs):
        clone = make_clone(folder / f"killed-{number}", options.warm)
        clone.configure(FEW_STEPS)
        began = time.monotonic()
        hits = kill_in_every_stage(clone, random.Random(options.seed * 1000 + number))
        kills += hits
        results = digests(clone)
        differing = [f"run {number}: {name}" for name in expected | results if expected.get(name) != results.get(name)]
        different += differing
        count = sum(hits[stage, who] for stage in STAGES for who in ("all", "alone"))
        print(f"run {number}: {count} kills, {len(differing)} of {len(expected)} files differ", end="", flush=True)
        print(f", {time.monotonic() - began:.0f} s", flush=True)
        if not differing:
            shutil.rmtree(clone.root)
    for number in range(options.pairs):
        for clone in begin_at_once(folder / f"pair-{number}", options.warm):
            results = digests(clone)
            differing = [
                f"{clone.root}: {name}" for name in expected | results if expected.get(name) != results.get(name)
            ]
            different += differing
            print(f"pair {number}, {clone.root.name}: {len(differing)} of {len(expected)} files differ", flush=True)
    print("\n| stage | killed with its jobs | Snakemake alone |\n|---|---|---|")
    for stage in STAGES:
        print(f"| {stage} | {kills[stage, 'all']} | {kills[stage, 'alone']} |")
    print(
        f"\n{options.runs} runs, {len(expected)} files each; different from the undisturbed run: {different or 'none'}"
    )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
