"""CLIP models as open_clip directories."""

from pathlib import Path

import open_clip
import pytest
import torch
from tiny import same_weights, tiny_clip

from bandbridge.base.errors import UserError
from bandbridge.models import clip as clips
from bandbridge.models import weights
from bandbridge.models.clip import fetch_clip, load_clip, new_clip, save_clip
from bandbridge.models.clip_checkpoints import OPENAI_KEYS, is_openai, load_file

pytestmark = pytest.mark.usefixtures("tiny_architectures")


def test_the_demos_architecture_is_found_by_name_and_embeds_pictures_and_texts(pictures, monkeypatch):
    monkeypatch.undo()
    clips._open_clip.cache_clear()
    clip = new_clip("demo-vit")
    assert clip.visual(clip.inputs(pictures)).shape == (4, clip.embed_dim)
    assert clip.model.encode_text(clip.tokenizer(["a digit", "a river"])).shape == (2, clip.embed_dim)


def test_a_saved_clip_is_one_that_open_clip_loads_by_itself(tmp_path, pictures):
    clip = tiny_clip()
    save_clip(clip, tmp_path / "tiny")
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'tiny'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'tiny'}")
    assert same_weights(model.state_dict(), clip.model.state_dict())
    assert torch.equal(tokenizer(["a river"]), clip.tokenizer(["a river"]))
    values = clip.inputs(pictures)
    assert torch.equal(model.encode_image(values), clip.model.encode_image(values))
    assert preprocess.transforms[0].size == clip.image_size


def test_a_clip_is_loaded_as_it_was_saved(tmp_path):
    clip = tiny_clip()
    save_clip(clip, tmp_path / "tiny")
    loaded = load_clip(tmp_path / "tiny")
    assert same_weights(loaded.model.state_dict(), clip.model.state_dict())
    assert (loaded.name, loaded.image_size, loaded.embed_dim) == ("tiny", 16, 8)
    assert loaded.mean == tuple(open_clip.OPENAI_DATASET_MEAN)
    assert loaded.logit_scale == pytest.approx(1 / 0.07)
    assert not loaded.model.training
    save_clip(loaded, tmp_path / "again")
    for file in (clips.CONFIG_FILE, clips.WEIGHTS_FILE):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "tiny" / file).read_bytes()


def test_the_description_of_other_weights_is_another(tmp_path):
    """Text heads name it as their input, and Snakemake compares what is in it."""
    contents = []
    for seed in (0, 0, 1):
        save_clip(tiny_clip(seed), tmp_path / "tiny")
        contents.append((tmp_path / "tiny" / clips.CONFIG_FILE).read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_its_own_preprocessing_is_kept(tmp_path):
    clip = tiny_clip()
    clip.preprocess_cfg.update(mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5], interpolation="bilinear")
    save_clip(clip, tmp_path / "tiny")
    loaded = load_clip(tmp_path / "tiny")
    assert loaded.mean == (0.1, 0.2, 0.3)
    assert loaded.preprocess_cfg["interpolation"] == "bilinear"


def test_a_directory_without_weights_is_refused(tmp_path):
    save_clip(tiny_clip(), tmp_path / "tiny")
    (tmp_path / "tiny" / clips.WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match=r"open_clip_model\.safetensors is missing"):
        load_clip(tmp_path / "tiny")


def test_a_bias_on_the_logits_is_kept_and_is_zero_where_there_is_none(tmp_path):
    save_clip(tiny_clip(init_logit_bias=-10.0), tmp_path / "siglip")
    assert load_clip(tmp_path / "siglip").logit_bias == -10
    assert tiny_clip().logit_bias == 0


def test_pictures_that_would_be_padded_are_refused(tmp_path):
    clip = tiny_clip()
    clip.preprocess_cfg["resize_mode"] = "longest"
    save_clip(clip, tmp_path / "tiny")
    with pytest.raises(UserError, match=r"'longest' and size .* only square images and shortest or squash"):
        load_clip(tmp_path / "tiny")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_local_checkpoint_becomes_a_directory(tmp_path, suffix, capsys):
    clip = tiny_clip()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in clip.model.state_dict().items()}}, path)
    else:
        weights.save_weights(path, clip.model.state_dict(), {})
    fetch_clip("tiny", str(path), tmp_path / "fetched")
    assert same_weights(load_clip(tmp_path / "fetched").model.state_dict(), clip.model.state_dict())
    assert "GELU was assumed, which tiny has" in capsys.readouterr().err


def test_a_directory_and_its_name_are_taken_over(tmp_path):
    save_clip(tiny_clip(quick_gelu=True), tmp_path / "theirs")
    fetch_clip("tiny", str(tmp_path / "theirs"), tmp_path / "ours")
    assert load_clip(tmp_path / "ours").model_cfg["quick_gelu"] is True


@pytest.mark.slow
def test_a_local_file_keeps_the_activation_of_its_name(tmp_path, pictures, capsys):
    path = tmp_path / "weights.pt"
    torch.save(tiny_clip().model.state_dict(), path)
    fetch_clip("tiny", str(path), tmp_path / "gelu")
    capsys.readouterr()
    fetch_clip("tiny-quickgelu", str(path), tmp_path / "quick")
    assert capsys.readouterr().out == ""
    gelu, quick = load_clip(tmp_path / "gelu"), load_clip(tmp_path / "quick")
    values = gelu.inputs(pictures)
    assert not torch.allclose(gelu.visual(values), quick.visual(values), atol=1e-4)


@pytest.mark.slow
def test_what_the_config_says_of_a_local_file_counts(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save(tiny_clip().model.state_dict(), path)
    for asked in (True, False):
        fetch_clip("tiny", str(path), tmp_path / f"{asked}", quick_gelu=asked)
        assert load_clip(tmp_path / f"{asked}").model_cfg["quick_gelu"] is asked
    assert capsys.readouterr().out == ""


def test_an_activation_that_contradicts_the_weights_is_refused(tmp_path):
    torch.save(tiny_clip().model.state_dict(), tmp_path / "weights.pt")
    save_clip(tiny_clip(quick_gelu=True), tmp_path / "theirs")
    openai_state_dict(tmp_path / "ViT.pt")
    for name, pretrained, asked, origin in (
        ("tiny-quickgelu", "weights.pt", False, "'tiny-quickgelu'"),
        ("tiny", "theirs", False, clips.CONFIG_FILE),
        ("tiny", "ViT.pt", False, "which OpenAI made"),
    ):
        with pytest.raises(UserError, match=rf"clip\.quick_gelu is false, but .*{origin}.*QuickGELU"):
            fetch_clip(name, str(tmp_path / pretrained), tmp_path / "fetched", quick_gelu=asked)
    with pytest.raises(UserError, match=r"'laion2b_s34b_b79k'.*trained with GELU.*null or false"):
        fetch_clip("ViT-B-32", "laion2b_s34b_b79k", tmp_path / "fetched", quick_gelu=True)
    assert not (tmp_path / "fetched").exists()


@pytest.mark.slow
def test_a_tag_brings_the_activation_that_its_weights_need(monkeypatch, tmp_path):
    asked = {}

    def create(source, return_transform, **options):
        asked.update(options)
        return tiny_clip(quick_gelu=options["quick_gelu"]).model

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", create)
    monkeypatch.setattr(clips, "_clip", lambda name, model, tokenizer, model_cfg: model_cfg)
    assert clips._from_tag("ViT-B-32", "openai", None)["quick_gelu"] is True
    assert asked == {"pretrained": "openai", "quick_gelu": True}
    assert clips._from_tag("ViT-B-32", "laion2b_s34b_b79k", None)["quick_gelu"] is False
    assert asked["quick_gelu"] is False


def openai_model():
    """A tiny CLIP with what OpenAI's files hold beside the weights, and its weights in half precision."""
    model = tiny_clip(seed=3, quick_gelu=True).model
    for name in sorted(OPENAI_KEYS):
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(16))
    for block in model.transformer.resblocks:
        block.attn_mask = model.attn_mask
    return model


def openai_archive(path):
    model = openai_model()
    inputs = torch.zeros(1, 3, 16, 16), torch.zeros(1, 8, dtype=torch.long)
    methods = {"forward": inputs, "encode_image": inputs[0], "encode_text": inputs[1]}
    torch.jit.trace_module(model, methods, check_trace=False).half().save(str(path))
    return model


def openai_state_dict(path):
    model = openai_model()
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("write", [openai_archive, openai_state_dict])
def test_openais_own_file_becomes_a_float32_directory_with_its_activation(tmp_path, write, pictures):
    model = write(tmp_path / "ViT.pt")
    fetch_clip("tiny", str(tmp_path / "ViT.pt"), tmp_path / "fetched")
    loaded = load_clip(tmp_path / "fetched")
    assert loaded.model_cfg["quick_gelu"] is True
    expected = {name: value for name, value in model.state_dict().items() if name not in OPENAI_KEYS}
    assert same_weights(loaded.model.state_dict(), {name: value.half().float() for name, value in expected.items()})
    values = loaded.inputs(pictures)
    model.float().load_state_dict(loaded.model.state_dict(), strict=False)
    assert torch.equal(loaded.model.encode_image(values), model.encode_image(values))


# Published numbers of OpenAI's models: embedding; width, layers, patch and grid of the image encoder; width of the text
# encoder, which has 12 layers, 77 tokens and 49,408 words in all of them.
OPENAI_MODELS = {
    "ViT-B-32": (512, 768, 12, 32, 7, 512),
    "ViT-B-16": (512, 768, 12, 16, 14, 512),
    "ViT-L-14": (768, 1024, 24, 14, 16, 768),
    "ViT-L-14-336": (768, 1024, 24, 14, 24, 768),
}


def openai_layout(embed, width, layers, patch, grid, text):
    """Every tensor that OpenAI's model of these numbers has, without memory."""

    def norm(name, size):
        return {f"{name}.weight": (size,), f"{name}.bias": (size,)}

    def linear(name, out, size):
        return {f"{name}.weight": (out, size), f"{name}.bias": (out,)}

    def blocks(name, size, count):
        shapes = {}
        for number in range(count):
            block = f"{name}.resblocks.{number}"
            shapes |= {f"{block}.attn.in_proj_weight": (3 * size, size), f"{block}.attn.in_proj_bias": (3 * size,)}
            shapes |= linear(f"{block}.attn.out_proj", size, size)
            shapes |= norm(f"{block}.ln_1", size) | norm(f"{block}.ln_2", size)
            shapes |= linear(f"{block}.mlp.c_fc", 4 * size, size) | linear(f"{block}.mlp.c_proj", size, 4 * size)
        return shapes

    shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (grid**2 + 1, width),
        "visual.proj": (width, embed),
        "visual.conv1.weight": (width, 3, patch, patch),
        **norm("visual.ln_pre", width),
        **norm("visual.ln_post", width),
        **blocks("visual.transformer", width, layers),
        "positional_embedding": (77, text),
        "text_projection": (text, embed),
        "token_embedding.weight": (49408, text),
        **norm("ln_final", text),
        **blocks("transformer", text, 12),
        **dict.fromkeys(("logit_scale", "input_resolution", "context_length", "vocab_size"), ()),
    }
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def on_meta(name):
    with torch.device("meta"):
        return open_clip.create_model(name, device="meta")


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENAI_MODELS)
def test_each_of_openais_vision_transformers_fits_its_name_and_no_other(name):
    state = openai_layout(*OPENAI_MODELS[name])
    assert is_openai(state)
    for known in (name, f"{name}-quickgelu"):
        load_file(on_meta(known), dict(state), known, Path("ViT.pt"))
    other = "ViT-B-16" if name == "ViT-B-32" else "ViT-B-32"
    with pytest.raises(
        UserError, match=rf"does not fit {other}: .*looks like {name}( or [\w-]+)*; clip.name says {other}"
    ):
        load_file(on_meta(other), state, other, Path("ViT.pt"))


def test_the_first_tensors_that_do_not_fit_are_named():
    state = openai_layout(*OPENAI_MODELS["ViT-B-16"])
    with pytest.raises(UserError, match=r"visual\.conv1\.weight is \(768, 3, 16, 16\), expected \(768, 3, 32, 32\)"):
        load_file(on_meta("ViT-B-32"), state, "ViT-B-32", Path("ViT.pt"))


def test_another_picture_size_is_another_architecture():
    state = openai_layout(*OPENAI_MODELS["ViT-L-14"])
    with pytest.raises(
        UserError,
        match=r"visual\.positional_embedding is \(257, 1024\), expected \(577, 1024\)\)\. .* It looks like ViT-L-14",
    ):
        load_file(on_meta("ViT-L-14-336"), state, "ViT-L-14-336", Path("ViT.pt"))


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt contains nothing of tiny\. It contains 1 tensor: a\."):
        fetch_clip("tiny", str(tmp_path / "weights.pt"), tmp_path / "fetched")


def test_nothing_is_unpickled(tmp_path):
    class Payload:
        def __reduce__(self):
            return (pytest.fail, ("code in a checkpoint was run",))

    torch.save({"state_dict": Payload()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"contains _pytest\.outcomes\._Fail, not only tensors and plain values"):
        fetch_clip("tiny", str(tmp_path / "weights.pt"), tmp_path / "fetched")


def test_unknown_names_and_tags_are_explained(tmp_path):
    with pytest.raises(UserError, match=r"'tinny'.*Did you mean 'tiny'"):
        fetch_clip("tinny", "openai", tmp_path / "fetched")
    with pytest.raises(UserError, match=r"'opnai'.*ViT-B-32.*Did you mean 'openai'"):
        fetch_clip("ViT-B-32", "opnai", tmp_path / "fetched")


def test_the_weights_of_vit_b_32_have_the_names_that_interpolation_relies_on():
    with torch.device("meta"):
        visual = open_clip.create_model("ViT-B-32", device="meta").visual
    state = visual.state_dict()
    assert state["proj"].shape == (768, 512)
    assert state["transformer.resblocks.11.attn.in_proj_weight"].shape == (2304, 768)
    assert all(tensor.is_floating_point() for tensor in state.values())
