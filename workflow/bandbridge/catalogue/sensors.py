"""Sensors: bands, wavelengths, resolutions, product levels; RGB images and band orders made from them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError, choices, did_you_mean
from bandbridge.catalogue.modalities import Composite, Modality


@dataclass(frozen=True)
class Band:
    """One band: its name in file names, its centre wavelength in nanometres, its pixel size in metres."""

    name: str
    wavelength: float | None
    resolution: float | None


@dataclass(frozen=True)
class Sensor:
    """A sensor: its bands in the order of their numbers, the unit of its pixels, and what each product level lacks."""

    name: str
    title: str
    bands: tuple[Band, ...]
    units: str | None
    lacks: dict[str, tuple[str, ...]]

    @property
    def resolution(self) -> float | None:
        """Metres of a pixel of the finest band, None where unknown."""
        return min((band.resolution for band in self.bands if band.resolution is not None), default=None)

    def band_names(self, product: str) -> tuple[str, ...]:
        """Bands of a product level.

        Raises:
            UserError: there is no such level; the message lists the levels.
        """
        if product not in self.lacks:
            raise UserError(f"{self.title} has no product '{product}'; its products: {', '.join(self.lacks)}")
        return tuple(band.name for band in self.bands if band.name not in self.lacks[product])


# Centre wavelengths of Sentinel-2A from ESA's Sentinel-2 Spectral Response Functions (COPE-GSEG-EOPG-TN-15-0007).
SENTINEL_2 = Sensor(
    name="sentinel-2",
    title="Sentinel-2",
    bands=(
        Band("B01", 442.7, 60),
        Band("B02", 492.4, 10),
        Band("B03", 559.8, 10),
        Band("B04", 664.6, 10),
        Band("B05", 704.1, 20),
        Band("B06", 740.5, 20),
        Band("B07", 782.8, 20),
        Band("B08", 832.8, 10),
        Band("B8A", 864.7, 20),
        Band("B09", 945.1, 60),
        Band("B10", 1373.5, 60),
        Band("B11", 1613.7, 20),
        Band("B12", 2202.4, 20),
    ),
    units="reflectance x 10000",
    # The cirrus band does not see the ground, so atmospheric correction leaves it out.
    lacks={"L1C": (), "L2A": ("B10",)},
)

# C band, 5.405 GHz. Polarisations take the place of bands; the pixel spacing of GRD products is 10 m.
SENTINEL_1 = Sensor(
    name="sentinel-1",
    title="Sentinel-1",
    bands=(Band("VV", 55_465_763.0, 10), Band("VH", 55_465_763.0, 10)),
    units="dB",
    lacks={"GRD": ()},
)

SENSORS = {sensor.name: sensor for sensor in (SENTINEL_2, SENTINEL_1)}
# Bands that data may lack: any other name is more likely misspelt than missing.
SENSOR_BANDS = tuple(band.name for sensor in SENSORS.values() for band in sensor.bands)


def sensor_of(modality: Modality) -> Sensor | None:
    """The sensor of a modality: one of `SENSORS`, or the one that the data set's file describes.

    Raises:
        UserError: there is no sensor of that name, or the file has more or fewer wavelengths than bands.
    """
    described, bands = modality.sensor, modality.bands
    if described is None:
        return None
    if isinstance(described, str):
        if described not in SENSORS:
            raise UserError(f"sensor '{described}' is not known; known are: {choices(described, SENSORS)}")
        return SENSORS[described]
    wavelengths = list(described.get("wavelengths", [None] * len(bands)))
    if len(wavelengths) != len(bands):
        raise UserError(f"{modality.name}: the sensor has {len(wavelengths)} wavelengths for {len(bands)} bands")
    resolution = described.get("resolution")
    return Sensor(
        name=described["title"],
        title=described["title"],
        bands=tuple(Band(name, wave, resolution) for name, wave in zip(bands, wavelengths, strict=True)),
        units=described.get("units"),
        lacks={},
    )


# The input order of the SSL4EO-S12 students (Wang et al. 2023): by band number, with B8A after B08.
STUDENT_BANDS = tuple(band.name for band in SENTINEL_2.bands)


def composite(pixels: NDArray[Any], bands: Sequence[str], recipe: Composite) -> NDArray[np.uint8]:
    """RGB image of a multi-band image, see `Composite`: clipped to 0..255, truncated to whole numbers.

    Args:
        pixels: (..., band, y, x), any number type, NaN-free.
        bands: names of the band axis, in its order.
        recipe: which bands are red, green and blue, and the values that become black and white.

    Returns:
        (..., 3, y, x) uint8.

    Raises:
        UserError: a band of the recipe is not among `bands`.
    """
    positions = np.array(order_bands(bands, recipe.bands, may_lack=()), dtype=np.intp)
    chosen = pixels[..., positions, :, :].astype(np.float32)
    low, high = np.array(recipe.limits(), np.float32).T[:, :, None, None]
    scaled = (chosen - low) / (high - low)
    if recipe.gamma != 1:
        scaled = np.clip(scaled, 0, 1) ** np.float32(1 / recipe.gamma)
    image: NDArray[np.uint8] = np.clip(scaled * np.float32(255), 0, 255).astype(np.uint8)
    return image


def order_bands(
    bands: Sequence[str], needed: Sequence[str], may_lack: Collection[str] = ("B10",)
) -> tuple[int | None, ...]:
    """The index in `bands` of each needed band; None, to be filled with zeros, for a missing band that may be missing.

    B10 may be missing by default: Level-2A products never hold it, and students trained on Level-1C expect it.

    Raises:
        UserError: another needed band is missing, or `bands` names one twice; the message names the band.
    """
    twice = sorted({name for name in bands if list(bands).count(name) > 1})
    if twice:
        raise UserError(f"band {', '.join(twice)} is listed more than once in {' '.join(bands)}; list each band once")
    missing = [name for name in needed if name not in bands and name not in may_lack]
    if missing:
        raise UserError(
            f"band {', '.join(missing)} is missing: found {len(bands)} bands ({' '.join(bands)}), "
            f"needed {' '.join(needed)}.{did_you_mean(missing[0], bands)}"
        )
    return tuple(bands.index(name) if name in bands else None for name in needed)
