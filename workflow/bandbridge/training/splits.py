"""What the trainings read of their stores: one modality, two of the same samples, or several tasks' samples."""

from collections.abc import Sequence

import numpy as np

from bandbridge.store.dataset import Store
from bandbridge.training.batches import KeptPixels, Pixels, Source


def store_source(store: Store, split: str, second: Store | None = None) -> Source | None:
    """A split of a store; None where the store has no such split.

    Args:
        second: another modality of the same samples, such as Sentinel-1 beside Sentinel-2. Its grid and its number type
            may differ; labels and ids are the first store's.

    Raises:
        ValueError: the stores differ in their labels' nomenclature or in their number of samples, so that their rows
            are not the same samples.
    """
    if split not in store.splits:
        return None
    samples = store.split(split)
    pixels: dict[str, Pixels] = {store.modality: samples}
    if second is not None:
        if store.classes != second.classes:
            raise ValueError(f"the two modalities have different classes: {store.classes} and {second.classes}")
        pixels[second.modality] = second.split(split)
        if len(pixels[second.modality]) != len(samples):
            raise ValueError(f"{split} has {len(samples)} and {len(pixels[second.modality])} samples")
    return Source(pixels, samples.labels, samples.ids)


def union_source(stores: Sequence[Store], split: str) -> Source | None:
    """A split of several stores, one after another, of those that have it; None where none has any sample.

    Pixels may differ in modality, bands, size and number type, labels in kind and in number of classes.
    """
    parts = [(number, store.split(split)) for number, store in enumerate(stores) if split in store.splits]
    parts = [(number, samples) for number, samples in parts if len(samples)]
    if not parts:
        return None
    task = np.repeat([number for number, _ in parts], [len(samples) for _, samples in parts])
    labels = np.zeros((len(task), max(len(store.classes) for store in stores)), np.uint8)
    ids = []
    for number, samples in parts:
        labels[task == number, : samples.labels.shape[1]] = samples.labels
        ids += [f"{stores[number].attrs['dataset']}/{name}" for name in samples.ids]
    pixels: dict[str, Pixels] = {store.attrs["dataset"]: _none_of(store) for store in stores}
    pixels |= {stores[number].attrs["dataset"]: samples for number, samples in parts}
    return Source(pixels, labels, np.array(ids), task)


def _none_of(store: Store) -> KeptPixels:
    """No sample, with the shape and the number type of a store's pixels."""
    return KeptPixels(store.split(store.splits[0]).read(np.arange(1))[:0])
