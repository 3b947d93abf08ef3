"""The stage `apply`: a run's model on a scene, beside polygons, and its map in the report."""

import json

import geopandas
import numpy as np
import pytest
import rasterio
from band_images import BANDS, random_pixels, write_raster
from demo_runs import run_with
from shapely.geometry import box
from small_store import load_script

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import read_yaml
from bandbridge.config.apply import DEFAULTS, Applications, applications, apply_faults, apply_settings, made_by
from bandbridge.reporting.page.maps import map_view
from bandbridge.reporting.tables.model import percent
from bandbridge.use.agreement import compare_with_polygons

CONFIG = {
    "run": "r", "data_root": "data", "store_root": None, "prompts": {},
    "clip": {"name": "demo-vit", "pretrained": "scratch"}, "paint": {"several": "jointly"},
    "tasks": {"patching": {"dataset": "demo_scene", "prompts": "satellite"}, "supported": None},
    "align": {"students": {"ms-vit": {"backbone": "vit", "epochs": 3}}, "task": None, "learning_rate": 1.0},
    "finetune": {"epochs": 1},
}  # fmt: skip
# Small enough to take any model whose run is not at hand: only the weights say what they are.
NO_SETTINGS = None


def entry(images, **changes):
    return {**DEFAULTS, "images": str(images), "labels": ["forest", "water", "town"], "window": 16, **changes}


@pytest.fixture
def polygons(tmp_path):
    """The left half of the scene is woods, a part of the right a lake."""
    shapes = [box(300_000, 5_799_600, 300_280, 5_800_000), box(300_400, 5_799_600, 300_500, 5_799_800)]
    frame = geopandas.GeoDataFrame({"kind": ["woods", "lake"]}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(tmp_path / "known.gpkg")
    return {
        "file": str(tmp_path / "known.gpkg"), "class_field": "kind", "class_map": {"woods": "forest", "lake": "water"}
    }  # fmt: skip


@pytest.fixture
def applied(run_folder, scene, polygons, tmp_path):
    out = {"cover": tmp_path / "apply/berlin.tif", "summary": tmp_path / "apply/berlin.json"}
    load_script("apply").main(
        run_folder / "align/ms/model.safetensors",
        entry(scene, polygons=polygons),
        NO_SETTINGS,
        {"batch_size": 32, "precision": "float32"},
        1,
        **out,
    )
    return out


def test_a_map_is_made_and_described(applied):
    about = json.loads(applied["summary"].read_text())
    with rasterio.open(applied["cover"]) as file:
        cover = file.read(1)
    assert [area["pixels"] for area in about["areas"]] == [(cover == at).sum() for at in (1, 2, 3)]
    truth = np.zeros(cover.shape, int)
    truth[:, :28], truth[20:, 40:50] = 1, 2
    assert about["agreement"]["pixels"] == (truth > 0).sum()
    assert about["agreement"]["share"] == pytest.approx((cover == truth)[truth > 0].mean())
    for name, number in (("forest", 1), ("water", 2)):
        assert about["agreement"]["per_class"][name] == pytest.approx((cover[truth == number] == number).mean())
    assert about["agreement"]["per_class"]["town"] is None


def test_the_report_shows_picture_areas_and_agreement(applied):
    view = map_view(applied["summary"])
    assert view["picture"].startswith("data:image/png;base64,")
    assert view["width"] == 56
    assert [row["name"] for row in view["rows"]] == ["forest", "water", "town"]
    assert "of 1,320 pixels with a known class agree" in view["agreement"]
    assert not view["has_test"]
    assert view["has_area"]
    assert view["caption"].endswith("The map itself: apply/berlin.tif.")


@pytest.fixture
def samples(tmp_path):
    """The table of a store: a test sample in the west, a training sample that overlaps it, one in the east."""
    shapes = [
        box(300_000, 5_799_600, 300_200, 5_800_000),
        box(300_160, 5_799_600, 300_280, 5_800_000),
        box(300_400, 5_799_600, 300_500, 5_799_800),
    ]
    frame = geopandas.GeoDataFrame({"split": ["test", "train", "val"]}, geometry=shapes, crs="EPSG:32633")
    (tmp_path / "s.zarr").mkdir()
    frame.to_crs("OGC:CRS84").to_parquet(tmp_path / "s.zarr/samples.parquet")
    return tmp_path / "s.zarr"


def test_agreement_on_test_samples_leaves_out_what_others_share(applied, polygons, samples, tmp_path):
    names = ("forest", "water", "town")
    everywhere, on_test = compare_with_polygons(applied["cover"], names, polygons, samples)
    with rasterio.open(applied["cover"]) as file:
        cover = file.read(1)
    assert everywhere.pixels == 40 * 28 + 200
    assert on_test.pixels == 40 * 16
    assert on_test.share == on_test.per_class["forest"] == pytest.approx((cover[:, :16] == 1).mean())
    assert on_test.per_class["water"] is None
    assert compare_with_polygons(applied["cover"], names, polygons) == (everywhere, None)

    frame = geopandas.read_parquet(samples / "samples.parquet")
    frame.assign(split="train").to_parquet(samples / "samples.parquet")
    assert compare_with_polygons(applied["cover"], names, polygons, samples)[1] is None


def test_the_report_has_both_agreements_per_class(run_folder, scene, polygons, samples, tmp_path):
    load_script("apply").main(
        run_folder / "align/ms/model.safetensors",
        entry(scene, polygons=polygons),
        NO_SETTINGS,
        {"batch_size": 32, "precision": "float32"},
        1,
        cover=tmp_path / "apply/a.tif",
        summary=tmp_path / "apply/a.json",
        store=samples,
    )
    about = json.loads((tmp_path / "apply/a.json").read_text())
    view = map_view(tmp_path / "apply/a.json")
    assert view["has_test"]
    assert view["rows"][0]["test_agreement"] == percent(about["test_agreement"]["per_class"]["forest"])
    assert view["rows"][1]["test_agreement"] == "–"
    assert "of 640 pixels" in view["agreement"]
    assert "of 1,320 pixels" in view["agreement"]


def test_an_archive_is_made(run_folder, scene, tmp_path):
    load_script("apply").main(
        run_folder / "align/ms/model.safetensors",
        entry(scene, makes="archive", labels=None),
        NO_SETTINGS,
        {"batch_size": 32, "precision": "float32"},
        1,
        archive=tmp_path / "a.parquet",
    )
    assert len(geopandas.read_parquet(tmp_path / "a.parquet")) == 12


def test_polygons_elsewhere_are_refused(applied, polygons, tmp_path):
    far = geopandas.read_file(polygons["file"]).translate(1e6)
    geopandas.GeoDataFrame({"kind": ["woods", "lake"]}, geometry=far, crs="EPSG:32633").to_file(tmp_path / "far.gpkg")
    with pytest.raises(UserError, match=r"far\.gpkg: no polygon lies in the scene"):
        compare_with_polygons(applied["cover"], ("forest", "water"), {**polygons, "file": str(tmp_path / "far.gpkg")})


def test_entries_have_every_key_and_a_model():
    config = {**CONFIG, "apply": {"a": {"images": "x"}, "b": {"images": "y", "model": "patched", "makes": "archive"}}}
    assert applications(config)["a"] == {**DEFAULTS, "images": "x", "model": "ms-vit"}
    assert applications(config)["b"]["model"] == "demo-vit"
    assert (made_by(config, "map"), made_by(config, "archive")) == (["a"], ["b"])
    assert applications(CONFIG) == {}


def test_a_map_depends_on_nothing_that_its_model_does_not_tell():
    settings = apply_settings(CONFIG, "ms-vit")
    changed = {**CONFIG, "finetune": {"epochs": 9}, "align": {**CONFIG["align"], "learning_rate": 2.0}}
    changed["align"]["students"] = {**CONFIG["align"]["students"], "another": {}}
    assert apply_settings(changed, "ms-vit") == settings
    assert apply_settings({**CONFIG, "prompts": {"x": ["{}"]}}, "ms-vit") != settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "ms-vitt"}, "apply.a.model is 'ms-vitt'.*Did you mean 'ms-vit'"),
        ({"images": "no/where"}, "apply.a.images: no/where not found"),
        ({"labels": ["water"]}, "fewer than two different labels"),
        ({"makes": "archive", "scores": True}, "apply.a.scores applies to maps"),
        ({"window": 8, "stride": 9}, "apply.a.stride is 9, more than the window of 8"),
        ({"polygons": {"file": "no.gpkg", "class_field": "x"}}, "apply.a.polygons.file: no.gpkg not found"),
    ],
)
def test_a_wrong_entry_stops_the_run_before_it_starts(tmp_path, changes, message):
    import re

    path = write_raster(tmp_path / "x.tif", random_pixels(), BANDS)
    (fault,) = apply_faults({**CONFIG, "apply": {"a": {"images": str(path), **changes}}})
    assert re.search(message, fault)


def test_the_polygons_and_the_prompt_set_are_among_what_an_entry_depends_on(tmp_path):
    polygons = {"file": str(tmp_path / "known.gpkg"), "class_field": "kind"}
    entries = {"a": {"images": "x.tif", "polygons": polygons, "templates": "satellite"}, "b": {"images": "x.tif"}}
    applications = Applications(run_with({"apply": entries}))
    assert applications.users_files("a") == ["x.tif", polygons["file"]]
    assert applications.users_files("b") == ["x.tif"]
    assert applications.entry("a")["templates"] == read_yaml("prompts", "satellite")["templates"]
    assert applications.entry("b")["templates"] is None
