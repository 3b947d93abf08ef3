"""Galleries of retrieval: the nearest samples of an image, a class name or a word, as thumbnails in a JSON file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import composite
from bandbridge.metrics.retrieval import counterpart_ranks, top_k
from bandbridge.reporting.thumbnails import gallery_uri
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head, Words, must_fit

NEAREST = 5
QUERIES = 6
CLASSES = 8


@dataclass(frozen=True)
class Labels:
    """Class names of samples by id; a sample without a class in the nomenclature has none."""

    classes: tuple[str, ...]
    by_id: dict[str, tuple[str, ...]]

    def of(self, sample: str) -> tuple[str, ...]:
        return self.by_id.get(sample, ())


def read_labels(path: Path, nomenclature: str, split: str) -> Labels:
    """The labels of a store's split in one of its nomenclatures."""
    store = Store(path, nomenclature)
    samples = store.split(split)
    names = np.array(store.classes, dtype=object)
    of_rows = (tuple(map(str, names[row.astype(bool)])) for row in samples.labels)
    return Labels(store.classes, dict(zip(map(str, samples.ids), of_rows, strict=True)))


def make_gallery(
    store: Path,
    nomenclature: str,
    rgb: Embeddings,
    multispectral: Embeddings | None,
    head: Head | None,
    seed: int,
    words: Words | None = None,
) -> dict[str, Any]:
    """Queries with their nearest samples: images to the other modality, class names and words to a modality.

    The queries are drawn at random, of different classes as long as there are any; they are not chosen for their looks.

    Args:
        store: of the samples, whose thumbnails are their RGB composites.
        nomenclature: of the labels by which a hit is right.
        rgb: of the patched CLIP; the gallery that is searched without a student.
        multispectral: the student's, of the same samples in the same order; None without a student.
        head: class vectors; None for no queries by name.
        seed: of the draw.
        words: words that are not class names; the first one per class is a query. None for no such queries.

    Returns:
        encoder, clip, dataset, split, nomenclature, samples, `pictures` (id -> data URI), `labels` (id -> names),
        `images` (queries: id, rank of the counterpart, hits), `texts` and `words` (queries: class, prompt, samples
        of the class, hits). A hit has id, cosine, right and, for an image query, `own` (it is the counterpart). Ranks
        are those of recall@k: ties count against the query.

    Raises:
        UserError: the two embeddings are not of the same samples, or a head does not fit the labels.
    """
    if multispectral is not None and not np.array_equal(rgb.ids, multispectral.ids):
        raise UserError(
            f"embeddings of {rgb.attrs['encoder']} and {multispectral.attrs['encoder']} on {rgb.attrs['dataset']} are "
            f"not of the same samples ({len(rgb.ids)} and {len(multispectral.ids)}). Delete both and run again."
        )
    labels = read_labels(store, nomenclature, rgb.attrs["split"])
    searched = rgb if multispectral is None else multispectral
    images = [] if multispectral is None else _image_queries(rgb, multispectral, labels, seed)
    texts = [] if head is None else _name_queries(searched, head, labels)
    of_words = [] if words is None else _word_queries(searched, words, labels)
    pictured = {query["id"] for query in images}
    pictured |= {hit["id"] for query in (*images, *texts, *of_words) for hit in query["hits"]}
    return {
        "encoder": searched.attrs["encoder"],
        "clip": rgb.attrs["clip"],
        "rgb_encoder": rgb.attrs["encoder"],
        "dataset": rgb.attrs["dataset"],
        "split": rgb.attrs["split"],
        "modality": searched.attrs["modality"],
        "nomenclature": nomenclature,
        "samples": len(rgb.ids),
        "images": images,
        "texts": texts,
        "words": of_words,
        "labels": {name: list(labels.of(name)) for name in sorted(pictured)},
        "pictures": _pictures(store, rgb.attrs["split"], sorted(pictured)),
    }


def _image_queries(rgb: Embeddings, multispectral: Embeddings, labels: Labels, seed: int) -> list[dict[str, Any]]:
    rows = draw_queries([labels.of(str(name)) for name in rgb.ids], seed)
    if not rows:
        return []
    ranks = counterpart_ranks(rgb.embedding[rows], multispectral.embedding, np.array(rows))
    nearest, cosines = top_k(rgb.embedding[rows], multispectral.embedding, min(NEAREST, len(rgb.ids)))
    queries = []
    for row, rank, others, scores in zip(rows, ranks, nearest, cosines, strict=True):
        classes = set(labels.of(str(rgb.ids[row])))
        hits = [
            {
                "id": str(rgb.ids[other]),
                "cosine": round(float(score), 4),
                "own": bool(other == row),
                "right": bool(other == row or classes & set(labels.of(str(rgb.ids[other])))),
            }
            for other, score in zip(others, scores, strict=True)
        ]
        queries.append({"id": str(rgb.ids[row]), "rank": int(rank), "hits": hits})
    return queries


def draw_queries(labels: Sequence[Sequence[str]], seed: int, count: int = QUERIES) -> list[int]:
    """Rows drawn at random among those that have a label, first of classes that have not been drawn."""
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    order = [row for row in order if labels[row]]
    seen: set[str] = set()
    first = []
    for row in order:
        if not seen & set(labels[row]):
            first.append(row)
            seen |= set(labels[row])
    return (first + [row for row in order if row not in set(first)])[:count]


def _name_queries(searched: Embeddings, head: Head, labels: Labels) -> list[dict[str, Any]]:
    must_fit(head, labels.classes, searched.attrs["dataset"])
    return _text_queries(searched, head, head.classes, range(len(head.classes)), labels)


def _word_queries(searched: Embeddings, words: Words, labels: Labels) -> list[dict[str, Any]]:
    """Queries by the first word of each class: the words are not chosen by their results."""
    first = [words.stands_for.index(name) for name in dict.fromkeys(words.stands_for)]
    return _text_queries(searched, words.head, words.stands_for, first, labels)


def _text_queries(
    searched: Embeddings, head: Head, stands_for: Sequence[str], rows: Iterable[int], labels: Labels
) -> list[dict[str, Any]]:
    """Queries by these rows of a head, each with the class that is right; classes without images are left out."""
    truth = [set(labels.of(str(name))) for name in searched.ids]
    carriers = {name: sum(name in carried for carried in truth) for name in set(stands_for)}
    with_images = [row for row in rows if carriers[stands_for[row]]][:CLASSES]
    if not with_images:
        return []
    nearest, cosines = top_k(head.weights[with_images], searched.embedding, min(NEAREST, len(searched.ids)))
    queries = []
    for number, neighbours, scores in zip(with_images, nearest, cosines, strict=True):
        name = stands_for[number]
        hits = [
            {"id": str(searched.ids[row]), "cosine": round(float(score), 4), "right": name in truth[row]}
            for row, score in zip(neighbours, scores, strict=True)
        ]
        queries.append({"class": name, "prompt": head.prompts[number][0], "samples": carriers[name], "hits": hits})
    return queries


# --- thumbnails ------------------------------------------------------------------------------------------------------


def _pictures(path: Path, split: str, names: Sequence[str]) -> dict[str, str]:
    store = Store(path)
    if not names or (store.modality != "rgb" and store.composite is None):
        return {}
    samples = store.split(split)
    row_of = {str(name): row for row, name in enumerate(samples.ids)}
    pixels = samples.read(np.array([row_of[name] for name in names]))
    if store.modality != "rgb":
        assert store.composite is not None
        pixels = composite(pixels, store.bands, store.composite).transpose(0, 2, 3, 1)
    return {name: gallery_uri(image) for name, image in zip(names, pixels, strict=True)}
