"""Stores know where their samples lie: in xarray, rioxarray and GeoParquet, and back on the grid they came from."""

import json
import warnings

import geopandas
import numpy as np
import pyproj
import pytest
import rioxarray
import xarray
from own_files import describing
from own_scenes import CLASSES, LEFT, TOP, noise, thirds, write_raster
from rasterio.warp import transform_bounds
from small_store import convert_archives

from bandbridge.base.checksums import verify
from bandbridge.base.errors import UserError
from bandbridge.store.dataset import Store
from bandbridge.store.places import TABLE, georeferenced, put_together, read_table

SCENE = """
name: mine
title: Mine
reader: scene
modalities: {s2: {sensor: sentinel-2, product: L2A, bands: [B02, B03, B04, B08]}}
labels: {kind: multi, nomenclatures: [abc]}
sources: []
licence: mine
options: {rasters: "scene.tif", polygons: "*.gpkg", class_field: cover, size: 16, stride: 16, block: 32, blocks: [tve]}
"""
FOLDER = """
name: mine
title: Mine
reader: folder
modalities: {s2: {sensor: sentinel-2, product: L2A, bands: [B02, B03, B04, B08]}}
labels: {kind: single, nomenclatures: [abc]}
sources: []
licence: mine
options: {shares: {val: 0.3, test: 0.3}}
"""


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """A function from a data set's text and its files to the store."""
    with describing(tmp_path / "workflow", monkeypatch) as described:
        yield lambda text, archives, **options: convert_archives(described(text, **options), archives, tmp_path / "out")


@pytest.fixture
def scene(tmp_path, convert):
    """A store of a scene of 96 x 96 pixels, and the scene."""
    pixels = noise(4, 96, 3)
    write_raster(tmp_path / "scene/scene.tif", pixels)
    thirds(960).to_file(tmp_path / "scene/p.gpkg")
    return convert(SCENE, tmp_path / "scene"), pixels


def opened(store, split="train"):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xarray.open_zarr(store, group=split)


# --- xarray and rioxarray ------------------------------------------------------------------------------------------


def test_rioxarray_finds_place_and_reference_system_of_a_sample(scene):
    store, pixels = scene
    train = opened(store)
    for index in (0, 5):
        row, col = map(int, str(train.id.values[index]).rsplit("_", 2)[1:])
        sample = train.s2.isel(sample=index)
        assert sample.rio.crs.to_epsg() == 32633
        assert tuple(sample.rio.transform())[:6] == (10, 0, LEFT + 10 * col, 0, -10, TOP - 10 * row)
        np.testing.assert_array_equal(sample.values, pixels[:, row : row + 16, col : col + 16])


def test_coordinates_are_what_cf_says(scene):
    train = opened(scene[0])
    assert train.x.attrs["standard_name"] == "projection_x_coordinate"
    assert train.wavelength.attrs["standard_name"] == "radiation_wavelength"
    assert train.wavelength.attrs["units"] == "nm"
    assert train.wavelength.values.tolist() == [492.4, 559.8, 664.6, 832.8]
    assert pyproj.CRS.from_cf(train.spatial_ref.attrs).to_epsg() == 32633
    assert train.s2.sel(band="B04").wavelength == 664.6
    assert train.s2.attrs["proj:code"] == "EPSG:32633"
    assert train.s2.attrs["zarr_conventions"][0]["name"] == "proj:"
    attributes = json.loads((scene[0] / "zarr.json").read_text())["attributes"]
    assert attributes["Conventions"].startswith("CF-")
    assert attributes["conventions"] == {"name": "bandbridge-store", "version": 2}


def test_a_sample_is_a_raster_that_gdal_reads(scene, tmp_path):
    store, _ = scene
    sample = georeferenced(store, "val", 3)
    sample.rio.to_raster(tmp_path / "sample.tif")
    with rioxarray.open_rasterio(tmp_path / "sample.tif") as again:
        np.testing.assert_array_equal(again.values, sample.values)
        assert again.rio.transform() == sample.rio.transform()
        assert again.rio.crs == sample.rio.crs
    assert sample.band.values.tolist() == ["B02", "B03", "B04", "B08"]


# --- a scene put together ------------------------------------------------------------------------------------------


def test_a_scene_s_samples_go_back_to_their_pixels(scene):
    store, pixels = scene
    whole = put_together(store)
    np.testing.assert_array_equal(whole.values, pixels)
    assert tuple(whole.rio.transform())[:6] == (10, 0, LEFT, 0, -10, TOP)
    assert whole.rio.crs.to_epsg() == 32633


def test_a_split_of_a_scene_leaves_the_others_empty(scene):
    store, pixels = scene
    val = put_together(store, ["val"])
    np.testing.assert_array_equal(val.values, pixels[:, :, 32:64])
    both = put_together(store, ["train", "test"])
    np.testing.assert_array_equal(both.values[:, :, 64:], pixels[:, :, 64:])
    assert (both.values[:, :, 32:64] == 0).all()


def test_pixel_sizes_that_floating_point_cannot_write_are_put_together_exactly(tmp_path, convert):
    pixels = noise(4, 96, 5)
    write_raster(tmp_path / "scene/scene.tif", pixels, metres=1 / 3, left=500_000.1, top=5_800_000.7)
    thirds(32, left=500_000.1, top=5_800_000.7).to_file(tmp_path / "scene/p.gpkg")
    whole = put_together(convert(SCENE, tmp_path / "scene"))
    np.testing.assert_array_equal(whole.values, pixels)
    assert whole.rio.transform().c == 500_000.1


def test_samples_of_several_zones_or_grids_make_no_scene(tmp_path, convert):
    for number in range(9):
        crs = "EPSG:32633" if number % 2 else "EPSG:32632"
        name = tmp_path / "images" / CLASSES[number % 3] / f"{number}.tif"
        write_raster(name, noise(4, 16, number), crs=crs, left=LEFT + 3 * number)
    store = convert(FOLDER, tmp_path / "images")
    with pytest.raises(UserError, match="the samples lie in 2 reference systems"):
        put_together(store)
    train = opened(store)
    assert set(train.crs.values) <= {"EPSG:32632", "EPSG:32633"}
    for index, name in enumerate(train.id.values):
        sample = georeferenced(store, "train", index)
        assert sample.rio.crs.to_epsg() == (32633 if int(name) % 2 else 32632)
        assert sample.rio.transform().c == LEFT + 3 * int(name)


# --- the table of samples ------------------------------------------------------------------------------------------


def test_geopandas_opens_a_row_per_sample(scene):
    store, _ = scene
    table = geopandas.read_parquet(store / TABLE)
    counts = {split: len(Store(store).split(split)) for split in ("train", "val", "test")}
    assert table["split"].value_counts().to_dict() == counts
    assert table.crs.to_epsg() == 4326 or table.crs.to_string() == "OGC:CRS84"
    first = table[table["id"] == "mine_0016_0048"].iloc[0]
    expected = transform_bounds("EPSG:32633", "OGC:CRS84", LEFT + 480, TOP - 320, LEFT + 640, TOP - 160)
    np.testing.assert_allclose(first.geometry.bounds, expected, atol=1e-6)
    assert (first["split"], list(first["labels"]), first["path"]) == ("val", ["maize"], "scene.tif")
    assert first["valid_share"] == 1
    verify(store / TABLE)


def test_the_table_has_the_files_of_a_folder(tmp_path, convert):
    for number in range(9):
        write_raster(tmp_path / "images" / CLASSES[number % 3] / f"{number}.TIF", noise(4, 16, number))
    table = read_table(convert(FOLDER, tmp_path / "images")).set_index("id")
    assert table.loc["4", "path"] == "maize/4.TIF"
    assert list(table.loc["4", "labels"]) == ["maize"]


def test_samples_without_a_place_are_in_the_table_and_in_no_map(tmp_path, convert):
    for number in range(9):
        write_raster(tmp_path / "images" / CLASSES[number % 3] / f"{number}.tif", noise(4, 16, number), crs=None)
    store = convert(FOLDER, tmp_path / "images")
    assert len(read_table(store)) == 9
    assert read_table(store).geometry.isna().all()
    assert "transform" not in opened(store).coords
    with pytest.raises(UserError, match="does not state where its samples lie"):
        georeferenced(store, "train", 0)


# --- versions ------------------------------------------------------------------------------------------------------


def test_a_store_of_the_version_before_is_read(scene):
    store, _ = scene
    root = json.loads((store / "zarr.json").read_text())
    for key in ("conventions", "Conventions", "metadata_crc32c"):
        del root["attributes"][key]
    (store / "zarr.json").write_text(json.dumps(root))
    (store / TABLE).unlink()
    assert len(Store(store).split("train").read([0, 1])) == 2
    with pytest.raises(UserError, match="an earlier version wrote it"):
        read_table(store)


def test_a_store_of_a_later_version_is_refused(scene):
    store, _ = scene
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["conventions"]["version"] = 3
    del root["attributes"]["metadata_crc32c"]
    (store / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(UserError, match="is a store of version 3, and this is for version 2 and earlier: update"):
        Store(store)
