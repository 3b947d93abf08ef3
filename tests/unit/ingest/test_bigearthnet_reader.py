"""BigEarthNet v1 and v2: real samples, in archives laid out as the publishers deliver them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from bigearthnet_archives import (
    BARE,
    CLOUDY,
    FIELDS,
    FOREST,
    PAIRS,
    SNOWY,
    V1,
    V2,
    V2_ROW,
    V2_S1,
    V2_S2,
    WHEEL,
    copy_sample,
    write_lists,
    write_metadata,
    write_v1,
    write_v2,
)
from own_files import geotiff
from packed import pack
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.readers import Planned, Rejected, Sample, reader


def load(name="bigearthnet_v1", **options):
    return load_dataset(name, options)


def read(dataset, archives, stream="s2", wanted=None):
    """Id -> what the reader gives for it; every sample once."""
    if wanted is None:
        wanted = {sample.id for sample in reader(dataset).plan(dataset, archives)}
    samples = list(reader(dataset).read(dataset, archives, stream, wanted))
    by_id = {sample.id: sample for sample in samples}
    assert len(by_id) == len(samples)
    return by_id


def band_file(root, name, band):
    return next(root.rglob(f"{name}_{band}.tif"))


def rasterio_pixels(root, name, bands, resampling=Resampling.nearest):
    layers = []
    for band in bands:
        with rasterio.open(band_file(root, name, band)) as raster:
            layers.append(raster.read(1, out_shape=(120, 120), resampling=resampling))
    return np.stack(layers)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, sample in expected.items():
        np.testing.assert_array_equal(found[name].pixels, sample.pixels)
        assert found[name].pixels.dtype == sample.pixels.dtype
        for fact in ("labels", "lat", "lon", "date"):
            assert getattr(found[name], fact) == getattr(sample, fact)


def assert_centre_in(sample, path):
    with rasterio.open(path) as raster:
        left, bottom, right, top = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    assert sample.lon == pytest.approx((left + right) / 2, abs=(right - left) / 100)
    assert sample.lat == pytest.approx((bottom + top) / 2, abs=(top - bottom) / 100)


# --- pixels, labels, place -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [FIELDS, FOREST])
def test_every_band_of_v1_is_what_rasterio_reads(tmp_path, name):
    dataset = load()
    sample = read(dataset, write_v1(tmp_path))[name]
    np.testing.assert_array_equal(sample.pixels, rasterio_pixels(V1, name, dataset.primary.bands))
    assert sample.pixels.dtype == np.uint16
    assert sample.labels == tuple(json.loads(next(V1.rglob(f"{name}_labels_metadata.json")).read_text())["labels"])
    assert_centre_in(sample, band_file(V1, name, "B02"))


def test_the_date_is_read_from_names_with_short_times_too(tmp_path):
    samples = read(load(), write_v1(tmp_path))
    assert {name: sample.date for name, sample in samples.items()} == {FIELDS: "2017-06-13", FOREST: "2017-09-24"}


def test_every_band_of_v2_is_what_rasterio_reads(tmp_path):
    dataset = load("bigearthnet_v2")
    sample = read(dataset, write_v2(tmp_path))[V2_S2]
    np.testing.assert_array_equal(sample.pixels, rasterio_pixels(V2, V2_S2, dataset.primary.bands))
    assert sample.labels == ("Arable land", "Inland waters")
    assert sample.date == "2017-06-13"
    assert_centre_in(sample, band_file(V2, V2_S2, "B03"))


def test_bilinear_resampling_is_rasterios_but_for_rounding(tmp_path):
    dataset = load(resampling="bilinear")
    sample = read(dataset, write_v1(tmp_path))[FOREST]
    expected = rasterio_pixels(V1, FOREST, dataset.primary.bands, Resampling.bilinear)
    assert np.abs(sample.pixels.astype(int) - expected).max() <= 1
    nearest = rasterio_pixels(V1, FOREST, dataset.primary.bands)
    assert (sample.pixels != nearest).any()


def test_sentinel_1_carries_the_id_of_its_sentinel_2_partner(tmp_path):
    dataset = load(modalities=["s2", "s1"])
    samples = read(dataset, write_v1(tmp_path), "s1")
    assert samples.keys() == PAIRS.keys()
    for name, partner in PAIRS.items():
        np.testing.assert_array_equal(samples[name].pixels, rasterio_pixels(V1, partner, ("VV", "VH")))
        assert samples[name].pixels.dtype == np.float32
        assert (samples[name].labels, samples[name].lat, samples[name].date) == (None, None, None)


def test_sentinel_1_of_v2_is_paired_by_the_metadata(tmp_path):
    samples = read(load("bigearthnet_v2", modalities=["s2", "s1"]), write_v2(tmp_path), "s1")
    np.testing.assert_array_equal(samples[V2_S2].pixels, rasterio_pixels(V2, V2_S1, ("VV", "VH")))


@pytest.mark.parametrize("version", ["bigearthnet_v1", "bigearthnet_v2"])
def test_sentinel_1_alone_has_labels_place_and_date_of_its_own(tmp_path, version):
    dataset = load(version, modalities=["s1"])
    with_s2 = load(version)
    write = {"bigearthnet_v1": write_v1, "bigearthnet_v2": write_v2}[version]
    samples, partners = read(dataset, write(tmp_path), "s1"), read(with_s2, tmp_path)
    assert {name: sample.labels for name, sample in samples.items()} == {
        name: sample.labels for name, sample in partners.items()
    }
    assert all(sample.lat is not None and sample.date is not None for sample in samples.values())
    if version == "bigearthnet_v1":
        assert samples[FOREST].date == "2017-09-25"
        assert samples[FOREST].lat == pytest.approx(partners[FOREST].lat, abs=1e-3)


# --- archives ------------------------------------------------------------------------------------------------------


def test_files_are_found_whatever_their_folders_and_bare_band_names_by_their_folder(tmp_path):
    def rename(files):
        for name in list(files):
            sample, file = name.split("/")[-2:]
            content = files.pop(name)
            if sample == FIELDS and file.endswith(".tif"):
                files[f"deep/er/{sample}/{file.removeprefix(f'{sample}_')}"] = content
            else:
                files[f"flat/{file}"] = content

    for form in ("usual", "renamed"):
        (tmp_path / form).mkdir()
    expected = read(load(), write_v1(tmp_path / "usual"))
    assert_same(read(load(), write_v1(tmp_path / "renamed", rename)), expected)


def test_other_members_are_passed_over(tmp_path):
    def add(files):
        folder = next(iter(files)).split("/")[0]
        files[f"{folder}/README.txt"] = b"about"
        files[f"{folder}/{FIELDS}/._{FIELDS}_B01.tif"] = b"left by another system"
        files[f"{folder}/{FIELDS}/{FIELDS}_preview.tif"] = b"no band"
        files[f"{folder}/{FIELDS}/{FIELDS}_B01.tif.aux.xml"] = b"<PAMDataset/>"
        copy_sample(files, FIELDS, "S2A_MSIL2A_20170613T101031_0_0")

    for form in ("usual", "more"):
        (tmp_path / form).mkdir()
    assert_same(read(load(), write_v1(tmp_path / "more", add)), read(load(), write_v1(tmp_path / "usual")))


def test_only_wanted_samples_are_read(tmp_path):
    assert read(load(), write_v1(tmp_path), wanted={FOREST}).keys() == {FOREST}


# --- what is wrong with a sample -----------------------------------------------------------------------------------


def change_band(name, band, change):
    """A change of the archives: the content of one band file is replaced, or left out where `change` gives None."""

    def apply(files):
        for member in [member for member in files if member.endswith(f"/{name}_{band}.tif")]:
            content = change(files.pop(member))
            if content is not None:
                files[member] = content

    return apply


def test_a_sample_that_lacks_bands_is_rejected_at_the_end(tmp_path):
    samples = read(load(), write_v1(tmp_path, change_band(FIELDS, "B8A", lambda content: None)))
    assert samples[FIELDS] == Rejected(FIELDS, "lacks band B8A (found 11 of 12)")
    assert isinstance(samples[FOREST], Sample)


def test_a_sample_without_its_file_of_labels_is_rejected(tmp_path):
    def drop(files):
        for name in [name for name in files if name.endswith(".json") and "87_48" in name]:
            del files[name]

    dataset = load()
    assert read(dataset, write_v1(tmp_path, drop))[FIELDS] == Rejected(FIELDS, "lacks its file of labels")
    # Sentinel-1's own is not needed where Sentinel-2 gives the labels.
    assert isinstance(read(load(modalities=["s2", "s1"]), tmp_path, "s1")[FIELDS], Sample)


def test_damaged_labels_are_told(tmp_path):
    def cut(files):
        for name in [name for name in files if name.endswith(f"{FIELDS}_labels_metadata.json")]:
            files[name] = files[name][:30]

    assert read(load(), write_v1(tmp_path, cut))[FIELDS] == Rejected(FIELDS, "its file of labels is damaged")


@pytest.mark.parametrize("band", ["B01", "B08", "B12"])
def test_a_truncated_band_is_rejected_and_named(tmp_path, band):
    samples = read(load(), write_v1(tmp_path, change_band(FOREST, band, lambda content: content[: len(content) // 2])))
    assert samples[FOREST].reason.startswith(f"band {band} is truncated")
    assert isinstance(samples[FIELDS], Sample)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 50, 60), "band B05 is 50 x 60 pixels, which does not divide 120 x 120"),
        ((2, 60, 60), "band B05: the file holds 2 bands, expected one"),
    ],
)
def test_a_band_of_another_shape_is_rejected(tmp_path, shape, reason):
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    content = geotiff(pixels, transform=rasterio.Affine(10, 0, 0, 0, -10, 0))
    samples = read(load(), write_v1(tmp_path, change_band(FOREST, "B05", lambda _: content)))
    assert samples[FOREST] == Rejected(FOREST, reason)


def test_a_sample_that_comes_twice_is_yielded_twice(tmp_path):
    def again(files):
        files |= {f"again/{name}": content for name, content in files.items()}

    samples = list(reader(load()).read(load(), write_v1(tmp_path, again), "s2", {FIELDS}))
    assert [sample.id for sample in samples] == [FIELDS, FIELDS]


def test_a_sample_with_one_band_twice_is_rejected_once(tmp_path):
    def between(files):
        doubled = {}
        for name, content in files.items():
            doubled |= {name: content, f"again/{name}": content}
        files.clear()
        files |= doubled

    samples = read(load(), write_v1(tmp_path, between), wanted={FIELDS})
    assert samples[FIELDS].reason.endswith("twice")


def test_a_planned_sample_that_is_not_in_the_archive_is_not_yielded(tmp_path):
    archives = write_v1(tmp_path)
    absent = "S2A_MSIL2A_20170613T101031_0_0"
    write_lists(archives / WHEEL, train=[FIELDS, absent])
    assert absent in {sample.id for sample in reader(load()).plan(load(), archives)}
    assert read(load(), archives).keys() == {FIELDS, FOREST}


# --- splits --------------------------------------------------------------------------------------------------------


def test_v1_follows_the_official_lists(tmp_path):
    planned = reader(load()).plan(load(), write_v1(tmp_path))
    assert sorted(planned, key=lambda sample: sample.id) == [Planned(FIELDS, "train"), Planned(FOREST, "test")]


@pytest.mark.parametrize(
    ("leave_out", "added"),
    [
        (["snow", "cloud", "no_19"], set()),
        (["snow", "no_19"], {CLOUDY}),
        (["snow", "cloud"], {BARE}),
        (["cloud", "no_19"], set()),  # the snowy sample has no label of the 19 either
        ([], {SNOWY, CLOUDY, BARE}),
    ],
)
def test_kinds_that_are_not_left_out_join_the_training_samples(tmp_path, leave_out, added):
    dataset = load(leave_out=leave_out)
    planned = reader(dataset).plan(dataset, write_v1(tmp_path))
    assert {sample.id for sample in planned if sample.split == "train"} == {FIELDS} | added
    assert {sample.id for sample in planned if sample.split == "test"} == {FOREST}


def test_a_snowy_sample_that_a_list_names_keeps_its_split(tmp_path):
    archives, dataset = write_v1(tmp_path), load(leave_out=[])
    write_lists(archives / WHEEL, test=[FOREST, SNOWY])
    assert [item for item in reader(dataset).plan(dataset, archives) if item.id == SNOWY] == [Planned(SNOWY, "test")]


def test_an_id_that_lists_name_twice_is_planned_twice(tmp_path):
    archives = write_v1(tmp_path)
    write_lists(archives / WHEEL, train=[FIELDS, FIELDS], val=[FOREST], test=[FOREST])
    planned = [(sample.id, sample.split) for sample in reader(load()).plan(load(), archives)]
    assert sorted(planned) == [(FIELDS, "train"), (FIELDS, "train"), (FOREST, "test"), (FOREST, "val")]


def test_a_line_that_is_no_sample_is_not_dropped_silently(tmp_path):
    archives = write_v1(tmp_path)
    write_lists(archives / WHEEL, train=[FIELDS, "<html>"])
    assert {sample.id for sample in reader(load()).plan(load(), archives)} == {FIELDS, FOREST, "<html>"}


def test_lists_may_be_plain_files_in_a_folder(tmp_path):
    archives = write_v1(tmp_path)
    (archives / WHEEL).unlink()
    texts = {"train": f"{FIELDS},{PAIRS[FIELDS]}\n", "val": "", "test": f"s2_name,s1_name\n{FOREST},{PAIRS[FOREST]}\n"}
    kinds = ("patches_with_seasonal_snow", "patches_with_cloud_and_shadow", "patches_with_no_19_class_targets")
    lists = {f"{name}.csv": text.encode() for name, text in {**texts, **dict.fromkeys(kinds, "")}.items()}
    pack(archives / "own", lists)
    dataset = load(lists="own")
    assert {sample.id: sample.split for sample in reader(dataset).plan(dataset, archives)} == {
        FIELDS: "train",
        FOREST: "test",
    }


def test_v2_takes_its_splits_from_the_metadata(tmp_path):
    rows = [{**V2_ROW, "patch_id": f"{split}_1", "split": split} for split in ("train", "validation", "test")]
    write_metadata(tmp_path, rows)
    dataset = load("bigearthnet_v2")
    assert [sample.split for sample in reader(dataset).plan(dataset, tmp_path)] == ["train", "val", "test"]


# --- errors --------------------------------------------------------------------------------------------------------


def test_an_unknown_split_in_the_metadata_is_explained(tmp_path):
    write_metadata(tmp_path, [{**V2_ROW, "split": "dev"}])
    dataset = load("bigearthnet_v2")
    with pytest.raises(UserError, match=r"metadata.parquet: split is 'dev', expected one of train, validation"):
        reader(dataset).plan(dataset, tmp_path)


def test_metadata_that_are_absent_damaged_or_without_a_column_are_explained(tmp_path):
    dataset = load("bigearthnet_v2")
    with pytest.raises(UserError, match=r"metadata.parquet not found"):
        reader(dataset).plan(dataset, tmp_path)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(UserError, match=r"metadata.parquet cannot be read as a table"):
        reader(dataset).plan(dataset, tmp_path)
    pq.write_table(pa.table({"patch_id": [V2_S2], "subset": ["train"]}), tmp_path / "metadata.parquet")
    with pytest.raises(UserError, match=r"has no column split; there are: patch_id, subset"):
        reader(dataset).plan(dataset, tmp_path)


def test_an_absent_list_is_explained(tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match=r"own: holds no list train.csv.bz2"):
        reader(load(lists="own")).plan(load(lists="own"), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": ["snwo"]}, r"'snwo'; allowed: snow, cloud, no_19. Did you mean 'snow'"),
        ({"resampling": "cubic"}, r"resampling is 'cubic'; allowed: nearest, bilinear"),
        ({"metadata": "metadata.parquet"}, r"either lists \(BigEarthNet v1\) or metadata"),
        ({"list": "x"}, r"list is not an option"),
    ],
)
def test_wrong_options_are_explained(tmp_path, options, message):
    dataset = load(**options)
    with pytest.raises(UserError, match=message):
        reader(dataset).plan(dataset, tmp_path)
