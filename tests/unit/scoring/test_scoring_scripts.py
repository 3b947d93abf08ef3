"""The scripts that score: from embeddings and a store to rows of the metrics table."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scored import DIM, class_vectors, cosines, embeddings_of, saved, saved_head, value
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    top_k_accuracy_score,
)
from small_store import COUNTS, load_script, make_store, random_samples, small_dataset, write_store

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.metrics.calibration import multi_label_ece, single_label_ece
from bandbridge.metrics.intervals import score_interval
from bandbridge.metrics.neighbours import METRES_PER_DEGREE, SIDES
from bandbridge.metrics.retrieval import mutual_ranks
from bandbridge.scoring.draws import load_draws
from bandbridge.scoring.rows import LEFT_OUT, Row, read_rows, write_rows
from bandbridge.scoring.zero_shot import units_of
from bandbridge.store.dataset import Store

BOOTSTRAP = {"resamples": 200, "level": 0.95}
COMMON = {"run": "demo", "bootstrap": BOOTSTRAP, "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("zarr")


@pytest.fixture(scope="module")
def scene(root):
    """A multi-label store with bands."""
    return make_store(root, "demo_scene")


@pytest.fixture(scope="module")
def digits(root):
    """A single-label store of pictures."""
    return make_store(root, "digits", {"val": 20, "test": 30}, side=8)


@pytest.fixture(scope="module")
def land_cover(root):
    """A single-label store whose headline is balanced accuracy."""
    return make_store(root, "demo_land_cover", {"val": 20, "test": 33})


def score_zero_shot(tmp_path, store, markers, head=None, name="zero-shot.csv", draws=None, **options):
    metrics = tmp_path / name
    load_script("score_zero_shot").main(
        embeddings=markers,
        heads=[head or saved_head(tmp_path, store)],
        store=store.path / "zarr.json",
        nomenclatures=[store.nomenclature],
        prompts=["plain"],
        metrics=[metrics],
        draws=[draws or tmp_path / "draws.npz"],
        **COMMON | options,
    )
    return read_rows([metrics])


# --- zero-shot -------------------------------------------------------------------------------------------------------


def test_a_multi_label_set_is_scored_by_average_precision(tmp_path, scene):
    parts = {split: embeddings_of(scene, split) for split in ("val", "test")}
    frame = score_zero_shot(tmp_path, scene, [saved(tmp_path, part) for part in parts.values()])
    assert set(frame["task"]) == {"zero-shot"}
    assert set(frame["encoder"]) == {"demo-vit@0.5"}
    for split, part in parts.items():
        rows = frame[frame["split"] == split]
        labels = scene.split(split).labels
        scores = cosines(part.embedding, class_vectors(scene))
        assert value(rows, metric="map") == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
        micro = average_precision_score(labels, scores, average="micro")
        assert value(rows, metric="micro_map") == pytest.approx(micro, abs=1e-6)
        for index, name in enumerate(scene.classes):
            expected = average_precision_score(labels[:, index], scores[:, index])
            assert value(rows, metric="average_precision", class_=name) == pytest.approx(expected, abs=1e-6)
        assert value(rows, metric="ece") == pytest.approx(multi_label_ece(labels, 100 * scores), abs=1e-4)
        per_class = len(scene.classes)
        assert len(rows) == (3 + per_class if split == "val" else 5 + 2 * per_class)
        overall = rows[(rows["class"] == "") & (rows["metric"] != "ece")]
        assert (overall["ci_low"] < overall["ci_high"]).all()
        assert (overall["n"] == COUNTS[split]).all()
        headline = rows[rows["metric"] == "map"].iloc[0]
        assert headline["ci_low"] <= headline["value"] <= headline["ci_high"]
        carrying = rows[rows["metric"] == "average_precision"].set_index("class")["n"]
        assert carrying.to_dict() == dict(zip(scene.classes, labels.sum(axis=0), strict=True))


@pytest.mark.parametrize(("unlabelled", "scored"), [("count", 17), ("leave_out", 14)])
def test_samples_without_a_class_are_scored_or_counted_as_left_out(tmp_path, capsys, unlabelled, scored):
    dataset = dataclasses.replace(small_dataset("demo_scene"), unlabelled=unlabelled)
    samples = [
        (split, dataclasses.replace(sample, labels=()) if sample.id in ("test-000", "test-004", "test-009") else sample)
        for split, sample in random_samples(dataset, COUNTS, 16, 0)
    ]
    write_store(tmp_path / "scene.zarr", dataset, samples)
    everything = Store(tmp_path / "scene.zarr")
    markers = [saved(tmp_path, embeddings_of(everything, split)) for split in ("val", "test")]
    rows = score_zero_shot(tmp_path, everything, markers)
    assert set(rows.loc[(rows["metric"] == "map") & (rows["split"] == "test"), "n"]) == {scored}
    left_out = rows[rows["metric"] == LEFT_OUT]
    assert left_out[["split", "value", "n"]].to_numpy().tolist() == ([["test", 3.0, 14]] if scored == 14 else [])
    remark = "demo_scene, test: 3 of 17 samples have no label in osm-landuse-8 and are left out."
    assert (remark in capsys.readouterr().out) is (scored == 14)


def test_f1_on_test_is_at_the_thresholds_that_are_best_on_val(tmp_path, scene):
    parts = {split: embeddings_of(scene, split, noise=3.0) for split in ("val", "test")}
    frame = score_zero_shot(tmp_path, scene, [saved(tmp_path, part) for part in parts.values()])
    assert set(frame[frame["metric"].str.contains("f1")]["split"]) == {"test"}
    scores = {split: cosines(part.embedding, class_vectors(scene)) for split, part in parts.items()}
    truth = {split: scene.split(split).labels for split in parts}
    predicted = []
    for index, name in enumerate(scene.classes):
        on_val, labels = scores["val"][:, index], truth["val"][:, index]
        threshold = max(np.sort(on_val)[::-1], key=lambda at: f1_score(labels, on_val >= at))
        predicted.append(scores["test"][:, index] >= threshold - 1e-6)
        expected = f1_score(truth["test"][:, index], predicted[-1], zero_division=np.nan)
        assert value(frame, metric="class_f1", class_=name) == pytest.approx(expected, nan_ok=True)
    predicted = np.stack(predicted, axis=1)
    for average in ("macro", "micro"):
        expected = f1_score(truth["test"], predicted, average=average, zero_division=np.nan)
        assert value(frame, metric=f"{average}_f1") == pytest.approx(expected)


def test_without_a_val_split_there_is_no_f1(tmp_path, scene):
    frame = score_zero_shot(tmp_path, scene, [saved(tmp_path, embeddings_of(scene, "test"))])
    assert set(frame["metric"]) == {"map", "micro_map", "average_precision", "ece"}


def test_a_single_label_set_is_scored_by_accuracy(tmp_path, digits):
    part = embeddings_of(digits, "test", noise=3.0)
    frame = score_zero_shot(tmp_path, digits, [saved(tmp_path, part)])
    truth, scores = digits.split("test").labels.argmax(axis=1), cosines(part.embedding, class_vectors(digits))
    predicted = scores.argmax(axis=1)
    assert value(frame, metric="accuracy") == pytest.approx((truth == predicted).mean())
    top5 = top_k_accuracy_score(truth, scores, k=5, labels=range(10))
    assert value(frame, metric="top5_accuracy") == pytest.approx(top5)
    assert value(frame, metric="ece") == pytest.approx(single_label_ece(truth, 100 * scores), abs=1e-4)
    per_class = [(predicted[truth == index] == index).mean() for index in range(10)]
    assert value(frame, metric="balanced_accuracy") == pytest.approx(np.mean(per_class))
    accuracies = frame[frame["metric"] == "class_accuracy"].set_index("class")["value"]
    np.testing.assert_allclose(accuracies[list(digits.classes)], per_class)
    assert frame[frame["ci_low"].notna()]["metric"].tolist() == ["accuracy", "balanced_accuracy", "top5_accuracy"]


def test_a_set_whose_headline_is_balanced_accuracy_has_both_accuracies(tmp_path, land_cover):
    part = embeddings_of(land_cover, "test", noise=3.0)
    frame = score_zero_shot(tmp_path, land_cover, [saved(tmp_path, part)])
    truth = land_cover.split("test").labels.argmax(axis=1)
    predicted = cosines(part.embedding, class_vectors(land_cover)).argmax(axis=1)
    assert value(frame, metric="balanced_accuracy") == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert value(frame, metric="accuracy") == pytest.approx(accuracy_score(truth, predicted))
    assert accuracy_score(truth, predicted) != balanced_accuracy_score(truth, predicted)


def test_the_confusion_matrix_of_test_has_a_row_for_each_pair_of_classes_that_occurs(tmp_path, digits):
    parts = {split: embeddings_of(digits, split, noise=3.0) for split in ("val", "test")}
    frame = score_zero_shot(tmp_path, digits, [saved(tmp_path, part) for part in parts.values()])
    confused = frame[frame["metric"] == "confusion"]
    assert set(confused["split"]) == {"test"}
    truth, predicted = (
        array.argmax(axis=1)
        for array in (digits.split("test").labels, cosines(parts["test"].embedding, class_vectors(digits)))
    )
    shares = confusion_matrix(truth, predicted, normalize="true")
    cells = {
        f"{digits.classes[i]} -> {digits.classes[j]}": (shares[i, j], np.sum(truth == i))
        for i, j in np.argwhere(shares)
    }
    assert {row["class"]: (pytest.approx(row["value"]), row["n"]) for _, row in confused.iterrows()} == cells


@pytest.mark.parametrize(
    ("name", "headline"), [("scene", "map"), ("digits", "accuracy"), ("land_cover", "balanced_accuracy")]
)
def test_the_draws_of_the_headline_are_kept_beside_the_rows(tmp_path, request, name, headline):
    store = request.getfixturevalue(name)
    markers = [saved(tmp_path, embeddings_of(store, split, noise=3.0)) for split in ("val", "test")]
    files = [tmp_path / "a.draws.npz", tmp_path / "b.draws.npz"]
    frame = score_zero_shot(tmp_path, store, markers, draws=files[0])
    score_zero_shot(tmp_path, store, markers[::-1], name="b.csv", draws=files[1])
    assert files[0].read_bytes() == files[1].read_bytes()
    with np.load(files[0]) as file:
        kinds = (headline, "value", "centre", "error", "units", "freedom")
        assert set(file.files) == {"meta", *(f"{split}/{kind}" for split in ("val", "test") for kind in kinds)}
        assert file[f"test/{headline}"].shape == (BOOTSTRAP["resamples"],)
        assert file[f"test/{headline}"].dtype == np.float64
    draws = load_draws(files[0])
    assert (draws.meta["seed"], draws.meta["resamples"]) == (COMMON["seed"], BOOTSTRAP["resamples"])
    for split in ("val", "test"):
        row = frame[(frame["metric"] == headline) & (frame["split"] == split)].iloc[0]
        assert draws.meta["n"][split] == row["n"]
        assert draws.values[split] == pytest.approx(row["value"])
        ends = score_interval(draws.estimates[split], BOOTSTRAP["level"])
        np.testing.assert_allclose(ends, row[["ci_low", "ci_high"]].tolist())
        assert draws.estimates[split].units == row["units"]


def placed_store(root, step):
    """The scene's samples of 16 x 16 pixels of 10 m, in a row from west to east, so many metres apart."""
    dataset = small_dataset("demo_scene", ("test",))
    samples = [
        (split, dataclasses.replace(sample, lat=0.0, lon=10 + number * step / METRES_PER_DEGREE))
        for number, (split, sample) in enumerate(random_samples(dataset, {"test": 40}, 16, seed=0))
    ]
    path = root / f"{step}.zarr"
    write_store(path, dataset, samples)
    return Store(path, "osm-landuse-8")


def test_neighbouring_samples_are_one_unit_of_an_interval(tmp_path):
    near, far = (placed_store(tmp_path, step).split("test") for step in (80, 100_000))
    assert far.side == near.side == 160
    assert set(np.bincount(units_of(near))) <= set(range(1, 17))
    assert units_of(near).max() + 1 <= 40 * 80 / (SIDES * 160) + 2  # blocks cut at either end
    assert units_of(far).tolist() == list(range(40))


def test_samples_without_a_place_or_a_resolution_are_units_of_their_own(scene, digits):
    for store in (scene, digits):
        assert units_of(store.split("test")).tolist() == list(range(len(store.split("test"))))


def test_metrics_count_the_units_that_carry_the_rarest_class(tmp_path, scene):
    markers = [saved(tmp_path, embeddings_of(scene, split, noise=3.0)) for split in ("val", "test")]
    frame = score_zero_shot(tmp_path, scene, markers)
    rows = frame[(frame["split"] == "test") & frame["ci_low"].notna()].set_index("metric")["units"]
    labels = scene.split("test").labels
    ranked = labels[:, (labels.sum(axis=0) > 0) & (labels.sum(axis=0) < len(labels))]
    assert rows["map"] == ranked.sum(axis=0).min()
    assert rows["micro_map"] == len(labels)


def test_the_same_embeddings_give_the_same_bytes(tmp_path, scene):
    markers = [saved(tmp_path, embeddings_of(scene, split)) for split in ("val", "test")]
    score_zero_shot(tmp_path, scene, markers, name="a.csv")
    score_zero_shot(tmp_path, scene, markers[::-1], name="b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_head_of_other_classes_is_an_error(tmp_path, scene):
    head = saved_head(tmp_path, scene, classes=scene.classes[::-1])
    with pytest.raises(UserError, match=r"head of .* has the classes .* the labels of demo_scene are"):
        score_zero_shot(tmp_path, scene, [saved(tmp_path, embeddings_of(scene, "val"))], head)


def test_a_head_of_another_clip_is_an_error(tmp_path, scene):
    head = saved_head(tmp_path, scene, dim=DIM - 1)
    with pytest.raises(UserError, match=r"the head has 15 dimensions and the embeddings of demo-vit@0\.5 have 16"):
        score_zero_shot(tmp_path, scene, [saved(tmp_path, embeddings_of(scene, "val"))], head)


def test_a_store_that_changed_under_its_embeddings_is_noticed(tmp_path, scene):
    marker = saved(tmp_path, embeddings_of(scene, "val"))
    changed = make_store(tmp_path, "demo_scene", seed=1)
    with pytest.raises(UserError, match=r"val\.zarr: made from another version of the store demo_scene"):
        score_zero_shot(tmp_path, changed, [marker])


def test_embeddings_of_other_samples_are_noticed(tmp_path, scene):
    part = embeddings_of(scene, "val")
    marker = saved(tmp_path, dataclasses.replace(part, ids=part.ids[::-1]))
    with pytest.raises(UserError, match="made from another version of the store"):
        score_zero_shot(tmp_path, scene, [marker])


# --- retrieval -------------------------------------------------------------------------------------------------------


def score_retrieval(tmp_path, rgb, multispectral, ks):
    metrics = tmp_path / "retrieval.csv"
    markers = {"rgb": saved(tmp_path, rgb), "multispectral": saved(tmp_path, multispectral)}
    load_script("score_retrieval").main(**markers, ks=ks, metrics=metrics, **COMMON)
    return read_rows([metrics])


def test_retrieval_is_scored_both_ways_in_the_students_name(tmp_path, scene):
    rgb, student = embeddings_of(scene, "test"), embeddings_of(scene, "test", "ms-vit", "s2")
    frame = score_retrieval(tmp_path, rgb, student, ks=[1, 5, COUNTS["test"]])
    for direction, pair in {"rgb->s2": (rgb, student), "s2->rgb": (student, rgb)}.items():
        ranks, _ = mutual_ranks(pair[0].embedding, pair[1].embedding)
        rows = frame[frame["modality"] == direction]
        for k in (1, 5, COUNTS["test"]):
            assert value(rows, metric=f"recall@{k}") == pytest.approx(np.mean(ranks <= k))
        assert value(rows, metric="median_rank") == np.median(ranks)
    assert len(frame) == 8
    assert set(frame["encoder"]) == {"ms-vit"}
    assert frame["alpha"].isna().all()
    recalls = frame[frame["metric"].str.startswith("recall")]
    assert (recalls["ci_low"] <= recalls["value"]).all()
    assert (recalls["value"] <= recalls["ci_high"]).all()


def test_retrieval_between_other_samples_is_an_error(tmp_path, scene):
    rgb, student = embeddings_of(scene, "test"), embeddings_of(scene, "test", "ms-vit", "s2")
    other = dataclasses.replace(student, ids=np.roll(student.ids, 1))
    with pytest.raises(UserError, match=r"demo-vit@0\.5 and ms-vit on demo_scene are not of the same samples"):
        score_retrieval(tmp_path, rgb, other, ks=[1])


def test_retrieval_between_other_spaces_is_an_error(tmp_path, scene):
    rgb, student = embeddings_of(scene, "test"), embeddings_of(scene, "test", "ms-vit", "s2")
    narrow = dataclasses.replace(student, embedding=student.embedding[:, :8])
    with pytest.raises(UserError, match="in 16 dimensions, ms-vit in 8"):
        score_retrieval(tmp_path, rgb, narrow, ks=[1])


def test_a_k_above_the_number_of_samples_is_an_error(tmp_path, scene):
    rgb, student = embeddings_of(scene, "test"), embeddings_of(scene, "test", "ms-vit", "s2")
    with pytest.raises(
        UserError, match=r"ks has 50, and demo_scene has 17 samples in test; expected values in 1\.\.17"
    ):
        score_retrieval(tmp_path, rgb, student, ks=[1, 50])


# --- several scores in one job ------------------------------------------------------------------------------------


def test_several_prompt_sets_are_scored_as_each_alone(tmp_path, scene):
    markers = [saved(tmp_path, embeddings_of(scene, split)) for split in ("val", "test")]
    head = saved_head(tmp_path, scene)
    tables, draws = ([tmp_path / f"{name}.{ending}" for name in "ab"] for ending in ("csv", "npz"))
    load_script("score_zero_shot").main(
        embeddings=markers,
        heads=[head, head],
        store=scene.path / "zarr.json",
        nomenclatures=[scene.nomenclature] * 2,
        prompts=["plain", "mine"],
        metrics=tables,
        draws=draws,
        **COMMON,
    )
    alone = score_zero_shot(tmp_path, scene, markers, head, name="alone.csv")
    both = [read_rows([table]) for table in tables]
    assert [set(frame["prompts"]) for frame in both] == [{"plain"}, {"mine"}]
    assert tables[0].read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert both[1]["value"].tolist() == alone["value"].tolist()
    assert draws[0].read_bytes() == (tmp_path / "draws.npz").read_bytes()


# --- linear probe ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "headline"), [("demo_scene", "map"), ("digits", "accuracy"), ("demo_land_cover", "balanced_accuracy")]
)
def test_a_linear_probe_is_scored_on_test_and_chosen_on_val(tmp_path, name, headline):
    store = make_store(tmp_path, name, {"train": 40, "val": 20, "test": 20}, side=8)
    markers = {split: saved(tmp_path, embeddings_of(store, split)) for split in COUNTS}
    load_script("score_probe").main(
        **markers,
        store=store.path / "zarr.json",
        recipe={"C": [0.01, 1], "max_iterations": 500},
        nomenclatures=[store.nomenclature],
        metrics=[tmp_path / "probe.csv"],
        **COMMON,
    )
    frame = read_rows([tmp_path / "probe.csv"])
    assert set(frame["task"]) == {"linear-probe"}
    assert set(frame["prompts"]) == {""}
    assert frame[frame["split"] == "val"]["metric"].tolist() == [headline]
    test = frame[frame["split"] == "test"]
    per_class = "average_precision" if headline == "map" else "class_accuracy"
    assert len(test[test["metric"] == per_class]) == len(store.classes)
    assert not {"ece", "macro_f1"} & set(test["metric"])
    # The embeddings point where their classes do: a probe finds that out.
    assert value(test, metric=headline) > 0.6


# --- choosing alpha --------------------------------------------------------------------------------------------------

TASKS = {
    "patching": [{"dataset": "demo_scene", "prompts": "satellite", "metric": "map"}],
    "supported": [{"dataset": "digits", "prompts": "digits", "metric": "accuracy"}],
}
SELECT = {"criterion": "max_loss", "max_loss": 0.01, "alpha": 0.5}
ALPHAS = ["0", "0.5", "1"]
PATCHING = {"val": (0.3, 0.5, 0.6), "test": (0.2, 0.4, 0.7)}
SUPPORTED = {"val": (0.99, 0.985, 0.8), "test": (0.98, 0.97, 0.7)}


def curve_metrics(tmp_path, patching=PATCHING, supported=SUPPORTED):
    """The partial tables that the choice of alpha reads."""
    paths = []
    for dataset, prompts, metric, scores in (
        ("demo_scene", "satellite", "map", patching),
        ("digits", "digits", "accuracy", supported),
    ):
        for index, alpha in enumerate(ALPHAS):
            common = {"run": "demo", "encoder": f"demo-vit@{alpha}", "clip": "demo-vit", "alpha": float(alpha)}
            common |= {
                "dataset": dataset,
                "prompts": prompts,
                "modality": "rgb",
                "task": "zero-shot",
                "n": 9,
                "units": 12,
                "seed": 0,
            }
            rows = [
                Row(**common, split=split, metric=metric, value=values[index], ci_low=values[index] - 0.1, ci_high=1.0)
                for split, values in scores.items()
            ]
            rows += [Row(**common, split=split, metric="class_accuracy", class_="a", value=0.1) for split in scores]
            paths.append(tmp_path / f"{dataset}.{alpha}.csv")
            write_rows(paths[-1], rows)
    return paths


def choose(tmp_path, metrics, tasks=TASKS, **select):
    paths = {"curve": tmp_path / "curve.csv", "selected": tmp_path / "selected.json"}
    load_script("select_alpha").main(
        metrics=metrics, line="vit", alphas=ALPHAS, **tasks, select=SELECT | select, **paths
    )
    return pd.read_csv(paths["curve"]), read_json(paths["selected"])


def test_the_curve_has_a_line_for_each_alpha_and_marks_the_chosen_one(tmp_path):
    curve, selected = choose(tmp_path, curve_metrics(tmp_path))
    assert curve.to_dict("list") == {
        "alpha": [0.0, 0.5, 1.0],
        "patching_metric": ["map"] * 3,
        "patching_val": [0.3, 0.5, 0.6],
        "patching_val_ci_low": [0.2, 0.4, 0.5],
        "patching_val_ci_high": [1.0] * 3,
        "patching_test": [0.2, 0.4, 0.7],
        "supported_metric": ["accuracy"] * 3,
        "supported_val": [0.99, 0.985, 0.8],
        "supported_test": [0.98, 0.97, 0.7],
        "mean_val": [0.645, 0.7425, 0.7],
        "selected": [0, 1, 0],
        "patching_val_units": [12] * 3,
    }
    assert selected["alpha"] == 0.5
    assert (selected["line"], selected["datasets"]) == ("vit", ["demo_scene"])
    assert selected["criterion"] == "max_loss"
    assert "0.5000" in selected["reason"]


def test_the_headline_of_a_task_decides_and_its_other_metrics_do_not(tmp_path):
    """Accuracy rises where balanced accuracy, which the task is judged by, falls."""
    tasks = TASKS | {"patching": [{"dataset": "demo_land_cover", "prompts": "plain", "metric": "balanced_accuracy"}]}
    metrics = curve_metrics(tmp_path)
    for index, alpha in enumerate(ALPHAS):
        common = {"run": "demo", "encoder": f"demo-vit@{alpha}", "clip": "demo-vit", "alpha": float(alpha), "n": 9}
        common |= {"dataset": "demo_land_cover", "prompts": "plain", "modality": "rgb", "task": "zero-shot", "seed": 0}
        values = {"accuracy": (0.1, 0.5, 0.9)[index], "balanced_accuracy": (0.3, 0.2, 0.1)[index]}
        rows = [Row(**common, split="val", metric=metric, value=value) for metric, value in values.items()]
        metrics.append(tmp_path / f"cover.{alpha}.csv")
        write_rows(metrics[-1], rows)
    curve, selected = choose(tmp_path, metrics, tasks, max_loss=1.0)
    assert curve["patching_metric"].tolist() == ["balanced_accuracy"] * 3
    assert curve["patching_val"].tolist() == [0.3, 0.2, 0.1]
    assert selected["alpha"] == 0


def test_test_scores_have_no_say_in_the_choice(tmp_path):
    _, selected = choose(tmp_path, curve_metrics(tmp_path))
    misleading = {**PATCHING, "test": (0.9, 0.0, 0.0)}
    _, again = choose(
        tmp_path, curve_metrics(tmp_path, patching=misleading, supported={**SUPPORTED, "test": (0, 0, 0)})
    )
    assert again == selected


def test_a_patching_task_alone_has_a_curve_too(tmp_path):
    tasks = TASKS | {"supported": []}
    metrics = [path for path in curve_metrics(tmp_path) if path.name.startswith("demo_scene")]
    curve, selected = choose(tmp_path, metrics, tasks, criterion="fixed", alpha=1)
    assert curve["supported_val"].isna().all()
    assert curve["mean_val"].tolist() == curve["patching_val"].tolist()
    assert curve["selected"].tolist() == [0, 0, 1]
    assert selected["alpha"] == 1


def test_a_task_without_validation_scores_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"digits has no score on its split val .* at alpha 0 \(splits scored: test\)"):
        choose(tmp_path, curve_metrics(tmp_path, supported={"test": (0.98, 0.97, 0.7)}))


def test_an_undefined_validation_score_is_an_error(tmp_path):
    with pytest.raises(
        UserError, match=r"map of demo-vit@0 on demo_scene .split val, prompts .*, alpha 0. is nan: it is undefined"
    ):
        choose(tmp_path, curve_metrics(tmp_path, patching={"val": (float("nan"),) * 3}))


# --- the whole table -------------------------------------------------------------------------------------------------


def test_collecting_puts_all_rows_in_one_table(tmp_path):
    parts = curve_metrics(tmp_path)
    load_script("collect_metrics").main(
        zero_shot=parts[:2], tables=parts[2:3], chosen=parts[3:-1], gains=parts[-1], table=tmp_path / "metrics.csv"
    )
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert sorted(lines[1:]) == sorted(line for part in parts for line in part.read_text().splitlines()[1:])


def test_collecting_the_same_rows_twice_is_an_error(tmp_path):
    parts = curve_metrics(tmp_path)
    with pytest.raises(UserError, match="two rows for run demo"):
        load_script("collect_metrics").main(
            zero_shot=parts, tables=[], chosen=[], gains=parts[0], table=tmp_path / "metrics.csv"
        )
