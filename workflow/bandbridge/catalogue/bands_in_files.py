"""`bands: from-files`: band names taken from the user's own files.

A scene's pattern with {band} finds them in file names. Otherwise the first raster, by name, must describe its bands: in
the notes beside it (NAME.aux.xml), in ENVI's header, or in a TIFF's tag GDAL_METADATA. No pixels are read.
"""

import html
import io
import posixpath
import re
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.safe_xml import parsed
from bandbridge.catalogue.band_keys import band_key
from bandbridge.catalogue.sensors import SENSORS

FROM_FILES = "from-files"
BAND = "{band}"
MOST_BYTES = 1024**3  # of a file in a zip
TIFF_ENDINGS = (".tif", ".tiff")
# Rasters whose bands are described beside them.
OTHER_ENDINGS = (".jp2", ".png", ".jpg", ".jpeg", ".img", ".dat", ".bil", ".bsq", ".bip", ".raw")
NOTES, HEADER = ".aux.xml", ".hdr"
# The bands' names in ENVI's header: band names = {red, near infrared}.
ENVI_NAMES = re.compile(r"^\s*band names\s*=\s*\{([^}]*)\}", re.IGNORECASE | re.MULTILINE)
# One band's description in GDAL's XML.
DESCRIPTION = re.compile(r"<Item[^>]*\bsample=\"(\d+)\"[^>]*\brole=\"description\"[^>]*>([^<]*)</Item>")


def bands_in_files(reader: str, options: Mapping[str, Any], sensor: Any) -> list[str]:
    """The bands of a data set's files, under the sensor's names where it has such bands.

    Args:
        reader: name of the data set's reader.
        options: of the reader; `archive` must be the folder or zip of the files.
        sensor: name of a described sensor; anything else for none.

    Raises:
        UserError: there are no files, or they do not name their bands.
    """
    place, pattern = options.get("archive"), options.get("rasters" if reader == "scene" else "images") or "*"
    if not place:
        raise UserError("the option archive names no folder or zip of the files; name one, or list the bands")
    names = _names_of(reader, str(place), pattern)
    described = SENSORS.get(sensor) if isinstance(sensor, str) else None
    sensor_names = {band_key(band.name): band.name for band in (described.bands if described else ())}
    bands = [sensor_names.get(band_key(name), name) for name in names]
    twice = sorted({name for name in bands if bands.count(name) > 1})
    if twice:
        raise UserError(f"{place} has {', '.join(twice)} more than once among {' '.join(names)}; list the bands")
    order = [*sensor_names.values()]
    # Band files are listed by name, which is not the order of the sensor's bands: B8A, B09.
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
    files = [member for member in members if form.match(member) and _is_raster(member, members)]
    if not files:
        raise UserError(f"{place} holds no raster that matches '{pattern}'; list the bands")
    names = _stated_names(Path(place), files[0], members)
    if not names or not all(names):
        listed = " ".join(name or "-" for name in names) or "none"
        raise UserError(f"{files[0]} in {place} does not describe each of its bands (found: {listed}); list the bands")
    return names


def _is_raster(member: str, members: Sequence[str]) -> bool:
    is_hidden = posixpath.basename(member).startswith(".")
    return not is_hidden and (
        member.lower().endswith((*TIFF_ENDINGS, *OTHER_ENDINGS)) or _beside(member, members, HEADER) is not None
    )


def _beside(member: str, members: Sequence[str], ending: str) -> str | None:
    """The file called as a raster and `ending`, in any case: 'a.tif.aux.xml'; 'a.img.hdr' or 'a.hdr' as well."""
    if member.lower().endswith((NOTES, HEADER)):
        return None
    names = [member.lower() + ending]
    if ending == HEADER:
        names.append(posixpath.splitext(member.lower())[0] + ending)
    return next((other for other in members if other.lower() in names), None)


def _stated_names(place: Path, file: str, members: Sequence[str]) -> tuple[str, ...]:
    """What a raster's bands are called: by the notes beside it, by its header, or by itself; empty for nothing."""
    notes, header = _beside(file, members, NOTES), _beside(file, members, HEADER)
    if notes is not None and (names := _noted_names(place, notes)):
        return names
    if file.lower().endswith(TIFF_ENDINGS):
        return _descriptions(_opened(place, file))
    if header is None:
        return ()
    match = ENVI_NAMES.search(_content(place, header).decode("utf-8", "replace"))
    return tuple(name.strip() for name in match[1].split(",")) if match else ()


def _noted_names(place: Path, notes: str) -> tuple[str, ...]:
    try:
        bands = {int(band.get("band", "0")): band for band in parsed(_content(place, notes)).iter("PAMRasterBand")}
    except ValueError as error:
        raise UserError(f"{notes} in {place} cannot be read ({error}); remove it, or list the bands") from error
    names = {number: (band.findtext("Description") or "").strip() for number, band in bands.items()}
    return tuple(names.get(number, "") for number in range(1, max(names) + 1)) if any(names.values()) else ()


def _content(place: Path, member: str) -> bytes:
    source = _opened(place, member)
    return source.read_bytes() if isinstance(source, Path) else source.getvalue()


def _regex(pattern: str) -> str:
    """A shell pattern as a regular expression that is not anchored."""
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
    """The description of each band of a TIFF; empty if it has none."""
    import tifffile  # takes half a second, and only these data sets need it

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
