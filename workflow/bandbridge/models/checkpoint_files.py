"""Checkpoints of other programs: their tensors and plain values, read without running code from the file."""

import argparse
import datetime
import pathlib
import re
import types
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.torch_version import TorchVersion

from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.base.files import read_json
from bandbridge.models.torchscript import read_torchscript
from bandbridge.models.weights import list_some, verify_weights

Content = dict[str, Any]
UNSAFE_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_checkpoint(path: Path) -> Content:
    """The content of a checkpoint: mappings of names to tensors, NumPy arrays and plain values, nested as saved.

    A file is recognised by its content, not by its name: safetensors, torch.save's two formats, a TorchScript archive
    (its state dict), .npz, or the index of a model in several files. Only tensors, plain values, NumPy's numbers and
    arrays, paths and argparse's namespaces are unpickled, and no code is run.

    Raises:
        UserError: another format, a damaged file, or other pickled objects; the message says what it is.
    """
    match weights_format(path):
        case "safetensors":
            return _read_safetensors(path)
        case "torchscript":
            return dict(read_torchscript(path))
        case "npz":
            return _read_npz(path)
        case "index":
            return _read_parts(path)
    content = _read_torch(path)
    if isinstance(content, Mapping):
        return dict(content)
    if isinstance(content, argparse.Namespace | types.SimpleNamespace):
        return dict(vars(content))
    raise UserError(f"{path}: expected names and tensors (a state dict), found {_kind(content)}.")


def _read_safetensors(path: Path) -> Content:
    verify_weights(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f"{path} is a safetensors file that is damaged or incomplete ({error}; {path.stat().st_size:,} bytes). "
            "Fetch it again."
        ) from error


def _read_npz(path: Path) -> Content:
    content: Content = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                content[name] = file[name]
    except Exception as error:  # zipfile's, zlib's and NumPy's
        # NumPy's message for an array of Python objects, which are pickled.
        why = "holds pickled objects, which are not read" if "allow_pickle" in str(error) else f"is damaged ({error})"
        raise UserError(f"{path}: this .npz file {why}.") from error
    untyped = [name for name, array in content.items() if array.dtype.kind == "V"]
    if untyped:
        raise UserError(
            f"{path}: NumPy does not know the type of {list_some(untyped)} (bfloat16, as JAX writes it?); save the "
            "weights as float32."
        )
    return content


def _read_parts(index: Path) -> Content:
    """The tensors of a model in several files, from the index that lists them."""
    places: dict[str, str] = read_json(index)["weight_map"]
    names = sorted(set(map(str, places.values())))
    outside = [name for name in names if Path(name).name != name or name in ("", "..")]
    if outside:
        raise UserError(f"{index}: weight_map names {list_some(outside)}; its files must be in the same folder.")
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise UserError(f"{index} lists {len(names)} files, of which {list_some(absent)} not found in {index.parent}.")
    content: Content = {}
    for name in names:
        content |= read_checkpoint(index.parent / name)
    lacking = [name for name in places if name not in content]
    if lacking:
        raise UserError(f"{index}: the files that it lists lack {list_some(lacking)}.")
    return content


def _must_be_undamaged(path: Path) -> None:
    """Compare the checksums in torch.save's zip, which torch.load does not check."""
    if not zipfile.is_zipfile(path):
        return  # torch.save's format before 1.6 has none
    with zipfile.ZipFile(path) as archive:
        try:
            damaged = archive.testzip()
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            damaged = f"its entries ({error})"
    if damaged is not None:
        raise UserError(
            f"{path} is damaged: the checksum of {damaged} in it does not match. Fetch it again. (If it was saved with "
            "torch.serialization.set_crc32_options(False), save it again without.)"
        )


def _read_torch(path: Path) -> Any:
    _must_be_undamaged(path)
    try:
        with _values_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        objects = UNSAFE_GLOBAL.findall(str(error))
        if objects:
            raise UserError(
                f"{path} contains {list_some(sorted(set(objects)))}, not only tensors and plain values; reading such "
                "objects runs code, so they are not read. Save only the weights on the machine that made it: "
                "torch.save(model.state_dict(), ...)."
            ) from error
        if "Unsupported operand" in str(error):
            raise UserError(
                f"{path} was pickled in a way that torch's safe reader does not know (pickle_protocol 4 or 5?). Save "
                "it again with torch.save's default pickle_protocol, or as safetensors."
            ) from error
        cause = _cause(error)
        raise UserError(
            f"{path} is damaged or incomplete, or not written by torch.save ({cause}; {path.stat().st_size:,} bytes). "
            "Fetch it again."
        ) from error


@contextmanager
def _values_allowed() -> Iterator[None]:
    """Allow the value types that training programs save beside weights."""
    scalar = np.float64(0).__reduce__()[0]
    rebuild = np.zeros(1).__reduce__()[0]
    kinds: list[Any] = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSUO"]
    named: list[Any] = []
    for module in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        named += [(scalar, f"{module}.multiarray.scalar"), (rebuild, f"{module}.multiarray._reconstruct")]
    # A path of another operating system cannot be created, and none is used: they become pure paths.
    for module in ("pathlib", "pathlib._local"):
        named += [(pathlib.PurePosixPath, f"{module}.{name}") for name in ("PosixPath", "PurePosixPath")]
        named += [(pathlib.PureWindowsPath, f"{module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    values = [argparse.Namespace, types.SimpleNamespace, datetime.datetime, datetime.timedelta, TorchVersion]
    allowed = [*values, np.dtype, np.ndarray, *kinds, *named]
    with torch.serialization.safe_globals(allowed):
        yield


def _cause(error: Exception) -> str:
    """torch's message about a file, without its advice to read it unsafely."""
    text = " ".join(str(error).split())
    for start in ("trusted source.", "WeightsUnpickler error:"):
        text = text.rpartition(start)[2]
    return text.partition("Check the documentation")[0].strip()[:200] or type(error).__name__


def _kind(content: object) -> str:
    if isinstance(content, Tensor):
        return f"a single tensor of shape {tuple(content.shape)}"
    if isinstance(content, list | tuple):
        return f"a {type(content).__name__} of {len(content)}"
    return f"a value of type {type(content).__name__}"
