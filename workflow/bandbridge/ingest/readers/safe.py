"""Sentinel-2 products as ESA delivers them: a .SAFE folder, Level 1C or 2A, unpacked or in its zip.

Image files are found by their names, as the Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD) has them;
the product's metadata, where present, state the offset of the digital numbers and which files there must be.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.safe_xml import parsed
from bandbridge.ingest.archives import read_member
from bandbridge.ingest.junk import is_junk

ENDING = ".SAFE"
METADATA = re.compile(r"(?:^|/)(?:MTD_MSIL(?P<new>1C|2A)|S2\w_\w+_MTD_SAFL(?P<old>1C|2A)_\w+)\.xml$", re.IGNORECASE)
IMAGE = re.compile(
    r"/IMG_DATA/(?:R\d\dm/)?\w+?_(?P<band>B\d\d|B8A|SCL)(?:_(?P<resolution>\d\d)m)?\.(?:jp2|tiff?)$", re.IGNORECASE
)
# Metres of a Level-1C file, which does not state it.
RESOLUTIONS = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60, "B10": 60}
OTHER_RESOLUTION = 20
SCENE_CLASSES = "SCL"
# Numbers of bands in the metadata's lists of offsets.
BAND_NUMBERS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
QUANTIFICATION = 10_000.0  # the sensor's unit is reflectance x 10000
NO_DATA = 0
START = re.compile(r"_(\d{4})(\d\d)(\d\d)T\d{6}")


@dataclass(frozen=True)
class Product:
    """What a product holds.

    Attributes:
        root: the folder that GRANULE is in, as the archive names it; empty where it is the archive itself.
        images: band -> the file of its finest resolution.
        tags: band -> what the metadata state of it, by GDAL's names: the offset to be added to its numbers, so that
            they are reflectance x 10000, and the processing baseline.
        date: of the acquisition, ISO 8601; empty where neither metadata nor names state it.
    """

    root: str
    images: Mapping[str, str]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date: str = ""

    def image(self, band: str) -> str:
        """The file of a band; a `UserError` that lists the bands where there is none."""
        if band not in self.images:
            held = ", ".join(sorted(self.images))
            raise UserError(
                f"{self.root or 'the product'} has no band {band}; it has: {held}.{did_you_mean(band, self.images)}"
            )
        return self.images[band]


def find_product(path: Path, names: Sequence[str], pattern: str | None) -> Product:
    """The one product of an archive or a folder whose .SAFE folder matches a pattern (None: any).

    Raises:
        UserError: there is none, or several; its metadata cannot be read, name files that are missing, or state another
            unit than reflectance.
    """
    granules: dict[str, list[str]] = {}
    for name in names:
        if IMAGE.search(name) and not is_junk(name):
            granules.setdefault(_root(name), []).append(name)
    roots = sorted(root for root in granules if pattern is None or _called(root or f"{path.name}/", pattern))
    if len(roots) != 1:
        examples = ", ".join(root.rstrip("/") for root in roots[:3])
        outcome = f"{len(roots)} products ({examples})" if roots else "no product"
        called = f" called {pattern}" if pattern else ""
        advice = "name one with the option rasters" if roots else "name the band files with the option rasters"
        raise UserError(f"{path}: found {outcome} of Sentinel-2{called}; {advice}")
    root = roots[0]
    images = _finest(path, granules[root])
    metadata = [name for name in names if name.startswith(root) and METADATA.search(name) and "GRANULE/" not in name]
    if not metadata:
        return Product(root.rstrip("/"), images, date=_date(root) or _date(next(iter(images.values()))))
    return _with_metadata(path, root, images, metadata[0], names)


def holds_product(names: Sequence[str]) -> bool:
    """Whether an archive holds image files of a product."""
    return any(IMAGE.search(name) and not is_junk(name) for name in names)


def _root(image: str) -> str:
    """What comes before the granule of an image file; empty where the names begin with the granule."""
    at = image.upper().rfind("GRANULE/")
    return image[:at] if at > 0 else ""


def _called(root: str, pattern: str) -> bool:
    name = posixpath.basename(root.rstrip("/"))
    return fnmatchcase(name, pattern) or fnmatchcase(root.rstrip("/"), pattern)


def _finest(path: Path, names: Sequence[str]) -> dict[str, str]:
    by_band: dict[str, dict[int, list[str]]] = {}
    for name in names:
        match = IMAGE.search(name)
        assert match is not None
        band = match["band"].upper()
        resolution = int(match["resolution"] or RESOLUTIONS.get(band, OTHER_RESOLUTION))
        by_band.setdefault(band, {}).setdefault(resolution, []).append(name)
    images = {}
    for band, files in by_band.items():
        finest = files[min(files)]
        if len(finest) > 1:
            raise UserError(
                f"{path}: band {band} occurs {len(finest)} times ({', '.join(sorted(finest)[:3])}), as of products "
                "of several granules; keep only one granule"
            )
        images[band] = finest[0]
    return images


def _date(name: str) -> str:
    match = START.search(name)
    return "-".join(match.groups()) if match else ""


# --- metadata ------------------------------------------------------------------------------------------------------


def _with_metadata(path: Path, root: str, images: Mapping[str, str], file: str, names: Sequence[str]) -> Product:
    try:
        xml = parsed(read_member(path, file))
        tags = _tags(xml)
    except ValueError as error:
        raise UserError(f"{path}: {file} cannot be read ({error}); get the product again") from error
    stems = {posixpath.splitext(name)[0] for name in names}
    listed = [element.text.strip() for element in xml.iter("IMAGE_FILE") if element.text]
    missing = [name for name in listed if f"{root}{name}" not in stems]
    used = [
        name for name in missing if _band_in(name) in {*BAND_NUMBERS, SCENE_CLASSES} and _band_in(name) not in images
    ]
    if used:
        raise UserError(
            f"{path}: {file} lists {len(listed)} image files, and {len(missing)} are missing, among them "
            f"{', '.join(used[:3])}; get the product again"
        )
    start = _text(xml, "PRODUCT_START_TIME") or _text(xml, "DATATAKE_SENSING_START")
    date = start[:10] or _date(root) or _date(next(iter(images.values())))
    return Product(root.rstrip("/"), images, tags, date)


def _band_in(name: str) -> str:
    match = re.search(r"_(B\d\d|B8A|SCL)(?:_\d\dm)?$", name)
    return match[1] if match else ""


def _tags(xml: ElementTree.Element) -> dict[str, dict[str, str]]:
    """Band -> its offset (metadata before processing baseline 04.00 state none, which is 0) and the baseline."""
    quantification = _text(xml, "BOA_QUANTIFICATION_VALUE") or _text(xml, "QUANTIFICATION_VALUE")
    if quantification and float(quantification) != QUANTIFICATION:
        raise ValueError(f"its quantification value is {quantification}, expected {QUANTIFICATION:g}")
    kind = "BOA_ADD_OFFSET" if xml.find(".//BOA_ADD_OFFSET") is not None else "RADIO_ADD_OFFSET"
    baseline = _text(xml, "PROCESSING_BASELINE")
    tags = {band: {kind: "0", **({"PROCESSING_BASELINE": baseline} if baseline else {})} for band in BAND_NUMBERS}
    for element in xml.iter(kind):
        number = int(element.get("band_id", "-1"))
        if not 0 <= number < len(BAND_NUMBERS):
            raise ValueError(f"its {kind} is of band {number}, expected 0 to {len(BAND_NUMBERS) - 1}")
        tags[BAND_NUMBERS[number]][kind] = f"{float(element.text or ''):g}"
    return tags


def _text(xml: ElementTree.Element, tag: str) -> str:
    element = xml.find(f".//{tag}")
    return (element.text or "").strip() if element is not None else ""
