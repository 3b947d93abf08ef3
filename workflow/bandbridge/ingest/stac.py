"""What STAC items state of an asset's pixels: no data, scale and offset of its bands, Sentinel-2's processing baseline.

In STAC 1.0 the raster extension lists them as `raster:bands`; in 1.1 they are in `bands`, or beside it where all bands
have the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASELINE = "s2:processing_baseline"
# Items of Earth Search state an offset for products whose pixels have it already.
IS_APPLIED = "earthsearch:boa_offset_applied"
PROPERTIES = (BASELINE, IS_APPLIED)
HREF = ".href"


@dataclass(frozen=True)
class AssetFacts:
    """What an item states of the bands of an asset's file: an entry for each, or one for all of them.

    Attributes:
        nodata, scales, offsets: None where the item states nothing.
        baseline: processing baseline of a Sentinel-2 product whose offset is in the file's numbers; empty if unknown.
    """

    nodata: tuple[float | None, ...]
    scales: tuple[float | None, ...]
    offsets: tuple[float | None, ...]
    baseline: str = ""


def facts_of(asset: object, properties: Mapping[str, Any]) -> AssetFacts | None:
    """What an item states of an asset; None where that is nothing.

    Args:
        properties: of the item, of which `PROPERTIES` are read.

    Raises:
        ValueError: a value that should be a number is none.
    """
    if not isinstance(asset, Mapping):
        return None
    is_applied = properties.get(IS_APPLIED) is True
    listed = next((bands for key in ("raster:bands", "bands") if (bands := asset.get(key)) is not None), ())
    bands = [band for band in listed if isinstance(band, Mapping)] or [{}]
    whole = {key: asset.get(key) for key in ("nodata", "raster:scale", "raster:offset")}
    each = [whole | {key: value for key, value in band.items() if value is not None} for band in bands]
    nodata = tuple(_number(band, "nodata") for band in each)
    scales = tuple(_number(band, "scale", "raster:scale") for band in each)
    offsets = tuple(None if is_applied else _number(band, "offset", "raster:offset") for band in each)
    baseline = "" if is_applied else str(properties.get(BASELINE) or "")
    states_nothing = not baseline and all(value is None for value in (*nodata, *scales, *offsets))
    return None if states_nothing else AssetFacts(nodata, scales, offsets, baseline)


def _number(band: Mapping[str, Any], *keys: str) -> float | None:
    """The value of the first of some keys that has one; 'nan' and 'inf' are written as texts."""
    key = next((key for key in keys if band.get(key) is not None), None)
    if key is None:
        return None
    try:
        return float(band[key])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} is {band[key]!r}, expected a number") from error
