"""Using a model: speed and memory of a map of a whole tile, search over a million embeddings, start-up times.

    python benchmarks/use.py RUN SCENE [--side 10980] [--window 16] [--rows 1000000] [--folder FOLDER]

RUN is a finished run's folder, SCENE a folder of its bands, which are repeated to a tile of `side` pixels. Each figure
is from its own process; times are of processor and clock.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np


def make_tile(scene: Path, side: int, path: Path) -> None:
    """All bands of a small scene, repeated to `side` by `side` pixels, as a tiled GeoTIFF."""
    import rasterio

    from bandbridge.catalogue.sensors import SENTINEL_2
    from bandbridge.use.scenes import BandSet, open_scene

    bands = tuple(band.name for band in SENTINEL_2.bands)
    with open_scene(scene, (BandSet(bands),)) as small:
        pixels, _ = small.read(0, 0, small.height, small.width)
        profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(bands), "crs": small.crs, "tiled": True}
        profile |= {"height": side, "width": side, "transform": small.transform, "blockxsize": 512, "blockysize": 512}
        with rasterio.open(path, "w", compress="zstd", zstd_level=1, interleave="band", **profile) as file:
            for number, (name, band) in enumerate(zip(bands, pixels, strict=True), start=1):
                repeats = (-(-side // band.shape[0]), -(-side // band.shape[1]))
                file.write(np.tile(band, repeats)[:side, :side], number)
                file.set_band_description(number, name)


def measure_map(run: str, tile: str, window: int, out: str) -> dict:
    from bandbridge.use.mapping import map_scene
    from bandbridge.use.sources import load

    model = load(run, device="cpu", precision="float32")
    labels, encode, forward = model.labels(), model.image.encode, [0.0]

    def timed(values):
        start = time.perf_counter()
        embedded = encode(values)
        forward[0] += time.perf_counter() - start
        return embedded

    model.image = replace(model.image, encode=timed)
    start, clock = time.process_time(), time.perf_counter()
    done = map_scene(model, Path(tile), labels, Path(out), window=window)
    took = {"processor_s": time.process_time() - start, "clock_s": time.perf_counter() - clock}
    return {
        **took,
        "forward_s": forward[0],
        "windows": done.windows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def make_archive(path: str, rows: int, dim: int) -> dict:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bandbridge.use.archive import KEY, ROWS_PER_GROUP, _geo, _schema

    about = {"format": 1, "dim": dim, "name": "random", "digest": "", "clip": ""}
    schema = _schema(dim).with_metadata({KEY: json.dumps(about).encode(), b"geo": json.dumps(_geo()).encode()})
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["path"]) as writer:
        for start in range(0, rows, ROWS_PER_GROUP):
            n = min(ROWS_PER_GROUP, rows - start)
            vectors = rng.standard_normal((n, dim), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            texts = [pa.array(["scene.tif"] * n), pa.array([str(start + at) for at in range(n)])]
            numbers = [pa.array(np.zeros(n, np.int32))] * 4
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
            arrays = [*texts, *numbers, pa.nulls(n, pa.binary()), column]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return {}


def measure_search(path: str, dim: int) -> dict:
    from bandbridge.use.archive import open_archive
    from bandbridge.use.search import search

    archive = open_archive(Path(path))
    rng, times = np.random.default_rng(1), []
    for _ in range(6):  # the first makes the mapped file
        vector = rng.standard_normal(dim, dtype=np.float32)
        start = time.perf_counter()
        search(archive, vector / np.linalg.norm(vector), 20)
        times.append(time.perf_counter() - start)
    return {"first_s": times[0], "median_s": float(np.median(times[1:])), "rows": archive.rows}


def in_a_process(name: str, *args: object) -> dict:
    command = [sys.executable, __file__, "--one", name, json.dumps(args)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def start_up(*args: str) -> float:
    """Seconds of processor time of a command, the least of five."""
    least = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "bandbridge.use", *args], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return least


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(globals()[sys.argv[2]](*json.loads(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("scene", type=Path)
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)

    tile, archive = (
        args.folder / f"tile-{args.side}.tif",
        args.folder / f"archive-{args.rows}.parquet",
    )
    print(f"bandbridge --help: {start_up('--help'):.2f} s of processor time")
    image, table = args.folder / "one.tif", args.folder / "labels.csv"
    make_tile(args.scene, args.window, image)
    seconds = start_up("classify", args.run, str(image), "--out", str(table))
    print(f"bandbridge classify of one image, its words known: {seconds:.2f} s of processor time")
    if not tile.exists():
        make_tile(args.scene, args.side, tile)
    mapped = in_a_process("measure_map", args.run, str(tile), args.window, str(args.folder / "cover.tif"))
    print(f"map of {args.side} x {args.side} x 13: {mapped}")
    # Of the same process, so that what else runs on the machine slows both.
    print(f"speed against its forward passes alone: {mapped['forward_s'] / mapped['clock_s']:.2f}")
    if not archive.exists():
        in_a_process("make_archive", str(archive), args.rows, args.dim)
    print(f"search: {in_a_process('measure_search', str(archive), args.dim)}")


if __name__ == "__main__":
    main()
