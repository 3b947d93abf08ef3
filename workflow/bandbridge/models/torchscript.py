"""Tensors of TorchScript archives, the format of OpenAI's CLIP models, read without running the code in them."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bandbridge.base.errors import UserError

# The names of storage classes in archives; a class of another name is refused.
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Tensors of a TorchScript archive by dotted name, like those of its module's state_dict().

    Only the description of the module is read, by an unpickler that knows tensors and inert stand-ins for modules.
    The archive's code is not read.

    Raises:
        UserError: the description contains anything else, or is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise UserError(f"{path}: expected one data.pkl in this TorchScript archive, tensors {len(roots)}.")
        try:
            if f"{roots[0]}/byteorder" in archive.namelist() and archive.read(f"{roots[0]}/byteorder") != b"little":
                raise ValueError("its bytes are not in little-endian order")
            module = _Reader(archive, roots[0]).load()
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        # A damaged or hostile pickle can raise anything.
        except Exception as error:
            raise UserError(f"{path}: this TorchScript archive cannot be read ({error}); fetch it again.") from error
    if not isinstance(module, _Module):
        raise UserError(f"{path}: expected a module in this TorchScript archive, tensors {type(module).__name__}.")
    return dict(_tensors(module, "", ()))


class _Module:
    """A stand-in for every class of an archive, which only keeps attributes."""

    attributes: dict[str, Any]

    def __new__(cls, *_: Any) -> "_Module":
        instance = super().__new__(cls)
        instance.attributes = {}
        return instance

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise ValueError("a module's attributes are not named")
        self.attributes = state


class _Storage(NamedTuple):
    values: Tensor


class _Reader(pickle.Unpickler):
    """Rebuilds modules as `_Module` and tensors as tensors; every other class or function is refused by name."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive = archive
        self._root = root
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch.jit._pickle":  # typed lists and dictionaries: the first argument is their content
            return _first
        allowed = {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("collections", "OrderedDict"): OrderedDict}
        if (module, name) not in allowed:
            raise UserError(f"this TorchScript archive asks for {module}.{name}; only modules and tensors are read.")
        return allowed[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        kind, dtype, key, _, _ = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError(f"unknown reference {kind!r}")
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            values = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            self._storages[key] = _Storage(values)
        return self._storages[key]


def _first(value: Any = None, *_: Any) -> Any:
    return value


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A view of a storage; torch refuses one that reaches past its end."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return storage.values.as_strided(size, stride, offset)


def _tensors(module: _Module, prefix: str, above: tuple[_Module, ...]) -> list[tuple[str, Tensor]]:
    if any(module is other for other in above):
        raise UserError(f"module '{prefix.rstrip('.')}' of this TorchScript archive contains itself.")
    tensors: list[tuple[str, Tensor]] = []
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            tensors.append((prefix + name, value))
        elif isinstance(value, _Module):
            tensors += _tensors(value, f"{prefix}{name}.", (*above, module))
    return tensors
