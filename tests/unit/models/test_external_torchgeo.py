"""Encoders that TorchGeo builds; what needs a real TorchGeo is skipped where there is none."""

import copy
import importlib
import importlib.util

import pytest
import torch

from bandbridge.base.errors import UserError
from bandbridge.catalogue.encoders import encoder_content, facts_of
from bandbridge.models.external.fetch import fetch_encoder
from bandbridge.models.external.inputs import band_input
from bandbridge.models.external.load import load
from bandbridge.models.external.torchgeo import new_torchgeo, published

needs_torchgeo = pytest.mark.skipif(importlib.util.find_spec("torchgeo") is None, reason="TorchGeo is not installed")


def content_of(name, **values):
    return copy.deepcopy(encoder_content(name)) | values


@pytest.fixture
def no_torchgeo(monkeypatch):
    real = importlib.import_module

    def absent(name, package=None):
        if name.startswith("torchgeo"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)


@pytest.mark.usefixtures("no_torchgeo")
@pytest.mark.parametrize("checkpoint", [None, "mine.pth"])
def test_without_torchgeo_the_error_says_what_to_install(tmp_path, checkpoint):
    if checkpoint is not None:
        checkpoint = str(tmp_path / checkpoint)
        torch.save({}, checkpoint)
    with pytest.raises(UserError, match=r"encoder dofa-vit-b-16: .*built by TorchGeo, which.*pip install torchgeo"):
        fetch_encoder(content_of("dofa-vit-b-16"), tmp_path, tmp_path / "dofa", checkpoint)


@needs_torchgeo
@pytest.mark.parametrize("name", ["dofa-vit-b-16", "dofa-vit-l-16", "croma-base", "croma-large"])
def test_the_weights_of_the_catalogue_are_known_to_torchgeo(name):
    source = published(facts_of(content_of(name)))
    assert source.urls[0].startswith("https://")
    assert source.file in source.urls[0]


@needs_torchgeo
def test_dofa_embeds_as_torchgeos_own_with_the_wavelengths_of_its_bands(tmp_path):
    content = content_of("dofa-vit-b-16", architecture="dofa_small_patch16_224")
    facts = facts_of(content)
    torch.manual_seed(0)
    model = new_torchgeo(facts).eval()
    # As published: without the last norm, with a decoder's leftovers.
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("fc_norm.")}
    torch.save({**state, "mask_token": torch.zeros(1, 1, 512)}, tmp_path / "dofa.pth")
    fetch_encoder(content, tmp_path, tmp_path / "dofa", str(tmp_path / "dofa.pth"))
    encoder = load(tmp_path / "dofa")
    values = band_input(facts, torch.randint(0, 8000, (2, 9, 64, 64)), facts.bands)
    with torch.inference_mode():
        assert torch.equal(encoder.encode(values), model(values, list(facts.wavelengths)))


@needs_torchgeo
def test_croma_embeds_with_its_optical_half(tmp_path):
    content = content_of("croma-base")
    facts = facts_of(content)
    torch.manual_seed(0)
    model = new_torchgeo(facts).eval()
    parts = {"s2_encoder": model.s2_encoder.state_dict(), "s2_GAP_FFN": model.s2_GAP_FFN.state_dict()}
    torch.save({**parts, "s1_encoder": {"a": torch.zeros(1)}}, tmp_path / "croma.pt")
    fetch_encoder(content, tmp_path, tmp_path / "croma", str(tmp_path / "croma.pt"))
    encoder = load(tmp_path / "croma")
    values = band_input(facts, torch.randint(0, 8000, (2, 12, 64, 64)), facts.bands)
    with torch.inference_mode():
        assert torch.equal(encoder.encode(values), model(x_optical=values)["optical_GAP"])
        assert encoder.encode(values).shape == (2, 768)


@needs_torchgeo
def test_a_checkpoint_that_lacks_tensors_is_refused(tmp_path):
    content = content_of("dofa-vit-b-16", architecture="dofa_small_patch16_224")
    state = new_torchgeo(facts_of(content)).state_dict()
    del state["cls_token"]
    torch.save(state, tmp_path / "dofa.pth")
    with pytest.raises(UserError, match=r"does not fit TorchGeo's dofa_small_patch16_224: 1 missing \(cls_token\)"):
        fetch_encoder(content, tmp_path, tmp_path / "dofa", str(tmp_path / "dofa.pth"))


@needs_torchgeo
def test_an_unknown_architecture_is_named_with_its_like(tmp_path):
    content = content_of("dofa-vit-b-16", architecture="dofa_base_patch16")
    with pytest.raises(UserError, match="Did you mean 'dofa_base_patch16_224'"):
        new_torchgeo(facts_of(content))
