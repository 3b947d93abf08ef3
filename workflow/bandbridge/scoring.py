"""From embeddings to rows of the metrics table: what every kind of scoring shares, and zero-shot classification."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.embeddings import Embeddings, load_embeddings
from bandbridge.errors import UserError
from bandbridge.heads import Head
from bandbridge.metrics.bootstrap import macro_map_interval, mean_interval
from bandbridge.metrics.classification import (
    accuracy,
    average_precision,
    class_accuracy,
    logits_from_head,
    mean_of_defined,
    micro_average_precision,
    single_labels,
)
from bandbridge.metrics.rows import Row
from bandbridge.store import Store

HEADLINE = {"single": "accuracy", "multi": "map"}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Embeddings of one split with the store's labels.

    Attributes:
        labels: (sample, class) of 0 and 1.
        classes: names of the classes.
        kind: 'single' or 'multi'.
    """

    embeddings: Embeddings
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Draws:
    """Bootstrap resamples: how many, the level of the interval (0..1), the seed they are drawn with."""

    resamples: int
    level: float
    seed: int

    def of_mean(self, values: NDArray[Any]) -> dict[str, float]:
        return _interval(mean_interval(values, self.resamples, self.level, self.seed))

    def of_map(self, labels: NDArray[Any], scores: NDArray[Any]) -> dict[str, float]:
        return _interval(macro_map_interval(labels, scores, self.resamples, self.level, self.seed))


def _interval(bounds: tuple[float, float]) -> dict[str, float]:
    return {"ci_low": bounds[0], "ci_high": bounds[1]}


def labelled(path: Path, store: Store) -> Labelled:
    """Read an embeddings group and the labels of the samples it was made of.

    Raises:
        UserError: the store has changed since the embeddings were made.
    """
    embeddings = load_embeddings(path)
    samples = store.split(embeddings.attrs["split"])
    # Every sample is encoded; those without a label in the store's nomenclature are not scored.
    rows = np.isin(embeddings.ids, samples.ids)
    same = embeddings.attrs["store_digest"] == store.digest and np.array_equal(embeddings.ids[rows], samples.ids)
    if not same:
        raise UserError(
            f"{path}: made from another version of the store {store.attrs['dataset']} ({len(embeddings.ids)} samples, "
            f"digest {embeddings.attrs['store_digest']}; the store has {len(samples)}, digest {store.digest}). "
            "Delete these embeddings and run again."
        )
    if not rows.all():
        embeddings = replace(embeddings, embedding=embeddings.embedding[rows], ids=embeddings.ids[rows])
    return Labelled(embeddings, samples.labels, tuple(store.classes), store.label_kind)


def zero_shot_rows(part: Labelled, head: Head, run: str, nomenclature: str, prompts: str, draws: Draws) -> list[Row]:
    """Rows of zero-shot classification of one split: the headline with its interval, means, one row a class.

    Raises:
        UserError: the head is of other classes than the labels, or of another CLIP than the embeddings.
    """
    attrs = part.embeddings.attrs
    if head.classes != part.classes:
        raise UserError(
            f"the head of {nomenclature} has the classes {', '.join(head.classes)}; the labels of {attrs['dataset']} "
            f"are {', '.join(part.classes)}. Score it with a nomenclature that its labels are in."
        )
    if head.weights.shape[1] != part.embeddings.embedding.shape[1]:
        raise UserError(
            f"the head has {head.weights.shape[1]} dimensions and the embeddings of {attrs['encoder']} have "
            f"{part.embeddings.embedding.shape[1]}: they belong to different CLIPs. Delete both and run again."
        )
    logits = logits_from_head(part.embeddings.embedding, head.weights, head.logit_scale)
    row = row_of(attrs, task="zero-shot", run=run, nomenclature=nomenclature, prompts=prompts, seed=draws.seed)
    return classification_rows(row, part, logits, draws)


def row_of(attrs: Mapping[str, Any], **common: Any) -> Callable[..., Row]:
    """Makes rows about the embeddings with these attributes; what is given here need not be repeated a row."""
    named = {key: attrs[key] for key in ("encoder", "clip", "alpha", "dataset", "modality", "split")}
    return partial(Row, **named, **common)


def classification_rows(
    row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], draws: Draws
) -> list[Row]:
    """Rows of all classification metrics of scores (sample, class): the headline with its interval, one row a class."""
    return (_single_rows if part.kind == "single" else _multi_rows)(row, part, scores, draws)


def _single_rows(row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], draws: Draws) -> list[Row]:
    truth, predicted = single_labels(part.labels), scores.argmax(axis=1)
    per_class = class_accuracy(truth, predicted, len(part.classes))
    n = len(truth)
    return [
        row(metric="accuracy", value=accuracy(truth, predicted), n=n, **draws.of_mean(truth == predicted)),
        row(metric="mean_class_accuracy", value=float(mean_of_defined(per_class)), n=n),
        *_class_rows(row, part, "class_accuracy", per_class),
    ]


def _multi_rows(row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], draws: Draws) -> list[Row]:
    per_class = average_precision(part.labels, scores)
    n = len(part.labels)
    return [
        row(metric="map", value=float(mean_of_defined(per_class)), n=n, **draws.of_map(part.labels, scores)),
        row(metric="micro_map", value=micro_average_precision(part.labels, scores), n=n),
        *_class_rows(row, part, "average_precision", per_class),
    ]


def _class_rows(row: Callable[..., Row], part: Labelled, metric: str, values: NDArray[np.floating]) -> list[Row]:
    carrying = part.labels.sum(axis=0, dtype=np.int64)
    return [
        row(metric=metric, class_=name, value=float(value), n=int(n))
        for name, value, n in zip(part.classes, values, carrying, strict=True)
    ]
