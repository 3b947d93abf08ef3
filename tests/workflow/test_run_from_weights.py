"""Runs that evaluate models by file, in place of training any."""

import shutil
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from clones import SMALL, Clone

import bandbridge
from bandbridge.catalogue.sensors import STUDENT_BANDS
from bandbridge.models.clip import load_clip
from bandbridge.models.students import Student, StudentSpec
from bandbridge.use.export import export

pytestmark = pytest.mark.slow
TRAININGS = {"scratch_clip", "finetune", "align", "check_first_weights"}


def clone_with(finished: Clone, folder: Path, changes: dict[str, Any]) -> Clone:
    """A clone with the finished run's data and zero-shot CLIP, and nothing else of it."""
    clone = finished.copy(folder)
    shutil.move(clone.root / "results" / "small", clone.root / "weights")
    shutil.rmtree(clone.root / ".snakemake")
    clip = {"pretrained": "weights/clip/demo-vit"}
    clone.configure({**changes, "run": "again", "clip": {**clip, **changes.get("clip", {})}})
    return clone


def test_a_run_from_exported_weights_has_the_metrics_of_the_run_that_trained_them(finished_run: Clone, tmp_path: Path):
    chosen = SMALL["paint"]["select"]["alpha"]
    changes = {
        "clip": {"patched": "exported/patched"},
        "paint": {"alphas": [0, chosen], "select": {"criterion": "fixed", "alpha": chosen}},
        "align": {"students": {"ms-vit": {"weights": "exported/aligned"}}},
    }
    clone = clone_with(finished_run, tmp_path / "clone", changes)
    for name, model in (("patched", "paint/demo-vit.scene_crop"), ("aligned", "align/ms-vit")):
        source = finished_run.root / "results" / "small" / model
        export(bandbridge.load(source, device="cpu", precision="float32"), clone.root / "exported" / name)
    planned = clone.jobs()
    assert not TRAININGS & set(planned)
    assert {"patched_by_file", "aligned_by_file"} <= set(planned)  # before alpha is chosen
    ran = clone.run()
    assert {"patched_by_file", "aligned_by_file", "report"} <= set(ran)
    trained = pandas.read_csv(clone.root / "weights" / "metrics.csv")
    again = pandas.read_csv(clone.root / "results" / "again" / "metrics.csv")
    kept = trained[trained["encoder"].isin(again["encoder"])]
    assert set(again["encoder"]) == {"demo-vit@0", f"demo-vit@{chosen:g}", "ms-vit"}
    keys = [name for name in again.columns if name not in ("run", "value", "ci_low", "ci_high")]
    first, second = (table.drop(columns="run").sort_values(keys, ignore_index=True) for table in (kept, again))
    pandas.testing.assert_frame_equal(first, second, check_exact=True)
    page = (clone.root / "results/again/report/index.html").read_text()
    assert "was not fine-tuned in this run: exported/patched" in page


def test_checkpoints_in_the_authors_form_end_in_the_tables(finished_run: Clone, tmp_path: Path):
    """A CLIP without its text encoder and a student with its linear layer, {"model": ...} each, with random weights."""
    options = {"img_size": 32, "patch_size": 16, "depth": 1, "embed_dim": 32, "num_heads": 2}
    facts = {"backbone": "vit_tiny_patch16_224", "options": options, "image_size": 32, "scaling": "reflectance"}
    changes = {
        "clip": {"patched": "theirs/patched.pt"},
        "paint": {"alphas": [0, 1], "select": {"criterion": "fixed", "alpha": 1}},
        "align": {"students": {"ms-vit": {**facts, "bands": list(STUDENT_BANDS), "weights": "theirs/aligned.pt"}}},
        "evaluate": {"linear_probe": None, "knn": None, "words": None},
    }
    clone = clone_with(finished_run, tmp_path / "clone", changes)
    completed = clone.snakemake("--cores", "1")
    assert completed.returncode
    for key in ("clip.patched: theirs/patched.pt", "align.students.ms-vit.weights: theirs/aligned.pt"):
        assert f"{key} not found; copy the checkpoint there" in completed.stdout + completed.stderr

    torch.manual_seed(0)
    clip = load_clip(clone.root / "weights" / "clip" / "demo-vit").model.state_dict()
    patched = {
        name: value + 0.01 * torch.randn_like(value)
        for name, value in clip.items()
        if not name.startswith("transformer.")
    }
    student = Student(StudentSpec(facts["backbone"], options, STUDENT_BANDS, "reflectance", 32), 128).state_dict()
    aligned = {f"visual.{name.replace('projection.', 'head.')}": value for name, value in student.items()}
    rest = {"classification_head.weight": torch.ones(3, 128), "token_embedding.weight": torch.ones(9, 64)}
    optimiser = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}
    (clone.root / "theirs").mkdir()
    torch.save({"model": patched, "optimizer": optimiser}, clone.root / "theirs/patched.pt")
    torch.save({"model": aligned | rest, "optimizer": optimiser}, clone.root / "theirs/aligned.pt")
    assert not TRAININGS & set(clone.run("results/again/tables"))
    table = pandas.read_csv(clone.root / "results/again/tables/classification.csv")
    assert list(table["model"]) == [
        "Zero-shot (alpha = 0)",
        "Fine-tuned and patched (alpha = 1)",
        "Aligned (ms-vit)",
    ]
    metrics = pandas.read_csv(clone.root / "results/again/metrics.csv")
    assert metrics.query("task == 'retrieval'").encoder.unique().tolist() == ["ms-vit"]
