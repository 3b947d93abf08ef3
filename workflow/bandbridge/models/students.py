"""Multispectral image encoders: a timm backbone on all bands and a linear layer to CLIP's embedding width."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress
from bandbridge.catalogue.sensors import SENSORS, SENTINEL_1, order_bands
from bandbridge.models import preprocessing as views
from bandbridge.models import weights
from bandbridge.models.backbones import load_backbone, new_backbone
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.state_dicts import must_fit

SAMPLES_AT_A_TIME = 256
# Bands that data may lack: those of the sensors known here. An unknown name is more likely misspelt than absent.
SENSOR_BANDS = frozenset(band.name for sensor in SENSORS.values() for band in sensor.bands)


@dataclass(frozen=True)
class StudentSpec:
    """What a student is, as the config states it.

    Attributes:
        backbone, options: name and keyword arguments of timm.create_model.
        bands: its input's bands in their order.
        scaling: 'reflectance' or 'standardise', see `views.scale_bands`.
        image_size: side of its input in pixels.
        pretrained: a local checkpoint of the backbone, or None.
        modality: the store's modality that holds its bands, or None for the store's first.
        widen_rgb: the checkpoint sees red, green and blue; spread its first layer over `bands`, see
            `backbones.widen_rgb`.
        fill: what a band that the data lack becomes. 'zero' after scaling; 'mean', the mean by the statistics, which
            standardised is zero as well; or 'error', so that no band may be absent, B10 neither.
    """

    backbone: str
    options: Mapping[str, Any]
    bands: tuple[str, ...]
    scaling: str
    image_size: int
    pretrained: str | None = None
    modality: str | None = None
    widen_rgb: bool = False
    fill: str = "zero"

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> "StudentSpec":
        return cls(**{**values, "bands": tuple(values["bands"])})

    @property
    def needs_statistics(self) -> bool:
        return self.scaling == "standardise" or self.fill == "mean"

    def find(self, bands: Sequence[str]) -> tuple[int | None, ...]:
        """Where each of the student's bands stands among `bands`; None for one that is to be filled.

        Raises:
            UserError: a band is absent and `fill` is 'error' or no known sensor has it; or all are absent.
        """
        positions = order_bands(bands, self.bands, may_lack=() if self.fill == "error" else SENSOR_BANDS)
        if all(at is None for at in positions):
            raise UserError(f"The student sees {' '.join(self.bands)}; the data have {' '.join(bands)}, none of them.")
        return positions


class Student(nn.Module):
    """A backbone that sees `spec.bands`, and a linear layer to `embed_dim`; embeddings are not normalised.

    Args:
        statistics: of the bands, where `spec.needs_statistics`.
    """

    def __init__(self, spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.embed_dim = embed_dim
        self.statistics = statistics
        self.trunk = new_backbone(spec.backbone, len(spec.bands), spec.options)
        self._told: list[str] = []
        self.projection = nn.Linear(self.trunk.head_hidden_size, embed_dim)  # type: ignore[arg-type]

    def forward(self, values: Tensor) -> Tensor:
        """(n, band, image_size, image_size) as `inputs` makes it -> (n, embed_dim)."""
        return self.projection(self.trunk(values))

    def inputs(self, pixels: Tensor, bands: Sequence[str]) -> Tensor:
        """Stored pixels (n, band, y, x) with the names of their bands, as the student takes them.

        Bands that the data lack are filled as `spec.fill` says and named once; B10 goes unnamed, since Level-2A never
        has it.
        """
        spec = self.spec
        positions = spec.find(bands)
        self._tell_absent(positions)
        return self.scale(views.square_bands(pixels, positions, spec.image_size), positions)

    def scale(self, values: Tensor, positions: Sequence[int | None]) -> Tensor:
        """Bands in digital numbers (n, band, y, x), where `spec.find` found them, in the student's units."""
        scaled = views.scale_bands(values, positions, self.spec.scaling, self.statistics)
        if self.spec.fill == "mean" and self.spec.scaling == "reflectance":
            assert self.statistics is not None, "fill 'mean' needs statistics"
            mean = torch.tensor(self.statistics.mean, device=values.device).view(-1, 1, 1)
            absent = torch.tensor([at is None for at in positions], device=values.device).view(-1, 1, 1)
            scaled = torch.where(absent, (mean / views.REFLECTANCE_SCALE).clamp(0, 1), scaled)
        return scaled

    def _tell_absent(self, positions: Sequence[int | None]) -> None:
        absent = [name for name, at in zip(self.spec.bands, positions, strict=True) if at is None and name != "B10"]
        if absent and absent != self._told:
            print(f"The data lack {', '.join(absent)}, which the student sees: filled with '{self.spec.fill}'.")
            self._told = absent


def new_student(spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> Student:
    """A student to be trained: random weights, the backbone's from `spec.pretrained` where that is given.

    Prints which tensors of the checkpoint were loaded, which were not, and which are new.

    Raises:
        UserError: timm cannot make the backbone, the checkpoint does not fit, or decibels would be scaled as
            reflectances.
    """
    radar = {band.name for band in SENTINEL_1.bands} & set(spec.bands)
    if radar and spec.scaling == "reflectance":
        raise UserError(
            f"The student's scaling is 'reflectance', but {', '.join(sorted(radar))} are decibels, below zero almost "
            "everywhere: all would be clipped to zero. Set it to 'standardise'."
        )
    if spec.widen_rgb and spec.pretrained is None:
        raise UserError("The student's widen_rgb is true, but pretrained is null: there is no first layer to widen.")
    student = Student(spec, embed_dim, statistics)
    if spec.pretrained is not None:
        report = load_backbone(student.trunk, Path(spec.pretrained), spec.bands, spec.widen_rgb)
        print(f"{report}; new: projection.weight, projection.bias.")
    return student


def first_weights_report(spec: StudentSpec) -> str:
    """What of `spec.pretrained` is loaded into the backbone, in a sentence; raises as `new_student` does."""
    trunk = new_backbone(spec.backbone, len(spec.bands), spec.options)
    return load_backbone(trunk, Path(str(spec.pretrained)), spec.bands, spec.widen_rgb)


def save_student(path: Path, student: Student, clip: str, precision: str) -> None:
    """Write a student so that `load_student` needs nothing but the file.

    Args:
        clip: name of the CLIP it is aligned to.
        precision: what it was trained in, for whoever reads the file.
    """
    statistics = None if student.statistics is None else asdict(student.statistics)
    description = {"student": asdict(student.spec), "statistics": statistics, "embed_dim": student.embed_dim}
    weights.save_weights(
        path,
        student.state_dict(),
        {"clip": clip, "precision": precision, "bandbridge": json.dumps(description, sort_keys=True)},
    )


def load_student(path: Path) -> Student:
    """The student of a file, in eval mode on the CPU. Raises `UserError` if the file holds no student."""
    metadata = weights.load_metadata(path)
    if "bandbridge" not in metadata:
        raise UserError(f"{path}: its metadata describes no student; expected a model.safetensors of an alignment.")
    found = json.loads(metadata["bandbridge"])
    statistics = found["statistics"] and BandStatistics(**{key: tuple(v) for key, v in found["statistics"].items()})
    student = Student(StudentSpec.from_config(found["student"]), found["embed_dim"], statistics)
    state = weights.load_weights(path)
    must_fit(state, student.state_dict(), path, f"the student ({student.spec.backbone}) that its metadata describes")
    student.load_state_dict(state)
    return student.eval()


class Pixels(Protocol):
    """The part of a store's split that statistics need."""

    def __len__(self) -> int: ...
    def read_with_validity(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...


def band_statistics(samples: Pixels, bands: Sequence[str], wanted: Sequence[str]) -> BandStatistics:
    """Mean and standard deviation over all pixels with data of each wanted band, in float64, a few samples at a time.

    Args:
        samples: a split whose pixels are (n, band, y, x), `bands` naming the second axis.

    Absent bands get mean 0 and deviation 1, and so does the deviation of a constant band: they scale to zeros.
    """
    positions = order_bands(bands, wanted, may_lack=SENSOR_BANDS)
    count, total, squares = np.zeros(len(wanted)), np.zeros(len(wanted)), np.zeros(len(wanted))
    starts = range(0, len(samples), SAMPLES_AT_A_TIME)
    for start in progress(starts, "Band statistics", unit="batches"):
        pixels, valid = samples.read_with_validity(np.arange(start, min(start + SAMPLES_AT_A_TIME, len(samples))))
        for band, at in enumerate(positions):
            if at is not None:
                values = pixels[:, at].astype(np.float64)
                values = values if valid is None else values[valid[:, at]]
                count[band] += values.size
                total[band] += values.sum()
                squares[band] += np.square(values).sum()
    count = np.maximum(count, 1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return BandStatistics(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))
