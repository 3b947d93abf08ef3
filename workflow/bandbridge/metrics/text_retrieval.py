"""Text-to-image retrieval: a text as the query, the images that carry its class as what it should find."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.retrieval import top_k


class Found(NamedTuple):
    """What the texts of the classes find among their first k images; (class,), NaN for a class without images.

    Attributes:
        precision: share of the k images that carry the class.
        recall: share of the images that carry the class that are among the k.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class Precision(NamedTuple):
    """How well each word finds the images of the class that it stands for; (word,), NaN for a class without images.

    Attributes:
        precision: share of the word's k nearest images that carry the class.
        lift: precision over the share of all images that carry the class, which random images would have.
    """

    precision: NDArray[np.float64]
    lift: NDArray[np.float64]


def found_by_text(texts: ArrayLike, images: ArrayLike, labels: ArrayLike, ks: Sequence[int]) -> dict[int, Found]:
    """Precision and recall at each k of retrieving images by the text of a class, by cosine.

    Of equal cosines (to within 1e-6) the first image comes first, as in `top_k`.

    Args:
        texts: (class, d), one vector a class; need not be normalised.
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
    shown = np.where(total > 0, 1.0, np.nan)
    return {k: Found(hits[:, k - 1] / k * shown, hits[:, k - 1] / np.maximum(total, 1) * shown) for k in ks}


def found_by_words(
    words: ArrayLike, images: ArrayLike, labels: ArrayLike, stands_for: Sequence[int], k: int
) -> Precision:
    """Precision and lift of the k images nearest to each word, by cosine; ties as in `found_by_text`.

    Args:
        words: (word, d), need not be normalised.
        images: (n, d), need not be normalised.
        labels: (n, class), 1 where the image carries the class.
        stands_for: of each word, the column of `labels` that is right.
        k: in 1..n.

    Raises:
        ValueError: k outside 1..n.
    """
    carries = (np.asarray(labels) != 0)[:, list(stands_for)]
    precision = found_by_text(words, images, carries, [k])[k].precision
    share = carries.mean(axis=0)
    return Precision(precision, np.divide(precision, share, out=np.full_like(precision, np.nan), where=share > 0))
