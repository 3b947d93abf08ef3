"""Encoders that TorchGeo builds: DOFA, CROMA, and its timm models. TorchGeo is optional and imported when asked for."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bandbridge.catalogue import Source
from bandbridge.encoder_facts import EncoderFacts
from bandbridge.errors import UserError, did_you_mean
from bandbridge.weights import Weights, list_some, load_checkpoint

# Norms without weights in a checkpoint change nothing as they are made, and TorchGeo leaves them so.
MAY_LACK = ("fc_norm.", "norm.", "attn_bias")
# Of a classifier, a decoder, or CROMA's radar and joint halves.
UNUSED = ("head.", "fc.", "norm.", "mask_token", "projector.", "s1_encoder.", "s1_GAP_FFN.", "joint_encoder.")
# CROMA's checkpoints hold a state dict for each of its parts.
PARTS = ("s1_encoder", "s1_GAP_FFN", "s2_encoder", "s2_GAP_FFN", "joint_encoder")


def torchgeo_models(name: str) -> ModuleType:
    """torchgeo.models; a `UserError` that says what to install where it is absent. `name` is the encoder's."""
    try:
        models = importlib.import_module("torchgeo.models")
    except ImportError as error:
        raise UserError(
            f"{name} is built by TorchGeo, which cannot be imported ({error}). Install it into the environment that "
            "runs the workflow: pip install torchgeo. It is not among the requirements: no other encoder needs it."
        ) from error
    return models


def published(facts: EncoderFacts) -> Source:
    """The file behind a name of TorchGeo's weights, such as DOFABase16_Weights.DOFA_MAE."""
    models = torchgeo_models(facts.name)
    try:
        url = models.get_weight(facts.tag).url
    except ValueError as error:
        raise UserError(f"{facts.name}: weights.tag is '{facts.tag}', which TorchGeo does not know.") from error
    return Source(file=url.rpartition("/")[2], urls=(url,))


def new_torchgeo(facts: EncoderFacts) -> nn.Module:
    """TorchGeo's network by its name, with random weights."""
    models = torchgeo_models(facts.name)
    known = models.list_models()
    if facts.architecture not in known:
        guess = did_you_mean(facts.architecture, known)
        raise UserError(
            f"{facts.name}: architecture is '{facts.architecture}'; TorchGeo has {', '.join(known)}.{guess}"
        )
    options = {**facts.options, **({"in_chans": facts.channels} if _is_timm(facts) else {})}
    try:
        model: nn.Module = models.get_model(facts.architecture, **options)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"{facts.name}: TorchGeo cannot make {facts.architecture}: {error}") from error
    return model


def forward(facts: EncoderFacts, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """How the network is asked for embeddings (n, dim)."""
    if facts.architecture.startswith("dofa_"):
        return lambda values: model.forward_features(values, list(facts.wavelengths))  # type: ignore[operator]
    if facts.architecture.startswith("croma_"):
        return lambda values: model(x_optical=values)["optical_GAP"]
    return model


def load_torchgeo(facts: EncoderFacts, model: nn.Module, path: Path) -> str:
    """Load a checkpoint; returns what was done in one sentence, without its full stop.

    Raises:
        UserError: tensors are missing, unknown or of another shape, and which.
    """
    found = _state(facts, path)
    own = model.state_dict()
    faults = [f"{name} is missing" for name in own if name not in found and not name.startswith(MAY_LACK)]
    faults += [f"{name} is unknown" for name in found if name not in own and not name.startswith(UNUSED)]
    faults += [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        for name, value in own.items()
        if name in found and found[name].shape != value.shape
    ]
    if faults:
        raise UserError(f"{path} does not fit TorchGeo's {facts.architecture}: {list_some(faults)}.")
    fitting = {name: value for name, value in found.items() if name in own}
    model.load_state_dict(fitting, strict=False)
    return f"{path.name}: {len(fitting)} of {len(own)} tensors loaded; {len(found) - len(fitting)} not used"


def _is_timm(facts: EncoderFacts) -> bool:
    return not facts.architecture.startswith(("dofa_", "croma_"))


def _state(facts: EncoderFacts, path: Path) -> Weights:
    if not facts.architecture.startswith("croma_"):
        return load_checkpoint(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of tensors alone, and nothing else is read ({error}).") from error
    if not isinstance(content, Mapping) or not set(content) & set(PARTS):
        raise UserError(f"{path}: expected CROMA's parts ({', '.join(PARTS)}), found another kind of checkpoint.")
    parts = {part: content[part] for part in PARTS if part in content}
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}
