"""CLIPs and checkpoints that cannot be used are refused before the first job."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from configs import config_with

from bandbridge.base.errors import UserError
from bandbridge.catalogue.encoders import load_encoder_facts
from bandbridge.config import clip_support
from bandbridge.config.checks import validate
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.resources import clip_architecture


def configured(**clip: Any) -> dict[str, Any]:
    return config_with({"clip": clip})


def test_what_is_plainly_no_checkpoint_is_found_out_before_the_first_job(tmp_path: Path):
    page = tmp_path / "weights.pt"
    page.write_text("<!DOCTYPE html><title>Sign in</title>")
    config = configured(pretrained=str(page))
    config["align"]["students"]["ms-vit"]["pretrained"] = str(tmp_path)
    config["evaluate"]["encoders"] = [{"name": "remoteclip-vit-b-32", "checkpoint": str(page)}]
    clip, student, encoder = absent_checkpoints(config)
    assert clip.startswith(f"clip.pretrained: {page} (37 bytes) is a web page")
    assert student.startswith(f"align.students.ms-vit.pretrained: {tmp_path} is a directory")
    assert encoder.startswith(f"evaluate.encoders: checkpoint of remoteclip-vit-b-32: {page} (37 bytes) is a web page")


def saved_clip(directory: Path, model_cfg: dict) -> Path:
    """A model directory of open_clip, as far as it is looked at before the first job."""
    directory.mkdir()
    (directory / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
    (directory / "open_clip_model.safetensors").touch()
    return directory


def test_a_directory_says_itself_what_it_is(tmp_path: Path):
    config = configured(name="my-clip")
    model_cfg = clip_architecture("ViT-B-32")
    config["clip"]["pretrained"] = str(saved_clip(tmp_path / "clip", model_cfg))
    assert validate(config)
    config["clip"]["pretrained"] = str(saved_clip(tmp_path / "coca", model_cfg | {"multimodal_cfg": {}}))
    with pytest.raises(UserError, match=r"clip\.pretrained: .*coca/open_clip_config\.json: a CoCa.* is not supported"):
        validate(config)
    (tmp_path / "siglip").mkdir()
    (tmp_path / "siglip" / "config.json").write_text('{"model_type": "siglip"}')
    config["clip"]["pretrained"] = str(tmp_path / "siglip")
    with pytest.raises(UserError, match=r"model_type is 'siglip'; of transformers' models only 'clip'.*: webli"):
        validate(config)
    config["clip"]["pretrained"] = str(tmp_path)
    with pytest.raises(UserError, match=r"open_clip_config\.json is missing"):
        validate(config)


@pytest.mark.parametrize(
    ("name", "pretrained", "fault"),
    [
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "a CoCa, which .* is not supported"),
        ("coca_base", "weights.pt", "a CoCa, which .* is not supported"),
        ("ViT-B-16-SigLIP", "scratch", "a SigLIP is trained with a loss per pair"),
        ("ViT-L-14-CLIPA", "scratch", "its tokenizer is transformers' bert-base-uncased"),
    ],
)
def test_an_architecture_that_cannot_be_used_is_refused_by_name(name: str, pretrained: str, fault: str):
    with pytest.raises(UserError, match=rf"clip\.name is '{name}': {fault}"):
        validate(configured(name=name, pretrained=pretrained))


def test_a_folder_that_is_called_scratch_is_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path)
    config = configured(pretrained="scratch")
    assert validate(config)
    assert absent_checkpoints(config) == []


def test_a_siglip_with_published_weights_is_supported():
    assert validate(configured(name="ViT-B-16-SigLIP", pretrained="webli"))


def test_an_encoder_of_an_architecture_that_cannot_be_used_is_refused(tmp_path: Path):
    facts = load_encoder_facts("remoteclip-vit-b-32")
    assert not list(clip_support.unsupported_encoder(facts))
    (fault,) = clip_support.unsupported_encoder(replace(facts, architecture="coca_ViT-L-14"))
    assert fault.startswith("workflow/encoders/remoteclip-vit-b-32.yaml: architecture is 'coca_ViT-L-14': a CoCa")


# --- folders of transformers ------------------------------------------------------------------------------------------


def folder(directory: Path, config: dict, preprocessing: dict | None = None) -> Path:
    """A folder as transformers saves a CLIP, but for its weights, of which there is only the name."""
    (directory / "config.json").write_text(json.dumps(config))
    if preprocessing is not None:
        (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    weights = directory / "model.safetensors"
    weights.touch()
    return weights


def test_a_folder_of_transformers_says_its_activation_and_preprocessing(tmp_path: Path):
    halves = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "gelu"}}
    weights = folder(tmp_path, {"model_type": "clip", **halves}, {"image_mean": [0, 0, 0], "do_resize": True})
    assert clip_support.weights_in(tmp_path) == weights
    described = clip_support.description_beside(weights)
    assert (described.quick_gelu, described.preprocessing) == (False, {"mean": [0, 0, 0]})


def test_an_activation_that_is_left_out_is_transformers_default(tmp_path: Path):
    weights = folder(tmp_path, {"model_type": "clip"})
    described = clip_support.description_beside(weights)
    assert (described.quick_gelu, described.preprocessing) == (True, {})


def test_halves_of_different_activations_are_refused(tmp_path: Path):
    weights = folder(tmp_path, {"model_type": "clip", "text_config": {"hidden_act": "gelu"}})
    with pytest.raises(UserError, match=r"config\.json: hidden_act is gelu and quick_gelu; expected .* the same"):
        clip_support.description_beside(weights)


@pytest.mark.parametrize("text", ["not JSON", "[1, 2]", '{"architectures": ["Other"]}'])
def test_a_config_of_something_else_describes_no_clip(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: not a JSON file|open_clip_config\.json is missing"):
        clip_support.weights_in(tmp_path)


def test_a_folder_without_weights_names_those_looked_for(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UserError, match=r"holds no weights; looked for model\.safetensors, model\.safetensors\.index"):
        clip_support.weights_in(tmp_path)
