"""The demo's configuration, and copies of it with one value changed."""

import copy
from pathlib import Path
from typing import Any

import yaml

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
