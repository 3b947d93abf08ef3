"""Polygons are read by the driver of their content's format, whatever their files are called."""

import pytest
from own_scenes import CLASSES, thirds

from bandbridge.base.errors import UserError
from bandbridge.ingest.readers.polygons import read_polygons


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", ["p.geojson", "p.gpkg", "p.shp"])
def test_the_formats_that_are_promised_are_read(tmp_path, name, upper):
    thirds().to_file(tmp_path / name)
    if upper:
        for path in list(tmp_path.iterdir()):
            path.rename(path.with_name(path.name.upper()))
    frame = read_polygons(tmp_path, name.upper() if upper else name)
    assert list(frame["cover"]) == list(CLASSES)
    assert frame.crs.to_epsg() == 32633


def test_the_content_tells_the_format(tmp_path):
    thirds().to_file(tmp_path / "p.gpkg")
    (tmp_path / "p.gpkg").rename(tmp_path / "p.json")
    assert list(read_polygons(tmp_path, "p.json")["cover"]) == list(CLASSES)


@pytest.mark.parametrize("content", [b"", b"cover,WKT\n", b"[1]", b'{"type": "Point", "coordinates": [1, 1]}'])
def test_another_format_is_explained(tmp_path, content):
    (tmp_path / "p.geojson").write_bytes(content)
    with pytest.raises(UserError, match=r"save it as one of these|expected a FeatureCollection"):
        read_polygons(tmp_path, "p.geojson")


def test_a_geopackage_that_breaks_off_is_explained(tmp_path):
    thirds().to_file(tmp_path / "p.gpkg")
    whole = (tmp_path / "p.gpkg").read_bytes()
    (tmp_path / "p.gpkg").write_bytes(whole[:3_000])
    with pytest.raises(UserError, match="get the file again"):
        read_polygons(tmp_path, "p.gpkg")
