"""Archives of embeddings: GeoParquet that geopandas and DuckDB open, and what search needs of one."""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bandbridge import __version__
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.base.progress import progress
from bandbridge.use.classify import Summary, described, write_refused
from bandbridge.use.images import Outline, Refused, batches, encode, items
from bandbridge.use.model import Model
from bandbridge.use.scenes import Reading

KEY = b"bandbridge"
FORMAT = 1
ROWS_PER_GROUP = 16_384


@dataclass(frozen=True, eq=False)
class Archive:
    """An archive of embeddings.

    Attributes:
        about: model (MODEL as it was named), name, digest, clip, dim, templates, composite, bands, window, stride,
            reading, precision.
        rows: how many.
    """

    path: Path
    about: Mapping[str, Any]
    rows: int

    @property
    def dim(self) -> int:
        return int(self.about["dim"])

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """Unit embeddings (n, dim), a row group at a time."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, ["embedding"])["embedding"].combine_chunks()
                yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim)

    def records(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """All columns but the embedding of these rows, in their order."""
        with pq.ParquetFile(self.path) as file:
            columns = [name for name in file.schema_arrow.names if name != "embedding"]
            found: dict[int, dict[str, Any]] = {}
            start = 0
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                inside = [row for row in rows if start <= row < start + count]
                if inside:
                    table = file.read_row_group(group, columns).take([row - start for row in inside])
                    found |= dict(zip(inside, table.to_pylist(), strict=True))
                start += count
        return [found[row] for row in rows]


def embed_images(
    model: Model,
    paths: list[Path],
    out: Path,
    *,
    size: int | None = None,
    stride: int | None = None,
    reading: Reading = Reading(),  # noqa: B008
) -> Summary:
    """Write the unit embeddings of images, or of their windows of `size` pixels, as an archive.

    Columns: those of `classify.described`, geometry (WKB in WGS 84, null where no place is known), embedding
    (fixed-size list of float32).
    """
    refused, count = Refused(), 0
    about = {
        "format": FORMAT,
        "bandbridge_version": __version__,
        "model": absolute(model.source),
        "name": model.name,
        "digest": model.digest,
        "clip": model.card.clip,
        "dim": model.dim,
        "templates": list(model.card.templates),
        "composite": model.card.composite,
        "bands": list(model.bands),
        "window": size,
        "stride": stride or size,
        "reading": {"bands": reading.bands, "scale": reading.scale, "offset": reading.offset, "crs": reading.crs},
        "precision": str(model.precision),
    }
    schema = _schema(model.dim).with_metadata({KEY: json.dumps(about).encode(), b"geo": json.dumps(_geo()).encode()})
    found = progress(items(model, paths, reading, refused, size, stride), "Embedding", unit="images")
    with whole_file(out) as part, pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=["path"]) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches(found, model.batch_size):
            columns: dict[str, Any] = {name: [] for name in schema.names[:-2]}
            for item in batch:
                for name, value in described(item).items():
                    columns[name].append(str(Path(value).absolute()) if name == "path" else value)
            geometry = pa.array([None if item.outline is None else wkb(item.outline) for item in batch], pa.binary())
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(encode(model, batch).ravel()), model.dim)
            arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
            waiting.append(pa.RecordBatch.from_arrays([*arrays, geometry, vectors], schema=schema))
            count += len(batch)
            if sum(len(item) for item in waiting) >= ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))
    return Summary(count, refused, write_refused(out, refused))


def open_archive(path: Path) -> Archive:
    """An archive that `embed_images` wrote.

    Raises:
        UserError: there is none, or the file is of another kind.
    """
    if not path.is_file():
        raise UserError(f"{path} not found; make an archive with bandbridge embed MODEL IMAGES --out {path.name}.")
    try:
        with pq.ParquetFile(path) as file:
            metadata, rows = file.schema_arrow.metadata or {}, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: no Parquet file ({error}); expected what bandbridge embed writes.") from error
    if KEY not in metadata:
        raise UserError(f"{path}: a Parquet file, but no archive of embeddings; make one with bandbridge embed.")
    about = json.loads(metadata[KEY])
    if about["format"] > FORMAT:
        raise UserError(f"{path} has format {about['format']}; this version reads {FORMAT}: update bandbridge.")
    return Archive(path, about, rows)


def absolute(source: str) -> str:
    """MODEL so that it is found from any folder."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def wkb(outline: Outline) -> bytes:
    """A polygon of one ring as well-known binary, little endian (OGC 06-103r4)."""
    points = b"".join(struct.pack("<dd", *point) for point in outline)
    return struct.pack("<BIII", 1, 3, 1, len(outline)) + points


def _schema(dim: int) -> pa.Schema:
    texts = [pa.field(name, pa.string()) for name in ("path", "sample")]
    numbers = [pa.field(name, pa.int32()) for name in ("row", "col", "height", "width")]
    rest = [pa.field("geometry", pa.binary()), pa.field("embedding", pa.list_(pa.float32(), dim))]
    return pa.schema([*texts, *numbers, *rest])


def _geo() -> dict[str, Any]:
    """GeoParquet 1.1; without a `crs`, coordinates are longitude and latitude (OGC:CRS84)."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon"]}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
