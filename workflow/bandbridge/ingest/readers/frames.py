"""Tables of samples as files have them: text with any separator, (Geo)Parquet, GeoPackage, GeoJSON, STAC items."""

import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow.parquet
import pyogrio
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.ingest.archives import MAX_MEMBER_BYTES, ZIP_SUFFIXES, member_names, read_member
from bandbridge.ingest.junk import is_junk
from bandbridge.ingest.names import composed
from bandbridge.ingest.readers.polygons import GEOPACKAGE_ENDING, SQLITE, is_named, must_keep_to_itself
from bandbridge.ingest.stac import HREF, PROPERTIES
from bandbridge.ingest.text_files import read_table, read_text

TEXT = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
PARQUET = (".parquet", ".geoparquet", ".pq")
JSON = (".json", ".geojson")
JSON_LINES = (".jsonl", ".ndjson", ".geojsonl")
KINDS = (*TEXT, *PARQUET, *JSON, *JSON_LINES, GEOPACKAGE_ENDING)
GZIP = ".gz"
PACKED = (GZIP, *ZIP_SUFFIXES)
WGS84 = "OGC:CRS84"
# Columns that are added to a table: the middle of a row's geometry, in degrees.
LATITUDE, LONGITUDE = "geometry: latitude", "geometry: longitude"
MOST_SHOWN = 30


def unpacked_table(path: Path, folder: Path) -> Path:
    """The table in a file of gzip, or the only one in a zip, as a file of `folder`; other paths as they are.

    Raises:
        UserError: the file is damaged, unpacks to more than a file may hold, or holds another number of tables.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return path
    if suffix == GZIP:
        try:
            with gzip.open(path) as packed:
                content = packed.read(MAX_MEMBER_BYTES + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged or incomplete ({error}); get the file again") from error
        if len(content) > MAX_MEMBER_BYTES:
            raise UserError(f"{path} unpacks to more than {MAX_MEMBER_BYTES:,} bytes; unpack it")
        name = path.stem
    else:
        names = [name for name in member_names(path) if not is_junk(name)]
        tables = [name for name in names if name.lower().endswith(KINDS)]
        if len(tables) != 1:
            listed = ", ".join((tables or names)[:3]) or "nothing"
            raise UserError(f"{path} holds {len(tables)} tables ({listed}), expected one; unpack it")
        content, name = read_member(path, tables[0]), Path(tables[0]).name
    file = folder / name
    file.write_bytes(content)
    return file


def read_columns(path: Path, named: Mapping[str, str]) -> dict[str, list[Any]]:
    """Columns of a table, as lists; texts unchanged, as in a text file.

    A dotted name leads into columns of records: `assets.image.href` of STAC items. Then the asset, `assets.image`, and
    `stac.PROPERTIES` are further columns. Where the table has geometries (GeoParquet, GeoJSON, STAC), `LATITUDE` and
    `LONGITUDE` are.

    Args:
        named: column -> the option that names it, for the error.

    Raises:
        UserError: the file is missing, damaged or of another format, has no rows or lacks a column.
    """
    frame = _frame(path, named).rename(columns=lambda name: composed(str(name)))
    if frame.empty:
        raise UserError(f"{path} has no rows; expected one per sample")
    columns = {}
    for name, option in named.items():
        if (count := frame.columns.tolist().count(composed(name))) > 1:
            raise UserError(f"{path} has {count} columns '{name}' (option {option}); rename or remove all but one")
        values = _values(frame, composed(name))
        if values is None:
            present = [str(column) for column in frame.columns if column not in (LATITUDE, LONGITUDE)]
            listed = ", ".join(present[:MOST_SHOWN]) + (" ..." if len(present) > MOST_SHOWN else "")
            guess = did_you_mean(name, present)
            raise UserError(f"{path} has no column '{name}' (option {option}); it has: {listed}.{guess}")
        columns[name] = values
    assets = [name.removesuffix(HREF) for name in named if name.endswith(HREF)]
    for name in assets:
        if (values := _values(frame, composed(name))) is not None:
            columns.setdefault(name, values)
    for name in (LATITUDE, LONGITUDE, *(PROPERTIES if assets else ())):
        if name in frame.columns:
            columns[name] = frame[name].tolist()
    return columns


def _frame(path: Path, named: Collection[str]) -> pandas.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET:
            return _parquet(path)
        if suffix in TEXT:
            return read_table(path, TEXT[suffix], named)
        if suffix in JSON_LINES:
            return _records([json.loads(line) for line in read_text(path).splitlines() if line.strip()])
        if suffix in JSON:
            content = json.loads(read_text(path))
            return _records(_features(content), _system(content))
        if suffix == GEOPACKAGE_ENDING:
            return _geopackage(path, named)
    except pandas.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty; expected a line of column names and a row per sample") from error
    # pandas', pyarrow's and shapely's own errors are ValueErrors; a file may state depths that no reader follows.
    except (
        *(OSError, ValueError, RecursionError, UserError),
        *(CRSError, shapely.errors.ShapelyError, pyogrio.errors.DataSourceError),
    ) as error:
        raise UserError(f"{path} cannot be read as a table ({' '.join(str(error).split())})") from error
    raise UserError(
        f"{path} is no readable table; expected {', '.join(KINDS)}, as it is, in a zip or with {GZIP}; save sheets of "
        "Excel or LibreOffice as CSV"
    )


def _values(frame: pandas.DataFrame, name: str) -> list[Any] | None:
    if name in frame.columns:
        values: list[Any] = frame[name].tolist()
        return values
    column, _, rest = name.partition(".")
    if not rest or column not in frame.columns:
        return None
    cells = [_inside(cell, rest.split(".")) for cell in frame[column]]
    return cells if any(cell is not None for cell in cells) else None


def _inside(cell: Any, keys: Sequence[str]) -> Any:
    for at, key in enumerate(keys):
        if not isinstance(cell, Mapping):
            return None
        # Names of assets may have dots themselves.
        whole = ".".join(keys[at:])
        if whole in cell:
            return cell[whole]
        cell = cell.get(key)
    return cell


# --- formats with geometries ---------------------------------------------------------------------------------------


def _parquet(path: Path) -> pandas.DataFrame:
    if b"geo" not in (pyarrow.parquet.read_schema(path).metadata or {}):
        return _with_index(pandas.read_parquet(path))
    frame = geopandas.read_parquet(path)
    return _with_centres(_with_index(pandas.DataFrame(frame)), frame.geometry.reset_index(drop=True))


def _with_index(frame: pandas.DataFrame) -> pandas.DataFrame:
    """A table whose named index, which pandas writes as columns, is columns again."""
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return (frame.reset_index(level=named) if named else frame).reset_index(drop=True)


def _geopackage(path: Path, named: Collection[str]) -> pandas.DataFrame:
    """The only layer, or of several the one that has all the columns; with or without geometries."""
    with path.open("rb") as file:
        if file.read(len(SQLITE)) != SQLITE:
            raise ValueError("it is no GeoPackage")
    with tempfile.TemporaryDirectory() as folder:
        # GDAL would leave its own files beside the user's.
        copy = Path(shutil.copyfile(path, Path(folder, f"table{GEOPACKAGE_ENDING}")))
        must_keep_to_itself(copy)
        layers = {name: _columns_of_layer(copy, name) for name, _ in pyogrio.list_layers(copy)}
        if len(layers) > 1:
            all_layers = "; ".join(f"{name}: {', '.join(sorted(columns))}" for name, columns in layers.items())
            layers = {name: columns for name, columns in layers.items() if columns.issuperset(named)}
            if len(layers) != 1:
                wanted = ", ".join(named)
                raise ValueError(f"{len(layers)} of its layers have the columns {wanted}; its layers are {all_layers}")
        frame = pyogrio.read_dataframe(copy, layer=next(iter(layers), None), fid_as_index=True)
    if not isinstance(frame, geopandas.GeoDataFrame):
        return _with_index(frame)
    columns = frame.drop(columns=frame.geometry.name)
    return _with_centres(_with_index(pandas.DataFrame(columns)), frame.geometry.reset_index(drop=True))


def _columns_of_layer(path: Path, layer: str) -> set[str]:
    facts = pyogrio.read_info(path, layer=layer)
    return {*facts["fields"], facts["fid_column"]}


def _features(content: Any) -> list[Any]:
    if isinstance(content, Mapping) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    if not isinstance(content, list):
        raise ValueError("expected a FeatureCollection, such as a collection of STAC items, or a list of records")
    return content


def _system(content: Any) -> str:
    """The reference system of a collection of features: WGS 84 (RFC 7946, section 4), unless it names another."""
    crs = content.get("crs") if isinstance(content, Mapping) else None
    if crs is not None and not is_named(crs):
        raise ValueError(f"states its reference system as {json.dumps(crs)[:200]}, expected a name such as EPSG:32633")
    return WGS84 if crs is None else str(crs["properties"]["name"])


def _records(items: Sequence[Any], crs: str = WGS84) -> pandas.DataFrame:
    """One row per item; of features, the properties are columns, and whatever else they have under other names."""
    rows, geometries = [], []
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise ValueError(f"item {number + 1} is no record")
        is_feature = item.get("type") == "Feature"
        rows.append({**item, **(item.get("properties") or {})} if is_feature else item)
        geometries.append(shapely.geometry.shape(item["geometry"]) if is_feature and item.get("geometry") else None)
    frame = pandas.DataFrame(rows, dtype=object)
    if not any(geometries):
        return frame
    return _with_centres(frame, geopandas.GeoSeries(geometries, crs=crs))


def _with_centres(frame: pandas.DataFrame, geometry: geopandas.GeoSeries) -> pandas.DataFrame:
    """The middle of each geometry's bounds, in degrees; none where the table states no reference system."""
    if geometry.crs is None:
        return frame
    bounds = geometry.bounds.to_numpy()
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    if not CRS(geometry.crs).equals(CRS(WGS84), ignore_axis_order=True):
        centres = geopandas.GeoSeries(geopandas.points_from_xy(x, y), crs=geometry.crs).to_crs(WGS84)
        x, y = centres.x.to_numpy(), centres.y.to_numpy()
    nowhere = ~(np.isfinite(x) & np.isfinite(y))
    return frame.assign(**{LATITUDE: np.where(nowhere, np.nan, y), LONGITUDE: np.where(nowhere, np.nan, x)})
