"""Configurations of runs that take patched CLIPs and aligned students from files."""

import pytest
from configs import config_with
from demo_runs import IN_PARALLEL, TWO_CLIPS, half

from bandbridge.base.errors import UserError
from bandbridge.config.checks import validate
from bandbridge.config.evaluation import Evaluation
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.networks import configured_precisions
from bandbridge.config.run import Run
from bandbridge.config.run_notes import run_notes

LOADED = {"clip": {"name": "ViT-B-32", "pretrained": "openai", "patched": "patched.pt"}}
ALIGNED = {"align": {"students": {"ms-vit": {"weights": "aligned.pt", "pretrained": "first.pth"}}}}
ONLY_ZERO = {"paint": {"alphas": [0], "select": {"criterion": "fixed", "alpha": 0}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([LOADED, TWO_CLIPS], r"clip\.patched lists 1 files for 2 names in clip\.name; list one for each"),
        ([{"clip": {"patched": "patched.pt"}}], r"clip\.pretrained is 'scratch', which trains another CLIP"),
        ([LOADED, ONLY_ZERO], r"paint\.alphas is \[0\]; add the alpha that it was patched at, or 1"),
        ([LOADED, IN_PARALLEL, {"paint": {"select": {"criterion": "fixed"}}}], r"set it to 'jointly'"),
        ([LOADED, {"paint": {"alphas": [0.5]}}], r"paint\.alphas lacks 0, the zero-shot model"),
        ([{"paint": {"alphas": [0, 0.5]}}], r"paint\.alphas lacks 1, the fine-tuned model"),
        ([{"paint": {"coefficients": "jointly"}}], r"paint\.coefficients is 'jointly'.*paint\.several is 'jointly'"),
    ],
)
def test_a_contradiction_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        validate(config_with(*changes))


def test_files_replace_trainings_and_what_these_would_read():
    config = validate(config_with(LOADED, ALIGNED, {"paint": {"alphas": [0, 0.5]}, "finetune": {"epochs": 1}}))
    run = Run(config)
    assert (run.patched_file("ViT-B-32"), run.student_file("ms-vit")) == ("patched.pt", "aligned.pt")
    assert (run.trained_students, run.students_by_file) == ([], ["ms-vit"])
    assert run.checked_first_weights("ms-vit") == run.first_weights("ms-vit") == []
    assert Evaluation(run).trainings() == []
    assert set(Evaluation(run).references()) == {"ViT-B-32@0.5", "ViT-B-32@selected", "ms-vit"}
    assert run.ends_of("ViT-B-32", half)["finetuned"] == [run.finetuned("ViT-B-32")]
    assert configured_precisions(config) == {config["embed"]["precision"]}
    notes = " ".join(run_notes(config))
    assert "ViT-B-32 at alpha 0.5 was not fine-tuned in this run: patched.pt." in notes
    assert "ms-vit was not aligned in this run: aligned.pt." in notes


def test_recipes_of_trainings_that_do_not_take_place_are_not_checked():
    wrong = {"finetune": {"augmentation": {"crop_scale": [1, 0.9]}}, "align": {"crop_scale": [1, 0.9]}}
    with pytest.raises(UserError, match=r"finetune\.augmentation\.crop_scale(.|\n)*align\.crop_scale"):
        validate(config_with(wrong))
    validate(config_with(wrong, LOADED, ALIGNED))


def test_absent_files_are_named_before_the_first_job(tmp_path):
    faults = absent_checkpoints(config_with(LOADED, ALIGNED))
    assert [fault.partition(";")[0] for fault in faults] == [
        "clip.patched: patched.pt not found",
        "align.students.ms-vit.weights: aligned.pt not found",
    ]
    (tmp_path / "page.pt").write_text("<html></html>")
    (fault,) = absent_checkpoints(
        config_with(LOADED | {"clip": LOADED["clip"] | {"patched": str(tmp_path / "page.pt")}})
    )
    assert fault.startswith(f"clip.patched: {tmp_path / 'page.pt'}")


def test_alpha_may_be_only_0():
    run = Run(validate(config_with(ONLY_ZERO)))
    assert run.ends("demo-clip") == []
    assert Evaluation(run).references() == {"ms-vit": {"gain": "demo-clip@0"}}
    assert [training["kind"] for training in Evaluation(run).trainings()] == ["clip", "align"]
    assert run_notes(run.config)[0] == "No CLIP is patched: paint.alphas has only 0."
