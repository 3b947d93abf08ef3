"""Probabilities are fitted on validation data: right as often as they say."""

import numpy as np

from bandbridge.use.calibration import fit


def test_temperature_scaling_finds_the_scale_that_made_the_labels():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-0.2, 0.4, (20_000, 4)).astype(np.float32)
    powers = np.exp(12.0 * cosines)
    drawn = (powers / powers.sum(1, keepdims=True)).cumsum(1) > rng.random((20_000, 1))
    labels = np.eye(4, dtype=np.uint8)[drawn.argmax(1)]
    calibration = fit(cosines, labels, "single", "made_up", "val")
    assert abs(calibration.scale - 12) < 0.6
    assert calibration.ece < 0.02


def test_several_labels_are_fitted_with_a_bias():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-0.5, 0.5, (8_000, 3)).astype(np.float32)
    labels = (rng.random((8_000, 3)) < 1 / (1 + np.exp(-(8 * cosines - 1)))).astype(np.uint8)
    calibration = fit(cosines, labels, "multi", "made_up", "val")
    assert abs(calibration.scale - 8) < 0.5
    assert abs(calibration.bias + 1) < 0.15
    assert calibration.probabilities(np.zeros((1, 3), np.float32)).max() < 0.5


def test_a_model_that_is_wrong_is_not_turned_round():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    labels = (cosines < 0).astype(np.uint8)
    calibration = fit(cosines, labels, "multi", "made_up", "val")
    probabilities = calibration.probabilities(cosines)
    assert (probabilities.argmax(axis=1) == cosines.argmax(axis=1)).all()


def test_a_few_samples_calibrate_nothing():
    assert fit(np.zeros((5, 2), np.float32), np.eye(2, dtype=np.uint8)[[0, 1, 0, 1, 0]], "single", "x", "val") is None
