"""Archives of embeddings: GeoParquet that geopandas and DuckDB open."""

import json
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
from bandbridge.use.images import Item, batches, encode, items, list_images, nothing_left
from bandbridge.use.model import Model
from bandbridge.use.one_writer import only_writer
from bandbridge.use.scenes import Reading
from bandbridge.use.unfinished import Unfinished

KEY = b"bandbridge"
FORMAT = 1
ROWS_PER_GROUP = 16_384


@dataclass(frozen=True, eq=False)
class Archive:
    """An archive of embeddings.

    Attributes:
        about: model (MODEL as the user named it), name, digest, clip, dim, templates, composite, bands, window, stride,
            reading, precision.
        rows: number of embeddings.
    """

    path: Path
    about: Mapping[str, Any]
    rows: int

    @property
    def dim(self) -> int:
        return int(self.about["dim"])

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """Yield unit embeddings (n, dim), one row group at a time."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, ["embedding"])["embedding"].combine_chunks()
                yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Whole columns, in the archive's order."""
        return pq.read_table(self.path, columns=list(names))

    def records(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """All columns but the embedding of these rows, in their order."""
        with pq.ParquetFile(self.path) as file:
            columns = [name for name in file.schema_arrow.names if name != "embedding"]
            records: dict[int, dict[str, Any]] = {}
            start = 0
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                inside = [row for row in rows if start <= row < start + count]
                if inside:
                    table = file.read_row_group(group, columns).take([row - start for row in inside])
                    records |= dict(zip(inside, table.to_pylist(), strict=True))
                start += count
        return [records[row] for row in rows]


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

    Columns: those of `classify.described`, geometry (WKB in WGS 84, null where no place is known) and embedding
    (fixed-size list of float32). A call that was killed resumes when it is repeated.
    """
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
    images = list_images(paths)
    with only_writer(out, "bandbridge embed"):
        unfinished = Unfinished(out, about, images)
        refused, start = unfinished.refused, unfinished.position
        stream = items(model, images, reading, refused, size, stride, start)
        rows = unfinished.rows
        for batch in batches(progress(stream, "Embedding", unit="images", done=rows), model.batch_size):
            unfinished.add(_record_batch(schema, batch, encode(model, batch)), batch[-1].position, refused)
            rows += len(batch)
        if not rows:
            raise nothing_left(images, refused)
        _write(out, schema, unfinished.tables())
        unfinished.remove()
        return Summary(rows, refused, write_refused(out, refused))


def _record_batch(schema: pa.Schema, batch: Sequence[Item], embeddings: NDArray[np.float32]) -> pa.RecordBatch:
    from shapely import Polygon, to_wkb

    columns: dict[str, Any] = {name: [] for name in schema.names[:-2]}
    for item in batch:
        for name, value in described(item).items():
            columns[name].append(str(Path(value).absolute()) if name == "path" else value)
    places = [None if item.outline is None else Polygon(item.outline) for item in batch]
    geometry = pa.array(to_wkb(np.array(places, object)), pa.binary())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    return pa.RecordBatch.from_arrays([*arrays, geometry, vectors], schema=schema)


def _write(out: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """Write tables as an archive, in row groups of one size however long the tables are."""
    waiting = schema.empty_table()
    with whole_file(out) as part, pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=["path"]) as writer:
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= ROWS_PER_GROUP:
                writer.write_table(waiting.slice(0, ROWS_PER_GROUP))
                waiting = waiting.slice(ROWS_PER_GROUP)
        if len(waiting):
            writer.write_table(waiting)


def open_archive(path: Path) -> Archive:
    """An archive that `embed_images` wrote.

    Raises:
        UserError: the file is missing, or not an archive.
    """
    if not path.is_file():
        raise UserError(f"{path} not found; make an archive with bandbridge embed MODEL IMAGES --out {path.name}.")
    try:
        with pq.ParquetFile(path) as file:
            metadata, rows = file.schema_arrow.metadata or {}, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({error}); expected an archive of bandbridge embed.") from error
    if KEY not in metadata:
        raise UserError(f"{path}: a Parquet file, but not an archive of embeddings; make one with bandbridge embed.")
    about = json.loads(metadata[KEY])
    if about["format"] > FORMAT:
        raise UserError(f"{path} has format {about['format']}; this version reads {FORMAT}: update bandbridge.")
    return Archive(path, about, rows)


def absolute(source: str) -> str:
    """MODEL as an absolute path if it is one, so that it is found from any folder."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def _schema(dim: int) -> pa.Schema:
    texts = [pa.field(name, pa.string()) for name in ("path", "sample")]
    numbers = [pa.field(name, pa.int32()) for name in ("row", "col", "height", "width")]
    rest = [pa.field("geometry", pa.binary()), pa.field("embedding", pa.list_(pa.float32(), dim))]
    return pa.schema([*texts, *numbers, *rest])


def _geo() -> dict[str, Any]:
    """GeoParquet 1.1; without a `crs`, coordinates are longitude and latitude (OGC:CRS84)."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon"]}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
