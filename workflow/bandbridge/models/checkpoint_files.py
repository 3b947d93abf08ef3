"""Checkpoints from elsewhere: their tensors and the plain values beside them, read without running what is in them."""

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
    """What a checkpoint holds: mappings of names to tensors, NumPy arrays and plain values, nested as they were saved.

    A file is recognised by its content, whatever its name: safetensors, torch.save's two formats, a TorchScript archive
    (its state dict), .npz, or the index of a model in several files. What is pickled may be tensors, plain values,
    NumPy's numbers and arrays, paths and argparse's namespaces; nothing else is unpickled, and nothing is run.

    Raises:
        UserError: none of these, damaged, or with other things pickled in it; the message names what it is.
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
            f"{path} is a safetensors file that is damaged or cut short ({error}; {path.stat().st_size:,} bytes). "
            "Fetch it again."
        ) from error


def _read_npz(path: Path) -> Content:
    content: Content = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                content[name] = file[name]
    except Exception as error:  # zipfile's, zlib's and NumPy's own
        # NumPy says so of an array of Python objects, which are pickled.
        why = "holds pickled objects, which are not read" if "allow_pickle" in str(error) else f"is damaged ({error})"
        raise UserError(f"{path}: this .npz file {why}.") from error
    unknown = [name for name, array in content.items() if array.dtype.kind == "V"]
    if unknown:
        raise UserError(
            f"{path}: NumPy does not know the type of {list_some(unknown)} (bfloat16, as JAX writes it?); save the "
            "weights as float32."
        )
    return content


def _read_parts(index: Path) -> Content:
    """The tensors of a model in several files, from the list of what is in which."""
    places: dict[str, str] = read_json(index)["weight_map"]
    names = sorted(set(map(str, places.values())))
    outside = [name for name in names if Path(name).name != name or name in ("", "..")]
    if outside:
        raise UserError(f"{index}: weight_map names {list_some(outside)}; its files lie in its own folder.")
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
    """Compare the checksums in torch.save's zip, which torch.load itself does not look at."""
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
    except Exception as error:  # whatever a damaged or hostile pickle leads to
        objects = UNSAFE_GLOBAL.findall(str(error))
        if objects:
            raise UserError(
                f"{path} holds {list_some(sorted(set(objects)))}, not tensors and plain values alone; reading such "
                "objects runs code, so they are not read. Save the weights alone on the machine that made it: "
                "torch.save(model.state_dict(), ...)."
            ) from error
        if "Unsupported operand" in str(error):
            raise UserError(
                f"{path} was pickled in a way that torch's safe reader does not know (pickle_protocol 4 or 5?). Save "
                "it again with torch.save's own pickle_protocol, or as safetensors."
            ) from error
        cause = _cause(error)
        raise UserError(
            f"{path} is damaged or cut short, or torch.save did not write it ({cause}; {path.stat().st_size:,} bytes). "
            "Fetch it again."
        ) from error


@contextmanager
def _values_allowed() -> Iterator[None]:
    """Allow what training programs keep beside weights and what holds values only."""
    scalar = np.float64(0).__reduce__()[0]
    rebuild = np.zeros(1).__reduce__()[0]
    kinds: list[Any] = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSUO"]
    named: list[Any] = []
    for module in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        named += [(scalar, f"{module}.multiarray.scalar"), (rebuild, f"{module}.multiarray._reconstruct")]
    # A path of another system cannot be made, and none is used: they become paths without a file system.
    for module in ("pathlib", "pathlib._local"):
        named += [(pathlib.PurePosixPath, f"{module}.{name}") for name in ("PosixPath", "PurePosixPath")]
        named += [(pathlib.PureWindowsPath, f"{module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    values = [argparse.Namespace, types.SimpleNamespace, datetime.datetime, datetime.timedelta, TorchVersion]
    allowed = [*values, np.dtype, np.ndarray, *kinds, *named]
    with torch.serialization.safe_globals(allowed):
        yield


def _cause(error: Exception) -> str:
    """What torch says of a file, without its advice to read it unsafely."""
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
