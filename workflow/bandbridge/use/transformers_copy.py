"""A CLIP as the transformers library's CLIPModel: the other way round than `models.clip_transformers`."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from bandbridge.models.clip import Clip
from bandbridge.models.clip_transformers import ENCODERS, NAMES, PARTS, TRANSPOSED
from bandbridge.models.weights import Weights, save_weights

BEGIN, END = 49_406, 49_407  # of OpenAI's vocabulary
# Beyond these, an architecture of open_clip is not one of transformers' CLIPModel.
TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers"}
VISION_KEYS = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}
TOP_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}


def why_not(clip: Clip) -> str:
    """Why transformers' CLIPModel has not this architecture, in words; '' where it has."""
    config = clip.model_cfg
    text, vision = config["text_cfg"], config["vision_cfg"]
    if text.get("hf_model_name"):
        return "its text side is a tower of that library, not CLIP's own"
    other = (set(config) - TOP_KEYS) | (set(text) - TEXT_KEYS) | (set(vision) - VISION_KEYS)
    if other or not isinstance(vision["layers"], int):
        return f"CLIPModel has no counterpart of {', '.join(sorted(other)) or 'a ResNet'}"
    if not hasattr(clip.tokenizer, "bpe_ranks"):
        return "its tokenizer is not CLIP's own"
    return ""


def write_copy(clip: Clip, folder: Path) -> None:
    """Write a folder that `CLIPModel.from_pretrained` and `CLIPProcessor.from_pretrained` load."""
    folder.mkdir()
    _write(folder / "config.json", _config(clip))
    save_weights(folder / "model.safetensors", to_transformers(clip.model.state_dict()), {"format": "pt"})
    size = {"height": clip.image_size, "width": clip.image_size}
    pictures = {
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": clip.image_size},
        "resample": 3, "do_center_crop": True, "crop_size": size, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": list(clip.mean), "image_std": list(clip.std), "do_convert_rgb": True,
    }  # fmt: skip
    _write(folder / "preprocessor_config.json", pictures)
    tokenizer: Any = clip.tokenizer
    # open_clip has other names for the first and the last token of a sentence.
    marks = {BEGIN: "<|startoftext|>", END: "<|endoftext|>"}
    _write(folder / "vocab.json", {marks.get(number, word): number for word, number in tokenizer.encoder.items()})
    merges = [" ".join(pair) for pair, _ in sorted(tokenizer.bpe_ranks.items(), key=lambda item: item[1])]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    words = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    words |= {"unk_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"}
    _write(
        folder / "tokenizer_config.json", {**words, "model_max_length": clip.model_cfg["text_cfg"]["context_length"]}
    )


def to_transformers(state: dict[str, Tensor]) -> Weights:
    """open_clip's weights under transformers' names: projections transposed, joined queries, keys and values apart."""
    names = {ours: theirs for theirs, ours in NAMES.items()}
    parts = {ours: theirs for theirs, ours in PARTS.items()}
    halves = {ours: theirs for theirs, ours in ENCODERS.items()}
    weights: Weights = {}
    for name, tensor in state.items():
        if name in names:
            weights[names[name]] = tensor.T.contiguous() if name in TRANSPOSED else tensor
            continue
        before, blocks, rest = name.partition(".resblocks.")
        if not blocks:
            continue  # the mask of attention, which both libraries make
        layer, _, part = rest.partition(".")
        place = f"{halves[before]}_model.encoder.layers.{layer}"
        stem, _, kind = part.rpartition(".")
        if stem in parts:
            weights[f"{place}.{parts[stem]}.{kind}"] = tensor
        else:  # attn.in_proj_weight, attn.in_proj_bias
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                weights[f"{place}.self_attn.{letter}_proj.{part.rpartition('_')[2]}"] = third.clone()
    return weights


def _config(clip: Clip) -> dict[str, Any]:
    text, vision = clip.model_cfg["text_cfg"], clip.model_cfg["vision_cfg"]
    activation = "quick_gelu" if clip.model_cfg.get("quick_gelu") else "gelu"
    common = {"hidden_act": activation, "projection_dim": clip.embed_dim, "layer_norm_eps": 1e-5}
    ratio = vision.get("mlp_ratio", 4.0)
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": clip.embed_dim,
        "text_config": {
            **common, "hidden_size": text["width"], "intermediate_size": 4 * text["width"],
            "num_attention_heads": text["heads"], "num_hidden_layers": text["layers"], "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"], "bos_token_id": BEGIN, "eos_token_id": END,
            "pad_token_id": END,
        },
        "vision_config": {
            **common, "hidden_size": vision["width"], "intermediate_size": int(ratio * vision["width"]),
            "num_attention_heads": vision["width"] // vision.get("head_width", 64),
            "num_hidden_layers": vision["layers"],
            "patch_size": vision["patch_size"], "image_size": clip.image_size,
        },
    }  # fmt: skip


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
