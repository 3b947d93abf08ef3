"""Encoders that TorchGeo builds: DOFA, CROMA, and its timm models. TorchGeo is optional and imported on demand."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from bandbridge.base.errors import UserError, choices
from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.encoders import EncoderFacts
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers

# Norms without weights in a checkpoint are the identity when created, and TorchGeo keeps them so.
MAY_LACK = ("fc_norm.", "norm.", "attn_bias")
# Of a classifier, a decoder, or CROMA's radar and joint halves.
UNUSED = ("head.", "fc.", "norm.", "mask_token", "projector.", "s1_encoder.", "s1_GAP_FFN.", "joint_encoder.")


def torchgeo_models(name: str) -> ModuleType:
    """torchgeo.models; a `UserError` that says what to install if it is missing. `name` is the encoder's."""
    try:
        models = importlib.import_module("torchgeo.models")
    except ImportError as error:
        raise UserError(
            f"{name} is built by TorchGeo, which cannot be imported ({error}). Install it into the environment that "
            "runs the workflow: pip install torchgeo. It is not a requirement, because no other encoder needs it."
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
    names = models.list_models()
    if facts.architecture not in names:
        raise UserError(
            f"{facts.name}: architecture is '{facts.architecture}'; TorchGeo has {choices(facts.architecture, names)}"
        )
    options = {**facts.options, **({"in_chans": facts.channels} if _is_timm(facts) else {})}
    try:
        model: nn.Module = models.get_model(facts.architecture, **options)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"{facts.name}: TorchGeo cannot make {facts.architecture}: {error}") from error
    return model


def forward(facts: EncoderFacts, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function from the network's input to embeddings (n, dim)."""
    if facts.architecture.startswith("dofa_"):
        return lambda values: model.forward_features(values, list(facts.wavelengths))  # type: ignore[operator]
    if facts.architecture.startswith("croma_"):
        return lambda values: model(x_optical=values)["optical_GAP"]
    return model


def load_torchgeo(facts: EncoderFacts, model: nn.Module, path: Path) -> str:
    """Load a checkpoint.

    Returns:
        What was loaded and what was not used, in a sentence without its full stop.

    Raises:
        UserError: the file cannot be read, or tensors are missing, unknown, of another shape or without finite numbers;
            the message names them.
    """
    expected = model.state_dict()
    chosen = choose(read_checkpoint(path), expected, path)
    must_fit(chosen.tensors, expected, path, f"TorchGeo's {facts.architecture}", may_lack=MAY_LACK, may_have=UNUSED)
    must_hold_numbers(chosen.tensors, expected, path)
    fitting = {name: value for name, value in chosen.tensors.items() if name in expected}
    model.load_state_dict(fitting, strict=False)
    unused = len(chosen.tensors) - len(fitting) + len(chosen.unused)
    remark = f"; {chosen.remark}" if chosen.remark else ""
    return f"{path.name}: {len(fitting)} of {len(expected)} tensors loaded; {unused} not used{remark}"


def _is_timm(facts: EncoderFacts) -> bool:
    return not facts.architecture.startswith(("dofa_", "croma_"))
