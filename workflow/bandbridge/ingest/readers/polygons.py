"""A polygon file out of an archive or a folder, read by the one driver of its format."""

import json
import re
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas

from bandbridge.base.errors import UserError
from bandbridge.ingest.archives import member_names, only_name, read_member

SHAPEFILE, SQLITE = b"\x00\x00\x27\x0a", b"SQLite format 3\0"
# Of the files beside a shapefile those that GDAL needs; others may lead elsewhere.
SIDE_FILES = (".shp", ".shx", ".dbf", ".prj", ".cpg")
# What a GeoJSON file says that counts here, beside its features.
NAMED_CRS = re.compile(r"(urn:ogc:def:crs:|EPSG:|OGC:|ESRI:|IAU:)[\w.:-]+", re.IGNORECASE)
GEOJSON_KEYS = ("type", "name", "crs", "bbox", "features")
# SQL of a database that reaches beyond it, through GDAL's own functions and virtual tables.
VIRTUAL = re.compile(r"virtual\s+table.*?\busing\s+(\w+)", re.IGNORECASE | re.DOTALL)
OWN_VIRTUAL_TABLES = ("rtree", "fts3", "fts4", "fts5")
REACHING_OUT = re.compile(r"\b(ogr_\w+|load_extension|readfile|writefile|fts3_tokenizer)\s*\(", re.IGNORECASE)


def read_polygons(path: Path, pattern: str) -> geopandas.GeoDataFrame:
    """The polygon file that matches a pattern: GeoPackage, GeoJSON or a shapefile with its side files.

    The format is told by the content, never by trying drivers: GDAL has some that open other files (VRT), run commands
    (GDALG) or fetch schemas (GML).

    Raises:
        UserError: no file matches or several do, it is of another format, or it reaches out for other data.
    """
    names = member_names(path)
    main = only_name(path, names, pattern)
    content = read_member(path, main)
    with tempfile.TemporaryDirectory() as directory:
        file = _written(content, Path(directory), lambda: _side_files(path, names, main))
        try:
            return geopandas.read_file(file)
        except (OSError, ValueError, RuntimeError) as error:  # pyogrio's own errors are RuntimeErrors
            reason = str(error).replace(f"{directory}/", "")
            raise UserError(f"{main} cannot be read ({reason}); get the file again") from error


def _written(content: bytes, folder: Path, side_files: Callable[[], Mapping[str, bytes]]) -> Path:
    """The file under a name of ours in an empty folder, as far as it is harmless."""
    if content.startswith(SQLITE):
        file = folder / "polygons.gpkg"
        file.write_bytes(content)
        _must_keep_to_itself(file)
    elif content.startswith(SHAPEFILE):
        file = folder / "polygons.shp"
        for suffix, beside in {**side_files(), ".shp": content}.items():
            file.with_suffix(suffix).write_bytes(beside)
    else:
        file = folder / "polygons.geojson"
        file.write_text(json.dumps(_geojson(content)), encoding="utf-8")
    return file


def _side_files(path: Path, names: Sequence[str], main: str) -> dict[str, bytes]:
    stem = PurePosixPath(main).with_suffix("")
    beside = [name for name in names if PurePosixPath(name).with_suffix("") == stem and name != main]
    found = {PurePosixPath(name).suffix.lower(): name for name in beside}
    return {suffix: read_member(path, name) for suffix, name in found.items() if suffix in SIDE_FILES}


def _geojson(content: bytes) -> dict[str, object]:
    """The known keys of a collection of features: what else a file says could make another driver take it."""
    try:
        read = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError("is no GeoPackage, GeoJSON or shapefile; save it as one of these") from error
    if not isinstance(read, dict) or read.get("type") != "FeatureCollection":
        kind = read.get("type") if isinstance(read, dict) else type(read).__name__
        raise UserError(f"is JSON of the type {kind!r}, expected a FeatureCollection of GeoJSON")
    crs = read.get("crs")
    if crs is not None and not _is_named(crs):
        # Of the other ways, `url` and `link` have GDAL fetch whatever they name.
        raise UserError(
            f"states its reference system as {json.dumps(crs)[:200]}, expected "
            '{"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}} or none'
        )
    return {key: read[key] for key in GEOJSON_KEYS if key in read}


def _is_named(crs: Any) -> bool:
    properties = crs.get("properties") if isinstance(crs, dict) and crs.get("type") == "name" else None
    return isinstance(properties, dict) and NAMED_CRS.fullmatch(str(properties.get("name"))) is not None


def _must_keep_to_itself(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            schema = [str(sql) for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    except sqlite3.Error as error:
        raise UserError(f"is a damaged GeoPackage ({error}); get the file again") from error
    for sql in schema:
        module = VIRTUAL.search(sql)
        if (module and module[1].lower() not in OWN_VIRTUAL_TABLES) or REACHING_OUT.search(sql):
            raise UserError(f"is a GeoPackage that reaches out for other data: {' '.join(sql.split())[:200]}")
