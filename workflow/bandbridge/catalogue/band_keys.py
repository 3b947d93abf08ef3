"""Names of bands by which they are compared: 'B4', 'b04', 'Band 4' and 'B04' are one."""

import re

# Words that mean one band -> the one that the STAC extension for bands has.
SAME = {"aerosol": "coastal", "swir1": "swir16", "swir2": "swir22", "nearinfrared": "nir", "vnir": "nir"}


def band_key(name: str) -> str:
    """The part of a band's name by which it is compared: 'b4' of 'B04', 'Band 4' and 'S2_B4'; 'red' of 'Red'."""
    text = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    numbered = re.search(r"(?:^|\s)(?:band|b)\s?0*(\d{1,4}a?)$", text)
    if numbered:
        return "b" + numbered[1]
    words = text.replace(" ", "")
    return SAME.get(words, words)
