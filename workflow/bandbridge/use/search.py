"""Exact search in an archive: by words and images that results should be like, or unlike."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.use.archive import Archive
from bandbridge.use.model import Model

ROWS_AT_A_TIME = 65_536
_FOOTER = 256  # bytes after the vectors that identify the archive


@dataclass(frozen=True)
class Hit:
    """A result: a row of an archive.

    Attributes:
        rank: from 1.
        cosine: with the query.
        record: the row's columns.
    """

    rank: int
    cosine: float
    record: dict[str, Any]


@dataclass(frozen=True)
class Query:
    """Words and images to find and to avoid; each list may be empty."""

    texts: tuple[str, ...] = ()
    images: tuple[Path, ...] = ()
    not_texts: tuple[str, ...] = ()
    not_images: tuple[Path, ...] = ()

    def __str__(self) -> str:
        like = [f'"{text}"' for text in self.texts] + [path.name for path in self.images]
        unlike = [f'"{text}"' for text in self.not_texts] + [path.name for path in self.not_images]
        return " and ".join(like) + (f", not {' or '.join(unlike)}" if unlike else "")


def query_vector(
    model: Model, query: Query, templates: str | Sequence[str] | None = None, bands: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """A unit vector: the mean embedding of what to find minus that of what to avoid, normalised.

    Raises:
        UserError: there is nothing to find, or the query's parts cancel out.
    """
    if not (query.texts or query.images):
        raise UserError(
            "nothing to search for: add --text WORDS or --image FILE (--not-text and --not-image only subtract)."
        )
    if not all(text.strip() for text in (*query.texts, *query.not_texts)):
        raise UserError('--text or --not-text has no words; name what to find, such as "a lake".')
    vector = _mean(model, query.texts, query.images, templates, bands)
    if query.not_texts or query.not_images:
        vector = vector - _mean(model, query.not_texts, query.not_images, templates, bands)
    length = float(np.linalg.norm(vector))
    if length < 1e-4:
        raise UserError(f"the query {query} cancels out: what to find and what to avoid mean the same to the model.")
    return (vector / length).astype(np.float32)


def _mean(
    model: Model,
    texts: Sequence[str],
    images: Sequence[Path],
    templates: str | Sequence[str] | None,
    bands: Sequence[str] | None,
) -> NDArray[np.float32]:
    rows = [model.encode_text(list(texts), templates)] if texts else []
    rows += [model.encode_images([str(path) for path in images], bands)] if images else []
    mean: NDArray[np.float32] = np.concatenate(rows).mean(axis=0)
    return mean


def must_match(model: Model, archive: Archive) -> None:
    """Raise `UserError` unless a model's embeddings can be compared with an archive's."""
    if model.dim != archive.dim:
        raise UserError(
            f"{archive.path} holds embeddings of {archive.dim} values (by {archive.about['name']}); {model.name} makes "
            f"{model.dim}. Search with the model that made the archive, or embed the images with {model.name}."
        )
    if model.digest != archive.about["digest"] and (not model.card.clip or model.card.clip != archive.about["clip"]):
        raise UserError(
            f"{archive.path} was made by {archive.about['name']} ({archive.about['digest'][:12]}), and {model.source} "
            f"has other weights ({model.digest[:12]}) and is of another CLIP, whose embeddings mean something else. "
            "Search with the model that made the archive, or make it again."
        )


def search(archive: Archive, vector: NDArray[np.float32], k: int) -> list[Hit]:
    """The k rows with the greatest cosine, exactly; of equal ones the earlier."""
    return best_hits(archive, all_cosines(archive, vector), k)


def all_cosines(archive: Archive, vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of every row with a unit vector.

    Reads the embeddings from a memory-mapped file beside the archive, which the first search creates.
    """
    if not archive.rows:
        raise UserError(f"{archive.path} holds no embeddings; make it again from images that can be used.")
    with mapped_vectors(archive) as vectors:
        cosines = np.empty(archive.rows, np.float32)
        for start in range(0, archive.rows, ROWS_AT_A_TIME):
            block = vectors[start : start + ROWS_AT_A_TIME]
            np.matmul(block, vector, out=cosines[start : start + len(block)])
    return cosines


def best_hits(archive: Archive, cosines: NDArray[np.float32], k: int) -> list[Hit]:
    """The k rows of an archive with the greatest of these cosines, with their columns."""
    if k < 1:
        raise UserError(f"--top is {k}; expected 1 or more.")
    rows = best_rows(cosines, k)
    records = archive.records(rows)
    return [
        Hit(rank, float(cosines[row]), record) for rank, (row, record) in enumerate(zip(rows, records, strict=True), 1)
    ]


def best_rows(cosines: NDArray[np.float32], k: int) -> list[int]:
    """Indices of the k greatest, the greatest first; of equal ones the earlier."""
    k = min(k, len(cosines))
    threshold = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
    candidates = np.flatnonzero(cosines >= threshold)
    order = np.lexsort((candidates, -cosines[candidates]))
    best: list[int] = candidates[order][:k].tolist()
    return best


@contextmanager
def mapped_vectors(archive: Archive) -> Iterator[NDArray[np.float32]]:
    """The embeddings of an archive as a memory map (n, dim) float32, from a hidden file beside it.

    The file is rebuilt if the archive has changed; in a folder that cannot be written it is temporary.
    """
    state = archive.path.stat()
    key = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "rows": archive.rows, "dim": archive.dim}
    path = archive.path.with_name(f".{archive.path.name}.float32")
    with ExitStack() as stack:
        if _key_of(path) != key:
            if not os.access(archive.path.parent, os.W_OK):
                path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandbridge-")), path.name)
            _write(path, archive.vectors(), key)
        yield np.memmap(path, np.float32, "r", shape=(archive.rows, archive.dim))


def _write(path: Path, vectors: Iterator[NDArray[np.float32]], key: dict[str, int]) -> None:
    with whole_file(path, durable=False) as part, part.open("wb") as file:
        for block in vectors:
            file.write(np.ascontiguousarray(block, np.float32).tobytes())
        file.write(json.dumps(key).encode().ljust(_FOOTER))


def _key_of(path: Path) -> dict[str, int] | None:
    """The archive that a file of vectors was made from; None if it is not such a file."""
    try:
        with path.open("rb") as file:
            file.seek(-_FOOTER, os.SEEK_END)
            content: dict[str, int] = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return content
