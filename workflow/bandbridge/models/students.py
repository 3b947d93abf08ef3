"""Multispectral image encoders: a timm backbone on all bands and a linear layer to CLIP's embedding width."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress
from bandbridge.catalogue.sensors import SENSOR_BANDS, order_bands
from bandbridge.config.encoders import input_faults
from bandbridge.models import preprocessing as views
from bandbridge.models import weights
from bandbridge.models.backbones import load_backbone, new_backbone
from bandbridge.models.device import sent
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.state_dicts import must_fit

SAMPLES_AT_A_TIME = 256


@dataclass(frozen=True)
class StudentSpec:
    """The description of a student in the configuration.

    Attributes:
        backbone: name of timm's model.
        options: keyword arguments of timm.create_model.
        bands: of its input, in order.
        scaling: 'reflectance' or 'standardise', see `preprocessing.scale_bands`.
        image_size: side of its input in pixels.
        pretrained: a local checkpoint of the backbone, or None.
        modality: the store's modality with its bands, or None for the store's first.
        widen_rgb: the checkpoint takes red, green and blue; spread its first layer over `bands`, see
            `backbones.widen_rgb`.
        fill: the value of a band missing from the data: 'zero' after scaling; 'mean', the mean of the statistics
            (standardised, that is zero as well); or 'error', so that no band may be missing, not even B10.
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
        """The index of each of the student's bands in `bands`; None for a band to be filled.

        Raises:
            UserError: a band is missing and `fill` is 'error' or no known sensor has it; or all are missing.
        """
        positions = order_bands(bands, self.bands, may_lack=() if self.fill == "error" else SENSOR_BANDS)
        if all(at is None for at in positions):
            raise UserError(f"The student takes {' '.join(self.bands)}; the data have {' '.join(bands)}, none of them.")
        return positions


class Student(nn.Module):
    """A backbone that takes `spec.bands`, and a linear layer to `embed_dim`; embeddings are not normalised.

    Args:
        spec: of the backbone and its input.
        embed_dim: width of the CLIP's embeddings.
        statistics: of the bands, if `spec.needs_statistics`.
    """

    def __init__(self, spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.embed_dim = embed_dim
        self.statistics = statistics
        self.trunk = new_backbone(spec.backbone, len(spec.bands), spec.options)
        self._announced: list[str] = []
        self.projection = nn.Linear(self.trunk.head_hidden_size, embed_dim)  # type: ignore[arg-type]

    def forward(self, values: Tensor) -> Tensor:
        """(n, band, image_size, image_size) as `inputs` makes it -> (n, embed_dim)."""
        embedding: Tensor = self.projection(self.trunk(values))
        return embedding

    def inputs(self, pixels: Tensor, bands: Sequence[str]) -> Tensor:
        """Stored pixels (n, band, y, x), with the names of their bands, as the student takes them.

        Missing bands are filled by `spec.fill` and named once; B10 is not named, since Level-2A never has it.
        """
        spec = self.spec
        positions = spec.find(bands)
        self._announce_missing(positions)
        return self.scale(views.square_bands(pixels, positions, spec.image_size), positions)

    def scale(self, values: Tensor, positions: Sequence[int | None]) -> Tensor:
        """Bands from digital numbers (n, band, y, x) to the student's units; `positions` as from `spec.find`."""
        scaled = views.scale_bands(values, positions, self.spec.scaling, self.statistics)
        if self.spec.fill == "mean" and self.spec.scaling == "reflectance":
            assert self.statistics is not None, "fill 'mean' needs statistics"
            mean = sent(torch.tensor(self.statistics.mean), values.device).view(-1, 1, 1)
            absent = sent(torch.tensor([at is None for at in positions]), values.device).view(-1, 1, 1)
            scaled = torch.where(absent, (mean / views.REFLECTANCE_SCALE).clamp(0, 1), scaled)
        return scaled

    def _announce_missing(self, positions: Sequence[int | None]) -> None:
        missing = [name for name, at in zip(self.spec.bands, positions, strict=True) if at is None and name != "B10"]
        if missing and missing != self._announced:
            print(f"The data lack {', '.join(missing)}, which the student takes: filled with '{self.spec.fill}'.")
            self._announced = missing


def new_student(spec: StudentSpec, embed_dim: int, statistics: BandStatistics | None = None) -> Student:
    """A student to be trained: random weights, the backbone's from `spec.pretrained` if that is set.

    Prints which tensors of the checkpoint were loaded, which were not, and which are new. Arguments as for `Student`.

    Raises:
        UserError: timm cannot make the backbone, the checkpoint does not fit, or bands, scaling and first weights
            contradict each other.
    """
    if faults := [*input_faults(asdict(spec))]:
        raise UserError("The student cannot be trained:\n" + "\n".join(faults))
    student = Student(spec, embed_dim, statistics)
    if spec.pretrained is not None:
        report = load_backbone(student.trunk, Path(spec.pretrained), spec.bands, spec.widen_rgb)
        print(f"{report}; new: projection.weight, projection.bias.")
    return student


def first_weights_report(spec: StudentSpec) -> str:
    """Try to load `spec.pretrained` into the backbone; a sentence about it, or an error as of `new_student`."""
    trunk = new_backbone(spec.backbone, len(spec.bands), spec.options)
    return load_backbone(trunk, Path(str(spec.pretrained)), spec.bands, spec.widen_rgb)


def save_student(path: Path, student: Student, clip: str, precision: str) -> None:
    """Write a student so that `load_student` needs only the file.

    Args:
        path: of the file.
        student: to write.
        clip: name of the CLIP it is aligned to.
        precision: that it was trained in, for readers of the file.
    """
    statistics = None if student.statistics is None else asdict(student.statistics)
    description = {"student": asdict(student.spec), "statistics": statistics, "embed_dim": student.embed_dim}
    weights.save_weights(
        path,
        student.state_dict(),
        {"clip": clip, "precision": precision, "bandbridge": json.dumps(description, sort_keys=True)},
    )


def load_student(path: Path) -> Student:
    """The student of a file, in eval mode on the CPU; a `UserError` if the file is not a student's."""
    metadata = weights.load_metadata(path)
    if "bandbridge" not in metadata:
        raise UserError(f"{path}: its metadata describes no student; expected a model.safetensors of an alignment.")
    facts = json.loads(metadata["bandbridge"])
    statistics = facts["statistics"] and BandStatistics(**{key: tuple(v) for key, v in facts["statistics"].items()})
    student = Student(StudentSpec.from_config(facts["student"]), facts["embed_dim"], statistics)
    state = weights.load_weights(path)
    must_fit(state, student.state_dict(), path, f"the student ({student.spec.backbone}) that its metadata describes")
    student.load_state_dict(state)
    return student.eval()


class Pixels(Protocol):
    """The part of a store's split that statistics need."""

    def __len__(self) -> int: ...
    def read_with_validity(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]: ...


def band_statistics(samples: Pixels, bands: Sequence[str], selected: Sequence[str]) -> BandStatistics:
    """Mean and standard deviation over all pixels with data of each selected band, in float64, a few samples at a time.

    Missing bands get mean 0 and deviation 1, and a constant band gets deviation 1: they scale to zeros.

    Args:
        samples: a split whose pixels are (n, band, y, x).
        bands: names of the second axis.
        selected: names of the bands to compute.
    """
    positions = order_bands(bands, selected, may_lack=SENSOR_BANDS)
    count, total, squares = np.zeros(len(selected)), np.zeros(len(selected)), np.zeros(len(selected))
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
