"""The demo's configuration, and copies of it with one value changed."""

import copy
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from bandbridge.catalogue.datasets import merged

ROOT = Path(__file__).parents[2]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
MISSING = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(DEMO)
    *parents, key = path.split("/")
    target = config
    for parent in parents:
        target = target[parent]
    if value is MISSING:
        del target[key]
    else:
        target[key] = value
    return config


def config_with(*changes: dict[str, Any]) -> dict[str, Any]:
    """The demo's configuration with others laid over it, as by --configfile."""
    return reduce(merged, changes, copy.deepcopy(DEMO))
