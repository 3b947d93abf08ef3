"""Cross-modal retrieval: finding a sample by its counterpart, or by its labels, in the other modality."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.classification import unit_rows

Integers = NDArray[np.integer]

# A float32 product of equal rows differs by about 1e-7 with their position in the matrix; this much is still a tie.
TIE = np.float32(1e-6)
DECIMALS = 6  # the same, of cosines in float64
SCORES_AT_A_TIME = 2**24  # of top_k: 64 MB, and as many comparisons


def mutual_ranks(first: ArrayLike, second: ArrayLike, block: int = 2048) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of the counterparts in both directions, from one product: each cosine is computed once and counted twice.

    Args:
        first: (n, d), need not be normalised.
        second: (n, d), need not be normalised; row i is the counterpart of row i of `first`.
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
    # Counting the rows below, not those above, ranks an embedding of NaNs last.
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


def counterpart_ranks(
    queries: ArrayLike, gallery: ArrayLike, counterparts: Integers, block: int = 2048
) -> NDArray[np.int64]:
    """Ranks of the counterparts of some queries in the whole gallery, by the rule of `mutual_ranks`.

    Args:
        queries: (q, d), need not be normalised.
        gallery: (n, d), need not be normalised.
        counterparts: (q,) gallery row of each query's counterpart.
        block: gallery rows scored at a time; memory is q * block scores.

    Returns:
        (q,) ranks from 1 (best) to n; ties count against the query, to within 1e-6.
    """
    rows, columns = unit_rows(queries), unit_rows(gallery)
    least = np.einsum("nd,nd->n", rows, columns[counterparts])[:, None] - TIE
    below = np.zeros(len(rows), dtype=np.int64)
    for left in range(0, len(columns), block):
        below += np.count_nonzero(rows @ columns[left : left + block].T < least, axis=1)
    ranks: NDArray[np.int64] = len(columns) - below
    return ranks


def median_rank(ranks: ArrayLike) -> float:
    """Median of the ranks, 1 at best; the mean of the middle two for an even number of ranks."""
    return float(np.median(np.asarray(ranks)))


def top_k(queries: ArrayLike, gallery: ArrayLike, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k gallery rows most similar to each query, by cosine, and their cosines; the most similar comes first.

    Cosines equal to six decimals are ties, ordered by gallery index. Where only some of the rows within 1e-6 of the
    k-th best fit in the list, those of the lowest index are taken.

    Args:
        queries: (q, d), finite; need not be normalised.
        gallery: (n, d), finite; need not be normalised.
        k: in 1..n.

    Returns:
        (q, k) gallery indices and (q, k) cosines. Memory beyond the normalised inputs is about 100 MB.

    Raises:
        ValueError: k outside 1..n.
    """
    raw_rows, raw_columns = np.asarray(queries), np.asarray(gallery)
    rows, columns = unit_rows(raw_rows), unit_rows(raw_columns)
    of_query, of_row = (
        np.sqrt(np.einsum("nd,nd->n", side, side, dtype=np.float64)) for side in (raw_rows, raw_columns)
    )
    _must_be_within(k, len(columns))
    indices, cosines = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
    block = max(1, SCORES_AT_A_TIME // max(len(columns), k * columns.shape[1]))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        scores = rows[part] @ columns.T
        near = np.stack([_best(*pair, k) for pair in zip(scores, _at_most_kth(scores, k), strict=True)])
        # Unlike in the float32 product, a pair's cosine in float64 does not depend on the pair's position.
        exact = np.einsum("qd,qkd->qk", raw_rows[part], raw_columns[near], dtype=np.float64)
        length = of_query[part, None] * of_row[near]
        exact = np.divide(exact, length, out=np.zeros_like(exact), where=length > 0)
        order = np.lexsort((near, -exact.round(DECIMALS)), axis=1)
        indices[part], cosines[part] = (np.take_along_axis(values, order, axis=1) for values in (near, exact))
    return indices, cosines


def _at_most_kth(scores: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A lower bound of each row's k-th best score: the k-th best among the maxima of 8 k groups of columns."""
    width = scores.shape[1] // (8 * k)
    if width < 2:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    best = scores[:, : 8 * k * width].reshape(len(scores), 8 * k, width).max(axis=2)
    return np.partition(best, -k, axis=1)[:, -k]


def _best(scores: NDArray[np.float32], bound: np.float32, k: int) -> NDArray[np.int64]:
    """Columns of the k best scores; of those tied with the k-th best, the first columns."""
    columns = np.flatnonzero(scores >= bound - TIE)
    near = scores[columns]
    kth = np.partition(near, -k)[-k]
    above = near > kth + TIE
    tied = columns[~above & (near >= kth - TIE)]
    return np.concatenate([columns[above], tied[: k - np.count_nonzero(above)]])


def label_average_precision(
    nearest: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike
) -> NDArray[np.float64]:
    """Average precision within the top k of each query, where a gallery row is relevant that shares a label with it.

    AP@k is the mean, over the min(k, R) positions that relevant rows could take, of the precision at each position that
    one does take; R is the number of relevant rows in the whole gallery, the query's counterpart among them.

    Args:
        nearest: (q, k) gallery indices, best first, as from `top_k`.
        query_labels: (q, class), 1 where the sample carries the class.
        gallery_labels: (n, class), like `query_labels`.

    Returns:
        (q,), NaN for a query without a relevant row in the gallery.
    """
    indices, query, gallery = np.asarray(nearest), np.asarray(query_labels) != 0, np.asarray(gallery_labels) != 0
    area = np.empty(len(indices))
    block = max(1, SCORES_AT_A_TIME // max(1, indices.shape[1] * query.shape[1]))
    for start in range(0, len(indices), block):
        part = slice(start, start + block)
        hits = (gallery[indices[part]] & query[part, None]).any(axis=2)
        area[part] = (hits * hits.cumsum(axis=1) / np.arange(1, indices.shape[1] + 1)).sum(axis=1)
    possible = np.minimum(_sharing(query, gallery), indices.shape[1])
    precision: NDArray[np.float64] = np.divide(area, possible, out=np.full(len(area), np.nan), where=possible > 0)
    return precision


def _sharing(query: NDArray[np.bool_], gallery: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of gallery rows that share a label with each query; sets of labels recur, so each is counted once."""
    of_queries, index_of_query = np.unique(query, axis=0, return_inverse=True)
    of_gallery, times = np.unique(gallery, axis=0, return_counts=True)
    columns = of_gallery.T.astype(np.float32)
    block = max(1, SCORES_AT_A_TIME // len(of_gallery)) if len(of_gallery) else len(of_queries)
    parts = [
        (of_queries[start : start + block].astype(np.float32) @ columns > 0) @ times
        for start in range(0, len(of_queries), max(block, 1))
    ]
    counts: NDArray[np.int64] = np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return counts[index_of_query.ravel()]


def _must_be_within(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; expected 1..{n}, the number of gallery rows")
