"""The models of a run, as its configuration names them: CLIPs, students and other encoders."""

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
    """The text tower that the CLIP is trained against; None where its text encoder is trained too, or no CLIP is."""
    return config["clip"].get("scratch", {}).get("text") if uses_scratch(config) else None


def other_encoders(config: Mapping[str, Any]) -> dict[str, str | None]:
    """The encoders that are not made here: name -> a local checkpoint in place of the published weights, or None."""
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in config["evaluate"]["encoders"]]
    return {entry["name"]: entry.get("checkpoint") for entry in entries}


def unpinned_encoders(config: Mapping[str, Any]) -> set[str]:
    """The encoders whose weights the user has agreed to use without a published checksum."""
    entries = [entry for entry in config["evaluate"]["encoders"] if not isinstance(entry, str)]
    return {entry["name"] for entry in entries if entry.get("unpinned")}


def configured_precisions(config: Mapping[str, Any]) -> set[str]:
    """The precisions that a run's stages are configured with."""
    scratch = [config["clip"]["scratch"]["precision"]] if uses_scratch(config) else []
    by_file = student_files(config)
    aligned = [
        align_recipe(config, student)["precision"] for student in config["align"]["students"] if student not in by_file
    ]
    patched = [config["finetune"]["precision"]] if fine_tunes(config) else []
    return {config["embed"]["precision"], *scratch, *patched, *aligned}


def clip_id(name: str) -> str:
    """A CLIP's name in paths and tables: its architecture's name, safe in a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")


def clips(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The CLIPs of a run: id -> name of the architecture, and where its weights come from."""
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    names = [names] if isinstance(names, str) else list(names)
    sources = [pretrained] * len(names) if isinstance(pretrained, str) else list(pretrained)
    return {clip_id(name): (name, source) for name, source in zip(names, sources, strict=False)}


def patched_files(config: Mapping[str, Any]) -> dict[str, str]:
    """CLIP -> the file of its patched image encoder; empty where the run patches its CLIPs itself."""
    patched = config["clip"].get("patched")
    sources = [] if patched is None else [patched] if isinstance(patched, str) else list(patched)
    return dict(zip(clips(config), sources, strict=False))


def fine_tunes(config: Mapping[str, Any]) -> bool:
    """Whether the run fine-tunes its CLIPs: not where they come patched, or where alpha is only 0."""
    return not patched_files(config) and any(config["paint"]["alphas"])


def student_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Student, by its name in the configuration -> the file of its weights, of those that are not aligned here."""
    return {name: student["weights"] for name, student in config["align"]["students"].items() if student.get("weights")}


def first_weights(config: Mapping[str, Any]) -> dict[str, str]:
    """Student -> the weights that it starts from, of those that are aligned here and start from some."""
    by_file = student_files(config)
    return {
        name: student["pretrained"]
        for name, student in config["align"]["students"].items()
        if student["pretrained"] and name not in by_file
    }


def students(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Every student that is aligned: its name among the encoders -> its name in the configuration, its teacher's id."""
    teachers = list(clips(config))
    return {
        name if len(teachers) == 1 else f"{name}-{clip}": (name, clip)
        for clip in teachers
        for name in config["align"]["students"]
    }


def align_recipe(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """How a student is aligned: the values of `align`, overridden by the student's own `recipe`."""
    common = {key: value for key, value in config["align"].items() if key not in ("students", "task")}
    return {**common, **config["align"]["students"][student].get("recipe", {})}


def student_facts(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """A student's keys in the configuration that describe its network and input.

    Where `pretrained` names a file of workflow/encoders, it is the path that those weights are downloaded to.
    """
    keys = config["align"]["students"][student].items()
    stated = {key: value for key, value in keys if key not in ("recipe", "weights")}
    fetched = published_weights(config, stated.get("pretrained"))
    return stated if fetched is None else {**stated, "pretrained": str(fetched)}


def published_weights(config: Mapping[str, Any], pretrained: str | None) -> Path | None:
    """Where the weights of an encoder of workflow/encoders are downloaded to; None where `pretrained` names none."""
    if not pretrained or not (WORKFLOW / "encoders" / f"{pretrained}.yaml").is_file():
        return None
    file = read_yaml("encoders", pretrained)["weights"].get("file")
    return None if file is None else Path(Paths(config).weights(str(file)))
