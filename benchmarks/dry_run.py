"""How long Snakemake plans: the demo, the paper's preset, its four backbones, and these with ablations and seeds.

    python benchmarks/dry_run.py [--repeats 3] [--source PATH]

Processor time (user and system) of `snakemake --dry-run` in its own folder, the least of several calls, beside
that of a workflow of one rule, which is Snakemake's own time. The first call also asks torch about the
models, and keeps its answers. With --source, the time of another clone, for comparison on the same machine.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ONE_RULE = 'rule all:\n    output:\n        "made"\n    shell:\n        "touch {output}"\n'
PRESETS = {
    "demo": (),
    "paper": ("paper",),
    "paper, four backbones": ("paper", "paper-backbones"),
    "and ablations, three seeds": ("paper", "paper-backbones", "ablations"),
}
SEEDS = {"and ablations, three seeds": "[0, 1, 2]"}


def planned(
    folder: Path, source: Path | None, presets: tuple[str, ...] = (), seeds: str = "[]"
) -> tuple[float, float, int]:
    """Seconds of processor and of wall time that a dry run takes, and the number of its jobs."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
    if source is not None:
        command += ["--snakefile", str(source / "Snakefile")]
    if presets:
        command += ["--configfile", *(str(source / "workflow" / "presets" / f"{preset}.yaml") for preset in presets)]
    if seeds != "[]":
        command += ["--config", f"seeds={seeds}"]
    environment = os.environ | ({"PYTHONPATH": str(source / "workflow")} if source else {})
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    called = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if called.returncode:
        sys.exit(called.stdout + called.stderr)
    totals = [int(line.split()[1]) for line in called.stdout.splitlines() if line.startswith("total ")]
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return processor, wall, totals[0] if totals else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--source", type=Path, default=ROOT, help="the clone whose workflow is planned")
    options = parser.parse_args()
    source = options.source.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(ONE_RULE, encoding="utf-8")
        cases: dict[str, tuple[Path | None, tuple[str, ...]]] = {"a workflow of one rule": (None, ())}
        cases |= {title: (source, presets) for title, presets in PRESETS.items()}
        print(f"{'':<26} jobs  processor, s  wall, s")
        for title, (of, presets) in cases.items():
            if of is not None:
                (folder / "config.yaml").write_bytes((source / "config.yaml").read_bytes())
            calls = [planned(folder, of, presets, SEEDS.get(title, "[]")) for _ in range(options.repeats)]
            processor, wall, jobs = min(calls)
            print(f"{title:<26} {jobs:>4}  {processor:>12.2f}  {wall:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
