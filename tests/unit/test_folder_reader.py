"""A folder per class: EuroSAT's real files, in its archive's layout, with its lists."""

import dataclasses
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from bandbridge.catalogue import load_dataset
from bandbridge.errors import UserError
from bandbridge.readers import Rejected, Sample, read_samples
from bandbridge.sensors import STUDENT_BANDS, order_bands

DATA = Path(__file__).parents[1] / "data"
LISTS = {"train": ["AnnualCrop_1"], "val": ["Pasture_300"], "test": ["SeaLake_3000"]}
MEMBERS = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"


@pytest.fixture
def archives(tmp_path):
    """EuroSAT-100's directory of archives, with three of its images."""
    with zipfile.ZipFile(tmp_path / "EuroSAT100.zip", "w") as archive:
        for file in sorted((DATA / "eurosat_ms").rglob("*.tif")):
            archive.write(file, f"{MEMBERS}/{file.parent.name}/{file.name}")
    for split, names in LISTS.items():
        write_list(tmp_path, split, *names)
    return tmp_path


def write_list(archives, split, *names):
    (archives / f"eurosat-100-{split}.txt").write_text("".join(f"{name}.jpg\n" for name in names))


def read(archives, **options):
    return {item.id: item for item in read_samples(load_dataset("eurosat_100", options), archives)}


def photos(**options):
    """The RGB files as a data set of its own."""
    facts = {"modality": "rgb", "bands": ("red", "green", "blue"), "composite": None}
    options = {"archive": str(DATA / "eurosat_rgb"), "images": "*.jpg", "lists": None, **options}
    return dataclasses.replace(load_dataset("eurosat_100", options), **facts)


def test_lists_of_jpg_names_divide_the_tif_files(archives):
    found = read(archives)
    assert {name: (sample.split, sample.labels) for name, sample in found.items()} == {
        "AnnualCrop_1": ("train", ("AnnualCrop",)),
        "Pasture_300": ("val", ("Pasture",)),
        "SeaLake_3000": ("test", ("SeaLake",)),
    }


def test_pixels_and_place_are_those_of_the_file(archives):
    sample = read(archives)["Pasture_300"]
    with rasterio.open(DATA / "eurosat_ms" / "Pasture" / "Pasture_300.tif") as raster:
        np.testing.assert_array_equal(sample.pixels, raster.read())
        left, bottom, right, top = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    assert sample.pixels.dtype == np.uint16
    assert left < sample.lon < right
    assert bottom < sample.lat < top


def test_eurosat_b8a_is_read_from_the_last_band(archives):
    """The narrow near infrared follows the broad one closely, water vapour does not."""
    bands = load_dataset("eurosat_100").bands
    for name in ("AnnualCrop_1", "Pasture_300"):
        pixels = read(archives)[name].pixels.reshape(13, -1).astype(float)
        with_b08 = np.corrcoef(pixels)[bands.index("B08")]
        assert with_b08[bands.index("B8A")] > 0.95 > with_b08[bands.index("B09")] + 0.05
    assert bands[12] == "B8A"
    assert order_bands(bands, STUDENT_BANDS)[8] == 12


def test_a_folder_reads_like_the_archive(archives):
    from_zip, from_folder = read(archives), read(archives, archive=str(DATA / "eurosat_ms"))
    assert from_zip.keys() == from_folder.keys()
    assert all((from_zip[name].pixels == from_folder[name].pixels).all() for name in from_zip)


def test_an_image_in_no_list_is_left_out_and_counted(archives, capsys):
    write_list(archives, "val")
    assert set(read(archives)) == {"AnnualCrop_1", "SeaLake_3000"}
    assert "1 of 3 images are in no list" in capsys.readouterr().err


def test_a_listed_image_that_is_absent_is_rejected(archives):
    write_list(archives, "val", "Pasture_300", "Forest_7")
    assert read(archives)["Forest_7"] == Rejected(
        "Forest_7", "val", "is in eurosat-100-val.txt, but there is no such image"
    )


def test_an_image_in_two_lists_is_rejected(archives):
    write_list(archives, "val", "Pasture_300", "SeaLake_3000")
    assert read(archives)["SeaLake_3000"] == Rejected("SeaLake_3000", "val", "is listed 2 times: val, test")


def test_an_absent_list_is_explained(archives):
    (archives / "eurosat-100-val.txt").unlink()
    with pytest.raises(UserError, match=r"eurosat-100-val.txt is not there, the list of the val split"):
        read(archives)


def test_no_images_are_explained(archives):
    with pytest.raises(UserError, match=r"no file of .*EuroSAT100.zip matches the option images \('\*.png'\)"):
        read(archives, images="*.png")


def test_damaged_files_and_missing_bands_are_rejected(archives, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(DATA / "eurosat_ms", own)
    (own / "Pasture" / "Pasture_300.tif").write_bytes(b"no raster")
    crop = own / "AnnualCrop" / "AnnualCrop_1.tif"
    with rasterio.open(crop) as raster:
        profile, pixels = raster.profile | {"count": 12}, raster.read()[:12]
    with rasterio.open(crop, "w", **profile) as raster:
        raster.write(pixels)
    found = read(archives, archive=str(own))
    assert found["AnnualCrop_1"] == Rejected("AnnualCrop_1", "train", "has 12 bands, expected 13")
    assert found["Pasture_300"].reason.startswith("cannot be read: ")
    assert isinstance(found["SeaLake_3000"], Sample)


def test_pictures_are_read_as_rgb(tmp_path):
    found = {item.id: item for item in read_samples(photos(shares={"val": 0.2, "test": 0.2}), tmp_path)}
    sample = found["AnnualCrop_1"]
    assert sample.pixels.shape == (64, 64, 3)
    assert sample.pixels.dtype == np.uint8
    with rasterio.open(DATA / "eurosat_rgb" / "AnnualCrop" / "AnnualCrop_1.jpg") as raster:
        difference = sample.pixels.astype(int) - raster.read().transpose(1, 2, 0)
    assert abs(difference).mean() < 1  # two decoders of JPEG round differently


def test_a_damaged_picture_is_rejected(tmp_path):
    (tmp_path / "Forest").mkdir()
    whole = (DATA / "eurosat_rgb" / "Pasture" / "Pasture_300.jpg").read_bytes()
    (tmp_path / "Forest" / "cut.jpg").write_bytes(whole[:1500])
    (tmp_path / "Forest" / "text.jpg").write_bytes(b"text")
    found = list(read_samples(photos(archive=str(tmp_path), shares={"val": 0, "test": 0}), tmp_path))
    assert [type(item) for item in found] == [Rejected, Rejected]


@pytest.fixture
def many(tmp_path):
    """Twenty small pictures a class, named 0.png to 19.png in each."""
    for label in ("Forest", "River"):
        (tmp_path / label).mkdir()
        for index in range(20):
            Image.new("L", (4, 4), index).save(tmp_path / label / f"{index}.png")
    return tmp_path


def test_shares_divide_each_class_whatever_the_order(many):
    dataset = photos(archive=str(many), images="*.png", shares={"val": 0.1, "test": 0.25}, seed=3)
    found = list(read_samples(dataset, many))
    counts = Counter((sample.split, *sample.labels) for sample in found)
    assert counts == {
        (split, label): count
        for label in ("Forest", "River")
        for split, count in (("train", 13), ("val", 2), ("test", 5))
    }
    shuffled = many / "shuffled.zip"
    with zipfile.ZipFile(shuffled, "w") as archive:
        for file in sorted(many.rglob("*.png"), key=lambda path: path.name[::-1]):
            archive.write(file, f"{file.parent.name}/{file.name}")
    options = {**dataset.options, "archive": str(shuffled)}
    again = read_samples(dataclasses.replace(dataset, options=options), many)
    assert {item.id: item.split for item in again} == {item.id: item.split for item in found}


def test_names_that_repeat_between_classes_get_the_class_in_their_id(many):
    for split, names in {"train": "Forest/3.jpg\nRiver/3.jpg\n", "val": "", "test": ""}.items():
        (many / f"{split}.txt").write_text(names)
    lists = {split: f"{split}.txt" for split in ("train", "val", "test")}
    dataset = photos(archive=str(many), images="*.png", lists=lists)
    found = [item for item in read_samples(dataset, many) if isinstance(item, Sample)]
    assert {sample.id: sample.labels for sample in found} == {"Forest/3": ("Forest",), "River/3": ("River",)}
    assert [tuple(sample.pixels[0, 0]) for sample in found] == [(3, 3, 3), (3, 3, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": {"val": 0.2, "test": 0.2}}, "expected either lists"),
        ({"lists": None}, "expected either lists"),
        ({"lists": None, "shares": {"val": 0.2}}, "shares has val, expected val and test"),
        ({"list": {}}, "'list' is not an option of the folder reader. Did you mean 'lists'"),
    ],
)
def test_wrong_options_are_explained(archives, options, message):
    with pytest.raises(UserError, match=message):
        read(archives, **options)
