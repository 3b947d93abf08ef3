"""Stores: what is written is what is read, in any order; faults go to quarantine; nothing is left half done."""

import csv
import dataclasses
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from bandbridge import store as store_module
from bandbridge.catalogue import load_dataset, load_nomenclature
from bandbridge.errors import UserError
from bandbridge.readers import Rejected, Sample, read_samples
from bandbridge.sensors import order_bands
from bandbridge.store import Store, write_store

SCENE = dataclasses.replace(load_dataset("demo_scene"), max_quarantined_share=1.0)
DIGITS = dataclasses.replace(load_dataset("digits"), max_quarantined_share=1.0)
CROP = Path(__file__).parents[1] / "data" / "scene_crop"
PROVENANCE = {"sources": [{"file": "a.zip", "sha256": "0" * 64}]}
COUNTS = {"train": 7, "val": 2, "test": 3}


def sample(name="x", split="train", seed=0, **changes):
    pixels = np.random.default_rng(seed).integers(1, 3000, (13, 6, 5)).astype(np.uint16)
    return dataclasses.replace(Sample(name, split, pixels, ("forest", "water"), 52.5, 12.5, "2017-02-16"), **changes)


def some_samples():
    seeds = iter(range(100))
    return [sample(f"{split}-{at}", split, next(seeds)) for split, count in COUNTS.items() for at in range(count)]


def write(folder, samples, dataset=SCENE, provenance=PROVENANCE):
    path = folder / f"{dataset.name}.zarr"
    write_store(path, dataset, samples, provenance, folder / "quarantine.csv")
    return Store(path)


def quarantine(folder):
    with (folder / "quarantine.csv").open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


@pytest.fixture
def written(tmp_path):
    return write(tmp_path, some_samples())


# --- what is written is what is read -------------------------------------------------------------------------------


def test_samples_come_back_by_id(written):
    originals = {item.id: item for item in some_samples()}
    for split, count in COUNTS.items():
        found = written.split(split)
        assert len(found) == count
        assert found.ids.tolist() == sorted(name for name in originals if name.startswith(split))
        pixels = found.read(np.arange(count))
        assert pixels.dtype == np.uint16
        for name, image in zip(found.ids, pixels, strict=True):
            np.testing.assert_array_equal(image, originals[name].pixels)


@pytest.mark.parametrize("indices", [[3], [6, 0, 3], [2, 2, 5, 2], [], np.arange(7)[::-1]])
def test_any_order_and_duplicates_can_be_read(written, indices):
    train = written.split("train")
    everything = train.read(range(7))
    found = train.read(indices)
    assert found.shape == (len(indices), 13, 6, 5)
    np.testing.assert_array_equal(found, everything[np.asarray(indices, dtype=int)])


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
    assert written.bands == SCENE.bands
    assert written.classes == classes
    assert written.composite == SCENE.composite
    assert (written.modality, written.label_kind, written.splits) == ("s2", "multi", ("train", "val", "test"))


def test_the_attributes_say_where_it_came_from(written):
    stated = written.attrs
    assert stated["sources"] == PROVENANCE["sources"]
    assert stated["counts"] == COUNTS
    assert stated["quarantined"] == 0
    assert stated["options"]["size"] == SCENE.options["size"]
    assert (stated["units"], stated["resolution"], stated["product"]) == ("reflectance x 10000", 10, "L1C")
    for key in ("dataset", "title", "sensor", "nomenclature", "licence", "attribution", "cite", "bandbridge_version"):
        assert stated[key]


def test_photos_are_kept_with_their_channels_last(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3)).astype(np.uint8)
    splits = ("train", "val", "test")
    samples = [
        Sample(f"d{at}", split, image, ("7",)) for at, (split, image) in enumerate(zip(splits, images, strict=True))
    ]
    found = write(tmp_path, samples, DIGITS)
    np.testing.assert_array_equal(found.split("val").read([0])[0], images[1])
    assert found.composite is None
    assert found.split("val").lat is None
    assert found.split("val").labels.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0]]


def test_unknown_places_among_known_ones_are_nan(tmp_path):
    samples = [sample("a"), sample("b", seed=1, lat=None, lon=None), sample("c", "val", 2), sample("d", "test", 3)]
    assert np.isnan(write(tmp_path, samples).split("train").lat).tolist() == [False, True]


def test_decibels_are_kept_as_float32(tmp_path):
    dataset = dataclasses.replace(SCENE, modality="s1", sensor="sentinel-1", product="GRD", bands=("VV", "VH"))
    pixels = np.random.default_rng(0).normal(-12, 4, (2, 6, 5)).astype(np.float32)
    samples = [sample(split, split, pixels=pixels) for split in COUNTS]
    found = write(tmp_path, samples, dataset)
    np.testing.assert_array_equal(found.split("val").read([0])[0], pixels)
    assert found.attrs["units"] == "dB"


# --- for others to open --------------------------------------------------------------------------------------------


def test_xarray_opens_a_split_with_names(written):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xarray.open_zarr(written.path, group="train")
    assert opened["s2"].dims == ("sample", "band", "y", "x")
    assert opened["labels_osm-landuse-8"].dims == ("sample", "class")
    assert set(opened.coords) == {"id", "lat", "lon", "date", "band", "class"}
    train = written.split("train")
    np.testing.assert_array_equal(opened["s2"].sel(band="B8A"), train.read(range(7))[:, SCENE.bands.index("B8A")])
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


def test_several_shards_and_a_spool_on_disk_change_nothing(tmp_path, monkeypatch, written):
    monkeypatch.setattr(store_module, "SHARD", 3)
    monkeypatch.setattr(store_module, "SPOOL_BYTES", 100)
    found = write(tmp_path / "other", some_samples())
    assert found.digest == written.digest
    assert len(list((found.path / "train" / "s2" / "c").iterdir())) == 3
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_array_equal(found.split("train").read(order), written.split("train").read(order))


# --- the digest ----------------------------------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_the_order_of_samples(tmp_path, written):
    shuffled = np.random.default_rng(1).permutation(np.array(some_samples(), dtype=object))
    found = write(tmp_path / "other", shuffled)
    assert found.digest == written.digest
    for split in COUNTS:
        assert found.split(split).ids.tolist() == written.split(split).ids.tolist()


def test_the_digest_changes_with_a_pixel_a_label_an_id_and_a_split(tmp_path, written):
    first, *rest = some_samples()
    brighter = first.pixels.copy()
    brighter[0, 0, 0] += 1
    changes = ({"pixels": brighter}, {"labels": ("forest",)}, {"id": "train-00"}, {"split": "val"})
    digests = {
        write(tmp_path / str(at), [dataclasses.replace(first, **change), *rest]).digest
        for at, change in enumerate(changes)
    }
    assert len(digests | {written.digest}) == 5


def test_the_digest_is_the_checksum_that_its_definition_says(written):
    digest = hashlib.sha256()
    for split in COUNTS:
        found = written.split(split)
        digest.update(split.encode() + "\0".join(found.ids).encode() + found.labels.tobytes())
        digest.update(found.read(range(len(found))).tobytes())
    assert written.digest == digest.hexdigest()


# --- quarantine ----------------------------------------------------------------------------------------------------

FAULTS = [
    ({"split": "holdout"}, "split is 'holdout', expected one of train, val, test"),
    ({"pixels": np.ones((12, 6, 5), np.uint16)}, "shape is (12, 6, 5), expected 3 axes with 13 bands"),
    ({"pixels": np.ones((6, 5), np.uint16)}, "shape is (6, 5), expected 3 axes with 13 bands"),
    ({"pixels": np.ones((13, 6, 5))}, "pixels are float64, expected uint16 or float32"),
    ({"pixels": np.full((13, 6, 5), 7, np.uint16)}, "every pixel is 7"),
    ({"labels": ("forest", "heath")}, "label heath is not in osm-landuse-8"),
]


@pytest.mark.parametrize(("change", "reason"), FAULTS)
def test_a_faulty_sample_goes_to_quarantine_with_its_reason(tmp_path, change, reason):
    faulty = dataclasses.replace(sample("faulty", seed=50), **change)
    found = write(tmp_path, [faulty, *some_samples()])
    assert quarantine(tmp_path) == [("faulty", faulty.split, reason)]
    assert found.attrs["quarantined"] == 1
    assert found.attrs["counts"] == COUNTS


def test_what_is_not_a_number_goes_to_quarantine(tmp_path):
    def measured(name, split):
        return sample(name, split, pixels=np.random.default_rng(0).normal(size=(13, 6, 5)).astype(np.float32))

    gap = measured("gap", "train")
    gap.pixels[0] = np.nan
    write(tmp_path, [gap, *(measured(split, split) for split in COUNTS)])
    assert quarantine(tmp_path) == [("gap", "train", "7.7% of the pixels are not finite numbers")]


@pytest.mark.parametrize("labels", [(), ("1", "2")])
def test_a_single_label_data_set_needs_one_label(tmp_path, labels):
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    samples = [Sample(split, split, image, ("1",)) for split in COUNTS]
    write(tmp_path, [*samples, Sample("odd", "train", image, labels)], DIGITS)
    assert quarantine(tmp_path) == [("odd", "train", f"has {len(labels)} labels, expected one")]


def test_every_sample_of_a_repeated_id_goes_to_quarantine(tmp_path):
    samples = [*some_samples(), sample("val-0", "train", 50), sample("test-1", "test", 51)]
    write(tmp_path, samples)
    assert quarantine(tmp_path) == [
        ("test-1", "test", "id occurs 2 times, in test"),
        ("test-1", "test", "id occurs 2 times, in test"),
        ("val-0", "train", "id occurs 2 times, in train, val"),
        ("val-0", "val", "id occurs 2 times, in train, val"),
    ]


def test_what_differs_from_most_in_size_goes_to_quarantine_even_if_it_comes_first(tmp_path):
    small = sample("small", pixels=sample().pixels[:, :4])
    found = write(tmp_path, [small, *some_samples()])
    assert quarantine(tmp_path) == [("small", "train", "is (13, 4, 5) uint16, most are (13, 6, 5) uint16")]
    assert len(found.split("train")) == 7


def test_what_the_reader_rejected_is_listed_in_order(tmp_path):
    rejected = [Rejected("z", "train", "cannot be read: a, b"), Rejected("a", "val", "is absent")]
    write(tmp_path, [*rejected, *some_samples()])
    assert quarantine(tmp_path) == [("z", "train", "cannot be read: a, b"), ("a", "val", "is absent")]


def test_too_many_in_quarantine_stop_the_run_and_are_listed(tmp_path):
    strict = dataclasses.replace(SCENE, max_quarantined_share=0.1)
    rejected = [Rejected("bad-1", "train", "is absent"), Rejected("bad-2", "train", "is absent")]
    with pytest.raises(
        UserError, match=r"2 of 14 samples are in quarantine \(limit 10.0%\), the first: bad-1 is absent"
    ):
        write(tmp_path, [*some_samples(), *rejected], strict)
    assert len(quarantine(tmp_path)) == 2
    assert not (tmp_path / "demo_scene.zarr").exists()
    assert write(tmp_path, [*some_samples(), rejected[0]], strict).attrs["quarantined"] == 1


def test_a_split_without_samples_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no samples for val \(found: train 7, val 0, test 3\)"):
        write(tmp_path, [item for item in some_samples() if item.split != "val"])


# --- whole or not at all -------------------------------------------------------------------------------------------


def interrupted():
    yield from some_samples()
    raise KeyboardInterrupt


def test_an_interrupted_reading_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, interrupted())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writing_leaves_the_old_store(tmp_path, monkeypatch, written):
    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(store_module, "_unspool", broken)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, [sample(split, split, at) for at, split in enumerate(COUNTS)])
    assert {path.name for path in tmp_path.iterdir()} == {"demo_scene.zarr", "quarantine.csv"}
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
    samples = list(read_samples(dataset, CROP))
    found = write(tmp_path, reversed(samples), dataset)
    assert quarantine(tmp_path) == []
    for split in found.splits:
        expected = {item.id: item.pixels for item in samples if item.split == split}
        stored = found.split(split)
        for name, image in zip(stored.ids, stored.read(range(len(stored))), strict=True):
            np.testing.assert_array_equal(image, expected[name])
    assert order_bands(found.bands, ("B04", "B03", "B02")) == (3, 2, 1)
