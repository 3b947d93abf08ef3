"""From embeddings to rows of the metrics table: what every kind of scoring shares, and zero-shot classification."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.metrics.calibration import multi_label_ece, single_label_ece
from bandbridge.metrics.classification import (
    average_precision,
    class_accuracy,
    confusion_matrix,
    logits_from_head,
    single_labels,
    top_k_hits,
)
from bandbridge.metrics.half_samples import on_half_samples
from bandbridge.metrics.intervals import Estimate, estimate, score_interval
from bandbridge.metrics.neighbours import neighbour_blocks, own_units
from bandbridge.metrics.resampled import Statistic, balanced_accuracy, f1, macro_map, mean_of, micro_map
from bandbridge.metrics.thresholds import best_thresholds, class_f1
from bandbridge.scoring.draws import HeadlineDraws
from bandbridge.scoring.rows import LEFT_OUT, Row
from bandbridge.store.dataset import Samples, Store
from bandbridge.store.embeddings import Embeddings, load_embeddings
from bandbridge.store.heads import Head

CONFUSED_CLASSES = 50  # a confusion matrix of more is not read


@dataclass(frozen=True, eq=False)
class Labelled:
    """Embeddings of one split with the store's labels.

    Attributes:
        labels: (sample, class) of 0 and 1.
        classes: names of the classes.
        kind: 'single' or 'multi'.
        embeddings: of the samples with a label.
        headline: the data set's main metric.
        units: (sample,) the independent unit of each sample, as of `units_of`.
        left_out: number of further samples of the split, which have no label in this nomenclature.
    """

    embeddings: Embeddings
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    kind: str
    headline: str
    units: NDArray[np.integer]
    left_out: int = 0


@dataclass(frozen=True)
class Measured:
    """A metric on all samples with its standard error, and its values on half-samples, (resamples,)."""

    score: Estimate
    resampled: NDArray[np.floating]


@dataclass(frozen=True)
class Draws:
    """Half-samples: how many, the level of the interval (0..1), the seed they are drawn with, threads."""

    resamples: int
    level: float
    seed: int
    threads: int = 1

    def of(self, statistics: Mapping[str, Statistic], units: NDArray[np.integer]) -> dict[str, Measured]:
        """Measure each metric, with the half-samples of these units (sample,)."""
        resampled = on_half_samples(statistics, units, self.resamples, self.seed, self.threads)
        return {
            name: Measured(estimate(statistic, resampled[name], units), resampled[name])
            for name, statistic in statistics.items()
        }

    def interval(self, score: Estimate) -> dict[str, Any]:
        """A row's interval, and the number of units behind it."""
        low, high = score_interval(score, self.level)
        return {"ci_low": low, "ci_high": high, "units": score.units}

    def of_one(self, statistic: Statistic, units: NDArray[np.integer]) -> dict[str, Any]:
        """A row's value, interval and units."""
        score = self.of({"metric": statistic}, units)["metric"].score
        return {"value": score.value, **self.interval(score)}


def units_of(samples: Samples) -> NDArray[np.integer]:
    """The independent unit of each sample: blocks of neighbours where coordinates and size are known."""
    if samples.lat is None or samples.lon is None or samples.side is None:
        return own_units(len(samples))
    return neighbour_blocks(samples.lat, samples.lon, samples.side)


def labelled(path: Path, store: Store) -> Labelled:
    """Read an embeddings group and the labels of its samples.

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
    if samples.note:
        print(samples.note, flush=True)
    if not rows.all():
        embeddings = replace(embeddings, embedding=embeddings.embedding[rows], ids=embeddings.ids[rows])
    return Labelled(
        embeddings,
        samples.labels,
        tuple(store.classes),
        store.label_kind,
        store.headline,
        units_of(samples),
        samples.left_out,
    )


def zero_shot(
    parts: Sequence[Labelled], head: Head, run: str, nomenclature: str, prompts: str, draws: Draws
) -> tuple[list[Row], HeadlineDraws]:
    """Zero-shot classification of an encoder's splits of one data set.

    With several labels per sample and a split val, F1 on test is computed at the thresholds that are best on val.

    Args:
        parts: the encoder's splits.
        head: class vectors.
        run: name of the run.
        nomenclature: of the labels and the head.
        prompts: of the head.
        draws: half-samples of the intervals.

    Returns:
        The rows, and the headline with its value on every half-sample.

    Raises:
        UserError: the head is of other classes than the labels, or of another CLIP than the embeddings.
    """
    logits = {part.embeddings.attrs["split"]: _logits(part, head, nomenclature) for part in parts}
    held_out = [part.labels for part in parts if part.kind == "multi" and part.embeddings.attrs["split"] == "val"]
    thresholds = best_thresholds(held_out[0], logits["val"]) if held_out else None
    common = {"run": run, "nomenclature": nomenclature, "prompts": prompts, "seed": draws.seed}
    rows: list[Row] = []
    resampled, n, estimates = {}, {}, {}
    for part in parts:
        attrs, scores = part.embeddings.attrs, logits[part.embeddings.attrs["split"]]
        split, row = attrs["split"], row_of(attrs, task="zero-shot", **common)
        part_rows, headline = _classified(row, part, scores, draws, thresholds if split == "test" else None)
        rows += [*part_rows, row(metric="ece", value=_calibration_error(part, scores), n=len(part.labels))]
        if part.left_out:
            rows.append(row(metric=LEFT_OUT, value=float(part.left_out), n=len(part.labels)))
        estimates[split], resampled[split], n[split] = headline.score, headline.resampled, len(part.labels)
    attrs = parts[0].embeddings.attrs
    meta = {key: attrs[key] for key in ("encoder", "clip", "alpha", "dataset", "modality", "store_digest")}
    meta |= {**common, "metric": parts[0].headline, "resamples": draws.resamples, "n": n}
    return rows, HeadlineDraws(meta, estimates, resampled)


def _logits(part: Labelled, head: Head, nomenclature: str) -> NDArray[np.float32]:
    attrs = part.embeddings.attrs
    if head.classes != part.classes:
        raise UserError(
            f"the head of {nomenclature} has the classes {', '.join(head.classes)}; the labels of {attrs['dataset']} "
            f"are {', '.join(part.classes)}. Score it with a nomenclature that its labels are in."
        )
    must_share_space(part.embeddings, head)
    logits = logits_from_head(part.embeddings.embedding, head.weights, head.logit_scale, head.logit_bias)
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{attrs['encoder']} on {attrs['dataset']} (split {attrs['split']}): {part.headline} is not defined: "
            f"{broken} of {len(logits)} samples have zero-shot scores that are not finite numbers. The head of "
            f"{nomenclature} or the embeddings are damaged; delete both and run again."
        )
    return logits


def must_share_space(embeddings: Embeddings, head: Head) -> None:
    """Raise a `UserError` unless embeddings have the width of a head's class vectors."""
    if head.weights.shape[1] != embeddings.embedding.shape[1]:
        raise UserError(
            f"the head has {head.weights.shape[1]} dimensions and the embeddings of {embeddings.attrs['encoder']} have "
            f"{embeddings.embedding.shape[1]}: they belong to different CLIPs. Delete both and run again."
        )


def row_of(attrs: Mapping[str, Any], **common: Any) -> Callable[..., Row]:
    """A maker of rows about the embeddings with these attributes; `common` columns need not be repeated per row."""
    named = {key: attrs[key] for key in ("encoder", "clip", "alpha", "dataset", "modality", "split")}
    return partial(Row, **named, **common)


def classification_rows(
    row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], draws: Draws
) -> list[Row]:
    """Rows of classification by scores (sample, class), without what needs thresholds or probabilities.

    The headline comes first. Metrics over all classes have intervals; one row per class follows and, on the test split
    of a single-label data set of up to 50 classes, one per non-empty cell of the confusion matrix.
    """
    return _classified(row, part, scores, draws, None)[0]


def _classified(
    row: Callable[..., Row],
    part: Labelled,
    scores: NDArray[np.floating],
    draws: Draws,
    thresholds: NDArray[np.floating] | None,
) -> tuple[list[Row], Measured]:
    """The rows, the headline first, and the headline."""
    single = part.kind == "single"
    every = _single_statistics(part, scores) if single else _multi_statistics(part, scores, thresholds)
    statistics = {part.headline: every[part.headline], **every}
    measured, n = draws.of(statistics, part.units), len(part.labels)
    rows = [
        row(metric=metric, value=each.score.value, n=n, **draws.interval(each.score))
        for metric, each in measured.items()
    ]
    rows += _single_details(row, part, scores) if single else _multi_details(row, part, scores, thresholds)
    return rows, measured[part.headline]


def _single_statistics(part: Labelled, scores: NDArray[np.floating]) -> dict[str, Statistic]:
    truth, classes = single_labels(part.labels), len(part.classes)
    hits = truth == scores.argmax(axis=1)
    statistics = {"accuracy": mean_of(hits), "balanced_accuracy": balanced_accuracy(truth, hits, classes)}
    return statistics | ({"top5_accuracy": mean_of(top_k_hits(truth, scores, 5))} if classes > 5 else {})


def _multi_statistics(
    part: Labelled, scores: NDArray[np.floating], thresholds: NDArray[np.floating] | None
) -> dict[str, Statistic]:
    statistics = {"map": macro_map(part.labels, scores), "micro_map": micro_map(part.labels, scores)}
    return statistics | ({} if thresholds is None else f1(part.labels, scores, thresholds))


def _single_details(row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating]) -> list[Row]:
    truth, predicted, classes = single_labels(part.labels), scores.argmax(axis=1), len(part.classes)
    rows = _class_rows(row, part, "class_accuracy", class_accuracy(truth, predicted, classes))
    if part.embeddings.attrs["split"] == "test" and classes <= CONFUSED_CLASSES:
        confused = confusion_matrix(truth, predicted, classes)
        samples = confused.sum(axis=1)
        rows += [
            row(
                metric="confusion",
                class_=f"{part.classes[true]} -> {part.classes[taken]}",
                value=float(confused[true, taken] / samples[true]),
                n=int(samples[true]),
            )
            for true, taken in np.argwhere(confused)
        ]
    return rows


def _multi_details(
    row: Callable[..., Row], part: Labelled, scores: NDArray[np.floating], thresholds: NDArray[np.floating] | None
) -> list[Row]:
    rows = _class_rows(row, part, "average_precision", average_precision(part.labels, scores))
    if thresholds is None:
        return rows
    return rows + _class_rows(row, part, "class_f1", class_f1(part.labels, scores, thresholds))


def _calibration_error(part: Labelled, logits: NDArray[np.floating]) -> float:
    if part.kind == "single":
        return single_label_ece(single_labels(part.labels), logits)
    return multi_label_ece(part.labels, logits)


def _class_rows(row: Callable[..., Row], part: Labelled, metric: str, values: NDArray[np.floating]) -> list[Row]:
    carrying = part.labels.sum(axis=0, dtype=np.int64)
    return [
        row(metric=metric, class_=name, value=float(value), n=int(n))
        for name, value, n in zip(part.classes, values, carrying, strict=True)
    ]
