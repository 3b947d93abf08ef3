"""Bands to a student's input, faster than in training: for windows by the hundred thousand."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from bandbridge.base.progress import remark
from bandbridge.models import preprocessing as views
from bandbridge.models.students import Student


def student_inputs(student: Student) -> Callable[[Tensor, tuple[str, ...]], Tensor]:
    """What `student.inputs` does, equal but for the last digits of a float.

    The resize is two matrix products with the weights of torch's own, and standardising, which is linear as the resize
    is, comes before it where the window is the smaller one. Bands that are missing are named once.
    """
    spec = student.spec
    told: set[tuple[str, ...]] = set()

    def prepare(pixels: Tensor, bands: tuple[str, ...]) -> Tensor:
        positions = spec.find(bands)
        _tell(spec.bands, positions, spec.fill, told)
        values = views.select_bands(pixels, positions)
        height, width = values.shape[-2:]
        if spec.scaling == "standardise" and height * width < spec.image_size**2:
            return resize(student.scale(values, positions), spec.image_size)
        return student.scale(resize(values, spec.image_size), positions)

    return prepare


def resize(values: Tensor, size: int) -> Tensor:
    """(n, band, y, x) to `size` by `size`, as `preprocessing.resize`: bicubic with antialiasing."""
    height, width = values.shape[-2:]
    if (height, width) == (size, size):
        return values
    down, across = _weights(height, size).to(values.device), _weights(width, size).to(values.device)
    return down @ (values @ across.T)


@cache
def _weights(source: int, target: int) -> Tensor:
    """(target, source): what each pixel of one side is made of."""
    return views.resize(torch.eye(source)[None, None], (target, source))[0, 0]


def _tell(wanted: Sequence[str], positions: Sequence[int | None], fill: str, told: set[tuple[str, ...]]) -> None:
    # Level 2A never has B10.
    absent = tuple(name for name, at in zip(wanted, positions, strict=True) if at is None and name != "B10")
    if absent and absent not in told:
        told.add(absent)
        remark(f"the images lack {', '.join(absent)}, which the model sees: filled with '{fill}', as in its training.")
