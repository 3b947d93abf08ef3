"""Images of every kind are read in the model's unit, and what cannot be is refused with a sentence."""

import json

import numpy as np
import pytest
import rasterio
from band_images import BANDS, random_pixels, write_raster
from rasterio.control import GroundControlPoint
from rasterio.shutil import copy

from bandbridge.base.errors import UserError
from bandbridge.use import scenes
from bandbridge.use.scenes import PICTURE, BandSet, Reading, open_scene, starts
from bandbridge.use.strips import strips

TAKES = (BandSet(BANDS, ("B10",), "reflectance x 10000"),)


def whole(path, takes=TAKES, reading=None):
    with open_scene(path, takes, reading or Reading()) as scene:
        return scene, *scene.read(0, 0, scene.height, scene.width)


def test_bands_come_in_the_models_order_whatever_the_files(tmp_path):
    pixels = random_pixels(4)
    path = write_raster(tmp_path / "x.tif", pixels, ["nir", "elevation", "Band 3", "B2"])
    scene, read, valid = whole(path, (BandSet(BANDS, ("B04", "B10")),))
    assert scene.bands == ("B02", "B03", "B08")
    assert scene.missing == ("B04", "B10")
    assert valid is None
    assert (read == pixels[[3, 2, 0]]).all()


def test_a_folder_of_bands_of_several_resolutions_is_one_scene(tmp_path):
    fine, coarse = random_pixels(1, 60, 60), random_pixels(1, 30, 30, seed=1)
    twice = rasterio.Affine(20, 0, 300_000, 0, -20, 5_800_000)
    for band in ("B02", "B03", "B04"):
        write_raster(tmp_path / "bands" / f"T33_{band}.TIF", fine)
    write_raster(tmp_path / "bands" / "T33_B08.tif", coarse, transform=twice)
    write_raster(tmp_path / "bands" / "T33_TCI.tif", random_pixels(3).astype(np.uint8))
    scene, read, _ = whole(tmp_path / "bands")
    assert (scene.height, scene.width) == (60, 60)
    with rasterio.open(tmp_path / "bands" / "T33_B08.tif") as file:
        expected = file.read(1, out_shape=(60, 60), resampling=rasterio.enums.Resampling.bilinear)
    assert (read[3] == expected).all()


def test_declared_scale_and_offset_lead_to_the_sensors_unit(tmp_path):
    pixels = random_pixels()
    scaled = write_raster(tmp_path / "x.tif", pixels, BANDS, scales=(1e-4,) * 5, offsets=(-0.1,) * 5)
    _, read, _ = whole(scaled)
    np.testing.assert_array_equal(read, np.maximum(pixels.astype(int) - 1000, 0))  # as in a data set's store
    _, read, _ = whole(scaled, reading=Reading(scale=2.0, offset=1.0))
    assert (read == pixels * 2.0 + 1).all()


def test_a_safe_product_is_read_with_its_offsets(tmp_path):
    images = tmp_path / "S2A_MSIL2A_X.SAFE/GRANULE/L2A_T33/IMG_DATA"
    pixels = random_pixels(4)
    for band, values in zip(BANDS, pixels, strict=False):
        write_raster(images / "R10m" / f"T33_{band}_10m.tif", values[None])
    small = rasterio.Affine(20, 0, 300_000, 0, -20, 5_800_000)
    write_raster(images / "R20m" / "T33_B02_20m.tif", pixels[:1, ::2, ::2], transform=small)
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{at}">-1000</BOA_ADD_OFFSET>' for at in range(13))
    metadata = f"<a><b><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>{offsets}</b></a>"
    (tmp_path / "S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml").write_text(metadata)
    scene, read, _ = whole(tmp_path / "S2A_MSIL2A_X.SAFE")
    assert scene.bands == BANDS[:4]
    np.testing.assert_array_equal(read, np.maximum(pixels.astype(int) - 1000, 0))  # as in a data set's store
    declared = f'<!DOCTYPE a [<!ENTITY x "1">]>{metadata}'
    (tmp_path / "S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml").write_text(declared)
    with pytest.raises(UserError, match=r"MTD_MSIL2A\.xml cannot be read \(it declares a document type"):
        whole(tmp_path / "S2A_MSIL2A_X.SAFE")


def test_a_products_name_states_the_offset_of_its_baseline(tmp_path):
    pixels = random_pixels()
    for baseline, offset in (("0301", 0), ("0400", -1000), ("0511", -1000), ("9999", 0)):
        name = f"S2A_MSIL2A_20220126T102311_N{baseline}_R065_T33UUU_20220126T120000"
        path = write_raster(tmp_path / name / "all.tif", pixels, BANDS)
        np.testing.assert_array_equal(whole(path)[1], np.maximum(pixels.astype(int) + offset, 0))
        np.testing.assert_array_equal(whole(path, reading=Reading(scale=1.0))[1], pixels)


def test_a_scale_that_leads_to_no_known_unit_is_refused(tmp_path):
    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS, scales=(0.3,) * 5, offsets=(0.0,) * 5)
    with pytest.raises(UserError, match=r"x\.tif: its bands state scale 0\.3 .*--scale and --offset"):
        whole(path)


def test_a_vrt_and_a_stac_item_are_read_as_their_files(tmp_path, scene):
    _, expected, _ = whole(scene)
    copy(scene, tmp_path / "x.vrt", driver="VRT")
    assert (whole(tmp_path / "x.vrt")[1] == expected).all()
    bands = [{"name": name} for name in BANDS]
    (tmp_path / "item.json").write_text(json.dumps({"assets": {"data": {"href": "./scene.tif", "eo:bands": bands}}}))
    assert (whole(tmp_path / "item.json")[1] == expected).all()
    far = {"assets": {"data": {"href": "https://example.org/scene.tif", "eo:bands": bands}}}
    (tmp_path / "far.json").write_text(json.dumps(far))
    with pytest.raises(UserError, match=r"asset data is at https://example\.org/scene\.tif; download it"):
        whole(tmp_path / "far.json")


def test_no_data_is_no_value(tmp_path):
    pixels = random_pixels()
    pixels[:, :5] = 0
    pixels[2, 10, 10] = 0  # in one band alone
    _, _, valid = whole(write_raster(tmp_path / "x.tif", pixels, BANDS, nodata=0))
    assert not valid[:5].any()
    assert not valid[10, 10]
    assert valid[5:].sum() == valid[5:].size - 1
    floats = pixels.astype(np.float32)
    floats[0, 7, 7] = np.nan
    _, _, valid = whole(write_raster(tmp_path / "y.tif", floats, BANDS))
    assert valid.size - valid.sum() == 1


def test_pictures_are_taken_as_they_are_and_grey_ones_threefold(tmp_path):
    picture = random_pixels(3).astype(np.uint8)
    _, read, _ = whole(write_raster(tmp_path / "x.tif", picture, crs=None, photometric="RGB"), (PICTURE,))
    assert (read == picture).all()
    _, read, _ = whole(write_raster(tmp_path / "y.tif", picture[:1], crs=None), (PICTURE,))
    assert (read == picture[[0, 0, 0]]).all()


def test_an_encoder_of_pictures_asks_for_a_composite(scene):
    with pytest.raises(UserError, match=r"--composite B04,B03,B02:3000"):
        whole(scene, (PICTURE,))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (random_pixels().astype(np.float32) / 10_000, "as reflectances do.*--scale 10000"),
        (random_pixels().astype(np.float32) / 100, "as percentages do.*--scale 100"),
        (random_pixels().astype(np.uint8), "its bands have 8 bits"),
        (random_pixels().astype(np.complex64), "band B02 holds complex numbers"),
        (np.where(np.eye(40, 56) > 0, -9999, random_pixels()).astype(np.int16), "a value is -9999, .*-a_nodata"),
        (np.where(np.eye(40, 56) > 0, 3e38, random_pixels()).astype(np.float32), r"a value is 3e\+38, .*-a_nodata"),
    ],
)
def test_values_that_cannot_be_in_the_unit_are_refused(tmp_path, pixels, message):
    with pytest.raises(UserError, match=message):
        whole(write_raster(tmp_path / "x.tif", pixels, BANDS))


def test_ground_control_points_that_make_a_grid_are_a_place(tmp_path):
    corners = [(0, 0), (0, 56), (40, 0)]
    points = [GroundControlPoint(row, col, 300_000 + 10 * col, 5_800_000 - 10 * row) for row, col in corners]
    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS, transform=None, gcps=points)
    placed = write_raster(tmp_path / "y.tif", random_pixels(), BANDS)
    with open_scene(path, TAKES) as scene, open_scene(placed, TAKES) as expected:
        assert scene.crs == expected.crs
        assert scene.transform.almost_equals(expected.transform)


def test_decibels_are_asked_for_where_the_model_takes_them(tmp_path):
    path = write_raster(tmp_path / "x.tif", random_pixels(2), ["VV", "VH"])
    with pytest.raises(UserError, match=r"takes decibels"):
        whole(path, (BandSet(("VV", "VH"), (), "dB"),))


@pytest.mark.parametrize(
    ("crs", "transform", "size"),
    [
        ("EPSG:32633", rasterio.Affine(10, 0, 300_000, 0, -10, 5_800_000), 10),
        ("EPSG:32633", rasterio.Affine(0, 30, 300_000, 30, 0, 5_800_000), 30),
        ("EPSG:4326", rasterio.Affine(0.0001, 0, 13, 0, -0.0001, 52.002), (6.862 * 11.126) ** 0.5),
        ("EPSG:3857", rasterio.Affine(10, 0, 1_447_153, 0, -10, 6_800_125), 6.16),  # it stretches by 1 / cos(latitude)
    ],
    ids=["metres", "rotated", "degrees", "web mercator"],
)
def test_the_size_of_a_pixel_is_that_on_the_ground(tmp_path, crs, transform, size):
    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS, crs=crs, transform=transform)
    with open_scene(path, TAKES, Reading()) as scene:
        assert scene.pixel_size == pytest.approx(size, rel=2e-3)


def test_pixels_of_another_size_than_in_training_are_reported_once(tmp_path, capsys):
    scenes._compare_sizes.cache_clear()  # of what other tests of this process have read
    fine, coarse = rasterio.Affine(3, 0, 3e5, 0, -3, 58e5), rasterio.Affine(14, 0, 3e5, 0, -14, 58e5)
    takes = (BandSet(BANDS, ("B10",), "reflectance x 10000", 10),)
    for name, transform in (("a", fine), ("b", fine), ("c", coarse)):
        whole(write_raster(tmp_path / f"{name}.tif", random_pixels(), BANDS, transform=transform), takes)
    whole(write_raster(tmp_path / "nowhere.tif", random_pixels(), BANDS, crs=None), takes)
    assert capsys.readouterr().err.count("the pixels are 3 m wide, those of the model's training 10 m") == 1


def test_zeros_in_every_band_that_no_file_calls_missing_are_reported_once(tmp_path, capsys):
    pixels = random_pixels()
    pixels[:4, :5] = 0
    whole(write_raster(tmp_path / "one_band_measures.tif", pixels, BANDS))
    pixels[:, :5] = 0
    whole(write_raster(tmp_path / "declared.tif", pixels, BANDS, nodata=0))
    assert "0 in every band" not in capsys.readouterr().err
    for _ in range(2):
        whole(write_raster(tmp_path / "undeclared.tif", pixels, BANDS))
    assert capsys.readouterr().err.count("undeclared.tif: pixels are 0 in every band") == 1


def test_a_landsat_file_is_refused_by_its_own_word(tmp_path):
    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS, tags={"SPACECRAFT_ID": "LANDSAT_8"})
    with pytest.raises(UserError, match=r"states that it is from LANDSAT_8"):
        whole(path)


def test_bands_that_lie_elsewhere_are_refused(tmp_path):
    moved = rasterio.Affine(10, 0, 301_000, 0, -10, 5_800_000)
    write_raster(tmp_path / "b" / "x_B02.tif", random_pixels(1))
    write_raster(tmp_path / "b" / "x_B03.tif", random_pixels(1), transform=moved)
    with pytest.raises(UserError, match=r"band B03 covers .* cut them to one extent"):
        whole(tmp_path / "b", (BandSet(("B02", "B03")),))


def test_what_is_no_image_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.tif not found"):
        whole(tmp_path / "nothing.tif")
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(UserError, match=r"cannot be read as a raster"):
        whole(tmp_path / "text.tif")
    (tmp_path / "void.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"\(it is empty\)"):
        whole(tmp_path / "void.tif")
    (tmp_path / "array.nc").write_bytes(b"CDF\1")
    with pytest.raises(UserError, match=r"\(it is netCDF; convert it to GeoTIFF"):
        whole(tmp_path / "array.nc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no images found"):
        whole(tmp_path / "empty")


def test_windows_cover_every_pixel():
    assert starts(40, 16, 16) == [0, 16, 24]
    assert starts(32, 16, 16) == [0, 16]
    assert starts(10, 16, 16) == [0]


def test_strips_hold_the_same_pixels_as_one_reading(tmp_path, monkeypatch):
    monkeypatch.setattr("bandbridge.use.strips.STRIP_BYTES", 1)
    monkeypatch.setattr("bandbridge.use.strips.FEWEST_ROWS", 1)
    big, small = random_pixels(1, 96, 60), random_pixels(1, 16, 10, seed=2)
    coarse = rasterio.Affine(60, 0, 300_000, 0, -60, 5_800_000)
    write_raster(tmp_path / "s" / "B02.tif", big, blockysize=1)
    write_raster(tmp_path / "s" / "B09.tif", small, transform=coarse, blockysize=1)
    with open_scene(tmp_path / "s", (BandSet(("B02", "B09")),)) as scene:
        expected, _ = scene.read(0, 0, 96, 60)
        windows = list(strips(scene, 8, 4))
        assert len(windows) > 5
        for strip in windows:
            for at, row in enumerate(strip.rows):
                pixels, _ = strip.windows(at, [0, 4, 52], 8)
                for window, col in zip(pixels, (0, 4, 52), strict=True):
                    assert (window == expected[:, row : row + 8, col : col + 8]).all()
