"""Stores: what is converted is what is read, in any order and nomenclature; faults go to quarantine."""

import csv
import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from small_store import make_store, small_dataset, write_store

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Composite, load_dataset, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.sensors import order_bands
from bandbridge.ingest.readers import Rejected, Sample, reader
from bandbridge.store.dataset import Store

SCENE = small_dataset("demo_scene")
DIGITS = small_dataset("digits")
CROP = Path(__file__).parents[2] / "data" / "scene_crop"
PROVENANCE = {"sources": [{"file": "a.zip", "sha256": "0" * 64}]}
COUNTS = {"train": 7, "val": 2, "test": 3}


def sample(name="x", seed=0, **changes):
    pixels = np.random.default_rng(seed).integers(1, 3000, (13, 6, 5)).astype(np.uint16)
    return dataclasses.replace(Sample(name, pixels, ("forest", "water"), 52.5, 12.5, "2017-02-16"), **changes)


def some_samples():
    seeds = iter(range(100))
    return [(split, sample(f"{split}-{at}", next(seeds))) for split, count in COUNTS.items() for at in range(count)]


def write(folder, samples, dataset=SCENE, limit=1.0):
    path = folder / f"{dataset.name}.zarr"
    quarantine = folder / "quarantine.csv"
    write_store(path, dataset, samples, provenance=PROVENANCE, quarantine=quarantine, max_quarantined_share=limit)
    return Store(path)


def quarantine(folder):
    with (folder / "quarantine.csv").open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


@pytest.fixture
def written(tmp_path):
    return write(tmp_path, some_samples())


# --- what is written is what is read -------------------------------------------------------------------------------


def test_samples_come_back_by_id(written):
    originals = {item.id: item for _, item in some_samples()}
    for split, count in COUNTS.items():
        samples = written.split(split)
        assert len(samples) == count
        assert samples.ids.tolist() == sorted(name for name in originals if name.startswith(split))
        pixels = samples.read(np.arange(count))
        assert pixels.dtype == np.uint16
        for name, image in zip(samples.ids, pixels, strict=True):
            np.testing.assert_array_equal(image, originals[name].pixels)


@pytest.mark.parametrize("indices", [[3], [6, 0, 3], [2, 2, 5, 2], [], np.arange(7)[::-1]])
def test_any_order_and_duplicates_can_be_read(written, indices):
    train = written.split("train")
    everything = train.read(range(7))
    pixels = train.read(indices)
    assert pixels.shape == (len(indices), 13, 6, 5)
    np.testing.assert_array_equal(pixels, everything[np.asarray(indices, dtype=int)])


@pytest.mark.parametrize("index", [7, -1])
def test_an_index_outside_the_split_is_refused(written, index):
    with pytest.raises(IndexError, match="of 7 samples"):
        written.split("train").read([0, index])


def test_labels_places_and_facts_are_kept(written):
    classes = load_nomenclature("osm-landuse-8").classes
    val = written.split("val")
    assert val.labels.dtype == np.uint8
    assert [classes[at] for at in np.flatnonzero(val.labels[0])] == ["forest", "water"]
    assert val.lat.tolist() == [52.5, 52.5]
    assert val.lon.tolist() == [12.5, 12.5]
    assert written.bands == SCENE.primary.bands
    assert written.classes == classes
    assert written.composite == SCENE.primary.composite
    assert (written.modality, written.label_kind, written.splits) == ("s2", "multi", ("train", "val", "test"))


def test_a_store_has_its_data_set_s_headline_and_one_without_the_headline_of_its_kind(tmp_path):
    store = make_store(tmp_path, "demo_land_cover", {"val": 6})
    assert store.headline == "balanced_accuracy"
    group = zarr.open_group(store.path, mode="r+")
    del group.attrs["headline"], group.attrs["metadata_crc32c"]
    assert Store(store.path).headline == "accuracy"


def test_the_attributes_say_where_it_came_from(written):
    stated = written.attrs
    assert stated["sources"] == PROVENANCE["sources"]
    assert stated["counts"] == COUNTS
    assert stated["quarantined"] == 0
    assert stated["options"]["size"] == SCENE.options["size"]
    facts = stated["modalities"]["s2"]
    assert (facts["sensor"], facts["units"], facts["resolution"]) == ("Sentinel-2", "reflectance x 10000", 10)
    assert facts["product"] == "L1C"
    assert list(stated["nomenclatures"]) == ["osm-landuse-8"]
    for key in ("dataset", "title", "licence", "attribution", "cite", "bandbridge_version"):
        assert stated[key]


def test_photos_are_kept_with_their_channels_last(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3)).astype(np.uint8)
    splits = ("train", "val", "test")
    samples = [
        (split, Sample(f"d{at}", image, ("7",))) for at, (split, image) in enumerate(zip(splits, images, strict=True))
    ]
    store = write(tmp_path, samples, DIGITS)
    np.testing.assert_array_equal(store.split("val").read([0])[0], images[1])
    assert store.composite is None
    assert store.split("val").lat is None
    assert store.split("val").labels.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0]]


def test_unknown_places_among_known_ones_are_nan(tmp_path):
    samples = [("train", sample("a")), ("train", sample("b", 1, lat=None, lon=None)), ("val", sample("c", 2))]
    assert np.isnan(write(tmp_path, [*samples, ("test", sample("d", 3))]).split("train").lat).tolist() == [False, True]


def test_decibels_are_kept_as_float32(tmp_path):
    radar = Modality("s1", "sentinel-1", "GRD", ("VV", "VH"))
    pixels = np.random.default_rng(0).normal(-12, 4, (2, 6, 5)).astype(np.float32)
    samples = [(split, sample(split, pixels=pixels)) for split in COUNTS]
    store = write(tmp_path, samples, dataclasses.replace(SCENE, modalities=(radar,)))
    np.testing.assert_array_equal(store.split("val").read([0])[0], pixels)
    assert store.facts["units"] == "dB"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_a_sensor_of_any_number_of_bands_and_its_own_type_is_kept(tmp_path, dtype):
    described = {"title": "EnMAP", "units": "reflectance x 10000", "resolution": 30}
    bands = tuple(f"b{at:03d}" for at in range(1, 225))
    sensor = Modality("hyper", described, "L2A", bands, Composite(("b050", "b030", "b010"), 3000))
    pixels = np.random.default_rng(0).integers(-100 if dtype == np.int16 else 0, 120, (224, 3, 4)).astype(dtype)
    samples = [(split, sample(split, pixels=pixels)) for split in COUNTS]
    store = write(tmp_path, samples, dataclasses.replace(SCENE, modalities=(sensor,)))
    np.testing.assert_array_equal(store.split("test").read([0])[0], pixels)
    assert (store.bands, store.facts["sensor"], store.facts["resolution"]) == (bands, "EnMAP", 30)


# --- nomenclatures and zero bands ----------------------------------------------------------------------------------


@pytest.fixture
def bigearthnet(tmp_path):
    """Four samples of BigEarthNet v1; the last one's label has no counterpart among the 19 classes."""
    dataset = dataclasses.replace(small_dataset("bigearthnet_v1"), splits=("train",))
    labels = [("Pastures",), ("Coniferous forest", "Water bodies"), ("Pastures", "Airports"), ("Airports",)]
    shape = (len(dataset.primary.bands), 4, 4)
    random = np.random.default_rng(0)
    samples = [
        ("train", Sample(f"p{at}", random.integers(1, 900, shape).astype(np.uint16), names))
        for at, names in enumerate(labels)
    ]
    return write(tmp_path, samples, dataset)


def names_of(store, row):
    return [store.classes[at] for at in np.flatnonzero(store.split("train").labels[row])]


def test_labels_are_there_in_every_nomenclature(bigearthnet):
    assert names_of(bigearthnet, 2) == ["Airports", "Pastures"]
    assert names_of(Store(bigearthnet.path, "bigearthnet-19"), 2) == ["Pastures"]
    five = Store(bigearthnet.path, "bigearthnet-5")
    assert [len(names_of(five, row)) for row in range(4)] == [1, 2, 2, 1]
    opened = xarray.open_zarr(bigearthnet.path, group="train")
    assert opened["labels_bigearthnet-19"].dims == ("sample", "class_bigearthnet-19")


def test_samples_without_a_label_in_a_nomenclature_are_not_in_it(bigearthnet):
    everything, nineteen = bigearthnet.split("train"), Store(bigearthnet.path, "bigearthnet-19").split("train")
    assert everything.ids.tolist() == ["p0", "p1", "p2", "p3"]
    assert nineteen.ids.tolist() == ["p0", "p1", "p2"]
    assert len(nineteen) == len(nineteen.labels) == 3
    np.testing.assert_array_equal(nineteen.read([2, 0]), everything.read([2, 0]))
    with pytest.raises(IndexError):
        nineteen.read([3])


def test_samples_left_out_of_a_mapped_nomenclature_are_counted_in_a_sentence(bigearthnet):
    nineteen = Store(bigearthnet.path, "bigearthnet-19")
    assert nineteen.split("train").left_out == 1
    assert nineteen.notes == ["bigearthnet_v1, train: 1 of 4 samples have no label in bigearthnet-19 and are left out."]
    assert Store(bigearthnet.path, "bigearthnet-43").notes == []


@pytest.mark.parametrize(("unlabelled", "scored"), [("count", 3), ("leave_out", 2)])
def test_a_multi_label_sample_of_no_class_counts_unless_the_data_set_s_file_says_otherwise(
    tmp_path, unlabelled, scored
):
    dataset = dataclasses.replace(SCENE, splits=("train",), unlabelled=unlabelled)
    labels = {"a": ("forest",), "b": (), "c": ("forest", "water")}
    samples = [("train", sample(name, labels=shown)) for name, shown in labels.items()]
    store = Store(write(tmp_path, samples, dataset).path, dataset.nomenclature)
    assert len(store.split("train")) == scored
    assert store.split("train").left_out == 3 - scored
    assert len(Store(store.path).split("train")) == 3


def test_a_nomenclature_that_is_not_there_is_explained(bigearthnet):
    with pytest.raises(UserError, match="has no 'bigearthnet-18' among its nomenclatures; it has: bigearthnet-43"):
        Store(bigearthnet.path, "bigearthnet-18")


def test_zero_bands_are_stored_as_delivered_and_read_as_zeros(tmp_path, written):
    (modality,) = SCENE.modalities
    dataset = dataclasses.replace(SCENE, modalities=(dataclasses.replace(modality, zero_bands=("B10",)),))
    store = write(tmp_path / "other", some_samples(), dataset)
    at = modality.bands.index("B10")
    expected = written.split("train").read(range(7))
    assert expected[:, at].any()
    expected[:, at] = 0
    np.testing.assert_array_equal(store.split("train").read(range(7)), expected)
    assert xarray.open_zarr(store.path, group="train")["s2"].sel(band="B10").values.any()


# --- for others to open --------------------------------------------------------------------------------------------


def test_xarray_opens_a_split_with_names(written):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xarray.open_zarr(written.path, group="train")
    assert opened["s2"].dims == ("sample", "band", "y", "x")
    assert opened["labels_osm-landuse-8"].dims == ("sample", "class")
    assert set(opened.coords) == {"id", "lat", "lon", "date", "band", "class", "wavelength"}
    assert opened["wavelength"].sel(band="B8A").item() == 864.7
    train = written.split("train")
    np.testing.assert_array_equal(
        opened["s2"].sel(band="B8A"), train.read(range(7))[:, SCENE.primary.bands.index("B8A")]
    )
    assert opened["labels_osm-landuse-8"].sel({"class": "water"}).values.tolist() == [1] * 7
    assert opened["id"].values.tolist() == train.ids.tolist()
    assert opened["date"].values.tolist() == ["2017-02-16"] * 7


def test_a_chunk_is_a_sample_and_a_shard_many(written):
    array = zarr.open_group(written.path)["train/s2"]
    assert array.chunks == (1, 13, 6, 5)
    assert array.shards == (7, 13, 6, 5)
    codec = json.loads((written.path / "train" / "s2" / "zarr.json").read_text())["codecs"][0]["configuration"]
    (blosc,) = (item["configuration"] for item in codec["codecs"] if item["name"] == "blosc")
    assert (blosc["cname"], blosc["shuffle"]) == ("zstd", "bitshuffle")
    assert "consolidated_metadata" in json.loads((written.path / "zarr.json").read_text())


# --- the digest ----------------------------------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_the_order_of_samples(tmp_path, written):
    store = write(tmp_path / "other", some_samples()[::-1])
    assert store.digest == written.digest
    for split in COUNTS:
        assert store.split(split).ids.tolist() == written.split(split).ids.tolist()


@pytest.mark.slow
def test_the_digest_changes_with_a_pixel_a_label_an_id_and_a_split(tmp_path, written):
    (split, first), *rest = some_samples()
    brighter = first.pixels.copy()
    brighter[0, 0, 0] += 1
    changes = [
        (split, dataclasses.replace(first, pixels=brighter)),
        (split, dataclasses.replace(first, labels=("forest",))),
        (split, dataclasses.replace(first, id="train-00")),
        ("val", first),
    ]
    digests = {write(tmp_path / str(at), [change, *rest]).digest for at, change in enumerate(changes)}
    assert len(digests | {written.digest}) == 5


@pytest.mark.slow
def test_the_identity_changes_with_what_the_store_states_of_its_samples_and_not_with_its_title(tmp_path, written):
    composite = Composite(("B08", "B04", "B03"), 3000.0)
    primary = dataclasses.replace(SCENE.primary, composite=composite)
    others = {
        "composite": dataclasses.replace(SCENE, modalities=(primary, *SCENE.modalities[1:])),
        "title": dataclasses.replace(SCENE, title="Another"),
    }
    stores = {name: write(tmp_path / name, some_samples(), dataset) for name, dataset in others.items()}
    assert stores["composite"].digest == stores["title"].digest == written.digest
    assert stores["composite"].identity != written.identity
    assert stores["title"].identity == written.identity


# --- quarantine ----------------------------------------------------------------------------------------------------

FAULTS = [
    ({"pixels": np.ones((12, 6, 5), np.uint16)}, "shape is (12, 6, 5), expected 3 axes with 13 bands"),
    ({"pixels": np.ones((6, 5), np.uint16)}, "shape is (6, 5), expected 3 axes with 13 bands"),
    (
        {"pixels": np.ones((13, 6, 5))},
        "pixels are float64, expected uint8 or uint16 or int16 or float32; save them as float32 (gdal_translate -ot "
        "Float32; Earth Engine: toFloat())",
    ),
    ({"pixels": np.full((13, 6, 5), 7, np.uint16)}, "every pixel is 7"),
    ({"pixels": None}, "has no pixels"),
    ({"labels": ("forest", "heath")}, "label heath is not in osm-landuse-8"),
    ({"labels": None}, "has no labels"),
]


@pytest.mark.parametrize(("change", "reason"), FAULTS)
def test_a_faulty_sample_goes_to_quarantine_with_its_reason(tmp_path, change, reason):
    faulty = dataclasses.replace(sample("faulty", seed=50), **change)
    store = write(tmp_path, [("train", faulty), *some_samples()])
    assert quarantine(tmp_path) == [("faulty", "train", reason)]
    assert store.attrs["quarantined"] == 1
    assert store.attrs["counts"] == COUNTS


def test_what_is_not_a_number_goes_to_quarantine(tmp_path):
    def measured(name):
        return sample(name, pixels=np.random.default_rng(0).normal(size=(13, 6, 5)).astype(np.float32))

    gap = measured("gap")
    gap.pixels[0] = np.nan
    write(tmp_path, [("train", gap), *((split, measured(split)) for split in COUNTS)])
    reason = "30 of 390 values are not finite numbers; where they mark missing data, make NaN of them"
    assert quarantine(tmp_path) == [("gap", "train", reason)]


@pytest.mark.parametrize("labels", [(), ("1", "2")])
def test_a_single_label_data_set_needs_one_label(tmp_path, labels):
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    samples = [(split, Sample(split, image, ("1",))) for split in COUNTS]
    write(tmp_path, [*samples, ("train", Sample("odd", image, labels))], DIGITS)
    assert quarantine(tmp_path) == [("odd", "train", f"has {len(labels)} labels, expected one")]


def test_what_differs_from_most_in_size_goes_to_quarantine_even_if_it_comes_first(tmp_path):
    small = sample("small", pixels=sample().pixels[:, :4])
    store = write(tmp_path, [("train", small), *some_samples()])
    assert quarantine(tmp_path) == [("small", "train", "is 13 x 4 x 5 uint16, most are 13 x 6 x 5 uint16")]
    assert len(store.split("train")) == 7


def test_a_stated_size_counts_whatever_most_samples_are(tmp_path):
    (modality,) = SCENE.modalities
    dataset = dataclasses.replace(SCENE, modalities=(dataclasses.replace(modality, size=(4, 5)),))
    cut = [(split, dataclasses.replace(item, pixels=item.pixels[:, :4])) for split, item in some_samples()]
    write(tmp_path, [*cut, ("train", sample("large", 60))], dataset)
    assert quarantine(tmp_path) == [("large", "train", "is 6 x 5 pixels, expected 4 x 5")]


def test_what_the_reader_rejected_and_what_was_listed_twice_is_listed_in_order(tmp_path):
    rejected = [("train", Rejected("z", "cannot be read: a, b")), ("val", Rejected("a", "is absent"))]
    write(tmp_path, [*rejected, *some_samples(), ("train", sample("val-0", 50))])
    assert quarantine(tmp_path) == [
        ("val-0", "train", "id occurs 2 times, in train, val"),
        ("z", "train", "cannot be read: a, b"),
        ("a", "val", "is absent"),
        ("val-0", "val", "id occurs 2 times, in train, val"),
    ]


def test_too_many_in_quarantine_stop_the_run_and_are_listed(tmp_path):
    rejected = [("train", Rejected(name, "is absent")) for name in ("bad-1", "bad-2")]
    cut = [("val", Rejected(f"cut-{number}", f"has 4 of {number} bytes")) for number in (7, 8, 9)]
    with pytest.raises(UserError, match=r"5 of 17 samples are in quarantine \(limit 10.00%\):\n") as raised:
        write(tmp_path, [*some_samples(), *rejected, *cut], limit=0.1)
    lines = [line.split(maxsplit=1) for line in str(raised.value).splitlines()[1:3]]
    assert lines == [["3", "has 4 of … bytes (for example cut-7)"], ["2", "is absent (for example bad-1)"]]
    assert str(tmp_path / "quarantine.csv") in str(raised.value)
    assert len(quarantine(tmp_path)) == 5
    assert not (tmp_path / "demo_scene.zarr").exists()
    assert write(tmp_path, [*some_samples(), rejected[0]], limit=0.1).attrs["quarantined"] == 1


def test_a_split_without_samples_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no samples for val \(found: train 7, val 0, test 3\)"):
        write(tmp_path, [item for item in some_samples() if item[0] != "val"])


# --- whole or not at all -------------------------------------------------------------------------------------------


def test_an_interrupted_joining_leaves_the_old_store(tmp_path, monkeypatch, written):
    def broken(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(zarr, "consolidate_metadata", broken)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, [(split, sample(split, at)) for at, split in enumerate(COUNTS)])
    assert {path.name for path in tmp_path.iterdir()} == {
        "demo_scene.zarr",
        "quarantine.csv",
        ".quarantine.csv.crc32c",
        "parts",
    }
    assert Store(written.path).attrs["counts"] == COUNTS


def test_what_is_no_store_is_explained(tmp_path, written):
    with pytest.raises(UserError, match=r"nothing.zarr is not a Zarr store; make it with the preprocess step"):
        Store(tmp_path / "nothing.zarr")
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    with pytest.raises(UserError, match="not a store of BandBridge"):
        Store(tmp_path / "group.zarr")
    with pytest.raises(UserError, match="has no split 'dev'; it has: train, val, test"):
        written.split("dev")


# --- real data -----------------------------------------------------------------------------------------------------


def test_a_real_scene_becomes_a_store(tmp_path):
    options = {"archive": str(CROP), "polygons": "*.gpkg", "size": 32, "stride": 32, "block": 96}
    dataset = load_dataset("demo_scene", {**options, "blocks": ["etet", "ettt", "vvtv"]})
    splits = {item.id: item.split for item in reader(dataset).plan(dataset, CROP)}
    samples = list(reader(dataset).read(dataset, CROP, "s2", set(splits)))
    store = write(tmp_path, [(splits[item.id], item) for item in samples], dataset)
    assert quarantine(tmp_path) == []
    for split in store.splits:
        expected = {item.id: item.pixels for item in samples if splits[item.id] == split}
        stored = store.split(split)
        assert set(stored.ids) == set(expected)
        for name, image in zip(stored.ids, stored.read(range(len(stored))), strict=True):
            np.testing.assert_array_equal(image, expected[name])
    assert order_bands(store.bands, ("B04", "B03", "B02")) == (3, 2, 1)
