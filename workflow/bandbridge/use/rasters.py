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
from bandbridge.base.safe_xml import parsed
from bandbridge.catalogue.sensors import SENTINEL_2
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
_WORDS_OF_PLATFORM = ("SPACECRAFT_ID", "SPACECRAFT", "PLATFORM", "SATELLITE", "PLATFORM_ID", "MISSION")


@dataclass(frozen=True)
class BandFile:
    """One band of an image, and what its file states about it.

    Attributes:
        index: of the band in the file, from 1.
        name: None where the file states none.
        scale, offset: value = stored * scale + offset; None where nothing is stated.
        nodata: None where nothing is stated.
    """

    path: Path
    index: int = 1
    name: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


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
        raise UserError(
            f"{path}: cannot be read as a raster ({error}); expected one of {', '.join(SUFFIXES)}."
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
    scale, offset = file.scales[index - 1], file.offsets[index - 1]
    stated = (scale, offset) != (1.0, 0.0)
    colour = file.colorinterp[index - 1].name
    tags = file.tags(index)
    name = file.descriptions[index - 1] or tags.get("BAND_NAME") or tags.get("name")
    if name is None and colour in ("red", "green", "blue", "alpha"):
        name = colour
    return BandFile(
        path, index, name, scale if stated else None, offset if stated else None, file.nodatavals[index - 1]
    )


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


def _is_safe(path: Path) -> bool:
    return path.is_dir() and any(path.glob("MTD_MSI*.xml"))


def _safe_bands(folder: Path) -> list[BandFile]:
    """The bands of a Sentinel-2 product, each in its finest resolution, with scale and offset from its metadata."""
    metadata = next(folder.glob("MTD_MSI*.xml"))
    files = sorted(folder.glob("GRANULE/*/IMG_DATA/**/*.jp2")) or sorted(folder.glob("GRANULE/*/IMG_DATA/**/*.tif"))
    if not files:
        raise UserError(f"{folder}: no band files below GRANULE/*/IMG_DATA; unpack the product again.")
    scale, offsets = _radiometry(metadata)
    bands = _finest(folder, [file for file in files if not NO_BAND.search(file.name)])
    nodata = 0.0  # SPECIAL_VALUE_INDEX of NODATA in every product
    return [
        replace(band, scale=scale, offset=offsets.get(str(band.name), 0.0) * scale, nodata=nodata) for band in bands
    ]


def _radiometry(metadata: Path) -> tuple[float, dict[str, float]]:
    """1 / quantification value, and the number added to each band's digital numbers (since baseline 04.00)."""
    try:
        root = parsed(metadata.read_bytes())
    except ValueError as error:
        raise UserError(f"{metadata}: damaged ({error}); download the product again.") from error
    quantification, offsets = 10_000.0, {}
    names = [band.name for band in SENTINEL_2.bands]
    for element in root.iter():
        tag = element.tag
        if tag in ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE"):
            quantification = float(str(element.text))
        elif tag in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"):
            offsets[names[int(element.attrib["band_id"])]] = float(str(element.text))
    return 1 / quantification, offsets


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
            yield BandFile(
                file,
                index,
                name,
                None if scale is None and offset is None else float(1 if scale is None else scale),
                None if scale is None and offset is None else float(offset or 0),
                None if nodata is None else np.nan if nodata == "nan" else float(nodata),
            )
