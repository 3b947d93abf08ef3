"""The models of a run, as its configuration names them: CLIPs, students, encoders of others."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.locations import WORKFLOW
from bandbridge.base.paths import Paths
from bandbridge.catalogue.datasets import read_yaml

WEIGHTS_SUFFIXES = {".bin", ".npz", ".pt", ".pth", ".safetensors"}


def uses_scratch(config: Mapping[str, Any]) -> bool:
    """Whether the CLIP to start from is trained here rather than loaded."""
    return any(source == "scratch" for _, source in clips(config).values())


def locked_tower(config: Mapping[str, Any]) -> str | None:
    """The text tower that the CLIP is trained against; None where its text encoder is trained too, or none is."""
    return config["clip"].get("scratch", {}).get("text") if uses_scratch(config) else None


def other_encoders(config: Mapping[str, Any]) -> dict[str, str | None]:
    """The encoders that are not made here: name -> a local checkpoint in place of the published weights, or None."""
    named = [{"name": entry} if isinstance(entry, str) else entry for entry in config["evaluate"]["encoders"]]
    return {entry["name"]: entry.get("checkpoint") for entry in named}


def unpinned_encoders(config: Mapping[str, Any]) -> set[str]:
    """The encoders to whose weights the user has agreed, although nobody states a checksum of them."""
    entries = [entry for entry in config["evaluate"]["encoders"] if not isinstance(entry, str)]
    return {entry["name"] for entry in entries if entry.get("unpinned")}


def configured_precisions(config: Mapping[str, Any]) -> set[str]:
    """The precisions that a run's stages are configured with."""
    scratch = [config["clip"]["scratch"]["precision"]] if uses_scratch(config) else []
    aligned = [align_recipe(config, student)["precision"] for student in config["align"]["students"]]
    return {config["finetune"]["precision"], config["embed"]["precision"], *scratch, *aligned}


def clip_id(name: str) -> str:
    """A CLIP's name in paths and tables: its architecture's name, safe in a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")


def clips(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The CLIPs of a run: id -> name of the architecture, and where its weights come from."""
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    names = [names] if isinstance(names, str) else list(names)
    sources = [pretrained] * len(names) if isinstance(pretrained, str) else list(pretrained)
    return {clip_id(name): (name, source) for name, source in zip(names, sources, strict=False)}


def students(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Every student that is aligned: its name among the encoders -> its name in the configuration, its teacher's id."""
    teachers = list(clips(config))
    return {
        name if len(teachers) == 1 else f"{name}-{clip}": (name, clip)
        for clip in teachers
        for name in config["align"]["students"]
    }


def align_recipe(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """How a student is aligned: the values of `align`, with the student's own `recipe` laid over them."""
    common = {key: value for key, value in config["align"].items() if key not in ("students", "task")}
    return {**common, **config["align"]["students"][student].get("recipe", {})}


def student_facts(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """What a student is, as the configuration states it; without how it is aligned.

    Weights that are named after a file of workflow/encoders are the path that they are fetched to.
    """
    stated = {key: value for key, value in config["align"]["students"][student].items() if key != "recipe"}
    fetched = published_weights(config, stated.get("pretrained"))
    return stated if fetched is None else {**stated, "pretrained": str(fetched)}


def published_weights(config: Mapping[str, Any], pretrained: str | None) -> Path | None:
    """Where the weights of an encoder of workflow/encoders are fetched to; None where `pretrained` names none."""
    if not pretrained or not (WORKFLOW / "encoders" / f"{pretrained}.yaml").is_file():
        return None
    file = read_yaml("encoders", pretrained)["weights"].get("file")
    return None if file is None else Path(Paths(config).weights(str(file)))
