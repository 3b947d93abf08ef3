"""Cost and provenance of a run, for the report."""

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bandbridge import __version__
from bandbridge.base.locations import WORKFLOW
from bandbridge.base.packages import installed_versions
from bandbridge.base.progress import duration
from bandbridge.reporting.figures import run as plots
from bandbridge.reporting.figures.drawing import NOTHING, Album, Plot

# References of every run, besides those of its data sets.
METHOD = ("zavras2025mind", "ilharco2022patching", "radford2021learning")

PACKAGES = (
    "snakemake",
    "torch",
    "open_clip_torch",
    "timm",
    "numpy",
    "pandas",
    "scikit-learn",
    "zarr",
    "rasterio",
    "altair",
    "vl-convert-python",
)


@dataclass(frozen=True)
class Cost:
    """A stage's jobs: their number, total seconds, the longest one's seconds, and the peak memory in megabytes."""

    stage: str
    jobs: int
    seconds: float
    longest: float
    memory: float | None

    @property
    def time(self) -> str:
        return duration(self.seconds, measured=True)

    @property
    def longest_time(self) -> str:
        return duration(self.longest, measured=True)

    @property
    def peak(self) -> str:
        if self.memory is None:
            return "–"
        return f"{self.memory:,.0f} MB" if self.memory < 1000 else f"{self.memory / 1000:.1f} GB"


def costs(benchmarks: Sequence[Path]) -> list[Cost]:
    """Time and peak memory of each stage, the longest first, from Snakemake's benchmark files.

    Args:
        benchmarks: folders of a run's logs, with a folder per stage; missing ones are left out.
    """
    jobs = [(stage, *_measured(file)) for folder in benchmarks for stage, file in _by_stage(folder)]
    if not jobs:
        return []
    by_stage = pd.DataFrame(jobs, columns=["stage", "seconds", "memory"]).groupby("stage", sort=False)
    stages = by_stage.agg(
        jobs=("seconds", "size"), seconds=("seconds", "sum"), longest=("seconds", "max"), memory=("memory", "max")
    )
    stages = stages.sort_values("seconds", ascending=False, kind="stable").astype({"memory": object})
    return [Cost(*stage) for stage in stages.where(stages.notna(), None).itertuples()]


def cost_plot(stages: Sequence[Cost], album: Album) -> Plot | None:
    """Time and memory of each stage as a figure; None for fewer than two stages."""
    if len(stages) < 2:
        return None
    frame = pd.DataFrame(map(asdict, stages)).astype({"memory": float})
    frame = frame.rename(columns={"longest": "longest_seconds", "memory": "peak_megabytes"})
    by_stage = frame.set_index("stage")
    chart = plots.stage_costs(by_stage["seconds"], by_stage["peak_megabytes"])
    caption = "Total time of each stage's jobs, and the peak memory of one of them; both axes are logarithmic."
    longest = stages[0]
    alt = f"{caption} The longest: {longest.stage}, {longest.time}. The numbers are in the table below."
    return album.plot(chart, "cost", caption, alt, frame, NOTHING)


def total_cost(stages: Sequence[Cost]) -> Cost:
    """All stages as one."""
    memory = [stage.memory for stage in stages if stage.memory is not None]
    return Cost(
        "All",
        sum(stage.jobs for stage in stages),
        sum(stage.seconds for stage in stages),
        max((stage.longest for stage in stages), default=0.0),
        max(memory, default=None),
    )


def _by_stage(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each benchmark in a folder of logs, with its stage: the folder that it is in, or itself."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() and not entry.name.startswith("seed-"):  # of each seed, where a run has several
            yield from ((entry.name, file) for file in sorted(entry.rglob("*.tsv")))
        elif entry.suffix == ".tsv":
            yield entry.stem, entry


def _measured(path: Path) -> tuple[float, float]:
    """Seconds and megabytes of a benchmark."""
    # Memory is '-' or NA for a job that ended before it could be measured.
    measured = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
    return float(measured["s"].sum()), float(measured["max_rss"].max())


def provenance(config: Mapping[str, Any], checksums: Mapping[str, str]) -> dict[str, Any]:
    """Where a report comes from: facts of the run, versions of packages, checksums of inputs, the configuration."""
    facts = {
        "Run": str(config["run"]),
        "Seed": str(config["seed"]),
        "Written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "BandBridge": " ".join(filter(None, [__version__, git_commit()])),
        "Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
    }
    # Snakemake's configuration has types of its own; JSON turns them into plain ones.
    plain = json.loads(json.dumps(config))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return {"facts": facts, "versions": installed_versions(*PACKAGES), "checksums": checksums, "config": text}


def git_commit() -> str:
    """'(commit 1234567890ab)', and whether files differ from it; empty if the code is not in a git clone."""
    root = WORKFLOW.parent
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"(commit {commit}{', with local changes' if _git(root, 'status', '--porcelain') else ''})"
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


# --- references ------------------------------------------------------------------------------------------------------


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX entries of the method and of these keys, each once; keys missing from references.bib are left out."""
    entries = references()
    return "\n\n".join(entries[key] for key in dict.fromkeys([*METHOD, *keys]) if key in entries)


def references() -> dict[str, str]:
    """Key -> entry of workflow/report/references.bib."""
    text = (WORKFLOW / "report" / "references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text) if entry.strip()]
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}
