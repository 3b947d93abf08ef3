"""Embeddings on disk: a small Zarr group per encoder, data set and split, readable without torch."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bandbridge import __version__
from bandbridge.base.checksums import crc32c, crc32c_of_file, damaged
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, whole_directory, write_json
from bandbridge.store.zarr_files import finish_group, read_array, read_attributes, to_delete, write_array

ROWS_PER_CHUNK = 4096


def partial_folder(paths: Sequence[Path]) -> Path:
    """The folder where the job that makes these embeddings keeps its partial results: beside them, not shared."""
    name = hashlib.sha256("\n".join(sorted("/".join(path.parts[-2:]) for path in paths)).encode()).hexdigest()[:16]
    return paths[0].parent.parent / ".partial" / name


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One encoder's embeddings of one split of a data set.

    Attributes:
        embedding: (sample, dim) float32, before normalisation.
        ids: (sample,) text, in the store's order.
        attrs: encoder, clip, alpha (None for a student), dataset, split, modality ('rgb' for an RGB image or a
            composite, otherwise the store's), store_digest, weights_digest (sha256 of each of the encoder's weights
            files), precision (and the reason for it).
    """

    embedding: NDArray[np.float32]
    ids: NDArray[np.str_]
    attrs: Mapping[str, Any]


def save_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write a Zarr v3 group of `embedding` (sample, dim) and `id` (sample) with checksums, whole or not at all.

    Raises:
        UserError: an embedding is not finite; the message counts them.
    """
    rows = range(0, len(embeddings.ids), ROWS_PER_CHUNK)
    finite = [np.isfinite(embeddings.embedding[at : at + ROWS_PER_CHUNK]).all(axis=1) for at in rows]
    broken = np.flatnonzero(~np.concatenate(finite)) if finite else np.empty(0, int)
    if broken.size:
        raise UserError(
            f"{path}: {broken.size} of {len(embeddings.ids)} embeddings are not finite, first that of sample "
            f"{embeddings.ids[broken[0]]}. The encoder's weights have diverged: train with a lower learning rate."
        )
    with whole_directory(path) as part:
        values = np.ascontiguousarray(embeddings.embedding, dtype=np.float32)
        # The root metadata stand for the group as the input of jobs, which rerun where they have changed.
        facts = {"digest": hashlib.sha256(values.data).hexdigest(), "bandbridge_version": __version__}
        group = zarr.create_group(part, zarr_format=3, attributes={**embeddings.attrs, **facts})
        write_array(group, "embedding", values, ("sample", "dim"), (ROWS_PER_CHUNK, max(1, values.shape[1])))
        write_array(group, "id", np.array(embeddings.ids, dtype=np.dtypes.StringDType()), ("sample",))
        finish_group(group, part)


class PartialEmbeddings:
    """Several encoders' embeddings of one split, in files that grow batch by batch and survive a kill.

    The files of an earlier process are reused if their checksums match: after a power cut, data that had not reached
    the disk is missing.

    Args:
        folder: for these files only.
        key: of everything that the values depend on; files of another key are deleted.
        encoders: number of encoders.

    Attributes:
        rows: samples encoded by all encoders, those of an earlier process included.
    """

    def __init__(self, folder: Path, key: str, encoders: int) -> None:
        self._files = [folder / f"{number}.float32" for number in range(encoders)]
        self._state = folder / "state.json"
        self._key = key
        self._checksums = [0] * encoders
        self.rows, self._dim = self._earlier_rows()
        if not self.rows:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)

    def _earlier_rows(self) -> tuple[int, int]:
        """Rows and width of an earlier process's files; (0, 0) if they cannot be used."""
        try:
            state = read_json(self._state)
            rows, dim = int(state["rows"]), int(state["dim"])
            size = 4 * rows * dim
            if state["key"] != self._key or any(path.stat().st_size < size for path in self._files):
                return 0, 0
            if state["checksums"] != [crc32c_of_file(path, size) for path in self._files]:
                return 0, 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        self._checksums = state["checksums"]
        return rows, dim

    def add(self, outputs: NDArray[np.float32]) -> None:
        """Append the outputs (encoder, n, dim) for the next n samples."""
        self._dim = outputs.shape[2]
        for number, (path, output) in enumerate(zip(self._files, outputs, strict=True)):
            content = np.ascontiguousarray(output, dtype=np.float32).tobytes()
            self._checksums[number] = crc32c(content, self._checksums[number])
            with path.open("r+b" if path.exists() else "wb") as file:
                # Bytes that a killed process left after the last whole batch are overwritten.
                file.seek(4 * self.rows * self._dim)
                file.write(content)
        self.rows += outputs.shape[1]
        state = {"key": self._key, "rows": self.rows, "dim": self._dim, "checksums": self._checksums}
        write_json(self._state, state, checked=False, durable=False)

    def arrays(self) -> list[NDArray[np.float32]]:
        """(sample, dim) of each encoder, mapped from its file."""
        if not self.rows:
            return [np.empty((0, self._dim), np.float32) for _ in self._files]
        return [np.memmap(path, np.float32, "r", shape=(self.rows, self._dim)) for path in self._files]


def load_embeddings(path: Path) -> Embeddings:
    """Read what `save_embeddings` wrote; a `UserError` if the group is damaged."""
    attrs = read_attributes(path)
    embedding, ids = read_array(path / "embedding"), read_array(path / "id")
    if len(embedding) != len(ids):
        raise damaged(path, f"it has {len(embedding):,} embeddings of {len(ids):,} samples", *to_delete(path))
    return Embeddings(embedding, np.array(ids.tolist(), dtype=np.str_), attrs)
