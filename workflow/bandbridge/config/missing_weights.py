"""Weights that only the user can bring, looked for before the first job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.catalogue.datasets import read_yaml
from bandbridge.config.networks import WEIGHTS_SUFFIXES, clips, other_encoders, published_weights


def absent_checkpoints(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each checkpoint that is missing or plainly no weights, before the first job."""
    named = [
        ("clip.pretrained", source, "or name weights of open_clip (openai)", True)
        for _, source in clips(config).values()
        if source != "scratch"
        and not source.startswith("hf-hub:")
        and ("/" in source or Path(source).suffix in WEIGHTS_SUFFIXES or Path(source).exists())
    ]
    named += [
        (
            f"align.students.{name}.pretrained",
            student["pretrained"],
            "name an encoder of workflow/encoders/, or set it to null to start from random weights",
            False,
        )
        for name, student in config["align"]["students"].items()
        if student["pretrained"] and published_weights(config, student["pretrained"]) is None
    ]
    named += [
        (
            f"evaluate.encoders: checkpoint of {name}",
            path,
            "or name the encoder alone to fetch its published weights",
            True,
        )
        for name, path in other_encoders(config).items()
        if path
    ]
    faults = [sentence for entry in named if (sentence := _checkpoint_fault(*entry))]
    fetched = {name: "evaluate.encoders" for name, path in other_encoders(config).items() if path is None}
    fetched |= {
        s["pretrained"]: f"align.students.{n}" for n, s in config["align"]["students"].items() if s["pretrained"]
    }
    return faults + [sentence for name, key in fetched.items() if (sentence := _manual_fault(config, key, name))]


def _manual_fault(config: Mapping[str, Any], key: str, encoder: str) -> str:
    """What to do about weights that only the user can bring, where they are missing or no weights; '' for nothing."""
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
    """What is wrong with a path to weights by its first bytes, '' for nothing; `directories`: it may be one."""
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
