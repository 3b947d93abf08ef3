"""Small Zarr arrays and the metadata of groups: written with checksums, read whole and compared with them.

Chunks use Zarr's codec `crc32c`, which any reader of Zarr v3 verifies. Zarr has no checksum for zarr.json, so each has
the CRC-32C of its other content among its attributes. A missing chunk is an error, where Zarr would read zeros.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from bandbridge.base.checksums import crc32c, damaged
from bandbridge.base.errors import UserError

METADATA = "zarr.json"
CHECKSUM = "metadata_crc32c"


def write_array(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dimensions: Sequence[str],
    chunks: Sequence[int] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write an array into a group, in one chunk unless `chunks` has another shape; every chunk has a checksum."""
    group.create_array(
        name,
        data=values,
        chunks=tuple(chunks or (max(1, length) for length in values.shape)),
        compressors=[ZstdCodec(level=0), Crc32cCodec()],
        dimension_names=tuple(dimensions),
        attributes=dict(attributes or {}),
        config={"write_empty_chunks": True},  # a chunk that is missing is never one of zeros
    )


def finish_group(root: zarr.Group, directory: Path) -> None:
    """Consolidate the metadata of a complete group, and add a checksum to each of its zarr.json files."""
    top = directory / METADATA
    for path in sorted(set(directory.rglob(METADATA)) - {top}):
        _add_checksum(path)
    with warnings.catch_warnings():
        # An extension of Zarr 3 that zarr-python and xarray agree on; others ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=ZarrUserWarning)
        zarr.consolidate_metadata(root.store)
    _add_checksum(top)


def _add_checksum(path: Path) -> None:
    content = json.loads(path.read_bytes())
    content.setdefault("attributes", {})[CHECKSUM] = _checksum(content)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _checksum(content: Mapping[str, Any]) -> str:
    """Checksum of the content, not of the file's bytes: whitespace and the order of keys do not matter."""
    return f"{crc32c(json.dumps(content, sort_keys=True).encode()):08x}"


def read_metadata(directory: Path) -> dict[str, Any]:
    """The zarr.json of an array or a group, without its checksum; compared with the checksum if it has one.

    Raises:
        FileNotFoundError: no zarr.json.
        UserError: it is not what was written.
    """
    return _read(directory)[0]


def read_attributes(directory: Path) -> dict[str, Any]:
    """The attributes of a group that must have some; errors as of `read_metadata`."""
    attributes = read_metadata(directory).get("attributes")
    if not isinstance(attributes, dict):
        raise damaged(directory / METADATA, "it has no attributes", *to_delete(directory))
    return attributes


def _read(directory: Path) -> tuple[dict[str, Any], bool]:
    """The metadata, and whether it has a checksum."""
    path = directory / METADATA
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged(path, f"it is not JSON ({error})", *to_delete(directory)) from error
    if not isinstance(content, dict):
        raise damaged(path, "it describes no Zarr data", *to_delete(directory))
    attributes = content.get("attributes")
    stated = attributes.pop(CHECKSUM, None) if isinstance(attributes, dict) else None
    if stated is not None and stated != _checksum(content):
        message = damaged(path, "its content does not match its checksum", *to_delete(directory))
        raise UserError(f"{message}\nIf you edited it on purpose, delete its attribute {CHECKSUM}.")
    return content, stated is not None


def read_array(directory: Path) -> NDArray[Any]:
    """All of an array.

    Raises:
        UserError: there is no array, a chunk is missing, or its content is not what was written.
    """
    try:
        _, is_checked = _read(directory)
        array = zarr.open_array(directory, mode="r", zarr_format=3)
    except FileNotFoundError as error:
        raise damaged(directory, f"it has no {METADATA}", *to_delete(directory)) from error
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(directory / METADATA, f"it describes no array ({error})", *to_delete(directory)) from error
    chunks = {at: directory / array.metadata.encode_chunk_key(at) for at in np.ndindex(array.cdata_shape)}
    if is_checked:  # before there were checksums, a chunk of zeros alone was left out
        for path in chunks.values():
            if not path.is_file():
                raise damaged(path, "it is missing", *to_delete(directory))
    try:
        return np.asarray(array[...])
    except (ValueError, RuntimeError, TypeError) as error:
        faulty = next((path for at, path in chunks.items() if not _can_be_read(array, at)), directory)
        raise damaged(faulty, f"it cannot be decoded ({error})", *to_delete(directory)) from error


def _can_be_read(array: "zarr.Array[Any]", chunk: tuple[int, ...]) -> bool:
    try:
        array.get_block_selection(chunk)
    except (ValueError, RuntimeError, TypeError):
        return False
    return True


def to_delete(path: Path) -> list[Path]:
    """What to delete so that a damaged store is rebuilt: the store, and the converted shares that hold its pixels."""
    store = next((folder for folder in (path, *path.parents) if folder.suffix == ".zarr"), None)
    if store is None:
        return [path]
    shares = store.parent / "parts" / store.stem
    return [store, shares] if shares.is_dir() else [store]
