"""Checks of the folders that a run reads and writes: no two may be the same, or one inside the other."""

import os
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from bandbridge.base.locations import WORKFLOW

ROOTS = ("data_root", "store_root", "results_root", "log_root")


def normal_roots(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its roots as Snakemake expects paths: without a leading './' or a trailing '/'."""
    return {key: os.path.normpath(value) if key in ROOTS and value else value for key, value in config.items()}


def root_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each pair of folders that would overwrite each other, and for each root that is a file."""
    for key in ROOTS:
        if config[key] and (file := _file_on_the_way(Path(config[key]))):
            yield f"{key} is '{config[key]}', but {file} is a file; name a folder."
    roots = {key: Path(os.path.realpath(config[key])) for key in ROOTS if config[key]}
    for key, other in combinations(roots, 2):
        if roots[key] == roots[other]:
            yield f"{key} and {other} are the same folder, {roots[key]}; give each its own."
    folders = _folders(config)
    for key, other in combinations(folders, 2):
        if folders[key] == folders[other]:
            yield f"{key} and {other} are the same folder, {folders[key]}; give each its own."
        elif folders[key] in folders[other].parents or folders[other] in folders[key].parents:
            inner, outer = (other, key) if folders[key] in folders[other].parents else (key, other)
            yield f"{inner} ({folders[inner]}) is inside {outer} ({folders[outer]}); give each its own folder."


def _folders(config: Mapping[str, Any]) -> dict[str, Path]:
    """The folders that a run writes, by the keys that decide them; links are followed."""
    data, run = Path(config["data_root"]), config["run"]
    stores = "store_root" if config["store_root"] else "data_root/zarr"
    folders = {
        "data_root/archives": data / "archives",
        stores: Path(config["store_root"]) if config["store_root"] else data / "zarr",
        f"results_root/{run} (results)": Path(config["results_root"]) / run,
        f"log_root/{run} (logs)": Path(config["log_root"]) / run,
        "results_root/comparisons": Path(config["results_root"]) / "comparisons",
        "Snakemake's own folder": Path(".snakemake"),
        "the workflow's code": WORKFLOW,
    }
    return {name: Path(os.path.realpath(path)) for name, path in folders.items()}


def _file_on_the_way(path: Path) -> Path | None:
    """The part of a path that is a file and has to be a folder."""
    for part in (path, *path.parents):
        if part.exists():
            return None if part.is_dir() else part
    return None
