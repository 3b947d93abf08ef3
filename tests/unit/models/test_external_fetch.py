"""Weights of encoders other than our own: fetched, checked, and brought into a directory."""

import copy
import hashlib
import io
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from http_server import Answer
from tiny import same_weights, tiny_clip

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, read_json
from bandbridge.catalogue.encoders import MARKER, encoder_content, facts_of
from bandbridge.models.backbones import new_backbone
from bandbridge.models.clip import load_clip, save_clip
from bandbridge.models.external.fetch import fetch_encoder
from bandbridge.models.external.load import load
from bandbridge.models.external.weights import bring_weights

TINY_VIT = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}


pytestmark = pytest.mark.usefixtures("tiny_architectures")


def tiny_content(**values):
    """A RemoteCLIP of the tiny architecture, with other values laid over it."""
    content = copy.deepcopy(encoder_content("remoteclip-vit-b-32")) | {"name": "tiny-clip", "architecture": "tiny"}
    content["input"] = {**content["input"], "size": 16}
    return content | values


def tiny_timm(**values):
    content = copy.deepcopy(encoder_content("ssl4eo-dino-vit-s-16"))
    content["input"].update(size=16, resize_to=18)
    return content | {"architecture": "vit_tiny_patch16_224", "options": TINY_VIT} | values


def served(server, file, content, **facts):
    return {"file": file, "urls": [server.url(file)], "sha256": None, "unpinned": True, **facts}


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.slow
def test_weights_are_downloaded_once_and_what_they_were_is_kept(server, tmp_path, capsys):
    state = tiny_clip().model.state_dict()
    bytes_ = saved(state)
    server.serve("tiny.pt", bytes_)
    content = tiny_content(weights=served(server, "tiny.pt", bytes_))
    for directory in ("a", "b"):
        fetch_encoder(content, tmp_path / "archives", tmp_path / directory)
        assert same_weights(load_clip(tmp_path / directory).model.state_dict(), state)
    assert server.asked == ["/tiny.pt"]
    digest = hashlib.sha256(bytes_).hexdigest()
    about = read_json(tmp_path / "a" / MARKER)
    assert about["files"] == [{"file": "tiny.pt", "sha256": digest}]
    assert about["encoder"] == content
    assert f"Warning: there is no published checksum of tiny.pt; encoder.json records its sha256, {digest}" in (
        capsys.readouterr().out
    )


@pytest.mark.attack("weights")
def test_weights_without_a_checksum_need_the_users_consent(server, tmp_path):
    server.serve("tiny.pt", b"weights")
    content = tiny_content(weights=served(server, "tiny.pt", b"", unpinned=False))
    with pytest.raises(UserError, match=r"encoder tiny-clip: nobody states a checksum of tiny\.pt.*unpinned: true"):
        fetch_encoder(content, tmp_path / "archives", tmp_path / "tiny")
    tagged = copy.deepcopy(encoder_content("dinov2-vit-b-14"))
    with pytest.raises(UserError, match=r"nobody states a checksum of vit_base_patch14_dinov2\.lvd142m"):
        fetch_encoder(tagged, tmp_path / "archives", tmp_path / "tiny")
    assert server.asked == []


def test_weights_that_the_user_copied_need_no_consent(tmp_path):
    (tmp_path / "tiny.pt").write_bytes(b"weights")
    weights = {"file": "tiny.pt", "manual": "Ask for it.", "sha256": None}
    path, files = bring_weights(facts_of(tiny_content(weights=weights)), tmp_path)
    assert path == tmp_path / "tiny.pt"
    assert files == [{"file": "tiny.pt", "sha256": checksum(path)}]


@pytest.mark.attack("weights")
def test_another_file_than_the_first_is_refused_where_nobody_states_a_checksum(server, tmp_path):
    server.serve("tiny.pt", b"weights")
    facts = facts_of(tiny_content(weights=served(server, "tiny.pt", b"")))
    path, _ = bring_weights(facts, tmp_path)
    path.unlink()
    server.serve("tiny.pt", b"other weights")
    with pytest.raises(UserError, match=r"tiny\.pt: sha256 is .*; its first copy had .*or delete .*first\.sha256"):
        bring_weights(facts, tmp_path)


@pytest.mark.attack("weights")
def test_a_checkpoint_in_a_zip_that_expands_beyond_measure_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "sky.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("epoch_20.pt", bytes(150_000_000))
    content = tiny_content(weights={"file": "sky.zip", "manual": "Ask.", "sha256": None, "member": "epoch_20.pt"})
    with pytest.raises(UserError, match="expands more than 1000-fold"):
        fetch_encoder(content, tmp_path, tmp_path / "tiny")


@pytest.mark.slow
def test_a_download_that_broke_off_is_continued(server, tmp_path):
    bytes_ = saved(tiny_clip().model.state_dict())
    half = len(bytes_) // 2
    server.serve("tiny.pt", bytes_, Answer(cut=half), etag='"one"')
    fetch_encoder(tiny_content(weights=served(server, "tiny.pt", bytes_)), tmp_path / "archives", tmp_path / "tiny")
    assert server.ranges() == [None, f"bytes={half}-"]
    assert load(tmp_path / "tiny").name == "tiny-clip"


@pytest.mark.attack("weights")
def test_another_file_than_stated_is_refused(server, tmp_path):
    server.serve("tiny.pt", b"other")
    content = tiny_content(weights=served(server, "tiny.pt", b"", sha256="0" * 64))
    with pytest.raises(UserError, match=r"encoder tiny-clip: tiny\.pt could not be downloaded(.|\n)*sha256 is"):
        fetch_encoder(content, tmp_path / "archives", tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("right", [True, False])
def test_the_checksum_in_a_files_name_is_compared(server, tmp_path, capsys, right):
    bytes_ = saved(new_backbone("vit_tiny_patch16_224", 13, TINY_VIT).state_dict())
    file = f"vit-{hashlib.sha256(bytes_).hexdigest()[:8] if right else '00000000'}.pth"
    server.serve(file, bytes_)
    content = tiny_timm(weights=served(server, file, bytes_))
    if right:
        fetch_encoder(content, tmp_path / "archives", tmp_path / "vit")
        assert "Warning" not in capsys.readouterr().out
    else:
        with pytest.raises(UserError, match=r"by its name it begins with 00000000\. Delete it"):
            fetch_encoder(content, tmp_path / "archives", tmp_path / "vit")


@pytest.mark.slow
def test_a_checkpoint_is_taken_out_of_its_zip_with_numpy_numbers_beside_it(server, tmp_path):
    state = tiny_clip().model.state_dict()
    inside = saved({"epoch": 20, "best": np.float64(0.5), "state_dict": {f"module.{k}": v for k, v in state.items()}})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Sky/params.txt", "name: tiny")
        archive.writestr("Sky/checkpoints/epoch_20.pt", inside)
    server.serve("sky.zip", packed.getvalue())
    weights = served(server, "sky.zip", b"", member="epoch_20.pt")
    fetch_encoder(tiny_content(weights=weights), tmp_path / "archives", tmp_path / "out" / "sky")
    assert same_weights(load_clip(tmp_path / "out" / "sky").model.state_dict(), state)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sky"]
    with pytest.raises(UserError, match=r"expected one epoch_30\.pt in it, found 0; it has Sky/params\.txt, Sky/check"):
        fetch_encoder(tiny_content(weights={**weights, "member": "epoch_30.pt"}), tmp_path / "archives", tmp_path / "x")


@pytest.mark.attack("weights")
def test_a_pickled_program_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    torch.save({"state_dict": {}, "harm": Harm()}, tmp_path / "harm.pt")
    with pytest.raises(
        UserError, match=r"harm\.pt contains .*open, not only tensors and plain values; reading such objects runs code"
    ):
        fetch_encoder(tiny_content(), tmp_path, tmp_path / "tiny", checkpoint=str(tmp_path / "harm.pt"))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_local_checkpoint_embeds_as_open_clip_itself_does(tmp_path, quick_gelu):
    model = tiny_clip(quick_gelu=quick_gelu).model
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    fetch_encoder(tiny_content(quick_gelu=quick_gelu), tmp_path, tmp_path / "tiny", str(tmp_path / "mine.pt"))
    encoder = load(tmp_path / "tiny")
    assert isinstance(model, open_clip.CLIP)
    values = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(encoder.encode(values), model.encode_image(values), atol=1e-6)
        other = tiny_clip(quick_gelu=not quick_gelu).model.encode_image(values)
    assert not torch.allclose(encoder.encode(values), other, atol=1e-4)
    assert encoder.facts.checkpoint == str(tmp_path / "mine.pt")
    assert read_json(tmp_path / "tiny" / MARKER)["files"][0]["sha256"] == checksum(tmp_path / "mine.pt")


@pytest.mark.slow
def test_a_local_open_clip_directory_brings_its_own_activation(tmp_path):
    save_clip(tiny_clip(quick_gelu=True), tmp_path / "mine")
    fetch_encoder(tiny_content(quick_gelu=False), tmp_path, tmp_path / "tiny", str(tmp_path / "mine"))
    assert load(tmp_path / "tiny").clip.model_cfg["quick_gelu"]


@pytest.mark.slow
def test_a_size_that_is_not_the_models_is_refused(tmp_path):
    torch.save(tiny_clip().model.state_dict(), tmp_path / "mine.pt")
    content = tiny_content(input={**tiny_content()["input"], "size": 24})
    with pytest.raises(UserError, match=r"input\.size is 24, but tiny takes images of 16"):
        fetch_encoder(content, tmp_path, tmp_path / "tiny", str(tmp_path / "mine.pt"))
    assert not (tmp_path / "tiny" / MARKER).exists()


@pytest.mark.parametrize("name", ["llama3-ms-clip-base", "ssl4eo-moco-vit-s-16", "satmae-vit-l-8"])
def test_a_directory_is_no_checkpoint_of_an_encoder_of_bands(tmp_path, name):
    with pytest.raises(UserError, match=f"encoder {name}: .*, a directory; only an open_clip model of RGB images"):
        fetch_encoder(encoder_content(name), tmp_path, tmp_path / "out", str(tmp_path))


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save({"visual.conv1.weight": torch.zeros(4, 3, 8, 8)}, tmp_path / "mine.pt")
    with pytest.raises(UserError, match=r"encoder tiny-clip: .*mine\.pt does not fit tiny"):
        fetch_encoder(tiny_content(), tmp_path, tmp_path / "tiny", str(tmp_path / "mine.pt"))


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"encoder tiny-clip: checkpoint is .*absent\.pt, which does not exist"):
        fetch_encoder(tiny_content(), tmp_path, tmp_path / "tiny", str(tmp_path / "absent.pt"))


@pytest.mark.slow
def test_a_tag_that_timm_does_not_know_is_named_with_those_it_has(tmp_path):
    content = copy.deepcopy(encoder_content("dinov2-vit-b-14")) | {"weights": {"tag": "lvd143m", "unpinned": True}}
    with pytest.raises(UserError, match=r"weights\.tag is 'lvd143m'; timm has vit_base_patch14_dinov2\.lvd142m"):
        fetch_encoder(content, tmp_path, tmp_path / "dino")


def test_another_model_in_the_same_folder_is_noted_in_the_encoders_description(tmp_path):
    """Encodings name the description as their input, and Snakemake compares what is in it."""
    descriptions = []
    for seed in (0, 1):
        save_clip(tiny_clip(seed), tmp_path / "own")
        fetch_encoder(tiny_content(), tmp_path / "archives", tmp_path / "encoder", str(tmp_path / "own"))
        descriptions.append(read_json(tmp_path / "encoder" / MARKER))
    assert descriptions[0] != descriptions[1]
