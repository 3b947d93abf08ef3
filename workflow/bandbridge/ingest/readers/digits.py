"""The digits that ship with scikit-learn: 1,797 scans of 8 x 8 (UCI Optical Recognition of Handwritten Digits)."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.option_models import DigitsOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.ingest.divide import stratified_splits
from bandbridge.ingest.readers import Planned, Rejected, Sample

WHITE = 16  # load_digits counts ink on a scale of 0 to 16


def plan(dataset: Dataset, archives: Path) -> Sequence[Planned]:
    """Every digit; `digits_0042` is row 42 of `load_digits`."""
    options = parse_options(DigitsOptions, dataset)
    labels = [str(target) for target in load_digits().target]
    splits = stratified_splits(labels, options.val, options.test, options.seed)
    return [Planned(_id(row), split) for row, split in enumerate(splits)]


def read(dataset: Dataset, archives: Path, stream: str, ids: Collection[str]) -> Iterator[Sample | Rejected]:
    """Digits as grey (8, 8, 3) uint8 images, white ink on black."""
    digits = load_digits()
    grey = np.round(digits.images / WHITE * 255).astype(np.uint8)
    for row, (image, target) in enumerate(zip(grey, digits.target, strict=True)):
        if _id(row) in ids:
            yield Sample(_id(row), np.repeat(image[..., None], 3, axis=-1), (str(target),))


def _id(row: int) -> str:
    return f"digits_{row:04d}"
