"""A small store of random samples, and the workflow's scripts as modules."""

import dataclasses
import importlib.util

import numpy as np

from bandbridge.catalogue import WORKFLOW, load_dataset, load_nomenclature
from bandbridge.readers import Sample
from bandbridge.store import Store, write_store

COUNTS = {"train": 30, "val": 12, "test": 17}


def random_samples(dataset, counts, side, seed):
    """Samples whose bands brighten with the classes they carry; each class is in each split."""
    generator = np.random.default_rng(seed)
    classes = load_nomenclature(dataset.nomenclature).classes
    shape = (side, side, 3) if dataset.modality == "rgb" else (len(dataset.bands), side, side)
    for split, count in counts.items():
        for index in range(count):
            shown = {index % len(classes)}
            if dataset.label_kind == "multi":
                shown |= set(generator.integers(len(classes), size=2).tolist())
            pixels = generator.integers(0, 150, size=shape) + 8 * sum(shown)
            pixels = pixels.astype(np.uint8) if dataset.modality == "rgb" else (10 * pixels).astype(np.uint16)
            labels = tuple(classes[index] for index in sorted(shown))
            yield Sample(f"{split}-{index:03d}", split, pixels, labels)


def make_store(root, name, counts=COUNTS, side=16, seed=0):
    """Write the store of a data set of the catalogue with other samples in it, and open it."""
    dataset = dataclasses.replace(load_dataset(name), splits=tuple(counts))
    path = root / f"{name}.zarr"
    write_store(path, dataset, random_samples(dataset, counts, side, seed), {}, root / f"{name}.quarantine.csv")
    return Store(path)


def load_script(name):
    """A script of the workflow as a module; its `main` is what a rule calls."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", WORKFLOW / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
