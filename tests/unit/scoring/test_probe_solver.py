"""The solver of large linear probes against scikit-learn's, and against the mathematics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_samples import clusters, tags
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from bandbridge.metrics.probe import LARGE, SCIKIT_LEARN, Solver, fit_probe
from bandbridge.scoring import probe_solver
from bandbridge.scoring.probe_solver import TORCH, solve
from bandbridge.scoring.probes import solver_for

GRID = [0.01, 0.1, 1.0]


def to_the_end(features, truth, grid, max_iterations):
    """scikit-learn's solution, not stopped as early as it is by default."""
    for C in grid:
        columns = [truth] if truth.ndim == 1 else truth.T
        fits = [LogisticRegression(C=C, max_iter=20000, tol=1e-9).fit(features, column) for column in columns]
        yield np.concatenate([fit.coef_ for fit in fits]), np.concatenate([fit.intercept_ for fit in fits])


REFERENCE = Solver("scikit-learn to the end", np.float64, to_the_end)


def sample(kind, n, seed=0, classes=4):
    if kind == "single":
        return clusters(classes, n=n, dim=8, seed=seed, spread=6)
    return tags(n=n, dim=8, classes=classes, seed=seed)


def probabilities(kind, scores):
    return softmax(scores, axis=1) if kind == "single" else expit(scores)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
def test_a_probe_is_that_of_scikit_learn(kind, classes, C):
    train, validation = sample(kind, 400, classes=classes), sample(kind, 300, seed=1, classes=classes)
    own_probe, expected = (fit_probe(train, validation, kind, [C], 1000, solver) for solver in (TORCH, REFERENCE))
    np.testing.assert_allclose(own_probe.weights, expected.weights, atol=1e-3)
    np.testing.assert_allclose(own_probe.bias, expected.bias, atol=1e-3)
    scores, wanted = own_probe.scores(validation[0]), expected.scores(validation[0])
    np.testing.assert_allclose(probabilities(kind, scores), probabilities(kind, wanted), atol=1e-3)
    predict = (lambda logits: logits.argmax(axis=1)) if kind == "single" else (lambda logits: logits > 0)
    np.testing.assert_array_equal(predict(scores), predict(wanted))
    # Of two samples that score all but the same, mAP may see either first.
    assert own_probe.validation == pytest.approx(expected.validation, abs=0 if kind == "single" else 1e-4)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_both_solvers_choose_the_same_c(kind):
    train, validation = sample(kind, 60), sample(kind, 400, seed=1)
    own_probe, expected = (fit_probe(train, validation, kind, GRID, 1000, solver) for solver in (TORCH, SCIKIT_LEARN))
    assert own_probe.C == expected.C
    assert own_probe.validation == pytest.approx(expected.validation, abs=1e-3)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(8, 120),
    dim=st.integers(1, 20),
    classes=st.integers(1, 5),
    multi=st.booleans(),
    C=st.floats(1e-3, 10),
    rare=st.booleans(),
)
def test_a_solution_leaves_no_gradient(seed, n, dim, classes, multi, C, rare):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, dim)) @ generator.normal(size=(dim, dim)) / np.sqrt(dim)
    if multi:
        truth = (generator.random((n, classes)) < (0.05 if rare else 0.5)).astype(np.uint8)
        truth[0], truth[1] = 0, 1
    else:
        truth = np.append(np.arange(classes + 2), generator.integers(1 if rare else classes + 2, size=n))[:n]
    (weights, bias), *_ = solve(features, truth, [C], 1000)
    logits = features @ weights.T + bias
    residual = expit(logits) - truth if multi else softmax(logits, axis=1) - np.eye(classes + 2)[truth]
    np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(residual.T @ features / n + weights / (C * n), 0, atol=1e-5)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_start_from_the_solution_of_another_c_ends_in_the_same_place(kind):
    features, labels = sample(kind, 300)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    truth = labels.argmax(axis=1) if kind == "single" else labels
    warm, cold = list(solve(features, truth, GRID, 1000))[-1], next(iter(solve(features, truth, GRID[-1:], 1000)))
    np.testing.assert_allclose(warm[0], cold[0], atol=1e-3)
    np.testing.assert_allclose(warm[1], cold[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_samples_are_summed_the_same_in_any_blocks(kind, monkeypatch):
    train = sample(kind, 500)
    whole = fit_probe(train, train, kind, [0.1], 1000, TORCH)
    monkeypatch.setattr(probe_solver, "ROWS_AT_A_TIME", 64)
    cut = fit_probe(train, train, kind, [0.1], 1000, TORCH)
    np.testing.assert_allclose(cut.weights, whole.weights, atol=1e-4)


def test_a_class_is_fitted_the_same_whatever_stands_beside_it():
    embedding, labels = tags(n=300)
    both = fit_probe((embedding, labels), (embedding, labels), "multi", [1.0], 1000, TORCH)
    alone = fit_probe((embedding, labels[:, 2:3]), (embedding, labels[:, 2:3]), "multi", [1.0], 1000, TORCH)
    np.testing.assert_allclose(both.weights[2], alone.weights[0], atol=1e-3)


def test_classes_that_train_never_shows_are_as_with_scikit_learn():
    embedding, labels = tags()
    labels[:, 1], labels[:, 2] = 0, 1
    assert np.isnan(fit_probe((embedding, labels), tags(seed=1), "multi", [1.0], 200, TORCH).bias[[1, 2]]).all()
    embedding, labels = clusters(4)
    shown = labels[:, 1] == 0
    probe = fit_probe((embedding[shown], labels[shown]), (embedding, labels), "single", [1.0], 200, TORCH)
    assert np.isneginf(probe.bias[1])
    assert set(probe.scores(embedding).argmax(axis=1)) == {0, 2, 3}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_same_data_give_the_same_solution(kind):
    train = sample(kind, 200)
    first, second = (fit_probe(train, train, kind, GRID, 200, TORCH) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_a_solution_that_is_cut_short_warns():
    train = tags()
    with pytest.warns(UserWarning, match=r"linear probe, C=1\.0: stopped after 1 iterations .* raise max_iterations"):
        fit_probe(train, train, "multi", [1.0], 1, TORCH)


def test_the_precision_of_products_elsewhere_is_left_alone():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        train = tags()
        fit_probe(train, train, "multi", [1.0], 200, TORCH)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("more", "solver"), [(0, SCIKIT_LEARN), (1, TORCH)])
def test_the_number_of_training_values_alone_decides_on_the_solver(more, solver):
    n = LARGE // (512 * 8) + more
    assert solver_for((np.broadcast_to(np.float32(0), (n, 512)), np.broadcast_to(np.uint8(0), (n, 8)))) is solver
