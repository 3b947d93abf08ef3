"""What the converted pixels of a data set show together: files that disagree, no data, units, composites."""

import base64
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.catalogue.datasets import Composite
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.nodata import FILL
from bandbridge.ingest.places import Grid, modality_difference
from bandbridge.ingest.radiometry import is_backscatter_in_decibels, per_reflectance, store_unit
from bandbridge.ingest.rasters import centre_of
from bandbridge.ingest.records import GOOD, Records
from bandbridge.ingest.sample_tables import Split
from bandbridge.store.shard_reader import ShardReader

# How many samples of a split are read, and how many pixels of each.
SAMPLES_FOR_UNITS, SAMPLES_FOR_COMPOSITES, PIXELS = 32, 512, 1_000
# Half of the values of reflectance cannot be above the first or below the second.
LARGEST_MEDIAN, SMALLEST_MEDIAN = 1.5, 0.001
# Nor can 99 of 100 lie below this one, as they do in percent.
SMALLEST_TOP = 0.01
# Backscatter in decibels is below zero nearly everywhere, cities apart: not at or above it in all but these percent.
LOW_PERCENT = 1
# Of units finer than this, values below `records.SMALL` show that they are reflectance from 0 to 1.
FINE = 1_000
MOST_EXAMPLES = 3
# Places in tables are often those of the tile or the town; degrees, and how many samples are compared.
FAR, SAMPLES_FOR_PLACES = 1.0, 1_000


@dataclass(frozen=True)
class PixelFacts:
    """What a store states of a modality beyond what the data set's file does.

    Attributes:
        composite: with the ranges that its percentiles give.
        units: None where the values cannot be of the unit that is stated.
        stated: further facts, only those that apply.
        remarks: sentences for the log and the report.
    """

    composite: Composite | None
    units: str | None
    stated: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


# --- samples that are not like the others --------------------------------------------------------------------------


def unlike_most(modality: Modality, records: Records) -> Iterator[tuple[int, str]]:
    """Rows whose values are of another unit than most samples', and a sentence."""
    rows = np.flatnonzero(records.state == GOOD)
    per, unit = per_reflectance(store_unit(modality)), store_unit(modality)
    if per is not None and per >= FINE:
        small = records.small[rows]
        if 0 < small.sum() < len(rows):
            most_are_small = small.sum() * 2 > len(small)
            most = "so are most of the others" if most_are_small else f"most are {unit}"
            for row in rows[small != most_are_small].tolist():
                which = "some of its values are 4 or more" if most_are_small else "every value is below 4"
                looks = f"not reflectance from 0 to 1, {most}" if most_are_small else f"reflectance from 0 to 1, {most}"
                yield row, f"{which}: {looks}; bring the files to one unit"
    if is_backscatter_in_decibels(modality):
        linear = records.small[rows]
        most_are_linear = linear.sum() * 2 > len(linear)
        for row in rows[linear != most_are_linear].tolist():
            if most_are_linear:
                looks = "some of its values are below 0, or half are 1 or more: not linear, as most are"
            else:
                looks = "no value is below 0, and half are below 1: linear, most are decibels"
            yield row, f"{looks}; bring the files to one unit"
    # Scale and offset that were applied make values of one unit; those that were not differ in what they mean.
    unnamed = [number for number, text in enumerate(records.radiometries) if "do not say their unit" in text]
    if unnamed:
        made = records.made[rows]
        usual = Counter(made.tolist()).most_common(1)[0][0]
        for row, number in zip(rows.tolist(), made.tolist(), strict=True):
            if number != usual and {number, usual} & {*unnamed}:
                yield row, f"states {_made(records, number)}, most state {_made(records, usual)}; state scale or unit"


def _made(records: Records, number: int) -> str:
    return records.radiometries[number].partition(":")[0] or "no scale and offset"


def elsewhere(first: Records, other: Records) -> Iterator[tuple[int, str]]:
    """Rows whose pixels of another modality do not lie where the first modality's do, and a sentence."""
    for row in np.flatnonzero((first.system >= 0) & (other.system >= 0)).tolist():
        if first.form[row] < 0 or other.form[row] < 0:
            continue
        one, two = _grid(first, row), _grid(other, row)
        if (reason := None if one == two else modality_difference(one, two)) is not None:
            yield row, f"{reason}; bring both to one place, or state other_grids: resample"


def _grid(records: Records, row: int) -> Grid:
    *shape, _ = records.forms[records.form[row]].split()
    height, width = (int(shape[0]), int(shape[1])) if int(shape[2]) == 3 and int(shape[0]) > 3 else map(int, shape[1:])
    transform = tuple(records.transform[row].tolist())
    return Grid(records.systems[records.system[row]], transform, height, width)


def displaced(records: Records, splits: Sequence[Split]) -> Iterator[str]:
    """A sentence where some samples' latitude and longitude are not where the grids of their files lie."""
    rows = np.concatenate([split.rows for split in splits])
    rows = rows[(records.system[rows] >= 0) & ~np.isnan(records.centre[rows]).any(axis=1)]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLES_FOR_PLACES).astype(np.int64))] if len(rows) else rows
    stated = [tuple(records.centre[row].tolist()) for row in rows]
    of_files = [centre_of(_grid(records, row)) for row in rows.tolist()]
    apart = [
        (place, centre)
        for place, centre in zip(stated, of_files, strict=True)
        if centre is not None and max(abs(place[0] - centre[0]), abs((place[1] - centre[1] + 180) % 360 - 180)) > FAR
    ]
    if apart:
        (lat, lon), (file_lat, file_lon) = apart[0]
        yield (
            f"Of {len(rows):,} samples examined, {len(apart):,} lie more than {FAR:g} degree from where their files "
            f"do, the first at latitude {lat:.4g} and longitude {lon:.4g}, its file at {file_lat:.4g} and "
            f"{file_lon:.4g}; look at the columns lat and lon, which may be exchanged."
        )


def copies(modality: str, splits: Sequence[Split], records: Records) -> Iterator[str]:
    """A sentence on each split some of whose samples have exactly the pixels of samples of splits before it."""
    hashes = np.concatenate([records.hash[split.rows] for split in splits])
    _, first, group = np.unique(hashes.view(f"V{hashes.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    ids = [name for split in splits for name in split.ids]
    split_names = np.repeat([split.name for split in splits], [len(split.ids) for split in splits])
    begin = 0
    for split in splits:
        end = begin + len(split.ids)
        originals = first[group[begin:end]]
        same = np.flatnonzero(originals < begin)
        if same.size:
            pairs = zip(same[:MOST_EXAMPLES].tolist(), originals[same[:MOST_EXAMPLES]].tolist(), strict=True)
            examples = ", ".join(f"{split.ids[at]} is {ids[row]} of {split_names[row]}" for at, row in pairs)
            more = ", ..." if same.size > MOST_EXAMPLES else ""
            yield (
                f"{same.size:,} of {len(split.ids):,} samples of {split.name} have the same {modality} pixels as "
                f"samples of another split ({examples}{more}), so that scores on {split.name} are too good; leave the "
                "copies out, or put each image and its copies into one split."
            )
        begin = end


# --- no data -------------------------------------------------------------------------------------------------------


def fill_of(records: Records, rows: NDArray[np.int64]) -> int | float | None:
    """The fill value of a modality's array; None where no file implies that data might be missing."""
    if not len(rows) or (records.valid[rows] < 0).all():
        return None
    return FILL.get(records.forms[records.form[rows[0]]].split()[-1])


def encoded_fill(fill: int | float) -> int | str:
    """The attribute `_FillValue` as xarray writes it into Zarr version 3: of floats, the bytes of a double."""
    return base64.standard_b64encode(struct.pack("<d", fill)).decode() if isinstance(fill, float) else fill


# --- units and composites ------------------------------------------------------------------------------------------


def facts_of_pixels(
    modality: Modality,
    array: Path,
    split: str,
    records: Records,
    rows: NDArray[np.int64],
    fill: int | float | None,
) -> PixelFacts:
    """What the samples that are kept show of a modality.

    Args:
        array: of the split that is examined.
        rows: of all samples that are kept, in `records`.
    """
    stated: dict[str, Any] = {}
    if any(records.radiometries[number] for number in {*records.made[rows].tolist()}):
        counts = Counter(records.made[rows].tolist())
        texts = {records.radiometries[number] or "as delivered": count for number, count in counts.items()}
        stated["radiometry"] = dict(sorted(texts.items()))
    unit, recipe = store_unit(modality), modality.composite
    per = per_reflectance(unit)
    wants_ranges = recipe is not None and recipe.percentiles is not None
    is_in_decibels = is_backscatter_in_decibels(modality)
    if modality.is_rgb or (per is None and not is_in_decibels and fill is None and not wants_ranges):
        return PixelFacts(recipe, unit, stated | _fill_facts(fill, None))
    values = _values(array, fill, SAMPLES_FOR_COMPOSITES if wants_ranges else SAMPLES_FOR_UNITS)
    if recipe is not None and wants_ranges:
        recipe = replace(recipe, ranges=_ranges(recipe, modality, values))
    means = [float(band.mean()) if len(band) else 0.0 for band in values]
    kept = [band for name, band in zip(modality.bands, values, strict=True) if name not in modality.zero_bands]
    together = np.concatenate(kept) if kept else np.zeros(0)
    remarks: tuple[str, ...] = ()
    if per is not None and len(together):
        why = _no_reflectance(together, per)
        if why is not None:
            remarks = (
                f"The values of {modality.name} cannot be {unit}: {why[0]} of those of {split} are {why[1]}. State "
                "what the files hold in the data set's file, as unit (reflectance is 0 to 1, reflectance x 100 "
                "percent) or as scale and offset.",
            )
            unit = None
    if is_in_decibels and len(together) and np.percentile(together, LOW_PERCENT) >= 0:
        remarks = (
            f"The values of {modality.name} cannot be {unit}: {100 - LOW_PERCENT} % of those of {split} are 0 or more, "
            "as of linear backscatter and of digital numbers. Bring the files to decibels (10 log10 of calibrated "
            "backscatter), or state what they hold in the data set's file, as unit.",
        )
        unit = None
    return PixelFacts(recipe, unit, stated | _fill_facts(fill, means), remarks)


def _no_reflectance(values: NDArray[Any], per: float) -> tuple[str, str] | None:
    """How many of some values are what no reflectance is in a unit of which `per` are 1; None where all can be."""
    median, top = np.percentile(values, (50, 99)).tolist()
    if median > LARGEST_MEDIAN * per:
        return "half", f"above {median:.4g}"
    if median < SMALLEST_MEDIAN * per:
        return "half", f"below {median:.4g}"
    if values.dtype == np.uint8 and per >= FINE:
        return "all", f"of 8 bits, up to {values.max()}"
    return ("99 %", f"{top:.4g} or less") if top <= SMALLEST_TOP * per else None


def _fill_facts(fill: int | float | None, means: list[float] | None) -> dict[str, Any]:
    if fill is None:
        return {}
    # JSON has no NaN.
    return {"fill_value": "NaN" if fill != fill else fill, **({"band_means": means} if means else {})}


def _values(array: Path, fill: int | float | None, samples: int) -> list[NDArray[Any]]:
    """Of each band, values with data of some pixels of some samples, evenly spread."""
    reader = ShardReader(array)
    rows = np.unique(np.linspace(0, len(reader) - 1, samples).astype(np.int64))
    bands: list[list[NDArray[Any]]] = [[] for _ in range(reader.shape[1])]
    for row in rows:  # one by one: a sample of hundreds of bands is large
        pixels = reader.read([row])[0].reshape(reader.shape[1], -1)
        pixels = pixels[:, :: max(1, -(-pixels.shape[1] // PIXELS))]
        for place, band in zip(bands, pixels, strict=True):
            if fill is not None:
                band = band[np.isfinite(band) if fill != fill else band != fill]
            place.append(np.array(band))
    return [np.concatenate(place) for place in bands]


def _ranges(recipe: Composite, modality: Modality, values: list[NDArray[Any]]) -> tuple[tuple[float, float], ...]:
    assert recipe.percentiles is not None
    ranges = []
    for band in recipe.bands:
        of_band = values[modality.bands.index(band)]
        low, high = np.percentile(of_band, recipe.percentiles).tolist() if len(of_band) else (0.0, 1.0)
        ranges.append((low, high if high > low else low + 1))
    return tuple(ranges)
