"""A data set's page in the report: facts, counts, values, places, quarantined samples, and thumbnails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bandbridge.catalogue.sensors import composite
from bandbridge.reporting.figures import datasets as plots_datasets
from bandbridge.reporting.figures.drawing import NOTHING, Album, Plot
from bandbridge.reporting.figures.style import MOST_CLASSES, SPLIT_NAMES
from bandbridge.reporting.page.quarantine import Quarantine, read_quarantine, rough_percent
from bandbridge.reporting.thumbnails import png_uri
from bandbridge.store.dataset import Samples, Store

NO_FILES = Album()
MOST_THUMBNAILS = 96
MOST_CLASSES_SHOWN = 48
# The values of bands come from this many samples, and this many pixels of each, drawn with a fixed seed.
SAMPLES_READ, PIXELS_READ = 300, 500
QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}
SHOWN_QUANTILES = (0.005, 0.995)
MOST_BANDS_LISTED, MOST_MISSING_NAMED = 24, 5


@dataclass(frozen=True)
class Thumbnail:
    """A sample's RGB image as a data URI, its id, its labels."""

    uri: str
    id: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ClassCounts:
    """Samples per class (index) and split (column) in one nomenclature, and the labelled samples per split."""

    nomenclature: str
    counts: pd.DataFrame
    samples: dict[str, int]
    plot: Plot


@dataclass(frozen=True)
class BandValues:
    """Distribution of a modality's values; `quantiles` has one row per band."""

    modality: str
    plot: Plot
    quantiles: pd.DataFrame


@dataclass(frozen=True)
class DatasetPage:
    """What the report shows of one data set."""

    name: str
    title: str
    facts: dict[str, str]
    classes: tuple[ClassCounts, ...]
    bands: tuple[BandValues, ...]
    map: Plot | None
    gallery: list[tuple[str, int, list[Thumbnail]]]
    multi_label: bool
    quarantine: Quarantine
    licence: str
    attribution: str
    cite: tuple[str, ...]
    sources: list[tuple[str, str]]
    digest: str


def dataset_page(path: Path, quarantine: Path, album: Album = NO_FILES) -> DatasetPage:
    """What the page shows of one store; pixels of some hundred samples are read, drawn with a fixed seed."""
    store = Store(path)
    attrs = store.attrs
    splits = {name: store.split(name) for name in store.splits}
    name = attrs["dataset"]
    views = [Store(path, modality=modality) for modality in attrs["modalities"]]
    drawn = {view.modality: _draw_pixels(view) for view in views}
    return DatasetPage(
        name=name,
        title=attrs["title"],
        facts=_facts(views, splits, {modality: shape for modality, (_, shape, _) in drawn.items()}),
        classes=tuple(_class_counts(path, nomenclature, album) for nomenclature in attrs["nomenclatures"]),
        bands=tuple(_band_values(view, *drawn[view.modality], album) for view in views),
        map=_map(name, splits, album),
        gallery=list(_gallery(store, splits)),
        multi_label=store.label_kind == "multi",
        quarantine=read_quarantine(quarantine, attrs["counts"]),
        licence=attrs["licence"],
        attribution=attrs["attribution"],
        cite=tuple(attrs["cite"]),
        sources=[_source_line(source) for source in attrs.get("sources", [])],
        digest=store.digest,
    )


def _main_split(names: Sequence[str]) -> str:
    return "train" if "train" in names else names[0]


# --- facts -----------------------------------------------------------------------------------------------------------


def _facts(
    views: Sequence[Store], splits: Mapping[str, Samples], shapes: Mapping[str, tuple[int, int]]
) -> dict[str, str]:
    store = views[0]
    kind = {"multi": "several labels per sample", "single": "one label per sample"}[store.label_kind]
    classes = [f"{len(names):,} classes of {name}" for name, names in store.attrs["nomenclatures"].items()]
    facts = {
        "Samples": ", ".join(f"{len(split):,} {SPLIT_NAMES[name]}" for name, split in splits.items()),
        "Labels": f"{', '.join(classes)}; {kind}",
    }
    for view in views:
        of_modality = f", {view.modality}" if len(views) > 1 else ""
        facts |= {f"{term}{of_modality}": fact for term, fact in _modality_facts(view, shapes[view.modality]).items()}
    return {term: fact for term, fact in facts.items() if fact}


def _modality_facts(store: Store, shape: tuple[int, int]) -> dict[str, str]:
    facts = store.facts
    return {
        "Sensor": " ".join(filter(None, [facts["sensor"], facts["product"]])),
        "Bands": _listed(store.bands),
        "Replaced by zeros": _listed(facts["zero_bands"]),
        "Composite": _composite_fact(store),
        "Size": f"{shape[0]} × {shape[1]} pixels",
        "Resolution": f"{facts['resolution']:g} m" if facts["resolution"] else "",
        "Units": _units(store),
        "Conversion of the files' numbers": "; ".join(
            f"{how} ({n:,} samples)" for how, n in facts.get("radiometry", {}).items()
        ),
        "Without data": _no_data_fact(store),
        "Note": " ".join(store.attrs.get("remarks", ())),
    }


def _no_data_fact(store: Store) -> str:
    """The number of samples with pixels without data, and the value that marks them."""
    if store.fill_value is None:
        return ""
    shares = [share for name in store.splits if (share := store.split(name).valid_share) is not None]
    lacking = np.concatenate(shares)
    lacking = lacking[lacking < 1]
    fill = f"{store.fill_value:g} marks missing data"
    if not len(lacking):
        return f"no pixel; {fill}"
    samples = "1 sample" if len(lacking) == 1 else f"{len(lacking):,} samples"
    return f"{samples}, of whose pixels {rough_percent(1 - float(lacking.mean()))} on average; {fill}"


def _listed(bands: Sequence[str]) -> str:
    if len(bands) <= MOST_BANDS_LISTED:
        return ", ".join(bands)
    return f"{len(bands)}: {', '.join(bands[:3])} … {bands[-1]}"


def _units(store: Store) -> str:
    return (store.facts["units"] or "").replace(" x ", " × ")


def _composite_fact(store: Store) -> str:
    recipe = store.composite
    if recipe is None:
        return ""
    bands, gamma = ", ".join(recipe.bands), "" if recipe.gamma == 1 else f"; gamma {recipe.gamma:g}"
    if recipe.divisor is not None:
        return f"{bands} as red, green, blue; {recipe.divisor:,.0f} is white{gamma}"
    limits = ", ".join(f"{low:,.4g} to {high:,.4g}" for low, high in recipe.limits())
    of = f" (percentiles {recipe.percentiles[0]:g} and {recipe.percentiles[1]:g})" if recipe.percentiles else ""
    return f"{bands} as red, green, blue; black to white: {limits}{of}{gamma}"


def _source_line(source: Mapping[str, Any]) -> tuple[str, str]:
    """A source's name and checksum; of a folder, its size."""
    algorithm = next((name for name in ("sha256", "md5") if source.get(name)), "")
    facts = [f"{source[algorithm]}{' (MD5)' if algorithm == 'md5' else ''}"] if algorithm else []
    facts += [f"{int(source[what]):,} {what}" for what in ("files", "bytes") if source.get(what) is not None]
    replaced = [f"in place of {source['instead_of']}"] if source.get("instead_of") else []
    return source["file"], ", ".join([*(facts or ["no checksum"]), *replaced])


# --- classes ---------------------------------------------------------------------------------------------------------


def _class_counts(path: Path, nomenclature: str, album: Album) -> ClassCounts:
    native = Store(path)
    store = native if nomenclature == native.nomenclature else Store(path, nomenclature)
    splits = {name: store.split(name) for name in store.splits}
    counts = pd.DataFrame({name: split.labels.sum(axis=0) for name, split in splits.items()}, index=list(store.classes))
    largest_first = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    samples = {name: len(split) for name, split in splits.items()}
    without = sum(store.attrs["counts"].values()) - sum(samples.values())
    caption = _counts_caption(store, largest_first)
    if without:
        caption += f" {without:,} {'sample has' if without == 1 else 'samples have'} no class in it."
    alt = f"Bars: samples of each class of {nomenclature} in each split; the numbers are in the table below. {caption}"
    chart = plots_datasets.class_counts(largest_first.iloc[:MOST_CLASSES])
    data = counts.rename_axis("class").reset_index()
    plot = album.plot(chart, f"counts-{store.attrs['dataset']}-{nomenclature}", caption, alt, data, NOTHING)
    return ClassCounts(nomenclature, counts, samples, plot)


def _counts_caption(store: Store, largest_first: pd.DataFrame) -> str:
    carried = "Samples that carry each class" if store.label_kind == "multi" else "Samples per class"
    text = f"{carried} of {store.nomenclature}, by split."
    rest = largest_first.iloc[MOST_CLASSES:].sum(axis=1)
    if len(rest):
        text += f" The {MOST_CLASSES} largest of {len(largest_first):,} classes; each of the other {len(rest):,} has "
        text += f"{rest.min():,} to {rest.max():,} samples, half of them {rest.median():,.0f} or fewer."
    training = largest_first[_main_split(list(largest_first.columns))]
    missing = list(training.index[training == 0])
    if missing:
        which = ", ".join(missing) if len(missing) <= MOST_MISSING_NAMED else f"{len(missing):,} classes"
        text += f" Without a {SPLIT_NAMES[str(training.name)]} sample: {which}."
    return text


# --- values ----------------------------------------------------------------------------------------------------------


def _draw_pixels(store: Store) -> tuple[NDArray[Any], tuple[int, int], int]:
    """Draw pixels at random.

    Returns:
        Values (pixel, band), height and width of the last sample, and the number of samples.
    """
    samples = store.split(_main_split(store.splits))
    generator = np.random.default_rng(0)
    rows = np.sort(generator.choice(len(samples), min(len(samples), SAMPLES_READ), replace=False))
    values, shape = [], (0, 0)
    for row in rows:  # one by one: a sample of hundreds of bands is large
        read, valid = samples.read_with_validity([row])
        pixels = read[0] if store.modality == "rgb" else np.moveaxis(read[0], 0, -1)
        shape = pixels.shape[:2]
        pixels = pixels.reshape(-1, pixels.shape[-1])
        if valid is not None:
            with_data = valid[0] if store.modality == "rgb" else np.moveaxis(valid[0], 0, -1)
            with_data = with_data.reshape(-1, pixels.shape[-1]).all(axis=1)
            pixels = pixels[with_data] if with_data.any() else pixels
        few = min(len(pixels), PIXELS_READ)
        values.append(pixels[generator.choice(len(pixels), few, replace=False)])
    return np.concatenate(values), shape, len(rows)


def _band_values(store: Store, values: NDArray[Any], shape: tuple[int, int], read: int, album: Album) -> BandValues:
    kept = [number for number, band in enumerate(store.bands) if band not in store.facts["zero_bands"]]
    bands, values = [store.bands[number] for number in kept], values[:, kept]
    quantiles = pd.DataFrame(np.quantile(values, list(QUANTILES.values()), axis=0).T, bands, list(QUANTILES))
    name = f"{store.attrs['dataset']}-{store.modality}"
    label = _units(store) or "value"
    if len(bands) > plots_datasets.MOST_CURVES:
        waves = store.facts.get("wavelengths")
        waves = [waves[number] for number in kept] if waves and None not in waves else None
        chart = plots_datasets.band_spectrum(quantiles, waves, label)
        what = "The line is the median of each band, the area covers the values from 5 to 95 %."
        outside = f"All values are between {_number(values.min())} and {_number(values.max())}."
    else:
        span = _span(values)
        chart = plots_datasets.band_values(values, bands, span, label)
        curves = "" if len(bands) <= plots_datasets.MOST_OVERLAID else " Each curve is scaled to its peak."
        what = f"How often each value occurs, by band.{curves}"
        outside = _outside(values, span)
    of, split = store.attrs["counts"], _main_split(store.splits)
    drawn = f"{read:,} of {of[split]:,}" if read < of[split] else f"all {read:,}"
    much = f"{drawn} {SPLIT_NAMES[split]} samples{', drawn at random' if read < of[split] else ''}"
    pixels = f", {PIXELS_READ} pixels of each" if shape[0] * shape[1] > PIXELS_READ else ""
    left_out = store.facts["zero_bands"]
    zeros = f" Left out, because models get zeros in its place: {', '.join(left_out)}." if left_out else ""
    caption = f"{store.modality}: {what} From {much}{pixels}. {outside}{zeros}"
    medians = ", ".join(
        f"{band} {_number(value)}" for band, value in quantiles["median"].iloc[:MOST_BANDS_LISTED].items()
    )
    more = "; the others are in the table below" if len(bands) > MOST_BANDS_LISTED else ""
    alt = f"{caption} Medians: {medians}{more}."
    data = quantiles.rename_axis("band").reset_index()
    return BandValues(store.modality, album.plot(chart, f"bands-{name}", caption, alt, data, NOTHING), quantiles)


def _span(values: NDArray[Any]) -> tuple[float, float]:
    """The range to show: 0 to 255 for RGB images, otherwise all but the rarest values of all bands together."""
    if values.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (float(value) for value in np.quantile(values, SHOWN_QUANTILES))
    return (low, high) if high > low else (low - 1, high + 1)


def _outside(values: NDArray[Any], span: tuple[float, float]) -> str:
    share = float(((values < span[0]) | (values > span[1])).mean())
    if share == 0:
        return "No value is outside the displayed range."
    extremes = f"the smallest is {_number(values.min())}, the largest {_number(values.max())}"
    return f"{rough_percent(share)} of the values are outside the displayed range: {extremes}."


def _number(value: float) -> str:
    return f"{value:,.4g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")


# --- places ----------------------------------------------------------------------------------------------------------


def _map(dataset: str, splits: Mapping[str, Samples], album: Album) -> Plot | None:
    frames = [
        pd.DataFrame({"split": name, "lat": split.lat, "lon": split.lon})
        for name, split in splits.items()
        if split.lat is not None and split.lon is not None
    ]
    places = pd.concat(frames, ignore_index=True).dropna() if frames else pd.DataFrame()
    if not len(places):
        return None
    places["lon"] = plots_datasets.unbroken(places["lon"])
    drawn = plots_datasets.drawn_places(places)
    caption = _map_caption(places, drawn, sum(map(len, splits.values())))
    alt = f"Map of the samples, coloured by split. {caption}"
    chart = plots_datasets.sample_map(drawn)
    return album.plot(chart, f"map-{dataset}", caption, alt, drawn, _extents(places))


def _extents(places: pd.DataFrame) -> pd.DataFrame:
    """The number of samples of each split, and the ends of their coordinates in degrees."""
    by_split = places.groupby("split", sort=False)
    ends = {f"{which} {axis}": by_split[axis].agg(which) for axis in ("lat", "lon") for which in ("min", "max")}
    return pd.DataFrame({"samples": by_split.size(), **ends}).reset_index()


def _map_caption(places: pd.DataFrame, drawn: pd.DataFrame, samples: int) -> str:
    text = [f"Centres of {len(places):,} samples" if len(places) < samples else "Centres of the samples"]
    for column, sides in (("lat", "NS"), ("lon", "EW")):
        low, high = (plots_datasets.degrees(value, sides, 2) for value in (places[column].min(), places[column].max()))
        text.append(low if low == high else f"{low} to {high}")
    unknown = f" Those of {samples - len(places):,} are unknown." if len(places) < samples else ""
    part = f" {len(drawn):,} of {len(places):,} are drawn, one per dot." if len(drawn) < len(places) else ""
    return f"{', '.join(text)}.{unknown}{part}"


# --- samples ---------------------------------------------------------------------------------------------------------


def _gallery(store: Store, splits: Mapping[str, Samples]) -> Iterator[tuple[str, int, list[Thumbnail]]]:
    """Per class its name, its number of samples and thumbnails of some; no sample is shown for two classes."""
    if store.modality != "rgb" and store.composite is None:
        return
    samples = splits[_main_split(list(splits))]
    classes = store.classes[:MOST_CLASSES_SHOWN]
    each = max(2, min(6, MOST_THUMBNAILS // len(classes)))
    for index, rows in enumerate(_deal(samples.labels[:, : len(classes)], each)):
        total = sum(int(split.labels[:, index].sum()) for split in splits.values())
        yield classes[index], total, _thumbnails(store, samples, rows)


def _deal(labels: NDArray[np.uint8], each: int) -> list[list[int]]:
    """Rows of `labels` (sample, class) per class, at most `each`, dealt in turns: the rarest class chooses first."""
    order = np.random.default_rng(0).permutation(len(labels))
    classes = labels.shape[1]
    # Enough candidates that every class can reach its quota.
    decks = [order[labels[order, index] > 0][: each * classes].tolist() for index in range(classes)]
    rarest_first = np.argsort(labels.sum(axis=0), kind="stable")
    hands: list[list[int]] = [[] for _ in decks]
    dealt: set[int] = set()
    for index in [int(index) for _ in range(each) for index in rarest_first]:
        card = next((row for row in decks[index] if row not in dealt), None)
        if card is not None:
            hands[index].append(card)
            dealt.add(card)
    return [sorted(hand) for hand in hands]


def _thumbnails(store: Store, samples: Samples, rows: Sequence[int]) -> list[Thumbnail]:
    if not rows:
        return []
    pixels = samples.read(np.asarray(rows))
    if store.composite is not None and store.modality != "rgb":
        pixels = composite(pixels, store.bands, store.composite).transpose(0, 2, 3, 1)
    return [
        Thumbnail(
            png_uri(image),
            str(samples.ids[row]),
            tuple(name for name, carried in zip(store.classes, samples.labels[row], strict=True) if carried),
        )
        for row, image in zip(rows, pixels, strict=True)
    ]
