"""The report's view of the embedding space: galleries of retrieval, and projections before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bandbridge.base.files import read_json
from bandbridge.reporting.figures import space as plots_space
from bandbridge.reporting.figures.style import Album, Plot
from bandbridge.reporting.tables.all import short_title
from bandbridge.reporting.tables.model import rank_value

# Pictures make the page heavy: it shows so many galleries, those of the best students, of so many bytes together.
MOST_GALLERIES, MOST_BYTES = 10, 5_000_000
MOST_PROJECTIONS = 6


@dataclass(frozen=True)
class Hit:
    """A picture of a gallery: data URI, its id, its classes, and whether it is right; None of the query itself."""

    uri: str
    id: str
    labels: tuple[str, ...]
    right: bool | None
    own: bool = False
    cosine: float | None = None

    @property
    def verdict(self) -> str:
        """What is said of the picture."""
        if self.right is None:
            return "query"
        return "the same place" if self.own else "same class" if self.right else "another class"


@dataclass(frozen=True)
class Row:
    """A query and what was found: its title, what is said of it, its own picture if it has one, and the hits."""

    title: str
    note: str
    query: Hit | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Gallery:
    title: str
    caption: str
    images: tuple[Row, ...]
    texts: tuple[Row, ...]
    words: tuple[Row, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Projection:
    """A figure of the space before and after, and the classes by which its points can be picked out."""

    title: str
    plot: Plot
    classes: tuple[str, ...]


def galleries(paths: Sequence[Path], scores: Mapping[str, float], album: Album) -> tuple[list[Gallery], int]:
    """The galleries that the page shows, and how many were left out.

    Args:
        paths: what `galleries.make_gallery` made.
        scores: encoder -> a score; the galleries of the best come first.
    """
    found = [read_json(path) for path in paths]
    sizes = [path.stat().st_size for path in paths]
    order = sorted(range(len(found)), key=lambda index: (-rank_value(scores.get(found[index]["encoder"], -1.0)), index))
    # One of each data set before a second of any.
    rank: dict[str, int] = {}
    turns = {}
    for index in order:
        turns[index] = rank.get(found[index]["dataset"], 0)
        rank[found[index]["dataset"]] = turns[index] + 1
    shown: list[Gallery] = []
    used = 0
    for index in sorted(order, key=lambda index: turns[index]):
        if len(shown) < MOST_GALLERIES and used + sizes[index] <= MOST_BYTES and found[index]["pictures"]:
            shown.append(_gallery(found[index], album))
            used += sizes[index]
    return shown, len(found) - len(shown)


def _gallery(found: Mapping[str, Any], album: Album) -> Gallery:
    def hit(entry: Mapping[str, Any]) -> Hit:
        name = entry["id"]
        labels = tuple(found["labels"].get(name, ()))
        return Hit(found["pictures"][name], name, labels, entry["right"], entry.get("own", False), entry["cosine"])

    images = tuple(
        Row(
            f"Query: {', '.join(found['labels'].get(query['id'], ()))}",
            f"its own counterpart is at rank {query['rank']:,} of {found['samples']:,}",
            Hit(found["pictures"][query["id"]], query["id"], tuple(found["labels"].get(query["id"], ())), None),
            tuple(map(hit, query["hits"])),
        )
        for query in found["images"]
    )
    texts, words = (
        tuple(
            Row(
                f"“{query['prompt']}”",
                f"{query['class']}, {query['samples']:,} of {found['samples']:,} samples",
                None,
                tuple(map(hit, query["hits"])),
            )
            for query in found[kind]
        )
        for kind in ("texts", "words")
    )
    bands = "RGB" if found["modality"] == "rgb" else "multispectral"
    caption = (
        f"Queries, drawn by chance, and the {bands} samples of the {found['split']} split that {found['encoder']} "
        "places nearest to them, from left to right, shown as RGB composites. A tick marks a sample that shares a "
        f"class with the query, a cross one that does not: {_right((*images, *texts))} are right."
    )
    if words:
        caption += (
            " The words are no class's name, and nothing was trained on them. The first that is listed for a class is "
            f"shown, and samples of that class are right: {_right(words)}."
        )
    title = f"{short_title(found['dataset'])}, {found['encoder']}"
    name = f"gallery-{found['encoder']}-{found['dataset']}"
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
        pictures = [row.query] if row.query else []
        pictures += row.hits
        rows.append((row.title, [(one.uri, _short(one), one.right) for one in pictures]))
        for rank, one in enumerate(row.hits, 1):
            records.append([row.title, rank, one.id, "; ".join(one.labels), one.cosine, int(bool(one.right))])
    data = pd.DataFrame(records, columns=["query", "rank", "sample", "classes", "cosine", "right"])
    return album.files(plots_space.gallery(rows), name, data)


def _short(hit: Hit) -> str:
    text = hit.labels[0] if hit.labels else hit.id
    text = text if len(text) <= 16 else f"{text[:15]}…"
    return text if len(hit.labels) <= 1 else f"{text} +{len(hit.labels) - 1}"


def projections(paths: Sequence[Path], scores: Mapping[str, float], album: Album) -> list[Projection]:
    """The figures of the embedding space, those of the best students; see `galleries`."""
    found = [read_json(path) for path in paths]
    found.sort(key=lambda one: -scores.get(one["student"] or one["patched"], -1.0))
    return [_projection(one, album) for one in found[:MOST_PROJECTIONS]]


def _projection(found: Mapping[str, Any], album: Album) -> Projection:
    panels = {
        f"Before: {found['zero_shot']}": found["before"],
        f"After: {' and '.join(filter(None, [found['patched'], found['student']]))}": found["after"],
    }
    gaps = [
        f"{title}, RGB images to {plots_space.NAMES[group['kind']]} {group['gap']:.2f}"
        for title, groups in panels.items()
        for group in groups[1:]
    ]
    shown = (
        f"{found['shown']:,} of {found['samples']:,}" if found["shown"] < found["samples"] else f"{found['shown']:,}"
    )
    caption = (
        f"Unit embeddings of {shown} {found['split']} samples and of the class names, on the two directions in which "
        "they vary most, the same in both panels. A line joins the means of two groups; the gap beside it is the "
        "distance of the means in the space itself, with all its dimensions."
    )
    alt = f"Scatter plots before and after. Gaps: {'; '.join(gaps)}."
    records = [
        [state, group["kind"], "; ".join(labels), *point]
        for state, groups in (("before", found["before"]), ("after", found["after"]))
        for group in groups
        for labels, point in zip(group["labels"], group["points"], strict=True)
    ]
    data = pd.DataFrame(records, columns=["state", "group", "classes", "x", "y"])
    title = ", ".join(filter(None, [short_title(found["dataset"]), found["student"] or found["patched"]]))
    name = f"projection-{found['student'] or found['patched']}-{found['dataset']}"
    figure = plots_space.projection(panels, found["explained"])
    classes = [labels[0] for group in found["before"] if group["kind"] == "text" for labels in group["labels"]]
    return Projection(title, album.plot(figure, name, caption, alt, data), tuple(classes))
