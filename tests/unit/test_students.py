"""Multispectral students."""

import numpy as np
import pytest
import torch
from tiny import BANDS, STUDENT, MemorySplit, MemoryStore, same_weights

from bandbridge import students, views
from bandbridge.errors import UserError
from bandbridge.students import StudentSpec, band_statistics, load_student, new_student, save_student
from bandbridge.views import BandStatistics
from bandbridge.weights import load_metadata, save_weights

STATISTICS = BandStatistics((1000.0, 1100.0, 1200.0, 2000.0, 0.0), (100.0, 200.0, 300.0, 400.0, 1.0))


def spec(**changes):
    return StudentSpec.from_config(STUDENT | changes)


def test_a_student_embeds_stored_pixels():
    pixels = torch.from_numpy(MemoryStore().split("train").pixels[:3])
    student = new_student(spec(), 8, STATISTICS).eval()
    values = student.inputs(pixels, BANDS)
    assert values.shape == (3, 5, 16, 16)
    expected = views.band_input(pixels, BANDS, STUDENT["bands"], 16, "standardise", STATISTICS)
    assert torch.equal(values, expected)
    assert student(values).shape == (3, 8)


def test_a_student_is_rebuilt_from_its_file_alone(tmp_path):
    student = new_student(spec(), 8, STATISTICS).eval()
    save_student(tmp_path / "model.safetensors", student, clip="tiny")
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
    save_student(tmp_path / "model.safetensors", pretrained, clip="tiny")
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
    found = new_student(spec(pretrained=str(tmp_path / "moco.pth")), 8, STATISTICS)
    assert same_weights(found.trunk.state_dict(), backbone)


def test_a_backbone_that_does_not_fit_is_refused_with_the_names(tmp_path):
    backbone = new_student(spec(), 8, STATISTICS).trunk.state_dict()
    del backbone["norm.weight"]
    backbone |= {"extra": torch.zeros(1), "patch_embed.proj.weight": torch.zeros(16, 3, 8, 8)}
    torch.save(backbone, tmp_path / "moco.pth")
    with pytest.raises(UserError, match=r"norm\.weight.*extra.*patch_embed\.proj\.weight \(16, 3, 8, 8\)"):
        new_student(spec(pretrained=str(tmp_path / "moco.pth")), 8, STATISTICS)


@pytest.mark.parametrize("changes", [{"backbone": "vit_tinny"}, {"options": {"img_sise": 16}}])
def test_what_timm_cannot_make_is_explained(changes):
    with pytest.raises(UserError, match="backbone"):
        new_student(spec(**changes), 8)


def test_statistics_are_those_of_all_pixels(monkeypatch):
    monkeypatch.setattr(students, "SAMPLES_AT_A_TIME", 4)
    pixels = MemoryStore().split("train").pixels
    found = band_statistics(MemorySplit(pixels, np.zeros((len(pixels), 1))), BANDS, ("B04", "B10", "B02"))
    values = pixels.astype(np.float64)
    np.testing.assert_allclose(found.mean, [values[:, 2].mean(), 0, values[:, 0].mean()], rtol=1e-12)
    np.testing.assert_allclose(found.std, [values[:, 2].std(), 1, values[:, 0].std()], rtol=1e-9)


def test_a_constant_band_standardises_to_zeros():
    pixels = np.full((3, 1, 4, 4), 7, dtype=np.uint16)
    found = band_statistics(MemorySplit(pixels, np.zeros((3, 1))), ("B02",), ("B02",))
    assert found == BandStatistics((7.0,), (1.0,))
