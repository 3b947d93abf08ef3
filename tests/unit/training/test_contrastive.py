"""Training a CLIP from scratch."""

import math

import numpy as np
import pytest
import torch
from small_store import load_script, make_store
from tiny import SCRATCH, MemoryStore, same_weights, tiny_clip

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Nomenclature, prompt_set, spoken
from bandbridge.models.clip import load_clip
from bandbridge.models.text_heads import build_head
from bandbridge.training.contrastive import Pretraining, pretrain
from bandbridge.training.losses import FrozenHead, contrastive_loss
from bandbridge.training.recipes import ScratchRecipe
from bandbridge.training.splits import store_source

CPU = torch.device("cpu")
NOMENCLATURE = Nomenclature("n", "N", ("a", "b", "c"), ("rivers", "sand", "forest"))
TEMPLATES = ["a photo of {}.", "{}."]


@pytest.fixture
def store():
    return MemoryStore(modality="rgb", kind="single", train=60)


def trained(store, seed=0, **changes):
    clip = tiny_clip()
    history = pretrain(clip, NOMENCLATURE, TEMPLATES, store, ScratchRecipe.from_config(SCRATCH | changes), seed, CPU)
    return clip, history


@pytest.mark.slow
def test_pictures_find_their_captions_after_training(store):
    clip, history = trained(store, epochs=25, batch_size=12, learning_rate=1e-2, shift=0.02)
    val = store.split("val")
    head = FrozenHead(build_head(clip, NOMENCLATURE, prompt_set(TEMPLATES)), CPU)
    with torch.inference_mode():
        logits = head(clip.visual(clip.inputs(torch.from_numpy(val.pixels).permute(0, 3, 1, 2))))
    assert (logits.argmax(dim=1) == torch.from_numpy(val.labels).argmax(dim=1)).all()
    assert history[-1]["val_loss"] < history[1]["loss"]


@pytest.mark.slow
def test_one_seed_gives_one_model(store):
    one, again, other = (trained(store, seed)[0].model.state_dict() for seed in (0, 0, 1))
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_a_batch_embeds_each_caption_once_and_loses_nothing_by_it(store):
    clip = tiny_clip()
    stage = Pretraining(
        clip, [["rivers", "a river"], ["sand"] * 2, ["forest"] * 2], store, ScratchRecipe.from_config(SCRATCH)
    )
    batch = store_source(store, "train").read(np.arange(10))
    asked = []
    encode = clip.model.encode_text
    clip.model.encode_text = lambda tokens: asked.append(len(tokens)) or encode(tokens)
    loss = stage(batch)["loss"]
    assert asked == [3]
    classes = batch.labels.argmax(dim=1)
    captions = encode(clip.tokenizer([["rivers", "sand", "forest"][index] for index in classes]))
    images = clip.visual(clip.inputs(batch.pixels["rgb"].permute(0, 3, 1, 2)))
    expected = contrastive_loss(images, captions, classes, clip.model.logit_scale.exp())
    torch.testing.assert_close(loss, expected)


def test_the_scale_of_the_logits_stays_below_clips_limit(store):
    clip = tiny_clip()
    with torch.no_grad():
        clip.model.logit_scale.fill_(math.log(100) + 0.1)
    pretrain(clip, NOMENCLATURE, TEMPLATES, store, ScratchRecipe.from_config(SCRATCH), 0, CPU)
    assert clip.logit_scale <= 100.001


@pytest.mark.parametrize("change", [{"label_kind": "multi"}, {"classes": ("a", "c", "b")}])
def test_captions_need_one_known_class_a_picture(store, change):
    vars(store).update(change)
    with pytest.raises(UserError, match="one class"):
        trained(store)


@pytest.mark.slow
def test_the_script_writes_the_clip_and_its_history_into_one_directory(tmp_path):
    digits = make_store(tmp_path, "digits", {"train": 10}, side=8)
    directory = tmp_path / "clip" / "demo-vit"
    recipe = SCRATCH | {"epochs": 1}
    load_script("scratch_clip").main(
        digits.path / "zarr.json",
        "demo-vit",
        recipe,
        TEMPLATES,
        "digits-10",
        spoken("digits-10"),
        directory / "open_clip_config.json",
        directory / "history.jsonl",
        0,
        1,
    )
    torch.use_deterministic_algorithms(False)
    assert load_clip(directory).embed_dim == 128
    assert "learning_rate" in (directory / "history.jsonl").read_text()
