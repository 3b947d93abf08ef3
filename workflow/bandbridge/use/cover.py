"""Writing a map: cloud-optimised GeoTIFFs with class names, a colour table, no-data, scores."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.shutil import copy
from rasterio.windows import Window

from bandbridge import __version__
from bandbridge.base.files import whole_file
from bandbridge.use.colours import class_colours
from bandbridge.use.rasters import LOCAL

TILE = 512
CREATION = {"driver": "COG", "compress": "DEFLATE", "blocksize": TILE, "bigtiff": "IF_SAFER", "num_threads": "2"}


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a scene."""

    height: int
    width: int
    transform: Affine
    crs: CRS

    @property
    def pixel_km2(self) -> float | None:
        """Area of one pixel in km2; None where the reference system is in degrees."""
        if not self.crs.is_projected:
            return None
        metres = float(self.crs.linear_units_factor[1])
        area: float = abs(self.transform.determinant) * metres**2 / 1e6
        return area


@dataclass(frozen=True, eq=False)
class Cover:
    """The content of a map; `classes` and `scores` return the rows from a top to a bottom.

    Attributes:
        names: of the classes 1, 2, ...; 0 is no-data.
        scores: (class, y, x) whole numbers of type `kind`; None for none.
        measure, scale: meaning of the scores; score = number * scale.
        no_score: type -> the number for no-data.
        tags: written into the files.
    """

    grid: Grid
    names: tuple[str, ...]
    classes: Callable[[int, int], NDArray[np.uint8]]
    scores: Callable[[int, int], NDArray[Any]] | None
    kind: str | None
    measure: str
    scale: float
    no_score: Mapping[str, int]
    tags: Mapping[str, str]


def scores_file(out: Path) -> Path:
    """The file of a map's scores, beside it."""
    return out.with_name(f"{out.stem}.scores{out.suffix}")


def write_cover(cover: Cover, out: Path) -> Path | None:
    """Write the map, `<out>.aux.xml` with the class names for GDAL, and the file of scores, if any.

    Returns:
        The file of scores, None where there are no scores.
    """
    score_file = None
    if cover.scores is not None:
        score_file = scores_file(out)
        assert cover.kind is not None
        _write(cover, score_file, cover.scores, len(cover.names), cover.kind, cover.no_score[cover.kind])
    _write(cover, out, lambda top, bottom: cover.classes(top, bottom)[None], 1, "uint8", 0)
    with whole_file(out.with_name(f"{out.name}.aux.xml")) as part:
        part.write_text(_names_for_gdal(cover.names), encoding="utf-8")
    return score_file


def _write(
    cover: Cover, out: Path, rows: Callable[[int, int], NDArray[Any]], bands: int, kind: str, nodata: int
) -> None:
    grid = cover.grid
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": bands, "dtype": kind, "crs": grid.crs,
        "transform": grid.transform, "nodata": nodata, "tiled": True, "blockxsize": TILE, "blockysize": TILE,
        "compress": "ZSTD", "interleave": "band", "bigtiff": "IF_SAFER",
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder, rasterio.Env(**LOCAL):
        plain = Path(folder, "plain.tif")
        with rasterio.open(plain, "w", **profile) as file:
            for top in range(0, grid.height, TILE):
                bottom = min(top + TILE, grid.height)
                file.write(rows(top, bottom), window=Window(0, top, grid.width, bottom - top))
            file.update_tags(TIFFTAG_SOFTWARE=f"bandbridge {__version__}", **cover.tags)
            if bands == 1:
                file.set_band_description(1, "class")
                colours = class_colours(cover.names)
                file.write_colormap(
                    1, {0: (0, 0, 0, 0), **{index: (*colour, 255) for index, colour in enumerate(colours, 1)}}
                )
            else:
                for number, name in enumerate(cover.names, start=1):
                    file.set_band_description(number, f"{cover.measure} of {name}")
                file.scales = [cover.scale] * bands
        cloud = Path(folder, "cloud.tif")
        copy(plain, cloud, overview_resampling="nearest", **CREATION)
        with whole_file(out) as part:
            cloud.replace(part)


def _names_for_gdal(names: tuple[str, ...]) -> str:
    """GDAL's auxiliary file: category names, which its tools and QGIS show, and the colours as an attribute table."""
    categories = "".join(f"<Category>{escape(name)}</Category>" for name in ("no data", *names))
    fields = "".join(
        f'<FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for index, (name, kind, usage) in enumerate(
            [("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8)]
        )
    )
    rows = "".join(
        f'<Row index="{row}"><F>{row + 1}</F><F>{escape(name)}</F>'
        + "".join(f"<F>{part}</F>" for part in colour)
        + "</Row>"
        for row, (name, colour) in enumerate(zip(names, class_colours(names), strict=True))
    )
    return (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        f'<GDALRasterAttributeTable tableType="thematic">{fields}{rows}</GDALRasterAttributeTable>'
        "</PAMRasterBand></PAMDataset>\n"
    )
