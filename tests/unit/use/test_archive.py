"""Archives open in geopandas and DuckDB, and searching them is exact."""

import io
import json

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from band_images import BANDS, random_pixels, write_raster
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Composite
from bandbridge.catalogue.sensors import composite
from bandbridge.use.archive import KEY, embed_images, open_archive
from bandbridge.use.hits import thumbnail, write_hits
from bandbridge.use.images import list_images
from bandbridge.use.search import Query, best_rows, must_match, query_vector, search


@pytest.fixture
def archive(model, scene, tmp_path):
    embed_images(model, [scene], tmp_path / "a.parquet", size=16, stride=8)
    return open_archive(tmp_path / "a.parquet")


def test_an_archive_opens_in_geopandas_and_duckdb(archive, model, scene):
    frame = geopandas.read_parquet(archive.path)
    assert len(frame) == archive.rows == 24
    assert frame.crs.to_epsg() == 4326 or frame.crs.to_string() == "OGC:CRS84"
    metres = frame.to_crs(32633).geometry.iloc[0].bounds
    np.testing.assert_allclose(metres, (300_000, 5_799_840, 300_160, 5_800_000), atol=0.01)
    counted = duckdb.sql(f"SELECT count(*), min(len(embedding)) FROM '{archive.path}'").fetchall()
    assert counted == [(24, 8)]
    query = f"SELECT embedding FROM '{archive.path}' WHERE row = 24 AND col = 40"
    ((with_duckdb,),) = duckdb.sql(query).fetchall()
    pixels = _pixels(scene)[:, 24:40, 40:56]
    np.testing.assert_allclose(with_duckdb, model.encode_images(pixels), atol=1e-6)


def _pixels(path):
    import rasterio

    with rasterio.open(path) as file:
        return file.read()


def test_search_finds_the_nearest_and_is_repeatable(archive, model, tmp_path):
    vectors = np.concatenate(list(archive.vectors()))
    for query in (Query(("a lake",)), Query(("a lake",), not_texts=("a town",))):
        vector = query_vector(model, query)
        expected = np.argsort(-(vectors @ vector), kind="stable")[:5]
        hits = search(archive, vector, 5)
        assert [(hit.record["row"], hit.record["col"]) for hit in hits] == [
            (archive.records([int(row)])[0]["row"], archive.records([int(row)])[0]["col"]) for row in expected
        ]
        assert [hit.cosine for hit in search(archive, vector, 5)] == [hit.cosine for hit in hits]
    assert len(search(archive, vector, 999)) == 24


def test_an_image_finds_itself_first(archive, model, scene, tmp_path):
    tile = write_raster(tmp_path / "tile.tif", _pixels(scene)[:, 8:24, 16:32], BANDS)
    hits = search(archive, query_vector(model, Query(images=(tile,))), 3)
    assert (hits[0].record["row"], hits[0].record["col"]) == (8, 16)
    assert hits[0].cosine == pytest.approx(1, abs=1e-5)
    (like,) = [hit for hit in search(archive, query_vector(model, Query(("a lake",))), 24) if _is(hit, 8, 16)]
    unlike = search(archive, query_vector(model, Query(("a lake",), not_images=(tile,))), 24)
    assert next(hit for hit in unlike if _is(hit, 8, 16)).cosine < like.cosine


def _is(hit, row, col):
    return (hit.record["row"], hit.record["col"]) == (row, col)


def test_an_archive_made_again_is_not_searched_by_old_vectors(archive, model, scene, tmp_path):
    search(archive, query_vector(model, Query(("a lake",))), 1)
    embed_images(model, [scene], archive.path, size=8)
    again = open_archive(archive.path)
    assert len(search(again, query_vector(model, Query(("a lake",))), 99)) == again.rows == 35


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(1, 50))
def test_of_equal_cosines_the_earlier_rows_come_first(values, k):
    cosines = np.array(values, np.float32)
    assert best_rows(cosines, k) == sorted(range(len(values)), key=lambda row: (-values[row], row))[:k]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".geojson", ".gpkg", ".html"])
def test_hits_are_written_in_every_format(archive, model, tmp_path, ending):
    hits = search(archive, query_vector(model, Query(("a lake",))), 4)
    out = tmp_path / f"hits{ending}"
    write_hits(out, archive, hits, "a <lake>")
    if ending == ".html":
        page = out.read_text()
        assert page.count("data:image/png;base64,") == 4
        assert "a &lt;lake&gt;" in page
        assert "http" not in page
        return
    readers = {".csv": pd.read_csv, ".parquet": geopandas.read_parquet}
    rows = readers.get(ending, geopandas.read_file)(out)
    assert len(rows) == 4


@pytest.mark.parametrize("ranges", [[[0, 4000]] * 3, [[500, 2500], [400, 2000], [300, 1500]]])
def test_a_thumbnail_is_the_composite_that_the_model_knows(archive, scene, ranges):
    recipe = {"bands": ["B04", "B03", "B02"], "ranges": ranges}
    archive.about["composite"] = recipe
    content = thumbnail(archive, {"path": str(scene), "sample": "", "row": 8, "col": 16, "height": 16, "width": 16})
    shown = np.array(Image.open(io.BytesIO(content)))[::10, ::10]
    expected = composite(_pixels(scene)[:, 8:24, 16:32], BANDS, Composite.from_facts(recipe))
    np.testing.assert_array_equal(shown, np.moveaxis(expected, 0, -1))


def test_a_page_says_where_an_image_is_gone(archive, model, scene, tmp_path):
    hits = search(archive, query_vector(model, Query(("a lake",))), 2)
    scene.unlink()
    write_hits(tmp_path / "hits.html", archive, hits, "a lake")
    assert "scene.tif not found" in (tmp_path / "hits.html").read_text()


def test_a_model_of_another_width_or_space_is_refused(archive, model, tmp_path):
    about = {**archive.about, "dim": 512, "name": "other"}
    with pytest.raises(UserError, match=r"embeddings of 512 values .by other.; ms makes 8"):
        must_match(model, _changed(archive, tmp_path / "w.parquet", about))
    about = {**archive.about, "digest": "0" * 64, "clip": "another"}
    with pytest.raises(UserError, match=r"other weights .* is of another CLIP"):
        must_match(model, _changed(archive, tmp_path / "s.parquet", about))
    must_match(
        model, _changed(archive, tmp_path / "t.parquet", {**archive.about, "digest": "0" * 64})
    )  # of the same CLIP


def _changed(archive, path, about):
    table = pq.read_table(archive.path)
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(about).encode()}), path)
    return open_archive(path)


def test_what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"not found; make an archive"):
        open_archive(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match=r"not a Parquet file"):
        open_archive(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"not an archive of embeddings"):
        open_archive(tmp_path / "other.parquet")


def test_queries_that_ask_for_nothing_are_refused(model):
    with pytest.raises(UserError, match=r"nothing to search for"):
        query_vector(model, Query(not_texts=("a lake",)))
    with pytest.raises(UserError, match=r"has no words"):
        query_vector(model, Query(("a lake", " ")))
    with pytest.raises(UserError, match=r"cancels out"):
        query_vector(model, Query(("a lake",), not_texts=("a lake",)))


def test_an_image_that_cannot_be_used_is_listed_and_the_others_count(model, scene, tmp_path):
    (scene.parent / "broken.tif").write_text("hello")
    (scene.parent / "Thumbs.db").write_text("x")
    done = embed_images(model, [scene.parent], tmp_path / "out" / "a.parquet")
    assert done.rows == 1
    assert "broken.tif" in done.refused_file.read_text()
    assert list_images([scene.parent]) == [scene.parent / "broken.tif", scene]


def test_windows_without_values_are_left_out_and_counted(model, tmp_path):
    pixels = random_pixels()
    pixels[:, :, :24] = 0
    path = write_raster(tmp_path / "x.tif", pixels, BANDS, nodata=0)
    done = embed_images(model, [path], tmp_path / "a.parquet", size=16)
    assert (done.rows, done.refused.windows) == (9, 3)
