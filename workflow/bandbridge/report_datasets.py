"""A data set's page in the report: facts, counts, places, and samples to look at."""

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from bandbridge import plots
from bandbridge.sensors import SENSORS, composite
from bandbridge.store import Samples, Store

MOST_THUMBNAILS = 96
MOST_CLASSES_SHOWN = 48
SMALLEST_EDGE, LARGEST_EDGE = 64, 160


@dataclass(frozen=True)
class Thumbnail:
    """A sample as the RGB model sees it: PNG as a data URI, its id, its labels."""

    uri: str
    id: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class DatasetPage:
    name: str
    title: str
    facts: dict[str, str]
    counts: pd.DataFrame
    samples: dict[str, int]
    counts_svg: Markup
    counts_caption: str
    map_svg: Markup | None
    map_caption: str
    gallery: list[tuple[str, int, list[Thumbnail]]]
    multi_label: bool
    quarantined: dict[str, int]
    licence: str
    attribution: str
    cite: tuple[str, ...]
    sources: list[dict[str, Any]]
    digest: str


def dataset_page(path: Path, quarantine: Path) -> DatasetPage:
    """All that the page shows of one store; pixels are read for the thumbnails alone."""
    store = Store(path)
    attrs = store.attrs
    splits = {name: store.split(name) for name in store.splits}
    counts = pd.DataFrame({name: split.labels.sum(axis=0) for name, split in splits.items()}, index=list(store.classes))
    places = _places(splits)
    shown = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    name = attrs["dataset"]
    return DatasetPage(
        name=name,
        title=attrs["title"],
        facts=_facts(store, splits),
        counts=counts,
        samples={name: len(split) for name, split in splits.items()},
        counts_svg=Markup(plots.svg(plots.class_counts(shown.iloc[: plots.MOST_CLASSES]), f"counts-{name}")),
        counts_caption=_counts_caption(store, len(shown)),
        map_svg=None if places is None else Markup(plots.svg(plots.sample_map(places), f"map-{name}")),
        map_caption="" if places is None else _map_caption(places),
        gallery=list(_gallery(store, splits)),
        multi_label=store.label_kind == "multi",
        quarantined=_quarantined(quarantine),
        licence=attrs["licence"],
        attribution=attrs["attribution"],
        cite=tuple(attrs["cite"]),
        sources=list(attrs.get("sources", [])),
        digest=store.digest,
    )


def _facts(store: Store, splits: Mapping[str, Samples]) -> dict[str, str]:
    attrs = store.attrs
    kind = {"multi": "several labels a sample", "single": "one label a sample"}[store.label_kind]
    sensor = SENSORS[attrs["sensor"]].title if attrs["sensor"] in SENSORS else attrs["sensor"]
    facts = {
        "Sensor": " ".join(filter(None, [sensor, attrs["product"]])),
        "Bands": ", ".join(store.bands),
        "Composite": _composite_fact(store),
        "Labels": f"{len(store.classes):,} classes of {attrs['nomenclature']}, {kind}",
        "Samples": ", ".join(f"{len(split):,} {plots.SPLIT_NAMES[name]}" for name, split in splits.items()),
        "Resolution": f"{attrs['resolution']:g} m" if attrs["resolution"] else "",
        "Units": attrs["units"] or "",
    }
    return {term: fact for term, fact in facts.items() if fact}


def _composite_fact(store: Store) -> str:
    recipe = store.composite
    return "" if recipe is None else f"{', '.join(recipe.bands)} as red, green, blue; {recipe.divisor:,.0f} is white"


def _counts_caption(store: Store, classes: int) -> str:
    unit = "Samples that carry each class, by split." if store.label_kind == "multi" else "Samples a class, by split."
    most = plots.MOST_CLASSES
    return unit if classes <= most else f"{unit} The {most} largest of {classes:,} classes."


def _places(splits: Mapping[str, Samples]) -> pd.DataFrame | None:
    frames = [
        pd.DataFrame({"split": name, "lat": split.lat, "lon": split.lon})
        for name, split in splits.items()
        if split.lat is not None and split.lon is not None
    ]
    places = pd.concat(frames, ignore_index=True).dropna() if frames else pd.DataFrame()
    return places if len(places) else None


def _map_caption(places: pd.DataFrame) -> str:
    text = f"Centres of the samples, {places['lat'].min():.2f} to {places['lat'].max():.2f}° N, "
    text += f"{places['lon'].min():.2f} to {places['lon'].max():.2f}° E."
    return text if len(places) <= plots.MOST_POINTS else f"{text} A part of the {len(places):,} samples is drawn."


def _quarantined(path: Path) -> dict[str, int]:
    """Reason -> number of samples that were set aside for it, the most frequent first."""
    with path.open(encoding="utf-8", newline="") as file:
        return dict(Counter(row["reason"] for row in csv.DictReader(file)).most_common())


def _gallery(store: Store, splits: Mapping[str, Samples]) -> Iterator[tuple[str, int, list[Thumbnail]]]:
    """For each class its number of samples and some of them; no sample stands for two classes."""
    if store.modality != "rgb" and store.composite is None:
        return
    samples = splits.get("train") or next(iter(splits.values()))
    classes = store.classes[:MOST_CLASSES_SHOWN]
    each = max(2, min(6, MOST_THUMBNAILS // len(classes)))
    for index, rows in enumerate(_deal(samples.labels[:, : len(classes)], each)):
        total = sum(int(split.labels[:, index].sum()) for split in splits.values())
        yield classes[index], total, _thumbnails(store, samples, rows)


def _deal(labels: NDArray[np.uint8], each: int) -> list[list[int]]:
    """Rows of `labels` (sample, class) for each class, at most `each`, dealt in turns: the rarest class takes first."""
    order = np.random.default_rng(0).permutation(len(labels))
    classes = labels.shape[1]
    # No more are dealt in all, so that a deck of this size cannot run out of cards that nobody has.
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
            png_uri(picture),
            str(samples.ids[row]),
            tuple(name for name, carried in zip(store.classes, samples.labels[row], strict=True) if carried),
        )
        for row, picture in zip(rows, pixels, strict=True)
    ]


def png_uri(picture: NDArray[np.uint8]) -> str:
    """A picture (y, x, 3) uint8 as a data URI; tiny ones are enlarged pixel by pixel, large ones reduced."""
    image = Image.fromarray(picture)
    edge = max(image.size)
    if edge < SMALLEST_EDGE:
        factor = -(-SMALLEST_EDGE // edge)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((LARGEST_EDGE, LARGEST_EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
