"""Peak memory of ingest against the number of samples: a line through several sizes, in bytes per sample.

    python benchmarks/ingest_memory.py [samples ...]

Archives in BigEarthNet's layout (a GeoTIFF per band, tar.gz), with samples of 8 x 8 pixels, so that what grows with the
number of samples is not hidden behind their pixels. Each size is planned, converted and joined in a process of its own.
"""

import io
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ingest import geotiff
from isal import igzip

from bandbridge.catalogue.datasets import Dataset, load_dataset
from bandbridge.ingest.assemble import assemble
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.readers import reader

SIZES = (1_000, 3_000, 10_000)
SIDE = 8
# Pixels of 10, 20 and 60 m; the last are fewer than they would be, to divide the others.
COARSE = {"B01": 4, "B09": 4, "B05": 2, "B06": 2, "B07": 2, "B8A": 2, "B11": 2, "B12": 2}
TILE = "S2A_MSIL2A_20170216T102101_N9999_R065_T33UUU"


def main(sizes: list[int]) -> None:
    rows = []
    for samples in sizes:
        command = [sys.executable, __file__, "--one", str(samples)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows.append((samples, *map(float, output.split())))
    print("| samples | peak memory, MB | before the first sample, MB | processor, s |\n|--:|--:|--:|--:|")
    for samples, peak, start, seconds in rows:
        print(f"| {samples:,} | {peak:,.0f} | {start:,.0f} | {seconds:,.1f} |")
    slope, base = np.polyfit([row[0] for row in rows], [row[1] for row in rows], 1)
    pixels = 2 * 12 * SIDE**2
    print(f"\nPeak memory = {base:,.0f} MB + {2**20 * slope:,.0f} bytes per sample, whose pixels have {pixels:,}.")


def measure(samples: int) -> None:
    """Print peak memory, that at the start (MB), and processor time (s) of ingest."""
    dataset = load_dataset("bigearthnet_v2")
    dataset = replace(dataset, modalities=(replace(dataset.primary, size=(SIDE, SIDE)),))
    with tempfile.TemporaryDirectory() as folder:
        make_archive(Path(folder), dataset, samples)
        start, clock = memory(), time.process_time()
        ingest(Path(folder), dataset)
        print(memory(), start, time.process_time() - clock)


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def make_archive(work: Path, dataset: Dataset, samples: int) -> None:
    """Twenty places over and over, which differ in the last pixel of a band."""
    random = np.random.default_rng(0)
    places = []
    for place in range(20):
        files = {}
        for band in dataset.primary.bands:
            step = COARSE.get(band, 1)
            pixels = random.integers(1, 9_000, (SIDE // step, SIDE // step)).astype(np.uint16)
            files[band] = geotiff(pixels, SIDE * place, SIDE * place, step)
        places.append(files)
    names = [f"{TILE}_{number // 1000:03d}_{number % 1000:03d}" for number in range(samples)]
    with (
        igzip.open(work / "BigEarthNet-S2.tar.gz", "wb", compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for number, name in enumerate(names):
            for band, content in places[number % len(places)].items():
                entry = tarfile.TarInfo(f"BigEarthNet-S2/{TILE}/{name}/{name}_{band}.tif")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content[:-2] + (1 + number % 9_000).to_bytes(2, "little")))
    splits = ["train"] * (samples - 2) + ["validation", "test"]
    table = {"patch_id": names, "s1_name": names, "split": splits, "labels": [["Arable land"]] * samples}
    pq.write_table(pa.table(table), work / "metadata.parquet")


def ingest(work: Path, dataset: Dataset) -> None:
    plan = make_plan(dataset, reader(dataset).plan(dataset, work))

    def read(missing: object) -> Iterator:
        return reader(dataset).read(dataset, work, "s2", missing)

    convert_share(dataset, "s2", plan.share(0, 1), read, work / "share", "")
    assemble(work / "a.zarr", dataset, plan, {"s2": [work / "share"]}, {}, work / "quarantine.csv", 0.0)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        measure(int(arguments[1]))
    else:
        main([int(argument) for argument in arguments] or list(SIZES))
