"""CLIP weights of the transformers library, under the names and in the shapes of open_clip."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from bandbridge.models.weights import Weights

# transformers' names -> open_clip's; layers of the two encoders are renamed by pattern.
NAMES = {
    "logit_scale": "logit_scale",
    "visual_projection.weight": "visual.proj",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # spelt so by the library
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_projection.weight": "text_projection",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
ENCODERS = {"vision": "visual.transformer", "text": "transformer"}
# Linear layers in transformers, matrices that are multiplied from the right in open_clip.
TRANSPOSED = ("visual.proj", "text_projection")
# Names that no other library uses.
MARKERS = frozenset(name for name in NAMES if "embeddings." in name)


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has transformers' names for both halves of a CLIP."""
    return state.keys() >= MARKERS


def from_transformers(state: Mapping[str, Tensor]) -> Weights:
    """Transformers' CLIP under open_clip's names: projections transposed, queries, keys and values joined.

    Names that are not of transformers' CLIP are unchanged.
    """
    weights: Weights = {}
    joined: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        layer = LAYER.fullmatch(name)
        if name in NAMES:
            renamed = NAMES[name]
            weights[renamed] = tensor.T.contiguous() if renamed in TRANSPOSED else tensor
        elif layer and layer[3] in PARTS:
            weights[f"{ENCODERS[layer[1]]}.resblocks.{layer[2]}.{PARTS[layer[3]]}.{layer[4]}"] = tensor
        elif layer and layer[3] in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            place = f"{ENCODERS[layer[1]]}.resblocks.{layer[2]}.attn.in_proj_{layer[4]}"
            joined.setdefault(place, {})[layer[3][-6]] = tensor
        else:
            weights[name] = tensor
    for place, parts in joined.items():
        if parts.keys() == {"q", "k", "v"}:
            weights[place] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return weights
