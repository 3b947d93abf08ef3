"""Networks that cannot be built are named before a run, and asked for once."""

from pathlib import Path

import pytest
import yaml

from bandbridge.catalogue.datasets import merged
from bandbridge.models import model_checks
from bandbridge.models.model_checks import answer, model_faults

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
STUDENT = {
    "bands": ["B02", "B03", "B04"],
    "scaling": "standardise",
    "image_size": 32,
    "options": {},
    "backbone": "resnet18",
    "pretrained": None,
}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"backbone": "resnet188"}, "Unknown model (resnet188). Did you mean 'resnet18'?"),
        ({"options": {"depht": 2}}, "unexpected keyword argument 'depht'"),
        ({"backbone": "vit_tiny_patch16_224"}, "cannot take images of 32 pixels"),
        ({"backbone": "vit_tiny_patch16_224", "options": {"img_size": 32, "num_heads": 5}}, "divisible"),
    ],
)
def test_a_student_that_timm_cannot_make_is_named(changes: dict, part: str):
    ((fault,),) = answer([{"key": "align.students.mine", "student": {**STUDENT, **changes}}])
    assert fault.startswith("align.students.mine: ")
    assert part in fault


def test_a_student_that_timm_can_make_passes():
    assert answer([{"key": "align.students.mine", "student": STUDENT}]) == [[]]


def test_weights_that_open_clip_does_not_have_are_named():
    asked = [{"key": "clip.pretrained", "clip": "ViT-B-32", "tag": tag} for tag in ("opnai", "laion2b_s34b_b79k")]
    (fault,), nothing = answer(asked)
    assert "'opnai' is neither a file nor weights of ViT-B-32" in fault
    assert "Did you mean 'openai'?" in fault
    assert nothing == []


def test_plain_networks_are_not_asked_for(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(model_checks, "_answers", lambda asked: pytest.fail(f"asked for {asked}"))
    openai = merged(DEMO, {"clip": {"name": "ViT-B/32-quickgelu", "pretrained": "openai"}})
    assert model_faults(DEMO, tmp_path) == model_faults(openai, tmp_path) == []


def test_what_was_found_right_is_not_asked_for_again(tmp_path: Path, monkeypatch):
    asked: list[dict] = []
    monkeypatch.setattr(model_checks, "_answers", lambda new: asked.extend(new) or [[] for _ in new])
    config = merged(DEMO, {"align": {"students": {"ms-vit": {"backbone": "resnet18", "options": {}}}}})
    for _ in range(2):
        assert model_faults(config, tmp_path / "memory") == []
    assert len(asked) == 1


def test_what_was_found_wrong_is_asked_for_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(model_checks, "_answers", lambda new: [["wrong"] for _ in new])
    config = merged(DEMO, {"align": {"students": {"ms-vit": {"backbone": "resnet81", "options": {}}}}})
    assert model_faults(config, tmp_path) == model_faults(config, tmp_path) == ["wrong"]
