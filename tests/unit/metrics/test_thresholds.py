"""F1 thresholds against a search by hand, F1 against scikit-learn and torchmetrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from bandbridge.metrics.resampled import f1, on_all_samples
from bandbridge.metrics.thresholds import best_thresholds, class_f1, predictions

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60)


def labels_and_scores(seed, n, classes, levels):
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, classes)) < generator.random(classes)).astype(np.uint8)
    return labels, (generator.integers(0, levels, size=(n, classes)) / levels).astype(np.float32)


@pytest.mark.slow
@quick
@given(seed=seeds, n=st.integers(1, 20), levels=st.sampled_from([1, 2, 5, 10**6]))
def test_no_threshold_is_better_than_the_best(seed, n, levels):
    labels, scores = labels_and_scores(seed, n, 1, levels)
    (threshold,) = best_thresholds(labels, scores)
    if not labels.any():
        assert np.isnan(threshold)
        return
    candidates = np.unique(scores)[::-1]
    reached = [f1_score(labels[:, 0], scores[:, 0] >= at, zero_division=0) for at in candidates]
    assert threshold == candidates[np.isclose(reached, max(reached), atol=1e-12).argmax()]


@quick
@given(seed=seeds, n=st.integers(1, 20), classes=st.integers(1, 4), levels=st.sampled_from([1, 2, 5, 10**6]))
def test_f1_at_thresholds_is_that_of_scikit_learn(seed, n, classes, levels):
    thresholds = best_thresholds(*labels_and_scores(seed + 1, n, classes, levels))
    labels, scores = labels_and_scores(seed, n, classes, levels)
    kept = ~np.isnan(thresholds)
    scores_of_classes = class_f1(labels, scores, thresholds)
    assert np.isnan(scores_of_classes[~kept]).all()
    predicted = scores >= thresholds
    expected = [f1_score(labels[:, at], predicted[:, at], zero_division=np.nan) for at in np.flatnonzero(kept)]
    np.testing.assert_allclose(scores_of_classes[kept], expected, atol=1e-6)
    macro = np.nanmean(expected) if not np.isnan(expected).all() else np.nan
    micro = (
        f1_score(labels[:, kept].ravel(), predicted[:, kept].ravel(), zero_division=np.nan) if kept.any() else np.nan
    )
    for name, value in (("macro_f1", macro), ("micro_f1", micro)):
        np.testing.assert_allclose(on_all_samples(f1(labels, scores, thresholds)[name], n), value, atol=1e-6)


def test_f1_agrees_with_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, scores = labels_and_scores(seed=3, n=200, classes=6, levels=50)
    thresholds = best_thresholds(labels, scores)
    predicted = torch.from_numpy(predictions(scores, thresholds).astype(np.int64))
    truth = torch.from_numpy(labels.astype(np.int64))
    for average in ("macro", "micro"):
        expected = functional.multilabel_f1_score(predicted, truth, num_labels=6, average=average)
        ours = on_all_samples(f1(labels, scores, thresholds)[f"{average}_f1"], len(labels))
        assert ours == pytest.approx(float(expected), abs=1e-6)


def test_a_class_without_positives_or_with_a_nan_score_has_no_threshold_and_no_prediction():
    labels, scores = np.array([[1, 0, 1], [0, 0, 1]]), np.array([[0.9, 0.8, np.nan], [0.1, 0.2, 0.3]])
    thresholds = best_thresholds(labels, scores)
    assert thresholds[0] == 0.9
    assert np.isnan(thresholds[1:]).all()
    assert not predictions(scores, thresholds)[:, 1:].any()
    assert on_all_samples(f1(labels, scores, thresholds)["macro_f1"], 2) == 1.0


def test_of_equally_good_thresholds_the_highest_is_taken():
    # One hit of two positives without a mistake, or both with two mistakes: 2/3 each.
    labels, scores = np.array([[1], [0], [0], [1]]), np.array([[0.9], [0.7], [0.5], [0.3]])
    assert f1_score(labels, scores >= 0.9) == f1_score(labels, scores >= 0.3)
    assert best_thresholds(labels, scores).tolist() == [0.9]
