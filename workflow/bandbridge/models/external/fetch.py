"""Published or local weights of an encoder, brought into a directory that `load.load` reads.

An open_clip model becomes an open_clip model directory, as `clip.fetch_clip` writes it, so that zero-shot heads are
built from it as from any CLIP. Every directory has `encoder.json`: the facts, and the origin of the weights.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bandbridge import __version__
from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, read_json, whole_directory, write_json
from bandbridge.catalogue.encoders import MARKER, EncoderFacts, facts_of
from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.ingest.archives import member_names, unpack_member
from bandbridge.ingest.fetch import must_be_as_at_first
from bandbridge.models.backbones import load_backbone
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.clip import WEIGHTS_FILE, fetch_clip
from bandbridge.models.external import torchgeo as encoder_torchgeo
from bandbridge.models.external.load import MODEL_FILE, PATCH_FILE, PATCH_WEIGHT, new_model
from bandbridge.models.external.satmae import load_satmae
from bandbridge.models.external.weights import bring_weights
from bandbridge.models.state_dicts import flat, must_hold_numbers
from bandbridge.models.weights import Weights, list_some, save_weights


def fetch_encoder(content: Mapping[str, Any], archives: Path, directory: Path, checkpoint: str | None = None) -> None:
    """Bring an encoder's weights into `directory`, downloading them into `archives` if they are missing.

    Args:
        content: of the encoder's file, see `encoders.encoder_content`.
        archives: the folder of downloads.
        directory: to write the encoder to.
        checkpoint: a local file (for open_clip also a model directory) in place of the published weights.

    Raises:
        UserError: the weights cannot be fetched, differ from their checksum, or do not fit the architecture; or a
            library that builds the encoder is not installed.
    """
    facts = facts_of(content, checkpoint)
    try:
        path, files = bring_weights(facts, archives)
        with _checkpoint(path, facts, directory.parent) as file:
            bring = _fetch_open_clip if facts.kind == "open_clip" else _fetch
            done = bring(facts, file, directory)
        if facts.kind == "open_clip":
            _check_size(facts, directory)
        if facts.source is None and not facts.is_pinned:
            weights = WEIGHTS_FILE if facts.kind == "open_clip" else MODEL_FILE
            must_be_as_at_first(archives / f"{facts.architecture}.{facts.tag}", checksum(directory / weights))
    except UserError as error:
        raise UserError(f"encoder {facts.name}: {error}") from error
    print(f"{done}.")
    about = {"encoder": dict(content), "checkpoint": checkpoint, "files": files, "bandbridge_version": __version__}
    # Encodings name this file as their input alone, and rerun where its content has changed.
    written = [path for name in (MODEL_FILE, WEIGHTS_FILE, PATCH_FILE) if (path := directory / name).exists()]
    write_json(directory / MARKER, about | {"written_sha256": {path.name: checksum(path) for path in written}})


# --- the checkpoint in an archive -------------------------------------------------------------------------------------


@contextmanager
def _checkpoint(path: Path | None, facts: EncoderFacts, scratch: Path) -> Iterator[Path | None]:
    """The checkpoint itself; a member of a .zip that the facts name is unpacked into `scratch` while the block runs."""
    if path is None or facts.member is None or path.suffix != ".zip":
        yield path
        return
    scratch.mkdir(parents=True, exist_ok=True)
    names = [name for name in member_names(path) if Path(name).name == facts.member]
    if len(names) != 1:
        members = ", ".join(member_names(path))
        raise UserError(f"{path}: expected one {facts.member} in it, found {len(names)}; it has {members}.")
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".member-") as folder:
        file = Path(folder, f"checkpoint{Path(facts.member).suffix}")
        unpack_member(path, names[0], file)
        yield file


# --- by kind ----------------------------------------------------------------------------------------------------------


def _fetch_open_clip(facts: EncoderFacts, path: Path | None, directory: Path) -> str:
    where = f"{facts.architecture} {facts.tag}" if path is None else path.name
    if path is None or path.is_dir() or (facts.is_rgb and not facts.prefix):
        fetch_clip(
            facts.architecture,
            str(path or facts.tag),
            directory,
            None if _states_activation(path) else facts.quick_gelu,
        )
        return f"{where}: loaded into {facts.architecture}"
    state = _under(facts.prefix, flat(read_checkpoint(path)), path)
    wide = None if facts.is_rgb else _narrow(state, facts, path)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".checkpoint-") as folder:
        file = Path(folder, "checkpoint.safetensors")
        save_weights(file, {name: value.clone() for name, value in state.items()}, {})
        fetch_clip(facts.architecture, str(file), directory, facts.quick_gelu)
    if wide is not None:
        save_weights(directory / PATCH_FILE, {PATCH_WEIGHT: wide}, {})
    return f"{where}: loaded into {facts.architecture} for {facts.channels} bands"


def _check_size(facts: EncoderFacts, directory: Path) -> None:
    """Images are prepared in the model's size; an encoder file that states another size is wrong."""
    size = read_json(directory / CONFIG_FILE)["preprocess_cfg"]["size"]
    side = size if isinstance(size, int) else size[0]
    if side != facts.image_size:
        raise UserError(f"input.size is {facts.image_size}, but {facts.architecture} takes images of {side} pixels.")


def _states_activation(path: Path | None) -> bool:
    """Whether the weights' source states their activation, which then counts: an open_clip model directory does."""
    return path is not None and path.is_dir()


def _under(prefix: str, state: Weights, path: Path) -> Weights:
    """The tensors whose names begin with `prefix`, in any container, with the prefix removed."""
    places = {name: f".{name}".find(f".{prefix}") for name in state}
    chosen = {name[at + len(prefix) :]: state[name] for name, at in places.items() if at >= 0}
    if not chosen:
        first = next(iter(state), "none")
        raise UserError(f"{path}: no name in it begins with weights.prefix '{prefix}'; the first is {first}.")
    return chosen


def _narrow(state: Weights, facts: EncoderFacts, path: Path) -> Tensor:
    """Remove the patch embedding of all bands, and leave zeros for three, so that open_clip can build the model."""
    names = [name for name in state if f".{name}".endswith(f".{PATCH_WEIGHT}")]
    if len(names) > 1:
        raise UserError(f"{path} holds several patch embeddings ({list_some(names)}); choose one by weights.prefix.")
    wide = state[names[0]] if names else None
    if wide is None or wide.ndim != 4 or wide.shape[1] != facts.channels:
        shape = "missing" if wide is None else tuple(wide.shape)
        raise UserError(f"{path}: {PATCH_WEIGHT} is {shape}; expected one of the {facts.channels} input.bands.")
    state[names[0]] = torch.zeros(wide.shape[0], 3, *wide.shape[2:])
    must_hold_numbers({PATCH_WEIGHT: wide}, {PATCH_WEIGHT: wide.float()}, path)
    return wide.float()


def _fetch(facts: EncoderFacts, path: Path | None, directory: Path) -> str:
    model = new_model(facts)
    done = f"{facts.architecture}.{facts.tag}: loaded"
    if path is None:
        model = _timm_by_tag(facts)
    elif facts.kind == "timm":
        done = load_backbone(model, path, facts.bands or ("red", "green", "blue"))
    elif facts.kind == "satmae":
        done = load_satmae(model, path)  # type: ignore[arg-type]
    else:
        done = encoder_torchgeo.load_torchgeo(facts, model, path)
    with whole_directory(directory) as part:
        save_weights(part / MODEL_FILE, model.state_dict(), {"encoder": facts.name})
    return done


def _timm_by_tag(facts: EncoderFacts) -> nn.Module:
    import timm

    name = f"{facts.architecture}.{facts.tag}"
    if name not in timm.list_pretrained(f"{facts.architecture}*"):
        names = ", ".join(timm.list_pretrained(f"{facts.architecture}.*"))
        raise UserError(f"weights.tag is '{facts.tag}'; timm has {names or 'no weights of this architecture'}.")
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, in_chans=facts.channels, num_classes=0, **facts.options
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(f"{name} cannot be fetched: {error}") from error
    return model
