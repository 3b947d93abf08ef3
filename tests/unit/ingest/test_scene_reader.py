"""Scenes on a real crop of the demo scene: bands, polygons, and how samples are divided."""

import dataclasses
import shutil
import zipfile
from itertools import product
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.warp import reproject
from reading import read_all
from shapely.geometry import box

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature
from bandbridge.catalogue.option_models import SceneOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.ingest.readers import reader
from bandbridge.ingest.readers.polygon_labels import Grid, label_map
from bandbridge.ingest.readers.polygons import read_polygons
from bandbridge.ingest.readers.scene import block_split, choose_windows, read_bands, read_grid

CROP = Path(__file__).parents[2] / "data" / "scene_crop"
CLASSES = load_nomenclature("osm-landuse-8").classes
BANDS = load_dataset("demo_scene").primary.bands
OPTIONS = {
    "archive": str(CROP),
    "polygons": "*.gpkg",
    "size": 32,
    "stride": 16,
    "labelled_share": 0.3,
    "label_share": 0.05,
    "resampling": "bilinear",
    "block": 96,
    "blocks": ["etet", "ettt", "vvtv"],
}
# Ten squares of ten metres a side, north up, in UTM zone 33.
SMALL = Grid(10, 10, from_origin(330_000, 5_820_000, 10, 10), rasterio.CRS.from_epsg(32633))


STRIDES = st.integers(1, 9)


def crop(**options):
    return load_dataset("demo_scene", OPTIONS | options)


@pytest.fixture(scope="module")
def whole():
    return read_all(crop(), CROP)


@pytest.fixture(scope="module")
def samples(whole):
    return list(whole[1].values())


def plan(**options):
    dataset = crop(**options)
    return reader(dataset).plan(dataset, CROP)


@pytest.fixture(scope="module")
def bands():
    return read_bands(CROP, "*_{band}.jp2", BANDS, "bilinear")


@pytest.fixture(scope="module")
def polygons():
    return read_polygons(CROP, "*.gpkg")


@pytest.fixture(scope="module")
def labels(bands, polygons):
    return label_map(polygons, "fclass", {}, CLASSES, bands[1])


@pytest.fixture
def copy(tmp_path):
    """The crop in a folder that a test may change."""
    return Path(shutil.copytree(CROP, tmp_path / "crop"))


def raster_of(band):
    return rasterio.open(next(CROP.glob(f"*_{band}.jp2")))


# --- samples -------------------------------------------------------------------------------------------------------


def test_every_planned_sample_is_read(whole):
    splits, items = whole
    assert items.keys() == splits.keys()
    assert set(splits.values()) == {"train", "val", "test"}


def test_a_sample_is_a_window_of_all_bands_with_its_place(samples, bands):
    first = samples[0]
    assert first.date == "2017-02-16"
    name, row, col = first.id.rsplit("_", 2)
    assert name == "demo_scene"
    row, col = int(row), int(col)
    np.testing.assert_array_equal(first.pixels, bands[0][:, row : row + 32, col : col + 32])
    assert first.pixels.dtype == np.uint16
    centre = geopandas.GeoSeries.from_xy([first.lon], [first.lat], crs=4326).to_crs(bands[1].crs)[0]
    expected = (bands[1].transform.c + 10 * (col + 16), bands[1].transform.f - 10 * (row + 16))
    assert (centre.x, centre.y) == pytest.approx(expected, abs=0.01)


def test_ids_are_unique_and_fit_larger_scenes(samples):
    assert len({sample.id for sample in samples}) == len(samples)
    assert all(len(part) == 4 for sample in samples for part in sample.id.split("_")[2:])


def test_labels_are_the_classes_above_the_share(samples, labels):
    for sample in samples:
        row, col = (int(part) for part in sample.id.split("_")[2:])
        shares = [(labels[row : row + 32, col : col + 32] == index + 1).mean() for index in range(len(CLASSES))]
        assert sum(shares) >= 0.3
        assert sample.labels == tuple(name for name, share in zip(CLASSES, shares, strict=True) if share >= 0.05)


def test_only_the_wanted_samples_are_read(samples):
    dataset, chosen = crop(), [samples[3], samples[7]]
    again = list(reader(dataset).read(dataset, CROP, "s2", {sample.id for sample in chosen}))
    assert [sample.id for sample in again] == [sample.id for sample in chosen]
    for one, two in zip(again, chosen, strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)


def test_a_plan_reads_no_pixels(copy):
    """A band whose pixels are cut off can be planned with: its header is whole."""
    path = next(copy.glob("*_B08.jp2"))
    path.write_bytes(path.read_bytes()[:5000])
    dataset = crop(archive=str(copy))
    assert len(reader(dataset).plan(dataset, copy)) == len(plan())
    with pytest.raises(UserError, match=r"_B08.jp2 cannot be read as a raster"):
        read_all(dataset, copy)


def test_what_was_left_out_is_told_with_the_reason(capsys):
    planned = plan(labelled_share=0.9)
    printed = capsys.readouterr().err
    assert f"{len(planned)} samples of 391 places" in printed
    assert "left out: labelled on less than 0.9 of the area" in printed
    assert "left out: not inside blocks of one split" in printed


def test_a_zip_and_a_folder_give_the_same_samples(samples, tmp_path):
    with zipfile.ZipFile(tmp_path / "crop.zip", "w") as archive:
        for file in CROP.iterdir():
            archive.write(file, f"some/folder/{file.name}")
    zipped = list(read_all(crop(archive=str(tmp_path / "crop.zip")), tmp_path)[1].values())
    assert [sample.id for sample in zipped] == [sample.id for sample in samples]
    assert all((one.pixels == two.pixels).all() for one, two in zip(zipped, samples, strict=True))
    assert all(one.labels == two.labels for one, two in zip(zipped, samples, strict=True))


@pytest.mark.slow
@given(
    shape=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    size=st.integers(1, 12),
    stride=STRIDES | st.fixed_dictionaries(dict.fromkeys(("train", "val", "test"), STRIDES)),
    kind=st.sampled_from(["single", "multi"]),
    block=st.integers(1, 30),
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.text("tve.", min_size=width, max_size=width), min_size=1, max_size=4)
    ),
)
@settings(max_examples=60)
def test_no_pixel_is_shared_between_splits(shape, size, stride, kind, block, rows):
    options = SceneOptions(polygons="x", class_field="y", size=size, stride=stride, block=block, blocks=list(rows))
    owner = np.full(shape, "", dtype="<U5")
    for window in choose_windows(np.ones(shape, np.uint16), 1, options, kind)[0]:
        place = owner[window.row : window.row + size, window.col : window.col + size]
        assert place.shape == (size, size)
        assert np.isin(place, ["", window.split]).all()
        place[:] = window.split


def test_each_sample_that_fits_a_block_is_found():
    options = SceneOptions(polygons="x", class_field="y", size=4, stride=2, block=8, blocks=["t.", "ve"])
    windows, left_out = choose_windows(np.ones((16, 16), np.uint16), 1, options, "multi")
    assert left_out == {"not inside blocks of one split": 49 - len(windows)}
    assert {window.split for window in windows} == {"train", "val", "test"}
    assert [(window.row, window.col) for window in windows if window.split == "train"] == [
        (row, col) for row in (0, 2, 4) for col in (0, 2, 4)
    ]


def test_each_split_has_samples_at_its_own_stride():
    strides = {"train": 2, "val": 4, "test": 3}
    options = SceneOptions(polygons="x", class_field="y", size=4, stride=strides, block=8, blocks=["tv", "e."])
    windows, left_out = choose_windows(np.ones((16, 16), np.uint16), 1, options, "multi")
    places = {split: [(w.row, w.col) for w in windows if w.split == split] for split in strides}
    assert places == {
        "train": list(product((0, 2, 4), (0, 2, 4))),
        "val": list(product((0, 4), (8, 12))),
        "test": list(product((9, 12), (0, 3))),
    }
    # Of the places that two of the grids share, each is one.
    unused = {place for stride in (2, 3, 4) for place in product(range(0, 13, stride), repeat=2)}
    inside = {(row, col) for row, col in unused if block_split(row, col, options)}
    assert left_out == {"not inside blocks of one split": len(unused - inside)}


# --- one class per sample ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        ([1, 1, 1, 2], (0,)),
        ([0, 2, 2, 2], (1,)),
        ([1, 1, 2, 2], "no class on 0.6 of the area"),
        ([0, 0, 1, 1], "no class on 0.6 of the area"),
        ([3, 3, 3, 1], "a class left out on 0.6 of the area"),
        ([3, 3, 1, 0], "no class on 0.6 of the area"),
    ],
)
def test_a_sample_has_the_class_that_dominates_it_or_is_none(pixels, found):
    """Quarters of a sample: 1 and 2 are its classes, 3 is left out."""
    options = SceneOptions(
        polygons="{band}", class_field="x", size=4, stride=4, block=4, blocks=["t"], dominant_share=0.6
    )
    area = np.repeat(np.array(pixels, np.uint16), 4).reshape(4, 4)
    windows, left_out = choose_windows(area, 2, options, "single")
    assert [window.classes for window in windows] == ([found] if isinstance(found, tuple) else [])
    assert left_out == ({} if isinstance(found, tuple) else {found: 1})


def test_a_class_on_exactly_the_share_dominates():
    options = SceneOptions(
        polygons="{band}", class_field="x", size=4, stride=4, block=4, blocks=["t"], dominant_share=0.75
    )
    area = np.repeat(np.array([1, 1, 2, 1], np.uint16), 4).reshape(4, 4)
    assert choose_windows(area, 2, options, "single")[0][0].classes == (0,)


LAND_COVER = {name: OPTIONS[name] for name in ("archive", "polygons", "resampling", "block", "blocks")}


def test_the_land_cover_of_a_scene_is_its_polygons_joined_and_left_out(polygons, bands, capsys):
    dataset = load_dataset("demo_land_cover", LAND_COVER | {"stride": 8})
    splits, items = read_all(dataset, CROP)
    printed = capsys.readouterr().err
    assert "left out: a class left out on 0.6 of the area" in printed
    names = load_nomenclature("demo-land-cover-5").classes
    joined = dataset.options["class_map"]
    labels = label_map(polygons, "fclass", joined, names, bands[1])
    assert len(items) == len(splits) > 100
    for sample in items.values():
        row, col = (int(part) for part in sample.id.split("_")[-2:])
        area = labels[row : row + 16, col : col + 16]
        assert sample.pixels.shape == (len(BANDS), 16, 16)
        (label,) = sample.labels
        assert (area == names.index(label) + 1).mean() >= 0.6
    assert {sample.labels[0] for sample in items.values()} <= set(names)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        (
            "demo_land_cover",
            "label_share",
            "label_share belongs to labels of kind multi, and labels.kind is single; use ",
        ),
        ("demo_scene", "dominant_share", "dominant_share belongs to labels of kind single, and labels.kind is multi"),
    ],
)
def test_an_option_of_the_other_kind_of_labels_is_refused(name, option, message):
    dataset = load_dataset(name, {option: 0.6, "archive": str(CROP)})
    with pytest.raises(UserError, match=message):
        reader(dataset).plan(dataset, CROP)


# --- bands ---------------------------------------------------------------------------------------------------------


def test_ten_metre_bands_are_as_rasterio_reads_them_from_the_file(bands):
    for band in ("B02", "B08"):
        with raster_of(band) as raster:
            np.testing.assert_array_equal(bands[0][BANDS.index(band)], raster.read(1))
            assert (bands[1].transform, bands[1].crs) == (raster.transform, raster.crs)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("band", ["B05", "B01"])
def test_coarser_bands_are_resampled_as_rasterio_warps_them(band, method):
    pixels, grid = read_bands(CROP, "*_{band}.jp2", ["B04", band], method)
    warped = np.zeros((grid.height, grid.width), np.uint16)
    with raster_of(band) as raster:
        georeference = {"src_transform": raster.transform, "src_crs": raster.crs}
        georeference |= {"dst_transform": grid.transform, "dst_crs": grid.crs}
        reproject(raster.read(1), warped, **georeference, resampling=Resampling[method])
    np.testing.assert_array_equal(pixels[1], warped)


def test_the_grid_is_known_without_the_pixels(bands):
    assert read_grid(CROP, "*_{band}.jp2", BANDS) == bands[1]


def test_nearest_keeps_the_delivered_values():
    pixels, _ = read_bands(CROP, "*_{band}.jp2", ["B04", "B09"], "nearest")
    with raster_of("B09") as raster:
        np.testing.assert_array_equal(pixels[1, 3::6, 3::6], raster.read(1))


def test_an_absent_band_is_named():
    with pytest.raises(UserError, match=r"the pattern '\*_B13.jp2' finds no file, expected exactly one"):
        read_bands(CROP, "*_{band}.jp2", ["B04", "B13"], "nearest")


def test_a_band_found_twice_is_named(copy):
    shutil.copy(next(copy.glob("*_B04.jp2")), copy / "other_B04.jp2")
    with pytest.raises(UserError, match=r"the pattern '\*_B04.jp2' finds 2 files \(.*other_B04.jp2\)"):
        read_bands(copy, "*_{band}.jp2", ["B04"], "nearest")


def test_a_band_in_another_reference_system_is_refused(copy):
    with raster_of("B05") as raster:
        profile, pixels = {**raster.profile, "driver": "GTiff", "crs": "EPSG:32632"}, raster.read()
    next(copy.glob("*_B05.jp2")).unlink()
    with rasterio.open(copy / "other_B05.jp2", "w", **profile) as raster:
        raster.write(pixels)
    with pytest.raises(UserError, match="band B05 is in EPSG:32632, B04 in EPSG:32633"):
        read_bands(copy, "*_{band}.jp2", ["B04", "B05"], "nearest")


# --- polygons ------------------------------------------------------------------------------------------------------


def test_area_shares_are_those_of_the_polygons(polygons, labels, bands):
    grid = bands[1]
    ordered = polygons.iloc[np.argsort(polygons.area.to_numpy(), kind="stable")]
    visible, covered = [], None
    for geometry in ordered.geometry:  # what smaller polygons leave of each
        visible.append(geometry if covered is None else geometry.difference(covered))
        covered = geometry if covered is None else covered.union(geometry)
    visible = geopandas.GeoSeries(visible, index=ordered.index)
    for row, col in ((0, 0), (64, 128), (160, 256), (224, 320)):
        window = labels[row : row + 64, col : col + 64]
        clipped = visible.intersection(area(grid, col, row, col + 64, row + 64)).area / 640**2
        for index, name in enumerate(CLASSES):
            expected = clipped[ordered.fclass == name].sum()
            assert (window == index + 1).mean() == pytest.approx(expected, abs=0.005)


def area(grid, left, top, right, bottom):
    """A rectangle of ten-metre pixels as a polygon."""
    west, north = grid.transform.c, grid.transform.f
    return box(west + 10 * left, north - 10 * bottom, west + 10 * right, north - 10 * top)


def squares(*places, field="fclass", crs=32633):
    """Polygons from (class, left, top, right, bottom) in pixels of the small grid."""
    geometries = [area(SMALL, *corners) for _, *corners in places]
    frame = geopandas.GeoDataFrame({field: [place[0] for place in places]}, geometry=geometries, crs=32633)
    return frame.to_crs(crs)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_smaller_of_overlapping_polygons_counts(order):
    places = [("meadow", 0, 0, 8, 8), ("water", 2, 2, 4, 4)]
    burnt = label_map(squares(*(places[at] for at in order)), "fclass", {}, CLASSES, SMALL)
    assert (burnt == CLASSES.index("water") + 1).sum() == 4
    assert (burnt == CLASSES.index("meadow") + 1).sum() == 60
    assert (burnt == 0).sum() == 36


def test_the_later_of_equal_overlapping_polygons_counts():
    burnt = label_map(squares(("meadow", 0, 0, 4, 4), ("water", 0, 0, 4, 4)), "fclass", {}, CLASSES, SMALL)
    assert (burnt == CLASSES.index("water") + 1).sum() == 16


def test_polygons_are_brought_to_the_rasters_reference_system():
    places = [("forest", 1, 2, 7, 9)]
    reprojected, here = (label_map(squares(*places, crs=crs), "fclass", {}, CLASSES, SMALL) for crs in (4326, 32633))
    np.testing.assert_array_equal(reprojected, here)
    assert (here[2:9, 1:7] == CLASSES.index("forest") + 1).all()


def test_values_outside_the_nomenclature_are_listed():
    frame = squares(("meadow", 0, 0, 1, 1), ("heath", 1, 1, 2, 2), ("heath", 2, 2, 3, 3), ("allotments", 3, 3, 4, 4))
    with pytest.raises(UserError, match=r"no class of the nomenclature: allotments \(1\), heath \(2\); its classes"):
        label_map(frame, "fclass", {}, CLASSES, SMALL)


def test_a_class_map_translates_and_leaves_out(capsys):
    frame = squares((7, 0, 0, 2, 2), (8, 4, 4, 6, 6), (9, 0, 8, 1, 9), field="code")
    burnt = label_map(frame, "code", {7: "forest", "8": None, "9": "water"}, CLASSES, SMALL)
    assert dict(zip(*np.unique(burnt, return_counts=True), strict=True)) == {
        0: 91,
        len(CLASSES) + 1: 4,
        CLASSES.index("forest") + 1: 4,
        CLASSES.index("water") + 1: 1,
    }
    assert "of 3 polygons 1 have a class mapped to null" in capsys.readouterr().err


def test_a_polygon_left_out_lies_beneath_all_others_whatever_its_size():
    frame = squares(("wetland", 0, 0, 2, 2), ("meadow", 0, 0, 5, 5), ("wetland", 4, 4, 8, 8))
    burnt = label_map(frame, "fclass", {"wetland": None}, ["meadow"], SMALL)
    assert (burnt[:5, :5] == 1).all()
    assert (burnt == 2).sum() == 15
    assert (burnt == 0).sum() == 100 - 25 - 15


def test_polygons_without_a_value_are_counted(capsys):
    burnt = label_map(squares((None, 0, 0, 5, 5), ("water", 0, 0, 1, 1)), "fclass", {}, CLASSES, SMALL)
    assert (burnt > 0).sum() == 1
    assert "of 2 polygons 1 have no class" in capsys.readouterr().err


def test_an_absent_class_field_is_explained():
    message = r"demo_scene, polygons '\*.gpkg': class_field is 'fclas', the polygons have: .* Did you mean 'fclass'"
    with pytest.raises(UserError, match=message):
        plan(class_field="fclas")


def test_polygons_without_a_reference_system_are_refused():
    frame = squares(("water", 0, 0, 1, 1)).set_crs(None, allow_override=True)
    with pytest.raises(UserError, match="state no reference system"):
        label_map(frame, "fclass", {}, CLASSES, SMALL)


def test_a_shapefile_is_read_with_its_side_files(polygons, tmp_path):
    (tmp_path / "land").mkdir()
    polygons.to_file(tmp_path / "land" / "use.shp")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "land")
    frame = read_polygons(tmp_path / "packed.zip", "*.shp")
    assert frame.fclass.tolist() == polygons.fclass.tolist()
    assert frame.crs == polygons.crs


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": 32}, r"options of demo_scene: sizes is not an option of .* Did you mean 'size'"),
        ({"size": 0}, "size is 0; expected at least 1"),
        ({"stride": 1.5}, "stride is 1.5; expected a whole number or a mapping"),
        ({"stride": {"train": 8, "val": 0, "test": 8}}, "stride.val is 0; expected at least 1"),
        ({"stride": {"train": 8, "test": 8}}, "expected a whole number, or one for each of train, val, test"),
        ({"label_share": 5}, "label_share is 5; expected at most 1"),
        ({"resampling": "linear"}, "'linear'; allowed: nearest, bilinear, cubic. Did you mean 'bilinear'"),
        ({"blocks": ["tv", "e"]}, r"blocks is \['tv', 'e'\], expected rows of equal length"),
        ({"blocks": ["tx"]}, "made of t, v, e"),
        ({"rasters": "*.jp2"}, "finds 13 files .* write {band} in place of the band's name"),
        ({"class_field": None}, "class_field is missing"),
        ({"acquired": "last summer"}, "expected a date like 2017-02-16"),
    ],
)
def test_wrong_options_are_explained(changes, message):
    with pytest.raises(UserError, match=message):
        plan(**changes)


def test_a_share_that_two_classes_could_have_is_no_dominant_one():
    with pytest.raises(UserError, match=r"dominant_share is 0.5, expected more than 0.5, up to 1"):
        parse_options(SceneOptions, load_dataset("demo_land_cover", {"dominant_share": 0.5}))


def test_an_unknown_reader_is_explained():
    with pytest.raises(UserError, match=r"reader is 'scenes'; there are: .* Did you mean 'scene'"):
        reader(dataclasses.replace(crop(), reader="scenes"))


@pytest.mark.parametrize(("name", "kind"), [("demo_scene", "scene"), ("eurosat_100", "folder")])
def test_a_second_modality_is_refused(name, kind):
    dataset = load_dataset(name, {"archive": str(CROP)})
    twice = dataclasses.replace(dataset, modalities=dataset.modalities * 2)
    with pytest.raises(UserError, match=f"the {kind} reader reads one modality, not s2, s2; use the table reader"):
        reader(twice).plan(twice, CROP)
