"""The scripts that score retrieval, the modality gap and nearest neighbours: from embeddings to rows of the table."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import scored
from scored import DIM, class_vectors, cosines, saved, saved_head, value
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.neighbors import NearestNeighbors
from small_store import load_script, make_store

from bandbridge.base.errors import UserError
from bandbridge.scoring.rows import read_rows
from bandbridge.store.heads import Head, save_head

SPLITS = {"train": 40, "test": 25}
embeddings_of = partial(scored.embeddings_of, noise=1.5)
BOOTSTRAP = {"resamples": 100, "level": 0.95}
COMMON = {"run": "demo", "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("zarr")


@pytest.fixture(scope="module")
def scene(root):
    """A multi-label store with bands."""
    return make_store(root, "demo_scene", SPLITS)


@pytest.fixture(scope="module")
def digits(root):
    """A single-label store of pictures."""
    return make_store(root, "digits", SPLITS, side=8)


@pytest.fixture(scope="module")
def land_cover(root):
    """A single-label store whose headline is balanced accuracy."""
    return make_store(root, "demo_land_cover", SPLITS)


def frame_of(tmp_path, script, **arguments):
    metrics = tmp_path / f"{script}.csv"
    several = "nomenclatures" in arguments
    load_script(script).main(**arguments, **COMMON, metrics=[metrics] if several else metrics)
    return read_rows([metrics])


# --- retrieval by shared labels --------------------------------------------------------------------------------------


def score_retrieval(tmp_path, source, **arguments):
    sides = embeddings_of(source, "test"), embeddings_of(source, "test", "ms-vit", "s2")
    rgb, multispectral = (saved(tmp_path, side) for side in sides)
    frame = frame_of(
        tmp_path, "score_retrieval", rgb=rgb, multispectral=multispectral, ks=[1, 5], bootstrap=BOOTSTRAP, **arguments
    )
    return frame, [side.embedding for side in sides]


def test_retrieval_by_shared_labels_is_scored_beside_that_of_counterparts(tmp_path, scene):
    arguments = {"store": scene.path / "zarr.json", "nomenclature": scene.nomenclature}
    frame, pair = score_retrieval(tmp_path, scene, **arguments, label_map_k=6)
    labels = scene.split("test").labels.astype(int)
    related = labels @ labels.T > 0
    for direction, (queries, gallery) in {"rgb->s2": pair, "s2->rgb": pair[::-1]}.items():
        order = np.argsort(-cosines(queries, gallery), axis=1)[:, :6]
        hits = np.take_along_axis(related, order, axis=1)
        precision = hits * hits.cumsum(axis=1) / np.arange(1, 7)
        expected = np.mean(precision.sum(axis=1) / np.minimum(related.sum(axis=1), 6))
        row = frame[(frame["modality"] == direction) & (frame["metric"] == "label_map@6")]
        assert row["value"].tolist() == pytest.approx([expected])
        assert (row["ci_low"] <= row["value"]).all()
        assert (row["value"] <= row["ci_high"]).all()
        assert row["nomenclature"].tolist() == [scene.nomenclature]
        assert row["n"].tolist() == [SPLITS["test"]]
    assert set(frame["encoder"]) == {"ms-vit"}
    assert len(frame) == 2 * (2 + 1 + 1)


@pytest.mark.parametrize("missing", ["store", "label_map_k"])
def test_retrieval_by_labels_is_left_out_unless_asked_for(tmp_path, scene, missing):
    arguments = {"store": scene.path / "zarr.json", "nomenclature": scene.nomenclature, "label_map_k": 5}
    frame, _ = score_retrieval(tmp_path, scene, **arguments | {missing: None})
    assert not frame["metric"].str.startswith("label_map").any()


def test_a_label_map_k_above_the_number_of_samples_is_an_error(tmp_path, scene):
    arguments = {"store": scene.path / "zarr.json", "nomenclature": scene.nomenclature}
    with pytest.raises(UserError, match=r"evaluate\.retrieval\.label_map_k has 26, and demo_scene has 25 samples"):
        score_retrieval(tmp_path, scene, **arguments, label_map_k=26)


# --- text retrieval --------------------------------------------------------------------------------------------------


def score_text(tmp_path, store, part, head=None, ks=(1, 5)):
    return frame_of(
        tmp_path,
        "score_text_retrieval",
        embeddings=saved(tmp_path, part),
        heads=[head or saved_head(tmp_path, store)],
        store=store.path / "zarr.json",
        nomenclatures=[store.nomenclature],
        prompts=["plain"],
        ks=list(ks),
        bootstrap=BOOTSTRAP,
    )


@pytest.mark.parametrize("encoder", ["demo-vit@0.5", "ms-vit"])
@pytest.mark.parametrize("name", ["scene", "digits"])
def test_the_texts_of_the_classes_retrieve_their_images(tmp_path, request, name, encoder):
    store = request.getfixturevalue(name)
    modality = "rgb" if "@" in encoder else "s2"
    part = embeddings_of(store, "test", encoder, modality)
    frame = score_text(tmp_path, store, part)
    labels = store.split("test").labels
    scores = cosines(part.embedding, class_vectors(store))
    shown = np.flatnonzero(labels.any(axis=0))
    order = np.argsort(-scores, axis=0)
    for k in (1, 5):
        hits = np.array([labels[order[:k, index], index].sum() for index in shown])
        assert value(frame, metric=f"precision@{k}") == pytest.approx(np.mean(hits / k))
        assert value(frame, metric=f"recall@{k}") == pytest.approx(np.mean(hits / labels[:, shown].sum(axis=0)))
    expected = average_precision_score(labels[:, shown], scores[:, shown])
    assert value(frame, metric="map") == pytest.approx(expected, abs=1e-6)
    row = frame[frame["metric"] == "map"].iloc[0]
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert len(frame) == 5
    for column, wanted in {
        "task": "text-retrieval",
        "encoder": encoder,
        "modality": f"text->{modality}",
        "split": "test",
        "nomenclature": store.nomenclature,
        "prompts": "plain",
    }.items():
        assert set(frame[column]) == {wanted}


def test_a_class_without_images_is_left_out_of_text_retrieval(tmp_path, root):
    few = make_store(tmp_path, "digits", {"test": 4}, side=8)
    part = embeddings_of(few, "test")
    frame = score_text(tmp_path, few, part, ks=[4])
    assert value(frame, metric="recall@4") == 1
    assert value(frame, metric="precision@4") == pytest.approx(1 / 4)


def test_texts_of_other_classes_or_of_another_clip_are_an_error(tmp_path, scene):
    part = embeddings_of(scene, "test")
    with pytest.raises(UserError, match="the labels of demo_scene are"):
        score_text(tmp_path, scene, part, saved_head(tmp_path, scene, classes=scene.classes[::-1]))
    with pytest.raises(UserError, match=r"the head has 15 dimensions and the embeddings of demo-vit@0\.5 have 16"):
        score_text(tmp_path, scene, part, saved_head(tmp_path, scene, dim=15))


def test_more_images_for_a_text_than_there_are_is_an_error(tmp_path, scene):
    with pytest.raises(UserError, match=r"evaluate\.text_retrieval\.ks has 26, and demo_scene has 25 samples in test"):
        score_text(tmp_path, scene, embeddings_of(scene, "test"), ks=[1, 26])


# --- words -----------------------------------------------------------------------------------------------------------


def saved_words(tmp_path, store, words, dim=DIM):
    """A head in which each word points where its class does, more or less."""
    listed = [(name, word) for name, some in words.items() for word in some]
    vectors = class_vectors(store)[[store.classes.index(name) for name, _ in listed], :dim]
    vectors = vectors + 0.5 * np.random.default_rng(2).normal(size=vectors.shape).astype(np.float32)
    names = tuple(word for _, word in listed)
    save_head(tmp_path / "words.npz", Head(vectors, 100.0, names, tuple((f"a {name}.",) for name in names)))
    return tmp_path / "words.npz", vectors


def score_words(tmp_path, store, part, words, head, k=5):
    return frame_of(
        tmp_path,
        "score_words",
        embeddings=saved(tmp_path, part),
        head=head,
        store=store.path / "zarr.json",
        nomenclature=store.nomenclature,
        prompts="plain",
        words=words,
        k=k,
    )


@pytest.mark.parametrize("name", ["scene", "digits"])
def test_words_retrieve_the_images_of_the_class_that_they_stand_for(tmp_path, request, name):
    store = request.getfixturevalue(name)
    part = embeddings_of(store, "test", "ms-vit", "s2")
    words = {store.classes[1]: ["first", "second"], store.classes[0]: ["third"]}
    head, vectors = saved_words(tmp_path, store, words)
    frame = score_words(tmp_path, store, part, words, head)
    labels, order = store.split("test").labels, np.argsort(-cosines(vectors, part.embedding), axis=1)[:, :5]
    precisions, lifts = [], []
    for index, (word, column) in enumerate({"first": 1, "second": 1, "third": 0}.items()):
        precisions.append(labels[order[index], column].mean())
        lifts.append(precisions[-1] / labels[:, column].mean())
        of_word = frame[frame["class"] == word]
        assert value(of_word, metric="precision@5") == pytest.approx(precisions[-1])
        assert value(of_word, metric="lift@5") == pytest.approx(lifts[-1])
        assert set(of_word["n"]) == {labels[:, column].sum()}
    means = frame[frame["class"] == ""]
    assert value(means, metric="precision@5") == pytest.approx(np.mean(precisions))
    assert value(means, metric="lift@5") == pytest.approx(np.mean(lifts))
    assert set(means["n"]) == {SPLITS["test"]}
    assert len(frame) == 2 * (3 + 1)
    for column, wanted in {"task": "words", "encoder": "ms-vit", "modality": "text->s2", "prompts": "plain"}.items():
        assert set(frame[column]) == {wanted}


def test_words_whose_class_has_no_images_are_undefined_and_no_part_of_the_mean(tmp_path):
    few = make_store(tmp_path, "digits", {"test": 4}, side=8)
    words = {few.classes[0]: ["nought"], few.classes[9]: ["a niner"]}
    frame = score_words(tmp_path, few, embeddings_of(few, "test"), words, saved_words(tmp_path, few, words)[0], k=4)
    assert np.isnan(value(frame[frame["class"] == "a niner"], metric="lift@4"))
    assert value(frame[frame["class"] == ""], metric="lift@4") == 1
    assert value(frame[frame["class"] == ""], metric="precision@4") == pytest.approx(1 / 4)


def test_words_that_do_not_fit_are_an_error(tmp_path, scene):
    part, words = embeddings_of(scene, "test"), {"forest": ["trees"]}
    head, _ = saved_words(tmp_path, scene, words)
    with pytest.raises(UserError, match=r"evaluate\.words\.k has 26, and demo_scene has 25 samples in test"):
        score_words(tmp_path, scene, part, words, head, k=26)
    with pytest.raises(UserError, match=r"is of the words trees; evaluate\.words has woods"):
        score_words(tmp_path, scene, part, {"forest": ["woods"]}, head)
    with pytest.raises(UserError, match="has words for woodland; the labels of osm-landuse-8 are farm"):
        score_words(tmp_path, scene, part, {"woodland": ["trees"]}, head)
    with pytest.raises(UserError, match=r"the head has 15 dimensions"):
        score_words(tmp_path, scene, part, words, saved_words(tmp_path, scene, words, dim=15)[0])


# --- the modality gap ------------------------------------------------------------------------------------------------


def keys(frame):
    return set(zip(frame["modality"], frame["metric"], strict=True))


def test_the_gap_of_a_student_is_that_to_its_teacher(tmp_path, scene):
    teacher, student = embeddings_of(scene, "test"), embeddings_of(scene, "test", "ms-vit", "s2")
    markers = {"rgb": saved(tmp_path, teacher), "multispectral": saved(tmp_path, student)}
    frame = frame_of(tmp_path, "score_gap", **markers)
    between = {("rgb-s2", metric) for metric in ("centroid_distance", "alignment", "cosine")}
    assert keys(frame) == {*between, ("s2", "uniformity")}
    assert set(frame["encoder"]) == {"ms-vit"}
    assert set(frame["task"]) == {"gap"}
    pairs = cosines(teacher.embedding, student.embedding).diagonal()
    assert value(frame, metric="cosine") == pytest.approx(pairs.mean(), abs=1e-6)
    assert value(frame, metric="alignment") == pytest.approx(np.mean(2 - 2 * pairs), abs=1e-6)


def test_the_gap_of_a_patched_clip_is_that_to_zero_shot_and_to_text(tmp_path, scene):
    patched, before = embeddings_of(scene, "test"), embeddings_of(scene, "test", "demo-vit@0")
    frame = frame_of(
        tmp_path,
        "score_gap",
        rgb=saved(tmp_path, patched),
        zero_shot=saved(tmp_path, before),
        head=saved_head(tmp_path, scene),
        nomenclature=scene.nomenclature,
        prompts="plain",
    )
    expected = {("rgb", "uniformity"), ("rgb", "cosine_to_zero_shot"), ("rgb-text", "centroid_distance")}
    assert keys(frame) == expected
    assert set(frame["encoder"]) == {"demo-vit@0.5"}
    similar = cosines(before.embedding, patched.embedding).diagonal().mean()
    assert value(frame, metric="cosine_to_zero_shot") == pytest.approx(similar, abs=1e-6)
    sides = patched.embedding, class_vectors(scene)
    centroids = [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0) for rows in sides]
    distance = np.linalg.norm(centroids[0] - centroids[1])
    assert value(frame, metric="centroid_distance") == pytest.approx(distance, abs=1e-6)
    of_text = frame[frame["metric"] == "centroid_distance"].iloc[0]
    assert (of_text["nomenclature"], of_text["prompts"]) == (scene.nomenclature, "plain")


def test_the_gap_of_an_encoder_alone_is_its_uniformity(tmp_path, scene):
    frame = frame_of(tmp_path, "score_gap", rgb=saved(tmp_path, embeddings_of(scene, "test")))
    assert keys(frame) == {("rgb", "uniformity")}


@pytest.mark.parametrize("side", ["multispectral", "zero_shot"])
def test_a_gap_between_other_samples_is_an_error(tmp_path, scene, side):
    other = embeddings_of(scene, "test", "other", "s2")
    other = dataclasses.replace(other, ids=np.roll(other.ids, 1))
    markers = {"rgb": saved(tmp_path, embeddings_of(scene, "test")), side: saved(tmp_path, other)}
    with pytest.raises(UserError, match="are not of the same samples"):
        frame_of(tmp_path, "score_gap", **markers)


# --- nearest neighbours ----------------------------------------------------------------------------------------------


def score_knn(tmp_path, store, recipe):
    parts = {split: embeddings_of(store, split) for split in SPLITS}
    frame = frame_of(
        tmp_path,
        "score_knn",
        **{split: saved(tmp_path, part) for split, part in parts.items()},
        store=store.path / "zarr.json",
        nomenclatures=[store.nomenclature],
        recipe=recipe,
        bootstrap=BOOTSTRAP,
    )
    return frame, parts


@pytest.mark.parametrize("name", ["scene", "digits", "land_cover"])
def test_neighbours_in_train_classify_test(tmp_path, request, name):
    store = request.getfixturevalue(name)
    frame, parts = score_knn(tmp_path, store, {"k": 7})
    train, truth = store.split("train").labels, store.split("test").labels
    search = NearestNeighbors(n_neighbors=7, metric="cosine").fit(parts["train"].embedding)
    distance, nearest = search.kneighbors(parts["test"].embedding)
    votes = (np.exp((1 - distance) / 0.07)[:, :, None] * train[nearest]).sum(axis=1)
    if name == "land_cover":
        metric, expected = "balanced_accuracy", balanced_accuracy_score(truth.argmax(axis=1), votes.argmax(axis=1))
    elif name == "digits":
        metric, expected = "accuracy", np.mean(votes.argmax(axis=1) == truth.argmax(axis=1))
    else:
        total = np.exp((1 - distance) / 0.07).sum(axis=1, keepdims=True)
        metric, expected = "map", average_precision_score(truth, votes / total)
    assert len(frame) == 1
    assert value(frame, metric=metric) == pytest.approx(expected, abs=1e-4)
    row = frame.iloc[0]
    assert (row["task"], row["split"], row["nomenclature"]) == ("knn", "test", store.nomenclature)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_more_neighbours_than_train_has_samples_are_an_error(tmp_path, scene):
    with pytest.raises(UserError, match=r"evaluate\.knn\.k is 41, and demo_scene has 40 samples in train"):
        score_knn(tmp_path, scene, {"k": 41})
