"""k nearest neighbours against scikit-learn and against the protocol written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from bandbridge.metrics.knn import knn_scores

quick = settings(max_examples=30)


def samples(seed, classes=5, n=300, dim=8):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, dim))
    truth = generator.integers(classes, size=n)
    return centres[truth] + generator.normal(size=(n, dim)), truth


def has_a_clear_last_neighbour(rows, k):
    """Queries whose k-th neighbour is nearer than the next by more than what is a tie here (a cosine of 1e-6)."""
    distance, _ = NearestNeighbors(n_neighbors=k + 1, metric="cosine").fit(rows[:250]).kneighbors(rows[250:])
    return distance[:, k] - distance[:, k - 1] > 1e-5


@quick
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 25))
def test_equal_weights_give_the_class_shares_of_scikit_learn(seed, k):
    rows, truth = samples(seed)
    train, test = (rows[:250], np.eye(5)[truth[:250]]), rows[250:]
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train[0], truth[:250])
    clear = has_a_clear_last_neighbour(rows, k)
    expected = np.zeros((50, 5))
    expected[:, peer.classes_] = peer.predict_proba(test)
    np.testing.assert_allclose(knn_scores(train, test, k, temperature=1e9)[clear], expected[clear], atol=1e-8)


@quick
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 25), temperature=st.sampled_from([0.01, 0.07, 1.0]))
def test_each_neighbour_votes_for_all_its_classes_with_its_weight(seed, k, temperature):
    rows, _ = samples(seed)
    labels = (np.random.default_rng(seed).random((250, 4)) < 0.4).astype(np.uint8)
    distance, nearest = NearestNeighbors(n_neighbors=k, metric="cosine").fit(rows[:250]).kneighbors(rows[250:])
    weights = np.exp((1 - distance) / temperature)
    expected = (weights[:, :, None] * labels[nearest]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    scores = knn_scores((rows[:250], labels), rows[250:], k, temperature)
    clear = has_a_clear_last_neighbour(rows, k)
    np.testing.assert_allclose(scores[clear], expected[clear], atol=1e-4)
    assert scores.max() <= 1 + 1e-12


def test_one_near_neighbour_outweighs_several_far_ones():
    train = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = np.array([[1, 0], [0, 1], [0, 1]])
    query = np.array([[1.0, 0.2]])
    assert knn_scores((train, labels), query, 3, temperature=0.07)[0].argmax() == 0
    assert knn_scores((train, labels), query, 3, temperature=1e9)[0].argmax() == 1


def test_more_neighbours_than_train_has_are_an_error():
    with pytest.raises(ValueError, match=r"k is 4; expected 1\.\.3"):
        knn_scores((np.eye(3), np.eye(3)), np.eye(3), 4, temperature=0.07)
