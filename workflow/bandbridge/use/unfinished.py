"""The finished part of an archive of embeddings, in files that survive a kill."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, whole_file, write_json
from bandbridge.base.progress import remark
from bandbridge.use.images import Position, Refused
from bandbridge.use.rasters import bands_of

SECONDS_BETWEEN_PARTS = 20.0
ROWS_PER_PART = 16_384


class Unfinished:
    """Embeddings that are done, in parts beside the archive-to-be: `.<name>.partial/`.

    Attributes:
        rows: in the parts of an earlier process.
        position: behind the last of them.
        refused: what was refused before it.
    """

    def __init__(self, out: Path, about: Mapping[str, Any], images: Sequence[Path]) -> None:
        """Resume what an earlier process left for the same archive of the same images; delete anything else."""
        self._folder, self._key = out.with_name(f".{out.name}.partial"), _key(about, images)
        self.rows, self.position, self.refused = 0, Position(), Refused()
        self._parts = 0
        self._waiting: list[pa.RecordBatch] = []
        self._written = time.monotonic()
        if self._folder.is_dir() and not self._is_resumed():
            remark(f"{out}: the unfinished archive of an earlier call is of other images, model or options: deleted.")
            shutil.rmtree(self._folder)
        if self.rows:
            remark(f"{out}: resuming after {self.rows:,} embeddings of an earlier call.")

    def _is_resumed(self) -> bool:
        try:
            state = read_json(self._folder / "state.json")
            if state["key"] != self._key:
                return False
            paths = [self._part(number) for number in range(state["parts"])]
            self.rows = sum(pq.read_metadata(path).num_rows for path in paths)
            self.position = Position(**state["position"])
            self.refused = Refused([(path, reason) for path, reason in state["refused"]], self.position.windows)
            self._parts = len(paths)
        except (OSError, ValueError, KeyError, TypeError, UserError, pa.ArrowException):
            self.rows, self.position, self.refused = 0, Position(), Refused()
            return False
        return True

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def add(self, batch: pa.RecordBatch, position: Position, refused: Refused) -> None:
        """Keep a batch; every few seconds write what is kept.

        Args:
            batch: rows of the archive.
            position: behind the batch's last row.
            refused: so far.
        """
        self._waiting.append(batch)
        is_time = time.monotonic() - self._written >= SECONDS_BETWEEN_PARTS
        if not is_time and sum(len(waiting) for waiting in self._waiting) < ROWS_PER_PART:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._part(self._parts)) as part:
            pq.write_table(pa.Table.from_batches(self._waiting), part, compression="zstd")
        self._parts += 1
        state = {"key": self._key, "parts": self._parts, "position": asdict(position)}
        write_json(self._folder / "state.json", {**state, "refused": refused.images[: position.refused]}, checked=False)
        self._waiting, self._written = [], time.monotonic()

    def tables(self) -> Iterator[pa.Table]:
        """Yield everything that is done, in order."""
        for number in range(self._parts):
            yield pq.read_table(self._part(number))
        if self._waiting:
            yield pa.Table.from_batches(self._waiting)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _key(about: Mapping[str, Any], images: Sequence[Path]) -> str:
    """A digest of everything that decides an archive."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, ensure_ascii=False, default=list).encode())
    for path in images:
        for file in _files_of(path):
            state = file.stat()
            digest.update(f"{file.absolute()}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_of(image: Path) -> list[Path]:
    if image.is_dir():
        return sorted(path for path in image.rglob("*") if path.is_file())
    if image.suffix.lower() in (".json", ".geojson"):
        try:
            return [image, *sorted({band.path for band in bands_of(image)})]
        except UserError:
            return [image]  # refused when its turn comes
    return [image]
