"""Weights in files: safetensors with metadata, written whole; checkpoints from elsewhere, never unpickled."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bandbridge.errors import UserError
from bandbridge.files import whole_file
from bandbridge.torchscript import is_torchscript, read_torchscript

Weights = dict[str, Tensor]

# Where training programs put the weights beside their own things; 'teacher' is what DINO evaluates.
WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file; equal tensors and metadata give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as part:
        save_file(tensors, part, metadata=dict(metadata))
        _sort_header(part)


def _sort_header(path: Path) -> None:
    """Rewrite a safetensors file's header with its keys in order: the library writes metadata in a random one."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


def load_weights(path: Path) -> Weights:
    """Tensors of a safetensors file, by name, on the CPU."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load_checkpoint(path: Path) -> Weights:
    """Tensors of a checkpoint from elsewhere: safetensors, torch's own format, or a TorchScript archive.

    Nothing in the file is run: torch's format is read with `weights_only=True`, archives by `read_torchscript`. A state
    dict under one of the usual keys (`WRAPPERS`) is taken out.

    Raises:
        UserError: no such file, or a file with other than tensors in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of a local .safetensors, .pt or .pth file.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if is_torchscript(path):
        return read_torchscript(path)
    try:
        # MoCo and DINO keep their command line beside the weights; a Namespace is a record of values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of tensors alone, and nothing else is read ({error}).") from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: expected a state dict (name to tensor), found {_described(content)}.")
    return content


def list_some(names: Sequence[str], most: int = 6) -> str:
    """'a, b, c and 4 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _safetensors(path: Path) -> Weights:
    try:
        return load_weights(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or one cut short ({error}).") from error


def _described(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    return f"a dictionary with other things in it ({list_some(others)})"
