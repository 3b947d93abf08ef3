"""k-nearest-neighbour classification on frozen embeddings."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandbridge.metrics.retrieval import top_k


def knn_scores(
    train: tuple[ArrayLike, ArrayLike], embedding: ArrayLike, k: int, temperature: float
) -> NDArray[np.float64]:
    """Weighted share of each embedding's k nearest training samples that carries each class.

    Neighbours are those of largest cosine, on a tie the first in `train`. Their weights are exp(cosine /
    temperature), the protocol of DINO (Caron et al. 2021, appendix); its prediction is the class of the largest share.

    Args:
        train: embeddings (n, d) and labels (n, class) of 0 and 1.
        embedding: (q, d), need not be normalised.
        k: number of neighbours, in 1..n.
        temperature: above 0; the larger, the more equal the weights.

    Returns:
        (q, class), each in 0..1.

    Raises:
        ValueError: k outside 1..n.
    """
    nearest, cosine = top_k(embedding, train[0], k)
    # Relative to the nearest, so that no temperature lets them overflow.
    weights = np.exp((cosine - cosine[:, :1]) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    labels = np.asarray(train[1]) != 0
    scores = np.zeros((len(nearest), labels.shape[1]))
    for place in range(k):
        scores += weights[:, place, None] * labels[nearest[:, place]]
    return scores
