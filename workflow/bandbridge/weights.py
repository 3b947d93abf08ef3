"""Weights in files: safetensors with metadata, written whole; checkpoints from elsewhere, never unpickled."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bandbridge.errors import UserError
from bandbridge.files import whole_file

Weights = dict[str, Tensor]


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file; equal tensors and metadata give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as part:
        save_file(tensors, part, metadata=dict(metadata))


def load_weights(path: Path) -> Weights:
    """Tensors of a safetensors file, by name, on the CPU."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load_checkpoint(path: Path) -> Weights:
    """Tensors of a checkpoint from elsewhere: safetensors, or torch's own format read with `weights_only=True`.

    A state dict under the usual keys 'state_dict' or 'model' is taken out.

    Raises:
        UserError: no such file, a TorchScript archive (it holds code), or a file with other than tensors in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of a local .safetensors, .pt or .pth file.")
    if path.suffix == ".safetensors":
        return load_weights(path)
    if is_torchscript(path):
        raise UserError(f"{path}: this is a TorchScript archive, which holds code; give a state dict or safetensors.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of tensors alone, and nothing else is read ({error}).") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: expected a state dict (name to tensor), found {type(content).__name__}.")
    return content


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI's own CLIP files are."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
