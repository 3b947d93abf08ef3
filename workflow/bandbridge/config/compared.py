"""The runs that `snakemake compare` puts side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.paths import Paths, RunPaths


def compared_runs(config: Mapping[str, Any]) -> list[str]:
    """The folders of the runs to compare: as they are given, or by their names below `results_root`."""
    named = (Path(run) for run in config["compare"])
    return [str(run if len(run.parts) > 1 else Path(config["results_root"]) / run) for run in named]


def compared_files(config: Mapping[str, Any]) -> list[str]:
    """The scores, the choices and the configurations that are compared."""
    runs = map(RunPaths, compared_runs(config))
    return [file for paths in runs for file in (paths.metrics, paths.results("paint"), paths.config)]


def comparison_page(config: Mapping[str, Any]) -> str:
    """The page of their comparison; its other files are beside it."""
    folder = "-".join(Path(run).name for run in config["compare"]) or "none"
    return f"{Paths(config).comparisons}/{folder}/index.html"
