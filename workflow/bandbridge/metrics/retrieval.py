"""Cross-modal retrieval: finding a sample by its counterpart in the other modality."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.classification import unit_rows

# A float32 product of equal rows differs by some 1e-7 with their place in the matrix; this much is still a tie.
TIE = np.float32(1e-6)


def counterpart_ranks(queries: ArrayLike, gallery: ArrayLike, block: int = 4096) -> NDArray[np.int64]:
    """Rank of each query's own counterpart among all gallery rows by cosine, from 1 (best) to n.

    Args:
        queries, gallery: (n, d), row i of one belongs to row i of the other; need not be normalised.
        block: queries scored at a time; memory is block * n scores, never n * n.

    Returns:
        (n,). Ties count against the query: its rank is the number of rows scoring at least as much, to within 1e-6.

    Raises:
        ValueError: the two do not have the same shape.
    """
    if np.shape(queries) != np.shape(gallery):
        raise ValueError(f"queries {np.shape(queries)} and gallery {np.shape(gallery)} differ in shape")
    unit_queries, unit_gallery = unit_rows(queries), unit_rows(gallery)
    ranks = np.empty(len(unit_queries), dtype=np.int64)
    for start in range(0, len(ranks), block):
        scores = unit_queries[start : start + block] @ unit_gallery.T
        own = scores[np.arange(len(scores)), np.arange(start, start + len(scores))]
        # Counting the rows below, not those above, ranks an embedding of NaNs last.
        ranks[start : start + block] = len(ranks) - np.count_nonzero(scores < (own - TIE)[:, None], axis=1)
    return ranks


def recall_at_ranks(ranks: ArrayLike, ks: Sequence[int]) -> dict[int, float]:
    """Share of ranks that are k or better, for each k; NaN without ranks.

    Raises:
        ValueError: a k outside 1..n.
    """
    array = np.asarray(ranks)
    for k in ks:
        if not 1 <= k <= len(array):
            raise ValueError(f"k is {k}; expected 1..{len(array)}, the number of gallery rows")
    return {k: float(np.mean(array <= k)) for k in ks}


def recall_at_k(queries: ArrayLike, gallery: ArrayLike, ks: Sequence[int], block: int = 4096) -> dict[int, float]:
    """Share of queries whose own counterpart is among the k most similar gallery rows (cosine).

    Args:
        queries, gallery: (n, d), row i of one belongs to row i of the other; need not be normalised.
        ks: ranks to report, each in 1..n.
        block: queries scored at a time; memory is block * n scores, never n * n.

    Ties count against the query: its rank is the number of rows scoring at least as much, to within 1e-6.
    """
    return recall_at_ranks(counterpart_ranks(queries, gallery, block), ks)


def median_rank(ranks: ArrayLike) -> float:
    """Median of the ranks, 1 at best; the mean of the middle two where their number is even."""
    return float(np.median(np.asarray(ranks)))
