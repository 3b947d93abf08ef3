"""Patched image encoders and aligned students that a run takes from files."""

import pytest
import torch
from tiny import tiny_clip

from bandbridge.base.errors import UserError
from bandbridge.models.clip import save_clip
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.students import Student, StudentSpec, save_student
from bandbridge.models.weights import save_weights
from bandbridge.use.by_file import image_encoder_by_file, student_by_file

OPTIONS = {"img_size": 32, "depth": 1, "embed_dim": 32, "num_heads": 2}
BANDS = ("B02", "B03", "B04")
KEY = "align.students.x"


def spec(**changes):
    values = {"backbone": "vit_tiny_patch16_224", "options": OPTIONS, "bands": BANDS, "scaling": "reflectance"}
    return StudentSpec.from_config({**values, "image_size": 32, **changes})


def names_of_the_authors(clip):
    return {name: value for name, value in clip.model.state_dict().items() if not name.startswith("transformer.")}


@pytest.mark.parametrize("form", ["without text", "whole", "image encoder", "folder"])
def test_an_image_encoder_is_read_in_every_form(tmp_path, form):
    patched, path = tiny_clip(seed=3), tmp_path / "patched.pt"
    if form == "without text":
        torch.save({"model": names_of_the_authors(patched), "optimizer": {"state": {}}}, path)
    elif form == "whole":
        torch.save({"state_dict": {f"module.{k}": v.half() for k, v in patched.model.state_dict().items()}}, path)
    elif form == "image encoder":
        save_weights(path, patched.visual.state_dict(), {})
    else:
        save_clip(patched, path)
    weights = image_encoder_by_file(path, tiny_clip(seed=9))
    expected = patched.visual.state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor.half().float() if form == "whole" else tensor, rtol=0, atol=0)


def test_an_image_encoder_of_another_architecture_is_refused(tmp_path):
    torch.save({"model": names_of_the_authors(tiny_clip(embed_dim=4))}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt does not fit the image encoder of .*proj is .*clip\.patched takes"):
        image_encoder_by_file(tmp_path / "x.pt", tiny_clip())


def test_a_folder_of_a_clip_with_another_activation_is_refused(tmp_path):
    save_clip(tiny_clip(quick_gelu=True), tmp_path / "x")
    with pytest.raises(UserError, match=r"its quick_gelu is True, that of .* is False; it was patched from another"):
        image_encoder_by_file(tmp_path / "x", tiny_clip())


def test_an_unpatched_image_encoder_is_remarked(tmp_path, capsys):
    save_weights(tmp_path / "x.safetensors", tiny_clip().visual.state_dict(), {})
    image_encoder_by_file(tmp_path / "x.safetensors", tiny_clip())
    output = capsys.readouterr()
    assert "before patching" in output.out + output.err


@pytest.mark.parametrize("layer", ["head.", "head.proj."])
def test_a_student_without_a_description_takes_that_of_the_configuration(tmp_path, layer):
    student = Student(spec(), 8)
    state = {f"visual.{name.replace('projection.', layer)}": value for name, value in student.state_dict().items()}
    torch.save({"model": {**state, "classification_head.weight": torch.ones(2, 8)}}, tmp_path / "x.pt")
    loaded, precision = student_by_file(tmp_path / "x.pt", spec(options={**OPTIONS, "drop_path_rate": 0.2}), 8, KEY)
    assert precision == ""
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(UserError, match=r"embeddings have 8 values, those of the CLIP \(clip\.name\) 16"):
        student_by_file(tmp_path / "x.pt", spec(), 16, KEY)
    with pytest.raises(UserError, match=r"no statistics of bands"):
        student_by_file(tmp_path / "x.pt", spec(scaling="standardise"), 8, KEY)
    with pytest.raises(UserError, match=r"x\.pt does not fit the student"):
        student_by_file(tmp_path / "x.pt", spec(options={**OPTIONS, "depth": 2}), 8, KEY)


def test_a_student_of_a_run_keeps_its_statistics_and_must_be_as_configured(tmp_path):
    statistics = BandStatistics((1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    save_student(tmp_path / "model.safetensors", Student(spec(scaling="standardise"), 8, statistics), "clip", "float32")
    loaded, precision = student_by_file(tmp_path, spec(scaling="standardise"), 8, KEY)
    assert (loaded.statistics, precision) == (statistics, "float32")
    with pytest.raises(UserError, match=r"has scaling standardise; align\.students\.x\.scaling is reflectance\. Set"):
        student_by_file(tmp_path, spec(), 8, KEY)
    with pytest.raises(UserError, match=r"has bands \['B02', 'B03', 'B04'\]; align\.students\.x\.bands is"):
        student_by_file(tmp_path, spec(scaling="standardise", bands=BANDS[::-1]), 8, KEY)
