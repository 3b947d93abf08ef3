"""Which CLIPs can be used here, by their architecture and by what a folder says of the one in it. Needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.catalogue.encoders import EncoderFacts
from bandbridge.config.networks import clips
from bandbridge.config.resources import clip_architecture

# open_clip's description of a model directory, and where it looks for the weights in one, in this order.
CONFIG_FILE = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
# The same of transformers.
TRANSFORMERS_CONFIG = "config.json"
TRANSFORMERS_PREPROCESSING = "preprocessor_config.json"
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def unsupported(architecture: Mapping[str, Any]) -> str:
    """Why an architecture of open_clip cannot be used here, without a full stop; '' if it can."""
    if "multimodal_cfg" in architecture:
        return "a CoCa, which writes captions with a second text decoder, is not supported; take a CLIP or a SigLIP"
    if architecture.get("vision_cfg", {}).get("output_tokens"):
        return "its image encoder returns tokens beside the embedding (output_tokens), which is not supported"
    return ""


def unsupported_clips(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each CLIP of a configuration that cannot be used, as far as a name or a folder tells."""
    for name, source in clips(config).values():
        if source.startswith("hf-hub:"):
            continue
        if source != "scratch" and Path(source).is_dir():
            try:
                weights_in(Path(source))
            except UserError as error:
                yield f"clip.pretrained: {error}"
            continue
        architecture = clip_architecture(name)
        if architecture is not None:
            fault = unsupported(architecture) or (source == "scratch" and _untrainable(architecture))
            if fault:
                yield f"clip.name is '{name}': {fault}."


def unsupported_encoder(facts: EncoderFacts) -> Iterator[str]:
    """A sentence where the architecture of an encoder of the kind open_clip cannot be used."""
    architecture = clip_architecture(facts.architecture) if facts.kind == "open_clip" else None
    fault = unsupported(architecture) if architecture is not None else ""
    if fault:
        yield f"workflow/encoders/{facts.name}.yaml: architecture is '{facts.architecture}': {fault}."


def _untrainable(architecture: Mapping[str, Any]) -> str:
    text = architecture["text_cfg"]
    if "init_logit_bias" in architecture:
        return "a SigLIP is trained by a loss for each pair, clip.scratch by CLIP's; take the architecture of a CLIP"
    if text.get("hf_tokenizer_name") and not text.get("hf_model_name"):
        return (
            f"its tokenizer is transformers' {text['hf_tokenizer_name']}, which clip.scratch does not fetch; take an "
            "architecture with open_clip's own tokenizer, such as ViT-B-32"
        )
    return ""


# --- folders ----------------------------------------------------------------------------------------------------------


def weights_in(directory: Path) -> Path:
    """The file with the weights (or the index of several) in a folder as open_clip or transformers saves a CLIP.

    Raises:
        UserError: the folder is of neither, its model cannot be used, or there are no weights in it.
    """
    if (directory / CONFIG_FILE).is_file():
        model_cfg = _described(directory / CONFIG_FILE).get("model_cfg")
        if not isinstance(model_cfg, Mapping) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model_cfg):
            raise UserError(f"{directory / CONFIG_FILE}: model_cfg with embed_dim, vision_cfg and text_cfg is missing.")
        fault = unsupported(model_cfg)
        if fault:
            raise UserError(f"{directory / CONFIG_FILE}: {fault}.")
        return _first_of(WEIGHTS, directory)
    path = directory / TRANSFORMERS_CONFIG
    kind = _described(path).get("model_type") if path.is_file() else None
    if kind is None:
        raise UserError(f"{directory}: {CONFIG_FILE} is missing, so this is no open_clip model directory.")
    if kind != "clip":
        advice = "; take open_clip's weights of it (clip.pretrained: webli)" if "siglip" in str(kind) else ""
        raise UserError(f"{path}: model_type is '{kind}'; of transformers' models only 'clip' can be used{advice}.")
    return _first_of(TRANSFORMERS_WEIGHTS, directory)


def _first_of(names: tuple[str, ...], directory: Path) -> Path:
    file = next((directory / name for name in names if (directory / name).is_file()), None)
    if file is None:
        raise UserError(f"{directory} holds no weights; looked for {', '.join(names)}.")
    return file


@dataclass(frozen=True)
class Description:
    """What a folder of transformers says of the CLIP in it.

    Attributes:
        path: the file that says so.
        quick_gelu: whether its activation is QuickGELU, in both halves.
        preprocessing: of open_clip's preprocess_cfg the values that it states.
    """

    path: Path
    quick_gelu: bool
    preprocessing: Mapping[str, Any]


def description_beside(weights: Path) -> Description | None:
    """What the config.json beside a file of weights says, if transformers wrote both for a CLIP; None otherwise.

    Raises:
        UserError: its two halves have different activations, or one that open_clip does not have.
    """
    path = weights.parent / TRANSFORMERS_CONFIG
    if weights.name not in TRANSFORMERS_WEIGHTS or not path.is_file():
        return None
    content = _described(path)
    if content.get("model_type") != "clip":
        return None
    # What is left out is the library's default.
    halves = [content.get(half) or {} for half in ("vision_config", "text_config")]
    activations = {half.get("hidden_act", "quick_gelu") for half in halves}
    if activations not in ({"quick_gelu"}, {"gelu"}):
        raise UserError(
            f"{path}: hidden_act is {' and '.join(sorted(map(str, activations)))}; expected quick_gelu or gelu, the "
            "same in vision_config and text_config."
        )
    return Description(path, activations == {"quick_gelu"}, _preprocessing(weights.parent / TRANSFORMERS_PREPROCESSING))


def _described(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}).") from error
    return content if isinstance(content, dict) else {}


def _preprocessing(path: Path) -> dict[str, Any]:
    stated = _described(path) if path.is_file() else {}
    names = {"image_mean": "mean", "image_std": "std"}
    return {ours: list(stated[theirs]) for theirs, ours in names.items() if theirs in stated}
