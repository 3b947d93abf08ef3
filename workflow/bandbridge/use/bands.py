"""Which band of a file is which band of a model: by name, by description, by colour, or as the user says."""

import re
from collections.abc import Sequence

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.catalogue.sensors import SENTINEL_1, SENTINEL_2

RGB = ("red", "green", "blue")
# What Sentinel-2's bands are called by their colours; STAC's common names among them (eo extension 1.1).
COMMON_NAMES = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge1": "B05",
    "rededge071": "B05",
    "rededge2": "B06",
    "rededge075": "B06",
    "rededge3": "B07",
    "rededge078": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir1": "B11",
    "swir22": "B12",
    "swir2": "B12",
}
SENTINEL_2_NAMES = frozenset(band.name for band in SENTINEL_2.bands)
SENTINEL_1_NAMES = frozenset(band.name for band in SENTINEL_1.bands)
# B4, B04, b8a, Band 4, band_08: alone, or as a word of a longer name.
_NUMBER = r"(?:BAND|B)[ _-]?0*(\d{1,2})(A?)"
_WHOLE_NUMBER = re.compile(_NUMBER)
_WORD = re.compile(rf"(?:^|[^A-Z0-9])({_NUMBER})(?=$|[^A-Z0-9])")
# Landsat's file and band names; a user who knows better says so with --bands.
_LANDSAT = re.compile(r"(?:SR|ST|QA|TOA)_|L[CTEOM]0[1-9]_")
_POLARISATION = re.compile(r"(?:^|[^A-Z0-9])(VV|VH|HH|HV)(?=$|[^A-Z0-9])")


def canonical(name: str, wanted: Sequence[str]) -> str | None:
    """The model's name of the band that a file calls `name`, or Sentinel-2's own name of it; None for no known name.

    A name of `wanted` in any case counts first, then Sentinel-2's in its usual spellings ('B4', 'Band 8A',
    'B04 (665 nm)', 'T33UUU_20170216T102101_B04_10m'), its common names ('red', 'swir16'), and polarisations.
    """
    by_case = {band.casefold(): band for band in wanted}
    text = name.strip()
    if text.casefold() in by_case:
        return by_case[text.casefold()]
    upper = text.upper()
    if _LANDSAT.match(upper):
        return None  # its numbers are of other wavelengths
    numbered = {_spelt(match[1], match[2]): band for band in wanted if (match := _WHOLE_NUMBER.fullmatch(band.upper()))}
    known = {**dict.fromkeys(SENTINEL_2_NAMES), **numbered}
    number = _WHOLE_NUMBER.fullmatch(upper)
    spelt = {_spelt(number[1], number[2])} if number else {_spelt(word[2], word[3]) for word in _WORD.finditer(upper)}
    spelt &= set(known)
    if len(spelt) == 1:
        only = spelt.pop()
        return known[only] or only
    polarisations = {match[1] for match in _POLARISATION.finditer(upper)}
    if len(polarisations) == 1:
        return polarisations.pop()
    common = re.sub(r"[^a-z0-9]", "", text.casefold())
    return COMMON_NAMES.get(common) if set(wanted) & SENTINEL_2_NAMES else None


def _spelt(number: str, letter: str) -> str:
    return f"B{int(number)}A" if letter else f"B{int(number):02d}"


def match_bands(
    names: Sequence[str | None], wanted: Sequence[str], where: str, stated: Sequence[str] | None = None
) -> tuple[str, ...]:
    """What each band of a file is called here, in the file's order; '' for one that no model of ours knows.

    Args:
        names: as the file has them; None for a band without a name.
        wanted: the model's bands.
        where: the file, for messages.
        stated: the user's own names of all bands of the file, in its order, in place of the file's.

    Raises:
        UserError: `stated` has another number of names, no band has a name, two bands have the same one, or none is a
            band of the model.
    """
    if stated:
        if len(stated) != len(names):
            raise UserError(
                f"{where}: --bands has {len(stated)} names ({', '.join(stated)}), the file {len(names)} bands; name "
                "each band of the file in its order, and one that the model does not see '-'."
            )
        found = tuple("" if name == "-" else canonical(name, wanted) or name for name in stated)
    elif not any(names):
        example = list(wanted)[: len(names)] + ["-"] * max(0, len(names) - len(wanted))
        raise UserError(
            f"{where}: none of its {len(names)} bands has a name, and the model takes {' '.join(wanted)}. Name the "
            f"file's bands in their order, such as --bands {','.join(example)}"
        )
    else:
        found = tuple((canonical(name, wanted) or "") if name else "" for name in names)
    known = [name for name in found if name in wanted]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise UserError(f"{where}: {', '.join(twice)} stands for several of its bands; name them with --bands.")
    if not known:
        there = ", ".join(name or "?" for name in (stated or names))
        raise UserError(
            f"{where}: none of its bands ({there}) is one that the model takes ({' '.join(wanted)}): it is of another "
            f"sensor, or its bands have other names. Name them with --bands.{did_you_mean(there, wanted)}"
        )
    return found


def must_have(found: Sequence[str], wanted: Sequence[str], where: str, may_lack: Sequence[str] = ()) -> list[str]:
    """Bands of the model that a file lacks and that are filled instead.

    Raises:
        UserError: a band is missing that may not be.
    """
    absent = [name for name in wanted if name not in found]
    refused = [name for name in absent if name not in may_lack]
    if refused:
        raise UserError(
            f"{where}: band {', '.join(refused)} is missing; the model takes {' '.join(wanted)}, the file has "
            f"{' '.join(name or '?' for name in found)}. Add the band, or name the file's bands with --bands if it has "
            "another name there."
        )
    return absent
