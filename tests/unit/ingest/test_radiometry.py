"""Scales, offsets and units of files are brought to the sensor's unit, or what cannot be is refused or said."""

import numpy as np
import pytest
import xarray
from own_files import CLASSES, SPLITS, noise, samples_of, write

from bandbridge.base.errors import UserError
from bandbridge.ingest.declarations import Declarations
from bandbridge.ingest.radiometry import per_reflectance, radiometry_of

OLD = "S2A_MSIL2A_20210126T102311_N0214_R065_T33UUU_20210126T120000"
NEW = "S2A_MSIL2A_20220126T102311_N0400_R065_T33UUU_20220126T120000"


def radiometry(stated=None, name="a.tif", whole=True, **facts):
    known = {"sensor": "sentinel-2", "sensor_unit": "reflectance x 10000", **facts}
    return radiometry_of(stated or Declarations(), name, 1, whole, **known)


def test_files_with_and_without_the_offset_of_baseline_04_00_become_equal_reflectances(own):
    truth = own.images(
        lambda pixels, i: (pixels + 1000 * (i % 2)).astype("uint16"),
        scales=[1e-4] * 4,
        offsets=lambda i: [-0.1 * (i % 2)] * 4,
        nodata=0,
        count=6,
    )
    store = own.store(own.folder())
    for name, pixels in samples_of(store).items():
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, truth[name])
    assert store.facts["units"] == "reflectance x 10000"
    assert store.facts["radiometry"] == {
        "1 x number + -1000: scale and offset of the files' bands": 9,
        "as delivered": 9,
    }


def test_the_baseline_in_the_names_of_products_counts(own):
    truth = own.images(lambda pixels, i: (pixels + 1000 * (i % 2)).astype("uint16"), count=6)
    for path in own.files.rglob("*.tif"):
        path.rename(path.with_name(f"{NEW if int(path.stem[-1]) % 2 else OLD}_{path.name}"))
    for name, pixels in samples_of(own.store(own.folder())).items():
        np.testing.assert_array_equal(pixels, truth["_".join(name.split("_")[-2:])])


@pytest.mark.parametrize(
    "tags",
    [{"BOA_ADD_OFFSET": "-1000"}, {"RADIO_ADD_OFFSET": "-1000"}, {"PROCESSING_BASELINE": "05.10"}],
    ids=lambda tags: next(iter(tags)),
)
def test_metadata_of_products_count(own, tags):
    truth = own.images(
        lambda pixels, i: (pixels + 1000 * (i % 2)).astype("uint16"),
        tags=lambda i: tags if i % 2 else {"PROCESSING_BASELINE": "03.01", "BOA_ADD_OFFSET": "0"},
    )
    for name, pixels in samples_of(own.store(own.folder())).items():
        np.testing.assert_array_equal(pixels, truth[name])


def test_reflectance_below_zero_is_the_least_value_and_no_data_stays_none(own):
    def change(pixels, i):
        pixels = pixels + 1000
        pixels[:, 0, 0], pixels[:, 0, 1] = 0, 500
        return pixels.astype("uint16")

    own.images(change, scales=[1e-4] * 4, offsets=[-0.1] * 4, nodata=0)
    store = own.store(own.folder())
    stored = xarray.open_zarr(store.path, group="train").s2
    assert np.isnan(stored.values[:, :, 0, 0]).all()
    assert (stored.values[:, :, 0, 1] == 1).all()


def test_reflectance_from_0_to_1_is_brought_to_the_sensors_unit_where_that_is_stated(own):
    truth = own.images(lambda pixels, i: pixels.astype("float32") / 10_000)
    store = own.store(own.folder(modality={"unit": "reflectance"}))
    for name, pixels in samples_of(store).items():
        np.testing.assert_allclose(pixels, truth[name], rtol=1e-5)
    assert store.facts["units"] == "reflectance x 10000"
    assert store.notes == []


def test_scale_and_offset_of_the_data_sets_file_go_before_those_of_the_files(own):
    truth = own.images(lambda pixels, i: (pixels + 50).astype("uint16"), scales=[7.0] * 4)
    store = own.store(own.folder(modality={"scale": 1, "offset": [-50, -50, -50, 0]}))
    for name, pixels in samples_of(store).items():
        np.testing.assert_array_equal(pixels[:3], truth[name][:3])
        np.testing.assert_array_equal(pixels[3], truth[name][3] + 50)


def test_values_that_cannot_be_the_sensors_unit_are_said_and_no_unit_is_asserted(own):
    own.images(lambda pixels, i: pixels.astype("float32") / 10_000, bands=3)
    store = own.store(own.folder(bands=("B02", "B03", "B04")))
    assert store.facts["units"] is None
    (note,) = store.notes
    assert "The values of s2 cannot be reflectance x 10000: half of those of train are below 0." in note
    assert "unit (reflectance is 0 to 1, reflectance x 100 percent)" in note
    assert "units" not in xarray.open_zarr(store.path, group="train").s2.attrs


def test_values_far_above_the_sensors_unit_are_said(own):
    own.images(lambda pixels, i: (pixels * 20).astype("uint16"))
    (note,) = own.store(own.folder()).notes
    assert "half of those of train are above" in note


@pytest.mark.parametrize(
    ("dtype", "divisor", "found"),
    [("float32", 100, "99 % of those of train are 29."), ("uint8", 16, "all of those of train are of 8 bits")],
)
def test_percent_and_stretched_pictures_are_no_reflectance_x_10000(own, dtype, divisor, found):
    own.images(lambda pixels, i: (pixels / divisor).astype(dtype))
    store = own.store(own.folder())
    assert store.facts["units"] is None
    assert found in store.notes[0]


def test_percent_is_brought_to_the_sensors_unit_where_that_is_stated(own):
    truth = own.images(lambda pixels, i: pixels.astype("float32") / 100)
    store = own.store(own.folder(modality={"unit": "reflectance x 100"}))
    for name, pixels in samples_of(store).items():
        np.testing.assert_allclose(pixels, truth[name], rtol=1e-5)
    assert store.notes == []


def test_files_of_two_units_are_refused(own):
    own.images(lambda pixels, i: pixels.astype("float32") / (10_000 if i == 2 else 1), count=6)
    dataset = own.folder()
    with pytest.raises(UserError, match=r"3  every value is below 4: reflectance from 0 to 1, most are reflectance x"):
        own.store(dataset)
    own.store(dataset, max_quarantined_share=0.5)
    assert own.quarantine().keys() == {f"{cover}_2" for cover in CLASSES}


def test_a_sensor_without_a_unit_gets_numbers_as_delivered_and_files_that_differ_are_refused(own):
    own.images(scales=lambda i: [0.01 if i else 0.02] * 4)
    dataset = own.folder(modality={"sensor": {"title": "Mine"}, "product": None})
    with pytest.raises(UserError, match=r"3  states 0.02 x number \+ 0, most state 0.01 x number \+ 0; state scale"):
        own.store(dataset)


def test_another_unit_takes_scale_and_offset_of_the_files(own):
    truth = own.images(scales=[0.01] * 4, offsets=[-30] * 4)
    store = own.store(own.folder(modality={"sensor": {"title": "Radar", "units": "dB"}, "product": None}))
    for name, pixels in samples_of(store).items():
        np.testing.assert_allclose(pixels, truth[name] * 0.01 - 30, rtol=1e-5)
    assert store.facts["units"] == "dB"


def test_landsats_scale_makes_reflectance(own):
    truth = own.images(lambda pixels, i: (pixels + 8000).astype("uint16"), scales=[2.75e-5] * 4, offsets=[-0.2] * 4)
    sensor = {"title": "Landsat 8", "units": "reflectance x 10000"}
    store = own.store(own.folder(modality={"sensor": sensor, "product": None}))
    for name, pixels in samples_of(store).items():
        expected = ((truth[name] + 8000.0) * 2.75e-5 - 0.2) * 10_000
        np.testing.assert_allclose(pixels, expected, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("kind", ["folder", "scene"])
def test_the_factor_in_an_envi_header_makes_reflectance(own, kind):
    """`reflectance scale factor = 1000`: reflectance is the number divided by it."""
    side, bands = (16, 4) if kind == "folder" else (192, 3)
    truth = {}
    for number, cover in enumerate(CLASSES * 3):
        pixels = noise(bands, side, side, seed=number)
        stem = f"{cover}_{number}" if kind == "folder" else "scene"
        path = write(own.files / (cover if kind == "folder" else "") / f"{stem}.img", pixels, driver="ENVI")
        header = path.with_suffix(".hdr")
        header.write_text(f"{header.read_text()}reflectance scale factor = 1000\n")
        truth[stem] = pixels
    dataset = own.folder(options={"images": "*.img"}) if kind == "folder" else own.scene(options={"rasters": "*.img"})
    store = own.store(dataset)
    for name, converted in samples_of(store).items():
        if kind == "scene":
            row, col = (int(part) for part in name.split("_")[-2:])
            expected = truth["scene"][:, row : row + 16, col : col + 16]
        else:
            expected = truth[name]
        np.testing.assert_allclose(converted, expected * 10.0)
    assert list(store.facts["radiometry"]) == ["10 x number + 0: scale and offset of the files' bands"]


def test_band_files_are_brought_to_one_unit_each(own):
    truth = {f"p{i}": noise(3, 16, 16, seed=i) for i in range(9)}

    def write_bands(i):
        for band, values in zip(("B02", "B03", "B04"), truth[f"p{i}"], strict=True):
            new = band == "B03"
            stated = {"scales": [1e-4], "offsets": [-0.1 if new else 0]}
            write(own.files / f"p{i}_{band}.tif", (values[None] + 1000 * new).astype("uint16"), **stated)

    for name, pixels in samples_of(own.store(own.band_files(write_bands))).items():
        np.testing.assert_array_equal(pixels, truth[name])


def test_a_scene_with_offsets_is_brought_to_the_sensors_unit(own):
    pixels = noise(3, 192, 192)
    for band, values in zip(("B02", "B03", "B04"), pixels, strict=True):
        write(own.files / f"{NEW}_{band}.tif", (values[None] + 1000).astype("uint16"))
    store = own.store(own.scene(options={"rasters": "*_{band}.tif"}))
    for name, converted in samples_of(store).items():
        row, col = (int(part) for part in name.split("_")[-2:])
        np.testing.assert_array_equal(converted, pixels[:, row : row + 16, col : col + 16])
    assert list(store.facts["radiometry"]) == ["1 x number + -1000: processing baseline 04.00 or later"]


def test_numbers_of_landsats_files_become_reflectance_by_their_names(own):
    """As USGS delivers them: a file per band without scale and offset, 0 where there are no data."""
    name = "LC08_L2SP_193024_20220615_20220627_02_T1"
    numbers = noise(3, 192, 192, low=7500, high=20_000)
    numbers[:, :4, :4] = 0
    for band, values in zip(("B2", "B3", "B4"), numbers, strict=True):
        write(own.files / name / f"{name}_SR_{band}.TIF", values[None], nodata=0)
    sensor = {"title": "OLI", "units": "reflectance x 10000"}
    modality = {"sensor": sensor, "bands": ["B2", "B3", "B4"]}
    store = own.store(own.scene(modality=modality, options={"rasters": "*_SR_{band}.TIF"}))
    for split in SPLITS:
        stored = xarray.open_zarr(store.path, group=split)
        for name, pixels in zip(stored.id.values, stored.s2.values, strict=True):
            row, col = (int(part) for part in name.split("_")[-2:])
            of_files = numbers[:, row : row + 16, col : col + 16]
            expected = np.where(of_files == 0, np.nan, of_files * 0.275 - 2000)
            np.testing.assert_allclose(pixels, expected, rtol=1e-5)
    assert list(store.facts["radiometry"]) == ["0.275 x number + -2000: Landsat Collection 2 Level 2"]


RADAR = {"s1": {"sensor": "sentinel-1", "product": "GRD", "bands": ["VV", "VH"]}}


def linear(pixels, i):
    return (pixels / 30_000).astype("float32")


def decibels(pixels, i):
    return 10 * np.log10(linear(pixels, i))


@pytest.mark.parametrize("change", [linear, lambda pixels, i: pixels], ids=["linear", "digital numbers"])
def test_backscatter_that_is_not_in_decibels_is_said_and_no_unit_is_asserted(own, change):
    own.images(change, bands=2)
    store = own.store(own.folder(modalities=RADAR))
    assert store.facts["units"] is None
    (note,) = store.notes
    assert "The values of s1 cannot be dB: 99 % of those of train are 0 or more" in note


@pytest.mark.parametrize(("change", "unit"), [(decibels, "dB"), (linear, "linear power")])
def test_backscatter_in_the_unit_that_is_stated_is_as_delivered(own, change, unit):
    truth = own.images(change, bands=2)
    modality = RADAR["s1"] | ({} if unit == "dB" else {"unit": unit})
    store = own.store(own.folder(modalities={"s1": modality}))
    for name, pixels in samples_of(store).items():
        np.testing.assert_allclose(pixels, change(truth[name], 0), rtol=1e-5)
    assert store.facts["units"] == unit
    assert store.notes == []


@pytest.mark.parametrize(
    ("most", "other", "reason"),
    [
        (decibels, linear, "no value is below 0, and half are below 1: linear, most are decibels"),
        (linear, decibels, "some of its values are below 0, or half are 1 or more: not linear, as most are"),
    ],
    ids=["linear among decibels", "decibels among linear"],
)
def test_linear_backscatter_and_decibels_in_one_data_set_are_refused(own, most, other, reason):
    own.images(lambda pixels, i: (other if i == 2 else most)(pixels, i), bands=2, count=6)
    with pytest.raises(UserError, match=f"3  {reason}; bring the files to one unit"):
        own.store(own.folder(modalities=RADAR))


# --- single statements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "per"),
    [
        ("reflectance x 10000", 10_000),
        ("reflectance", 1),
        ("Reflectance x 10,000", 10_000),
        ("surface reflectance * 100", 100),
        ("dB", None),
        (None, None),
    ],
)
def test_units_of_reflectance(unit, per):
    assert per_reflectance(unit) == per


@pytest.mark.parametrize("name", [f"{NEW}/B02.tif", f"x/{NEW}.SAFE/GRANULE/a_B02.jp2", NEW.lower()])
def test_names_with_a_baseline_from_04_00_have_an_offset(name):
    assert radiometry(name=name).shifts == (-1000,)


@pytest.mark.parametrize("name", [OLD, NEW.replace("N0400", "N9999"), NEW.replace("S2A", "S3A"), "N0400.tif", ""])
def test_other_names_say_nothing(name):
    assert radiometry(name=name) is None


def test_a_baseline_says_nothing_of_floats_or_of_other_sensors():
    assert radiometry(name=NEW, whole=False) is None
    assert radiometry(name=NEW, sensor="sentinel-1", sensor_unit="dB") is None


def test_tags_go_before_the_name():
    assert radiometry(Declarations(scales=(1e-4,), offsets=(0.0,)), NEW) is None


@pytest.mark.parametrize(("scale", "offset", "shift"), [(1.0, -1000.0, -1000.0), (1.0, -0.1, -1000.0)])
def test_an_offset_alone_shows_its_unit_by_its_size(scale, offset, shift):
    inferred = radiometry(Declarations(scales=(scale,), offsets=(offset,)))
    assert inferred.shifts == (shift,)


def test_decibels_of_a_city_are_no_linear_backscatter(own):
    truth = own.images(lambda pixels, i: decibels(pixels, i) + (40 if i == 2 else 0), bands=2, count=6)
    assert min(decibels(pixels, 0).min() + 40 for pixels in truth.values()) > 0
    assert own.store(own.folder(modalities=RADAR)).facts["units"] == "dB"


@pytest.mark.parametrize(
    ("scales", "offsets"),
    [((1e-4, 1.0), (0.0, 0.0)), ((2.75e-5, 0.00341802), (-0.2, 149.0)), ((1e-4, 1e-4), (0.0, -1000.0))],
    ids=["one band without a scale", "one band in kelvins", "an offset of digital numbers"],
)
def test_scales_that_make_reflectance_of_only_some_bands_are_refused(scales, offsets):
    with pytest.raises(ValueError, match=r"make neither reflectance nor reflectance x 10000 of (all of )?its numbers"):
        radiometry(Declarations(scales=scales, offsets=offsets))


@pytest.mark.parametrize("name", ["LC08_L1TP_193024_20220615_20220627_02_T1_B4.TIF", "x_SR_B4.tif"])
def test_other_files_of_landsat_say_nothing(name):
    assert radiometry(name=name) is None


def test_a_scale_that_fits_no_unit_is_refused():
    with pytest.raises(ValueError, match=r"state scale 7 and offset 0, which make neither reflectance nor reflectance"):
        radiometry(Declarations(scales=(7.0,), offsets=(0.0,)))
