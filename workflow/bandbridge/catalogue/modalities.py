"""One kind of pixels of a data set: its bands, how their numbers are read, how they become an RGB image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.catalogue.files import expand_bands


@dataclass(frozen=True)
class Composite:
    """How bands become an RGB image: `bands` in the order red, green, blue.

    A channel is ((value - low) / (high - low)) ** (1 / gamma) * 255, clipped. `low` is 0 and `high` the divisor, as in
    the paper, unless `ranges` states them for each band, or `percentiles` of the train split, which the store keeps.
    """

    bands: tuple[str, str, str]
    divisor: float | None = None
    ranges: tuple[tuple[float, float], ...] | None = None
    percentiles: tuple[float, float] | None = None
    gamma: float = 1.0

    def limits(self) -> tuple[tuple[float, float], ...]:
        """The values that become black and white, for red, green and blue.

        Raises:
            UserError: they are percentiles, which only a store knows.
        """
        if self.ranges is not None:
            return self.ranges
        if self.divisor is None:
            raise UserError(
                f"the composite of {', '.join(self.bands)} has percentiles, and the store does not state which values "
                "they are; preprocess the data set again"
            )
        return ((0.0, self.divisor),) * 3

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Composite":
        """A composite from a mapping, as in a data set's file or a store."""
        ranges, percentiles, divisor = facts.get("ranges"), facts.get("percentiles"), facts.get("divisor")
        return cls(
            bands=tuple(facts["bands"]),
            divisor=None if divisor is None else float(divisor),
            ranges=tuple((float(low), float(high)) for low, high in ranges) if ranges else None,
            percentiles=(float(percentiles[0]), float(percentiles[1])) if percentiles else None,
            gamma=float(facts.get("gamma") or 1),
        )

    def in_words(self) -> str:
        """The bands, and the values that become black and white, such as 'B04, B03, B02, white at 2000'."""
        bands, gamma = ", ".join(self.bands), "" if self.gamma == 1 else f", gamma {self.gamma:g}"
        if self.ranges is None and self.divisor is not None:
            return f"{bands}, white at {self.divisor:g}{gamma}"
        limits = ", ".join(f"{low:g} to {high:g}" for low, high in self.limits())
        return f"{bands}, black to white: {limits}{gamma}"

    def facts(self) -> dict[str, Any]:
        """The mapping that a store keeps, without what is not stated."""
        stated = {"divisor": self.divisor, "ranges": self.ranges, "percentiles": self.percentiles}
        kept = {name: value for name, value in stated.items() if value is not None}
        return {"bands": self.bands, **kept, **({"gamma": self.gamma} if self.gamma != 1 else {})}


@dataclass(frozen=True)
class Modality:
    """One kind of pixels of a data set, and the array of the store that holds them.

    Attributes:
        name: of the store's array: 's2', 's1'; 'rgb' for RGB images, (y, x, 3) uint8.
        sensor: a name of `sensors`, the description of a sensor in the data set's file, or None.
        bands: in the order of the files, which is the store's.
        zero_bands: bands that encoders are given zeros for, although the files hold them.
        size: height and width of every sample, None for that of most samples.
        nodata: value for no data in addition to what the files state, for all bands or one each; 'ignore' for files
            that state it wrongly.
        scale, offset: stored value = scale * number + offset, for all bands or one each, in place of what files state.
        unit: of the files' values where it is not the sensor's, such as 'reflectance'.
        band_names: whether names in the files are compared with `bands`, ignored, or give each band's position.
    """

    name: str
    sensor: str | Mapping[str, Any] | None
    product: str | None
    bands: tuple[str, ...]
    composite: Composite | None = None
    zero_bands: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    nodata: float | tuple[float, ...] | str | None = None
    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] | None = None
    unit: str | None = None
    band_names: str = "compare"

    @property
    def is_rgb(self) -> bool:
        return self.name == "rgb"

    def of_band(self, band: str) -> "Modality":
        """The modality reduced to one band, for files that hold no other."""

        def value_of_band(value: Any) -> Any:
            return value[self.bands.index(band)] if isinstance(value, tuple) else value

        return replace(
            self, bands=(band,), composite=None, zero_bands=(), sensor=self._sensor_of_band(band),
            nodata=value_of_band(self.nodata), scale=value_of_band(self.scale), offset=value_of_band(self.offset),
        )  # fmt: skip

    def _sensor_of_band(self, band: str) -> str | Mapping[str, Any] | None:
        if not isinstance(self.sensor, Mapping) or "wavelengths" not in self.sensor:
            return self.sensor
        return {**self.sensor, "wavelengths": [self.sensor["wavelengths"][self.bands.index(band)]]}

    def pixel_facts(self) -> dict[str, Any]:
        """The stated facts that decide the values of the pixels, besides the bands and the size."""
        names = ("nodata", "scale", "offset", "unit")
        stated = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {**stated, **({"band_names": self.band_names} if self.band_names != "compare" else {})}


def modality_of(name: str, facts: Mapping[str, Any]) -> Modality:
    """A modality as a data set's file describes it."""
    composite, size = facts.get("composite"), facts.get("size")
    return Modality(
        name=name,
        sensor=facts.get("sensor"),
        product=facts.get("product"),
        bands=expand_bands(facts["bands"]),
        composite=Composite.from_facts(composite) if composite else None,
        zero_bands=tuple(facts.get("zero_bands", ())),
        size=None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1]),
        nodata=_numbers(facts.get("nodata")),
        scale=_numbers(facts.get("scale")),
        offset=_numbers(facts.get("offset")),
        unit=facts.get("unit"),
        band_names=facts.get("band_names", "compare"),
    )


def _numbers(value: Any) -> Any:
    """The value with numbers as floats: one number, one for each band, or a word."""
    if isinstance(value, list):
        return tuple(float(item) for item in value)
    return float(value) if isinstance(value, int | float) else value
