"""Text sides that the transformers library builds or tokenizes, and the files that they need in a model directory.

open_clip takes a tokenizer from the model's directory, but the configuration of a transformers tower from wherever
`hf_model_name` points: a folder, relative to the working directory, or a name on a model hub. A model directory that
works wherever it is moved therefore holds the tower's config.json and calls it '.', and its path is passed to open_clip
on loading (`tower_options`).
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
# A tokenizer has at least one of them; without any, transformers creates one with an empty vocabulary.
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
# A sentence encoder's pooling layer, which towers do not use, and constants that older versions stored.
UNUSED = ("pooler.", "embeddings.position_ids")


def needs_transformers(model_cfg: Mapping[str, Any]) -> bool:
    """Whether a model's text encoder or its tokenizer is one of the transformers library's."""
    text = model_cfg["text_cfg"]
    return bool(text.get("hf_model_name") or text.get("hf_tokenizer_name"))


def must_have_transformers(model_cfg: Mapping[str, Any], name: str) -> None:
    """Raise a `UserError` if a model needs the transformers library and it is not installed."""
    if needs_transformers(model_cfg) and importlib.util.find_spec("transformers") is None:
        raise UserError(
            f"{name}: its text side is of the transformers library, which is not installed. Install it into the "
            "environment that runs the jobs (pip install transformers), or use a CLIP with open_clip's text encoder."
        )


def must_be_whole(directory: Path, model_cfg: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a model directory lacks its tokenizer or the description of its text tower."""
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
    """Options of `open_clip.create_model` for the text tower in a model directory; {} if it needs none."""
    name = model_cfg["text_cfg"].get("hf_model_name")
    folder = _tower_folder(directory, name) if name else None
    return {} if folder is None else {"text_cfg": _described_in(folder, model_cfg)}


def save_text_side(directory: Path, model: nn.Module, tokenizer: Any, model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Write the description of a transformers tower and its tokenizer into a model directory.

    Returns:
        The model's configuration with both called '.'.
    """
    text = dict(model_cfg["text_cfg"])
    if text.get("hf_model_name"):
        # Otherwise the tower's pretrained weights would be fetched; they are among the model's.
        text |= {"hf_model_name": HERE, "hf_model_pretrained": False}
        described = json.loads(model.text.config.to_json_string(use_diff=False))  # type: ignore[union-attr, operator]
        described.pop("_name_or_path", None)  # where it was loaded from
        write_json(directory / TOWER_CONFIG, described)
    if hasattr(tokenizer, "save_pretrained"):
        text["hf_tokenizer_name"] = HERE
        tokenizer.save_pretrained(directory)
    return {**model_cfg, "text_cfg": text}


def new_tower(folder: Path, model_cfg: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """A text tower in a separate folder.

    Args:
        folder: of the tower.
        model_cfg: of the CLIP.

    Returns:
        The options for `open_clip.create_model`, and the tokenizer.
    """
    from open_clip.tokenizer import HFTokenizer  # takes seconds

    text = model_cfg["text_cfg"]
    options = {**text.get("tokenizer_kwargs", {}), "trust_remote_code": False}
    tokenizer = HFTokenizer(str(folder), context_length=text["context_length"], **options)
    return {"text_cfg": _described_in(folder, model_cfg)}, tokenizer


def load_tower(model: nn.Module, folder: Path) -> None:
    """Load the weights of a tower, under the names of transformers' base model, into a CLIP's text side, as float32.

    Raises:
        UserError: tensors are missing, unknown, of another shape or without finite numbers; the message names the
            first ones.
    """
    path = folder / TOWER_WEIGHTS
    transformer: nn.Module = model.text.transformer  # type: ignore[union-attr, assignment]
    expected = transformer.state_dict()
    content = read_checkpoint(path)
    state = {
        name: tensor for name, tensor in choose(content, expected, path).tensors.items() if not name.startswith(UNUSED)
    }
    must_fit(state, expected, path, f"the {TOWER_CONFIG} beside it")
    must_hold_numbers(state, expected, path)
    transformer.load_state_dict(state)


def advice(model_cfg: Mapping[str, Any] | None) -> str:
    """What to do about a text side that could not be loaded; '' for open_clip's text encoder."""
    if model_cfg is None or not needs_transformers(model_cfg):
        return ""
    text = model_cfg["text_cfg"]
    named = dict.fromkeys(filter(None, [text.get("hf_model_name"), text.get("hf_tokenizer_name")]))
    return (
        f"\nIts text side is transformers' {' and '.join(named)}. Without a network, set clip.pretrained to an "
        f"open_clip model directory that holds the tower's {TOWER_CONFIG} and its tokenizer.json beside the weights. A "
        "tokenizer that consists of a SentencePiece model also needs the package sentencepiece "
        "(pip install sentencepiece)."
    )


def _described_in(folder: Path, model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    return {**model_cfg["text_cfg"], "hf_model_name": str(folder), "hf_model_pretrained": False}


def _tower_folder(directory: Path, name: str) -> Path | None:
    """The folder with the description of a model directory's text tower; None if open_clip has to find `name`."""
    for folder in (directory / name, directory):
        path = folder / TOWER_CONFIG
        # A model may have a config.json that describes the whole of it, as transformers' CLIPs do.
        if path.is_file() and read_json(path).get("model_type") in _known_types():
            return folder
    return None


def _known_types() -> list[str]:
    from open_clip.hf_configs import arch_dict

    return sorted(arch_dict)
