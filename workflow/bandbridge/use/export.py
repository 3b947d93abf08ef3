"""Export of a model as a self-contained folder, for this package, timm, open_clip, transformers and ONNX."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from bandbridge import __version__
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_directory, write_json
from bandbridge.base.limits import check_writable
from bandbridge.models.clip import Clip, save_clip
from bandbridge.models.students import Student
from bandbridge.models.weights import save_weights
from bandbridge.use import exported, model_card, onnx_file, stac_item, transformers_copy
from bandbridge.use.card import CARD, Card
from bandbridge.use.model import Model

TRANSFORMERS_FOLDER = "transformers"


def export(model: Model, folder: Path, *, onnx: bool = False) -> list[str]:
    """Write a model's folder, whole or not at all.

    A student's folder holds `config.json` and `model.safetensors`, which `timm.create_model("local-dir:<folder>")`
    loads, the linear layer after it (`projection.safetensors`), how bands become its input (`input.json`), and its
    CLIP's text side (`text/`, an open_clip model directory). A CLIP's folder is an open_clip model directory, with a
    copy for transformers in `transformers/` where that library has the architecture. Both hold `bandbridge.json` (all
    metadata), a model card (`README.md`), and a STAC item of the MLM extension (`item.json`).

    Args:
        model: in float32.
        folder: new, or of an earlier export.
        onnx: also write `model.onnx`, whose embeddings are compared with torch's.

    Returns:
        Remarks in sentences, such as on parts that could not be written.

    Raises:
        UserError: a published encoder, weights that were cast to half precision, or a folder with other files.
    """
    if model.parts.encoder is not None:
        raise UserError(
            f"{model.name} is published by others, under their licence ({model.card.data.get('licence')}); use its "
            "name as MODEL, and refer to their page instead of exporting it."
        )
    if model.precision.name != "float32":
        raise UserError(f"{model.name} was loaded in {model.precision.name}; export needs --precision float32.")
    _must_be_ours(folder)
    check_writable(folder.parent, "FOLDER")
    model.image.network.cpu()
    card = _exported_card(model)
    with whole_directory(folder) as part:
        if model.parts.student is not None:
            remarks = _write_student(part, model.parts.student, model)
        else:
            remarks = _write_clip(part, model.parts.clip)
        write_json(part / CARD, card.as_json() | {"dim": model.dim, "image_size": model.image.size}, checked=False)
        if onnx:
            remarks.append(onnx_file.write_onnx(model, part / onnx_file.ONNX_FILE))
        if remark := stac_item.write_item(part, model, card):
            remarks.append(remark)
        model_card.write_model_card(part, model, card)
    return remarks


def _must_be_ours(folder: Path) -> None:
    """Refuse a folder that is not an export: only an export is replaced."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD).is_file():
        raise UserError(f"{folder} holds other files than an exported model; name a new folder.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder.")


def _exported_card(model: Model) -> Card:
    return replace(model.card, versions={**model.card.versions, "bandbridge": __version__, "torch": torch.__version__})


def _write_student(folder: Path, student: Student, model: Model) -> list[str]:
    spec = student.spec
    statistics = None if student.statistics is None else asdict(student.statistics)
    # The path of first weights is one of the machine that trained it.
    described = {**asdict(spec), "pretrained": None, "widen_rgb": False}
    write_json(folder / "config.json", _timm_config(student), checked=False)
    content = {"student": described, "statistics": statistics, "embed_dim": student.embed_dim, "steps": _steps(student)}
    write_json(folder / exported.INPUT_FILE, content, checked=False)
    metadata = {"format": "pt"}
    save_weights(folder / exported.TRUNK_FILE, student.trunk.state_dict(), metadata)
    save_weights(folder / exported.PROJECTION_FILE, student.projection.state_dict(), metadata)
    try:
        text = model.text
    except UserError as error:
        return [f"Without a text encoder: {error}"]
    save_clip(replace(text, model=text.model.cpu()), folder / exported.TEXT_FOLDER)
    return []


def _timm_config(student: Student) -> dict[str, Any]:
    spec = student.spec
    channels, side = len(spec.bands), spec.image_size
    timm_facts = getattr(student.trunk, "pretrained_cfg", None)
    first = timm_facts.get("first_conv") if timm_facts else None
    return {
        "architecture": spec.backbone.partition(".")[0],
        "num_classes": 0,
        "num_features": int(student.trunk.head_hidden_size),  # type: ignore[arg-type]
        "model_args": {**dict(spec.options), "in_chans": channels, "num_classes": 0},
        "pretrained_cfg": {
            "tag": "bandbridge",
            "input_size": [channels, side, side],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": [0.0] * channels,
            "std": [1.0] * channels,
            "num_classes": 0,
            "first_conv": first,
            "classifier": None,
        },
    }


def _steps(student: Student) -> list[str]:
    """How bands become the input, for users without this package."""
    spec = student.spec
    scaled = (
        "divide by 10000 and clip to 0..1"
        if spec.scaling == "reflectance"
        else "subtract statistics.mean and divide by statistics.std, per band"
    )
    missing = {"zero": "zeros after scaling", "mean": "statistics.mean before scaling", "error": "refuse the image"}
    return [
        f"stack the bands in this order: {', '.join(spec.bands)}",
        f"resize to {spec.image_size} x {spec.image_size} pixels (bicubic, antialiased)",
        scaled,
        f"a band that is missing: {missing[spec.fill]}",
        "timm model without classifier, then the linear layer of projection.safetensors (weight, bias)",
        "divide the embedding by its length",
    ]


def _write_clip(folder: Path, clip: Clip) -> list[str]:
    inside = folder / "clip"
    save_clip(clip, inside)
    for path in inside.iterdir():
        shutil.move(path, folder / path.name)
    inside.rmdir()
    reason = transformers_copy.why_not(clip)
    if reason:
        return [f"Without a copy for transformers: {reason}."]
    transformers_copy.write_copy(clip, folder / TRANSFORMERS_FOLDER)
    return []


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Upload an exported folder to a model hub, with huggingface_hub's endpoint and login.

    Returns:
        The address of the commit.

    Raises:
        UserError: the folder is not an export, the name is not `owner/name`, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (folder / CARD).is_file():
        raise UserError(f"{folder} is not an exported model ({CARD} is missing); export first.")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"--push is '{repository}'; expected owner/name.")
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"{folder.name}, by bandbridge {__version__}",
            ignore_patterns=[".*.crc32c"],
        )  # fmt: skip
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise UserError(
            f"{repository} at {api.endpoint}: the upload failed ({error}). Log in with `hf auth login`, check the "
            f"name, and try again; {folder} is complete."
        ) from error
    return str(done.commit_url)
