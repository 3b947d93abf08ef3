"""From embeddings to rows of the metrics table: zero-shot classification, retrieval, linear probe."""

from collections.abc import Callable, Mapping, Sequence
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
from bandbridge.metrics.retrieval import counterpart_ranks, median_rank, recall_at_ranks
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
    row = _row(attrs, task="zero-shot", run=run, nomenclature=nomenclature, prompts=prompts, seed=draws.seed)
    return _classification_rows(row, part, logits, draws)


def probe_rows(
    train: Labelled, val: Labelled, test: Labelled, recipe: Mapping[str, Any], run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """Rows of a linear probe fitted on `train`, its C chosen on `val`: the headline on `val`, all metrics on `test`.

    Args:
        recipe: `C`, the grid, and `max_iterations`.

    Raises:
        UserError: train shows a single class of a single-label data set.
    """
    # Here and not above: a run scores far more than it probes, and scikit-learn takes longer to import than scoring.
    from bandbridge.metrics.probe import fit_probe

    attrs = test.embeddings.attrs
    if train.kind == "single" and len(np.unique(single_labels(train.labels))) < 2:
        raise UserError(f"{attrs['dataset']}: train shows one class only; a linear probe needs two or more.")
    probe = fit_probe(
        (train.embeddings.embedding, train.labels),
        (val.embeddings.embedding, val.labels),
        kind=train.kind,
        grid=recipe["C"],
        max_iterations=recipe["max_iterations"],
    )
    common = {"task": "linear-probe", "run": run, "nomenclature": nomenclature, "seed": draws.seed}
    chosen = _row(val.embeddings.attrs, **common)(metric=HEADLINE[val.kind], value=probe.validation, n=len(val.labels))
    scores = probe.scores(test.embeddings.embedding)
    return [chosen, *_classification_rows(_row(attrs, **common), test, scores, draws)]


def retrieval_rows(rgb: Embeddings, multispectral: Embeddings, ks: Sequence[int], run: str, draws: Draws) -> list[Row]:
    """Rows of retrieval from RGB to multispectral and back; the encoder is the student, the gallery the whole split.

    Intervals are over resampled queries, with the gallery as it is.

    Raises:
        UserError: the two sides are not of the same samples or width, or a k exceeds their number.
    """
    _must_be_counterparts(rgb, multispectral)
    n = len(rgb.ids)
    if max(ks) > n:
        attrs = multispectral.attrs
        raise UserError(
            f"evaluate.retrieval.ks has {max(ks)}, and {attrs['dataset']} has {n} samples in {attrs['split']}; "
            f"expected values in 1..{n}."
        )
    name, other = rgb.attrs["modality"], multispectral.attrs["modality"]
    sides = {f"{name}->{other}": (rgb, multispectral), f"{other}->{name}": (multispectral, rgb)}
    rows = []
    for modality, (queries, gallery) in sides.items():
        ranks = counterpart_ranks(queries.embedding, gallery.embedding)
        row = partial(_row(multispectral.attrs, task="retrieval", run=run, seed=draws.seed), modality=modality, n=n)
        rows += [
            row(metric=f"recall@{k}", value=recall, **draws.of_mean(ranks <= k))
            for k, recall in recall_at_ranks(ranks, ks).items()
        ]
        rows.append(row(metric="median_rank", value=median_rank(ranks)))
    return rows


def _must_be_counterparts(rgb: Embeddings, multispectral: Embeddings) -> None:
    first, second = rgb.attrs["encoder"], multispectral.attrs["encoder"]
    same_store = rgb.attrs["store_digest"] == multispectral.attrs["store_digest"]
    if not same_store or not np.array_equal(rgb.ids, multispectral.ids):
        raise UserError(
            f"embeddings of {first} and {second} on {multispectral.attrs['dataset']} are not of the same samples "
            f"({len(rgb.ids)} and {len(multispectral.ids)}). Delete both and run again."
        )
    if rgb.embedding.shape != multispectral.embedding.shape:
        raise UserError(
            f"{first} embeds in {rgb.embedding.shape[1]} dimensions, {second} in {multispectral.embedding.shape[1]}; "
            "retrieval needs a student aligned to this CLIP."
        )


def _row(attrs: Mapping[str, Any], **common: Any) -> Callable[..., Row]:
    named = {key: attrs[key] for key in ("encoder", "clip", "alpha", "dataset", "modality", "split")}
    return partial(Row, **named, **common)


def _classification_rows(
    row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], draws: Draws
) -> list[Row]:
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
