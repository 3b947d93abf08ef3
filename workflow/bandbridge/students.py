"""Multispectral image encoders: a timm backbone on all bands and a linear layer to CLIP's embedding width."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from bandbridge import views, weights
from bandbridge.errors import UserError
from bandbridge.progress import progress
from bandbridge.sensors import order_bands
from bandbridge.views import BandStatistics

SAMPLES_AT_A_TIME = 256


@dataclass(frozen=True)
class StudentSpec:
    """What a student is, as the config states it.

    Attributes:
        backbone, options: name and keyword arguments of timm.create_model.
        bands: its input's bands in their order.
        scaling: 'reflectance' or 'standardise', see `views.scale_bands`.
        image_size: side of its input in pixels.
        pretrained: a local checkpoint of the backbone, or None.
    """

    backbone: str
    options: Mapping[str, Any]
    bands: tuple[str, ...]
    scaling: str
    image_size: int
    pretrained: str | None = None

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> "StudentSpec":
        return cls(**{**values, "bands": tuple(values["bands"])})


class Student(nn.Module):
    """A backbone that sees `spec.bands`, and a linear layer to `embed_dim`; embeddings are not normalised.

    Args:
        statistics: of the bands, where the scaling is 'standardise'.
    """

    def __init__(self, spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.embed_dim = embed_dim
        self.statistics = statistics
        self.trunk = _backbone(spec)
        self.projection = nn.Linear(self.trunk.head_hidden_size, embed_dim)  # type: ignore[arg-type]

    def forward(self, values: Tensor) -> Tensor:
        """(n, band, image_size, image_size) as `inputs` makes it -> (n, embed_dim)."""
        return self.projection(self.trunk(values))

    def inputs(self, pixels: Tensor, bands: Sequence[str]) -> Tensor:
        """Stored pixels (n, band, y, x) with the names of their bands, as the student takes them."""
        spec = self.spec
        return views.band_input(pixels, bands, spec.bands, spec.image_size, spec.scaling, self.statistics)


def new_student(spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> Student:
    """A student to be trained: random weights, the backbone's from `spec.pretrained` where that is given."""
    student = Student(spec, embed_dim, statistics)
    if spec.pretrained is not None:
        _load_backbone(student.trunk, Path(spec.pretrained))
    return student


def save_student(path: Path, student: Student, clip: str) -> None:
    """Write a student so that `load_student` needs nothing but the file; `clip` names the CLIP it is aligned to."""
    statistics = None if student.statistics is None else asdict(student.statistics)
    description = {"student": asdict(student.spec), "statistics": statistics, "embed_dim": student.embed_dim}
    weights.save_weights(path, student.state_dict(), {"clip": clip, "bandbridge": json.dumps(description)})


def load_student(path: Path) -> Student:
    """The student of a file, in eval mode on the CPU. Raises `UserError` if the file holds no student."""
    metadata = weights.load_metadata(path)
    if "bandbridge" not in metadata:
        raise UserError(f"{path}: its metadata describes no student; expected a model.safetensors of an alignment.")
    found = json.loads(metadata["bandbridge"])
    statistics = found["statistics"] and BandStatistics(**{key: tuple(v) for key, v in found["statistics"].items()})
    student = Student(StudentSpec.from_config(found["student"]), found["embed_dim"], statistics)
    student.load_state_dict(weights.load_weights(path))
    return student.eval()


class Pixels(Protocol):
    """The part of a store's split that statistics need."""

    def __len__(self) -> int: ...
    def read(self, indices: np.ndarray) -> np.ndarray: ...


def band_statistics(samples: Pixels, bands: Sequence[str], wanted: Sequence[str]) -> BandStatistics:
    """Mean and standard deviation over all pixels of each wanted band, in float64, a few samples at a time.

    Args:
        samples: a split whose pixels are (n, band, y, x), `bands` naming the second axis.

    Absent bands get mean 0 and deviation 1, and so does the deviation of a constant band: they scale to zeros.
    """
    positions = order_bands(bands, wanted)
    count, total, squares = 0, np.zeros(len(wanted)), np.zeros(len(wanted))
    starts = range(0, len(samples), SAMPLES_AT_A_TIME)
    for start in progress(starts, "Band statistics", unit="batches"):
        pixels = samples.read(np.arange(start, min(start + SAMPLES_AT_A_TIME, len(samples))))
        count += pixels[:, 0].size
        for band, at in enumerate(positions):
            if at is not None:
                values = pixels[:, at].astype(np.float64)
                total[band] += values.sum()
                squares[band] += np.square(values).sum()
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return BandStatistics(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))


def _backbone(spec: StudentSpec) -> nn.Module:
    import timm

    try:
        return timm.create_model(spec.backbone, in_chans=len(spec.bands), num_classes=0, **spec.options)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"timm cannot make the student's backbone '{spec.backbone}': {error}") from error


def _load_backbone(trunk: nn.Module, path: Path) -> None:
    """Take a checkpoint's weights; it may have a classifier ('head.', 'fc.') more, and nothing else more or less."""
    found = weights.load_checkpoint(path)
    own = trunk.state_dict()
    missing = sorted(set(own) - set(found))
    unknown = sorted(name for name in set(found) - set(own) if not name.startswith(("head.", "fc.")))
    shapes = [
        f"{name} {tuple(found[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(found))
        if found[name].shape != own[name].shape
    ]
    faults = {"lacks": missing, "has besides": unknown, "has other shapes": shapes}
    if any(faults.values()):
        listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in faults.items() if names)
        raise UserError(f"{path} does not fit the student's backbone. It {listed}.")
    trunk.load_state_dict({name: found[name] for name in own})
