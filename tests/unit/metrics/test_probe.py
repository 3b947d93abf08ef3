"""The linear probe against scikit-learn's own pipeline."""

import numpy as np
import pytest
from probe_samples import clusters, tags
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from bandbridge.metrics.probe import GRADIENT, fit_probe


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_single_label_logits_are_those_of_scikit_learn(classes):
    train, validation = clusters(classes), clusters(classes, seed=1)
    probe = fit_probe(train, validation, "single", grid=[0.1], max_iterations=500)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, tol=GRADIENT))
    pipeline.fit(train[0].astype(np.float64), train[1].argmax(axis=1))
    expected = pipeline.decision_function(validation[0].astype(np.float64))
    logits = probe.scores(validation[0])
    if classes == 2:
        logits = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert probe.validation == pipeline.score(validation[0].astype(np.float64), validation[1].argmax(axis=1))


def test_multi_label_logits_are_one_regression_a_class():
    train, validation = tags(), tags(seed=1)
    probe = fit_probe(train, validation, "multi", grid=[1.0], max_iterations=500)
    scaler = StandardScaler().fit(train[0])
    for index in range(4):
        model = LogisticRegression(max_iter=500, tol=GRADIENT).fit(scaler.transform(train[0]), train[1][:, index])
        expected = model.decision_function(scaler.transform(validation[0]))
        np.testing.assert_allclose(probe.scores(validation[0])[:, index], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_c_that_is_best_on_validation_is_kept(kind):
    train = clusters(4, n=40, spread=6) if kind == "single" else tags(n=30)
    validation = clusters(4, n=200, spread=6, seed=1) if kind == "single" else tags(n=200, seed=1)
    grid = [100.0, 0.001, 1.0]
    alone = {C: fit_probe(train, validation, kind, [C], 1000).validation for C in grid}
    best = fit_probe(train, validation, kind, grid, 1000)
    assert best.validation == max(alone.values())
    assert alone[best.C] == best.validation
    assert not any(alone[C] == best.validation for C in grid if best.C > C)


def test_equally_good_values_of_c_give_the_smallest():
    train = clusters(2, spread=0.01)
    assert fit_probe(train, train, "single", grid=[10, 1, 0.1], max_iterations=200).C == 0.1


def test_a_class_that_train_never_shows_is_never_predicted():
    embedding, labels = clusters(3)
    shown = labels[:, 1] == 0
    probe = fit_probe((embedding[shown], labels[shown]), (embedding, labels), "single", [1.0], 200)
    assert np.isneginf(probe.scores(embedding)[:, 1]).all()
    assert set(probe.scores(embedding).argmax(axis=1)) == {0, 2}


def test_a_class_with_one_value_in_train_is_undefined_and_the_others_are_not():
    embedding, labels = tags()
    held_out = tags(seed=1)
    without = fit_probe((embedding, labels[:, [0, 3]]), (held_out[0], held_out[1][:, [0, 3]]), "multi", [1.0], 200)
    labels[:, 1], labels[:, 2] = 0, 1
    probe = fit_probe((embedding, labels), held_out, "multi", [1.0], 200)
    scores = probe.scores(embedding)
    assert np.isnan(scores[:, [1, 2]]).all()
    np.testing.assert_array_equal(scores[:, [0, 3]], without.scores(embedding))
    assert probe.validation == without.validation


def test_a_constant_feature_is_harmless():
    embedding, labels = clusters(3)
    embedding[:, 2] = 4.0
    probe = fit_probe((embedding, labels), (embedding, labels), "single", [1.0], 200)
    assert np.isfinite(probe.scores(embedding)).all()


def test_one_class_is_nothing_to_probe():
    embedding, labels = clusters(3)
    labels[:] = [1, 0, 0]
    with pytest.raises(ValueError, match="two classes"):
        fit_probe((embedding, labels), (embedding, labels), "single", [1.0], 200)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_same_data_give_the_same_probe(kind):
    train = clusters(3) if kind == "single" else tags()
    first, second = (fit_probe(train, train, kind, [0.1, 1.0], 200) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.bias, second.bias)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_probe_on_unit_features_refitted_on_both_splits_is_that_of_scikit_learn(kind):
    train, validation = (clusters(3), clusters(3, seed=1)) if kind == "single" else (tags(), tags(seed=1))
    chosen = fit_probe(train, validation, kind, [0.1, 10.0], 500, unit=True)
    probe = fit_probe(train, validation, kind, [0.1, 10.0], 500, unit=True, refit=True)
    assert (probe.C, probe.validation) == (chosen.C, chosen.validation)
    features, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
    features = normalize(features.astype(np.float64))
    columns = [labels.argmax(axis=1)] if kind == "single" else labels.T
    model = LogisticRegression(C=probe.C, max_iter=500, tol=GRADIENT)
    expected = np.concatenate([model.fit(features, column).coef_ for column in columns])
    np.testing.assert_allclose(probe.weights, expected, atol=1e-6)
    held_out = clusters(3, seed=2)[0] if kind == "single" else tags(seed=2)[0]
    np.testing.assert_allclose(
        probe.scores(held_out), normalize(held_out.astype(np.float64)) @ probe.weights.T + probe.bias, atol=1e-9
    )


def test_an_embedding_of_zeros_has_a_unit_probes_bias_as_its_score():
    probe = fit_probe(tags(), tags(seed=1), "multi", [1.0], 500, unit=True)
    np.testing.assert_array_equal(probe.scores(np.zeros((1, 6)))[0], probe.bias)
