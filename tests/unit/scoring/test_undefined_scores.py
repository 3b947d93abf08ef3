"""A score that is NaN chooses nothing in silence: a sentence names the model and the metric."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import STUDENT, tiny_head

from bandbridge.base.errors import UserError
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.students import StudentSpec, new_student, save_student
from bandbridge.models.weights import save_weights
from bandbridge.reporting.page.models import drawn_models
from bandbridge.reporting.tables.model import rank_value
from bandbridge.scoring.probes import probe_rows
from bandbridge.scoring.zero_shot import Draws, Labelled, zero_shot
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import save_head
from bandbridge.training.loop import headlines

NAN = float("nan")
DRAWS = Draws(10, 0.95, 0)
PROBE = {"C": [0.01, 1.0], "max_iterations": 100}


def labelled(split, labels, embedding=None):
    """Samples of a multi-label data set, embedded by a student."""
    n = len(labels)
    attrs = {
        "encoder": "ms-vit",
        "clip": "demo-vit",
        "alpha": None,
        "dataset": "lakes",
        "modality": "s2",
        "split": split,
    }
    if embedding is None:
        embedding = np.random.default_rng(n).normal(size=(n, 8)).astype(np.float32)
    ids = np.array([f"{split}{number}" for number in range(n)])
    embeddings = Embeddings(embedding, ids, attrs | {"store_digest": "x"})
    return Labelled(embeddings, labels, ("a", "b", "c"), "multi", "map", np.arange(n))


def mixed(n):
    return (np.arange(n)[:, None] % np.array([2, 3, 4]) == 0).astype(np.uint8)


def test_a_head_with_a_vector_that_is_no_number_is_not_written(tmp_path):
    head = tiny_head()
    weights = head.weights.copy()
    weights[1, 0] = NAN
    with pytest.raises(UserError, match=r"head\.npz: the text encoder gives no finite vector for 1 of 3 classes \(b; "):
        save_head(tmp_path / "head.npz", replace(head, weights=weights))
    with pytest.raises(UserError, match="logit_scale is inf"):
        save_head(tmp_path / "head.npz", replace(head, logit_scale=math.inf))
    assert not list(tmp_path.iterdir())


def test_zero_shot_scores_that_are_no_numbers_are_refused_with_the_model_and_the_metric():
    embedding = np.ones((12, 8), np.float32)
    embedding[5:7] = NAN
    part = labelled("test", mixed(12), embedding)
    with pytest.raises(UserError, match=r"ms-vit on lakes \(split test\): map is not defined: 2 of 12 samples"):
        zero_shot([part], tiny_head(), "demo", "lakes-3", "plain", DRAWS)


def test_a_probe_whose_c_nothing_chose_says_so(capsys):
    train, test = labelled("train", mixed(24)), labelled("test", mixed(12))
    defined = labelled("val", mixed(12))
    probe_rows(train, defined, test, PROBE, "demo", "lakes-3", DRAWS)
    assert "Warning" not in capsys.readouterr().out
    undefined = labelled("val", np.zeros((12, 3), np.uint8))
    first, *_ = probe_rows(train, undefined, test, PROBE, "demo", "lakes-3", DRAWS)
    assert math.isnan(first.value)
    assert (
        "Warning: map of the probe of ms-vit on lakes (split val) is not defined for any C, so none is the best; the "
        "smallest, 0.01, is used."
    ) in capsys.readouterr().out


@pytest.mark.parametrize("metric", ["map", "accuracy", "balanced_accuracy"])
def test_validation_on_scores_that_are_no_numbers_is_undefined(metric):
    labels = torch.eye(3)
    logits = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    assert headlines({"": [(metric, logits, labels)]}) == {f"val_{metric}": 1.0}
    logits[0, 0] = NAN  # which argmax would take, and be right
    assert headlines({"": [(metric, logits, labels)]}) == {f"val_{metric}": None}


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_weights_that_diverged_are_not_written(tmp_path, value):
    weights = {"a": torch.ones(3), "b": torch.tensor([1.0, value])}
    with pytest.raises(UserError, match=r"w\.safetensors: not written, for NaN or infinity in 1 of 2 tensors \(b\)"):
        save_weights(tmp_path / "w.safetensors", weights, {})
    assert not list(tmp_path.iterdir())


def test_large_numbers_whose_sum_overflows_are_written(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.full((4,), 6e4).half(), "b": torch.full((4,), 3e38)}, {})


@pytest.mark.parametrize("scores", [[0.5, NAN, 0.9, 0.7], [NAN, 0.9, 0.7, 0.5], [0.9, 0.7, 0.5, NAN]])
def test_an_undefined_score_is_never_among_the_best(scores):
    names = {name: name for name in "abcd"}
    series = pd.Series(scores, index=list(names))
    best = drawn_models(series, names, most=3)
    assert best == [name for name in names if not math.isnan(series[name])]
    assert sorted(scores, key=rank_value)[1:] == [0.5, 0.7, 0.9]


def test_a_student_is_the_same_bytes_from_save_to_save(tmp_path):
    """Also where its metadata were given in another order, and hold more than ASCII."""
    options = STUDENT["options"]
    turned = dict(reversed(options.items()))
    statistics = BandStatistics((0.5,) * 5, (1.0,) * 5)
    torch.manual_seed(0)
    student = new_student(StudentSpec.from_config(STUDENT), 8, statistics)
    same = new_student(StudentSpec.from_config(STUDENT | {"options": turned}), 8, statistics)
    same.load_state_dict(student.state_dict())
    contents = set()
    for one in [student, same] * 8:  # the library's own order changes from one file to the next
        save_student(tmp_path / "model.safetensors", one, "démo", "float32 (as configured)\n")
        contents.add((tmp_path / "model.safetensors").read_bytes())
    assert len(contents) == 1
