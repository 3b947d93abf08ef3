"""The method's authors' own files are models: a CLIP without text, a student with its linear layer."""

import numpy as np
import pytest
import torch
from tiny import tiny_clip

import bandbridge
from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import STUDENT_BANDS
from bandbridge.models.clip import save_clip
from bandbridge.models.students import Student, StudentSpec
from bandbridge.use import published


@pytest.mark.parametrize(("prefix", "layer"), [("", "head.proj."), ("visual.", "head.")])
def test_the_student_is_known_by_its_tensors(tmp_path, prefix, layer):
    spec = StudentSpec("vit_tiny_patch16_224", {}, STUDENT_BANDS, "reflectance", 224)
    student = Student(spec, 8).eval()
    named = {f"{prefix}{name.replace('projection.', layer)}": value for name, value in student.state_dict().items()}
    torch.save({"model": named, "optimizer": {"state": {}}}, tmp_path / "aligned.pth")
    model = bandbridge.load(tmp_path / "aligned.pth", device="cpu", precision="float32")
    assert model.bands == STUDENT_BANDS
    pixels = np.random.default_rng(0).integers(0, 4000, (1, 13, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = student(student.inputs(torch.from_numpy(pixels), STUDENT_BANDS))
    expected = torch.nn.functional.normalize(expected, dim=-1).numpy()
    np.testing.assert_allclose(model.encode_images(pixels), expected, atol=1e-5)
    with pytest.raises(UserError, match=r"has no text encoder.*--text-model"):
        model.encode_text("a lake")
    save_clip(tiny_clip(), tmp_path / "clip")
    with_text = bandbridge.load(tmp_path / "aligned.pth", device="cpu", text=tmp_path / "clip")
    assert with_text.encode_text("a lake").shape == (8,)


def test_the_clip_is_known_without_its_text_encoder(tmp_path, monkeypatch):
    clip = tiny_clip(seed=3)
    visual = {f"visual.{name}": value for name, value in clip.visual.state_dict().items()}
    torch.save({"model": {**visual, "logit_scale": torch.tensor(4.6)}}, tmp_path / "patched.pt")
    monkeypatch.setattr(published, "ARCHITECTURES", {(16, 8, 4): "tiny-quickgelu"})
    monkeypatch.setattr(published, "new_clip", lambda name: tiny_clip(seed=9))
    model = bandbridge.load(tmp_path / "patched.pt", device="cpu", precision="float32")
    assert model.bands == ("B04", "B03", "B02")
    picture = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(clip.visual(clip.inputs(picture)), dim=-1).numpy()
    np.testing.assert_allclose(model.encode_pixels(picture.numpy(), ("red", "green", "blue")), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"something": torch.ones(2)}, "neither a CLIP .* nor an aligned student"),
        ({"visual.conv1.weight": torch.ones(7, 3, 5, 5)}, "none of ViT-B-32, ViT-B-16"),
        ({"head.proj.weight": torch.ones(8, 4)}, "trunk.patch_embed.proj.weight is missing"),
        ({"trunk.patch_embed.proj.weight": torch.ones(192, 13, 16, 16)}, "linear layer, is missing"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, state, message):
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=message):
        bandbridge.load(tmp_path / "x.pth")
