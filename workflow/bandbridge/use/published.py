"""The checkpoints of the method's authors: the CLIP without a text transformer, the student with its linear layer.

Both are `{"model": state dict}` (Zavras et al. 2025, copied manually from the page that their repository names). The
network is recognised by the names and shapes of the tensors.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import SENTINEL_2, STUDENT_BANDS
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.clip import Clip, new_clip
from bandbridge.models.state_dicts import flat, must_fit, must_hold_numbers
from bandbridge.models.students import Student, StudentSpec
from bandbridge.use.card import Card

# The linear layer replaces the head of open_clip's TimmModel, or is the layer in it.
STUDENT_HEADS = ("head.weight", "head.proj.weight")
STUDENT_PATCHES = "trunk.patch_embed.proj.weight"
CLIP_PATCHES = "visual.conv1.weight"
# (width, patch, tokens beside the class token) of OpenAI's ViTs -> their architecture in open_clip, with QuickGELU.
ARCHITECTURES = {
    (768, 32, 49): "ViT-B-32-quickgelu",
    (768, 16, 196): "ViT-B-16-quickgelu",
    (1024, 14, 256): "ViT-L-14-quickgelu",
    (1024, 14, 576): "ViT-L-14-336-quickgelu",
}
# (width, patch) of timm's plain ViTs.
BACKBONES = {(192, 16): "vit_tiny_patch16_224", (384, 16): "vit_small_patch16_224", (768, 16): "vit_base_patch16_224"}
# The composite of the paper: white at 2,000 for Level 2A.
COMPOSITE = {"bands": ("B04", "B03", "B02"), "divisor": 2000.0}


def load_checkpoint(path: Path) -> tuple[Student | Clip, Card]:
    """The student or the CLIP in a checkpoint of the authors, and its metadata.

    Raises:
        UserError: the file is not a checkpoint, or of another model.
    """
    state = flat(read_checkpoint(path))
    loaders: dict[str, Callable[[Mapping[str, Tensor], Path], tuple[Student | Clip, Card]]] = {
        STUDENT_PATCHES: _student,
        "head.proj.weight": _student,
        CLIP_PATCHES: _clip,
    }
    for marker, load in loaders.items():
        prefix = next((name[: -len(marker)] for name in state if f".{name}".endswith(f".{marker}")), None)
        if prefix is not None:
            return load({name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}, path)
    raise UserError(
        f"{path}: neither a CLIP ({CLIP_PATCHES} is missing) nor an aligned student ({STUDENT_PATCHES} is missing). "
        "Weights of another encoder need a file in workflow/encoders (docs/encoders.md), whose name is then a MODEL."
    )


def with_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an aligned student (trunk.*, and head.* or head.proj.*) by our names."""
    weights = {re.sub(r"^head\.(proj\.)?(?=weight|bias)", "projection.", name): state[name] for name in state}
    if "projection.weight" in weights and "projection.bias" not in weights:  # none by default in open_clip's head
        weights["projection.bias"] = weights["projection.weight"].new_zeros(len(weights["projection.weight"]))
    return weights


def _student(state: Mapping[str, Tensor], path: Path) -> tuple[Student, Card]:
    patches = state.get(STUDENT_PATCHES)
    sizes = None if patches is None else (patches.shape[0], patches.shape[-1])
    if sizes not in BACKBONES or patches is None or patches.shape[1] != len(STUDENT_BANDS):
        shape = "missing" if patches is None else tuple(patches.shape)
        raise UserError(
            f"{path}: {STUDENT_PATCHES} is {shape}; the authors' students are ViTs of {len(STUDENT_BANDS)} bands, "
            f"whose patch embeddings are (width, {len(STUDENT_BANDS)}, 16, 16) with width "
            f"{', '.join(str(w) for w, _ in BACKBONES)}."
        )
    spec = StudentSpec(BACKBONES[sizes], {}, STUDENT_BANDS, "reflectance", 224)
    weights = with_our_names(state)
    if "projection.weight" not in weights:
        raise UserError(f"{path}: {' or '.join(STUDENT_HEADS)}, the student's linear layer, is missing.")
    student = Student(spec, weights["projection.weight"].shape[0])
    must_fit(weights, student.state_dict(), path, f"the student ({spec.backbone} and a linear layer)")
    must_hold_numbers(weights, student.state_dict(), path)
    student.load_state_dict({name: value.float() for name, value in weights.items()})
    card = Card(
        name=path.stem,
        kind="student",
        title=f"Aligned {spec.backbone}, Zavras et al. 2025",
        bands=STUDENT_BANDS,
        sensor=SENTINEL_2.title,
        units=SENTINEL_2.units,
        resolution=SENTINEL_2.resolution,
        data={"cite": ("zavras2025mind",)},
    )
    return student.eval(), card


def _clip(state: Mapping[str, Tensor], path: Path) -> tuple[Clip, Card]:
    patches, positions = state[CLIP_PATCHES], state.get("visual.positional_embedding")
    sizes = (patches.shape[0], patches.shape[-1], -1 if positions is None else len(positions) - 1)
    if sizes not in ARCHITECTURES or patches.shape[1] != 3:
        architectures = ", ".join(name.removesuffix("-quickgelu") for name in ARCHITECTURES.values())
        raise UserError(
            f"{path}: {CLIP_PATCHES} is {tuple(patches.shape)} with {sizes[2]} positions, which is none of "
            f"{architectures}. For another CLIP convert the weights to an open_clip model directory, and name that."
        )
    clip = new_clip(ARCHITECTURES[sizes])
    visual = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    must_fit(visual, clip.visual.state_dict(), path, f"the image encoder of {ARCHITECTURES[sizes]}")
    must_hold_numbers(visual, clip.visual.state_dict(), path)
    clip.visual.load_state_dict({name: value.float() for name, value in visual.items()})
    name = ARCHITECTURES[sizes].removesuffix("-quickgelu")
    card = Card(
        name=path.stem,
        kind="clip",
        title=f"Patched {name}, Zavras et al. 2025",
        sensor=SENTINEL_2.title,
        units=SENTINEL_2.units,
        composite=COMPOSITE,
        clip=name,
        data={"cite": ("zavras2025mind",)},
    )
    return clip, card
