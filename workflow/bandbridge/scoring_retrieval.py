"""From embeddings to rows of the metrics table: retrieval between two modalities."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from bandbridge.embeddings import Embeddings
from bandbridge.errors import UserError
from bandbridge.metrics.retrieval import counterpart_ranks, median_rank, recall_at_ranks
from bandbridge.metrics.rows import Row
from bandbridge.scoring import Draws, row_of


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
        row = partial(row_of(multispectral.attrs, task="retrieval", run=run, seed=draws.seed), modality=modality, n=n)
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
