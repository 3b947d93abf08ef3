"""An image encoder as ONNX, compared with torch before it is kept."""

import importlib.util
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.models import preprocessing as views
from bandbridge.use.model import Model

ONNX_FILE = "model.onnx"
TOLERANCE = 1e-4
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class _Embedding(nn.Module):
    """Resized bands in their unit (n, band, size, size), or pictures 0..255, to unit embeddings."""

    def __init__(self, network: nn.Module, scale: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._scale = scale

    def forward(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.network(self._scale(pixels)), dim=-1)


def write_onnx(model: Model, path: Path) -> str:
    """Write an encoder with its scaling and normalisation; returns how far it is from torch's, in a sentence.

    The input `pixels` is (n, band, size, size) float32: all of the model's bands in its unit, or red, green and blue
    from 0 to 255, resized by the caller; the output `embedding` is (n, dim), of length 1.

    Raises:
        UserError: a package is missing, or the result differs from torch's by more than 1e-4.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx needs {', '.join(missing)}, which is not installed: pip install 'bandbridge[onnx]'.")
    import onnxruntime

    channels = len(model.bands)
    wrapped = _Embedding(model.image.network, _scaling(model)).eval()
    example = _example(channels, model.image.size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                wrapped, (example,), str(path), input_names=["pixels"], output_names=["embedding"], dynamo=True,
                dynamic_shapes={"pixels": {0: torch.export.Dim("n", min=1)}}, external_data=False, verbose=False,
            )  # fmt: skip
        finally:
            logging.disable(logging.NOTSET)
        expected = wrapped(example).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": example.numpy()})
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise UserError(f"{path.name}: embeddings differ from torch's by {difference:.1e}, more than {TOLERANCE:g}.")
    return f"{path.name}: embeddings within {difference:.1e} of torch's."


def _scaling(model: Model) -> Callable[[Tensor], Tensor]:
    student, clip = model.parts.student, model.parts.clip
    if student is not None:
        positions = list(range(len(student.spec.bands)))
        return lambda pixels: student.scale(pixels, positions)
    return lambda pixels: views.normalise(pixels / 255, clip.mean, clip.std)


def _example(channels: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, channels, size, size, generator=generator) * 255
