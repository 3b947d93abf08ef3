"""`bands: from-files`: the names of bands as the user's own files have them.

A scene's pattern with {band} finds them in the files' names. Otherwise the first file, by name, must be a TIFF whose
bands have descriptions, as GDAL keeps them in the tag GDAL_METADATA; no pixels are read.
"""

import html
import io
import re
import zipfile
from collections.abc import Mapping
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.catalogue.band_keys import band_key
from bandbridge.catalogue.sensors import SENSORS

FROM_FILES = "from-files"
BAND = "{band}"
MOST_BYTES = 1024**3  # of a file that is packed
TIFF_ENDINGS = (".tif", ".tiff")
# GDAL's XML of one band's description.
DESCRIPTION = re.compile(r"<Item[^>]*\bsample=\"(\d+)\"[^>]*\brole=\"description\"[^>]*>([^<]*)</Item>")


def bands_in_files(reader: str, options: Mapping[str, Any], sensor: Any) -> list[str]:
    """The bands that the files of a data set have, by the sensor's own names where they are names of its bands.

    Args:
        options: of the reader; `archive` must lead to the files.

    Raises:
        UserError: there are no files yet, or they do not name their bands.
    """
    place, pattern = options.get("archive"), options.get("rasters" if reader == "scene" else "images") or "*"
    if not place:
        raise UserError("the option archive names no folder or zip of the files; name one, or list the bands")
    names = _names_of(reader, str(place), pattern)
    found = SENSORS.get(sensor) if isinstance(sensor, str) else None
    known = {band_key(band.name): band.name for band in (found.bands if found else ())}
    bands = [known.get(band_key(name), name) for name in names]
    twice = sorted({name for name in bands if bands.count(name) > 1})
    if twice:
        raise UserError(f"{place} has {', '.join(twice)} more than once among {' '.join(names)}; list the bands")
    order = [*known.values()]
    # Band files come in the order of their names, which is not that of the sensor's bands: B8A, B09.
    if BAND in pattern:
        bands.sort(key=lambda band: (order.index(band) if band in order else len(order), band))
    return bands


@cache
def _names_of(reader: str, place: str, pattern: str) -> tuple[str, ...]:
    members = _members(Path(place))
    if reader == "scene" and BAND in pattern:
        before, _, after = pattern.partition(BAND)
        form = re.compile(f"{_regex(before)}([A-Za-z0-9]+){_regex(after)}")
        names = tuple(dict.fromkeys(match[1] for member in members if (match := form.fullmatch(member))))
        if not names:
            raise UserError(f"{place} holds no file like '{pattern}'; list the bands, or change the pattern")
        return names
    form = re.compile(translate(pattern), re.IGNORECASE)
    files = [member for member in members if form.match(member) and member.lower().endswith(TIFF_ENDINGS)]
    if not files:
        raise UserError(f"{place} holds no TIFF that matches '{pattern}'; list the bands")
    names = _descriptions(_opened(Path(place), files[0]))
    if not names or not all(names):
        shown = " ".join(name or "-" for name in names) or "none"
        raise UserError(f"{files[0]} in {place} does not describe each of its bands (found: {shown}); list the bands")
    return names


def _regex(pattern: str) -> str:
    """A shell pattern without its ends."""
    return "".join(".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern)


def _members(place: Path) -> list[str]:
    if place.is_dir():
        return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    if place.is_file() and zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            return sorted(archive.namelist())
    raise UserError(f"{place} is neither a folder nor a zip; list the bands")


def _opened(place: Path, member: str) -> Path | io.BytesIO:
    if place.is_dir():
        return place / member
    with zipfile.ZipFile(place) as archive:
        if archive.getinfo(member).file_size > MOST_BYTES:
            raise UserError(f"{member} in {place} has more than {MOST_BYTES:,} bytes; unpack it, or list the bands")
        return io.BytesIO(archive.read(member))


def _descriptions(source: Path | io.BytesIO) -> tuple[str, ...]:
    """Of each band of a TIFF; empty where it has none."""
    import tifffile  # half a second, which only these data sets need

    try:
        with tifffile.TiffFile(source) as file:
            page = file.pages.first
            tag = page.tags.get("GDAL_METADATA")
            bands = page.samplesperpixel
            texts = DESCRIPTION.findall(str(tag.value) if tag else "")
            stated = {int(number): html.unescape(text) for number, text in texts}
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"a TIFF cannot be read ({error}); list the bands") from error
    return tuple(stated.get(number, "") for number in range(bands)) if stated else ()
