"""Shuffled batches from a store: BandBridge's reader against zarr-python's indexing and a raw memory map.

    python benchmarks/loader.py data/zarr/demo_scene.zarr

Prints samples per second of each, as ratios to BandBridge's reader in the same run.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from bandbridge.store import Store

BATCH = 256
SECONDS = 3.0


def rate(read: Callable[[np.ndarray], np.ndarray], samples: int) -> float:
    """Samples a second over batches in random order, for about `SECONDS`."""
    order = np.random.default_rng(0)
    read(order.permutation(samples)[:BATCH])
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        done += len(read(order.permutation(samples)[:BATCH]))
    return done / (time.perf_counter() - start)


def main(path: Path) -> None:
    store = Store(path)
    split = store.split("train")
    array = zarr.open_group(path, mode="r")["train"][store.modality]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "raw.npy", split.read(np.arange(len(split))))
        raw = np.load(Path(folder) / "raw.npy", mmap_mode="r")
        readers = {
            "BandBridge (TensorStore)": split.read,
            "zarr-python, integer array": lambda indices: array.oindex[indices],
            "raw memory map": lambda indices: raw[indices],
        }
        rates = {name: rate(read, len(split)) for name, read in readers.items()}
        size = sum(file.stat().st_size for file in (path / "train").rglob("*") if file.is_file())
        print(f"{len(split)} samples of {array.shape[1:]} {array.dtype}, batches of {BATCH}, shuffled")
        print(f"store {size / 2**20:.1f} MB, raw {raw.nbytes / 2**20:.1f} MB\n")
        print("| reader | samples/s | ratio |\n|---|---|---|")
        for name, value in rates.items():
            print(f"| {name} | {value:,.0f} | {value / rates['BandBridge (TensorStore)']:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
