"""Files of weights that BandBridge writes: safetensors with metadata and a checksum, whole or not at all.

The checksum is the CRC-32C of the whole file, with its eight digits as zeros, and is among the metadata: it moves with
the file, and other programs ignore it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bandbridge.base.checksums import crc32c, damaged
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file

Weights = dict[str, Tensor]

CHECKSUM = "bandbridge_crc32c"
_NO_CHECKSUM = "0" * 8
_BLOCK = 2**22
# No header that safetensors reads is larger.
_LARGEST_HEADER = 100_000_000


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
        save_file(tensors, part, metadata={**metadata, CHECKSUM: _NO_CHECKSUM})
        _finish_header(part)


def _finish_header(path: Path) -> None:
    """Rewrite a safetensors file's header with the checksum and its keys sorted (the library's order is random)."""
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
    """Checksum of a safetensors file with this header, in which the checksum is zeros."""
    value = crc32c(header, crc32c(len(header).to_bytes(8, "little")))
    file.seek(8 + len(header))
    while block := file.read(_BLOCK):
        value = crc32c(block, value)
    return f"{value:08x}"


def verify_weights(path: Path, *remove: Path) -> None:
    """Compare a safetensors file with its checksum; another program's file without one is not checked.

    Args:
        path: of the file.
        remove: what to delete if they differ, such as the model's folder; by default the file.

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
        UserError: it is damaged, or not a safetensors file.
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
        raise UserError(f"{path}: not a safetensors file, or an incomplete one ({error}).") from error


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum shows it without more memory; another may be an overflow."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def list_some(names: Sequence[str], most: int = 6) -> str:
    """'a, b, c and 4 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
