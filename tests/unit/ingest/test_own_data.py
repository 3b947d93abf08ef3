"""The examples of docs/own-data.md: every YAML file in it is valid, and files as it describes them are read."""

import io
import json
import re
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pytest
import yaml
from own_files import write_tif
from own_scenes import thirds, write_l2a
from PIL import Image
from rasterio.transform import from_origin
from reading import read_all
from shapely.geometry import box

from bandbridge.base.model_faults import model_faults
from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.dataset_model import DatasetFile
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature, read_yaml
from bandbridge.catalogue.option_models import FolderOptions, SceneOptions, TableOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.catalogue.sensors import sensor_of

TEXT = (Path(__file__).parents[3] / "docs" / "own-data.md").read_text(encoding="utf-8")
OPTIONS = {"folder": FolderOptions, "scene": SceneOptions, "table": TableOptions}


def blocks(language):
    """The contents of the document's code blocks, without the indentation of the list they may stand in."""
    # All fences in their order: the end of one block would pass for the beginning of the next.
    fenced = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE)
    return [
        re.sub(rf"^{indent}", "", content, flags=re.MULTILINE) for indent, name, content in fenced if name == language
    ]


EXAMPLES = {yaml.safe_load(block)["name"]: block for block in blocks("yaml")}
DATASETS = [name for name, block in EXAMPLES.items() if "reader" in yaml.safe_load(block)]


@pytest.fixture
def described(tmp_path, monkeypatch):
    """The document's files where `workflow` would have them; where its downloads would be."""
    for name, block in EXAMPLES.items():
        path = tmp_path / ("datasets" if name in DATASETS else "nomenclatures") / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, encoding="utf-8")
    monkeypatch.setattr(catalogue, "WORKFLOW", tmp_path)
    read_yaml.cache_clear()
    yield tmp_path / "archives"
    read_yaml.cache_clear()


def noise(*shape, dtype=np.uint16):
    return np.random.default_rng(sum(shape)).integers(1, 3000, shape).astype(dtype)


def listing(first_word):
    """The table in the document whose header begins so."""
    return next(block for block in blocks("") if block.startswith(first_word))


def test_the_document_has_examples_of_each_reader():
    assert {yaml.safe_load(EXAMPLES[name])["reader"] for name in DATASETS} == set(OPTIONS)
    assert "my-classes" in EXAMPLES


@pytest.mark.parametrize("name", DATASETS)
def test_an_example_is_a_valid_data_set(described, name):
    assert list(model_faults(read_yaml("datasets", name), DatasetFile)) == []
    dataset = load_dataset(name)
    parse_options(OPTIONS[dataset.reader], dataset)
    for modality in dataset.modalities:
        sensor_of(modality)
        assert modality.composite is None or set(modality.composite.bands) <= set(modality.bands)
    assert load_nomenclature(dataset.nomenclature).classes == ("maize", "311", "water")


def test_the_folder_example_runs(described):
    pixels = noise(4, 12, 12)
    for file in listing("my_folders/").split():
        write_tif(described / file, pixels)
    dataset = load_dataset("my_folders")
    splits, samples = read_all(dataset, described / "my_folders")
    labels = {name: sample.labels for name, sample in samples.items()}
    assert labels == {"field_1": ("maize",), "stand_7": ("311",), "pond_3": ("water",)}
    assert set(splits) == set(samples)
    np.testing.assert_array_equal(samples["pond_3"].pixels, pixels)


def test_the_picture_example_runs(described):
    for number, split in enumerate(("train", "val", "test")):
        path = described / "my_pictures" / split / "maize" / f"{number}.jpg"
        path.parent.mkdir(parents=True)
        content = io.BytesIO()
        Image.fromarray(noise(240 + 20 * number, 300, 3, dtype=np.uint8)).save(content, "JPEG")
        path.write_bytes(content.getvalue())
    splits, samples = read_all(load_dataset("my_pictures"), described / "my_pictures")
    assert splits == {"0": "train", "1": "val", "2": "test"}
    assert {sample.pixels.shape for sample in samples.values()} == {(224, 224, 3)}


def test_the_table_example_runs(described):
    folder = described / "my_table"
    for name in "abc":
        write_tif(folder / "cubes" / f"{name}.tif", noise(224, 16, 16), interleave="pixel")
    (folder / "samples.csv").write_text(listing("file,"))
    dataset = load_dataset("my_table")
    assert dataset.primary.bands[0] == "b001"
    assert dataset.primary.bands[223] == "b224"
    splits, samples = read_all(dataset, folder)
    assert splits == {"cubes/a": "train", "cubes/b": "val", "cubes/c": "test"}
    second = samples["cubes/b"]
    np.testing.assert_array_equal(second.pixels, noise(224, 16, 16))
    assert (second.labels, second.lat, second.lon, second.date) == (("311",), 50.2, 8.7, "2024-06-01")


def test_the_example_of_two_modalities_runs(described):
    folder = described / "my_pairs"
    for name in ("p1", "p2"):
        for band, size in (("B02", 12), ("B03", 12), ("B04", 12), ("B8A", 6)):
            write_tif(folder / "S2" / f"{name}_{band}.tif", noise(1, size, size))
        for band in ("VV", "VH"):
            write_tif(folder / "S1" / f"{name}_{band}.tif", noise(1, 12, 12, dtype=np.float32))
    pandas.read_csv(io.StringIO(listing("id,"))).to_parquet(folder / "pairs.parquet")
    dataset = load_dataset("my_pairs")
    optical, radar = (read_all(dataset, folder, stream)[1] for stream in ("s2", "s1"))
    assert {name: sample.labels for name, sample in optical.items()} == {"p1": ("maize", "water"), "p2": ("water",)}
    assert optical["p1"].pixels.shape == (4, 12, 12)
    assert radar["p2"].pixels.shape == (2, 12, 12)
    assert radar["p2"].pixels.dtype == np.float32


def write_scene(folder, bands):
    """Bands of 512 x 768 pixels, and squares of polygons on them."""
    for band in bands:
        step = 10 if band in ("B02", "B03", "B04", "B08") else 20
        size = (10 * 512 // step, 10 * 768 // step)
        place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_800_000, step, step)}
        write_tif(folder / f"L2A_{band}.tif", noise(1, *size), **place)
    squares = [box(500_000 + 960 * x, 5_800_000 - 960 * (y + 1), 500_960 + 960 * x, 5_800_000 - 960 * y)
               for y in range(5) for x in range(8)]  # fmt: skip
    cover = [("maize", "broadleaf", "unknown", "water")[at % 4] for at in range(len(squares))]
    geopandas.GeoDataFrame({"cover": cover}, geometry=squares, crs=32633).to_file(folder / "land.gpkg")


def test_the_scene_example_runs(described):
    folder, dataset = described / "my_scene", load_dataset("my_scene")
    write_scene(folder, dataset.primary.bands)
    splits, samples = read_all(dataset, folder)
    assert set(splits.values()) == {"train", "val", "test"}
    assert {label for sample in samples.values() for label in sample.labels} == {"maize", "311", "water"}
    assert {sample.pixels.shape for sample in samples.values()} == {(10, 64, 64)}
    assert {sample.date for sample in samples.values()} == {"2024-06-01"}


def test_the_example_of_a_scene_with_one_class_per_sample_runs(described):
    dataset = load_dataset("my_land_cover")
    folder = described / dataset.archives
    write_scene(folder, dataset.primary.bands)
    splits, samples = read_all(dataset, folder)
    assert set(splits.values()) == {"train", "val", "test"}
    assert {sample.labels for sample in samples.values()} == {("maize",), ("311",), ("water",)}
    assert {sample.pixels.shape for sample in samples.values()} == {(10, 16, 16)}


@pytest.mark.slow
def test_the_example_of_a_product_runs(described):
    dataset = load_dataset("my_product")
    write_l2a(described / "my_product")
    frame = thirds()
    frame["cover"] = ["maize", "311", "water"]
    frame.to_file(described / "my_product" / "land.gpkg")
    text = EXAMPLES["my_product"].strip()
    assert len(text.splitlines()) < 15
    options = {**dataset.options, "block": 32, "size": 16, "stride": 16}
    splits, samples = read_all(load_dataset("my_product", options), described / "my_product")
    assert set(splits.values()) == {"train", "val", "test"}
    assert {label for sample in samples.values() for label in sample.labels} == {"maize", "311", "water"}
    assert {sample.date for sample in samples.values()} == {"2023-06-15"}


def test_the_example_of_stac_items_runs(described):
    folder, dataset = described / "my_items", load_dataset("my_items")
    items = []
    for number in range(6):
        for band in dataset.primary.bands:
            write_tif(folder / f"{number}_{band}.tif", noise(1, 12, 12))
        items.append(
            {
                "type": "Feature",
                "id": f"item{number}",
                "geometry": {"type": "Point", "coordinates": [9 + number, 50]},
                "properties": {"datetime": "2024-06-01T10:00:00Z", "cover": ("maize", "311", "water")[number % 3]},
                "assets": {band: {"href": f"./{number}_{band}.tif"} for band in dataset.primary.bands},
            }
        )
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    splits, samples = read_all(dataset, folder)
    assert set(splits) == set(samples) == {f"item{number}" for number in range(6)}
    assert samples["item2"].labels == ("water",)
    assert (samples["item2"].lat, samples["item2"].lon) == (50, 11)
