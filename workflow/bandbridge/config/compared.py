"""The runs that `snakemake compare` puts side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.paths import Paths, RunPaths


def compared_runs(config: Mapping[str, Any]) -> list[str]:
    """The folders of the runs to compare: as configured, or below `results_root` where only a name is."""
    entries = (Path(run) for run in config["compare"])
    return [str(run if len(run.parts) > 1 else Path(config["results_root"]) / run) for run in entries]


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
