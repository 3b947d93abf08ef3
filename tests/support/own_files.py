"""Data sets as a user describes them: rasters with their metadata, a data set file, and the store made of both."""

import csv
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import yaml
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from shapely.geometry import box
from small_store import convert_archives

from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.datasets import load_dataset, read_yaml
from bandbridge.store.dataset import Store

CLASSES = ("forest", "maize", "water")
SPLITS = ("train", "val", "test")
LEFT, TOP = 500_000, 5_800_000
PLACE = from_origin(LEFT, TOP, 10, 10)


def noise(bands, height, width, dtype="uint16", low=200, high=3000, seed=0):
    return np.random.default_rng(seed).integers(low, high, (bands, height, width)).astype(dtype)


def write_tif(path, pixels, **profile):
    """A raster (GeoTIFF unless a driver is named) without a place or other metadata."""
    return write(path, pixels, **{"crs": None, "transform": None, **profile})


def write(path, pixels, scales=None, offsets=None, names=None, mask=None, colours=None, tags=None, **profile):
    """A raster (GeoTIFF unless a driver is named) with its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    facts = {"driver": "GTiff", "crs": "EPSG:32633", "transform": PLACE, **profile}
    shape = {"dtype": pixels.dtype, "count": count, "height": height, "width": width}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **shape, **facts) as file:
        if colours is not None:  # GDAL keeps them in the file only if they come before the pixels
            file.colorinterp = colours
        file.write(pixels)
        if scales is not None:
            file.scales = scales
        if offsets is not None:
            file.offsets = offsets
        if names is not None:
            file.descriptions = names
        if tags is not None:
            file.update_tags(**tags)
        if mask is not None:
            file.write_mask(mask)
    return path


def geotiff(pixels, before=lambda file: None, after=lambda file: None, **profile):
    """The content of a GeoTIFF as GDAL writes it; `before` and `after` the pixels, the open file may be changed."""
    count, height, width = pixels.shape
    shape = {"driver": "GTiff", "dtype": pixels.dtype, "count": count, "height": height, "width": width}
    with MemoryFile() as memory:
        with memory.open(**shape, **profile) as file:
            before(file)
            file.write(pixels)
            after(file)
        return bytes(memory.read())


class Workshop:
    """A folder of the user's files, and the data set files that describe them."""

    def __init__(self, root):
        self.root = Path(root)
        (self.root / "nomenclatures").mkdir()
        (self.root / "datasets").mkdir()
        self.files = self.root / "files"
        self.files.mkdir()
        self.classes(*CLASSES)

    def classes(self, *names):
        """The classes of all data sets of this folder."""
        self._write("nomenclatures", {"name": "abc", "title": "Three classes", "classes": list(names)})
        read_yaml.cache_clear()

    def _write(self, folder, content):
        path = self.root / folder / f"{content['name']}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def describe(self, reader, modalities=None, kind="single", bands=("B02", "B03", "B04", "B08"), **facts):
        """A data set of this folder; `modality` holds further facts of its only one, `options` those of the reader."""
        options = {"archive": str(self.files), **facts.pop("options", {})}
        facts_of_bands = {"sensor": "sentinel-2", "product": "L2A", "bands": list(bands), **facts.pop("modality", {})}
        facts_of_bands.setdefault("composite", {"bands": [*facts_of_bands["bands"][2::-1]], "divisor": 2000})
        content = {
            "name": "mine",
            "title": "Mine",
            "reader": reader,
            "modalities": modalities or {"s2": facts_of_bands},
            "labels": {"kind": kind, "nomenclatures": ["abc"]},
            "sources": [],
            "licence": "mine",
            "options": options,
            **facts,
        }
        self._write("datasets", content)
        read_yaml.cache_clear()
        return load_dataset("mine")

    def folder(self, **facts):
        """The files are in a folder per class."""
        options = {"images": "*.tif", "shares": {"val": 0.34, "test": 0.34}, **facts.pop("options", {})}
        return self.describe("folder", options=options, **facts)

    def table(self, rows, **facts):
        """`rows` is the table; its columns are id, path (or one per modality), cover and part."""
        with (self.files / "t.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        options = {"table": "t.csv", "id": "id", "label": "cover", "split": "part", **facts.pop("options", {})}
        return self.describe("table", options=options, **facts)

    def images(self, change=lambda pixels, i: pixels, count=3, bands=4, dtype="uint16", low=200, high=3000, **facts):
        """`count` files of noise in a folder of each class; `facts` are functions of their number, or values.

        Returns:
            name -> the pixels before `change`
        """
        truth = {}
        for number, cover in enumerate(CLASSES):
            for i in range(count):
                pixels = truth[f"{cover}_{i}"] = noise(bands, 16, 16, dtype, low, high, seed=i + 7 * number)
                stated = {key: value(i) if callable(value) else value for key, value in facts.items()}
                write(self.files / cover / f"{cover}_{i}.tif", change(pixels.copy(), i), **stated)
        return truth

    def band_files(self, write_bands, **facts):
        """A table of nine samples with a file for each of B02, B03 and B04, which `write_bands` writes by number."""
        for i in range(9):
            write_bands(i)
        rows = [{"id": f"p{i}", "path": f"p{i}", "cover": CLASSES[i % 3], "part": SPLITS[i // 3]} for i in range(9)]
        options = {"band_files": "{path}_{band}.tif", **facts.pop("options", {})}
        return self.table(rows, bands=("B02", "B03", "B04"), options=options, **facts)

    def scene(self, bands=("B02", "B03", "B04"), size=192, **facts):
        """A band file each, and three stripes of polygons."""
        stripe = 10 * size / 3
        shapes = [box(LEFT + i * stripe, TOP - 10 * size, LEFT + (i + 1) * stripe, TOP) for i in range(3)]
        polygons = geopandas.GeoDataFrame({"cover": CLASSES}, geometry=shapes, crs=32633)
        polygons.to_file(self.files / "p.gpkg")
        options = {
            "rasters": "{band}.tif",
            "polygons": "*.gpkg",
            "class_field": "cover",
            "size": 16,
            "stride": 16,
            "block": 64,
            "blocks": ["tve"],
            **facts.pop("options", {}),
        }
        return self.describe("scene", kind="multi", bands=bands, options=options, **facts)

    def store(self, dataset, max_quarantined_share=0.0):
        return Store(convert_archives(dataset, self.files, self.root / "stores", 1, max_quarantined_share))

    def quarantine(self):
        """Id -> reason."""
        with next((self.root / "stores").glob("*.csv")).open(encoding="utf-8") as file:
            return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def workshop(tmp_path, monkeypatch):
    """A `Workshop` whose data set files are found in place of the project's."""
    monkeypatch.setattr(catalogue, "WORKFLOW", tmp_path)
    return Workshop(tmp_path)


@contextmanager
def describing(folder, monkeypatch):
    """Data sets of the test's own, with a nomenclature of three classes: a function of a file's text and options."""
    for kind in ("datasets", "nomenclatures"):
        (folder / kind).mkdir(parents=True)
    (folder / "nomenclatures/abc.yaml").write_text(f"name: abc\ntitle: Three\nclasses: {list(CLASSES)}\n")
    monkeypatch.setattr(catalogue, "WORKFLOW", folder)

    def load(text, **options):
        name = yaml.safe_load(text)["name"]
        (folder / f"datasets/{name}.yaml").write_text(text)
        read_yaml.cache_clear()
        return load_dataset(name, options)

    yield load
    read_yaml.cache_clear()


def samples_of(store):
    """Id -> pixels as encoders get them, of all splits."""
    return {
        name: pixels
        for split in store.splits
        for samples in [store.split(split)]
        for name, pixels in zip(samples.ids.tolist(), samples.read(np.arange(len(samples))), strict=True)
    }
