"""Preparing bands as a student's input, faster than in training: for hundreds of thousands of windows."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from bandbridge.base.progress import remark
from bandbridge.models import preprocessing as views
from bandbridge.models.students import Student


def student_inputs(student: Student) -> Callable[[Tensor, tuple[str, ...]], Tensor]:
    """A function like `student.inputs`, whose results differ only in the last digits of a float.

    It resizes by two matrix products with the weights of torch's resize, and standardises, which is linear as well,
    before the resize if the window is smaller than the input. Missing bands are reported once.
    """
    spec = student.spec
    reported: set[tuple[str, ...]] = set()

    def prepare(pixels: Tensor, bands: tuple[str, ...]) -> Tensor:
        positions = spec.find(bands)
        _report_missing(spec.bands, positions, spec.fill, reported)
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
    """(target, source): the weights of the source pixels in each pixel of one side."""
    return views.resize(torch.eye(source)[None, None], (target, source))[0, 0]


def _report_missing(
    bands: Sequence[str], positions: Sequence[int | None], fill: str, reported: set[tuple[str, ...]]
) -> None:
    # Level 2A never has B10.
    missing = tuple(name for name, position in zip(bands, positions, strict=True) if position is None and name != "B10")
    if missing and missing not in reported:
        reported.add(missing)
        remark(f"the images lack {', '.join(missing)}, which the model sees: filled with '{fill}', as in its training.")
