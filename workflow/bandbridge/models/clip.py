"""CLIP models as open_clip model directories: fetched, created, loaded, saved."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from bandbridge.base.checksums import verify_folder
from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.files import checksum, whole_directory, write_checksums, write_json
from bandbridge.base.locations import WORKFLOW
from bandbridge.base.progress import remark
from bandbridge.config import clip_support
from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models import clip_text, weights
from bandbridge.models import preprocessing as views
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.state_dicts import flat, must_hold_numbers

WEIGHTS_FILE = "open_clip_model.safetensors"
RESIZE_MODES = ("shortest", "squash")


@dataclass(frozen=True, eq=False)
class Clip:
    """A CLIP with its tokenizer and preprocessing.

    Attributes:
        name: of its directory.
        model: open_clip's, float32; `model.visual` is the image encoder.
        tokenizer: sentences -> (n, context) token ids.
        model_cfg: as in its open_clip_config.json.
        preprocess_cfg: as in its open_clip_config.json.
        remark: an assumption about its weights; empty without one.
    """

    name: str
    model: nn.Module
    tokenizer: Callable[[Sequence[str]], Tensor]
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    remark: str = ""

    @property
    def visual(self) -> nn.Module:
        visual: nn.Module = self.model.visual  # type: ignore[assignment]
        return visual

    @property
    def embed_dim(self) -> int:
        return int(self.model_cfg["embed_dim"])

    @property
    def logit_scale(self) -> float:
        """exp of the model's parameter, the factor of cosines."""
        return float(self.model.logit_scale.detach().exp())  # type: ignore[operator]

    @property
    def logit_bias(self) -> float:
        """The summand of scaled cosines: SigLIP's parameter, 0 for models without one."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach())

    @property
    def text_is_locked(self) -> bool:
        """Whether its text tower takes no gradient, see `new_clip`."""
        text = getattr(self.model, "text", None)
        return text is not None and not any(parameter.requires_grad for parameter in text.parameters())

    @property
    def image_size(self) -> int:
        size = self.preprocess_cfg["size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def mean(self) -> tuple[float, ...]:
        return tuple(self.preprocess_cfg["mean"])

    @property
    def std(self) -> tuple[float, ...]:
        return tuple(self.preprocess_cfg["std"])

    def inputs(self, rgb: Tensor) -> Tensor:
        """Images (n, 3, y, x) uint8 as the image encoder takes them, see `preprocessing.clip_input`."""
        how = self.preprocess_cfg["interpolation"], self.preprocess_cfg["resize_mode"]
        return views.clip_input(rgb, self.image_size, self.mean, self.std, *how)


@cache
def _open_clip() -> ModuleType:
    """open_clip (imported here because it takes seconds) with the architectures of workflow/clip_configs added."""
    import open_clip

    open_clip.add_model_config(WORKFLOW / "clip_configs")
    module: ModuleType = open_clip
    return module


def new_clip(name: str, tower: Path | None = None) -> Clip:
    """A CLIP with random weights.

    Args:
        name: of an architecture in workflow/clip_configs or in open_clip.
        tower: a folder with the text tower that the architecture names: config.json, model.safetensors and the
            tokenizer's files. Its weights are loaded, and locked: they take no gradient.
    """
    model_cfg = _model_config(name)
    clip_text.must_have_transformers(model_cfg, name)
    if tower is None:
        return _clip(name, _build(name), _tokenizer(name, model_cfg), model_cfg)
    options, tokenizer = clip_text.new_tower(tower, model_cfg)
    model = _build(name, **options)
    clip_text.load_tower(model, tower)
    model.text.requires_grad_(False)
    return _clip(name, model, tokenizer, model_cfg)


def load_clip(directory: Path) -> Clip:
    """The CLIP of an open_clip model directory, in eval mode, float32, on the CPU.

    Raises:
        UserError: the directory lacks its configuration, its weights or a part of its text side, a file in it is
            damaged, the transformers library is needed and not installed, or the model's images are not square.
    """
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (directory / file).is_file():
            raise UserError(f"{directory}: {file} is missing, so this is not an open_clip model directory.")
    return _from_directory(directory.name, directory)


def save_clip(clip: Clip, directory: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a CLIP as a directory that open_clip loads by itself ('local-dir:...'), text side and tokenizer included.

    A CLIP with a transformers tower is loaded by open_clip if the directory is the working directory, or if the path of
    the tower's description is passed (`clip_text.tower_options`), as `load_clip` does.

    Args:
        clip: to write.
        directory: replaced as a whole.
        metadata: for the weights' file.
    """
    with whole_directory(directory) as part:
        model_cfg = clip_text.save_text_side(part, clip.model, clip.tokenizer, clip.model_cfg)
        write_checksums(part)
        weights.save_weights(part / WEIGHTS_FILE, clip.model.state_dict(), metadata or {})
        # Stages that name this file as their input alone rerun where its content has changed.
        config: dict[str, Any] = {"weights_sha256": checksum(part / WEIGHTS_FILE)}
        config |= {"model_cfg": model_cfg, "preprocess_cfg": clip.preprocess_cfg}
        write_json(part / CONFIG_FILE, config | ({"remark": clip.remark} if clip.remark else {}))


def fetch_clip(name: str, pretrained: str, directory: Path, quick_gelu: bool | None = None) -> None:
    """Bring a pretrained CLIP into the form of an open_clip model directory.

    Args:
        name: an architecture of open_clip or of workflow/clip_configs. If `pretrained` comes with an
            architecture (hub, directory), that one is used.
        pretrained: a tag of open_clip for this name, 'hf-hub:<owner>/<model>', a local checkpoint (the weights of
            open_clip, OpenAI or transformers' CLIP, in any form that `read_checkpoint` reads), or a local model
            directory of open_clip or of transformers' CLIP.
        directory: replaced as a whole.
        quick_gelu: the activation that the weights were trained with, QuickGELU (OpenAI's) or GELU. None uses that
            of the weights' source and, for a file that does not state one, that of `name`.

    Raises:
        UserError: unknown name or tag, an architecture that is not supported, weights that cannot be fetched, do not
            fit or are not finite, an activation that contradicts their origin.
    """
    if pretrained.startswith("hf-hub:"):
        clip = _from_hub(name, pretrained, quick_gelu)
    elif Path(pretrained).is_dir():
        clip = _from_directory(name, Path(pretrained), quick_gelu)
    elif Path(pretrained).is_file():
        clip = _from_file(name, Path(pretrained), quick_gelu)
    else:
        clip = _from_tag(name, pretrained, quick_gelu)
    state = clip.model.state_dict()
    must_hold_numbers(state, state, Path(pretrained))
    save_clip(clip, directory)


def _from_hub(name: str, source: str, quick_gelu: bool | None) -> Clip:
    model = _create(source, None)
    model_cfg = _open_clip().get_model_config(source)
    _must_be_supported(model_cfg, source)
    _must_agree(quick_gelu, bool(model_cfg.get("quick_gelu", False)), f"{CONFIG_FILE} of {source}")
    return _clip(name, model, _tokenizer(source, model_cfg), model_cfg)


def _from_directory(name: str, directory: Path, quick_gelu: bool | None = None) -> Clip:
    file = clip_support.weights_in(directory)
    if not (directory / CONFIG_FILE).is_file():
        return _from_file(name, file, quick_gelu)
    from bandbridge.models import clip_checkpoints  # takes seconds, as open_clip does

    verify_folder(directory)
    if (directory / WEIGHTS_FILE).is_file():
        weights.verify_weights(directory / WEIGHTS_FILE, directory)
    source = f"local-dir:{directory}"
    model_cfg = _open_clip().get_model_config(source)
    _must_agree(quick_gelu, bool(model_cfg.get("quick_gelu", False)), f"{CONFIG_FILE} of {directory}")
    clip_text.must_have_transformers(model_cfg, str(directory))
    clip_text.must_be_whole(directory, model_cfg)
    options = clip_text.tower_options(directory, model_cfg)
    model = _build_for(file, source, model_cfg, load_weights=False, **options)
    clip_checkpoints.load_file(model, read_checkpoint(file), f"the {CONFIG_FILE} beside it", file)
    return _clip(name, model, _tokenizer(source, model_cfg), model_cfg)


def _from_tag(name: str, tag: str, asked: bool | None) -> Clip:
    model_cfg = _model_config(name)
    tags = _open_clip().list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise UserError(
            f"clip.pretrained is '{tag}', which is neither a local file or directory nor weights that open_clip has "
            f"for {name}: {', '.join(tags) or 'none'}.{did_you_mean(tag, tags)}"
        )
    # The activation belongs to the weights: open_clip only warns where the architecture's differs.
    quick_gelu = bool(_open_clip().get_pretrained_cfg(name, tag).get("quick_gelu", False))
    _must_agree(asked, quick_gelu, f"open_clip's record of '{tag}'")
    clip_text.must_have_transformers(model_cfg, name)
    model = _create(name, model_cfg, pretrained=tag, quick_gelu=quick_gelu)
    return _clip(name, model, _tokenizer(name, model_cfg), model_cfg | {"quick_gelu": quick_gelu})


def _from_file(name: str, path: Path, asked: bool | None) -> Clip:
    from bandbridge.models import clip_checkpoints  # takes seconds, as open_clip does

    model_cfg = _model_config(name)
    clip_text.must_have_transformers(model_cfg, name)
    content = read_checkpoint(path)
    described = clip_support.description_beside(path)
    quick_gelu = bool(model_cfg.get("quick_gelu", False)) if asked is None else asked
    assumed = ""
    if clip_checkpoints.is_openai(flat(content)):
        _must_agree(asked, True, f"{path}, which OpenAI made,")
        quick_gelu = True
    elif described is not None:
        _must_agree(asked, described.quick_gelu, str(described.path))
        quick_gelu = described.quick_gelu
    elif name.endswith("-quickgelu"):
        _must_agree(asked, True, f"clip.name '{name}'")
    elif not quick_gelu and asked is None:
        assumed = (
            f"{path} does not state the activation it was trained with; GELU was assumed, which {name} has. Weights "
            "that were trained with OpenAI's need clip.quick_gelu: true."
        )
        remark(assumed)
    model_cfg = model_cfg | {"quick_gelu": quick_gelu}
    model = _build_for(path, name, model_cfg, quick_gelu=quick_gelu)
    if choice := clip_checkpoints.load_file(model, content, name, path):
        print(f"{path}: {choice}.")
    if described is not None:
        model.visual.preprocess_cfg.update(described.preprocessing)  # type: ignore[union-attr, operator]
    return replace(_clip(name, model, _tokenizer(name, model_cfg), model_cfg), remark=assumed)


def _must_agree(asked: bool | None, needed: bool, origin: str) -> None:
    if asked is not None and asked != needed:
        raise UserError(
            f"clip.quick_gelu is {str(asked).lower()}, but {origin} says that the weights were trained with "
            f"{'QuickGELU' if needed else 'GELU'}; another activation changes every embedding. "
            f"Set clip.quick_gelu to null or {str(needed).lower()}."
        )


def _must_be_supported(model_cfg: Mapping[str, Any], name: str) -> None:
    fault = clip_support.unsupported(model_cfg)
    if fault:
        raise UserError(f"{name}: {fault}.")


def _build(name: str, **options: Any) -> nn.Module:
    """An architecture with random weights."""
    logging.disable(logging.WARNING)  # open_clip warns that nothing is loaded
    try:
        model: nn.Module = _open_clip().create_model(name, pretrained_text=False, **options)
    finally:
        logging.disable(logging.NOTSET)
    return model


def _build_for(path: Path, name: str, model_cfg: dict[str, Any], **options: Any) -> nn.Module:
    """An architecture with random weights, into which those of a file will be loaded."""
    try:
        return _build(name, **options)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}: cannot be built for {path}. {error}{clip_text.advice(model_cfg)}") from error


def _create(source: str, model_cfg: dict[str, Any] | None, **options: Any) -> nn.Module:
    try:
        model: nn.Module = _open_clip().create_model_from_pretrained(source, return_transform=False, **options)
    except (ImportError, RuntimeError, OSError, ValueError) as error:
        origin = options.get("pretrained", "its own weights")
        raise UserError(
            f"{source}, {origin}: cannot be loaded. {error}\nWithout a network, fetch the weights beforehand on a "
            "machine with one ('snakemake fetch'), or set clip.pretrained to the path of a local checkpoint."
            f"{clip_text.advice(model_cfg)}"
        ) from error
    return model


def _tokenizer(source: str, model_cfg: dict[str, Any]) -> Any:
    # A folder or a hub may contain a tokenizer as a program; its configuration may ask to run it, which is refused.
    options = {"trust_remote_code": False} if model_cfg["text_cfg"].get("hf_tokenizer_name") else {}
    try:
        return _open_clip().get_tokenizer(source, **options)
    except (ImportError, OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{source}: its tokenizer is a separate program (auto_map in tokenizer_config.json), which is not "
                "run. Use a model whose tokenizer is one of the transformers library's."
            ) from error
        raise UserError(f"{source}: its tokenizer cannot be loaded. {error}{clip_text.advice(model_cfg)}") from error


def _model_config(name: str) -> dict[str, Any]:
    config: dict[str, Any] | None = _open_clip().get_model_config(name)
    if config is None:
        names = _open_clip().list_models()
        added = sorted(path.stem for path in (WORKFLOW / "clip_configs").glob("*.json"))
        raise UserError(
            f"clip.name is '{name}'; workflow/clip_configs has {', '.join(added)}, and open_clip "
            f"{len(names) - len(added)} more.{did_you_mean(name, names)}"
        )
    _must_be_supported(config, name)
    return config


def _clip(name: str, model: nn.Module, tokenizer: Any, model_cfg: dict[str, Any]) -> Clip:
    preprocess_cfg = dict(model.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
    size = preprocess_cfg["size"]
    if preprocess_cfg["resize_mode"] not in RESIZE_MODES or (not isinstance(size, int) and size[0] != size[1]):
        raise UserError(
            f"{name} prepares images by resize_mode '{preprocess_cfg['resize_mode']}' and size {size}; "
            f"only square images and {' or '.join(RESIZE_MODES)} are supported."
        )
    return Clip(name, model.eval(), tokenizer, model_cfg, preprocess_cfg)
