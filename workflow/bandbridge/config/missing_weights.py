"""Weights that only the user can provide, checked before the first job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.catalogue.datasets import read_yaml
from bandbridge.config.networks import (
    WEIGHTS_SUFFIXES,
    clips,
    first_weights,
    other_encoders,
    patched_files,
    published_weights,
    student_files,
)


def absent_checkpoints(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each local checkpoint that is missing, or that clearly does not hold weights."""
    checkpoints = [
        ("clip.pretrained", source, "or name weights of open_clip (openai)", True)
        for _, source in clips(config).values()
        if source != "scratch"
        and not source.startswith("hf-hub:")
        and ("/" in source or Path(source).suffix in WEIGHTS_SUFFIXES or Path(source).exists())
    ]
    checkpoints += [
        (
            f"align.students.{name}.pretrained",
            pretrained,
            "name an encoder of workflow/encoders/, or set it to null to start from random weights",
            False,
        )
        for name, pretrained in first_weights(config).items()
        if published_weights(config, pretrained) is None
    ]
    checkpoints += [
        ("clip.patched", source, "or set it to null to patch the CLIP in this run", True)
        for source in patched_files(config).values()
    ]
    checkpoints += [
        (f"align.students.{name}.weights", source, "or set it to null to align the student in this run", True)
        for name, source in student_files(config).items()
    ]
    checkpoints += [
        (
            f"evaluate.encoders: checkpoint of {name}",
            path,
            "or leave `checkpoint` out to fetch the published weights",
            True,
        )
        for name, path in other_encoders(config).items()
        if path
    ]
    faults = [sentence for entry in checkpoints if (sentence := _checkpoint_fault(*entry))]
    fetched = {name: "evaluate.encoders" for name, path in other_encoders(config).items() if path is None}
    fetched |= {pretrained: f"align.students.{name}" for name, pretrained in first_weights(config).items()}
    return faults + [sentence for name, key in fetched.items() if (sentence := _manual_fault(config, key, name))]


def _manual_fault(config: Mapping[str, Any], key: str, encoder: str) -> str:
    """What to do about weights that only the user can provide and that are missing or damaged; '' for nothing."""
    path = published_weights(config, encoder)
    if path is None:
        return ""
    weights = read_yaml("encoders", encoder)["weights"]
    if "manual" not in weights or "urls" in weights:
        return ""
    if not path.exists():
        return (
            f"{key}: {weights['file']} of {encoder} has to be copied manually. {weights['manual'].strip()}\nTo: {path}"
        )
    return "" if path.suffix == ".zip" else _checkpoint_fault(key, str(path), "", directories=False)


def _checkpoint_fault(key: str, source: str, otherwise: str, directories: bool) -> str:
    """The fault of a path to weights, judged by its first bytes, '' for none; `directories`: it may be a directory."""
    path = Path(source)
    if not path.exists():
        return f"{key}: {source} not found; copy the checkpoint there, {otherwise}."
    if path.is_dir() and directories:
        return ""
    try:
        weights_format(path)
    except UserError as error:
        return f"{key}: {error}"
    return ""
