"""Results per image as a table: CSV, Parquet, GeoJSON, GeoPackage."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.base.limits import check_writable
from bandbridge.base.untrusted import as_cell
from bandbridge.use.images import Outline
from bandbridge.use.rasters import SUFFIXES

TABLES, MAPS = (".csv", ".parquet"), (".geojson", ".gpkg")
WGS84 = "EPSG:4326"


def must_be_writable(out: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Raise `UserError` before any work if the result could not be written, or would replace an input.

    Args:
        out: of the result.
        suffixes: that it may have.
        inputs: files and folders that the command reads.
    """
    if out.suffix.lower() not in suffixes:
        raise UserError(f"--out is {out}; its ending decides the format: {', '.join(suffixes)}.")
    if out.is_dir():
        raise UserError(f"--out is {out}, which is a folder; name a file.")
    check_writable(out.parent, "--out")
    for path in inputs:
        # In a folder only images are inputs: a table of an earlier call may be replaced.
        within = path.is_dir() and out.suffix.lower() in SUFFIXES and path.resolve() in out.resolve().parents
        if out.exists() and (within or (path.exists() and out.samefile(path))):
            raise UserError(f"--out is {out}, which the command reads; name another file, or it would be lost.")


def write_table(out: Path, rows: Sequence[Mapping[str, Any]], outlines: Sequence[Outline | None]) -> None:
    """Write rows, whole or not at all; GeoJSON and GeoPackage with their outlines, in WGS 84.

    Raises:
        UserError: the format needs places, and a row has none.
    """
    kind = out.suffix.lower()
    if kind in MAPS and None in outlines:
        raise no_place(out, next(row["path"] for row, outline in zip(rows, outlines, strict=True) if outline is None))
    with whole_file(out) as part:
        _write_frame(part, kind, rows, outlines)


def no_place(out: Path, image: str) -> UserError:
    """What to raise for an image without a place in a format that needs one."""
    return UserError(
        f"{out}: {image} states no reference system, and the format needs a place. Write .csv or .parquet, or state "
        "it: --crs EPSG:32633."
    )


def _write_frame(path: Path, kind: str, rows: Sequence[Mapping[str, Any]], outlines: Sequence[Outline | None]) -> None:
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if kind == ".csv":
        cells = frame.map(lambda cell: as_cell(cell) if isinstance(cell, str) else cell)
        cells.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
        return
    if kind == ".parquet" and not any(outlines):
        frame.to_parquet(path)
        return
    import geopandas
    from shapely.geometry import Polygon

    shapes = [None if outline is None else Polygon(outline) for outline in outlines]
    placed = geopandas.GeoDataFrame(frame, geometry=shapes, crs=WGS84)
    if kind == ".parquet":
        placed.to_parquet(path)
    else:
        # GDAL needs a name with the right ending that does not exist yet.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            file = Path(folder, f"table{kind}")
            placed.to_file(file, driver="GPKG" if kind == ".gpkg" else "GeoJSON", engine="pyogrio")
            file.replace(path)
