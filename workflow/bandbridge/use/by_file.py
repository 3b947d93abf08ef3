"""Models that come to a run by file, in place of a training: patched image encoders and aligned students."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bandbridge.base.checksums import verify_folder
from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.base.files import read_json
from bandbridge.base.progress import remark
from bandbridge.config import clip_support
from bandbridge.models import clip_transformers
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.clip import Clip
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers
from bandbridge.models.students import Student, StudentSpec, load_student
from bandbridge.models.weights import Weights, load_metadata
from bandbridge.use.exported import INPUT_FILE, TRUNK_FILE, load_exported_student
from bandbridge.use.published import STUDENT_HEADS, with_our_names

# What open_clip's description of a CLIP says of how images become its input, and its default.
PREPARATION = {"size": None, "mean": None, "std": None, "interpolation": "bicubic", "resize_mode": "shortest"}
WIDTH_OF_A_HEAD = 64
# Keyword arguments of timm's models that change nothing but training.
ONLY_IN_TRAINING = ("drop_rate", "drop_path_rate")


def image_encoder_by_file(path: Path, clip: Clip) -> Weights:
    """The image encoder of a patched CLIP: its tensors by the names of `clip.visual`, in its types.

    Args:
        path: an open_clip or transformers folder, among them an exported model and `patched/` of a run; or a
            checkpoint that `read_checkpoint` reads, of a whole CLIP, of a CLIP without its text encoder
            (`{"model": ...}`, as the method's authors publish theirs), or of an image encoder alone.
        clip: the CLIP that it was patched from, which provides the text encoder.

    Raises:
        UserError: the file holds no such image encoder, another one, or not finite numbers; or the folder describes
            another activation or preparation of images than `clip` has.
    """
    file = path
    if path.is_dir():
        verify_folder(path)
        file = clip_support.weights_in(path)
        _must_agree_with(clip, path)
    expected = clip.visual.state_dict()
    chosen = choose(read_checkpoint(file), expected, file, also=clip_transformers.NAMES)
    state = chosen.tensors
    if clip_transformers.is_transformers(state):
        renamed = clip_transformers.from_transformers(state).items()
        state = {name.removeprefix("visual."): value for name, value in renamed if name.startswith("visual.")}
    advice = f"clip.patched takes weights of the architecture that clip.name states, {clip.name}."
    must_fit(state, expected, file, f"the image encoder of {clip.name}", advice)
    must_hold_numbers(state, expected, file)
    weights = {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}
    if all(torch.equal(weights[name], tensor) for name, tensor in expected.items()):
        remark(f"{file}: its image encoder is that of {clip.name} before patching, so that every gain will be zero.")
    return weights


def _must_agree_with(clip: Clip, folder: Path) -> None:
    """Compare what tensors do not show: the activation, the width of a head, and how images are prepared."""
    if not (folder / clip_support.CONFIG_FILE).is_file():
        description = clip_support.description_beside(clip_support.weights_in(folder))
        theirs = {} if description is None else {"quick_gelu": description.quick_gelu, **description.preprocessing}
    else:
        described = read_json(folder / clip_support.CONFIG_FILE)
        theirs = _input_facts(described["model_cfg"], described.get("preprocess_cfg", {}))
    ours = _input_facts(clip.model_cfg, clip.preprocess_cfg)
    for name, value in theirs.items():
        if value is not None and _plain(value) != _plain(ours[name]):
            raise UserError(
                f"{folder}: its {name} is {_plain(value)}, that of {clip.name} (clip.name, clip.pretrained) is "
                f"{_plain(ours[name])}; it was patched from another CLIP. Name that one."
            )


def _input_facts(model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "head_width": model_cfg["vision_cfg"].get("head_width", WIDTH_OF_A_HEAD),
        **{name: preprocess_cfg.get(name, default) for name, default in PREPARATION.items()},
    }


def _plain(value: Any) -> Any:
    """Sizes as one number where images are square, and lists for tuples, so that equal facts compare as equal."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values[0] if len(set(values)) == 1 else values


def student_by_file(path: Path, spec: StudentSpec, embed_dim: int, key: str) -> tuple[Student, str]:
    """An aligned student, and the precision that it was trained in ('' where its file does not state it).

    Args:
        path: an exported model's folder, a run's `align/<student>` or the `model.safetensors` in it; or a checkpoint
            that `read_checkpoint` reads with the backbone under `trunk.` and the linear layer under `head.` or
            `head.proj.`, as the method's authors publish theirs.
        spec: of the configuration; what the file states must agree with it.
        embed_dim: width of the CLIP's embeddings.
        key: of the configuration that has `spec`, for messages.

    Raises:
        UserError: the file holds no such student, another one, or not finite numbers.
    """
    described = _described(path)
    if described is None:
        student, precision = _undescribed(path, spec, embed_dim), ""
    else:
        student, precision = described
        _must_be_as_configured(student.spec, spec, path, key)
    if student.embed_dim != embed_dim:
        raise UserError(
            f"{path}: its embeddings have {student.embed_dim} values, those of the CLIP (clip.name) {embed_dim}; it "
            "was aligned to another CLIP. Name that one."
        )
    student.spec = replace(spec, pretrained=None, widen_rgb=False)
    return student.eval(), precision


def _described(path: Path) -> tuple[Student, str] | None:
    """The student of a file or folder of BandBridge's; None for any other."""
    if path.is_dir():
        if (path / INPUT_FILE).is_file():
            return load_exported_student(path)[0], ""
        if not (path / TRUNK_FILE).is_file():
            raise UserError(f"{path}: neither {INPUT_FILE} (an exported student) nor {TRUNK_FILE} in it.")
        path = path / TRUNK_FILE
    if weights_format(path) != "safetensors":
        return None
    metadata = load_metadata(path)
    return (load_student(path), metadata.get("precision", "")) if "bandbridge" in metadata else None


def _undescribed(path: Path, spec: StudentSpec, embed_dim: int) -> Student:
    if spec.needs_statistics:
        raise UserError(
            f"{path}: no statistics of bands in it, which the student needs (scaling '{spec.scaling}', fill "
            f"'{spec.fill}'). Set scaling to 'reflectance' and fill to 'zero' if it was trained so; otherwise take the "
            "file of a run or an exported folder, which have them."
        )
    student = Student(spec, embed_dim)
    expected = student.state_dict()
    theirs = [name.replace("weight", part) for name in STUDENT_HEADS for part in ("weight", "bias")]
    state = with_our_names(choose(read_checkpoint(path), expected, path, also=theirs).tensors)
    if "projection.weight" in state and state["projection.weight"].shape[0] != embed_dim:
        student = Student(spec, state["projection.weight"].shape[0])  # whose width `student_by_file` refuses
        expected = student.state_dict()
    must_fit(state, expected, path, f"the student ({spec.backbone}, {len(spec.bands)} bands, and a linear layer)")
    must_hold_numbers(state, expected, path)
    student.load_state_dict({name: value.float() for name, value in state.items()})
    return student


def _must_be_as_configured(stated: StudentSpec, spec: StudentSpec, path: Path, key: str) -> None:
    def facts(one: StudentSpec) -> dict[str, Any]:
        options = {name: one.options[name] for name in one.options if not name.endswith(ONLY_IN_TRAINING)}
        values = {name: getattr(one, name) for name in ("backbone", "image_size", "bands", "scaling", "fill")}
        return {**values, "bands": list(one.bands), "options": options}

    theirs, ours = facts(stated), facts(spec)
    for name in theirs:
        if theirs[name] != ours[name]:
            raise UserError(
                f"{path}: its student has {name} {theirs[name]}; {key}.{name} is {ours[name]}. Set it to that of the "
                "file."
            )
