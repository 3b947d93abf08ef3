"""The digits that ship with scikit-learn: 1,797 scans of 8 x 8 (UCI Optical Recognition of Handwritten Digits)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from bandbridge.catalogue import Dataset
from bandbridge.readers import Sample, stratified_splits
from bandbridge.readers.options import DigitsOptions, parse_options

WHITE = 16  # load_digits counts ink on a scale of 0 to 16


def read(dataset: Dataset, archives: Path) -> Iterator[Sample]:
    """Every digit as a grey (8, 8, 3) uint8 picture, white ink on black; `digits_0042` is row 42 of `load_digits`."""
    options = parse_options(DigitsOptions, dataset)
    digits = load_digits()
    labels = [str(target) for target in digits.target]
    splits = stratified_splits(labels, options.val, options.test, options.seed)
    grey = np.round(digits.images / WHITE * 255).astype(np.uint8)
    for row, (image, label, split) in enumerate(zip(grey, labels, splits, strict=True)):
        yield Sample(f"digits_{row:04d}", split, np.repeat(image[..., None], 3, axis=-1), (label,))
