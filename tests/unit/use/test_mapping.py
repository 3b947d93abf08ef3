"""Maps lie on the scene's grid to the pixel, hold the windows' classes, and continue after a kill."""

import numpy as np
import pytest
import rasterio
from band_images import BANDS, random_pixels, write_raster
from rasterio.shutil import copy

from bandbridge.base.errors import UserError
from bandbridge.use import mapping
from bandbridge.use.mapping import cell_of_pixel, map_scene
from bandbridge.use.scenes import Reading, starts


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile


def test_every_window_has_its_class_where_it_lies(model, scene, tmp_path):
    labels = model.labels()
    done = map_scene(model, scene, labels, tmp_path / "cover.tif", scores=True)
    (cover,), profile = read(tmp_path / "cover.tif")
    with rasterio.open(scene) as file:
        assert (profile["transform"], profile["crs"], cover.shape) == (file.transform, file.crs, file.shape)
        pixels = file.read()
    scores, facts = read(done.scores)
    assert profile["nodata"] == 0
    for row, top in ((0, 0), (16, 16), (24, 32)):  # the last windows end at the edge; the ones before keep their pixels
        for col, left in ((0, 0), (16, 16), (32, 32), (40, 48)):
            expected = labels.scores(model.encode_images(pixels[:, row : row + 16, col : col + 16])[None])[0]
            assert cover[top, left] == expected.argmax() + 1
            np.testing.assert_allclose(scores[:, top, left] * 1e-4, expected, atol=6e-5)
    assert facts["nodata"] == 65_535
    assert sum(area.pixels for area in done.areas) == cover.size
    assert [area.pixels for area in done.areas] == [(cover == at).sum() for at in (1, 2, 3)]
    assert sum(area.km2 for area in done.areas) == pytest.approx(cover.size / 10_000)
    assert done.windows == 12


def test_a_map_carries_names_colours_and_origin(model, scene, tmp_path):
    map_scene(model, scene, model.labels("forest, water"), tmp_path / "cover.tif", scores=True)
    with rasterio.open(tmp_path / "cover.tif") as file:
        assert file.tags()["CLASSES"] == '["forest", "water"]'
        assert file.tags()["SCORE"] == "cosine"
        assert file.colormap(1)[2] == (62, 120, 190, 255)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        copy(file, tmp_path / "names.vrt", driver="VRT")
    assert "<Category>water</Category>" in (tmp_path / "names.vrt").read_text()
    with rasterio.open(tmp_path / "cover.scores.tif") as file:
        assert file.descriptions == ("cosine of forest", "cosine of water")
        assert file.scales == (1e-4, 1e-4)
        assert (file.read() >= -10_000).all()


def test_a_map_states_the_templates_that_its_labels_filled(model, scene, tmp_path):
    map_scene(model, scene, model.labels("forest, water", "a plain photo of {}"), tmp_path / "cover.tif")
    with rasterio.open(tmp_path / "cover.tif") as file:
        assert file.tags()["TEMPLATES"] == '["a plain photo of {}"]'


def test_scores_of_an_earlier_map_are_reported(model, scene, tmp_path, capsys):
    map_scene(model, scene, model.labels(), tmp_path / "cover.tif", scores=True)
    assert "earlier map" not in capsys.readouterr().err
    map_scene(model, scene, model.labels("forest, water"), tmp_path / "cover.tif")
    assert "cover.scores.tif is of an earlier map, not of this one" in capsys.readouterr().err


def test_a_smaller_stride_gives_each_pixel_the_window_around_it(model, scene, tmp_path):
    labels = model.labels()
    map_scene(model, scene, labels, tmp_path / "cover.tif", window=16, stride=4)
    (cover,), _ = read(tmp_path / "cover.tif")
    with rasterio.open(scene) as file:
        pixels = file.read()
    for row, col in ((0, 0), (8, 12), (24, 40)):
        middle = cover[row + 6 : row + 10, col + 6 : col + 10]
        expected = labels.scores(model.encode_images(pixels[:, row : row + 16, col : col + 16])[None])[0].argmax() + 1
        assert (middle == expected).all()


@pytest.mark.parametrize(
    ("length", "size", "stride"), [(40, 16, 16), (41, 16, 16), (40, 16, 4), (16, 16, 8), (37, 5, 3)]
)
def test_each_pixel_is_in_the_window_that_it_has_its_class_from(length, size, stride):
    begins = starts(length, size, stride)
    for pixel, at in enumerate(cell_of_pixel(begins, size, stride, length)):
        assert begins[at] <= pixel < begins[at] + size


def test_no_data_stays_no_data(model, tmp_path):
    pixels = random_pixels()
    pixels[:, :, :24] = 0  # all of the first windows, half of the second
    pixels[:, 30, 50] = 0
    path = write_raster(tmp_path / "x.tif", pixels, BANDS, nodata=0)
    done = map_scene(model, path, model.labels(), tmp_path / "cover.tif", scores=True)
    (cover,), _ = read(tmp_path / "cover.tif")
    assert (cover[:, :24] == 0).all()
    assert cover[30, 50] == 0
    assert (cover[:, 24:] > 0).sum() == 40 * 32 - 1
    assert done.no_data == 40 * 24 + 1
    scores, facts = read(tmp_path / "cover.scores.tif")
    assert (scores[:, cover == 0] == facts["nodata"]).all()


def test_a_killed_map_continues_with_the_same_result(model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr("bandbridge.use.strips.STRIP_BYTES", 1)
    monkeypatch.setattr("bandbridge.use.strips.FEWEST_ROWS", 1)
    labels = model.labels()
    map_scene(model, scene, labels, tmp_path / "undisturbed.tif", stride=8, scores=True)
    encode, calls = model.encode_pixels, []

    def killed(pixels, bands):
        calls.append(len(pixels))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(pixels, bands)

    monkeypatch.setattr(type(model), "encode_pixels", lambda self, pixels, bands: killed(pixels, bands))
    with pytest.raises(KeyboardInterrupt):
        map_scene(model, scene, labels, tmp_path / "cover.tif", stride=8, scores=True)
    assert not (tmp_path / "cover.tif").exists()
    done = map_scene(model, scene, labels, tmp_path / "cover.tif", stride=8, scores=True)
    assert 0 < done.windows < 24
    for name in ("", ".scores"):
        assert (read(tmp_path / f"cover{name}.tif")[0] == read(tmp_path / f"undisturbed{name}.tif")[0]).all()
    assert not list(tmp_path.glob(".cover*"))


def test_what_another_call_left_is_not_continued(model, scene, tmp_path, monkeypatch):
    labels = model.labels()
    work = mapping.Work

    class Stopped(work):
        def remove(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(mapping, "Work", Stopped)
    with pytest.raises(KeyboardInterrupt):
        map_scene(model, scene, labels, tmp_path / "cover.tif")
    monkeypatch.setattr(mapping, "Work", work)
    assert map_scene(model, scene, model.labels("town, forest"), tmp_path / "cover.tif").windows == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 64}, "has 40 x 56 pixels, fewer than --window 64"),
        ({"window": 8, "stride": 9}, "--stride 9 is more than --window 8"),
        ({"window": 8, "stride": -4}, "--stride -4"),
        ({"window": -1}, "--window is -1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(model, scene, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        map_scene(model, scene, model.labels(), tmp_path / "cover.tif", **options)


def test_a_scene_without_a_reference_system_asks_for_one(model, tmp_path):
    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS, crs=None)
    with pytest.raises(UserError, match=r"no reference system.*--crs EPSG:32633"):
        map_scene(model, path, model.labels(), tmp_path / "cover.tif")
    map_scene(model, path, model.labels(), tmp_path / "cover.tif", reading=Reading(crs="EPSG:32633"))
    assert read(tmp_path / "cover.tif")[1]["crs"].to_epsg() == 32633
    with pytest.raises(UserError, match=r"--crs is 'nowhere'"):
        map_scene(model, path, model.labels(), tmp_path / "c.tif", reading=Reading(crs="nowhere"))
