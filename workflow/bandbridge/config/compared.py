"""The runs that `snakemake compare` puts side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.paths import Paths, RunPaths


def compared_runs(config: Mapping[str, Any]) -> list[str]:
    """The folders of the runs to compare: as configured, or below `results_root` where only a name is.

    A run with several seeds is one run for each, in the order of the seeds.
    """
    entries = (Path(run) for run in config["compare"])
    folders = [run if len(run.parts) > 1 else Path(config["results_root"]) / run for run in entries]
    return [str(run) for folder in folders for run in _by_seed(folder)]


def _by_seed(folder: Path) -> list[Path]:
    """The folders of a run's seeds; the folder itself where it is a run of one seed, or of none yet."""
    if Path(RunPaths(str(folder)).metrics).exists():
        return [folder]
    seeds = [each for each in folder.glob("seed-*") if each.name.removeprefix("seed-").isdecimal()]
    return sorted(seeds, key=lambda each: int(each.name.removeprefix("seed-"))) or [folder]


def compared_files(config: Mapping[str, Any]) -> list[str]:
    """The scores, the choices and the configurations that are compared."""
    runs = map(RunPaths, compared_runs(config))
    return [file for paths in runs for file in (paths.metrics, paths.results("paint"), paths.config)]


COMPARISON = {
    "page": "index.html",
    "tables": "comparison.md",
    "scores": "scores.csv",
    "configuration": "configuration.csv",
    "seeds": "seeds.csv",
    "seeds_markdown": "seeds.md",
    "seeds_latex": "seeds.tex",
}


def comparison_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The files of the comparison, in one folder: the page and the tables."""
    folder = "-".join(Path(run).name for run in config["compare"]) or "none"
    return {name: f"{Paths(config).comparisons}/{folder}/{file}" for name, file in COMPARISON.items()}


def seed_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The files of the comparison of a run's seeds: mean and deviation, and each seed beside the first."""
    return {name: Paths(config).shared.results(f"seeds/{file}") for name, file in COMPARISON.items()}
