"""Text sides that the transformers library builds or tokenizes: what they need of a machine and of a model directory.

open_clip takes a tokenizer from the model's directory, but the configuration of a transformers tower from wherever
`hf_model_name` points: a folder, relative to the working directory, or a name on a model hub. A model directory that is
to work wherever it is moved therefore holds the tower's own config.json and calls it '.', and whoever loads it says
where that is (`tower_options`).
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers

HERE = "."
TOWER_CONFIG = "config.json"
TOWER_WEIGHTS = "model.safetensors"
# A tokenizer has at least one of them; without any, transformers makes one that knows no word.
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
# A sentence encoder's own pooling layer, which no tower here uses, and constants that older versions kept.
UNUSED = ("pooler.", "embeddings.position_ids")


def needs_transformers(model_cfg: Mapping[str, Any]) -> bool:
    """Whether a model's text encoder or its tokenizer is one of the transformers library's."""
    text = model_cfg["text_cfg"]
    return bool(text.get("hf_model_name") or text.get("hf_tokenizer_name"))


def must_have_transformers(model_cfg: Mapping[str, Any], name: str) -> None:
    """Raises `UserError` if a model needs the transformers library and it is not installed."""
    if needs_transformers(model_cfg) and importlib.util.find_spec("transformers") is None:
        raise UserError(
            f"{name}: its text side is of the transformers library, which is not installed here. Install it into the "
            "environment that runs the jobs (pip install transformers), or take a CLIP with a text encoder of its own."
        )


def must_be_whole(directory: Path, model_cfg: Mapping[str, Any]) -> None:
    """Raises `UserError` if a model directory lacks what its text side is described or tokenized by."""
    text = model_cfg["text_cfg"]
    if text.get("hf_tokenizer_name") and not any((directory / file).is_file() for file in VOCABULARIES):
        raise UserError(
            f"{directory}: its tokenizer is missing (none of {', '.join(VOCABULARIES)} found). Copy the tokenizer's "
            "files, tokenizer.json and tokenizer_config.json, into the directory."
        )
    if text.get("hf_model_name") == HERE and _tower_folder(directory, HERE) is None:
        raise UserError(
            f"{directory}: {TOWER_CONFIG} is missing or describes no text tower that open_clip builds "
            f"({', '.join(_known_types())}). Copy the {TOWER_CONFIG} of the tower into the directory."
        )


def tower_options(directory: Path, model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What `open_clip.create_model` is told about a directory's text tower, beside the directory; {} if nothing."""
    name = model_cfg["text_cfg"].get("hf_model_name")
    folder = _tower_folder(directory, name) if name else None
    return {} if folder is None else {"text_cfg": _described_in(folder, model_cfg)}


def save_text_side(directory: Path, model: nn.Module, tokenizer: Any, model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Write what describes a transformers tower and its tokenizer; the model's configuration with both called '.'."""
    text = dict(model_cfg["text_cfg"])
    if text.get("hf_model_name"):
        # The tower's own weights would be fetched otherwise; here they come with the model's.
        text |= {"hf_model_name": HERE, "hf_model_pretrained": False}
        described = json.loads(model.text.config.to_json_string(use_diff=False))  # type: ignore[union-attr, operator]
        described.pop("_name_or_path", None)  # where it was loaded from
        write_json(directory / TOWER_CONFIG, described)
    if hasattr(tokenizer, "save_pretrained"):
        text["hf_tokenizer_name"] = HERE
        tokenizer.save_pretrained(directory)
    return {**model_cfg, "text_cfg": text}


def new_tower(folder: Path, model_cfg: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The options for `open_clip.create_model`, and the tokenizer, of a tower in a folder of its own."""
    from open_clip.tokenizer import HFTokenizer  # takes seconds

    text = model_cfg["text_cfg"]
    options = {**text.get("tokenizer_kwargs", {}), "trust_remote_code": False}
    tokenizer = HFTokenizer(str(folder), context_length=text["context_length"], **options)
    return {"text_cfg": _described_in(folder, model_cfg)}, tokenizer


def load_tower(model: nn.Module, folder: Path) -> None:
    """Load the weights of a tower, under the names of transformers' base model, into a CLIP's text side, as float32.

    Raises:
        UserError: tensors are missing, unknown, of another shape or without finite numbers (the first are named).
    """
    path = folder / TOWER_WEIGHTS
    transformer: nn.Module = model.text.transformer  # type: ignore[union-attr, assignment]
    own = transformer.state_dict()
    content = read_checkpoint(path)
    state = {name: tensor for name, tensor in choose(content, own, path).tensors.items() if not name.startswith(UNUSED)}
    must_fit(state, own, path, f"the {TOWER_CONFIG} beside it")
    must_hold_numbers(state, own, path)
    transformer.load_state_dict(state)


def advice(model_cfg: Mapping[str, Any] | None) -> str:
    """What to do about a text side that could not be loaded; '' for one of open_clip's own."""
    if model_cfg is None or not needs_transformers(model_cfg):
        return ""
    text = model_cfg["text_cfg"]
    named = dict.fromkeys(filter(None, [text.get("hf_model_name"), text.get("hf_tokenizer_name")]))
    return (
        f"\nIts text side is transformers' {' and '.join(named)}. Without a network, set clip.pretrained to an "
        f"open_clip model directory that holds the tower's {TOWER_CONFIG} and its tokenizer.json beside the weights. A "
        "tokenizer that comes as a SentencePiece model alone needs the package sentencepiece as well "
        "(pip install sentencepiece)."
    )


def _described_in(folder: Path, model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    return {**model_cfg["text_cfg"], "hf_model_name": str(folder), "hf_model_pretrained": False}


def _tower_folder(directory: Path, name: str) -> Path | None:
    """Where a model directory describes its text tower; None where open_clip has to find `name` by itself."""
    for folder in (directory / name, directory):
        path = folder / TOWER_CONFIG
        # A model may have come with a config.json that describes all of it, as transformers has CLIPs.
        if path.is_file() and read_json(path).get("model_type") in _known_types():
            return folder
    return None


def _known_types() -> list[str]:
    from open_clip.hf_configs import arch_dict

    return sorted(arch_dict)
