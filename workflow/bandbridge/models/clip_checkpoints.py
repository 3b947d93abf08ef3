"""CLIP state dicts from files: whose they are, whether they fit an architecture, and which one they would fit."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, convert_to_custom_text_state_dict
from torch import nn

from bandbridge.models import clip_transformers
from bandbridge.models.checkpoint_files import Content
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers
from bandbridge.models.weights import Weights

# Only OpenAI's own state dicts carry these beside the weights.
OPENAI_KEYS = {"input_resolution", "context_length", "vocab_size"}
# Made by a model for itself: archives and older text encoders keep them beside the weights.
CONSTANTS = {"attn_mask", "position_ids"}
# What a vision transformer's tensors tell of its architecture, with the same of the text encoder.
Facts = tuple[int, ...]


def is_openai(names: Iterable[str]) -> bool:
    """Whether a state dict is OpenAI's own, whose activation is QuickGELU; wrappers' prefixes do not matter."""
    return any(name.rpartition(".")[2] in OPENAI_KEYS for name in names)


def load_file(model: nn.Module, content: Content, name: str, path: Path) -> str:
    """Load what `checkpoint_files.read_checkpoint` read into an open_clip model, in the model's own precision.

    It may be a checkpoint of open_clip's, of OpenAI's, or of transformers' CLIP, under any prefix. Every tensor must
    fit. Position embeddings are not resized: weights for another picture size belong to an architecture of another
    name.

    Returns:
        What was done, in a sentence without its full stop; '' where there is nothing to say.

    Raises:
        UserError: tensors are missing, unknown, of another shape or without finite numbers (the first are named), with
            what the file seems to hold.
    """
    own = model.state_dict()
    plain = {key.removeprefix("text.") for key in own}
    chosen = choose(content, own, path, also=plain | set(clip_transformers.NAMES))
    theirs = clip_transformers.is_transformers(chosen.tensors)
    state = clip_transformers.from_transformers(chosen.tensors) if theirs else chosen.tensors
    fitted = _as_open_clip(model, state)
    must_fit(fitted, own, path, name, _advice(fitted, name))
    must_hold_numbers(fitted, own, path)
    model.load_state_dict(fitted)
    return "; ".join(part for part in ("converted from transformers' names" if theirs else "", chosen.remark) if part)


def _advice(state: Weights, name: str) -> str:
    fitting = list(_fitting_architectures(state))
    return f"It looks like {' or '.join(fitting)}; clip.name says {name}. Set clip.name." if fitting else ""


def _as_open_clip(model: nn.Module, state: Weights) -> Weights:
    """The names and shapes that open_clip gives to a checkpoint of its own, of OpenAI's or of a known relative."""
    state = {key: value for key, value in state.items() if key not in OPENAI_KEYS}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    for key in ("logit_scale", "logit_bias"):  # of shape () or (1,), by version
        if key in state and key in own and state[key].numel() == 1:
            state[key] = state[key].reshape(own[key].shape)
    return {key: value for key, value in state.items() if key in own or key.split(".")[-1] not in CONSTANTS}


def _fitting_architectures(state: Weights) -> Iterator[str]:
    """Names of open_clip whose plain vision transformer and text encoder have the shapes of a state dict."""
    try:
        found = _facts_of_weights(state)
    except KeyError:
        return
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        if not name.endswith("-quickgelu") and found == _facts_of_config(config):
            yield name


def _facts_of_weights(state: Weights) -> Facts:
    text = "text." if "text.positional_embedding" in state else ""
    conv = state["visual.conv1.weight"]
    layers = [
        sum(key.startswith(f"{part}transformer.resblocks.") and key.endswith(".attn.in_proj_weight") for key in state)
        for part in ("visual.", text)
    ]
    vision = (conv.shape[0], conv.shape[-1], state["visual.positional_embedding"].shape[0] - 1, layers[0])
    context, width = state[f"{text}positional_embedding"].shape
    vocabulary = state[f"{text}token_embedding.weight"].shape[0]
    return (state["visual.proj"].shape[1], *vision, context, width, vocabulary, layers[1])


def _facts_of_config(config: dict[str, Any]) -> Facts | None:
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision or "hf_model_name" in text or "multimodal_cfg" in config:
        return None
    width, patch, size, layers = (
        vision.get(key, getattr(CLIPVisionCfg, key)) for key in ("width", "patch_size", "image_size", "layers")
    )
    if not all(isinstance(value, int) for value in (patch, size, layers)):
        return None
    of_text = [text.get(key, getattr(CLIPTextCfg, key)) for key in ("context_length", "width", "vocab_size", "layers")]
    return (config["embed_dim"], width, patch, (size // patch) ** 2, layers, *of_text)
