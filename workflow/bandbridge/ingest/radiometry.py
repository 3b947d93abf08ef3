"""From the numbers of a file to values in the sensor's unit: scales, offsets, reflectance as 0..1 or times 10,000.

The first of these that is stated counts: `scale`, `offset` and `unit` of the data set's file; scale and offset of
a file's bands; metadata of Sentinel-2 products; the processing baseline in a file's name. As of baseline 04.00, ESA
adds 1,000 to Sentinel-2's digital numbers (Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9).

Files of Landsat's Collection 2 Level 2 state no scale: it is the same for all (USGS, Landsat 8-9 Collection 2 Level 2
Science Product Guide, LSDS-1619), and they are known by their names.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.sensors import SENTINEL_1, sensor_of
from bandbridge.ingest.declarations import Declarations

# 'reflectance x 10000' is reflectance times this; plain 'reflectance', times 1.
REFLECTANCE = re.compile(r"(?:surface |toa |boa )?reflectance(?:\s*[x×*]\s*([\d_,]+(?:\.\d+)?))?", re.IGNORECASE)
# The baseline in the name of a product: S2A_MSIL2A_20220126T102311_N0400_R065_T33UUU_20220126T120000.
BASELINE = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{2})(\d{2})_", re.IGNORECASE)
FIRST_WITH_OFFSET, NO_BASELINE = 4, 99  # N9999 is what processors outside ESA's ground segment write
BASELINE_OFFSET = -1000.0
# The name of a band of surface reflectance: LC08_L2SP_193024_20220615_20220627_02_T1_SR_B4.TIF.
LANDSAT = re.compile(r"L[COTE]0[4-9]_L2S[PR]_\d{6}_\d{8}_\d{8}_02_\w\w_SR_B\d", re.IGNORECASE)
LANDSAT_SCALE, LANDSAT_OFFSET = 2.75e-5, -0.2
# Scales of digital numbers that encode reflectance are far below this, those of numbers in their own unit far above.
LARGEST_SCALE_TO_REFLECTANCE = 0.05
# Offsets of reflectance are tenths, of digital numbers hundreds.
LARGEST_OFFSET_OF_REFLECTANCE = 2.0

Numbers = float | tuple[float, ...] | None


@dataclass(frozen=True)
class Radiometry:
    """value = gain * number + shift, one for each band; in the sensor's unit where `applied`.

    Attributes:
        why: where it comes from, in words that are the same for all files of a kind.
        applied: False where a file states scale and offset, and the unit of the result is unknown.
    """

    gains: tuple[float, ...]
    shifts: tuple[float, ...]
    why: str
    applied: bool = True

    @property
    def keeps_type(self) -> bool:
        """Whether whole numbers stay whole."""
        return all(gain == 1 for gain in self.gains) and all(shift == round(shift) for shift in self.shifts)

    def __str__(self) -> str:
        gain, shift = _shown(self.gains), _shown(self.shifts)
        return f"{gain} x number + {shift}: {self.why}"

    def apply(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Pixels (band, y, x) in the sensor's unit.

        Whole numbers stay of their type where gain and shift are whole: what lies below its smallest value (reflectance
        below zero) is set to that. Everything else becomes float32.
        """
        if not self.applied or (self.keeps_type and not any(self.shifts)):
            return pixels, valid
        gains = np.array(self.gains).reshape(-1, 1, 1)
        shifts = np.array(self.shifts).reshape(-1, 1, 1)
        if self.keeps_type and pixels.dtype.kind in "iu":
            limits = np.iinfo(pixels.dtype)
            moved = pixels.astype(np.int64) + shifts.astype(np.int64)
            return np.clip(moved, limits.min, limits.max).astype(pixels.dtype), valid
        return (pixels.astype(np.float64) * gains + shifts).astype(np.float32), valid

    def result_type(self, dtype: np.dtype) -> np.dtype:
        """The number type of what `apply` makes of pixels of `dtype`."""
        kept = not self.applied or (self.keeps_type and (dtype.kind in "iu" or not any(self.shifts)))
        return dtype if kept else np.dtype(np.float32)


def per_reflectance(unit: str | None) -> float | None:
    """How many of a unit are one reflectance: 10000 for 'reflectance x 10000'; None for any other unit."""
    match = REFLECTANCE.fullmatch(unit.strip()) if unit else None
    if match is None:
        return None
    return float(match[1].replace(",", "").replace("_", "")) if match[1] else 1.0


def radiometry_of(  # noqa: PLR0913 (half of them are keyword-only facts)
    stated: Declarations,
    name: str,
    bands: int,
    whole: bool,
    *,
    sensor: str | None,
    sensor_unit: str | None,
    unit: str | None = None,
    scale: Numbers = None,
    offset: Numbers = None,
) -> Radiometry | None:
    """The conversion of a file's numbers to the sensor's unit; None where they need none.

    Args:
        name: of the file, with its folders; ESA's names state the baseline, those of USGS the product.
        bands: how many the file has.
        whole: whether its numbers are whole.
        sensor: its name, for what only one sensor has.
        sensor_unit: of the values in the store.
        unit, scale, offset: as the data set's file has them.

    Raises:
        ValueError: the file states a scale or offset that fits neither reflectance nor the sensor's unit.
    """
    per = per_reflectance(sensor_unit)
    if scale is not None or offset is not None:
        gains, shifts = _each(scale, bands, 1.0), _each(offset, bands, 0.0)
        factor = _factor(unit, per)
        gains, shifts = tuple(factor * gain for gain in gains), tuple(factor * shift for shift in shifts)
        return _meaningful(gains, shifts, "scale and offset of the data set's file")
    if _is_stated(stated):
        return _of_tags(stated, per, unit, bands, sensor_unit)
    if unit is not None:
        return _meaningful((_factor(unit, per),) * bands, (0.0,) * bands, f"unit of the data set's file, {unit}")
    if whole and per is not None and LANDSAT.search(name):
        gain, shift = _tidy(per * LANDSAT_SCALE), _tidy(per * LANDSAT_OFFSET)
        return _meaningful((gain,) * bands, (shift,) * bands, "Landsat Collection 2 Level 2")
    if sensor == "sentinel-2" and whole and per is not None:
        return _of_product(stated, name, per, bands)
    return None


def _is_stated(stated: Declarations) -> bool:
    return any(scale != 1 for scale in stated.scales) or any(offset != 0 for offset in stated.offsets)


def _of_tags(
    stated: Declarations, per: float | None, unit: str | None, bands: int, sensor_unit: str | None
) -> Radiometry | None:
    scales, offsets = stated.scales or (1.0,) * bands, stated.offsets or (0.0,) * bands
    if per is None:
        why = "scale and offset of the files' bands"
        is_unit_known = sensor_unit is not None or unit is not None
        return Radiometry(
            scales, offsets, why if is_unit_known else f"{why}, which do not say their unit", applied=is_unit_known
        )
    factor = _factor(unit, per) if unit is not None else _factor_of_size(scales, offsets, per, sensor_unit)
    gains = tuple(_tidy(factor * scale) for scale in scales)
    shifts = tuple(_tidy(factor * offset) for offset in offsets)
    return _meaningful(gains, shifts, "scale and offset of the files' bands")


def _factor_of_size(
    scales: tuple[float, ...], offsets: tuple[float, ...], per: float, sensor_unit: str | None
) -> float:
    """From what scales and offsets make of a file's numbers to the sensor's unit: their sizes show the unit.

    Raises:
        ValueError: they make neither reflectance nor the sensor's unit of every band.
    """
    # The size of an offset without a scale shows its unit.
    if all(scale == 1 for scale in scales):
        return per if max(map(abs, offsets)) <= LARGEST_OFFSET_OF_REFLECTANCE else 1.0
    is_reflectance = all(
        abs(scale) <= LARGEST_SCALE_TO_REFLECTANCE and abs(offset) <= LARGEST_OFFSET_OF_REFLECTANCE
        for scale, offset in zip(scales, offsets, strict=True)
    )
    if not is_reflectance:
        raise ValueError(
            f"its bands state scale {_shown(scales)} and offset {_shown(offsets)}, which make neither reflectance "
            f"nor {sensor_unit} of {'its numbers' if len(set(scales)) == 1 else 'all of its numbers'}; state scale, "
            "offset or unit in the data set's file"
        )
    return per


def _of_product(stated: Declarations, name: str, per: float, bands: int) -> Radiometry | None:
    """What Sentinel-2's products say: an offset in the metadata, or a baseline in metadata or name that has one."""
    for tag in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
        if tag in stated.tags:
            try:
                shift = float(stated.tags[tag]) * per / 10_000
            except ValueError as error:
                raise ValueError(f"its {tag} is '{stated.tags[tag]}', expected a number") from error
            return _meaningful((1.0,) * bands, (shift,) * bands, tag)
    match = BASELINE.search(name)
    baseline = stated.tags.get("PROCESSING_BASELINE") or (f"{match[1]}.{match[2]}" if match else "")
    number = re.fullmatch(r"N?(\d{2})\.?(\d{2})", baseline.strip())
    if number is None or not FIRST_WITH_OFFSET <= int(number[1]) < NO_BASELINE:
        return None
    shift = BASELINE_OFFSET * per / 10_000
    return _meaningful((1.0,) * bands, (shift,) * bands, "processing baseline 04.00 or later")


def _factor(unit: str | None, per: float | None) -> float:
    """From the unit of the files to the sensor's, where both are reflectance."""
    per_in_files = per_reflectance(unit)
    return 1.0 if per_in_files is None or per is None else _tidy(per / per_in_files)


def _meaningful(gains: tuple[float, ...], shifts: tuple[float, ...], why: str) -> Radiometry | None:
    """None for what changes nothing."""
    changes = any(gain != 1 for gain in gains) or any(shift != 0 for shift in shifts)
    return Radiometry(gains, shifts, why) if changes else None


def _each(value: Numbers, bands: int, default: float) -> tuple[float, ...]:
    if value is None:
        return (default,) * bands
    return value if isinstance(value, tuple) else (float(value),) * bands


def _tidy(value: float) -> float:
    """0.0001 times 10,000 is 1, whatever floating point makes of it."""
    return float(f"{value:.12g}")


def _shown(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "[" + ", ".join(f"{value:g}" for value in values) + "]"


def store_unit(modality: Modality) -> str | None:
    """The unit of a modality's values in the store: the sensor's, unless the data set's file states one of its own."""
    sensor = sensor_of(modality)
    of_sensor = sensor.units if sensor else None
    if modality.unit is None or (per_reflectance(of_sensor) and per_reflectance(modality.unit)):
        return of_sensor
    return modality.unit


def is_backscatter_in_decibels(modality: Modality) -> bool:
    """Whether a modality is to hold decibels of Sentinel-1; a sensor of one's own may measure others, above zero."""
    return modality.sensor == SENTINEL_1.name and store_unit(modality) == SENTINEL_1.units
