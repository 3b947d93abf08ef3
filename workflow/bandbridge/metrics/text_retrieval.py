"""Text-to-image retrieval: a text is the query, the images that carry its class are relevant."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.retrieval import top_k


class TextRetrieval(NamedTuple):
    """Retrieval by one text per class, within the first k images; (class,), NaN for a class without images.

    Attributes:
        precision: share of the k images that carry the class.
        recall: share of the class's images that are among the k.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class WordRetrieval(NamedTuple):
    """Retrieval by words that each stand for a class; (word,), NaN for a class without images.

    Attributes:
        precision: share of the word's k nearest images that carry the class.
        lift: precision divided by the share of all images that carry the class, the precision of random images.
    """

    precision: NDArray[np.float64]
    lift: NDArray[np.float64]


def retrieval_by_text(
    texts: ArrayLike, images: ArrayLike, labels: ArrayLike, ks: Sequence[int]
) -> dict[int, TextRetrieval]:
    """Precision and recall at each k of retrieving images by the text of a class, by cosine.

    Of equal cosines (to within 1e-6) the first image comes first, as in `top_k`.

    Args:
        texts: (class, d), one vector per class; need not be normalised.
        images: (n, d), need not be normalised.
        labels: (n, class), 1 where the image carries the class.
        ks: each in 1..n.

    Raises:
        ValueError: a k outside 1..n.
    """
    carries = np.asarray(labels) != 0
    if min(ks) < 1:
        raise ValueError(f"k is {min(ks)}; expected 1..{len(carries)}, the number of gallery rows")
    indices, _ = top_k(texts, images, max(ks))
    hits = np.take_along_axis(carries.T, indices, axis=1).cumsum(axis=1)
    total = carries.sum(axis=0)
    defined = np.where(total > 0, 1.0, np.nan)
    return {k: TextRetrieval(hits[:, k - 1] / k * defined, hits[:, k - 1] / np.maximum(total, 1) * defined) for k in ks}


def retrieval_by_words(
    words: ArrayLike, images: ArrayLike, labels: ArrayLike, stands_for: Sequence[int], k: int
) -> WordRetrieval:
    """Precision and lift of the k images nearest to each word, by cosine; ties as in `retrieval_by_text`.

    Args:
        words: (word, d), need not be normalised.
        images: (n, d), need not be normalised.
        labels: (n, class), 1 where the image carries the class.
        stands_for: of each word, the column of `labels` that it stands for.
        k: in 1..n.

    Raises:
        ValueError: k outside 1..n.
    """
    carries = (np.asarray(labels) != 0)[:, list(stands_for)]
    precision = retrieval_by_text(words, images, carries, [k])[k].precision
    share = carries.mean(axis=0)
    return WordRetrieval(precision, np.divide(precision, share, out=np.full_like(precision, np.nan), where=share > 0))
