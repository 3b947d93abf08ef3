"""The kind of a file by its first bytes: weights, or what is often mistaken for them. Needs no torch."""

import json
import string
import zipfile
from pathlib import Path

from bandbridge.base.errors import UserError

FIRST_BYTES = 1024
# Files of torch.save before version 1.6, and no others, begin with this pickled number.
TORCH_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
# The safetensors library's limit for a file's header.
LONGEST_HEADER = 100_000_000
FORMATS = "a .safetensors, .pt, .pth, .bin or .npz file"

ARCHIVE = "{}; unpack it and use the checkpoint in it"
CONVERT = "a file of {}; load it there, and save the weights as a state dict of PyTorch or as safetensors"
# The first bytes of a file -> what it is and what to do.
OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for; run 'git lfs pull' in its clone"),
    (b"\x1f\x8b", ARCHIVE.format("a gzip archive")),
    (b"BZh", ARCHIVE.format("a bzip2 archive")),
    (b"\xfd7zXZ\x00", ARCHIVE.format("an xz archive")),
    (b"\x28\xb5\x2f\xfd", ARCHIVE.format("a Zstandard archive")),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE.format("a 7z archive")),
    (b"Rar!", ARCHIVE.format("a RAR archive")),
    (b"\x89HDF\r\n\x1a\n", CONVERT.format("TensorFlow or Keras (HDF5)")),
    (b"GGUF", CONVERT.format("llama.cpp (GGUF), mostly quantised")),
    (b"\x93NUMPY", "a single NumPy array (.npy), not named tensors; save them with numpy.savez"),
    (b"%PDF", "a PDF; use the checkpoint itself"),
    (b"\x89PNG", "an image; use the checkpoint itself"),
    (b"\xff\xd8\xff", "an image; use the checkpoint itself"),
)


def weights_format(path: Path) -> str:
    """The format of a file of weights: 'safetensors', 'torch', 'torchscript', 'npz' or 'index' (of several files).

    Only its first bytes and, for a zip, its table of contents are read.

    Raises:
        UserError: it is a directory, missing, or not weights; the message says what it is.
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory, where one file of weights is expected{_inside(path)}.")
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint; expected the path of {FORMATS}.")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file; expected the path of {FORMATS}.")
    with path.open("rb") as file:
        start = file.read(FIRST_BYTES)
    size = path.stat().st_size
    if not size:
        raise UserError(f"{path} is empty (0 bytes): a download or a copy failed. Fetch it again.")
    if start.startswith(b"PK"):
        return _zip_format(path)
    if start.startswith(b"\x80") and TORCH_LEGACY in start[:32]:
        return "torch"
    if start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") <= LONGEST_HEADER:
        return "safetensors"
    if start.lstrip().startswith(b"{") and path.suffix == ".json":
        return _json_format(path, size)
    raise UserError(f"{path} ({size:,} bytes) is {_other(path, start)}.")


def _zip_format(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is incomplete: it begins as a zip, the format of torch.save and numpy.savez, and has no end "
            f"({path.stat().st_size:,} bytes). Fetch it again."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: its table of contents cannot be read ({error}). Fetch it again.") from error
    if any(name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    if any(name.rpartition("/")[2] == "archive_format" or "/models/" in name for name in names):
        raise UserError(f"{path} is a program of torch.export (.pt2), not weights; save the model's state dict.")
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    content = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nothing"
    raise UserError(f"{path} is {ARCHIVE.format('a zip archive')}. It contains {content}.")


def _json_format(path: Path, size: int) -> str:
    """'index' for a JSON file that lists a model's several files of weights."""
    content: object = None
    if size <= LONGEST_HEADER:
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            content = None
    if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
        return "index"
    raise UserError(
        f"{path} ({size:,} bytes) is a JSON file that lists no weights (weight_map is missing); expected {FORMATS}."
    )


def _other(path: Path, start: bytes) -> str:
    """What a file without readable weights is and what to do, as the end of a sentence that begins '... is'."""
    for beginning, sentence in OTHERS:
        if start.startswith(beginning):
            return sentence
    if start[257:262] == b"ustar":
        return ARCHIVE.format("a tar archive") + "; if PyTorch before 0.1.10 wrote it, save it again with a newer one"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:64].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "a web page (HTML), as a server sends in place of a file that needs a login; download the file itself"
    if text.startswith((b"<?xml", b"<Error")):
        return f"an XML answer of a server, not a file: {_quoted(text)}; download the file itself"
    if text.startswith((b"{", b"[")):
        return f"JSON text, such as a server's error: {_quoted(text)}; download the file itself"
    if not start.strip(b"\0"):
        return "only zeros at its beginning: space that a download reserved and did not fill; fetch it again"
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return (
            "a Python pickle that torch.save did not write; reading it could run code, so it is not read. "
            "Save the weights with torch.save(model.state_dict()) or as safetensors, on the machine that made it"
        )
    if path.suffix == ".onnx" or b"onnx" in start[:64] or b"pytorch" in start[:64]:
        return CONVERT.format("ONNX")
    if path.suffix == ".msgpack":
        return CONVERT.format("Flax (msgpack)")
    if all(chr(byte) in string.printable for byte in start[:256]):
        return f"a text file: {_quoted(start)}; expected {FORMATS}"
    return f"of no known format (it begins {start[:8].hex(' ')}); expected a complete {FORMATS.removeprefix('a ')}"


def _quoted(text: bytes) -> str:
    words = " ".join(text[:120].decode("utf-8", errors="replace").split())
    return f"'{words}{'...' if len(text) > 120 else ''}'"


def _inside(directory: Path) -> str:
    """A hint for the end of the sentence: which file in the directory to use, or how to convert them."""
    files = sorted(item.name for item in directory.iterdir() if item.is_file())
    indices = [name for name in files if name.endswith(".index.json")]
    weights = indices or [name for name in files if name.endswith((".safetensors", ".pt", ".pth", ".bin", ".npz"))]
    if weights:
        return f"; use {directory / weights[0]}" + (f", or another of the {len(weights)}" if weights[1:] else "")
    if ".metadata" in files:
        return (
            " (a checkpoint of torch.distributed; join it first: python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {directory} checkpoint.pt)"
        )
    if "zero_to_fp32.py" in files:
        return " (a checkpoint of DeepSpeed; join it first with the zero_to_fp32.py in it)"
    if "saved_model.pb" in files:
        return " (a model of TensorFlow, which is not read)"
    return f"; expected the path of {FORMATS}"
