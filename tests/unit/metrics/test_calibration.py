"""Calibration errors against torchmetrics and a plain loop over the bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics import calibration
from bandbridge.metrics.calibration import expected_calibration_error, multi_label_ece, single_label_ece

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60)


def plain_loop(confidence, right, bins):
    total = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        inside |= (confidence == 0) & (index == 0)
        if inside.any():
            total += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    return total


@quick
@given(seed=seeds, n=st.integers(1, 60), levels=st.sampled_from([1, 2, 7, 10**6]), bins=st.sampled_from([1, 4, 15]))
def test_the_error_is_that_of_a_plain_loop(seed, n, levels, bins):
    generator = np.random.default_rng(seed)
    confidence, right = generator.integers(0, levels + 1, size=n) / levels, generator.random(n) < 0.5
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(
        plain_loop(confidence, right, bins), abs=1e-6
    )


@quick
@given(seed=seeds, n=st.integers(1, 40), classes=st.integers(2, 6), scale=st.sampled_from([0.1, 1, 2]))
def test_errors_are_those_of_torchmetrics(seed, n, classes, scale):
    # torchmetrics rounds to float32 and gives confidences of exactly 1 a bin of their own: none here is as certain.
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    generator = np.random.default_rng(seed)
    logits = scale * generator.normal(size=(n, classes))
    truth, labels = generator.integers(0, classes, size=n), generator.random((n, classes)) < 0.3
    scores = torch.from_numpy(logits)
    single = functional.multiclass_calibration_error(
        torch.softmax(scores, dim=1), torch.from_numpy(truth), num_classes=classes, n_bins=15
    )
    assert single_label_ece(truth, logits) == pytest.approx(float(single), abs=1e-6)
    multi = functional.binary_calibration_error(
        torch.sigmoid(scores).ravel(), torch.from_numpy(labels.astype(np.int64)).ravel(), n_bins=15
    )
    assert multi_label_ece(labels, logits) == pytest.approx(float(multi), abs=1e-6)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    logits = np.array([[900.0, -900.0], [900.0, -900.0]], dtype=np.float32)
    assert single_label_ece(np.array([0, 0]), logits) == 0.0
    assert single_label_ece(np.array([1, 1]), logits) == 1.0
    assert multi_label_ece(np.array([[1, 0], [1, 0]]), logits) == 0.0
    assert multi_label_ece(np.array([[0, 1], [0, 1]]), logits) == 1.0


def test_logits_are_read_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    logits, truth = generator.normal(size=(50, 4)), generator.integers(0, 4, size=50)
    whole = single_label_ece(truth, logits)
    monkeypatch.setattr(calibration, "_ROWS_AT_A_TIME", 7)
    assert single_label_ece(truth, logits) == whole


def test_without_predictions_the_error_is_undefined():
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(single_label_ece(np.empty(0, int), np.empty((0, 3))))
    assert np.isnan(multi_label_ece(np.empty((0, 3)), np.empty((0, 3))))
