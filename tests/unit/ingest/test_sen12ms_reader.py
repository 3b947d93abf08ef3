"""SEN12MS: twelve archives in the publishers' layout, with rasters in their form, made here."""

import numpy as np
import pytest
import rasterio
from hypothesis import example, given
from hypothesis import strategies as st
from own_files import geotiff
from packed import pack

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature
from bandbridge.ingest.readers import Rejected, Sample, reader
from bandbridge.ingest.readers.sen12ms import SIMPLIFIED, Sen12msOptions, _classes

SEASONS = ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter")
SUMMER, WINTER = "ROIs1868_summer_146_p202", "ROIs2017_winter_7_p30"
PROFILES = {"s2": (13, "uint16"), "s1": (2, "float32"), "lc": (4, "uint16")}


def member(sample_id, stream):
    """Where the publishers keep a file: ROIs1868_summer/s2_146/ROIs1868_summer_s2_146_p202.tif."""
    rois, season, scene, number = sample_id.split("_")
    return f"{rois}_{season}/{stream}_{scene}/{rois}_{season}_{stream}_{scene}_{number}.tif"


def pixels_of(sample_id, stream):
    bands, dtype = PROFILES[stream]
    random = np.random.default_rng([*sample_id.encode(), *stream.encode()])
    if stream == "lc":
        return np.full((bands, 256, 256), 12, dtype)
    values = random.integers(200, 4000, (bands, 256, 256)).astype(dtype)
    return values / np.float32(-200) if stream == "s1" else values


def on_the_ground(pixels):
    return geotiff(pixels, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000))


def land_cover(**shares):
    """A land cover raster (4 bands) whose first band has each IGBP class on about its share; the rest is 0."""
    flat = np.zeros(256 * 256, np.uint16)
    begin = 0
    for name, share in shares.items():
        end = begin + round(share * flat.size)
        flat[begin:end] = int(name.removeprefix("igbp_"))
        begin = end
    return np.concatenate([flat.reshape(1, 256, 256), np.full((3, 256, 256), 9, np.uint16)])


def write(archives, ids=(SUMMER, WINTER), replaced=None, unpacked=False):
    """The twelve archives; `replaced` gives other contents by (id, stream), None for no file."""
    for season in SEASONS:
        for stream in PROFILES:
            files = {f"{season}/README.txt": b"about"}
            for sample_id in ids:
                if sample_id.startswith(season):
                    key = (sample_id, stream)
                    usual = replaced is None or key not in replaced
                    content = on_the_ground(pixels_of(*key)) if usual else replaced[key]
                    if content is not None:
                        files[member(sample_id, stream)] = content
            pack(archives / f"{season}_{stream}{'' if unpacked else '.tar.gz'}", files)
    return archives


def write_lists(archives, train, test):
    for name, ids in (("train", train), ("test", test)):
        lines = [member(sample_id, "s2").rpartition("/")[2] + "\n" for sample_id in ids]
        (archives / f"{name}_list.txt").write_text("".join(lines))


def load(name="sen12ms", **options):
    return load_dataset(name, options)


def read(dataset, archives, stream, wanted=(SUMMER, WINTER)):
    items = list(reader(dataset).read(dataset, archives, stream, set(wanted)))
    assert len({sample.id for sample in items}) == len(items)
    return {sample.id: sample for sample in items}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sen12ms"))


# --- pixels and place ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["s2", "s1"])
def test_pixels_are_those_of_the_files_of_all_seasons(archives, stream):
    samples = read(load(modalities=["s2", "s1"]), archives, stream)
    assert samples.keys() == {SUMMER, WINTER}
    for sample_id, sample in samples.items():
        expected = pixels_of(sample_id, stream)
        np.testing.assert_array_equal(sample.pixels, expected)
        assert sample.pixels.dtype == expected.dtype
        assert sample.labels is None
        assert sample.date is None
        assert (round(sample.lat, 2), round(sample.lon, 2)) == (47.84, 15.02)


def test_only_the_archives_of_wanted_seasons_are_opened(archives, tmp_path):
    for name in ("ROIs1868_summer_s2.tar.gz",):
        (tmp_path / name).write_bytes((archives / name).read_bytes())
    assert read(load(), tmp_path, "s2", [SUMMER]).keys() == {SUMMER}
    with pytest.raises(UserError, match=r"ROIs2017_winter_s2.tar.gz"):
        read(load(), tmp_path, "s2", [WINTER])


def test_a_folder_of_all_streams_gives_each_stream_its_own_files(archives, tmp_path):
    everything = {member(SUMMER, stream): on_the_ground(pixels_of(SUMMER, stream)) for stream in PROFILES}
    for stream in PROFILES:
        pack(tmp_path / f"ROIs1868_summer_{stream}", everything)
    samples = read(load(modalities=["s2", "s1"]), tmp_path, "s1", [SUMMER])
    np.testing.assert_array_equal(samples[SUMMER].pixels, pixels_of(SUMMER, "s1"))


def test_damaged_and_incomplete_files_are_rejected(tmp_path):
    cut = on_the_ground(pixels_of(SUMMER, "s2"))[:200_000]
    fewer = on_the_ground(pixels_of(WINTER, "s2")[:12])
    write(tmp_path, replaced={(SUMMER, "s2"): cut, (WINTER, "s2"): fewer})
    samples = read(load(), tmp_path, "s2")
    assert samples[SUMMER].reason.startswith("is truncated")
    assert samples[WINTER] == Rejected(WINTER, "has 12 bands, expected 13")


def test_a_sample_that_is_not_in_the_archive_is_not_yielded(tmp_path):
    write(tmp_path, replaced={(SUMMER, "s1"): None})
    dataset = load(modalities=["s2", "s1"])
    assert read(dataset, tmp_path, "s1").keys() == {WINTER}
    assert isinstance(read(dataset, tmp_path, "s2")[SUMMER], Sample)


# --- labels --------------------------------------------------------------------------------------------------------


def labels_of(tmp_path, cover, name="sen12ms", **options):
    write(tmp_path, [SUMMER], {(SUMMER, "lc"): on_the_ground(cover)})
    return read(load(name, **options), tmp_path, "lc", [SUMMER])[SUMMER].labels


def test_classes_of_a_tenth_of_a_sample_are_its_labels(tmp_path):
    cover = land_cover(igbp_1=0.06, igbp_5=0.06, igbp_12=0.5, igbp_13=0.09, igbp_17=0.29)
    assert labels_of(tmp_path, cover) == ("Forest", "Croplands", "Water")


def test_the_share_from_which_a_class_counts_can_be_chosen(tmp_path):
    cover = land_cover(igbp_12=0.9, igbp_13=0.06, igbp_17=0.04)
    assert labels_of(tmp_path, cover, label_share=0.05) == ("Croplands", "Urban and built-up")


def test_a_single_label_is_the_most_frequent_simplified_class(tmp_path):
    # The most frequent class of the full scheme is cropland.
    cover = land_cover(igbp_12=0.4, igbp_1=0.25, igbp_4=0.25, igbp_17=0.1)
    assert labels_of(tmp_path, cover, "sen12ms_single") == ("Forest",)


def test_of_two_equally_frequent_classes_the_first_is_the_single_label(tmp_path):
    assert labels_of(tmp_path, land_cover(igbp_17=0.5, igbp_16=0.5), "sen12ms_single") == ("Barren",)


def test_land_without_a_class_has_no_label(tmp_path):
    assert labels_of(tmp_path, land_cover(igbp_255=0.7)) == ()


@example([1] * 9 + [12], 0.1)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.floats(0, 0.99))
def test_labels_are_exactly_the_classes_with_the_share(values, share):
    cover = np.array([values], np.uint16)
    labels = _classes(cover, load(), Sen12msOptions(label_share=share))
    for index in range(len(load_nomenclature("igbp-simplified-10").classes)):
        count = sum(SIMPLIFIED.get(value) == index for value in values)
        assert (index in labels) == (count > 0 and count >= share * len(values))


# --- splits --------------------------------------------------------------------------------------------------------

TRAIN = [f"{season}_{scene}_p{number}" for season in SEASONS for scene in range(1, 21) for number in (1, 2, 3)]
TEST = [f"{season}_99_p{number}" for season in SEASONS for number in (1, 2)]


def planned(tmp_path, **options):
    write_lists(tmp_path, TRAIN, TEST)
    dataset = load(**options)
    samples = reader(dataset).plan(dataset, tmp_path)
    return {split: {sample.id for sample in samples if sample.split == split} for split in ("train", "val", "test")}


def scenes(ids):
    return {sample_id.rpartition("_")[0] for sample_id in ids}


def test_val_is_a_share_of_whole_training_scenes_of_each_season(tmp_path):
    splits = planned(tmp_path)
    assert splits["test"] == set(TEST)
    assert splits["train"] | splits["val"] == set(TRAIN)
    assert not scenes(splits["train"]) & scenes(splits["val"])
    for season in SEASONS:
        assert sum(scene.startswith(season) for scene in scenes(splits["val"])) == 2


def test_the_seed_decides_which_scenes_are_val(tmp_path):
    assert planned(tmp_path) == planned(tmp_path, seed=0)
    assert planned(tmp_path)["val"] != planned(tmp_path, seed=1)["val"]


def test_the_order_of_a_list_does_not_matter(tmp_path):
    expected = planned(tmp_path)["val"]
    write_lists(tmp_path, TRAIN[::-1], TEST)
    assert {sample.id for sample in reader(load()).plan(load(), tmp_path) if sample.split == "val"} == expected


def test_both_label_kinds_have_the_same_samples_in_the_same_splits(tmp_path):
    write_lists(tmp_path, TRAIN, TEST)
    multi, single = load("sen12ms"), load("sen12ms_single")
    assert reader(multi).plan(multi, tmp_path) == reader(single).plan(single, tmp_path)
    assert single.archives == multi.archives == "sen12ms"
    assert single.sources == multi.sources
    assert single.modalities == multi.modalities


def test_a_sample_that_is_listed_twice_is_planned_twice(tmp_path):
    write_lists(tmp_path, [SUMMER, SUMMER], [SUMMER])
    planned_ids = [sample.id for sample in reader(load()).plan(load(), tmp_path)]
    assert planned_ids == [SUMMER] * 3


def test_lists_that_are_absent_or_hold_something_else_are_explained(tmp_path):
    with pytest.raises(UserError, match=r"train_list.txt not found"):
        reader(load()).plan(load(), tmp_path)
    write_lists(tmp_path, [SUMMER], [WINTER])
    with (tmp_path / "test_list.txt").open("a") as file:
        file.write("\n<html>\n")
    with pytest.raises(UserError, match=r"test_list.txt, line 3: '<html>' is not a file of SEN12MS"):
        reader(load()).plan(load(), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_share": 1.5}, "val_share is 1.5; expected at most 1"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number"),
        ({"lists": {"val": "val_list.txt"}}, "lists has train, test, val, expected train and test"),
        ({"label_shares": 0.2}, "label_shares is not an option"),
    ],
)
def test_wrong_options_are_explained(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        reader(load()).plan(load(**options), tmp_path)
