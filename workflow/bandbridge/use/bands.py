"""Matching a file's bands to a model's: by name, description or colour, or as the user states."""

import re
from collections.abc import Sequence

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.catalogue.sensors import SENTINEL_2

RGB = ("red", "green", "blue")
# Names of Sentinel-2's bands by colour, STAC's common names among them (eo extension 1.1).
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
# B4, B04, b8a, Band 4, band_08: the whole name, or a word of a longer one.
_NUMBER = r"(?:BAND|B)[ _-]?0*(\d{1,2})(A?)"
_WHOLE_NUMBER = re.compile(_NUMBER)
_WORD = re.compile(rf"(?:^|[^A-Z0-9])({_NUMBER})(?=$|[^A-Z0-9])")
# Landsat's file and band names; a user can override them with --bands.
_LANDSAT = re.compile(r"(?:SR|ST|QA|TOA)_|L[CTEOM]0[1-9]_")
_POLARISATION = re.compile(r"(?:^|[^A-Z0-9])(VV|VH|HH|HV)(?=$|[^A-Z0-9])")


def canonical(name: str, takes: Sequence[str]) -> str | None:
    """The model's name, or else Sentinel-2's, of the band that a file calls `name`; None for an unknown name.

    Names of `takes` are compared first, in any case, then Sentinel-2's in its usual spellings ('B4', 'Band 8A',
    'B04 (665 nm)', 'T33UUU_20170216T102101_B04_10m'), its common names ('red', 'swir16'), and polarisations.
    """
    by_case = {band.casefold(): band for band in takes}
    text = name.strip()
    if text.casefold() in by_case:
        return by_case[text.casefold()]
    upper = text.upper()
    if _LANDSAT.match(upper):
        return None  # its numbers mean other wavelengths
    numbered = {_spelt(match[1], match[2]): band for band in takes if (match := _WHOLE_NUMBER.fullmatch(band.upper()))}
    band_of = {**dict.fromkeys(SENTINEL_2_NAMES), **numbered}
    number = _WHOLE_NUMBER.fullmatch(upper)
    spelt = {_spelt(number[1], number[2])} if number else {_spelt(word[2], word[3]) for word in _WORD.finditer(upper)}
    spelt &= set(band_of)
    if len(spelt) == 1:
        only = spelt.pop()
        return band_of[only] or only
    polarisations = {match[1] for match in _POLARISATION.finditer(upper)}
    if len(polarisations) == 1:
        return polarisations.pop()
    common = re.sub(r"[^a-z0-9]", "", text.casefold())
    return COMMON_NAMES.get(common) if set(takes) & SENTINEL_2_NAMES else None


def _spelt(number: str, letter: str) -> str:
    return f"B{int(number)}A" if letter else f"B{int(number):02d}"


def stated_bands(text: str | None) -> tuple[str, ...] | None:
    """--bands as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None


def match_bands(
    names: Sequence[str | None], takes: Sequence[str], where: str, stated: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The name of each band of a file, in the file's order; '' for an unknown band.

    Args:
        names: as in the file; None for a band without a name.
        takes: the bands of the model.
        where: the file, for messages.
        stated: the user's names of all bands of the file, in its order, in place of the file's.

    Raises:
        UserError: `stated` has the wrong number of names, no band has a name, two bands have the same name, or none is
            a band of the model.
    """
    if stated:
        if len(stated) != len(names):
            raise UserError(
                f"{where}: --bands has {len(stated)} names ({', '.join(stated)}), the file {len(names)} bands; name "
                "each band of the file in its order, and one that the model does not see '-'."
            )
        matched = tuple("" if name == "-" else canonical(name, takes) or name for name in stated)
    elif not any(names):
        example = list(takes)[: len(names)] + ["-"] * max(0, len(names) - len(takes))
        raise UserError(
            f"{where}: none of its {len(names)} bands has a name, and the model takes {' '.join(takes)}. Name the "
            f"file's bands in their order, such as --bands {','.join(example)}"
        )
    else:
        matched = tuple((canonical(name, takes) or "") if name else "" for name in names)
    usable = [name for name in matched if name in takes]
    twice = sorted({name for name in usable if usable.count(name) > 1})
    if twice:
        raise UserError(f"{where}: {', '.join(twice)} is the name of several of its bands; name them with --bands.")
    if not usable:
        listed = ", ".join(name or "?" for name in (stated or names))
        raise UserError(
            f"{where}: none of its bands ({listed}) is one that the model takes ({' '.join(takes)}): it is of another "
            f"sensor, or its bands have other names. Name them with --bands.{did_you_mean(listed, takes)}"
        )
    return matched


def must_have(names: Sequence[str], takes: Sequence[str], where: str, may_lack: Sequence[str] = ()) -> list[str]:
    """The bands of the model that a file lacks, which are filled.

    Raises:
        UserError: another band is missing.
    """
    missing = [name for name in takes if name not in names]
    refused = [name for name in missing if name not in may_lack]
    if refused:
        raise UserError(
            f"{where}: band {', '.join(refused)} is missing; the model takes {' '.join(takes)}, the file has "
            f"{' '.join(name or '?' for name in names)}. Add the band, or name the file's bands with --bands if it has "
            "another name in the file."
        )
    return missing
