"""CLIPs of the transformers library become open_clip's, and embed as they did."""

import json

import pytest
import torch
from tiny import MODEL_CFG, tiny_clip

from bandbridge.base.checksums import checksum_file
from bandbridge.base.errors import UserError
from bandbridge.models import clip as clips
from bandbridge.models.clip import fetch_clip, load_clip, save_clip

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
# Importing the library takes seconds.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_architectures")]


def transformers_clip(activation, seed=0):
    text, vision = MODEL_CFG["text_cfg"], MODEL_CFG["vision_cfg"]
    halves = {
        "text_config": {
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "hidden_act": activation,
            "eos_token_id": text["vocab_size"] - 1,
        },
        "vision_config": {
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "hidden_act": activation,
        },
    }
    torch.manual_seed(seed)
    model = transformers.CLIPModel(transformers.CLIPConfig(**halves, projection_dim=MODEL_CFG["embed_dim"])).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def features(output):
    """The embeddings, which version 5 of the library returns among others."""
    return getattr(output, "pooler_output", output)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("shards", [False, True])
def test_a_folder_of_transformers_embeds_pictures_and_texts_as_the_library_does(tmp_path, activation, shards):
    model = transformers_clip(activation)
    model.save_pretrained(tmp_path / "theirs", **({"max_shard_size": "100KB"} if shards else {}))
    stated = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(stated))
    fetch_clip("tiny", str(tmp_path / "theirs"), tmp_path / "ours")
    ours = load_clip(tmp_path / "ours")
    assert ours.model_cfg["quick_gelu"] is (activation == "quick_gelu")
    assert (ours.mean, ours.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    pictures, texts = torch.randn(3, 3, 16, 16), ours.tokenizer(["a river", "a forest by the sea"])
    with torch.inference_mode():
        expected = features(model.get_image_features(pixel_values=pictures))
        torch.testing.assert_close(ours.model.encode_image(pictures), expected, rtol=1e-5, atol=1e-5)
        expected = features(model.get_text_features(input_ids=texts))
        torch.testing.assert_close(ours.model.encode_text(texts), expected, rtol=1e-5, atol=1e-5)
        assert ours.logit_scale == pytest.approx(float(model.logit_scale.exp()))


def test_its_file_alone_is_taken_with_the_activation_of_the_folder_around_it(tmp_path, capsys):
    transformers_clip("quick_gelu").save_pretrained(tmp_path)
    fetch_clip("tiny", str(tmp_path / "model.safetensors"), tmp_path / "ours")
    assert load_clip(tmp_path / "ours").model_cfg["quick_gelu"] is True
    assert capsys.readouterr().out.endswith("model.safetensors: converted from transformers' names.\n")
    with pytest.raises(UserError, match=r"clip\.quick_gelu is false, but .*config\.json says .* QuickGELU"):
        fetch_clip("tiny", str(tmp_path / "model.safetensors"), tmp_path / "again", quick_gelu=False)


@pytest.mark.parametrize("asks", [True, False])
def test_a_tokenizer_that_is_a_program_is_not_run(tmp_path, monkeypatch, asks):
    """Whether or not the folder's own configuration asks for it."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = tmp_path / "theirs", tmp_path / "run"
    save_clip(tiny_clip(), folder)
    described = json.loads((folder / clips.CONFIG_FILE).read_text())
    options = {"tokenizer_kwargs": {"trust_remote_code": True}} if asks else {}
    described["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": ".", **options}
    (folder / clips.CONFIG_FILE).write_text(json.dumps(described))
    checksum_file(folder / clips.CONFIG_FILE).unlink()
    named = {"tokenizer_class": "Harm", "auto_map": {"AutoTokenizer": ["harm.Harm", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "harm.py").write_text(f"open({str(mark)!r}, 'w')\nclass Harm: pass\n")
    with pytest.raises(UserError, match=r"its tokenizer is a separate program .*, which is not run"):
        fetch_clip("tiny", str(folder), tmp_path / "ours")
    assert not mark.exists()


def test_one_of_another_size_does_not_fit(tmp_path):
    transformers_clip("gelu").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"does not fit taller: 12 missing \(visual\.transformer\.resblocks\.1"):
        fetch_clip("taller", str(tmp_path), tmp_path / "ours")
