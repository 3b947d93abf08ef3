"""Galleries and projections: what is nearest is shown, what is right is marked, and gaps are those of the space."""

import dataclasses
import json

import numpy as np
import pytest
from small_store import load_script, make_store
from synthetic_run import make_data, make_parts

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.metrics.retrieval import mutual_ranks
from bandbridge.reporting.figures.drawing import Album
from bandbridge.reporting.galleries import NEAREST, QUERIES, Labels, draw_queries, make_gallery, read_labels
from bandbridge.reporting.page import spaces as report_spaces
from bandbridge.reporting.page.spaces import galleries, projections
from bandbridge.reporting.projection import make_projection, principal_axes
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head, Words, save_head


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), "demo_scene")


def embeddings(store, values, encoder="demo-vit@0.4", modality="rgb"):
    attrs = {"encoder": encoder, "clip": "demo-vit", "dataset": "demo_scene", "split": "test", "modality": modality}
    ids = store.split("test").ids
    return Embeddings(np.asarray(values, np.float32), ids, attrs | {"store_digest": store.digest})


@pytest.fixture(scope="module")
def twins(store):
    """Both sides of a student that places every sample where its composite is."""
    values = np.random.default_rng(0).normal(size=(len(store.split("test")), 12))
    return embeddings(store, values), embeddings(store, 3 * values, "ms-vit", "s2")


def head_of(store, vectors):
    return Head(np.asarray(vectors, np.float32), 100.0, store.classes, tuple((f"a {c}.",) for c in store.classes))


def test_a_perfect_student_finds_each_counterpart_first(store, twins):
    made = make_gallery(store.path, store.nomenclature, *twins, None, seed=0)
    assert len(made["images"]) == QUERIES
    for query in made["images"]:
        assert query["rank"] == 1
        assert query["hits"][0] == {"id": query["id"], "cosine": 1.0, "own": True, "right": True}
        assert len(query["hits"]) == NEAREST


def test_hits_are_right_where_they_share_a_class_with_the_query(store, twins):
    made = make_gallery(store.path, store.nomenclature, *twins, None, seed=0)
    labels = read_labels(store.path, store.nomenclature, "test")
    verdicts = set()
    for query in made["images"]:
        for hit in query["hits"]:
            assert hit["right"] == bool(set(labels.of(query["id"])) & set(labels.of(hit["id"])))
            verdicts.add(hit["right"])
    assert verdicts == {True, False}


def test_a_name_finds_the_images_that_lie_along_its_vector(store):
    samples = store.split("test")
    values = samples.labels + 0.001
    made = make_gallery(
        store.path, store.nomenclature, embeddings(store, values), None, head_of(store, np.eye(len(store.classes))), 0
    )
    assert made["images"] == []
    for query in made["texts"]:
        carriers = int(samples.labels[:, store.classes.index(query["class"])].sum())
        assert query["samples"] == carriers
        assert [hit["right"] for hit in query["hits"]] == [rank < carriers for rank in range(NEAREST)]


def words_of(store, words, width):
    """Words that lie along the axis of the class that they stand for."""
    listed = [(name, word) for name, some in words.items() for word in some]
    vectors = np.eye(width, dtype=np.float32)[[store.classes.index(name) for name, _ in listed]]
    names = tuple(word for _, word in listed)
    head = Head(vectors, 100.0, names, tuple((f"a photo of {name}.",) for name in names))
    return Words(head, tuple(name for name, _ in listed))


def test_the_first_word_of_each_class_asks_for_images_of_that_class(store):
    samples = store.split("test")
    words = {"forest": ["trees", "woods"], "farm": ["crops"]}
    of_words = words_of(store, words, len(store.classes))
    sides = embeddings(store, samples.labels + 0.001), None, None, 0
    made = make_gallery(store.path, store.nomenclature, *sides, of_words)
    assert made["texts"] == make_gallery(store.path, store.nomenclature, *sides)["words"] == []
    assert [query["prompt"] for query in made["words"]] == ["a photo of trees.", "a photo of crops."]
    assert [query["class"] for query in made["words"]] == ["forest", "farm"]
    for query in made["words"]:
        carriers = int(samples.labels[:, store.classes.index(query["class"])].sum())
        assert query["samples"] == carriers
        assert [hit["right"] for hit in query["hits"]] == [rank < carriers for rank in range(NEAREST)]
        assert {hit["id"] for hit in query["hits"]} <= set(made["pictures"])


def test_the_page_counts_what_words_find_by_itself(tmp_path):
    stores, _ = make_data(tmp_path)
    make_parts(tmp_path, stores[0])
    opened = Store(stores[0])
    words = {"forest": ["trees", "woods"], "farm": ["crops"]}
    save_head(tmp_path / "words.npz", words_of(opened, words, 16).head)
    side = tmp_path / "embeddings" / "demo-vit@0.4" / "demo_scene.test.zarr" / "zarr.json"
    made = {"store": stores[0] / "zarr.json", "nomenclature": "osm-landuse-8", "seed": 0, "rgb": side}
    script = load_script("gallery")
    script.main(gallery=tmp_path / "g.json", words_head=tmp_path / "words.npz", words=words, **made)
    ((gallery,), _) = galleries([tmp_path / "g.json"], {}, Album(tmp_path / "figures"))
    assert [row.title for row in gallery.words] == ["“a photo of trees.”", "“a photo of crops.”"]
    right = sum(hit.right for row in gallery.words for hit in row.hits)
    assert "The words are not class names, and nothing was trained on them." in gallery.caption
    assert gallery.caption.endswith(f"samples of that class are right: {right} of {2 * NEAREST}.")
    table = next((tmp_path / "figures").glob("*.csv")).read_text(encoding="utf-8")
    assert table.count("a photo of crops.") == NEAREST
    script.main(gallery=tmp_path / "g.json", head=tmp_path / "heads" / "demo_scene.npz", words_head=None, **made)
    ((gallery,), _) = galleries([tmp_path / "g.json"], {}, Album())
    assert gallery.words == ()
    assert "words" not in gallery.caption


def test_every_picture_that_is_shown_is_there_once(store, twins):
    made = make_gallery(store.path, store.nomenclature, *twins, head_of(store, np.eye(8, 12)), seed=0)
    shown = {query["id"] for query in made["images"]}
    shown |= {hit["id"] for query in (*made["images"], *made["texts"]) for hit in query["hits"]}
    assert set(made["pictures"]) == set(made["labels"]) == shown
    assert all(uri.startswith("data:image/png;base64,") for uri in made["pictures"].values())


def test_sides_of_other_samples_are_refused(store, twins):
    rgb, student = twins
    other = dataclasses.replace(student, ids=student.ids[::-1])
    with pytest.raises(UserError, match="not of the same samples"):
        make_gallery(store.path, store.nomenclature, rgb, other, None, seed=0)


def test_the_same_seed_draws_the_same_queries_of_different_classes():
    labels = [("a",), ("a",), ("b",), (), ("c", "a"), ("b",)]
    rows = draw_queries(labels, seed=3, count=2)
    assert rows == draw_queries(labels, seed=3, count=2)
    assert not set(labels[rows[0]]) & set(labels[rows[1]])
    assert sorted(draw_queries(labels, seed=3, count=99)) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("copies", [2, 4])
def test_a_gallery_ranks_ties_against_the_query_as_recall_does(store, copies):
    values = np.random.default_rng(0).normal(size=(len(store.split("test")), 12))
    values = values[np.arange(len(values)) // copies * copies]
    sides = embeddings(store, values), embeddings(store, values, "ms-vit", "s2")
    ranks, _ = mutual_ranks(sides[0].embedding, sides[1].embedding)
    row_of = {str(name): row for row, name in enumerate(sides[0].ids)}
    made = make_gallery(store.path, store.nomenclature, *sides, None, seed=0)
    assert [query["rank"] for query in made["images"]] == [ranks[row_of[query["id"]]] for query in made["images"]]
    assert max(query["rank"] for query in made["images"]) == copies


# --- projections -----------------------------------------------------------------------------------------------------


def test_principal_axes_are_those_of_the_largest_variance():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(500, 4)) * [0.1, 5, 0.2, 1]
    _, axes, explained = principal_axes(rows)
    assert np.abs(axes[0]).argmax() == 1
    assert np.abs(axes[1]).argmax() == 3
    assert (axes[np.arange(2), np.abs(axes).argmax(axis=1)] > 0).all()
    assert explained[0] > explained[1] > 0
    assert explained.sum() <= 1


def test_gaps_are_distances_of_centroids_in_the_space_itself(store):
    n, width = len(store.split("test")), 6
    before = embeddings(store, np.tile(np.eye(width)[0], (n, 1)), "demo-vit@0")
    after = embeddings(store, np.tile(np.eye(width)[1], (n, 1)))
    student = embeddings(store, np.tile(np.eye(width)[2], (n, 1)), "ms-vit", "s2")
    head = head_of(store, np.tile(np.eye(width)[1], (len(store.classes), 1)))
    made = make_projection(before, after, student, head, Labels(store.classes, {}), seed=0)
    assert [group["kind"] for group in made["after"]] == ["rgb", "student", "text"]
    assert [group["gap"] for group in made["after"]] == [None, pytest.approx(2**0.5, abs=1e-3), 0.0]
    assert made["before"][1]["gap"] == pytest.approx(2**0.5, abs=1e-3)


def test_a_projection_without_a_student_has_images_and_names(store, twins):
    made = make_projection(twins[0], twins[0], None, head_of(store, np.eye(8, 12)), Labels(store.classes, {}), seed=0)
    assert made["student"] is None
    assert [group["kind"] for group in made["after"]] == ["rgb", "text"]
    assert len(made["after"][0]["points"]) == made["shown"] == made["samples"]


def test_encoders_of_different_spaces_are_refused(store, twins):
    narrow = embeddings(store, np.ones((len(store.split("test")), 5)))
    with pytest.raises(UserError, match="same samples and width"):
        make_projection(twins[0], narrow, None, head_of(store, np.eye(8, 12)), Labels(store.classes, {}), seed=0)


@pytest.mark.slow
def test_a_clip_without_students_has_a_gallery_of_names_and_a_projection(tmp_path):
    stores, _ = make_data(tmp_path)
    make_parts(tmp_path, stores[0])
    embedded = tmp_path / "embeddings"
    sides = [embedded / name / "demo_scene.test.zarr" / "zarr.json" for name in ("demo-vit@0", "demo-vit@0.4")]
    common = {"head": tmp_path / "heads" / "demo_scene.npz", "store": stores[0] / "zarr.json", "seed": 0}
    common |= {"nomenclature": "osm-landuse-8", "multispectral": []}
    load_script("gallery").main(rgb=sides[1], gallery=tmp_path / "g.json", **common)
    load_script("projection").main(zero_shot=sides[0], patched=sides[1], projection=tmp_path / "p.json", **common)
    ((gallery,), _) = galleries([tmp_path / "g.json"], {}, Album())
    assert gallery.images == ()
    assert len(gallery.texts) == 8
    ((_, space),) = projections([tmp_path / "p.json"], {}, Album())
    assert {row["series"] for row in json.loads(space.spec)["datasets"]["rows"]} == {"RGB images", "class names"}


# --- on the page -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_shows_the_galleries_of_the_best_students_one_of_each_data_set_first(tmp_path, monkeypatch):
    monkeypatch.setattr(report_spaces, "MOST_GALLERIES", 3)
    stores, _ = make_data(tmp_path)
    gallery, projection = make_parts(tmp_path, stores[0])
    made = read_json(gallery)
    paths = []
    for student in range(3):
        for dataset in ("demo_scene", "digits"):
            paths.append(tmp_path / f"{student}.{dataset}.json")
            one = made | {"encoder": f"s{student}", "dataset": dataset}
            paths[-1].write_text(json.dumps(one), encoding="utf-8")
    scores = {f"s{student}": student / 100 for student in range(3)}
    shown, left_out = galleries(paths, scores, Album(tmp_path / "figures"))
    assert len(shown) == left_out == 3
    assert [item.title for item in shown] == ["Demo scene, s2", "Handwritten digits, s2", "Demo scene, s1"]
    assert shown[0].files == tuple(f"figures/gallery-s2-demo-scene.{kind}" for kind in ("pdf", "png", "svg", "csv"))
    ((_, space),) = projections([projection], {}, Album())
    assert "RGB images to multispectral images" in space.alt
    points = [row for row in json.loads(space.spec)["datasets"]["rows"] if row["part"] == "point"]
    assert len(points) == 8 * 3 + 8 * 2
    assert space.values["distance to RGB images"].notna().all()
