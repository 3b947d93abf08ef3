"""Published text towers, which are not trained: the files of workflow/text_towers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.locations import WORKFLOW
from bandbridge.base.untrusted import leads_out
from bandbridge.catalogue.datasets import Source, read_yaml

FOLDER = "text_towers"
# Pooling of tokens -> open_clip's name for it.
POOLERS = {"mean": "mean_pooler", "cls": "cls_last_hidden_state_pooler"}


@dataclass(frozen=True)
class Packaging:
    """A zip that holds a tower's files: in `folder` of it, or of the zip `archive` inside it."""

    source: Source
    archive: str | None
    folder: str


@dataclass(frozen=True)
class TextTower:
    """A sentence encoder of the transformers library, as its YAML file states it.

    Attributes:
        width: values of an embedding.
        pooling: 'mean' of a sentence's tokens, or 'cls', its first one.
        context: the most tokens of a sentence.
        packagings: of the same files, in the order that they are tried.
        files: name -> sha256.
    """

    name: str
    title: str
    width: int
    pooling: str
    context: int
    packagings: tuple[Packaging, ...]
    files: Mapping[str, str]
    licence: str
    attribution: str
    cite: tuple[str, ...]


def text_tower_names() -> list[str]:
    return sorted(path.stem for path in (WORKFLOW / FOLDER).glob("*.yaml"))


def load_text_tower(name: str) -> TextTower:
    """A tower by name.

    Raises:
        UserError: there is no such tower; the message lists the names.
    """
    facts = read_yaml(FOLDER, name)
    return TextTower(
        **{key: facts[key] for key in ("name", "title", "width", "pooling", "context", "licence")},
        packagings=tuple(_packaging(source) for source in facts["sources"]),
        files=_checked(facts["files"], name),
        attribution=facts.get("attribution", ""),
        cite=tuple(facts.get("cite", ())),
    )


def tower_folder(data_root: str, name: str) -> Path:
    """Where a tower's files are kept, among the downloads that all runs share."""
    return Path(data_root) / "archives" / FOLDER / name


def missing_tower_files(data_root: str, name: str) -> list[Path]:
    """The files of a tower that its folder lacks."""
    folder = tower_folder(data_root, name)
    return [folder / file for file in load_text_tower(name).files if not (folder / file).exists()]


def architecture_faults(tower: TextTower, model_cfg: Mapping[str, Any]) -> list[str]:
    """Contradictions between an open_clip architecture and the tower that it names, as 'key is x, expected y'."""
    text = model_cfg["text_cfg"]
    stated = {
        "embed_dim": (model_cfg["embed_dim"], tower.width),
        "text_cfg.hf_pooler_type": (text.get("hf_pooler_type", POOLERS["mean"]), POOLERS[tower.pooling]),
        # A projection would have to be trained, and the embedding would no longer be the tower's.
        "text_cfg.hf_proj_type": (text.get("hf_proj_type", "mlp"), None),
    }
    faults = [
        f"{key} is {value!r}, expected {expected!r}" for key, (value, expected) in stated.items() if value != expected
    ]
    if not 0 < text.get("context_length", 0) <= tower.context:
        faults.append(f"text_cfg.context_length is {text.get('context_length')}, expected 1 to {tower.context}")
    return faults


def _checked(files: Mapping[str, str], tower: str) -> Mapping[str, str]:
    """The files of a tower.

    Raises:
        UserError: a name leads out of the tower's folder.
    """
    for name in files:
        if leads_out(name) or "/" in name or name.startswith("."):
            raise UserError(f"workflow/{FOLDER}/{tower}.yaml: files names {name!r}, expected a plain file name")
    return files


def _packaging(facts: Mapping[str, Any]) -> Packaging:
    file = {key: facts[key] for key in ("file", "pip", "sha256") if key in facts}
    source = Source(**file, urls=tuple(facts.get("urls", ())))
    return Packaging(source, facts.get("archive"), facts.get("folder", ""))
