"""VRT files: which files of the same archive a scene's bands are in, and how they are put together.

GDAL's own driver for them opens any file and any address; here only files of the archive are read, and only what
gdalbuildvrt writes is followed.
"""

import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.transform import array_bounds
from rasterio.windows import Window

from bandbridge.base.errors import UserError
from bandbridge.base.safe_xml import parsed
from bandbridge.base.untrusted import leads_out
from bandbridge.ingest.declarations import grid_of_points, scales_of
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES

ENDING = ".vrt"
BEGINNING = b"<VRTDataset"
SOURCES = ("SimpleSource", "ComplexSource")
# Parts of a source that do not change its values, and the one that does.
KNOWN_PARTS = {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA", "OpenOptions"}
ADVICE = "write it as a GeoTIFF (gdal_translate scene.vrt scene.tif)"
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Source:
    """Where a band, or a part of it, comes from: a band of a file, from one rectangle of pixels to another."""

    file: str
    band: int
    read: Rectangle | None
    placed: Rectangle | None
    nodata: float | None


@dataclass(frozen=True)
class Virtual:
    """A VRT's grid and bands, each with its sources in the order in which they are painted."""

    height: int
    width: int
    crs: CRS | None
    transform: Affine | None
    bands: tuple[tuple[Source, ...], ...]
    names: tuple[str, ...]
    fills: tuple[float | None, ...]
    scalings: tuple[tuple[float, float] | None, ...] = ()  # scale and offset that it states itself

    def whole_files(self, opened: Callable[[str], DatasetReader]) -> list[Source] | None:
        """The source of each of its bands, where each is the whole of a file, in its own place; None for a mosaic."""
        whole = (0.0, 0.0, float(self.width), float(self.height))
        if not all(len(sources) == 1 and sources[0].placed in (None, whole) for sources in self.bands):
            return None
        return (
            [source for (source,) in self.bands] if all(self._is_of(band[0], opened) for band in self.bands) else None
        )

    def _is_of(self, source: Source, opened: Callable[[str], DatasetReader]) -> bool:
        file = opened(source.file)
        if source.read not in (None, (0.0, 0.0, float(file.width), float(file.height))):
            return False
        if self.transform is None or self.crs is None or file.gcps[0]:
            return True
        half = abs(self.transform.a) / 2
        mine, of_file = array_bounds(self.height, self.width, self.transform), file.bounds
        return file.crs == self.crs and bool(np.allclose(mine, of_file, rtol=0, atol=half))

    def must_be_plain(self, opened: Callable[[str], DatasetReader], is_mosaic: bool) -> None:
        """A `ValueError` where it or its sources state what is lost when they are put together, or contradict it."""
        first = opened(self.bands[0][0].file)
        for number, sources in enumerate(self.bands):
            stated = {(scales_of(file)[at - 1], file.offsets[at - 1]) for file, at in _files(sources, opened)}
            own = self.scalings[number] if self.scalings else None
            is_lost = is_mosaic and first.count != len(self.bands) and stated != {(1.0, 0.0)}
            if is_lost or len(stated | ({own} if own else set())) > 1:
                raise ValueError("scale and offset of a band are not those of its sources")
            if is_mosaic and any(
                {MaskFlags.per_dataset, MaskFlags.alpha} & {*file.mask_flag_enums[at - 1]}
                for file, at in _files(sources, opened)
            ):
                raise ValueError("its sources have masks")


def _files(sources: Sequence[Source], opened: Callable[[str], DatasetReader]) -> Iterator[tuple[DatasetReader, int]]:
    return ((opened(source.file), source.band) for source in sources)


def read_virtual(path: Path, file: str, content: bytes, names: Sequence[str]) -> Virtual:
    """The content of a VRT; its files must be members of the same archive or folder.

    Raises:
        UserError: it is no VRT that gdalbuildvrt writes, or leads to a file that is missing or lies elsewhere.
    """
    try:
        xml = parsed(content)
        if xml.tag != "VRTDataset" or xml.get("subClass"):
            raise ValueError(f"it is a {xml.get('subClass') or xml.tag}, expected a plain VRTDataset")
        bands = [element for element in xml if element.tag == "VRTRasterBand"]
        if not bands:
            raise ValueError("it has no bands")
        if any((text.text or "").strip()[:4] != "mask" for text in xml.findall("MaskBand//SourceBand")):
            raise ValueError("a band of data is its mask")
        height, width = int(xml.get("rasterYSize", "")), int(xml.get("rasterXSize", ""))
        crs, transform = _place(xml, height, width)
        return Virtual(
            height,
            width,
            crs,
            transform,
            tuple(_sources(path, file, band, names) for band in bands),
            tuple((band.findtext("Description") or "").strip() for band in bands),
            tuple(_number(band.findtext("NoDataValue")) for band in bands),
            tuple(_scaling(band) for band in bands),
        )
    except ValueError as error:  # rasterio's CRSError is one
        raise not_followed(path, file, error) from error


def _place(xml: ElementTree.Element, height: int, width: int) -> tuple[CRS | None, Affine | None]:
    """Reference system and transform; of ground control points, where it has these alone and a grid follows them."""
    numbers = (xml.findtext("GeoTransform") or "").split(",")
    transform = Affine.from_gdal(*map(float, numbers)) if len(numbers) == 6 else None
    if transform is None and (listed := xml.find("GCPList")) is not None:
        points = [
            GroundControlPoint(*(float(point.get(key, "nan")) for key in ("Line", "Pixel", "X", "Y")))
            for point in listed.findall("GCP")
        ]
        system = listed.get("Projection")
        grid = grid_of_points(points, CRS.from_user_input(system) if system else None, height, width)
        if grid is None:
            raise ValueError("no grid of pixels follows its ground control points; gdalwarp brings it to one")
        return CRS.from_user_input(grid.crs), grid.affine
    system = xml.findtext("SRS")
    return CRS.from_user_input(system) if system else None, transform


def not_followed(path: Path, file: str, reason: ValueError) -> UserError:
    return UserError(f"{path}: {file} is a VRT that cannot be followed ({reason}); {ADVICE}")


def _sources(path: Path, file: str, band: ElementTree.Element, names: Sequence[str]) -> tuple[Source, ...]:
    if band.get("subClass"):
        raise ValueError(f"a band is a {band.get('subClass')}")
    other = sorted({part.tag for part in band if part.tag.endswith("Source")} - set(SOURCES))
    if other:
        raise ValueError(f"a band has a {', '.join(other)}")
    return tuple(_source(path, file, element, names) for element in band if element.tag in SOURCES)


def _source(path: Path, file: str, element: ElementTree.Element, names: Sequence[str]) -> Source:
    unknown = sorted({part.tag for part in element} - KNOWN_PARTS)
    if unknown:
        raise ValueError(f"a source has {', '.join(unknown)}, which changes its values")
    named = element.find("SourceFilename")
    if named is None or not named.text:
        raise ValueError("a source names no file")
    member = _member(path, file, named.text.strip(), named.get("relativeToVRT") == "1")
    if member not in names:
        raise ValueError(f"its source {named.text.strip()} is not among the files of {path}")
    band = element.findtext("SourceBand") or "1"
    if not band.isdecimal():
        raise ValueError(f"a source is the band '{band}' of its file")
    number = _number(element.findtext("NODATA"))
    return Source(member, int(band), _rectangle(element.find("SrcRect")), _rectangle(element.find("DstRect")), number)


def _member(path: Path, file: str, source: str, is_relative: bool) -> str:
    """The member that a source's name means; names that lead out of the archive mean none."""
    source = source.replace("\\", "/")
    if not is_relative and posixpath.isabs(source) and Path(source).is_relative_to(path):
        return Path(source).relative_to(path).as_posix()
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(file), source))
    if leads_out(joined):
        raise ValueError(f"its source {source} lies outside of {path}")
    return joined


def _rectangle(element: ElementTree.Element | None) -> Rectangle | None:
    if element is None:
        return None
    left, top, width, height = (float(element.get(key, "nan")) for key in ("xOff", "yOff", "xSize", "ySize"))
    if not np.isfinite([left, top, width, height]).all() or min(width, height) <= 0:
        raise ValueError("a source states no rectangle of pixels")
    return left, top, width, height


def _scaling(band: ElementTree.Element) -> tuple[float, float] | None:
    scale, offset = _number(band.findtext("Scale")), _number(band.findtext("Offset"))
    return None if scale is None and offset is None else (1.0 if scale is None else scale, offset or 0.0)


def _number(text: str | None) -> float | None:
    return float(text) if text and text.strip() else None


def put_together(virtual: Virtual, opened: Callable[[str], DatasetReader]) -> NDArray[Any]:
    """The pixels (band, y, x) of a mosaic: sources painted in their order, nearest neighbour where sizes differ.

    Raises:
        UserError: it states more pixels than a scene may have in one file.
    """
    first = opened(virtual.bands[0][0].file)
    dtype = np.result_type(*(opened(source.file).dtypes[source.band - 1] for band in virtual.bands for source in band))
    size = len(virtual.bands) * virtual.height * virtual.width * dtype.itemsize
    if size > 4 * MOST_SAMPLE_BYTES:
        raise UserError(f"the VRT states {size:,} bytes of pixels, too many for one mosaic; cut it")
    fills = [fill if fill is not None else first.nodata or 0 for fill in virtual.fills]
    pixels = np.stack([np.full((virtual.height, virtual.width), fill, dtype) for fill in fills])
    for target, sources in zip(pixels, virtual.bands, strict=True):
        for source in sources:
            _paint(target, source, opened(source.file))
    return pixels


def _paint(target: NDArray[Any], source: Source, file: DatasetReader) -> None:
    left, top, width, height = source.placed or (0.0, 0.0, float(target.shape[1]), float(target.shape[0]))
    first_row, first_col = max(0, round(top)), max(0, round(left))
    last_row, last_col = min(target.shape[0], round(top + height)), min(target.shape[1], round(left + width))
    if last_row <= first_row or last_col <= first_col:
        return
    x, y, across, down = source.read or (0.0, 0.0, float(file.width), float(file.height))
    window = Window(
        x + (first_col - left) * across / width,
        y + (first_row - top) * down / height,
        (last_col - first_col) * across / width,
        (last_row - first_row) * down / height,
    )
    values = file.read(source.band, window=window, out_shape=(last_row - first_row, last_col - first_col))
    area = target[first_row:last_row, first_col:last_col]
    area[...] = values if source.nodata is None else np.where(values == source.nodata, area, values)
