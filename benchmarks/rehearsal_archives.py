"""Archives of EuroSAT, BigEarthNet v1, SEN12MS and ImageNet in their publishers' layouts, of any size.

    python benchmarks/rehearsal_archives.py bigearthnet_v1 500 FOLDER [--modalities s2 s1]

Pixels are drawn at random, each class of samples around means of its own; names, folders, forms of rasters, labels and
lists are the publishers'.
"""

import argparse
import bz2
import hashlib
import io
import itertools
import json
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
import yaml
from PIL import Image
from rasterio.io import MemoryFile
from scipy.io import savemat

from bandbridge.catalogue.datasets import load_nomenclature

EUROSAT_FOLDER = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
V1_BANDS = {**dict.fromkeys(["B02", "B03", "B04", "B08"], 120), **dict.fromkeys(["B01", "B09"], 20)}
V1_BANDS |= dict.fromkeys(["B05", "B06", "B07", "B11", "B12", "B8A"], 60)
V1_WHEEL = "bigearthnet_common-2.8.0-py3-none-any.whl"
SEASONS = ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter")
IGBP = (1, 6, 8, 10, 11, 12, 13, 15, 16, 17)
SCENES = len(SEASONS) * len(IGBP)  # of SEN12MS
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


def backscatter(number: int, label: int, side: int) -> np.ndarray:
    """Decibels of a sample, VV and VH: the class decides their means, and VH is the weaker."""
    random = np.random.default_rng([1, label])
    vv = random.uniform(-16, -4)
    means = np.array([vv, vv - random.uniform(4, 10)])
    noise = np.random.default_rng([1, number, label]).normal(0, 2, (2, side, side))
    return (means[:, None, None] + noise).astype(np.float32)


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
            name = optical_name(number)
            names[split_of(number)].append(name)
            label = number // 5 % len(classes)
            pixels = {side: reflectance(number, label, 12, side) for side in set(V1_BANDS.values())}
            for index, (band, side) in enumerate(V1_BANDS.items()):
                content = raster(pixels[side][index : index + 1], 1200 // side)
                yield f"BigEarthNet-v1.0/{name}/{name}_{band}.tif", content
            about = labels_metadata(label, classes) | {
                "tile_source": "S2A_MSIL1C_20170613T101031_N0205_R022_T33UUP_20170613T101608.SAFE",
                "acquisition_date": "2017-06-13 10:10:31",
            }
            yield f"BigEarthNet-v1.0/{name}/{name}_labels_metadata.json", json.dumps(about).encode()

    write_tar(folder / "BigEarthNet-S2-v1.0.tar.gz", files())
    lists = {split: "".join(f"{name}\r\n" for name in listed) for split, listed in names.items()}
    lists |= dict.fromkeys(["patches_with_seasonal_snow", "patches_with_cloud_and_shadow"], "")
    pairs = ["s1_name,s2_name,country,season\n"]
    pairs += [f"{radar_name(number)},{optical_name(number)},Austria,Summer\n" for number in range(samples)]
    lists |= {"patches_with_no_19_class_targets": "", "s1_s2_name_country_season": "".join(pairs)}
    with zipfile.ZipFile(folder / V1_WHEEL, "w") as archive:
        for name, text in lists.items():
            archive.writestr(f"bigearthnet_common/{name}.csv.bz2", bz2.compress(text.encode()))


def write_bigearthnet_s1(folder: Path, samples: int) -> None:
    """BigEarthNet-S1-v1.0.tar.gz: VV and VH of the same samples, a file each, under names of their own."""
    classes = load_nomenclature("bigearthnet-43").classes

    def files() -> Iterator[tuple[str, bytes]]:
        for number in range(samples):
            name, label = radar_name(number), number // 5 % len(classes)
            for band, pixels in zip(("VV", "VH"), backscatter(number, label, 120), strict=True):
                yield f"BigEarthNet-S1-v1.0/{name}/{name}_{band}.tif", raster(pixels[None])
            about = labels_metadata(label, classes) | {
                "corresponding_s2_patch": optical_name(number),
                "scene_source": "S1A_IW_GRDH_1SDV_20170613T165043_20170613T165108_017018_01C579_7EEC",
                "acquisition_time": "2017-06-13T16:50:43",
            }
            yield f"BigEarthNet-S1-v1.0/{name}/{name}_labels_metadata.json", json.dumps(about).encode()

    write_tar(folder / "BigEarthNet-S1-v1.0.tar.gz", files())


def optical_name(number: int) -> str:
    return f"S2A_MSIL2A_20170613T101031_{number // 100}_{number % 100}"


def radar_name(number: int) -> str:
    return f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{number // 100}_{number % 100}"


def labels_metadata(label: int, classes: tuple[str, ...]) -> dict[str, object]:
    """What both streams of BigEarthNet state of a sample beside its pixels."""
    return {
        "labels": [classes[label], classes[(label + 7) % len(classes)]],
        "coordinates": {"ulx": 500_000, "uly": 5_300_000, "lrx": 501_200, "lry": 5_298_800},
        "projection": rasterio.crs.CRS.from_string(UTM_33).to_wkt(),
    }


def write_sen12ms(folder: Path, samples: int) -> None:
    """Each season's archives of images and land cover, forty scenes in all, and the lists of train and test scenes."""
    write_seasons(folder, samples, ("s2", "lc"))
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for number in range(samples):
        scene = number % SCENES
        lists[split_of_scene(scene)].append(f"{SEASONS[scene // len(IGBP)]}_s2_{scene}_p{number}.tif\n")
    for split, names in lists.items():
        (folder / f"{split}_list.txt").write_text("".join(names))


def write_sen12ms_s1(folder: Path, samples: int) -> None:
    """Archives of each season's Sentinel-1 images."""
    write_seasons(folder, samples, ("s1",))


def write_seasons(folder: Path, samples: int, streams: Collection[str]) -> None:
    for season, stream in itertools.product(range(len(SEASONS)), streams):
        write_tar(folder / f"{SEASONS[season]}_{stream}.tar.gz", sen12ms_files(season, stream, samples))


def split_of_scene(scene: int) -> str:
    """A quarter of the scenes, in which each of the ten classes is once, is for testing."""
    return "test" if (scene + scene // len(IGBP)) % 4 == 3 else "train"


def sen12ms_files(season: int, stream: str, samples: int) -> Iterator[tuple[str, bytes]]:
    """The members of an archive; a season has a scene of each class."""
    yield f"{SEASONS[season]}/README.txt", b"about"
    for label in range(len(IGBP)):
        scene = season * len(IGBP) + label
        for number in range(scene, samples, SCENES):
            if stream == "s2":
                pixels = reflectance(number, label, 13, 256)
            elif stream == "s1":
                pixels = backscatter(number, label, 256)
            else:
                pixels = np.full((4, 256, 256), IGBP[label], np.uint16)
            name = f"{SEASONS[season]}_{stream}_{scene}_p{number}.tif"
            yield f"{SEASONS[season]}/{stream}_{scene}/{name}", raster(pixels)


def write_imagenet(folder: Path, samples: int) -> None:
    """ILSVRC2012_img_val.tar, and the devkit with its labels: the classes in turn, a pattern of colours each."""
    classes = load_nomenclature("imagenet-1k").classes
    numbers = np.random.default_rng(0).permutation(len(classes)) + 1  # ILSVRC's own are in another order too
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(samples):
            add(archive, f"ILSVRC2012_val_{number + 1:08d}.JPEG", picture(number % len(classes)))
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, name, "words", 0) for number, name in zip(numbers.tolist(), classes, strict=True)]
    synsets = io.BytesIO()
    savemat(synsets, {"synsets": np.array([*rows, (len(classes) + 1, "n00001740", "words", 3)], fields).reshape(-1, 1)})
    truth = "".join(f"{numbers[number % len(classes)]}\n" for number in range(samples))
    data = "ILSVRC2012_devkit_t12/data"
    files = [
        (f"{data}/meta.mat", synsets.getvalue()),
        (f"{data}/ILSVRC2012_validation_ground_truth.txt", truth.encode()),
    ]
    write_tar(folder / "ILSVRC2012_devkit_t12.tar.gz", files)


@cache
def picture(label: int) -> bytes:
    """A JPEG of a class."""
    colours = np.random.default_rng(label).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(colours).resize((300, 250)).save(content, "JPEG")
    return content.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def write_tar(path: Path, files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files:
            add(archive, name, content)


@dataclass(frozen=True)
class Archive:
    """How a data set's archives are made, the samples of the published ones, and the fewest that every class needs.

    `write` makes what every run needs, `further` those of a modality that only some runs have converted.
    """

    write: Callable[[Path, int], None]
    published: int
    fewest: int
    further: Mapping[str, Callable[[Path, int], None]] = field(default_factory=dict)

    def make(self, folder: Path, samples: int, modalities: Collection[str] = ()) -> None:
        """Write the archives; those of `further` modalities only where they are among the wanted ones."""
        self.write(folder, samples)
        for name, write in self.further.items():
            if name in modalities:
                write(folder, samples)

    def samples(self, part: int) -> int:
        """1/part of the published samples, or the fewest."""
        return max(self.fewest, self.published // part)


DATASETS = {
    # Five samples of a class stand in train, val and test.
    "eurosat_ms": Archive(write_eurosat, 27_000, 60),
    "bigearthnet_v1": Archive(write_bigearthnet, 519_284, 5 * 43, {"s1": write_bigearthnet_s1}),
    # Two of a scene.
    "sen12ms": Archive(write_sen12ms, 180_661, 2 * SCENES, {"s1": write_sen12ms_s1}),
    # A fifth of a class, rounded, is val: one of three.
    "imagenet": Archive(write_imagenet, 50_000, 3_000),
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
    parser.add_argument("--modalities", nargs="+", default=[], help="s1: Sentinel-1 as well, where the data set has it")
    options = parser.parse_args()
    unknown = set(options.modalities) - {"s2", *DATASETS[options.dataset].further}
    if unknown:
        parser.error(f"{options.dataset} has no {', '.join(sorted(unknown))}")
    options.folder.mkdir(parents=True, exist_ok=True)
    DATASETS[options.dataset].make(options.folder, options.samples, options.modalities)


if __name__ == "__main__":
    main()
