"""Probes on a few samples a class: what is drawn, what is fitted, what is made of the repeats."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from probe_samples import clusters, tags
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_store import load_script, make_store

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import headline_metric
from bandbridge.metrics.few_shot import FewShot, few_shot, orders, shots_of, t_interval
from bandbridge.metrics.neighbours import own_units
from bandbridge.metrics.probe import GRADIENT, fit_probe
from bandbridge.metrics.resampled import headline_score
from bandbridge.scoring.probes import few_shot_rows
from bandbridge.scoring.rows import read_rows
from bandbridge.scoring.zero_shot import Draws, Labelled
from bandbridge.store.embeddings import Embeddings, save_embeddings

RECIPE = {"C": [0.01, 1], "max_iterations": 500, "shots": [1, 4], "repeats": 3}
BOOTSTRAP, SEED = {"resamples": 10, "level": 0.95}, 3
LABELS = arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(1, 6)), elements=st.integers(0, 1))


def run(train, validation, test, kind, **changed):
    options = {"shots": [1, 4], "repeats": 3, "grid": [0.1, 1.0], "max_iterations": 500, "seed": 0} | changed
    recipe = FewShot(*(options.pop(name) for name in ("shots", "repeats", "grid", "max_iterations")))
    return few_shot(train, validation, test, kind, recipe, **options)


# --- the draw --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(labels=LABELS, k=st.integers(1, 8), seed=st.integers(0, 99))
def test_each_class_has_k_carriers_or_all_it_has(labels, k, seed):
    (order,) = orders(len(labels), 1, seed)
    rows = shots_of(labels, k, order)
    drawn, all_of_them = labels[rows].sum(axis=0, dtype=int), labels.sum(axis=0, dtype=int)
    assert (drawn >= np.minimum(k, all_of_them)).all()
    assert len(rows) <= k * labels.shape[1]
    assert labels[rows].any(axis=1).all()
    assert (np.diff(rows) > 0).all()


@pytest.mark.slow
@given(labels=LABELS, k=st.integers(1, 8), seed=st.integers(0, 99))
def test_fewer_shots_are_among_more(labels, k, seed):
    (order,) = orders(len(labels), 1, seed)
    assert set(shots_of(labels, k, order)) <= set(shots_of(labels, k + 1, order))


def test_a_single_label_set_gives_exactly_k_a_class():
    labels = np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1, 0, 0, 0, 1, 2]]
    (order,) = orders(10, 1, seed=0)
    assert labels[shots_of(labels, 2, order)].sum(axis=0).tolist() == [2, 2, 2]
    assert labels[shots_of(labels, 3, order)].sum(axis=0).tolist() == [3, 3, 2]


def test_a_sample_of_several_classes_counts_for_each():
    labels = np.array([[1, 1], [1, 0], [0, 1]])
    assert shots_of(labels, 1, np.array([0, 1, 2])).tolist() == [0]
    assert shots_of(labels, 1, np.array([1, 2, 0])).tolist() == [1, 2]


def test_every_carrier_is_as_likely():
    labels = np.repeat(np.array([[1, 0], [1, 1], [0, 1], [0, 0]]), 5, axis=0)
    drawn = np.zeros(20)
    for order in orders(20, 2000, seed=1):
        rows = shots_of(labels[:, :1], 2, order)
        drawn[rows] += 1
    assert drawn[10:].sum() == 0
    np.testing.assert_allclose(drawn[:10], 400, atol=90)


def test_repeats_differ_and_more_of_them_keep_the_first():
    first, more = list(orders(50, 3, seed=2)), list(orders(50, 5, seed=2))
    np.testing.assert_array_equal(first, more[:3])
    assert len({tuple(order) for order in more}) == 5
    assert not np.array_equal(first[0], next(orders(50, 1, seed=3)))


# --- the probes ------------------------------------------------------------------------------------------------------


def test_a_repeat_is_a_probe_on_its_draw_with_c_chosen_on_validation():
    train, validation, test = clusters(4, n=80, spread=5), clusters(4, seed=1, spread=5), clusters(4, seed=2, spread=5)
    outcome = run(train, validation, test, "single", shots=[3], seed=7)[3]
    for accuracy, order in zip(outcome, orders(80, 3, seed=7), strict=True):
        rows = shots_of(train[1], 3, order)
        models = [
            make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500, tol=GRADIENT)).fit(
                train[0][rows].astype(np.float64), train[1][rows].argmax(axis=1)
            )
            for C in (0.1, 1.0)
        ]
        best = max(models, key=lambda model: model.score(validation[0], validation[1].argmax(axis=1)))
        assert accuracy == best.score(test[0], test[1].argmax(axis=1))


def test_by_another_metric_c_is_chosen_and_the_repeat_is_scored():
    """Of classes of very unequal size, against scikit-learn."""
    parts = [unequal_clusters(seed) for seed in range(3)]
    train, validation, test = parts
    outcome = run(*parts, "single", shots=[3], metric="balanced_accuracy", grid=[0.001, 0.1, 10])[3]
    differs = False
    for value, order in zip(outcome, orders(len(train[1]), 3, seed=0), strict=True):
        rows = shots_of(train[1], 3, order)
        probes = [fit_probe((train[0][rows], train[1][rows]), validation, "single", [C], 500) for C in (0.001, 0.1, 10)]
        predicted = [[probe.scores(part[0]).argmax(axis=1) for part in (validation, test)] for probe in probes]
        scores = [[balanced_accuracy_score(p[1].argmax(axis=1), y) for p, y in zip((validation, test), ys, strict=True)]
                  for ys in predicted]  # fmt: skip
        best = max(range(3), key=lambda at: scores[at][0])
        assert value == pytest.approx(scores[best][1])
        differs |= best != max(range(3), key=lambda at: probes[at].validation)
    assert differs


def unequal_clusters(seed):
    embedding, labels = clusters(4, n=200, seed=seed, spread=6)
    kept = np.random.default_rng(seed).random(200) < [1, 0.7, 0.2, 0.1] @ labels.T
    return embedding[kept], labels[kept]


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_with_shots_enough_it_is_the_probe_on_all_of_train(kind):
    train, validation, test = (clusters(3, seed=s, spread=5) if kind == "single" else tags(seed=s) for s in range(3))
    labelled = train[1].any(axis=1)  # a sample without a label is nobody's shot
    train = (train[0][labelled], train[1][labelled])
    full = fit_probe(train, validation, kind, [0.1, 1.0], 500)
    outcome = run(train, validation, test, kind, shots=[1000])[1000]
    metric = headline_metric(kind)
    np.testing.assert_array_equal(outcome, headline_score(metric, test[1], full.scores(test[0])))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_same_seed_gives_the_same_values_whatever_other_shots_are_asked(kind):
    parts = [clusters(3, seed=s, spread=5) if kind == "single" else tags(seed=s) for s in range(3)]
    outcomes = run(*parts, kind)
    np.testing.assert_array_equal(outcomes[4], run(*parts, kind, shots=[16, 4])[4])
    assert not np.array_equal(outcomes[1], run(*parts, kind, seed=1)[1])


def test_a_class_of_fewer_samples_than_k_gives_them_all_and_one_without_any_is_never_predicted():
    (embedding, labels), validation, test = clusters(4), clusters(4, seed=1), clusters(4, seed=2)
    kept = labels[:, 3] == 0
    kept[3] = True  # one sample of the last class
    embedding, labels = embedding[kept], labels[kept]
    labels = np.insert(labels, 4, 0, axis=1)
    others = [(part[0], np.insert(part[1], 4, 0, axis=1)) for part in (validation, test)]
    assert (run((embedding, labels), *others, "single")[4] > 0.5).all()


@pytest.mark.slow
def test_a_class_that_no_draw_shows_is_left_out_of_the_mean():
    train, validation, test = (tags(seed=s) for s in range(3))
    train[1][:, 2] = 0
    others = [0, 1, 3]
    outcomes = run(train, validation, test, "multi")
    without = run(*((part[0], part[1][:, others]) for part in (train, validation, test)), "multi")
    np.testing.assert_array_equal(outcomes[4], without[4])


# --- the interval ----------------------------------------------------------------------------------------------------


def test_the_interval_is_students():
    values = [0.5, 0.52, 0.47, 0.6, 0.55]
    expected = scipy.stats.t.interval(0.9, 4, np.mean(values), scipy.stats.sem(values))
    np.testing.assert_allclose(t_interval(values, 0.9), expected)
    np.testing.assert_allclose(t_interval([*values, np.nan], 0.9), expected)


def test_the_interval_of_a_share_stays_within_0_and_1():
    assert t_interval([0.1, 0.9], 0.95) == (0.0, 1.0)
    assert t_interval([1.0, 1.0], 0.95) == (1.0, 1.0)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, np.nan]])
def test_one_repeat_has_no_interval(values):
    assert np.isnan(t_interval(values, 0.95)).all()


# --- the rows --------------------------------------------------------------------------------------------------------


def embeddings_of(store, split):
    """Embeddings that point where their classes do, more or less."""
    samples = store.split(split)
    vectors = np.random.default_rng(8).normal(size=(len(store.classes), 16))
    embedding = samples.labels @ vectors + np.random.default_rng(len(split)).normal(size=(len(samples), 16))
    attrs = {"encoder": "demo-vit@0.5", "clip": "demo-vit", "alpha": 0.5, "dataset": store.attrs["dataset"]}
    attrs |= {"split": split, "modality": "rgb", "store_digest": store.digest}
    return Embeddings(embedding.astype(np.float32), samples.ids, attrs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo_scene", "digits", "demo_land_cover"])
def test_rows_hold_the_mean_over_repeats_on_test(tmp_path, name):
    store = make_store(tmp_path, name, {"train": 60, "val": 20, "test": 20}, side=8)
    parts = {split: embeddings_of(store, split) for split in ("train", "val", "test")}
    for split, part in parts.items():
        save_embeddings(tmp_path / f"{split}.zarr", part)
    for table in ("a.csv", "b.csv"):
        load_script("score_few_shot").main(
            **{split: tmp_path / f"{split}.zarr" / "zarr.json" for split in parts},
            store=store.path / "zarr.json",
            recipe=RECIPE,
            nomenclatures=[store.nomenclature],
            metrics=[tmp_path / table],
            run="demo",
            bootstrap=BOOTSTRAP,
            seed=SEED,
        )
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    frame = read_rows([tmp_path / "a.csv"])
    metric = {"demo_scene": "map", "digits": "accuracy", "demo_land_cover": "balanced_accuracy"}[name]
    assert frame["metric"].tolist() == [f"{metric}@1", f"{metric}@4"]
    assert set(frame["task"]) == {"few-shot"}
    assert set(frame["split"]) == {"test"}
    assert set(frame["n"]) == {20}
    assert (frame["ci_low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["ci_high"]).all()
    arrays_of = [(part.embedding, store.split(split).labels) for split, part in parts.items()]
    values = run(*arrays_of, store.label_kind, grid=RECIPE["C"], seed=SEED, metric=metric)
    np.testing.assert_allclose(frame["value"], [values[k].mean() for k in (1, 4)])


def test_one_repeat_leaves_the_interval_empty(tmp_path):
    store = make_store(tmp_path, "digits", {"train": 40, "val": 20, "test": 20}, side=8)
    parts = [
        Labelled(
            embeddings_of(store, split),
            store.split(split).labels,
            store.classes,
            store.label_kind,
            "accuracy",
            own_units(len(store.split(split))),
        )
        for split in ("train", "val", "test")
    ]
    rows = few_shot_rows(*parts, RECIPE | {"repeats": 1}, "demo", store.nomenclature, Draws(10, 0.95, 0))
    cells = rows[0].cells()
    assert cells[-5:-3] == ["", ""]


def test_a_train_split_of_one_class_is_an_error(tmp_path):
    store = make_store(tmp_path, "digits", {"train": 20, "val": 20, "test": 20}, side=8)
    labels = np.eye(10, dtype=np.uint8)[np.zeros(20, dtype=int)]
    part = Labelled(embeddings_of(store, "train"), labels, store.classes, "single", "accuracy", own_units(20))
    with pytest.raises(UserError, match="digits: train has samples of one class only"):
        few_shot_rows(part, part, part, RECIPE, "demo", store.nomenclature, Draws(10, 0.95, 0))
