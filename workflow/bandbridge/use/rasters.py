"""The bands of an image on disk: a raster, a VRT, a folder of bands, a SAFE product, a STAC item's local assets."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader

from bandbridge.base.errors import UserError
from bandbridge.ingest.declarations import NOTHING, Declarations, declarations_of
from bandbridge.ingest.rasters import known_kind
from bandbridge.ingest.readers import safe
from bandbridge.use.bands import canonical

# GDAL would otherwise try all of its drivers, some of which fetch addresses or run their own parsers.
DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "VRT", "ENVI")
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt", ".img", ".dat")
# Only local files, and no program inside a VRT.
LOCAL: dict[str, str | int] = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # MB of decoded blocks. GDAL takes a twentieth of the memory; this holds a row of tiles of all bands of Sentinel-2.
    "GDAL_CACHEMAX": 256,
}
# Files that operating systems create in folders.
JUNK = re.compile(r"(?i)^(\.|__macosx|thumbs\.db|desktop\.ini)")
# Files that are not bands, though their names look like it: Sentinel-2's true colour, masks and classes.
NO_BAND = re.compile(r"(?i)[_-](TCI|SCL|AOT|WVP|CLD|SNW|PVI|CLDPRB|MSK\w*)(_\d+m)?\.\w+$")
NUMPY = b"\x93NUMPY"  # how its files of arrays begin
_WORDS_OF_PLATFORM = ("SPACECRAFT_ID", "SPACECRAFT", "PLATFORM", "SATELLITE", "PLATFORM_ID", "MISSION")


@dataclass(frozen=True)
class BandFile:
    """One band of an image, and what its file states about it.

    Attributes:
        index: of the band in the file, from 1.
        name: None where the file states none.
        stated: of this band alone: scale, offset, no-data value, offset and baseline of Sentinel-2's metadata.
    """

    path: Path
    index: int = 1
    name: str | None = None
    stated: Declarations = NOTHING

    @property
    def nodata(self) -> float | None:
        return self.stated.nodata[0] if self.stated.nodata else None


def open_raster(path: Path) -> DatasetReader:
    """Open a raster by GDAL with one of `DRIVERS`.

    A VRT names other files, which are opened as well: its author may name any local file.

    Raises:
        UserError: none of the drivers reads it.
    """
    import warnings

    try:
        with rasterio.Env(**LOCAL), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return DatasetReader(str(path), driver=list(DRIVERS), sharing=False)
    except (RasterioIOError, RasterioError) as error:
        if not path.exists():
            raise UserError(
                f"{path} not found; name an image, a folder of bands, a SAFE product, a VRT or a STAC item."
            ) from error
        with path.open("rb") as content:
            begin = content.read(64)
        if begin.startswith(NUMPY):
            raise UserError(
                f"{path}: an array of NumPy, which states no bands and no place; in Python, encode it with "
                "model.encode_images(numpy.load(FILE)), or write it as a GeoTIFF."
            ) from error
        reason = f"it is {kind}" if (kind := known_kind(begin)) else str(error) if begin else "it is empty"
        raise UserError(
            f"{path}: cannot be read as a raster ({reason}); expected one of {', '.join(SUFFIXES)}."
        ) from error


def bands_of(path: Path) -> list[BandFile]:
    """Every band of an image, in its order, with the names in its files.

    Raises:
        UserError: the path does not exist or is not an image, or an asset of a STAC item is not a local file.
    """
    if path.is_dir():
        return _safe_bands(path) if _is_safe(path) else _folder_bands(path)
    if path.suffix.lower() in (".json", ".geojson"):
        return _stac_bands(path)
    if path.name.upper().startswith("MTD_MSI") and path.suffix.lower() == ".xml":
        return _safe_bands(path.parent)
    with open_raster(path) as file:
        _must_not_be_landsat(path, file)
        return [_described(path, file, index) for index in file.indexes]


def _is_safe(path: Path) -> bool:
    return path.is_dir() and any(path.glob("MTD_MSI*.xml"))


def is_band_folder(path: Path) -> bool:
    """Whether a folder is one image: a SAFE product, or files that are named after several bands, each band once."""
    if _is_safe(path):
        return True
    names = [canonical(file.stem, ()) for file in rasters_in(path) if not NO_BAND.search(file.name)]
    bands = {name for name in names if name}
    return len(bands) > 1 and len(bands) == len(names)


def rasters_in(folder: Path) -> list[Path]:
    """The rasters directly in a folder, sorted by name; endings in any case."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.suffix.lower() in SUFFIXES and not JUNK.match(file.name)
    )


def _described(path: Path, file: DatasetReader, index: int) -> BandFile:
    # A mask is read window by window, with the pixels.
    stated = declarations_of(file, reads_mask=False)
    tags = file.tags(index)
    name = stated.names[index - 1] or tags.get("BAND_NAME") or tags.get("name") or stated.colours[index - 1]
    if stated.alpha == index - 1:
        name = name or "alpha"
    return BandFile(path, index, name or None, stated.of_band(index - 1))


def _must_not_be_landsat(path: Path, file: DatasetReader) -> None:
    tags = {key.upper(): value for key, value in file.tags().items()}
    platform = next((tags[word] for word in _WORDS_OF_PLATFORM if word in tags), "")
    if platform.upper().startswith("LANDSAT"):
        raise UserError(
            f"{path} states that it is from {platform}, whose band numbers mean other wavelengths than "
            "Sentinel-2's. Use a model that was trained on that sensor; to use the file anyway, delete that tag."
        )


# --- several files ----------------------------------------------------------------------------------------------------


def _folder_bands(folder: Path) -> list[BandFile]:
    files = [file for file in rasters_in(folder) if not NO_BAND.search(file.name)]
    if not files:
        raise UserError(f"{folder}: no images found; expected files that end in {', '.join(SUFFIXES)}.")
    return _finest(folder, files)


def _finest(folder: Path, files: Iterable[Path]) -> list[BandFile]:
    """One band per file, named after the file; for a band in several resolutions the finest."""
    chosen: dict[str, tuple[float, BandFile]] = {}
    for path in files:
        with open_raster(path) as file:
            if file.count != 1:
                raise UserError(
                    f"{path} has {file.count} bands; in a folder of bands each file has one. Name the file itself, or "
                    "move images of several bands to another folder."
                )
            band = _described(path, file, 1)
            stated_name = canonical(band.name, ()) if band.name else None
            name = stated_name or canonical(path.stem, ()) or path.stem
            size = abs(file.transform.a) if file.crs else 1 / file.width
        if name in chosen and chosen[name][0] == size:
            raise UserError(f"{folder}: {chosen[name][1].path.name} and {path.name} are both {name}; keep one of them.")
        if name not in chosen or size < chosen[name][0]:
            chosen[name] = (size, replace(band, name=name))
    return [band for _, band in chosen.values()]


def _safe_bands(folder: Path) -> list[BandFile]:
    """The bands of a Sentinel-2 product, each in its finest resolution, with the offsets of its metadata."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    product = safe.find_product(folder, names, None)
    bands = []
    for name, image in product.images.items():
        if name == safe.SCENE_CLASSES:
            continue
        path = folder / image
        with open_raster(path) as file:
            stated = _described(path, file, 1).stated
        nodata = (float(safe.NO_DATA),)  # as every product has it, though not in its image files
        bands.append(BandFile(path, 1, name, replace(stated, nodata=nodata, tags=product.tags.get(name, {}))))
    return bands


def _stac_bands(path: Path) -> list[BandFile]:
    """The bands of the local assets of a STAC item."""
    if not path.is_file():
        raise UserError(f"{path} not found.")
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); expected a STAC item.") from error
    if not isinstance(item, dict) or "assets" not in item:
        raise UserError(
            f"{path}: has no assets, so this is not a STAC item; name an item, not a catalogue or collection."
        )
    bands = list(_assets(path, item["assets"]))
    if not bands:
        raise UserError(f"{path}: none of its assets ({', '.join(item['assets'])}) is a raster with band names.")
    return bands


def _assets(path: Path, assets: Mapping[str, Any]) -> Iterator[BandFile]:
    for key, asset in assets.items():
        described: Sequence[Mapping[str, Any]] = asset.get("eo:bands") or asset.get("bands") or ()
        href = str(asset.get("href", ""))
        if (
            not described
            or not href.lower().endswith(SUFFIXES)
            or {"visual", "overview", "thumbnail"} & set(asset.get("roles", ()))
        ):
            continue
        address = urlparse(href)
        if address.scheme not in ("", "file"):
            raise UserError(f"{path}: asset {key} is at {href}; download it, and write its local path into the item.")
        file = path.parent / unquote(address.path)
        radiometry = asset.get("raster:bands") or [{}] * len(described)
        for index, (band, values) in enumerate(zip(described, radiometry, strict=False), start=1):
            facts = {**band, **values}
            name = str(facts.get("name") or facts.get("common_name") or facts.get("eo:common_name") or key)
            scale, offset = (
                facts.get("scale", facts.get("raster:scale")),
                facts.get("offset", facts.get("raster:offset")),
            )
            nodata = facts.get("nodata")
            stated = Declarations(
                nodata=(None if nodata is None else np.nan if nodata == "nan" else float(nodata),),
                scales=(float(1 if scale is None else scale),),
                offsets=(float(offset or 0),),
            )
            yield BandFile(file, index, name, stated)
