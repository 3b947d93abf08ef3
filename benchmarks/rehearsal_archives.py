"""Archives of EuroSAT, BigEarthNet v1 and SEN12MS in their publishers' layouts, of any size, for rehearsal.py.

    python benchmarks/rehearsal_archives.py bigearthnet_v1 500 FOLDER

Pixels are drawn at random, each class of samples around means of its own; names, folders, forms of rasters, labels and
lists are the publishers'.
"""

import argparse
import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
import yaml
from rasterio.io import MemoryFile

from bandbridge.catalogue.datasets import load_nomenclature

EUROSAT_FOLDER = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
V1_BANDS = {**dict.fromkeys(["B02", "B03", "B04", "B08"], 120), **dict.fromkeys(["B01", "B09"], 20)}
V1_BANDS |= dict.fromkeys(["B05", "B06", "B07", "B11", "B12", "B8A"], 60)
V1_WHEEL = "bigearthnet_common-2.8.0-py3-none-any.whl"
SEASONS = ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter")
IGBP = (1, 6, 8, 10, 11, 12, 13, 15, 16, 17)
UTM_33 = "EPSG:32633"


def raster(pixels: np.ndarray, step: int = 10) -> bytes:
    """A GeoTIFF of (band, y, x)."""
    place = rasterio.Affine(step, 0, 500_000, 0, -step, 5_300_000)
    form = {"driver": "GTiff", "dtype": pixels.dtype, "crs": UTM_33, "transform": place}
    with MemoryFile() as memory:
        with memory.open(count=len(pixels), height=pixels.shape[1], width=pixels.shape[2], **form) as file:
            file.write(pixels)
        return bytes(memory.read())


def reflectance(number: int, label: int, bands: int, side: int) -> np.ndarray:
    """Digital numbers of a sample: the class decides the bands' means."""
    means = np.random.default_rng(label).integers(500, 3500, bands)
    noise = np.random.default_rng([number, label]).normal(0, 200, (bands, side, side))
    return np.clip(means[:, None, None] + noise, 1, 10_000).astype(np.uint16)


def split_of(number: int) -> str:
    """Three of five samples are for training, one each for validation and test."""
    return ("train", "train", "train", "val", "test")[number % 5]


def write_eurosat(folder: Path, samples: int) -> None:
    """EuroSATallBands.zip and the lists of its splits, which name .jpg files."""
    classes = load_nomenclature("eurosat-10").classes
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    with zipfile.ZipFile(folder / "EuroSATallBands.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(samples):
            label = number // 5 % len(classes)
            name = f"{classes[label]}_{number + 1}"
            archive.writestr(
                f"{EUROSAT_FOLDER}/{classes[label]}/{name}.tif", raster(reflectance(number, label, 13, 64))
            )
            names[split_of(number)].append(f"{name}.jpg\n")
    for split, listed in names.items():
        (folder / f"eurosat-{split}.txt").write_text("".join(listed))


def write_bigearthnet(folder: Path, samples: int) -> None:
    """BigEarthNet-S2-v1.0.tar.gz, a file per band, and the wheel with the lists of its splits."""
    classes = load_nomenclature("bigearthnet-43").classes
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}

    def files() -> Iterator[tuple[str, bytes]]:
        for number in range(samples):
            name = f"S2A_MSIL2A_20170613T101031_{number // 100}_{number % 100}"
            names[split_of(number)].append(name)
            label = number // 5 % len(classes)
            for index, (band, side) in enumerate(V1_BANDS.items()):
                pixels = reflectance(number, label, 12, side)[index : index + 1]
                yield f"BigEarthNet-v1.0/{name}/{name}_{band}.tif", raster(pixels, 1200 // side)
            about = {
                "labels": [classes[label], classes[(label + 7) % len(classes)]],
                "coordinates": {"ulx": 500_000, "uly": 5_300_000, "lrx": 501_200, "lry": 5_298_800},
                "projection": rasterio.crs.CRS.from_string(UTM_33).to_wkt(),
                "tile_source": "S2A_MSIL1C_20170613T101031_N0205_R022_T33UUP_20170613T101608.SAFE",
                "acquisition_date": "2017-06-13 10:10:31",
            }
            yield f"BigEarthNet-v1.0/{name}/{name}_labels_metadata.json", json.dumps(about).encode()

    write_tar(folder / "BigEarthNet-S2-v1.0.tar.gz", files())
    lists = {split: "".join(f"{name}\r\n" for name in listed) for split, listed in names.items()}
    lists |= dict.fromkeys(["patches_with_seasonal_snow", "patches_with_cloud_and_shadow"], "")
    lists |= {"patches_with_no_19_class_targets": "", "s1_s2_name_country_season": "s1_name,s2_name,country,season\n"}
    with zipfile.ZipFile(folder / V1_WHEEL, "w") as archive:
        for name, text in lists.items():
            archive.writestr(f"bigearthnet_common/{name}.csv.bz2", bz2.compress(text.encode()))


def write_sen12ms(folder: Path, samples: int) -> None:
    """Archives of each season and stream with a scene per ten samples, and the lists of training and test scenes."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    members: dict[tuple[str, str], list[tuple[str, bytes]]] = {
        (season, stream): [] for season in SEASONS for stream in ("s2", "s1", "lc")
    }
    for number in range(samples):
        season, scene = SEASONS[number // 10 % 4], number // 10
        label = scene % len(IGBP)
        for stream in ("s2", "s1", "lc"):
            name = f"{season}_{stream}_{scene}_p{number}.tif"
            if stream == "s2":
                pixels = reflectance(number, label, 13, 256)
                lists["test" if scene % 4 == 3 else "train"].append(f"{name}\n")
            elif stream == "s1":
                pixels = np.full((2, 256, 256), -10, np.float32)
            else:
                pixels = np.full((4, 256, 256), IGBP[label], np.uint16)
            members[season, stream].append((f"{season}/{stream}_{scene}/{name}", raster(pixels)))
    for (season, stream), files in members.items():
        write_tar(folder / f"{season}_{stream}.tar.gz", [(f"{season}/README.txt", b"about"), *files])
    for split, names in lists.items():
        (folder / f"{split}_list.txt").write_text("".join(names))


def write_tar(path: Path, files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


# Data set -> how its archives are made, and the samples of the published ones.
DATASETS: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "eurosat_ms": (write_eurosat, 27_000),
    "bigearthnet_v1": (write_bigearthnet, 519_284),
    "sen12ms": (write_sen12ms, 180_661),
}


def state_checksums(dataset_file: Path, folder: Path) -> None:
    """Write the checksums of the archives made here into a copy of a data set's file, in place of the publishers'."""
    facts = yaml.safe_load(dataset_file.read_text(encoding="utf-8"))
    for source in facts["sources"]:
        path = folder / source["file"]
        if path.is_file():
            kind = "sha256" if "sha256" in source else "md5"
            source[kind] = hashlib.new(kind, path.read_bytes()).hexdigest()
    facts.pop("samples", None)
    dataset_file.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("samples", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    DATASETS[options.dataset][0](options.folder, options.samples)


if __name__ == "__main__":
    main()
