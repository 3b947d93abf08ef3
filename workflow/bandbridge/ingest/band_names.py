"""Names of bands in files, compared with those of the data set's file: descriptions, wavelengths, colours.

'B4', 'b04', 'Band 4' and 'B04' are one name. 'red' is a band of each sensor whose wavelengths are known. Names that say
nothing (none at all, 'Layer 1', numbers that only count) are not compared.
"""

import posixpath
import re
from collections.abc import Sequence

from bandbridge.catalogue.band_keys import band_key as key
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.sensors import Sensor, sensor_of
from bandbridge.ingest.declarations import Declarations

# Common names of the STAC extension for bands -> their range of wavelengths, in nanometres.
COMMON = {
    "coastal": (400, 450),
    "blue": (450, 510),
    "green": (510, 600),
    "red": (620, 690),
    "nir": (750, 1000),
    "cirrus": (1350, 1400),
    "swir16": (1550, 1750),
    "swir22": (2050, 2350),
}
# How far a wavelength in a file may be from the sensor's: satellites of one kind differ by less, their bands by more.
NANOMETRES = 15.0
_NUMBER = r"(\d+(?:\.\d+)?)"
# One wavelength or the ends of a range, and the beginning of the unit.
WAVELENGTH = re.compile(rf"(?:{_NUMBER}\s*(?:nm|[uµμ]m)?\s*(?:-|–|to)\s*)?{_NUMBER}\s*(nm|nanomet|[uµμ]m|micromet)")
COMPARE, IGNORE, TAKE = "compare", "ignore", "take"
CHOICES = (COMPARE, IGNORE, TAKE)


class BandNamesError(ValueError):
    """Names of a file that contradict the data set's; the message has both lists."""


def order_of(stated: Declarations, modality: Modality, bands: int) -> list[int] | None:
    """Which band of a file each of the modality's is, where names in the file decide it; None where its order counts.

    Args:
        bands: how many the file has, without an alpha channel.

    Raises:
        BandNamesError: the names contradict the order of the data set's file, or its `band_names` is 'take' and a band
            is named by none or by several.
    """
    if modality.band_names == IGNORE:
        return None
    sensor = sensor_of(modality)
    names = file_names(stated, modality, sensor)
    if modality.band_names == TAKE and not (len(modality.bands) == bands == 1 and not any(names)):  # a band file
        return _taken(names, modality)
    if len(names) != len(modality.bands) or bands != len(names):
        return None  # another number of bands is an error of its own
    if any(_contradicts(name, band, modality, sensor) for name, band in zip(names, modality.bands, strict=True)):
        file_bands = " ".join(name or "-" for name in names)
        raise BandNamesError(
            f"names its bands {file_bands}, the data set's file {' '.join(modality.bands)}; correct either, or "
            "state band_names: take (each band by its name) or ignore"
        )
    return None


def file_names(stated: Declarations, modality: Modality, sensor: Sensor | None) -> list[str]:
    """What a file calls each of its bands: descriptions, else wavelengths, else colours; empty if it states none."""
    names = _without_common_end(stated.names)
    if any(names) and not _only_count(names, modality):
        return names
    if any(wave is not None for wave in stated.wavelengths):
        return ["" if wave is None else f"{wave:g} nm" for wave in stated.wavelengths]
    is_claim = not stated.is_picture or modality.band_names == TAKE
    if is_claim and set(stated.colours) >= {"red", "green", "blue"}:
        return list(stated.colours)
    return []


def _without_common_end(names: Sequence[str]) -> list[str]:
    """'B4' of 'B4_median', where all names end so: as of the composites of Earth Engine and openEO."""
    if len(names) < 2 or not all(names) or _wavelength(names[0]) is not None:
        return list(names)
    common = posixpath.commonprefix([name[::-1] for name in names])[::-1]
    start = re.search(r"[^A-Za-z0-9]", common)
    end = len(common) - start.start() if start else 0
    return [name[:-end] for name in names] if end and all(len(name) > end for name in names) else list(names)


def _only_count(names: Sequence[str], modality: Modality) -> bool:
    """Whether names are generated ones: 'Band 1', 'Band 2' ... of bands that are called otherwise."""
    counted = [re.fullmatch(r"(?:.*\D)?0*(\d+)", name) for name in names]
    if not all(match and int(match[1]) == number for number, match in enumerate(counted, start=1)):
        return False
    return [key(name) for name in names] != [key(band) for band in modality.bands]


def _taken(names: Sequence[str], modality: Modality) -> list[int]:
    sensor = sensor_of(modality)
    chosen = []
    for band in modality.bands:
        places = [at for at, name in enumerate(names) if name and _agree(name, band, sensor)]
        # 'nir' may be B08 or B8A: the very name goes before the colour.
        exact = [at for at in places if key(names[at]) == key(band)]
        places = exact or places
        if len(places) != 1:
            how = "by none" if not places else f"by {len(places)} of them"
            file_bands = " ".join(name or "-" for name in names) or "none of its bands"
            expected = " ".join(modality.bands)
            raise BandNamesError(f"names {file_bands}, and {band} is named {how}; band_names: take needs {expected}")
        chosen.append(places[0])
    return chosen


def _agree(name: str, band: str, sensor: Sensor | None) -> bool:
    """Whether a name in a file can mean a band of the data set."""
    if key(name) == key(band):
        return True
    one, other = _spectrum(name, None), _spectrum(band, sensor)
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]


def _contradicts(name: str, band: str, modality: Modality, sensor: Sensor | None) -> bool:
    """Whether a name is surely another band's: one of the data set's own, or one of another part of the spectrum."""
    if not name or _agree(name, band, sensor):
        return False
    if key(name) in {key(other) for other in modality.bands}:
        return True
    return _spectrum(name, sensor) is not None and _spectrum(band, sensor) is not None


def _spectrum(name: str, sensor: Sensor | None) -> tuple[float, float] | None:
    """Where a band lies, in nanometres from and to: of a wavelength, a sensor's band or a colour; None if unknown."""
    if (wave := _wavelength(name)) is not None:
        return wave - NANOMETRES, wave + NANOMETRES
    for band in sensor.bands if sensor else ():
        if key(band.name) == key(name):
            return None if band.wavelength is None else (band.wavelength, band.wavelength)
    return COMMON.get(key(name))


def _wavelength(name: str) -> float | None:
    """Of a name like '664.6 nm', 'Red (0.6646 um)'; the middle of a range, 'Red: 650-680 nm'."""
    match = WAVELENGTH.search(name.lower())
    if match is None:
        return None
    end = float(match[2])
    begin = float(match[1] or end)
    # In 'Band 4 - 665 nm' the first number is no wavelength.
    middle = (begin + end) / 2 if end / 2 < begin < end else end
    return middle * (1 if match[3].startswith("n") else 1000)
