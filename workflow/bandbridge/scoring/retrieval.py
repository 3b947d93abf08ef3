"""From embeddings to rows of the metrics table: retrieval between two modalities, and of images by text."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.metrics.classification import logits_from_head, mean_of_defined
from bandbridge.metrics.neighbours import own_units
from bandbridge.metrics.resampled import macro_map, mean_of
from bandbridge.metrics.retrieval import (
    label_average_precision,
    median_rank,
    mutual_ranks,
    top_k,
)
from bandbridge.metrics.text_retrieval import retrieval_by_text, retrieval_by_words
from bandbridge.scoring.rows import Row
from bandbridge.scoring.zero_shot import Draws, Labelled, must_share_space, row_of
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head, Words, must_fit


def retrieval_rows(
    rgb: Embeddings,
    multispectral: Embeddings,
    ks: Sequence[int],
    run: str,
    draws: Draws,
    units: NDArray[np.integer] | None = None,
) -> list[Row]:
    """Rows of retrieval from RGB to multispectral and back; the encoder is the student, the gallery the whole split.

    Intervals are over resampled queries; the gallery is not resampled.

    Args:
        rgb: embeddings of the RGB images.
        multispectral: the student's, of the same samples.
        ks: of recall@k, each in 1..n.
        run: name of the run.
        draws: half-samples of the intervals.
        units: (sample,) the unit of each query, as of `zero_shot.units_of`; None for one unit per query.

    Raises:
        UserError: the two sides are not of the same samples or width, or a k exceeds their number.
    """
    must_be_counterparts(rgb, multispectral)
    n = len(rgb.ids)
    _must_have(multispectral, n, "evaluate.retrieval.ks", max(ks))
    both = mutual_ranks(rgb.embedding, multispectral.embedding)
    rows = []
    for modality, ranks in zip(_directions(rgb, multispectral), both, strict=True):
        row = partial(row_of(multispectral.attrs, task="retrieval", run=run, seed=draws.seed), modality=modality, n=n)
        rows += [
            row(metric=f"recall@{k}", **draws.of_one(mean_of(ranks <= k), own_units(n) if units is None else units))
            for k in ks
        ]
        rows.append(row(metric="median_rank", value=median_rank(ranks)))
    return rows


def label_retrieval_rows(
    rgb: Labelled, multispectral: Labelled, k: int, run: str, nomenclature: str, draws: Draws
) -> list[Row]:
    """Rows of retrieval by shared labels, both ways: mean average precision within the top k, `label_map@<k>`.

    Samples without a label are neither queries nor in the gallery. Intervals are over resampled queries.

    Raises:
        UserError: as for `retrieval_rows`.
    """
    must_be_counterparts(rgb.embeddings, multispectral.embeddings)
    _must_have(multispectral.embeddings, len(rgb.labels), "evaluate.retrieval.label_map_k", k)
    sides = (rgb.embeddings.embedding, multispectral.embeddings.embedding)
    common = {"task": "retrieval", "run": run, "nomenclature": nomenclature, "seed": draws.seed}
    rows = []
    for modality, pair in zip(_directions(rgb.embeddings, multispectral.embeddings), (sides, sides[::-1]), strict=True):
        precision = label_average_precision(top_k(*pair, k)[0], rgb.labels, rgb.labels)
        row = partial(row_of(multispectral.embeddings.attrs, **common), modality=modality)
        defined = ~np.isnan(precision)
        precision, units = precision[defined], np.unique(rgb.units[defined], return_inverse=True)[1]
        rows.append(row(metric=f"label_map@{k}", n=len(precision), **draws.of_one(mean_of(precision), units)))
    return rows


def text_retrieval_rows(
    part: Labelled, head: Head, ks: Sequence[int], run: str, nomenclature: str, prompts: str, draws: Draws
) -> list[Row]:
    """Rows of retrieving images by the class vectors of a head: means over the classes that have images.

    The interval of `map` is over resampled images. `precision@k` and `recall@k` have none: half as many images do not
    have the same first k.

    Raises:
        UserError: the head is of other classes or of another CLIP than the embeddings, or a k exceeds the images.
    """
    attrs = part.embeddings.attrs
    must_fit(head, part.classes, attrs["dataset"])
    must_share_space(part.embeddings, head)
    n = len(part.labels)
    _must_have(part.embeddings, n, "evaluate.text_retrieval.ks", max(ks))
    common = {"task": "text-retrieval", "run": run, "nomenclature": nomenclature, "prompts": prompts}
    row = partial(row_of(attrs, **common, seed=draws.seed), modality=f"text->{attrs['modality']}", n=n)
    rows = []
    for k, of_classes in retrieval_by_text(head.weights, part.embeddings.embedding, part.labels, ks).items():
        rows.append(row(metric=f"precision@{k}", value=float(mean_of_defined(of_classes.precision))))
        rows.append(row(metric=f"recall@{k}", value=float(mean_of_defined(of_classes.recall))))
    cosines = logits_from_head(part.embeddings.embedding, head.weights, 1.0)
    return [*rows, row(metric="map", **draws.of_one(macro_map(part.labels, cosines), part.units))]


def words_rows(part: Labelled, words: Words, k: int, run: str, nomenclature: str, prompts: str, seed: int) -> list[Row]:
    """Rows of retrieval by words that are not class names: `precision@<k>` and `lift@<k>` per word, and their means.

    In a word's rows, `class_` is the word and `n` the number of images of the class that it stands for. Words whose
    class has no images are undefined and left out of the means. There are no intervals, for the same reason as in
    `text_retrieval_rows`.

    Raises:
        UserError: a word stands for a class that the labels do not have, the words' head is of another CLIP than the
            embeddings, or k exceeds the images.
    """
    attrs = part.embeddings.attrs
    unknown = sorted({*words.stands_for} - {*part.classes})
    if unknown:
        raise UserError(
            f"evaluate.words.datasets.{attrs['dataset']} has words for {', '.join(unknown)}; the labels of "
            f"{nomenclature} are {', '.join(part.classes)}."
        )
    must_share_space(part.embeddings, words.head)
    n = len(part.labels)
    _must_have(part.embeddings, n, "evaluate.words.k", k)
    columns = [part.classes.index(name) for name in words.stands_for]
    of_words = retrieval_by_words(words.head.weights, part.embeddings.embedding, part.labels, columns, k)
    common = {"task": "words", "run": run, "nomenclature": nomenclature, "prompts": prompts, "seed": seed}
    row = partial(row_of(attrs, **common), modality=f"text->{attrs['modality']}")
    carriers = part.labels[:, columns].sum(axis=0)
    rows = []
    for metric, values in ((f"precision@{k}", of_words.precision), (f"lift@{k}", of_words.lift)):
        rows.append(row(metric=metric, value=float(mean_of_defined(values)), n=n))
        rows += [
            row(metric=metric, class_=word, value=float(value), n=int(count))
            for word, value, count in zip(words.head.classes, values, carriers, strict=True)
        ]
    return rows


def must_be_counterparts(rgb: Embeddings, multispectral: Embeddings) -> None:
    """Raise a `UserError` unless two embeddings are of the same samples and of equal width."""
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


def _directions(rgb: Embeddings, multispectral: Embeddings) -> tuple[str, str]:
    name, other = rgb.attrs["modality"], multispectral.attrs["modality"]
    return f"{name}->{other}", f"{other}->{name}"


def _must_have(embeddings: Embeddings, n: int, key: str, k: int) -> None:
    attrs = embeddings.attrs
    if k > n:
        raise UserError(
            f"{key} has {k}, and {attrs['dataset']} has {n} samples in {attrs['split']}; expected values in 1..{n}."
        )
