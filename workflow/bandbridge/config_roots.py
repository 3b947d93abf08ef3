"""Checks of the folders that a run reads and writes: none may be another, or inside it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bandbridge.locations import WORKFLOW

ROOTS = ("data_root", "store_root", "results_root", "log_root")


def normal_roots(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its roots as Snakemake wants paths: without './' before them and '/' after them."""
    return {key: os.path.normpath(value) if key in ROOTS and value else value for key, value in config.items()}


def root_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each two folders of a run that would write over each other, and for a root that is a file."""
    for key in ROOTS:
        if config[key] and (file := _file_on_the_way(Path(config[key]))):
            yield f"{key} is '{config[key]}', but {file} is a file; name a folder."
    folders = _folders(config)
    names = list(folders)
    for number, first in enumerate(names):
        for second in names[:number]:
            a, b = folders[second], folders[first]
            if a == b:
                yield f"{second} and {first} are the same folder, {a}; give each its own."
            elif a in b.parents or b in a.parents:
                inner, outer = (first, second) if a in b.parents else (second, first)
                yield f"{inner} ({folders[inner]}) is inside {outer} ({folders[outer]}); give each its own folder."


def _folders(config: Mapping[str, Any]) -> dict[str, Path]:
    """What is written where, each by the keys that decide about it; links followed."""
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
    """The part of a path that is a file and would have to be a folder."""
    for part in (path, *path.parents):
        if part.exists():
            return None if part.is_dir() else part
    return None
