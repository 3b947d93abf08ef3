"""What the scheduler costs: `slurm.py overhead` on a cluster, `slurm.py cost` anywhere.

overhead: many jobs of a moment each, submitted one by one, as an array, and as one group; on the test cluster:
python tests/slurm/cluster.py python benchmarks/slurm.py overhead --jobs 200
cost: what the trainings and encodings of the paper's run ask for, before anything is downloaded.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
from bandbridge.catalogue.datasets import merged  # noqa: E402
from bandbridge.config import resources  # noqa: E402
from bandbridge.config.resources import Ask, Stored  # noqa: E402

SNAKEFILE = """
rule all:
    input: expand("out/{{number}}", number=range({jobs}))
    localrule: True

rule small:
    output: "out/{{number}}"
    resources: mem_mb=500, runtime=5
    shell: "date > {{output}}"
"""
WAYS = {
    "one by one": [],
    "as an array": ["--slurm-array-jobs", "small"],
    "as one group": ["--groups", "small=small", "--group-components", "small=1000", "--resources", "slot=2"],
}
COMMON = ["--executor", "slurm", "--jobs", "500", "--nolock", "--nocolor", "--latency-wait", "5"]
COMMON += ["--default-resources", "slot=1", "--set-resource-scopes", "slot=local"]
COMMON += ["--slurm-init-seconds-before-status-checks", "5", "--max-jobs-per-timespan", "500/10s"]

# Samples and bytes of what the paper's run reads, as its stores will say.
SIZES = {
    "bigearthnet_v1": Stored({"train": 269_695, "val": 123_723, "test": 125_866}, 12 * 120 * 120 * 2, 43),
    "imagenet": Stored({"val": 10_000, "test": 40_000}, 224 * 224 * 3, 1000),
}


def overhead(jobs: int, ways: list[str]) -> None:
    first = None
    print(
        f"| {jobs} jobs | submissions | submitting, ms a job | until the end, s a job | ratio |\n|---|--:|--:|--:|--:|"
    )
    for way in ways:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs))
            start = time.monotonic()
            command = [sys.executable, "-m", "snakemake", *COMMON, *WAYS[way]]
            called = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            seconds = time.monotonic() - start
            if called.returncode:
                print(f"| {way} | failed after {seconds:.0f} s | | | |", flush=True)
                print(called.stderr[-2000:], file=sys.stderr)
                continue
        first = first or seconds
        submissions = _submissions(called.stderr)
        # One submission is one line of the log, and no time between two.
        submitting = f"{1000 * _submitting(called.stderr) / jobs:.0f}" if submissions > 1 else ""
        print(f"| {way} | {submissions} | {submitting} | {seconds / jobs:.2f} | {seconds / first:.2f} |", flush=True)


def _submissions(log: str) -> int:
    return len(re.findall(r"submitted with SLURM jobid|Submitted array job", log))


def _submitting(log: str) -> float:
    """Seconds from the first job that Snakemake announces to the last."""
    times = re.findall(r"^\[(\w{3} \w{3} +\d+ [\d:]+ \d{4})\]", log.partition("Finished jobid")[0], re.MULTILINE)
    moments = [datetime.strptime(stamp, "%a %b %d %H:%M:%S %Y") for stamp in times]
    return (moments[-1] - moments[0]).total_seconds() if moments else 0.0


def cost(configfile: Path) -> None:
    config = merged(yaml.safe_load((ROOT / "config.yaml").read_text()), yaml.safe_load(configfile.read_text()))
    print("| job | GPUs | memory, GB | hours at most | GPU hours at most |\n|---|--:|--:|--:|--:|")
    total = 0.0
    for name, gpus, ask in _asks(config):
        hours = ask.minutes / 60
        total += gpus * hours
        print(f"| {name} | {gpus} | {ask.mem_mb / 1000:.1f} | {hours:.1f} | {gpus * hours:.1f} |")
    print(f"| all | | | | {total:.1f} |")


def _asks(config: dict) -> Iterator[tuple[str, int, Ask]]:
    names = config["clip"]["name"]
    train, alphas = config["train"], len(config["paint"]["alphas"])
    gpus = train["gpus"] * train["nodes"]
    patched = [SIZES["bigearthnet_v1"]]
    students = {name: facts for name, facts in config["align"]["students"].items() if facts}
    for name in [names] if isinstance(names, str) else names:
        network = resources.clip_network(name)
        fine = resources.training(patched, network, config["finetune"], train["gpus"], train["nodes"])
        yield f"fine-tuning of {name}", gpus, fine
        for dataset, size in SIZES.items():
            ask = resources.encoding(size, network, alphas, config["embed"]["batch_size"], ["val", "test"])
            yield f"{name} at {alphas} alphas on {dataset}", 1, ask
        for student, facts in students.items():
            small = resources.student_network(facts)
            ask = resources.training(patched, small, config["align"], train["gpus"], train["nodes"], teacher=network)
            yield f"alignment of {student} to {name}", gpus, ask
            splits = ["train", "val", "test"]
            yield f"{student} on bigearthnet_v1", 1, resources.encoding(patched[0], small, 1, 256, splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("overhead")
    measured.add_argument("--jobs", type=int, default=200)
    measured.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    estimated = commands.add_parser("cost")
    estimated.add_argument("--configfile", type=Path, default=ROOT / "workflow" / "presets" / "paper.yaml")
    arguments = parser.parse_args()
    if arguments.command == "cost":
        cost(arguments.configfile)
    else:
        overhead(arguments.jobs, arguments.ways)


if __name__ == "__main__":
    main()
