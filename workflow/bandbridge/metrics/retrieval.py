"""Cross-modal retrieval: finding a sample by its counterpart, or by its labels, in the other modality."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.classification import unit_rows

# A float32 product of equal rows differs by some 1e-7 with their place in the matrix; this much is still a tie.
TIE = np.float32(1e-6)
DECIMALS = 6  # the same, of cosines in float64
SCORES_AT_A_TIME = 2**24  # of top_k: 64 MB, and as many comparisons


def mutual_ranks(first: ArrayLike, second: ArrayLike, block: int = 2048) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of the counterparts in both directions, from one product: each cosine is computed once and counted twice.

    Args:
        first, second: (n, d), row i of one belongs to row i of the other; need not be normalised.
        block: rows of either side scored at a time; memory is block * block scores, never block * n.

    Returns:
        (n,) of queries `first` in the gallery `second`, (n,) the other way, from 1 (best) to n. Ties count against the
        query: its rank is the number of gallery rows scoring at least as much as its counterpart, to within 1e-6.

    Raises:
        ValueError: the two do not have the same shape.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"queries {np.shape(first)} and gallery {np.shape(second)} differ in shape")
    rows, columns = unit_rows(first), unit_rows(second)
    n = len(rows)
    least = np.einsum("nd,nd->n", rows, columns) - TIE
    # Counting what is below, not what is above, ranks an embedding of NaNs last.
    below_of_row, below_of_column = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    scores, below = np.empty(block * block, dtype=np.float32), np.empty(block * block, dtype=np.bool_)
    for top in range(0, n, block):
        row = slice(top, min(top + block, n))
        for left in range(0, n, block):
            column = slice(left, min(left + block, n))
            shape = (row.stop - row.start, column.stop - column.start)
            tile, mask = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in (scores, below))
            np.matmul(rows[row], columns[column].T, out=tile)
            below_of_row[row] += np.count_nonzero(np.less(tile, least[row, None], out=mask), axis=1)
            below_of_column[column] += np.count_nonzero(np.less(tile, least[column], out=mask), axis=0)
    return n - below_of_row, n - below_of_column


def counterpart_ranks(queries: ArrayLike, gallery: ArrayLike, block: int = 2048) -> NDArray[np.int64]:
    """Rank of each query's own counterpart among all gallery rows by cosine: one direction of `mutual_ranks`."""
    return mutual_ranks(queries, gallery, block)[0]


def recall_at_ranks(ranks: ArrayLike, ks: Sequence[int]) -> dict[int, float]:
    """Share of ranks that are k or better, for each k; NaN without ranks.

    Raises:
        ValueError: a k outside 1..n.
    """
    array = np.asarray(ranks)
    for k in ks:
        _must_be_within(k, len(array))
    return {k: float(np.mean(array <= k)) for k in ks}


def recall_at_k(queries: ArrayLike, gallery: ArrayLike, ks: Sequence[int], block: int = 2048) -> dict[int, float]:
    """Share of queries whose own counterpart is among the k most similar gallery rows (cosine).

    Args:
        queries, gallery: (n, d), row i of one belongs to row i of the other; need not be normalised.
        ks: ranks to report, each in 1..n.
        block: rows of either side scored at a time; memory is block * block scores.

    Ties count against the query: its rank is the number of rows scoring at least as much, to within 1e-6.
    """
    return recall_at_ranks(counterpart_ranks(queries, gallery, block), ks)


def median_rank(ranks: ArrayLike) -> float:
    """Median of the ranks, 1 at best; the mean of the middle two where their number is even."""
    return float(np.median(np.asarray(ranks)))


def top_k(queries: ArrayLike, gallery: ArrayLike, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k gallery rows most similar to each query, by cosine, and their cosines; the most similar comes first.

    Cosines that are the same to six decimals are ties, and of those the lower gallery index comes first. Where only
    some of the rows within 1e-6 of the k-th best find a place in the list, it is those of the lowest index too.

    Args:
        queries, gallery: (q, d) and (n, d), finite; need not be normalised.
        k: in 1..n.

    Returns:
        (q, k) gallery indices and (q, k) cosines. Memory beyond the normalised inputs is some 100 MB.

    Raises:
        ValueError: k outside 1..n.
    """
    wanted, there = np.asarray(queries), np.asarray(gallery)
    rows, columns = unit_rows(wanted), unit_rows(there)
    of_query, of_row = (np.sqrt(np.einsum("nd,nd->n", side, side, dtype=np.float64)) for side in (wanted, there))
    _must_be_within(k, len(columns))
    indices, cosines = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
    block = max(1, SCORES_AT_A_TIME // max(len(columns), k * columns.shape[1]))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        scores = rows[part] @ columns.T
        near = np.stack([_best(*pair, k) for pair in zip(scores, _at_most_kth(scores, k), strict=True)])
        # A pair's cosine in float64 does not depend on the pair's place, as that of the product does.
        exact = np.einsum("qd,qkd->qk", wanted[part], there[near], dtype=np.float64)
        length = of_query[part, None] * of_row[near]
        exact = np.divide(exact, length, out=np.zeros_like(exact), where=length > 0)
        order = np.lexsort((near, -exact.round(DECIMALS)), axis=1)
        indices[part], cosines[part] = (np.take_along_axis(values, order, axis=1) for values in (near, exact))
    return indices, cosines


def _at_most_kth(scores: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A bound just below each row's k-th best score: the k-th best among the maxima of 8 k groups of columns."""
    width = scores.shape[1] // (8 * k)
    if width < 2:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    best = scores[:, : 8 * k * width].reshape(len(scores), 8 * k, width).max(axis=2)
    return np.partition(best, -k, axis=1)[:, -k]


def _best(scores: NDArray[np.float32], bound: np.float32, k: int) -> NDArray[np.int64]:
    """Columns of the k best scores; of those within a tie of the k-th best, the first columns."""
    columns = np.flatnonzero(scores >= bound - TIE)
    near = scores[columns]
    kth = np.partition(near, -k)[-k]
    above = near > kth + TIE
    tied = columns[~above & (near >= kth - TIE)]
    return np.concatenate([columns[above], tied[: k - np.count_nonzero(above)]])


def label_average_precision(
    found: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike
) -> NDArray[np.float64]:
    """Average precision within the top k of each query, where a gallery row is relevant that shares a label with it.

    AP@k is the mean, over the min(k, R) places that relevant rows could hold, of the precision at each place that one
    does hold; R is the number of relevant rows in the whole gallery, the query's own counterpart among them.

    Args:
        found: (q, k) gallery indices, best first, as from `top_k`.
        query_labels, gallery_labels: (q, class) and (n, class), 1 where the sample carries the class.

    Returns:
        (q,), NaN for a query without a relevant row in the gallery.
    """
    places, query, gallery = np.asarray(found), np.asarray(query_labels) != 0, np.asarray(gallery_labels) != 0
    area = np.empty(len(places))
    block = max(1, SCORES_AT_A_TIME // max(1, places.shape[1] * query.shape[1]))
    for start in range(0, len(places), block):
        part = slice(start, start + block)
        hits = (gallery[places[part]] & query[part, None]).any(axis=2)
        area[part] = (hits * hits.cumsum(axis=1) / np.arange(1, places.shape[1] + 1)).sum(axis=1)
    possible = np.minimum(_sharing(query, gallery), places.shape[1])
    return np.divide(area, possible, out=np.full(len(area), np.nan), where=possible > 0)


def _sharing(query: NDArray[np.bool_], gallery: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of gallery rows that share a label with each query; sets of labels recur, so each is counted once."""
    wanted, where = np.unique(query, axis=0, return_inverse=True)
    present, times = np.unique(gallery, axis=0, return_counts=True)
    columns = present.T.astype(np.float32)
    block = max(1, SCORES_AT_A_TIME // len(present)) if len(present) else len(wanted)
    parts = [
        (wanted[start : start + block].astype(np.float32) @ columns > 0) @ times
        for start in range(0, len(wanted), max(block, 1))
    ]
    counts: NDArray[np.int64] = np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return counts[where.ravel()]


def _must_be_within(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; expected 1..{n}, the number of gallery rows")
