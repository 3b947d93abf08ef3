"""A result never replaces what it is made from, and what cannot be written is refused before the work."""

import pytest
from band_images import BANDS, random_pixels, write_raster
from numpy import zeros_like

from bandbridge.base.errors import UserError
from bandbridge.use import cli
from bandbridge.use.archive import embed_images
from bandbridge.use.classify import classify_images
from bandbridge.use.results import must_be_writable


def test_a_map_does_not_replace_its_scene(run_folder, scene, tmp_path, monkeypatch):
    before = scene.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.tif").symlink_to(scene)
    for source, out in ((scene, scene), (tmp_path / "link.tif", scene), (tmp_path, tmp_path / "scene.tif")):
        with pytest.raises(UserError, match=r"scene\.tif, which the command reads"):
            cli.map_(str(run_folder), source, out)
    scores = write_raster(tmp_path / "x.scores.tif", random_pixels(), BANDS)
    with pytest.raises(UserError, match=r"x\.scores\.tif, which the command reads"):
        cli.map_(str(run_folder), scores, tmp_path / "x.tif", scores=True)
    assert scene.read_bytes() == before


def test_hits_do_not_replace_their_archive(model, scene, tmp_path):
    embed_images(model, [scene], tmp_path / "a.parquet", size=16)
    before = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(UserError, match=r"a\.parquet, which the command reads"):
        cli.search(tmp_path / "a.parquet", text=["a lake"], out=tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_a_table_in_the_folder_of_its_images_may_be_replaced(scene, tmp_path):
    (tmp_path / "labels.csv").touch()
    must_be_writable(tmp_path / "labels.csv", (".csv",), [tmp_path])


def test_images_without_a_place_are_refused_before_the_rest_is_read(model, tmp_path, monkeypatch):
    images = [write_raster(tmp_path / f"{at}.tif", random_pixels(), BANDS, crs=None) for at in range(20)]
    encode, counts = type(model).encode_pixels, []

    def counted(self, pixels, bands):
        counts.append(len(pixels))
        return encode(self, pixels, bands)

    monkeypatch.setattr(type(model), "encode_pixels", counted)
    with pytest.raises(UserError, match=r"0\.tif states no reference system.*--crs"):
        classify_images(model, images, model.labels(), tmp_path / "x.geojson")
    assert sum(counts) <= model.batch_size


def test_windows_that_are_all_left_out_are_an_error(model, tmp_path):
    path = write_raster(tmp_path / "x.tif", zeros_like(random_pixels()), BANDS, nodata=0)
    for out, make in (
        ("a.parquet", lambda out: embed_images(model, [path], out, size=16)),
        ("a.csv", lambda out: classify_images(model, [path], model.labels(), out, size=16)),
    ):
        with pytest.raises(UserError, match="all 12 windows were left out"):
            make(tmp_path / out)
        assert not (tmp_path / out).exists()
