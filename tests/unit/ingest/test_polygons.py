"""Polygons are read by the driver of their content's format, whatever their files are called."""

import geopandas
import pytest
from shapely.geometry import box

from bandbridge.base.errors import UserError
from bandbridge.ingest.readers.polygons import read_polygons

FORMATS = {"p.geojson": "GeoJSON", "p.gpkg": "GPKG", "p.shp": "ESRI Shapefile"}


def write(path, driver):
    frame = geopandas.GeoDataFrame({"cover": ["water"]}, geometry=[box(0, 0, 100, 100)], crs="EPSG:32633")
    frame.to_file(path, driver=driver)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_the_formats_that_are_promised_are_read(tmp_path, name, upper):
    write(tmp_path / name, FORMATS[name])
    if upper:
        for path in list(tmp_path.iterdir()):
            path.rename(path.with_name(path.name.upper()))
    frame = read_polygons(tmp_path, name.upper() if upper else name)
    assert list(frame["cover"]) == ["water"]
    assert frame.crs.to_epsg() == 32633


def test_the_content_tells_the_format(tmp_path):
    write(tmp_path / "p.gpkg", "GPKG")
    (tmp_path / "p.gpkg").rename(tmp_path / "p.json")
    assert list(read_polygons(tmp_path, "p.json")["cover"]) == ["water"]


@pytest.mark.parametrize("content", [b"", b"cover,WKT\n", b"[1]", b'{"type": "Point", "coordinates": [1, 1]}'])
def test_another_format_is_explained(tmp_path, content):
    (tmp_path / "p.geojson").write_bytes(content)
    with pytest.raises(UserError, match=r"save it as one of these|expected a FeatureCollection"):
        read_polygons(tmp_path, "p.geojson")


def test_a_geopackage_that_breaks_off_is_explained(tmp_path):
    write(tmp_path / "p.gpkg", "GPKG")
    whole = (tmp_path / "p.gpkg").read_bytes()
    (tmp_path / "p.gpkg").write_bytes(whole[:3_000])
    with pytest.raises(UserError, match="get the file again"):
        read_polygons(tmp_path, "p.gpkg")
