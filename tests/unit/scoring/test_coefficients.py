"""One coefficient per task patched in parallel: the search over them, and what it is judged by."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_store import load_script, make_store

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.metrics.resampled import headline_score
from bandbridge.models.clip import load_clip, new_clip, save_clip
from bandbridge.models.embed import sweep
from bandbridge.models.paint import add_task_vectors
from bandbridge.models.weights import load_weights, save_weights
from bandbridge.scoring.coefficients import objective, search
from bandbridge.scoring.selection import TOLERANCE
from bandbridge.store.dataset import Store
from bandbridge.store.heads import Head, save_head

GRID = [0.0, 0.25, 0.5, 1.0]


@settings(max_examples=50)
@given(tasks=st.integers(1, 3), seed=st.integers(0, 2**16), start=st.sampled_from(GRID))
def test_no_change_of_one_coefficient_improves_what_a_search_ends_at(tasks, seed, start):
    table = np.random.default_rng(seed).random((len(GRID),) * tasks)
    asked = []

    def value(point):
        asked.append(point)
        return float(table[tuple(GRID.index(coefficient) for coefficient in point)])

    best = search(value, (start,) * tasks, GRID, most=len(GRID) ** tasks)
    assert best.is_complete
    assert len(asked) == len(set(asked)) == len(best.tried)
    for task in range(tasks):
        for coefficient in GRID:
            point = (*best.coefficients[:task], coefficient, *best.coefficients[task + 1 :])
            assert best.tried[point] <= best.value + TOLERANCE


def test_a_search_tries_no_more_points_than_allowed_and_keeps_the_best_of_them():
    best = search(sum, (0.0, 0.0), GRID, most=3)
    assert (best.coefficients, len(best.tried), best.is_complete) == ((0.5, 0.0), 3, False)


def test_a_separable_objective_is_solved_from_anywhere():
    optimum = (0.25, 1.0, 0.0)
    best = search(lambda point: -float(np.square(np.subtract(point, optimum)).sum()), (0.7,) * 3, GRID, most=99)
    assert best.coefficients == optimum


def test_an_objective_is_the_rule_that_alpha_is_chosen_by():
    assert objective([0.4, 0.6], [], [], "fixed", 0.0) == pytest.approx(0.5)
    assert objective([0.4, 0.6], [0.9], [1.0], "mean", 0.0) == pytest.approx(0.7)
    assert objective([0.4, 0.6], [0.99], [1.0], "max_loss", 0.01) == pytest.approx(0.5)
    assert objective([0.4, 0.6], [0.9, 1.0], [1.0, 1.0], "max_loss", 0.01) == pytest.approx(-0.09)
    with pytest.raises(UserError, match="the validation score of a task is not defined"):
        objective([float("nan")], [], [], "mean", 0.0)


def test_the_script_scores_sums_of_task_vectors_as_a_sweep_would(tmp_path):
    store = make_store(tmp_path / "zarr", "demo_scene")
    torch.manual_seed(0)
    save_clip(new_clip("demo-vit"), tmp_path / "clip")
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ends.append(tmp_path / f"{seed}.safetensors")
        save_weights(ends[-1], new_clip("demo-vit").visual.state_dict(), {})
    classes = tuple(store.classes)
    vectors = np.random.default_rng(0).normal(size=(len(classes), 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    head = Head(vectors, 10.0, classes, ((),) * len(classes))
    save_head(tmp_path / "head.npz", head)
    for name, alpha in (("a", 0.5), ("b", 1.0)):
        write_json(tmp_path / f"{name}.json", {"alpha": alpha})
    task = {"nomenclature": store.nomenclature, "metric": "map"}
    load_script("search_coefficients").main(
        clip=tmp_path / "clip/open_clip_config.json",
        finetuned=ends,
        selected=[tmp_path / "a.json", tmp_path / "b.json"],
        heads=[tmp_path / "head.npz"] * 3,
        stores=[store.path / "zarr.json"] * 3,
        tasks=[task] * 3,
        alphas=["0", "0.5", "1"],
        select={"criterion": "mean", "max_loss": 0.01},
        most=3,
        recipe={"batch_size": 5, "precision": "float32"},
        coefficients=tmp_path / "coefficients.json",
        threads=1,
    )
    written = read_json(tmp_path / "coefficients.json")
    assert written["tried"][0]["coefficients"] == [0.5, 1.0]
    assert written["value"] == max(point["value"] for point in written["tried"])

    load_script("add_task_vectors").main(
        clip=tmp_path / "clip/open_clip_config.json",
        finetuned=ends,
        selected=[tmp_path / "coefficients.json"],
        weights=tmp_path / "sum.safetensors",
    )
    zero_shot = load_clip(tmp_path / "clip").visual.state_dict()
    mixed = add_task_vectors(zero_shot, [load_weights(end) for end in ends], written["coefficients"])
    for name, tensor in load_weights(tmp_path / "sum.safetensors").items():
        torch.testing.assert_close(tensor, mixed[name], rtol=0, atol=0)
    (embeddings,) = sweep(tmp_path / "clip", tmp_path / "sum.safetensors", [1.0], Store(store.path), ["val"], 5)
    unit = embeddings.embedding / np.linalg.norm(embeddings.embedding, axis=1, keepdims=True)
    score = headline_score("map", store.split("val").labels, unit @ vectors.T)
    assert written["value"] == pytest.approx(score, abs=1e-6)
