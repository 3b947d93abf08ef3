"""Weights in files: safetensors with a checksum, written whole; checkpoints from elsewhere, never unpickled.

The checksum is the CRC-32C of the whole file, its own eight digits taken as zeros, and is among the metadata: it goes
where the file goes, and other programs pass it over.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bandbridge.checksums import crc32c, damaged
from bandbridge.errors import UserError
from bandbridge.files import whole_file
from bandbridge.torchscript import is_torchscript, read_torchscript

Weights = dict[str, Tensor]

# Where training programs put the weights beside their own things; 'teacher' is what DINO evaluates.
WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")

CHECKSUM = "bandbridge_crc32c"
_NO_CHECKSUM = "0" * 8
_BLOCK = 2**22
# No header that safetensors reads is larger.
_LARGEST_HEADER = 100_000_000


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file; equal tensors and metadata give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as part:
        save_file(tensors, part, metadata={**metadata, CHECKSUM: _NO_CHECKSUM})
        _finish_header(part)


def _finish_header(path: Path) -> None:
    """Rewrite a safetensors file's header with its keys in order, for the library's is random, and the checksum."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size, f"{path}: {len(text)} bytes of header for {size}"
        file.seek(8)
        file.write(text)
        stated = text.index(_field(_NO_CHECKSUM)) + len(_field(""))
        value = _checksum(file, text)
        file.seek(8 + stated - 1)
        file.write(value.encode())


def _field(value: str) -> bytes:
    return f'"{CHECKSUM}":"{value}"'.encode()


def _checksum(file: BinaryIO, header: bytes) -> str:
    """Of a safetensors file with this header, whose checksum is zeros."""
    value = crc32c(header, crc32c(len(header).to_bytes(8, "little")))
    file.seek(8 + len(header))
    while block := file.read(_BLOCK):
        value = crc32c(block, value)
    return f"{value:08x}"


def verify_weights(path: Path, *remove: Path) -> None:
    """Compare a safetensors file with its checksum; one without, of another program, is taken as it is.

    Args:
        remove: what to delete where they differ, such as the model's folder; the file where nothing is given.

    Raises:
        UserError: they differ.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= _LARGEST_HEADER else b""
        stated = re.search(_field("([0-9a-f]{8})"), header)
        if stated is None:
            return
        if _checksum(file, header.replace(stated[0], _field(_NO_CHECKSUM))) != stated[1].decode():
            raise damaged(path, "its content does not match its checksum", *remove)


def load_weights(path: Path, *remove: Path) -> Weights:
    """Tensors of a safetensors file, by name, on the CPU; `remove` as of `verify_weights`.

    Raises:
        UserError: it is damaged, or no safetensors file.
    """
    with _opened(path, *remove) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; errors as of `load_weights`."""
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
    metadata.pop(CHECKSUM, None)
    return metadata


@contextmanager
def _opened(path: Path, *remove: Path) -> Iterator[Any]:
    verify_weights(path, *remove)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or one cut short ({error}).") from error


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
        return load_weights(path)
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


def _described(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    return f"a dictionary with other things in it ({list_some(others)})"
