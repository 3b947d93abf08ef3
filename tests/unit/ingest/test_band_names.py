"""Names of bands in files are compared with the data set's file; further bands and mixed types are refused."""

import shutil

import numpy as np
import pytest
from own_files import CLASSES, noise, samples_of, write
from rasterio.enums import ColorInterp

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.band_names import BandNamesError, key, order_of
from bandbridge.ingest.declarations import Declarations
from bandbridge.ingest.readers import reader

BANDS = ("B02", "B03", "B04", "B08")
S2 = Modality("s2", "sentinel-2", "L2A", BANDS)


def images(own, names, reverse=(1,)):
    """Three files a class whose bands are 200, 300, 400 and 800; those of `reverse` have them the other way round."""
    means = np.array([200, 300, 400, 800], "uint16")[:, None, None]
    own.images(
        lambda pixels, i: (pixels + means)[:: -1 if i in reverse else 1],
        high=10,
        low=0,
        names=lambda i: names[:: -1 if i in reverse else 1],
    )


@pytest.mark.parametrize(
    "names",
    [
        ["B02", "B03", "B04", "B08"],
        ["B2", "B3", "B4", "B8"],
        ["Band 2", "Band 3", "Band 4", "Band 8"],
        ["Blue", "green", "RED", "nir"],
        ["S2_b02", "S2_b03", "S2_b04", "S2_b08"],
        ["492 nm", "560 nm", "665 nm", "833 nm"],
        ["0.49 um", "0.56 um", "0.665 um", "0.833 um"],
    ],
    ids=lambda names: names[0],
)
def test_files_whose_names_contradict_the_order_are_refused_with_both_lists(own, names):
    images(own, names)
    dataset = own.folder()
    with pytest.raises(UserError, match="3  names its bands") as error:
        own.store(dataset)
    assert f"{' '.join(names[::-1])}, the data set's file B02 B03 B04 B08" in str(error.value)
    store = own.store(dataset, max_quarantined_share=0.5)
    assert own.quarantine().keys() == {f"{cover}_1" for cover in CLASSES}
    for pixels in samples_of(store).values():
        assert [round(float(band.mean()), -2) for band in pixels] == [200, 300, 400, 800]


def test_bands_are_taken_by_their_names_where_that_is_stated(own):
    images(own, ["B2", "B3", "B4", "B8"])
    store = own.store(own.folder(bands=("B04", "B02", "B08"), modality={"band_names": "take"}))
    assert len(samples_of(store)) == 9
    for pixels in samples_of(store).values():
        assert [round(float(band.mean()), -2) for band in pixels] == [400, 200, 800]


def test_names_are_not_looked_at_where_that_is_stated(own):
    images(own, list(BANDS), reverse=(0, 1, 2))
    store = own.store(own.folder(modality={"band_names": "ignore"}))
    assert round(float(samples_of(store)["forest_0"][0].mean()), -2) == 800


def test_a_band_that_no_name_means_is_refused(own):
    images(own, ["B02", "B03", "B04", "QA60"], reverse=())
    dataset = own.folder(modality={"band_names": "take"})
    with pytest.raises(UserError, match=r"names B02 B03 B04 QA60, and B08 is named by none"):
        own.store(dataset)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("", "", "", ""),
        ("Band 1", "Band 2", "Band 3", "Band 4"),
        ("b1", "b2", "b3", "b4"),
        ("Layer_1", "Layer_2", "Layer_3", "Layer_4"),
        ("reflectance", "", "", ""),
        ("B02", "", "", ""),
        ("coregistered blue", "x", "y", "z"),
    ],
)
def test_names_that_say_nothing_contradict_nothing(names):
    assert order_of(Declarations(names=names), S2, 4) is None


@pytest.mark.parametrize(
    "stated",
    [
        Declarations(names=("B02", "B03", "B04", "B8A")),
        Declarations(names=("B02", "", "B03", "")),
        Declarations(names=("", "", "", "B12")),
        Declarations(wavelengths=(665.0, 560.0, 490.0, 842.0)),
        Declarations(colours=("red", "green", "blue", "")),
        Declarations(names=("B8_median", "B4_median", "B3_median", "B2_median")),
    ],
    ids=["another band", "some names", "one name", "wavelengths", "colours", "composite"],
)
def test_names_of_other_bands_contradict(stated):
    with pytest.raises(BandNamesError, match=r"the data set's file B02 B03 B04 B08"):
        order_of(stated, S2, 4)


def test_wavelengths_of_a_described_sensor_are_compared():
    sensor = {"title": "Mine", "wavelengths": [450.0, 550.0, 650.0]}
    modality = Modality("hsi", sensor, None, ("b001", "b002", "b003"))
    assert order_of(Declarations(wavelengths=(452.0, 549.0, 650.0)), modality, 3) is None
    with pytest.raises(BandNamesError, match="names its bands 650 nm 550 nm 450 nm"):
        order_of(Declarations(wavelengths=(650.0, 550.0, 450.0)), modality, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("B04", "b4"), ("b4", "b4"), ("Band 4", "b4"), ("B8A", "b8a"), ("VV", "vv"), ("Sigma0_VH", "sigma0vh")],
)
def test_keys_of_names(name, expected):
    assert key(name) == expected


def images_of_three(own, order, **options):
    own.images(bands=3, dtype="uint8", low=20, high=200, colours=order, **options)


BGR = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]


@pytest.mark.parametrize("bands", [("B04", "B03", "B02"), ("B02", "B03", "B04"), ("B08", "B11", "B12")])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_that_a_file_is_written_as_an_rgb_image_is_no_claim_about_its_bands(own, bands, interleave):
    images_of_three(own, None, photometric="RGB", interleave=interleave)
    assert len(samples_of(own.store(own.folder(bands=bands)))) == 9


@pytest.mark.parametrize(
    "order",
    [BGR, [BGR[1], BGR[2], BGR[0]]],
)
def test_colours_in_an_order_that_was_set_are_compared_with_bands(own, order):
    images_of_three(own, order, photometric="minisblack")
    bands = {"red": "B04", "green": "B03", "blue": "B02"}
    names = [kind.name for kind in order]
    assert len(samples_of(own.store(own.folder(bands=tuple(bands[name] for name in names))))) == 9
    with pytest.raises(UserError, match=f"names its bands {' '.join(names)}, the data set's file"):
        own.store(own.folder(bands=tuple(bands[name] for name in reversed(names))))


def test_the_colours_of_an_rgb_image_are_taken_where_that_is_stated(own):
    images_of_three(own, None, photometric="RGB")
    store = own.store(own.folder(bands=("B02", "B03", "B04"), modality={"band_names": "take"}))
    own.store(own.folder(bands=("B04", "B03", "B02"), modality={"band_names": "take"}))
    assert len(samples_of(store)) == 9


# --- further bands, mixed types ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", ["none", "lzw"])
def test_band_files_of_a_scene_with_further_bands_are_refused_by_name(own, compress):
    for band in BANDS:
        write(own.files / f"{band}.tif", np.concatenate([noise(1, 192, 192)] * 2), compress=compress)
    dataset = own.scene(bands=BANDS)
    with pytest.raises(UserError, match=r"B02.tif, band B02, has 2 bands, expected 1"):
        reader(dataset).plan(dataset, own.files)


def test_an_alpha_channel_in_a_scenes_band_file_is_where_there_are_data(own):
    for band in BANDS:
        pixels = np.concatenate([noise(1, 192, 192), np.full((1, 192, 192), 65535, "uint16")])
        pixels[1, :, :64] = 0
        write(own.files / f"{band}.tif", pixels, colours=[ColorInterp.gray, ColorInterp.alpha])
    dataset = own.scene(bands=BANDS, options={"blocks": ["tttve"], "block": 32})
    planned = reader(dataset).plan(dataset, own.files)
    assert planned
    assert all(int(sample.id.split("_")[-1]) >= 64 for sample in planned)


def test_band_files_that_are_named_otherwise_inside_are_refused(own):
    def write_bands(i):
        for band in ("B02", "B03", "B04"):
            inside = "B08" if (i, band) == (4, "B04") else band
            write(own.files / f"p{i}_{band}.tif", noise(1, 16, 16, seed=i), names=[inside])

    own.store(own.band_files(write_bands), 0.5)
    (reason,) = own.quarantine().values()
    assert reason.startswith("band B04: names its bands B08, the data set's file B04")


def test_a_scene_of_several_types_is_refused_by_name(own):
    for band in ("B02", "B03", "B04"):
        pixels = noise(1, 192, 192)
        write(own.files / f"{band}.tif", pixels.astype("float32") / 10_000 if band == "B03" else pixels)
    dataset = own.scene()
    with pytest.raises(UserError, match=r"bands are of several types: uint16, float32 \(B02, B04; B03\)"):
        own.store(dataset)


# --- bands: from-files ---------------------------------------------------------------------------------------------

TAKEN = {"bands": "from-files", "composite": {"bands": ["B04", "B03", "B02"], "divisor": 2000}}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_bands_are_those_that_the_files_describe(own, packed):
    images(own, ["B2", "B3", "B4", "B8"])
    archive = shutil.make_archive(str(own.root / "packed"), "zip", own.files) if packed else str(own.files)
    dataset = own.folder(modality=TAKEN, options={"archive": archive})
    assert dataset.primary.bands == BANDS
    for pixels in samples_of(own.store(dataset)).values():
        assert [round(float(band.mean()), -2) for band in pixels] == [200, 300, 400, 800]


def test_bands_are_those_of_a_scenes_band_files(own):
    for band in ("B04", "B02", "B8A", "B03"):
        write(own.files / f"T33UUU_{band}_10m.tif", noise(1, 192, 192))
    dataset = own.scene(modality=TAKEN, options={"rasters": "*_{band}_10m.tif"})
    assert dataset.primary.bands == ("B02", "B03", "B04", "B8A")
    assert len(samples_of(own.store(dataset))) > 0


@pytest.mark.parametrize(
    ("names", "archive", "fault"),
    [
        (["B02", "B03", "B04", "B08"], None, "the option archive names no folder or zip"),
        (
            ["B02", "", "B04", "B08"],
            "",
            r"forest_0.tif in .* does not describe each of its bands \(found: B02 - B04",
        ),
        (["B02", "B03", "B04", "Band 4"], "", "has B04 more than once"),
    ],
)
def test_files_that_do_not_name_their_bands_are_refused(own, names, archive, fault):
    images(own, names, reverse=())
    with pytest.raises(UserError, match=rf"mine: modalities.s2.bands is 'from-files': .*{fault}"):
        own.folder(modality=TAKEN, options={"archive": archive if archive is None else str(own.files)})


@pytest.mark.parametrize(
    "names",
    [
        ["Blue: 458-523nm", "Green: 543 - 578 nm", "Red: 650 nm to 680 nm", "NIR: 0.785–0.899 µm"],
        ["Band 2 - 490 nm", "Band 3 - 560 nm", "Band 4 - 665 nm", "Band 8 - 842 nm"],
        ["B2-490nm", "B3-560nm", "B4-665nm", "B8-842nm"],
    ],
    ids=["ranges", "numbers of bands", "names of bands"],
)
def test_a_range_of_wavelengths_is_its_middle(names):
    modality = Modality("s2", "sentinel-2", "L2A", ("B02", "B03", "B04", "B08"))
    assert order_of(Declarations(names=tuple(names)), modality, 4) is None
    with pytest.raises(BandNamesError, match="names its bands"):
        order_of(Declarations(names=(names[2], names[1], names[0], names[3])), modality, 4)
