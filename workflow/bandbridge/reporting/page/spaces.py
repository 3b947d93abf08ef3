"""The report's view of the embedding space: galleries of retrieval, and projections before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bandbridge.base.files import read_json
from bandbridge.catalogue.titles import short_title
from bandbridge.reporting.figures import space as plots_space
from bandbridge.reporting.figures.drawing import Album, Plot
from bandbridge.reporting.tables.model import rank_value

# Images make the page large: it shows at most this many galleries, those of the best students, and bytes.
MOST_GALLERIES, MOST_BYTES = 10, 5_000_000
MOST_LETTERS = 16  # above an image
MOST_PROJECTIONS = 6


@dataclass(frozen=True)
class Hit:
    """An image of a gallery: data URI, id, classes, and whether it is right (None for the query itself)."""

    uri: str
    id: str
    labels: tuple[str, ...]
    right: bool | None
    is_counterpart: bool = False
    cosine: float | None = None

    @property
    def verdict(self) -> str:
        """The text below the image."""
        if self.right is None:
            return "query"
        return "the same place" if self.is_counterpart else "same class" if self.right else "another class"


@dataclass(frozen=True)
class Row:
    """A query and its hits: title, note, the query's image if it has one, and the hits."""

    title: str
    note: str
    query: Hit | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Gallery:
    """The queries of one encoder and data set, and links to their figure's files."""

    title: str
    caption: str
    images: tuple[Row, ...]
    texts: tuple[Row, ...]
    words: tuple[Row, ...]
    files: tuple[str, ...]


def galleries(paths: Sequence[Path], scores: Mapping[str, float], album: Album) -> tuple[list[Gallery], int]:
    """Choose the galleries that the page shows.

    Args:
        paths: files of `galleries.make_gallery`.
        scores: encoder -> a score; the galleries of the best come first.
        album: writes the figures.

    Returns:
        The galleries, and the number of those left out.
    """
    contents = [read_json(path) for path in paths]
    sizes = [path.stat().st_size for path in paths]
    order = sorted(
        range(len(contents)), key=lambda index: (-rank_value(scores.get(contents[index]["encoder"], -1.0)), index)
    )
    # One of each data set before a second of any.
    of_dataset: dict[str, int] = {}
    turns = {}
    for index in order:
        turns[index] = of_dataset.get(contents[index]["dataset"], 0)
        of_dataset[contents[index]["dataset"]] = turns[index] + 1
    chosen: list[Gallery] = []
    used = 0
    for index in sorted(order, key=lambda index: turns[index]):
        if len(chosen) < MOST_GALLERIES and used + sizes[index] <= MOST_BYTES and contents[index]["pictures"]:
            chosen.append(_gallery(contents[index], album))
            used += sizes[index]
    return chosen, len(contents) - len(chosen)


def _gallery(content: Mapping[str, Any], album: Album) -> Gallery:
    def hit(entry: Mapping[str, Any]) -> Hit:
        name = entry["id"]
        labels = tuple(content["labels"].get(name, ()))
        own, cosine = entry.get("own", False), entry.get("cosine")
        return Hit(content["pictures"][name], name, labels, entry.get("right"), own, cosine)

    images = tuple(
        Row(
            f"Query: {', '.join(content['labels'].get(query['id'], ()))}",
            f"its counterpart is at rank {query['rank']:,} of {content['samples']:,}",
            hit(query),
            tuple(map(hit, query["hits"])),
        )
        for query in content["images"]
    )
    texts, words = (
        tuple(
            Row(
                f"“{query['prompt']}”",
                f"{query['class']}, {query['samples']:,} of {content['samples']:,} samples",
                None,
                tuple(map(hit, query["hits"])),
            )
            for query in content[kind]
        )
        for kind in ("texts", "words")
    )
    bands = "RGB" if content["modality"] == "rgb" else "multispectral"
    caption = (
        f"Queries, drawn at random, and the {bands} samples of the {content['split']} split that {content['encoder']} "
        "places nearest to them, from left to right, shown as RGB composites. A tick marks a sample that shares a "
        f"class with the query, a cross one that does not: {_right((*images, *texts))} are right."
    )
    if words:
        caption += (
            " The words are not class names, and nothing was trained on them. The first one listed for each class is "
            f"shown, and samples of that class are right: {_right(words)}."
        )
    title = f"{short_title(content['dataset'])}, {content['encoder']}"
    name = f"gallery-{content['encoder']}-{content['dataset']}"
    return Gallery(title, caption, images, texts, words, _files((*images, *texts, *words), name, album))


def _right(queries: Sequence[Row]) -> str:
    """'31 of 65'."""
    hits = [one for row in queries for one in row.hits]
    return f"{sum(one.right is True for one in hits)} of {len(hits)}"


def _files(queries: Sequence[Row], name: str, album: Album) -> tuple[str, ...]:
    if album.folder is None:
        return ()
    rows, records = [], []
    for row in queries:
        images = [row.query] if row.query else []
        images += row.hits
        rows.append((row.title, [(one.uri, _short(one), one.right) for one in images]))
        for rank, one in enumerate(row.hits, 1):
            records.append([row.title, rank, one.id, "; ".join(one.labels), one.cosine, int(bool(one.right))])
    data = pd.DataFrame(records, columns=["query", "rank", "sample", "classes", "cosine", "right"])
    return album.files(plots_space.gallery(rows), name, data)


def _short(hit: Hit) -> str:
    """The first label and how many more there are, in as many letters as fit above an image of the figure."""
    others = f" +{len(hit.labels) - 1}" if len(hit.labels) > 1 else ""
    label, room = hit.labels[0] if hit.labels else hit.id, MOST_LETTERS - len(others)
    return (label if len(label) <= room else f"{label[: room - 1]}…") + others


def projections(paths: Sequence[Path], scores: Mapping[str, float], album: Album) -> list[tuple[str, Plot]]:
    """Titles and figures of the embedding space, those of the best students; arguments as for `galleries`."""
    contents = [read_json(path) for path in paths]
    contents.sort(key=lambda one: -scores.get(one["student"] or one["patched"], -1.0))
    return [_projection(one, album) for one in contents[:MOST_PROJECTIONS]]


def _projection(content: Mapping[str, Any], album: Album) -> tuple[str, Plot]:
    panels = {
        f"Before: {content['zero_shot']}": content["before"],
        f"After: {' and '.join(filter(None, [content['patched'], content['student']]))}": content["after"],
    }
    gaps = [
        f"{title}, RGB images to {plots_space.NAMES[group['kind']]} {group['gap']:.2f}"
        for title, groups in panels.items()
        for group in groups[1:]
    ]
    points, samples = content["shown"], content["samples"]
    number = f"{points:,} of {samples:,}" if points < samples else f"{points:,}"
    caption = (
        f"Unit embeddings of {number} {content['split']} samples and of the class names, on the two directions in "
        "which they vary most, the same in both panels. A line joins the means of two groups; the gap beside it is the "
        "distance of the means in all dimensions of the space."
    )
    alt = f"Scatter plots before and after. Gaps: {'; '.join(gaps)}."
    records = [
        [state, group["kind"], "; ".join(labels), *point]
        for state, groups in (("before", content["before"]), ("after", content["after"]))
        for group in groups
        for labels, point in zip(group["labels"], group["points"], strict=True)
    ]
    data = pd.DataFrame(records, columns=["state", "group", "classes", "x", "y"])
    distances = [
        [title, plots_space.NAMES[group["kind"]], group["gap"]]
        for title, groups in panels.items()
        for group in groups[1:]
    ]
    listed = pd.DataFrame(distances, columns=["state", "group", "distance to RGB images"])
    title = ", ".join(filter(None, [short_title(content["dataset"]), content["student"] or content["patched"]]))
    name = f"projection-{content['student'] or content['patched']}-{content['dataset']}"
    chart = plots_space.projection(panels, content["explained"])
    return title, album.plot(chart, name, caption, alt, data, listed)
