"""A polygon file out of an archive or a folder, read by the one driver of its format."""

import glob
import json
import re
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas
import pyogrio
from pyproj import CRS
from pyproj.exceptions import CRSError

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.ingest.archives import member_names, only_name, read_member
from bandbridge.ingest.junk import is_junk
from bandbridge.ingest.names import matches
from bandbridge.ingest.readers.images import TIFF_MARKS

SHAPEFILE, SQLITE, PARQUET, ZIP = b"\x00\x00\x27\x0a", b"SQLite format 3\0", b"PAR1", b"PK\x03\x04"
# Of the formats that are read, in a zip.
ENDINGS = (".shp", ".gpkg", ".geojson", ".json", ".geojsonl", ".parquet", ".geoparquet")
GEOPACKAGE_ENDING, PARQUET_ENDING = ".gpkg", ".parquet"
# Kinds of layers that hold no areas, also as '3D Point' or 'LineString Z'.
NO_AREAS = re.compile(r"point|line|curve\b|circularstring", re.IGNORECASE)
# Of the files beside a shapefile those that GDAL needs; others may lead elsewhere.
SIDE_FILES = (".shp", ".shx", ".dbf", ".prj", ".cpg")
# A shapefile's index is made where it is missing: in a folder of our own.
pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": "YES"})
# The keys of a GeoJSON file that are read.
NAMED_CRS = re.compile(r"(urn:ogc:def:crs:|EPSG:|OGC:|ESRI:|IAU:)[\w.:-]+", re.IGNORECASE)
GEOJSON_KEYS = ("type", "name", "crs", "bbox", "features")
# SQL of a database that reaches beyond it, through GDAL's own functions and virtual tables.
VIRTUAL = re.compile(r"virtual\s+table.*?\busing\s+(\w+)", re.IGNORECASE | re.DOTALL)
OWN_VIRTUAL_TABLES = ("rtree", "fts3", "fts4", "fts5")
REACHING_OUT = re.compile(r"\b(ogr_\w+|load_extension|readfile|writefile|fts3_tokenizer)\s*\(", re.IGNORECASE)


def polygons_path(places: Sequence[Path], pattern: str) -> Path:
    """The first of some archives and folders that holds a polygon file that matches a pattern.

    Raises:
        UserError: none of them does; the message lists them.
    """
    places = [place for place in dict.fromkeys(places) if place.exists()]
    for place in places:
        if any(matches(name, pattern) and not is_junk(name) for name in member_names(place)):
            return place
    raise UserError(f"no file matches; looked in {', '.join(map(str, places))}")


def read_polygons(path: Path, pattern: str, layer: str | None = None, crs: str | None = None) -> geopandas.GeoDataFrame:
    """The polygon file that matches a pattern: GeoPackage, GeoJSON, GeoParquet or a shapefile with its side files.

    The format is determined from the content, never by trying drivers: GDAL has some that open other files (VRT), run
    commands (GDALG) or fetch schemas (GML).

    Args:
        layer: of a GeoPackage; None for the only one that may hold polygons.
        crs: the reference system of the coordinates, whatever the file states.

    Raises:
        UserError: no file matches or several do, it is of another format, it reaches out for other data, several of
            its layers may hold polygons, or it has no such layer.
    """
    names = member_names(path)
    data = [name for name in names if not is_junk(name) and matches(name, pattern)]
    main = data[0] if len(data) == 1 else only_name(path, names, pattern)
    content = read_member(path, main)
    if content.startswith(ZIP):
        return _zipped(content, main, layer, crs)
    with tempfile.TemporaryDirectory() as directory:
        file = _written(content, Path(directory), lambda: _side_files(path, names, main))
        try:
            frame = geopandas.read_parquet(file) if file.suffix == PARQUET_ENDING else _layer(file, main, layer)
        # pyogrio's own errors are RuntimeErrors, pyarrow's ValueErrors.
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).replace(f"{directory}/", "")
            raise UserError(f"{main} cannot be read ({reason}); get the file again") from error
    return frame if crs is None else frame.set_crs(_system(crs), allow_override=True)


def _zipped(content: bytes, main: str, layer: str | None, crs: str | None) -> geopandas.GeoDataFrame:
    """The one polygon file of a zip, as shapefiles are often passed on."""
    with tempfile.TemporaryDirectory() as directory:
        packed = Path(directory) / "polygons.zip"
        packed.write_bytes(content)
        names = [name for name in member_names(packed) if not is_junk(name)]
        inner = sorted(name for name in names if name.lower().endswith(ENDINGS))
        if len(inner) != 1:
            listed = ", ".join((inner or names)[:3]) or "nothing"
            raise UserError(f"{main} holds {len(inner)} files of polygons ({listed}), expected one; unpack it")
        return read_polygons(packed, glob.escape(inner[0]), layer, crs)


def _layer(file: Path, main: str, layer: str | None) -> geopandas.GeoDataFrame:
    kinds = {str(name): kind for name, kind in pyogrio.list_layers(file)}
    # Beside them lie tables without geometry, such as QGIS's layer_styles, and layers of points and lines.
    areas = [name for name, kind in kinds.items() if kind is not None and not NO_AREAS.search(kind)]
    if layer is None and len(areas) > 1:
        listed = ", ".join(f"{name} ({_count(file, name)})" for name in areas)
        raise UserError(f"{main} has {len(areas)} layers: {listed}; name one with the option layer")
    if layer is not None and layer not in kinds:
        if file.suffix == GEOPACKAGE_ENDING:
            guess = did_you_mean(layer, kinds)
            raise UserError(f"{main} has no layer '{layer}' (option layer); it has: {', '.join(kinds)}.{guess}")
        raise UserError(f"{main} has one layer and no name for it; remove the option layer ('{layer}')")
    return geopandas.read_file(file, layer=layer or next(iter(areas or kinds)))


def _count(file: Path, layer: str) -> str:
    facts = pyogrio.read_info(file, layer=layer)
    return f"{facts['features']} of the kind {facts['geometry_type']}, columns {', '.join(facts['fields'])}"


def _system(crs: str) -> CRS:
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise UserError(f"polygons_crs is '{crs}', no reference system; expected one like EPSG:32633") from error


def _written(content: bytes, folder: Path, side_files: Callable[[], Mapping[str, bytes]]) -> Path:
    """Write the content under a fixed name to an empty folder; a `UserError` where it could reach other files."""
    if content.startswith(SQLITE):
        file = (folder / "polygons").with_suffix(GEOPACKAGE_ENDING)
        file.write_bytes(content)
        must_keep_to_itself(file)
    elif content.startswith(PARQUET):
        file = (folder / "polygons").with_suffix(PARQUET_ENDING)
        file.write_bytes(content)
    elif content.startswith(SHAPEFILE):
        file = folder / "polygons.shp"
        parts = {**side_files(), ".shp": content}
        if ".dbf" not in parts:
            raise UserError("is a shapefile without its .dbf, which has the columns; put it beside it")
        if ".cpg" not in parts and _is_utf8(parts[".dbf"]):
            parts[".cpg"] = b"UTF-8"
        for suffix, beside in parts.items():
            file.with_suffix(suffix).write_bytes(beside)
    elif content.startswith(TIFF_MARKS):
        raise UserError("is a raster of labels; make polygons of it (gdal_polygonize.py FILE polygons.gpkg)")
    else:
        file = folder / "polygons.geojson"
        file.write_text(json.dumps(_geojson(content)), encoding="utf-8")
    return file


def _is_utf8(dbf: bytes) -> bool:
    """Whether the records of a table that states no encoding can be nothing but UTF-8."""
    records = dbf[int.from_bytes(dbf[8:10], "little") :]
    try:
        return not records.isascii() and bool(records.decode())
    except UnicodeDecodeError:
        return False


def _side_files(path: Path, names: Sequence[str], main: str) -> dict[str, bytes]:
    stem = PurePosixPath(main).with_suffix("")
    beside = [name for name in names if PurePosixPath(name).with_suffix("") == stem and name != main]
    name_by_suffix = {PurePosixPath(name).suffix.lower(): name for name in beside}
    return {suffix: read_member(path, name) for suffix, name in name_by_suffix.items() if suffix in SIDE_FILES}


def _geojson(content: bytes) -> dict[str, object]:
    """The known keys of a collection of features: other keys could make another driver open it."""
    try:
        read = _features(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError("is no GeoPackage, GeoJSON, GeoParquet or shapefile; save it as one of these") from error
    if not isinstance(read, dict) or read.get("type") != "FeatureCollection":
        kind = read.get("type") if isinstance(read, dict) else type(read).__name__
        raise UserError(f"is JSON of the type {kind!r}, expected a FeatureCollection of GeoJSON")
    crs = read.get("crs")
    if crs is not None and not is_named(crs):
        # Of the other ways, `url` and `link` have GDAL fetch whatever they name.
        raise UserError(
            f"states its reference system as {json.dumps(crs)[:200]}, expected "
            '{"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}} or none'
        )
    return {key: read[key] for key in GEOJSON_KEYS if key in read}


def _features(text: str) -> Any:
    """The JSON of a text, in which features may stand alone, or one on each line."""
    try:
        read = json.loads(text)
    except ValueError:
        read = [json.loads(line) for line in (line.strip("\x1e \t\r") for line in text.splitlines()) if line]
        if not read or any(not isinstance(item, dict) or item.get("type") != "Feature" for item in read):
            raise
        return {"type": "FeatureCollection", "features": read}
    is_one = isinstance(read, dict) and read.get("type") == "Feature"
    return {"type": "FeatureCollection", "features": [read]} if is_one else read


def is_named(crs: Any) -> bool:
    """Whether a reference system in GeoJSON is a name, not an address from which it is to be fetched."""
    properties = crs.get("properties") if isinstance(crs, dict) and crs.get("type") == "name" else None
    return isinstance(properties, dict) and NAMED_CRS.fullmatch(str(properties.get("name"))) is not None


def must_keep_to_itself(file: Path) -> None:
    """A `UserError` where a GeoPackage is damaged or its SQL reaches beyond it."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            schema = [str(sql) for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    except sqlite3.Error as error:
        raise UserError(f"is a damaged GeoPackage ({error}); get the file again") from error
    for sql in schema:
        module = VIRTUAL.search(sql)
        if (module and module[1].lower() not in OWN_VIRTUAL_TABLES) or REACHING_OUT.search(sql):
            raise UserError(f"is a GeoPackage that reaches out for other data: {' '.join(sql.split())[:200]}")
