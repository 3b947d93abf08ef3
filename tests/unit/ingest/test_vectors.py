"""Polygons as people have them: layers, collections, zips, other reference systems; each counts, or is explained."""

import json
import shutil

import geopandas
import numpy as np
import pytest
import shapely
from own_scenes import CRS, LEFT, TOP, thirds
from rasterio import Affine, crs
from rasterio.transform import from_origin
from shapely.geometry import GeometryCollection, LineString, Polygon, box

from bandbridge.base.errors import UserError
from bandbridge.ingest.readers.polygon_labels import Grid, label_map
from bandbridge.ingest.readers.polygons import read_polygons

CLASSES = ("forest", "maize", "water")
SIDE = 1_920
GRID = Grid(48, 48, from_origin(LEFT, TOP, 40, 40), crs.CRS.from_epsg(32633))
EXPECTED = np.repeat(np.repeat([1, 2, 3], 16)[None], 48, axis=0)


def labels(frame, field="cover", class_map=None, grid=GRID):
    return label_map(frame, field, class_map or {}, CLASSES, grid)


def test_several_layers_are_listed_and_one_can_be_named(tmp_path):
    area = geopandas.GeoDataFrame({"name": ["study area"]}, geometry=[box(LEFT, TOP - SIDE, LEFT + SIDE, TOP)], crs=CRS)
    area.to_file(tmp_path / "p.gpkg", layer="area")
    thirds().to_file(tmp_path / "p.gpkg", layer="fields")
    with pytest.raises(UserError, match=r"has 2 layers: area \(1 .*name\), fields \(3 .*cover, code\); name one"):
        read_polygons(tmp_path, "p.gpkg")
    np.testing.assert_array_equal(labels(read_polygons(tmp_path, "p.gpkg", "fields")), EXPECTED)
    with pytest.raises(UserError, match=r"has no layer 'feilds' .* it has: area, fields. Did you mean 'fields'\?"):
        read_polygons(tmp_path, "p.gpkg", "feilds")


def test_the_polygons_of_collections_and_of_rings_that_cross_themselves_count():
    frame = thirds()
    left, bottom, right, top = frame.geometry[0].bounds
    bow = Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    frame.loc[0, "geometry"] = bow
    frame.loc[2, "geometry"] = GeometryCollection([frame.geometry[2], LineString([(left, bottom), (right, top)])])
    painted = labels(frame)
    np.testing.assert_array_equal(painted[:, 32:], EXPECTED[:, 32:])
    assert 0.45 < (painted[:, :16] == 1).mean() < 0.55


def test_whole_numbers_with_gaps_are_classes():
    frame = thirds()
    frame["code"] = [1.0, np.nan, 3.0]
    painted = labels(frame, "code", {"1": "forest", "3": "water"})
    np.testing.assert_array_equal(painted, np.where(EXPECTED == 2, 0, EXPECTED))


def geojson(frame):
    return json.loads(frame.to_json(drop_id=True))


def test_geojson_is_in_degrees_unless_it_names_another_system(tmp_path):
    (tmp_path / "degrees.geojson").write_text(json.dumps(geojson(thirds().to_crs(4326))))
    named = geojson(thirds()) | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}}
    (tmp_path / "named.geojson").write_text(json.dumps(named))
    metres = geojson(thirds().to_crs(CRS))
    metres.pop("crs", None)
    (tmp_path / "metres.geojson").write_text(json.dumps(metres))
    for name in ("degrees", "named"):
        np.testing.assert_array_equal(labels(read_polygons(tmp_path, f"{name}.geojson")), EXPECTED)
    with pytest.raises(UserError, match=r"these coordinates are not degrees: .* polygons_crs \(EPSG:32633 if"):
        labels(read_polygons(tmp_path, "metres.geojson"))
    np.testing.assert_array_equal(labels(read_polygons(tmp_path, "metres.geojson", crs=CRS)), EXPECTED)


def test_polygons_that_miss_the_scene_are_refused_with_both_extents():
    elsewhere = thirds(left=LEFT + 50_000)
    with pytest.raises(UserError, match=rf"cover {LEFT + 50_000} .*; the scene covers {LEFT} {TOP - SIDE} "):
        labels(elsewhere)


def test_a_scene_from_south_to_north_has_its_polygons():
    south_up = Grid(48, 48, Affine(40, 0, LEFT, 0, 40, TOP - SIDE), GRID.crs)
    np.testing.assert_array_equal(labels(thirds(), grid=south_up), EXPECTED)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_scene_in_degrees_has_its_polygons():
    grid = Grid(48, 48, from_origin(15, 52, 0.001, 0.001), crs.CRS.from_epsg(4326))
    fields = geopandas.GeoDataFrame(
        {"cover": CLASSES}, geometry=[box(15 + 0.016 * i, 51, 15.016 + 0.016 * i, 52) for i in range(3)], crs=4326
    )
    np.testing.assert_array_equal(labels(fields, grid=grid), EXPECTED)


@pytest.mark.parametrize("name", ["fields.shp", "fields.gpkg", "fields.geojson"])
def test_polygons_in_a_zip_are_read(tmp_path, name):
    (tmp_path / "in").mkdir()
    thirds().to_file(tmp_path / "in" / name)
    shutil.make_archive(str(tmp_path / "fields"), "zip", tmp_path / "in")
    np.testing.assert_array_equal(labels(read_polygons(tmp_path, "fields.zip")), EXPECTED)


def test_a_zip_of_several_or_no_polygon_files_is_explained(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "doc.kml").write_text("<kml/>")
    shutil.make_archive(str(tmp_path / "none"), "zip", tmp_path / "in")
    with pytest.raises(UserError, match=r"none.zip holds 0 files of polygons \(doc.kml\), expected one; unpack it"):
        read_polygons(tmp_path, "none.zip")
    for name in ("a.shp", "b.shp"):
        thirds().to_file(tmp_path / "in" / name)
    shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path / "in")
    with pytest.raises(UserError, match=r"two.zip holds 2 files of polygons \(a.shp, b.shp\)"):
        read_polygons(tmp_path, "two.zip")


@pytest.mark.parametrize("start", ["", "\x1e"], ids=["lines", "text sequence"])
def test_features_on_lines_and_a_feature_alone_are_read(tmp_path, start):
    features = geojson(thirds().to_crs(4326))["features"]
    (tmp_path / "p.geojsonl").write_text("".join(f"{start}{json.dumps(feature)}\n" for feature in features))
    np.testing.assert_array_equal(labels(read_polygons(tmp_path, "p.geojsonl")), EXPECTED)
    (tmp_path / "one.geojson").write_text(json.dumps(features[0]))
    assert list(read_polygons(tmp_path, "one.geojson")["cover"]) == ["forest"]


def test_a_shapefile_may_lack_its_encoding_and_its_index(tmp_path):
    frame = thirds()
    frame["cover"] = ["Wälder", "maize", "water"]
    for encoding in ("utf-8", "cp1252"):
        frame.to_file(tmp_path / "p.shp", encoding=encoding)
        (tmp_path / "p.cpg").unlink()
        (tmp_path / "p.shx").unlink()
        np.testing.assert_array_equal(
            labels(read_polygons(tmp_path, "p.shp"), class_map={"Wälder": "forest"}), EXPECTED
        )
    (tmp_path / "p.dbf").unlink()
    with pytest.raises(UserError, match=r"is a shapefile without its \.dbf"):
        read_polygons(tmp_path, "p.shp")


def test_points_and_lines_alone_are_explained():
    frame = thirds()
    with pytest.raises(UserError, match=r"there is no polygon among 3 Point; polygons are needed"):
        labels(frame.set_geometry(frame.centroid))


def test_polygons_with_heights_are_polygons():
    frame = thirds()
    np.testing.assert_array_equal(labels(frame.set_geometry(shapely.force_3d(frame.geometry))), EXPECTED)
