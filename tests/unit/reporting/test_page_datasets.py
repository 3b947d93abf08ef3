"""A data set's page: its numbers are those of the store, and it says what it leaves out."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
from synthetic_run import CLASSES, COUNTS, make_data, write_plain_store, write_quarantine

from bandbridge.reporting.page.datasets import PIXELS_READ, SAMPLES_READ, dataset_page
from bandbridge.reporting.page.quarantine import MOST_REASONS, read_quarantine
from bandbridge.reporting.thumbnails import png_uri
from bandbridge.store.dataset import Store


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def scene(data):
    return dataset_page(data[0][0], data[1][0])


def plain_page(root, modalities, classes=("water", "land"), samples=6, side=4, nomenclatures=None, **attributes):
    """The page of a plain store: random values, every sample of the first class."""
    generator = np.random.default_rng(0)
    nomenclatures = nomenclatures or {"kinds": list(classes)}
    shapes = {name: (samples, len(facts["bands"]), side, side) for name, facts in modalities.items()}
    pixels = {name: generator.integers(0, 1000, shape).astype(np.uint16) for name, shape in shapes.items()}
    labels = {name: np.eye(1, len(names)).repeat(samples, axis=0) for name, names in nomenclatures.items()}
    path = root / "plain.zarr"
    splits = ("train", "test")
    write_plain_store(
        path, modalities, nomenclatures, dict.fromkeys(splits, pixels), dict.fromkeys(splits, labels), **attributes
    )
    return dataset_page(path, write_quarantine(root / "plain.csv", [])), pixels


# --- facts and counts ------------------------------------------------------------------------------------------------


def test_facts_are_those_of_the_store(scene):
    assert scene.facts["Sensor"] == "Sentinel-2 L1C"
    assert scene.facts["Size"] == "16 × 16 pixels"
    assert scene.facts["Resolution"] == "10 m"
    assert scene.facts["Units"] == "reflectance × 10000"
    assert scene.facts["Samples"] == "24 training, 8 validation, 8 test"


def test_facts_of_several_modalities_stand_apart(tmp_path):
    modalities = {"s2": {"bands": ["B02", "B10"], "zero_bands": ["B10"]}, "s1": {"bands": ["VV"], "units": "dB"}}
    page, _ = plain_page(tmp_path, modalities)
    assert page.facts["Bands, s2"] == "B02, B10"
    assert page.facts["Replaced by zeros, s2"] == "B10"
    assert page.facts["Units, s1"] == "dB"
    assert "Units, s2" not in page.facts


def test_class_counts_are_those_of_the_labels(scene, data):
    (counts,) = scene.classes
    assert counts.samples == COUNTS
    assert list(counts.counts.index) == list(CLASSES)
    for split in COUNTS:
        np.testing.assert_array_equal(counts.counts[split], Store(data[0][0]).split(split).labels.sum(axis=0))


def test_classes_are_counted_in_each_nomenclature_the_published_one_first(tmp_path):
    nomenclatures = {"published": ["a", "b", "c"], "coarse": ["d", "e"]}
    page, _ = plain_page(tmp_path, {"s2": {"bands": ["B02"]}}, nomenclatures=nomenclatures)
    assert [item.nomenclature for item in page.classes] == ["published", "coarse"]
    assert [len(item.counts) for item in page.classes] == [3, 2]
    assert "Without a training sample: b, c." in page.classes[0].plot.caption


def test_a_long_list_of_classes_is_summed_up(tmp_path):
    page, _ = plain_page(tmp_path, {"s2": {"bands": ["B02"]}}, classes=[f"class {n}" for n in range(1000)])
    plot = page.classes[0].plot
    assert "The 45 largest of 1,000 classes; each of the other 955 has 0 to 0 samples" in plot.caption
    assert "Without a training sample: 999 classes." in plot.caption
    assert len(plot.svg) < 60_000
    assert len(page.classes[0].counts) == 1000


def test_sources_are_listed_with_what_is_known_of_them(tmp_path):
    sources = [
        {"file": "a.zip", "sha256": "ab" * 32},
        {"file": "b.tar.aa", "md5": "cd" * 16},
        {"file": "c", "files": "1200", "bytes": "34567", "instead_of": "c.tar.gz"},
        {"file": "d.txt"},
    ]
    page, _ = plain_page(tmp_path, {"s2": {"bands": ["B02"]}}, sources=sources)
    assert page.sources == [
        ("a.zip", "ab" * 32),
        ("b.tar.aa", f"{'cd' * 16} (MD5)"),
        ("c", "1,200 files, 34,567 bytes, in place of c.tar.gz"),
        ("d.txt", "no checksum"),
    ]


# --- values ----------------------------------------------------------------------------------------------------------


def test_quantiles_are_those_of_all_pixels_of_a_small_data_set(tmp_path):
    page, pixels = plain_page(tmp_path, {"s2": {"bands": ["B02", "B03", "B04", "B08"]}})
    (bands,) = page.bands
    np.testing.assert_allclose(bands.quantiles["median"], np.median(pixels["s2"], axis=(0, 2, 3)))
    assert list(bands.quantiles.index) == ["B02", "B03", "B04", "B08"]
    assert "From all 6 training samples." in bands.plot.caption


def test_bands_that_models_are_given_zeros_for_are_left_out(tmp_path):
    page, _ = plain_page(tmp_path, {"s2": {"bands": ["B02", "B09", "B10"], "zero_bands": ["B10"]}})
    assert list(page.bands[0].quantiles.index) == ["B02", "B09"]
    assert "get zeros in its place: B10" in page.bands[0].plot.caption


@pytest.mark.slow
def test_of_many_samples_and_pixels_some_are_read(tmp_path):
    page, _ = plain_page(tmp_path, {"s2": {"bands": ["B02"]}}, samples=SAMPLES_READ + 7, side=23)
    caption = page.bands[0].plot.caption
    assert f"From {SAMPLES_READ} of {SAMPLES_READ + 7} training samples, drawn at random" in caption
    assert f"{PIXELS_READ} pixels of each" in caption
    assert re.search(r"(0\.\d+|1|1\.\d) % of the values are outside the displayed range", caption)


def test_hundreds_of_bands_are_a_spectrum_over_wavelength(tmp_path):
    bands = [f"b{number:03d}" for number in range(1, 225)]
    facts = {"bands": bands, "units": "radiance", "wavelengths": np.linspace(420, 2450, 224).tolist()}
    page, _ = plain_page(tmp_path, {"hsi": facts})
    assert page.facts["Bands"] == "224: b001, b002, b003 … b224"
    assert len(page.bands[0].quantiles) == 224
    assert "wavelength, nm" in page.bands[0].plot.svg
    assert len(page.bands[0].plot.svg) < 40_000


def test_a_page_is_the_same_each_time(scene, data):
    again = dataset_page(data[0][0], data[1][0])
    for new, old in ((again.bands[0].plot, scene.bands[0].plot), (again.map, scene.map)):
        assert (new.svg, new.spec, new.caption, new.alt) == (old.svg, old.spec, old.caption, old.alt)
        pd.testing.assert_frame_equal(new.values, old.values)


# --- places ----------------------------------------------------------------------------------------------------------


def test_the_map_says_where_the_samples_lie(scene, data):
    assert scene.map is not None
    assert scene.map.caption == "Centres of the samples, 52.00° N to 52.04° N, 12.50° E."
    assert dataset_page(data[0][1], data[1][1]).map is None


# --- quarantine ------------------------------------------------------------------------------------------------------


def test_the_page_says_what_was_set_aside(scene, data):
    (reason,) = scene.quarantine.reasons
    assert (reason.text, dict(reason.counts), reason.examples) == ("every pixel is 0", {"train": 2}, ["bad-0", "bad-1"])
    assert scene.quarantine.summary == "2 of 42 planned samples (4.8 %) are not in the store."
    nothing = dataset_page(data[0][1], data[1][1]).quarantine
    assert nothing.summary == "Nothing: all 40 planned samples are in the store."
    assert nothing.reasons == ()


def test_reasons_that_differ_in_numbers_and_ids_are_one(tmp_path):
    rows = [(f"S2A_{i}_77", "train", f"is {60 + i} x 60 pixels, expected 120 x 120") for i in range(5)]
    rows += [(f"S2B_{i}", "val", f"S2B_{i}: its partner S1A_IW_2017{i}_33UUU is not there") for i in range(3)]
    rows += [("c", "test", "every pixel is 0"), ("d", "test", "every pixel is 255")]
    quarantine = read_quarantine(write_quarantine(tmp_path / "q.csv", rows), {"train": 90_000, "val": 1, "test": 1})
    assert [(reason.text, reason.counts.total()) for reason in quarantine.reasons] == [
        ("is … x 60 pixels, expected 120 x 120", 5),
        ("…: its partner … is not there", 3),
        ("every pixel is …", 2),
    ]
    assert quarantine.reasons[0].examples == ["S2A_0_77", "S2A_1_77", "S2A_2_77"]
    assert "10 of 90,012 planned samples (0.011 %)" in quarantine.summary


def test_bands_in_reasons_are_told_apart(tmp_path):
    rows = [("a", "train", "lacks B02"), ("b", "train", "lacks B8A"), ("c", "val", "lacks B8A")]
    quarantine = read_quarantine(write_quarantine(tmp_path / "q.csv", rows), {"train": 1})
    assert [reason.text for reason in quarantine.reasons] == ["lacks B8A", "lacks B02"]
    assert quarantine.splits == ("train", "val")


def test_rare_reasons_among_many_are_counted(tmp_path):
    rows = [(f"a{n}", "train", f"fault {chr(97 + n)}") for n in range(MOST_REASONS + 4)]
    quarantine = read_quarantine(write_quarantine(tmp_path / "q.csv", rows), {"train": 1})
    assert (len(quarantine.reasons), quarantine.left_out) == (MOST_REASONS, 4)


# --- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_gallery_shows_each_class_with_samples_that_carry_it(data):
    for store, quarantine in zip(*data, strict=True):
        page = dataset_page(store, quarantine)
        ids = [item.id for _, _, thumbnails in page.gallery for item in thumbnails]
        assert len(ids) == len(set(ids))
        for name, total, thumbnails in page.gallery:
            assert total == page.classes[0].counts.loc[name].sum()
            assert thumbnails
            assert all(name in item.labels for item in thumbnails)


@pytest.mark.parametrize(("edge", "shown"), [(8, 64), (64, 64), (256, 160)])
def test_pictures_have_a_bounded_size(edge, shown):
    uri = png_uri(np.zeros((edge, edge, 3), np.uint8))
    header = base64.b64decode(uri.partition("base64,")[2])[:24]
    assert int.from_bytes(header[16:20], "big") == shown
