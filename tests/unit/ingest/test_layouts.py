"""From archives as their publishers deliver them to the store: the same bytes as from the unpacked folders."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import bigearthnet_archives as bigearthnet
import numpy as np
import pytest
import rasterio
import test_folder_reader as folders
import test_sen12ms_reader as sen12ms
import xarray
from packed import pack
from PIL import Image
from rasterio.enums import Resampling
from small_store import convert_archives, set_shard

from bandbridge.catalogue.datasets import load_dataset
from bandbridge.store.dataset import Store

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Several shards even of a few samples, so that several jobs have something to do."""
    set_shard(monkeypatch, 2)


def same(dataset, first, second, tmp_path):
    """One store of the archives by one job, one of the folders by three; equal files."""
    stores = [
        convert_archives(dataset, first, tmp_path / "one"),
        convert_archives(dataset, second, tmp_path / "two", 3),
    ]
    contents = [
        {file.relative_to(store).as_posix(): file.read_bytes() for file in store.rglob("*") if file.is_file()}
        for store in stores
    ]
    assert contents[0] == contents[1]
    return Store(stores[0])


def labels_of(store, split):
    return [[store.classes[at] for at in np.flatnonzero(row)] for row in store.split(split).labels]


def new(folder):
    folder.mkdir()
    return folder


def test_bigearthnet_v1_from_its_archives_and_from_folders(tmp_path):
    dataset = replace(load_dataset("bigearthnet_v1", {"modalities": ["s2", "s1"]}), splits=("train", "test"))
    packed = bigearthnet.write_v1(new(tmp_path / "packed"))
    unpacked = bigearthnet.write_v1(new(tmp_path / "unpacked"), unpacked=True)
    store = same(dataset, packed, unpacked, tmp_path)
    assert list(store.attrs["modalities"]) == ["s2", "s1"]
    (name,) = store.split("test").ids
    (s2,) = store.split("test").read([0])
    (s1,) = Store(store.path, modality="s1").split("test").read([0])
    for band, values in zip(store.bands, s2, strict=True):
        with rasterio.open(DATA / f"bigearthnet_v1/BigEarthNet-v1.0/{name}/{name}_{band}.tif") as file:
            np.testing.assert_array_equal(values, file.read(1, out_shape=(120, 120), resampling=Resampling.nearest))
    partner = bigearthnet.PAIRS[name]
    for band, values in zip(("VV", "VH"), s1, strict=True):
        with rasterio.open(DATA / f"bigearthnet_v1/BigEarthNet-S1-v1.0/{partner}/{partner}_{band}.tif") as file:
            np.testing.assert_array_equal(values, file.read(1))


def test_two_modalities_open_together_in_xarray(tmp_path):
    dataset = replace(load_dataset("bigearthnet_v1", {"modalities": ["s2", "s1"]}), splits=("train", "test"))
    path = convert_archives(dataset, bigearthnet.write_v1(new(tmp_path / "packed")), tmp_path / "out")
    opened = xarray.open_zarr(path, group="train")
    assert opened["s2"].dims == ("sample", "band", "y", "x")
    assert opened["s1"].dims == ("sample", "band_s1", "y_s1", "x_s1")
    assert opened["s1"].sel(band_s1="VH").dtype == np.float32
    assert opened["labels_bigearthnet-43"].sum().item() == len(np.flatnonzero(Store(path).split("train").labels))


@pytest.mark.parametrize("form", ["parts", "zst"])
def test_bigearthnet_v2_from_both_mirrors_and_from_folders(tmp_path, form):
    dataset = replace(load_dataset("bigearthnet_v2", {"modalities": ["s2", "s1"]}), splits=("train", "val", "test"))
    names, partners = ([name[:-2] + str(at) for at in (40, 41, 42)] for name in (bigearthnet.V2_S2, bigearthnet.V2_S1))
    rows = [
        {**bigearthnet.V2_ROW, "patch_id": name, "s1_name": partner, "split": split}
        for name, partner, split in zip(names, partners, ("train", "validation", "test"), strict=True)
    ]

    def copies(files):
        for old, new_names in ((bigearthnet.V2_S2, names), (bigearthnet.V2_S1, partners)):
            for name in new_names:
                bigearthnet.copy_sample(files, old, name)

    packed = bigearthnet.write_v2(new(tmp_path / "packed"), form, copies, rows)
    unpacked = bigearthnet.write_v2(new(tmp_path / "unpacked"), "folder", copies, rows)
    store = same(dataset, packed, unpacked, tmp_path)
    assert {split: store.split(split).ids.tolist() for split in store.splits} == {
        "train": names[:1],
        "val": names[1:2],
        "test": names[2:],
    }


@pytest.mark.slow
def test_sen12ms_from_its_twelve_archives_and_from_folders(tmp_path):
    ids = [sen12ms.SUMMER, sen12ms.WINTER, "ROIs1158_spring_3_p1"]
    dataset = replace(load_dataset("sen12ms", {"modalities": ["s2", "s1"], "val_share": 0}), splits=("train", "test"))
    places = []
    for name, unpacked in (("packed", False), ("unpacked", True)):
        places.append(sen12ms.write(new(tmp_path / name), ids, unpacked=unpacked))
        sen12ms.write_lists(places[-1], ids[:2], ids[2:])
    store = same(dataset, *places, tmp_path)
    assert store.split("train").ids.tolist() == sorted(ids[:2])
    expected = sen12ms.pixels_of(sen12ms.SUMMER, "s2")
    np.testing.assert_array_equal(store.split("train").read([0])[0], expected)
    assert labels_of(store, "train") == [["Croplands"]] * 2


def eurosat(archives, kind, unpacked):
    """The three real images in each class's folder, and lists that name one of them for each split."""
    inside = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif/" if kind == "ms" else "2750/"
    source, archive = (("eurosat_ms", "EuroSATallBands"), ("eurosat_rgb", "EuroSAT_RGB"))[kind == "rgb"]
    files = {
        inside + file.relative_to(DATA / source).as_posix(): file.read_bytes()
        for file in sorted((DATA / source).rglob("*"))
        if file.is_file()
    }
    pack(archives / (archive if unpacked else f"{archive}.zip"), files)
    for split, name in (("train", "AnnualCrop_1"), ("val", "Pasture_300"), ("test", "SeaLake_3000")):
        (archives / f"eurosat-{split}.txt").write_text(f"{name}.jpg\n")
    return archives


@pytest.mark.parametrize("kind", ["ms", "rgb"])
def test_eurosat_from_its_zip_and_from_folders(tmp_path, kind):
    dataset = load_dataset(f"eurosat_{kind}")
    places = [eurosat(new(tmp_path / str(unpacked)), kind, unpacked) for unpacked in (False, True)]
    store = same(dataset, *places, tmp_path)
    (pixels,) = store.split("val").read([0])
    assert [labels_of(store, split) for split in store.splits] == [[["AnnualCrop"]], [["Pasture"]], [["SeaLake"]]]
    if kind == "ms":
        with rasterio.open(DATA / "eurosat_ms/Pasture/Pasture_300.tif") as file:
            np.testing.assert_array_equal(pixels, file.read())
        assert store.bands[-1] == "B8A"
    else:
        with Image.open(DATA / "eurosat_rgb/Pasture/Pasture_300.jpg") as picture:
            np.testing.assert_array_equal(pixels, np.asarray(picture))


def test_resisc45_from_its_zip_and_from_folders(tmp_path):
    dataset = load_dataset("resisc45")
    pictures = {
        f"NWPU-RESISC45/{name}/{name}_{at:03d}.jpg": folders.encoded(
            Image.fromarray(folders.noise(256, 256, 3, seed=at)), "JPEG"
        )
        for at, name in enumerate(("airplane", "beach", "wetland"), start=1)
    }
    places = [new(tmp_path / name) for name in ("packed", "unpacked")]
    pack(places[0] / "NWPU-RESISC45.zip", pictures)
    pack(places[1], pictures)
    for place in places:
        for split, name in zip(("train", "val", "test"), pictures, strict=True):
            (place / f"resisc45-{split}.txt").write_text(Path(name).name + "\n")
    store = same(dataset, *places, tmp_path)
    assert store.split("val").ids.tolist() == ["beach_002"]
    (pixels,) = store.split("val").read([0])
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(list(pictures.values())[1]))))
    assert labels_of(store, "val") == [["beach"]]


def test_an_archive_cut_off_is_an_error_and_no_store(tmp_path):
    dataset = load_dataset("eurosat_ms")
    archives = eurosat(new(tmp_path / "archives"), "ms", unpacked=False)
    whole = archives / "EuroSATallBands.zip"
    whole.write_bytes(whole.read_bytes()[:-30_000])
    with pytest.raises(Exception, match=r"damaged or incomplete|EuroSATallBands"):
        convert_archives(dataset, archives, tmp_path / "out")
    assert not (tmp_path / "out" / "eurosat_ms.zarr").exists()
    assert not zipfile.is_zipfile(whole)


@pytest.mark.parametrize(
    ("name", "archives"), [("bigearthnet_v1", 1), ("bigearthnet_v2", 1), ("sen12ms", 4), ("sen12ms_single", 4)]
)
def test_every_stream_has_its_archives(name, archives):
    dataset = load_dataset(name, {"modalities": ["s2", "s1"]})
    number = {stream: sum(source.stream == stream for source in dataset.sources) for stream in dataset.streams}
    assert set(number.values()) == {archives}
