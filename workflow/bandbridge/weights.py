"""Weights in files that are written here: safetensors with metadata, whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bandbridge.errors import UserError
from bandbridge.files import whole_file

Weights = dict[str, Tensor]


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file; equal tensors and metadata give equal bytes.

    Raises:
        UserError: NaN or infinity in a tensor; nothing is written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if broken:
        raise UserError(
            f"{path}: not written, for NaN or infinity in {len(broken)} of {len(tensors)} tensors "
            f"({list_some(broken, 3)}). The training diverged: lower its learning rate, or train in float32."
        )
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


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum says so without more memory; another may have overflowed."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def list_some(names: Sequence[str], most: int = 6) -> str:
    """'a, b, c and 4 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
