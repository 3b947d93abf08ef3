"""Normalised band names for comparison: 'B4', 'b04', 'Band 4' and 'B04' are equal."""

import re

# Synonyms of a band -> its name in the STAC extension for bands.
SAME = {"aerosol": "coastal", "swir1": "swir16", "swir2": "swir22", "nearinfrared": "nir", "vnir": "nir"}


def band_key(name: str) -> str:
    """A band's name for comparison: 'b4' of 'B04', 'Band 4' and 'S2_B4'; 'red' of 'Red'."""
    text = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    numbered = re.search(r"(?:^|\s)(?:band|b)\s?0*(\d{1,4}a?)$", text)
    if numbered:
        return "b" + numbered[1]
    words = text.replace(" ", "")
    return SAME.get(words, words)
