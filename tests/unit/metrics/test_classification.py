"""Accuracies and average precision against scikit-learn and torchmetrics."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    recall_score,
    top_k_accuracy_score,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from bandbridge.metrics.classification import (
    average_precision,
    class_accuracy,
    confusion_matrix,
    logits_from_head,
    mean_of_defined,
    single_labels,
    top_k_hits,
    unit_rows,
)
from bandbridge.metrics.resampled import macro_map, micro_map, on_all_samples

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60)


def micro_average_precision(labels, scores):
    return on_all_samples(micro_map(labels, scores), len(labels))


def labels_and_scores(seed, n, classes, levels):
    """Random multi-label truth; few `levels` make ties, and small n classes that no sample or every one has."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, classes)) < generator.random(classes)).astype(np.uint8)
    scores = generator.integers(0, levels, size=(n, classes)) / levels
    return labels, scores.astype(np.float32)


def defined(labels):
    return labels.any(axis=0)


@quick
@given(seed=seeds, n=st.integers(1, 40), classes=st.integers(1, 5), levels=st.sampled_from([1, 2, 5, 10**6]))
def test_average_precision_is_that_of_scikit_learn_and_undefined_classes_are_nan(seed, n, classes, levels):
    labels, scores = labels_and_scores(seed, n, classes, levels)
    precisions = average_precision(labels, scores)
    assert precisions.shape == (classes,)
    for index in range(classes):
        if defined(labels)[index]:
            assert precisions[index] == pytest.approx(
                average_precision_score(labels[:, index], scores[:, index]), abs=1e-6
            )
        else:
            assert np.isnan(precisions[index])


@quick
@given(seed=seeds, n=st.integers(2, 40), classes=st.integers(1, 5), levels=st.sampled_from([1, 2, 5, 10**6]))
def test_macro_map_averages_the_defined_classes_and_micro_map_takes_all_pairs(seed, n, classes, levels):
    labels, scores = labels_and_scores(seed, n, classes, levels)
    kept = defined(labels)
    macro = float(mean_of_defined(average_precision(labels, scores)))
    if kept.any():
        assert macro == pytest.approx(
            average_precision_score(labels[:, kept], scores[:, kept], average="macro"), abs=1e-6
        )
    else:
        assert np.isnan(macro)
    micro = micro_average_precision(labels, scores)
    if labels.any():
        assert micro == pytest.approx(average_precision_score(labels.ravel(), scores.ravel()), abs=1e-6)
    else:
        assert np.isnan(micro)


def test_a_class_with_a_nan_score_is_undefined_and_left_out_of_micro_map():
    labels, scores = labels_and_scores(seed=1, n=30, classes=3, levels=1000)
    scores[4, 1] = np.nan
    assert np.isnan(average_precision(labels, scores)).tolist() == [False, True, False]
    assert micro_average_precision(labels, scores) == micro_average_precision(labels[:, [0, 2]], scores[:, [0, 2]])


def test_a_class_that_every_sample_has_counts_one():
    labels, scores = np.ones((4, 2), np.uint8), np.array([[0.1, 0.4], [0.2, 0.3], [0.2, 0.2], [0.4, 0.1]])
    labels[1:, 1] = 0
    np.testing.assert_array_equal(average_precision(labels, scores), [1, 1])
    labels[:, 1] = [0, 0, 0, 1]
    np.testing.assert_array_equal(average_precision(labels, scores), [1, 0.25])
    assert on_all_samples(macro_map(labels, scores), 4) == 0.625
    assert macro_map(labels, scores).unbiased(np.arange(4)) == pytest.approx((1 + 0) / 2)


def test_average_precision_of_a_constant_score_is_the_share_of_positives():
    assert average_precision([[1], [0], [0], [0]], np.zeros((4, 1)))[0] == 0.25


def test_infinite_scores_rank_first_and_last():
    assert average_precision([[0], [1], [0]], [[-np.inf], [np.inf], [0.0]])[0] == 1.0


@quick
@given(seed=seeds, n=st.integers(1, 30), classes=st.integers(1, 6))
def test_accuracies_are_those_of_scikit_learn(seed, n, classes):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, size=(2, n))
    per_class = class_accuracy(truth, predicted, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recalls = recall_score(truth, predicted, labels=range(classes), average=None, zero_division=np.nan)
        balanced = balanced_accuracy_score(truth, predicted)
    np.testing.assert_allclose(per_class, recalls, atol=1e-6)
    assert mean_of_defined(per_class) == pytest.approx(balanced, abs=1e-6)


@quick
@given(seed=seeds, n=st.integers(1, 30), classes=st.integers(1, 6))
def test_the_confusion_matrix_is_that_of_scikit_learn(seed, n, classes):
    truth, predicted = np.random.default_rng(seed).integers(0, classes, size=(2, n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single class
        expected = sklearn_confusion_matrix(truth, predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, classes), expected)


@quick
@given(seed=seeds, n=st.integers(1, 30), classes=st.integers(3, 8), k=st.integers(1, 7))
def test_top_k_accuracy_is_that_of_scikit_learn(seed, n, classes, k):
    generator = np.random.default_rng(seed)
    truth, scores = generator.integers(0, classes, size=n), generator.normal(size=(n, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k as large as the number of classes
        expected = top_k_accuracy_score(truth, scores, k=k, labels=range(classes))
    assert top_k_hits(truth, scores, k).mean() == pytest.approx(expected, abs=1e-6)


@quick
@given(seed=seeds, n=st.integers(1, 30), classes=st.integers(1, 8), levels=st.integers(1, 4))
def test_of_tied_classes_the_first_is_better_as_for_argmax(seed, n, classes, levels):
    generator = np.random.default_rng(seed)
    truth, scores = generator.integers(0, classes, size=n), generator.integers(0, levels, size=(n, classes))
    best_first = np.argsort(-scores, axis=1, kind="stable")
    for k in range(1, classes + 1):
        expected = (best_first[:, :k] == truth[:, None]).any(axis=1)
        np.testing.assert_array_equal(top_k_hits(truth, scores, k), expected)
    np.testing.assert_array_equal(top_k_hits(truth, scores, 1), truth == scores.argmax(axis=1))


def test_scores_agree_with_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, scores = labels_and_scores(seed=3, n=200, classes=6, levels=50)
    labels[0], labels[1] = 1, 0
    y, s = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(scores)
    per_class = functional.multilabel_average_precision(s, y, num_labels=6, average=None)
    micro = functional.multilabel_average_precision(s, y, num_labels=6, average="micro")
    np.testing.assert_allclose(average_precision(labels, scores), per_class.numpy(), atol=1e-6)
    assert micro_average_precision(labels, scores) == pytest.approx(float(micro), abs=1e-6)
    truth = np.random.default_rng(0).integers(0, 6, size=200)
    accuracies = functional.multiclass_accuracy(s, torch.from_numpy(truth), num_classes=6, average="none").numpy()
    np.testing.assert_allclose(class_accuracy(truth, scores.argmax(axis=1), 6), accuracies, atol=1e-6)
    distinct = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    top3 = functional.multiclass_accuracy(
        torch.from_numpy(distinct), torch.from_numpy(truth), num_classes=6, average="micro", top_k=3
    )
    assert top_k_hits(truth, distinct, 3).mean() == pytest.approx(float(top3), abs=1e-6)


def test_logits_are_scaled_cosines_whatever_the_lengths():
    generator = np.random.default_rng(0)
    embedding, weights = generator.normal(size=(7, 5)), generator.normal(size=(3, 5))
    cosine = embedding @ weights.T / np.linalg.norm(embedding, axis=1)[:, None] / np.linalg.norm(weights, axis=1)
    logits = logits_from_head(embedding * 9, weights / 4, logit_scale=100)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits / 100, cosine, atol=1e-6)


def test_a_row_of_zeros_has_no_direction():
    assert unit_rows([[0.0, 0.0], [3.0, 4.0]]).tolist() == [[0.0, 0.0], [np.float32(0.6), np.float32(0.8)]]


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0]])
def test_a_sample_without_exactly_one_label_is_no_single_label(row):
    with pytest.raises(ValueError, match="1 of 2 samples do not have exactly one label, first at 1"):
        single_labels([[0, 1, 0], row])


def test_metrics_of_no_samples_are_undefined():
    empty = np.empty(0, dtype=int)
    assert top_k_hits(empty, np.empty((0, 6)), 5).shape == (0,)
    assert confusion_matrix(empty, empty, 2).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(class_accuracy(empty, empty, 2)).all()
