"""CLIPs whose text side is the transformers library's: built, trained against, saved, moved and loaded."""

import importlib.util
import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from small_store import load_script, make_store
from tiny import MODEL_CFG, SCRATCH, MemoryStore, draws, same_weights
from tiny_tower import KINDS, SENTENCES, architecture, make_tower, sentence_pieces

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum
from bandbridge.catalogue.datasets import Nomenclature, prompt_set, spoken
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.metrics.classification import logits_from_head
from bandbridge.models import clip as clips
from bandbridge.models import clip_text
from bandbridge.models.clip import CONFIG_FILE, WEIGHTS_FILE, fetch_clip, load_clip, new_clip, save_clip
from bandbridge.models.paint import patch
from bandbridge.models.text_heads import build_head, embed_sentences
from bandbridge.models.weights import save_weights
from bandbridge.training.checkpoints import Requeue, Saving
from bandbridge.training.contrastive import Pretraining, pretrain
from bandbridge.training.losses import FrozenHead
from bandbridge.training.recipes import ScratchRecipe
from bandbridge.training.splits import store_source

CPU = torch.device("cpu")
NOMENCLATURE = Nomenclature("n", "N", ("a", "b", "c"), ("river", "sand", "forest"))
TEMPLATES = ["a photo of a {}.", "{}"]


@pytest.fixture(autouse=True)
def architectures(tmp_path_factory, monkeypatch):
    """workflow/clip_configs with 'tiny-lit' in it, whose text tower is `tiny-tower`."""
    directory = tmp_path_factory.mktemp("workflow")
    (directory / "clip_configs").mkdir()
    (directory / "clip_configs" / "tiny-lit.json").write_text(json.dumps(architecture()))
    monkeypatch.setattr(clips, "WORKFLOW", directory)
    clips._open_clip.cache_clear()
    yield
    clips._open_clip.cache_clear()


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return make_tower(tmp_path_factory.mktemp("towers") / "tiny-tower")


@pytest.fixture
def lit(tower):
    torch.manual_seed(0)
    return new_clip("tiny-lit", tower)


@pytest.fixture
def store():
    return MemoryStore(modality="rgb", kind="single", train=60)


def by_transformers(folder, sentences):
    """Mean over the tokens of a sentence alone, without padding, normalised (Reimers and Gurevych 2019, section 3)."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for sentence in sentences:
        tokens = tokenizer(sentence, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**tokens).last_hidden_state[0].mean(dim=0))
    return F.normalize(torch.stack(rows), dim=-1)


def test_a_tower_embeds_sentences_as_transformers_and_a_mean_over_tokens_do(lit, tower):
    embedding = embed_sentences(lit, SENTENCES)
    expected = by_transformers(tower, SENTENCES)
    assert embedding.dtype == torch.float32
    assert (expected @ expected.T).fill_diagonal_(0).max() < 0.999  # the sentences are told apart
    torch.testing.assert_close(embedding, expected, atol=1e-6, rtol=0)


def test_a_longer_sentence_than_the_context_is_cut_not_refused(lit):
    short, long = (" ".join(["river"] * count) for count in (22, 500))  # with its two ends, 24 tokens
    torch.testing.assert_close(*embed_sentences(lit, [short, long]))


def test_a_tower_is_locked_and_float32(lit):
    assert lit.text_is_locked
    assert {parameter.dtype for parameter in lit.model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in lit.visual.parameters())
    assert not any(parameter.requires_grad for parameter in lit.model.text.parameters())


def assert_same_clip(found, expected, pictures):
    assert same_weights(found.model.state_dict(), expected.model.state_dict())
    assert torch.equal(embed_sentences(found, SENTENCES), embed_sentences(expected, SENTENCES))
    values = expected.inputs(pictures)
    assert torch.equal(found.visual(found.inputs(pictures)), expected.visual(values))


def test_a_saved_clip_with_a_tower_is_loaded_wherever_it_was_moved(lit, tmp_path, monkeypatch, pictures):
    save_clip(lit, tmp_path / "lit")
    moved = shutil.move(tmp_path / "lit", tmp_path / "elsewhere" / "mine")
    monkeypatch.chdir(tmp_path)
    assert_same_clip(load_clip(moved), lit, pictures)
    save_clip(load_clip(moved), tmp_path / "again")
    for file in (CONFIG_FILE, WEIGHTS_FILE, "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (moved / file).read_bytes()
    assert not any(str(tmp_path.parent) in path.read_text() for path in moved.glob("*.json"))


def test_open_clip_itself_loads_it_from_within_its_directory_or_told_where_the_tower_is(
    lit,
    tmp_path,
    monkeypatch,
    pictures,
):
    save_clip(lit, tmp_path / "lit")
    source = f"local-dir:{tmp_path / 'lit'}"
    text_cfg = open_clip.get_model_config(source)["text_cfg"] | {"hf_model_name": str(tmp_path / "lit")}
    with_path = open_clip.create_model_from_pretrained(source, return_transform=False, text_cfg=text_cfg)
    monkeypatch.chdir(tmp_path / "lit")
    within, preprocess = open_clip.create_model_from_pretrained("local-dir:.")
    tokens = open_clip.get_tokenizer("local-dir:.")(SENTENCES)
    for model in (within, with_path):
        assert same_weights(model.state_dict(), lit.model.state_dict())
        embedding = model.eval().encode_text(tokens, normalize=True)
        torch.testing.assert_close(embedding, embed_sentences(lit, SENTENCES), atol=1e-6, rtol=0)
    assert preprocess.transforms[0].size == lit.image_size


def test_a_patched_model_keeps_the_tower(lit, tmp_path, pictures):
    save_clip(lit, tmp_path / "lit")
    other = {name: tensor + 0.1 for name, tensor in lit.visual.state_dict().items()}
    save_weights(tmp_path / "tuned.safetensors", other, {})
    save_clip(patch(load_clip(tmp_path / "lit"), tmp_path / "tuned.safetensors", 0.5), tmp_path / "patched")
    patched = load_clip(shutil.move(tmp_path / "patched", tmp_path / "moved"))
    assert torch.equal(embed_sentences(patched, SENTENCES), embed_sentences(lit, SENTENCES))
    torch.testing.assert_close(patched.visual.conv1.weight, lit.visual.conv1.weight + 0.05)


# --- training against a locked tower ----------------------------------------------------------------------------------


def trained(tower, store, seed=0, saving=None, **changes):
    torch.manual_seed(seed)
    clip = new_clip("tiny-lit", tower)
    recipe = ScratchRecipe.from_config(SCRATCH | changes)
    history = pretrain(clip, NOMENCLATURE, TEMPLATES, store, recipe, seed, CPU, saving=saving)
    return clip, history


@pytest.mark.slow
def test_the_image_encoder_learns_to_find_the_towers_captions_and_the_tower_stays_as_it_is(tower, store, lit):
    before = {name: tensor.clone() for name, tensor in lit.model.state_dict().items()}
    clip, history = trained(tower, store, epochs=25, batch_size=12, learning_rate=1e-2, shift=0.02)
    after = clip.model.state_dict()
    text = [name for name in before if name.startswith("text.")]
    assert len(text) > 20
    assert all(torch.equal(before[name], after[name]) for name in text)
    assert not any(torch.equal(before[name], after[name]) for name in before if "resblocks" in name)
    assert clip.logit_scale != lit.logit_scale
    assert history[-1]["val_loss"] < history[1]["loss"]
    val = store.split("val")
    head = FrozenHead(build_head(clip, NOMENCLATURE, prompt_set(TEMPLATES)), CPU)
    with torch.inference_mode():
        logits = head(clip.visual(clip.inputs(torch.from_numpy(val.pixels).permute(0, 3, 1, 2))))
    assert (logits.argmax(dim=1) == torch.from_numpy(val.labels).argmax(dim=1)).all()


@pytest.mark.slow
def test_one_seed_gives_one_image_encoder(tower, store):
    one, again, other = (trained(tower, store, seed)[0].visual.state_dict() for seed in (0, 0, 1))
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_the_loss_is_that_of_a_tower_asked_at_each_step_and_it_is_asked_once(lit, store):
    captions = [["a river", "river"], ["sand"] * 2, ["forest"] * 2]
    recipe = ScratchRecipe.from_config(SCRATCH)
    asked = []
    encode = lit.model.encode_text
    lit.model.encode_text = lambda tokens: asked.append(len(tokens)) or encode(tokens)
    locked = Pretraining(lit, captions, store, recipe)
    assert sum(asked) == 6
    batch = replace(store_source(store, "train").read(np.arange(10)), draws=draws(10, 3))
    loss = locked(batch)["loss"]
    loss.backward()
    assert sum(asked) == 6
    gradient = lit.visual.proj.grad.clone()
    lit.model.zero_grad()
    lit.model.text.requires_grad_(True)
    assert not lit.text_is_locked
    expected = Pretraining(lit, captions, store, recipe)(replace(batch, draws=draws(10, 3)))["loss"]
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, lit.visual.proj.grad)


@pytest.mark.slow
def test_a_stopped_training_resumes_from_a_checkpoint_of_the_image_side_alone(tower, store, tmp_path, monkeypatch):
    whole, history = trained(tower, store, epochs=4)
    saving = Saving(tmp_path / "run", minutes=60, keep=1, identity="a run")
    forward, calls = Pretraining.forward, []

    def stopped(self, batch):
        calls.append(batch)
        if len(calls) == 15:
            signal.raise_signal(signal.SIGTERM)
        return forward(self, batch)

    monkeypatch.setattr(Pretraining, "forward", stopped)
    with pytest.raises(Requeue):
        trained(tower, store, epochs=4, saving=saving)
    monkeypatch.setattr(Pretraining, "forward", forward)
    (path,) = (tmp_path / "run").glob("*.pt")
    resumed, resumed_history = trained(tower, store, epochs=4, saving=saving)
    assert resumed_history == history
    assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
    image_side = sum(tensor.nbytes for tensor in whole.visual.state_dict().values())
    assert path.stat().st_size < 3 * image_side + 40_000  # weights and two moments


def test_the_script_trains_against_the_tower_that_the_facts_state(tmp_path, monkeypatch, tower):
    files = [tower / name for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")]
    stated = load_text_tower("all-minilm-l6-v2")
    facts = {"title": "Tiny", "files": {path.name: checksum(path) for path in files}}
    script = load_script("scratch_clip")
    monkeypatch.setattr(script, "load_text_tower", lambda name: type(stated)(**vars(stated) | facts | {"name": name}))
    digits = make_store(tmp_path, "digits", {"train": 10}, side=8)
    directory = tmp_path / "clip" / "tiny-lit"

    def run():
        script.main(
            digits.path / "zarr.json",
            "tiny-lit",
            SCRATCH | {"epochs": 1},
            TEMPLATES,
            "digits-10",
            spoken("digits-10"),
            directory / CONFIG_FILE,
            directory / "history.jsonl",
            0,
            1,
            tower=files,
            text="tiny-tower",
        )
        torch.use_deterministic_algorithms(False)

    run()
    torch.testing.assert_close(
        embed_sentences(load_clip(directory), SENTENCES), by_transformers(tower, SENTENCES), atol=1e-6, rtol=0
    )
    facts["files"]["model.safetensors"] = "0" * 64
    with pytest.raises(UserError, match=r"model\.safetensors is another file: its sha256 is .* expected 0000"):
        run()


# --- CLIPs of others, with towers of every kind -----------------------------------------------------------------------


def published(folder, kind):
    """A CLIP's directory as others publish it: named after a hub, with its tower's config.json and tokenizer beside."""
    tower = make_tower(folder.parent / f"{folder.name}-tower", kind)
    model_cfg = architecture(kind, str(tower))
    torch.manual_seed(1)
    model = open_clip.CustomTextCLIP(
        **{**model_cfg, "text_cfg": model_cfg["text_cfg"] | {"hf_model_pretrained": False, "hf_proj_type": "linear"}}
    ).eval()
    folder.mkdir()
    for path in tower.glob("*.json"):
        shutil.copy(path, folder)
    model_cfg["text_cfg"] |= {"hf_model_name": "hub/of-others", "hf_tokenizer_name": "hub/of-others"}
    model_cfg["text_cfg"]["hf_proj_type"] = "linear"
    preprocess_cfg = {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}))
    save_weights(folder / WEIGHTS_FILE, model.state_dict(), {})
    return model, transformers.AutoTokenizer.from_pretrained(tower)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_clip_with_a_tower_of_any_kind_comes_from_a_directory_without_a_network(tmp_path, kind):
    model, tokenizer = published(tmp_path / "theirs", kind)
    fetch_clip("theirs", str(tmp_path / "theirs"), tmp_path / "ours")
    shutil.rmtree(tmp_path / "theirs")
    shutil.rmtree(tmp_path / "theirs-tower")
    tokens = tokenizer(SENTENCES, padding="max_length", max_length=24, truncation=True, return_tensors="pt").input_ids
    with torch.inference_mode():
        expected = model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(embed_sentences(load_clip(tmp_path / "ours"), SENTENCES), expected)


def siglip(folder):
    """A SigLIP's directory: a text encoder of open_clip's own, a T5's tokenizer, a bias, both sides resized."""
    text = {"context_length": 12, "vocab_size": 60, "width": 8, "heads": 2, "layers": 1, "no_causal_mask": True}
    text |= {"proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    model_cfg = MODEL_CFG | {"init_logit_bias": -10.0, "custom_text": True, "text_cfg": text}
    torch.manual_seed(2)
    model = open_clip.CustomTextCLIP(**{key: value for key, value in model_cfg.items() if key != "custom_text"}).eval()
    named = {"hf_tokenizer_name": "hub/siglip", "tokenizer_kwargs": {"clean": "canonicalize"}}
    model_cfg = model_cfg | {"text_cfg": text | named}
    preprocess_cfg = {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    folder.mkdir()
    sentence_pieces().save_pretrained(folder)
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}))
    save_weights(folder / WEIGHTS_FILE, model.state_dict(), {})
    return model


def test_a_siglip_is_scored_as_open_clip_scores_it_with_its_bias(tmp_path):
    model = siglip(tmp_path / "siglip")
    source = f"local-dir:{tmp_path / 'siglip'}"
    _, preprocess = open_clip.create_model_from_pretrained(source)
    tokenizer = open_clip.get_tokenizer(source)
    fetch_clip("siglip", str(tmp_path / "siglip"), tmp_path / "ours")
    shutil.rmtree(tmp_path / "siglip")
    clip = load_clip(tmp_path / "ours")
    assert clip.logit_bias == -10
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, size=(24, 40, 3), dtype=np.uint8)
    head = build_head(clip, NOMENCLATURE, prompt_set(["a photo of {}."]))
    texts = tokenizer([f"a photo of {name}." for name in NOMENCLATURE.prompt_names])
    with torch.inference_mode():
        expected, _ = model.get_logits(preprocess(Image.fromarray(photo))[None], texts)
        embedding = clip.visual(clip.inputs(torch.from_numpy(photo).permute(2, 0, 1)[None]))
    # Pillow may round a level the other way, see test_views.
    logits = FrozenHead(head, CPU)(embedding)
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0)
    scored = logits_from_head(embedding.numpy(), head.weights, head.logit_scale, head.logit_bias)
    np.testing.assert_allclose(scored, logits.numpy(), atol=1e-5)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_directory_without_a_tokenizer_or_a_description_of_the_tower_says_what_to_copy(lit, tmp_path):
    save_clip(lit, tmp_path / "lit")
    (tmp_path / "lit" / "config.json").rename(tmp_path / "kept.json")
    with pytest.raises(UserError, match=r"lit: config\.json is missing or describes no text tower.*bert.*Copy"):
        load_clip(tmp_path / "lit")
    (tmp_path / "lit" / ".config.json.crc32c").unlink()
    (tmp_path / "lit" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UserError, match=r"config\.json is missing or describes no text tower"):
        load_clip(tmp_path / "lit")
    (tmp_path / "kept.json").rename(tmp_path / "lit" / "config.json")
    (tmp_path / "lit" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer is missing.*Copy the tokenizer's files, tokenizer\.json"):
        load_clip(tmp_path / "lit")


def test_a_machine_without_transformers_is_told_to_install_it(lit, tower, tmp_path, monkeypatch):
    save_clip(lit, tmp_path / "lit")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    for attempt in (
        lambda: load_clip(tmp_path / "lit"),
        lambda: new_clip("tiny-lit", tower),
        lambda: fetch_clip("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", tmp_path / "fetched"),
        lambda: fetch_clip("ViT-B-16-SigLIP", "webli", tmp_path / "fetched"),
    ):
        with pytest.raises(UserError, match=r"transformers library, which is not installed.*pip install transformers"):
            attempt()


@pytest.mark.slow
def test_a_tower_that_only_a_hub_has_is_explained_without_a_network(tmp_path, monkeypatch):
    # The hub's client waits between its attempts, 23 seconds in all.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    save_weights(tmp_path / "mine.safetensors", {"visual.proj": torch.zeros(1)}, {})
    with pytest.raises(UserError, match=r"(?s)cannot be built.*transformers' xlm-roberta-base\. Without a net"):
        fetch_clip("xlm-roberta-base-ViT-B-32", str(tmp_path / "mine.safetensors"), tmp_path / "fetched")


def test_a_tokenizer_that_needs_sentencepiece_says_so(tmp_path, monkeypatch):
    siglip(tmp_path / "siglip")
    (tmp_path / "siglip" / "tokenizer.json").unlink()
    (tmp_path / "siglip" / "spiece.model").write_bytes(b"not one")
    with pytest.raises(UserError, match=r"(?s)its tokenizer cannot be loaded\..*pip install sentencepiece"):
        fetch_clip("siglip", str(tmp_path / "siglip"), tmp_path / "ours")


def test_weights_that_do_not_fit_the_tower_are_named(tower, tmp_path):
    shutil.copytree(tower, tmp_path / "tower")
    config = json.loads((tmp_path / "tower" / "config.json").read_text())
    (tmp_path / "tower" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"model\.safetensors does not fit.*16 missing \(encoder\.layer\.2\."):
        new_clip("tiny-lit", tmp_path / "tower")


def test_a_directory_of_open_clips_own_kind_needs_nothing_of_transformers():
    assert not clip_text.needs_transformers(MODEL_CFG)
    assert clip_text.advice(MODEL_CFG) == ""
