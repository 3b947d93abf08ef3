"""CLIP state dicts from files: their origin, whether they fit an architecture, and which one they would fit."""

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

# Only OpenAI's state dicts have these beside the weights.
OPENAI_KEYS = {"input_resolution", "context_length", "vocab_size"}
# Computed by a model: archives and older text encoders store them beside the weights.
CONSTANTS = {"attn_mask", "position_ids"}
# The sizes of a vision transformer and a text encoder that the shapes of their tensors reveal.
Facts = tuple[int, ...]


def is_openai(names: Iterable[str]) -> bool:
    """Whether a state dict is OpenAI's, whose activation is QuickGELU; prefixes of wrappers do not matter."""
    return any(name.rpartition(".")[2] in OPENAI_KEYS for name in names)


def load_file(model: nn.Module, content: Content, name: str, path: Path) -> str:
    """Load a checkpoint into an open_clip model, in the model's precision.

    The checkpoint may be open_clip's, OpenAI's, or of transformers' CLIP, under any prefix. Every tensor must fit.
    Position embeddings are not resized: weights for another image size belong to an architecture of another name.

    Args:
        model: open_clip's.
        content: what `checkpoint_files.read_checkpoint` returned.
        name: of the architecture, for messages.
        path: of the checkpoint, for messages.

    Returns:
        What was converted or chosen, in a sentence without its full stop; '' if nothing was.

    Raises:
        UserError: tensors are missing, unknown, of another shape or without finite numbers; the message names the
            first ones and says what the file seems to be.
    """
    expected = model.state_dict()
    plain = {key.removeprefix("text.") for key in expected}
    chosen = choose(content, expected, path, also=plain | set(clip_transformers.NAMES))
    theirs = clip_transformers.is_transformers(chosen.tensors)
    state = clip_transformers.from_transformers(chosen.tensors) if theirs else chosen.tensors
    fitted = _as_open_clip(model, state)
    must_fit(fitted, expected, path, name, _advice(fitted, name))
    must_hold_numbers(fitted, expected, path)
    model.load_state_dict(fitted)
    return "; ".join(part for part in ("converted from transformers' names" if theirs else "", chosen.remark) if part)


def _advice(state: Weights, name: str) -> str:
    fitting = list(_fitting_architectures(state))
    return f"It looks like {' or '.join(fitting)}; clip.name says {name}. Set clip.name." if fitting else ""


def _as_open_clip(model: nn.Module, state: Weights) -> Weights:
    """A checkpoint of open_clip's, of OpenAI's or of a known relative with open_clip's names and shapes."""
    state = {key: value for key, value in state.items() if key not in OPENAI_KEYS}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    for key in ("logit_scale", "logit_bias"):  # of shape () or (1,), by version
        if key in state and key in expected and state[key].numel() == 1:
            state[key] = state[key].reshape(expected[key].shape)
    return {key: value for key, value in state.items() if key in expected or key.split(".")[-1] not in CONSTANTS}


def _fitting_architectures(state: Weights) -> Iterator[str]:
    """Names of open_clip whose plain vision transformer and text encoder have the shapes of a state dict."""
    try:
        facts = _facts_of_weights(state)
    except KeyError:
        return
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        if not name.endswith("-quickgelu") and facts == _facts_of_config(config):
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
