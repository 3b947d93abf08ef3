"""Multispectral students."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from tiny import BANDS, STUDENT, MemorySplit, MemoryStore, band_input, same_weights

from bandbridge.base.errors import UserError
from bandbridge.models import students
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.students import StudentSpec, band_statistics, load_student, new_student, save_student
from bandbridge.models.weights import load_metadata, save_weights

STATISTICS = BandStatistics((1000.0, 1100.0, 1200.0, 2000.0, 0.0), (100.0, 200.0, 300.0, 400.0, 1.0))


def spec(**changes):
    return StudentSpec.from_config(STUDENT | changes)


def test_a_student_embeds_stored_pixels():
    pixels = torch.from_numpy(MemoryStore().split("train").pixels[:3])
    student = new_student(spec(), 8, STATISTICS).eval()
    values = student.inputs(pixels, BANDS)
    assert values.shape == (3, 5, 16, 16)
    expected = band_input(pixels, BANDS, STUDENT["bands"], 16, "standardise", STATISTICS)
    assert torch.equal(values, expected)
    assert student(values).shape == (3, 8)


def test_a_student_is_rebuilt_from_its_file_alone(tmp_path):
    student = new_student(spec(), 8, STATISTICS).eval()
    save_student(tmp_path / "model.safetensors", student, clip="tiny", precision="float32")
    loaded = load_student(tmp_path / "model.safetensors")
    assert loaded.spec == student.spec
    assert loaded.statistics == STATISTICS
    assert same_weights(loaded.state_dict(), student.state_dict())
    values = torch.randn(2, 5, 16, 16)
    assert torch.equal(loaded(values), student(values))
    assert not loaded.training
    assert load_metadata(tmp_path / "model.safetensors")["clip"] == "tiny"


def test_the_file_may_travel_without_the_backbones_checkpoint(tmp_path):
    backbone = new_student(spec(), 8, STATISTICS).trunk.state_dict()
    save_weights(tmp_path / "backbone.safetensors", backbone, {})
    pretrained = new_student(spec(pretrained=str(tmp_path / "backbone.safetensors")), 8, STATISTICS)
    save_student(tmp_path / "model.safetensors", pretrained, clip="tiny", precision="float32")
    (tmp_path / "backbone.safetensors").unlink()
    assert same_weights(load_student(tmp_path / "model.safetensors").trunk.state_dict(), backbone)


def test_a_file_of_something_else_is_refused(tmp_path):
    save_weights(tmp_path / "model.safetensors", {"a": torch.zeros(1)}, {"clip": "tiny"})
    with pytest.raises(UserError, match="describes no student"):
        load_student(tmp_path / "model.safetensors")


def test_a_pretrained_backbone_may_bring_a_classifier(tmp_path):
    torch.manual_seed(1)
    backbone = new_student(spec(), 8, STATISTICS).trunk.state_dict()
    torch.save({"model": backbone | {"head.weight": torch.zeros(3, 16)}}, tmp_path / "moco.pth")
    network = new_student(spec(pretrained=str(tmp_path / "moco.pth")), 8, STATISTICS)
    assert same_weights(network.trunk.state_dict(), backbone)


@pytest.mark.parametrize("changes", [{"backbone": "vit_tinny"}, {"options": {"img_sise": 16}}])
def test_what_timm_cannot_make_is_explained(changes):
    with pytest.raises(UserError, match="backbone"):
        new_student(spec(**changes), 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ["VV", "VH"], "scaling": "reflectance"}, "VV, VH are decibels.*'standardise'"),
        ({"widen_rgb": True}, "widen_rgb is true, but pretrained is null"),
    ],
)
def test_students_that_could_not_learn_are_not_made(changes, message):
    with pytest.raises(UserError, match=message):
        new_student(spec(**changes), 8, STATISTICS)


def test_a_file_of_before_there_were_modalities_and_fills_is_still_loaded(tmp_path):
    student = new_student(spec(), 8, STATISTICS).eval()
    old = {name: STUDENT[name] for name in ("backbone", "options", "bands", "scaling", "image_size", "pretrained")}
    description = {"student": old, "statistics": asdict(STATISTICS), "embed_dim": 8}
    save_weights(
        tmp_path / "old.safetensors", student.state_dict(), {"clip": "t", "bandbridge": json.dumps(description)}
    )
    loaded = load_student(tmp_path / "old.safetensors")
    assert loaded.spec == student.spec
    assert (loaded.spec.modality, loaded.spec.widen_rgb, loaded.spec.fill) == (None, False, "zero")


def test_every_field_of_a_student_travels_in_its_file(tmp_path):
    chosen = spec(modality="s2", fill="mean", scaling="reflectance")
    save_student(tmp_path / "model.safetensors", new_student(chosen, 8, STATISTICS), clip="tiny", precision="float32")
    assert load_student(tmp_path / "model.safetensors").spec == chosen


def sentinel_2(bands, value=1000):
    return torch.full((2, len(bands), 16, 16), value, dtype=torch.int32)


def test_lacking_bands_are_zero_after_scaling_and_named_once(capsys):
    student = new_student(spec(), 8, STATISTICS)
    for _ in range(2):
        values = student.inputs(sentinel_2(("B04", "B03")), ("B04", "B03"))
    assert values[:, :, 0, 0].tolist() == 2 * [pytest.approx([0.0, -0.5, 0.0, 0.0, 0.0])]
    assert capsys.readouterr().out == "The data lack B02, B08, which the student takes: filled with 'zero'.\n"


def test_b10_may_be_absent_without_a_word(capsys):
    new_student(spec(), 8, STATISTICS).inputs(sentinel_2(BANDS), BANDS)
    assert capsys.readouterr().out == ""


def test_lacking_reflectances_may_be_the_bands_mean():
    student = new_student(spec(fill="mean", scaling="reflectance"), 8, STATISTICS)
    values = student.inputs(sentinel_2(("B04", "B03")), ("B04", "B03"))
    assert values[0, :, 5, 5].tolist() == pytest.approx([0.1, 0.1, 0.12, 0.2, 0.0])


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_lacking_bands_standardise_to_zero_by_either_fill(fill):
    student = new_student(spec(fill=fill), 8, STATISTICS)
    assert student.inputs(sentinel_2(("B04",)), ("B04",))[:, 1:].count_nonzero() == 0


def test_statistics_are_needed_to_standardise_and_to_fill_with_means():
    needed = [
        spec(scaling=s, fill=f).needs_statistics for s in ("standardise", "reflectance") for f in ("zero", "mean")
    ]
    assert needed == [True, True, False, True]


@pytest.mark.parametrize(
    ("changes", "bands", "message"),
    [
        ({"fill": "error"}, BANDS, "B10 is missing"),
        ({"bands": ["B04", "green"]}, ("B04", "grren"), "green is missing.*Did you mean 'grren'"),
        ({}, ("VV", "VH"), "none of them"),
    ],
)
def test_bands_that_must_not_be_absent_are_named(changes, bands, message):
    with pytest.raises(UserError, match=message):
        spec(**changes).find(bands)


def test_a_radar_student_takes_decibels_standardised():
    student = new_student(spec(bands=["VV", "VH"]), 8, BandStatistics((-12.0, -20.0), (4.0, 5.0)))
    values = student.inputs(torch.full((1, 2, 16, 16), -10.0), ("VH", "VV"))
    assert values[0, :, 3, 3].tolist() == [0.5, 2.0]
    assert student(values).shape == (1, 8)


def test_an_rgb_student_sees_three_bands_in_its_order():
    student = new_student(spec(bands=["B04", "B03", "B02"], scaling="reflectance"), 8)
    pixels = torch.tensor([2000, 3000, 4000, 9000]).view(1, 4, 1, 1).expand(1, 4, 16, 16)
    assert student.inputs(pixels, BANDS)[0, :, 0, 0].tolist() == pytest.approx([0.4, 0.3, 0.2])
    assert student.trunk.patch_embed.proj.weight.shape[1] == 3


def test_what_was_loaded_is_told_in_one_line(tmp_path, capsys):
    backbone = new_student(spec(), 8, STATISTICS).trunk.state_dict()
    other = {"module.momentum_encoder.norm.weight": torch.zeros(16), "module.predictor.0.weight": torch.zeros(1)}
    base = {f"module.base_encoder.{name}": value for name, value in backbone.items()}
    torch.save({"state_dict": base | other, "arch": "vit_tiny"}, tmp_path / "moco.pth.tar")
    new_student(spec(pretrained=str(tmp_path / "moco.pth.tar")), 8, STATISTICS)
    assert capsys.readouterr().out == (
        f"moco.pth.tar: {len(backbone)} tensors loaded (names under 'state_dict.base_encoder.'); 2 not used "
        "(state_dict.momentum_encoder, state_dict.predictor); new: projection.weight, projection.bias.\n"
    )


def test_statistics_are_those_of_all_pixels(monkeypatch):
    monkeypatch.setattr(students, "SAMPLES_AT_A_TIME", 4)
    pixels = MemoryStore().split("train").pixels
    statistics = band_statistics(MemorySplit(pixels, np.zeros((len(pixels), 1))), BANDS, ("B04", "B10", "B02"))
    values = pixels.astype(np.float64)
    np.testing.assert_allclose(statistics.mean, [values[:, 2].mean(), 0, values[:, 0].mean()], rtol=1e-12)
    np.testing.assert_allclose(statistics.std, [values[:, 2].std(), 1, values[:, 0].std()], rtol=1e-9)


def test_a_constant_band_standardises_to_zeros():
    pixels = np.full((3, 1, 4, 4), 7, dtype=np.uint16)
    statistics = band_statistics(MemorySplit(pixels, np.zeros((3, 1))), ("B02",), ("B02",))
    assert statistics == BandStatistics((7.0,), (1.0,))
