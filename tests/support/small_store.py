"""A small store of random samples, and the workflow's scripts as modules."""

import dataclasses
import importlib.util
from functools import partial
from pathlib import Path

import numpy as np

from bandbridge.catalogue.datasets import load_dataset, load_nomenclature
from bandbridge.ingest import assemble as assembling
from bandbridge.ingest import convert, plan
from bandbridge.ingest.assemble import assemble
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.readers import Planned, Sample, reader
from bandbridge.store.dataset import Store

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
COUNTS = {"train": 30, "val": 12, "test": 17}


def random_samples(dataset, counts, side, seed):
    """Samples whose bands brighten with the classes they carry; each class is in each split."""
    generator = np.random.default_rng(seed)
    classes = load_nomenclature(dataset.nomenclature).classes
    pixels_of = dataset.primary
    shape = (side, side, 3) if pixels_of.is_rgb else (len(pixels_of.bands), side, side)
    for split, count in counts.items():
        for index in range(count):
            carried = {index % len(classes)}
            if dataset.label_kind == "multi":
                carried |= set(generator.integers(len(classes), size=2).tolist())
            pixels = generator.integers(0, 150, size=shape) + 8 * sum(carried)
            pixels = pixels.astype(np.uint8) if pixels_of.is_rgb else (10 * pixels).astype(np.uint16)
            labels = tuple(classes[index] for index in sorted(carried))
            yield split, Sample(f"{split}-{index:03d}", pixels, labels)


def write_store(path, dataset, samples, jobs=1, provenance=None, quarantine=None, max_quarantined_share=0.0):
    """Plan, convert and assemble (split, sample or rejection) pairs of a data set of one stream, as the rules do."""
    samples = list(samples)
    planned = make_plan(dataset, [Planned(sample.id, split) for split, sample in samples])
    folder = path.parent / "parts" / path.name
    folders = []
    for job in range(jobs):
        folders.append(folder / f"{job}-of-{jobs}")
        shards = planned.share(job, jobs)

        def wanted(missing):
            return (sample for _, sample in samples if sample.id in missing)

        convert_share(dataset, dataset.primary.name, shards, wanted, folders[-1], "test")
    quarantine = quarantine or path.with_suffix(".csv")
    shares = {dataset.primary.name: folders}
    assemble(path, dataset, planned, shares, provenance or {}, quarantine, max_quarantined_share)


def convert_archives(dataset, archives, root, jobs=1, max_quarantined_share=0.0):
    """The store that the rules make of a data set's archives, all of its streams, in `root`."""
    source = reader(dataset)
    planned = make_plan(dataset, source.plan(dataset, archives))
    shares = {}
    for stream in dataset.streams:
        shares[stream] = [root / "parts" / f"{stream}.{job}-of-{jobs}" for job in range(jobs)]
        for job, folder in enumerate(shares[stream]):
            read = partial(source.read, dataset, archives, stream)
            convert_share(dataset, stream, planned.share(job, jobs), read, folder, "test")
    path = root / f"{dataset.name}.zarr"
    assemble(path, dataset, planned, shares, {}, root / "quarantine.csv", max_quarantined_share)
    return path


def set_shard(monkeypatch, samples):
    """Shards of so few samples that a small store has several."""
    for module in (plan, convert, assembling):
        monkeypatch.setattr(module, "SHARD", samples)


def small_dataset(name, splits=("train", "val", "test")):
    """A data set of the catalogue whose samples may have any size."""
    dataset = load_dataset(name)
    modalities = tuple(dataclasses.replace(modality, size=None) for modality in dataset.modalities)
    return dataclasses.replace(dataset, splits=tuple(splits), modalities=modalities)


def make_store(root, name, counts=COUNTS, side=16, seed=0):
    """Write the store of a data set of the catalogue with other samples in it, and open it."""
    dataset = small_dataset(name, counts)
    path = root / f"{name}.zarr"
    quarantine = root / f"{name}.quarantine.csv"
    write_store(path, dataset, random_samples(dataset, counts, side, seed), quarantine=quarantine)
    return Store(path)


def load_script(name):
    """A script of the workflow as a module; its `main` is what a rule calls."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
