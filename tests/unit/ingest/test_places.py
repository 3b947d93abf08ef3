"""One place per sample: band files and modalities that lie elsewhere are refused, or resampled on request."""

import numpy as np
import pytest
import xarray
from own_files import CLASSES, LEFT, PLACE, SPLITS, TOP, noise, samples_of, write
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform

from bandbridge.base.errors import UserError
from bandbridge.ingest.places import Grid, difference, misplaced, on_grid, on_ground, same_system
from bandbridge.ingest.rasters import decode
from bandbridge.ingest.readers import reader

ZONE_33 = Grid("EPSG:32633", (10, 0, LEFT, 0, -10, TOP), 32, 32)
ESRI = (
    'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,'
    '298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],'
    'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
)


def ramp(place, height, width):
    """Values that say where they are: metres east and north of a corner, so that a pixel has one right value."""
    rows, cols = np.mgrid[0:height, 0:width] + 0.5
    x, y = place * (cols, rows)
    return (1000 + (x - LEFT) + 2 * (TOP - y))[None].astype("float32")


def band_table(own, moved, crs="EPSG:32633", **facts):
    """Nine samples with a coarse B04, of p4 alone at `moved`."""

    def write_bands(i):
        for band in ("B02", "B03"):
            write(own.files / f"p{i}_{band}.tif", ramp(PLACE, 32, 32) + i)
        place = moved if i == 4 else from_origin(LEFT, TOP, 20, 20)
        write(own.files / f"p{i}_B04.tif", ramp(place, 16, 16), transform=place, crs=crs if i == 4 else "EPSG:32633")

    return own.band_files(write_bands, **facts)


@pytest.mark.parametrize("metres", [5000, 20])
def test_a_band_file_that_lies_elsewhere_is_refused_with_both_extents(own, metres):
    own.store(band_table(own, from_origin(LEFT + metres, TOP, 20, 20)), 0.5)
    assert own.quarantine() == {
        "p4": f"against band B02, band B04 lies elsewhere: {LEFT + metres} {TOP - 320} {LEFT + 320 + metres} {TOP}, "
        f"expected {LEFT} {TOP - 320} {LEFT + 320} {TOP} (left, bottom, right, top); bring them to one place, or state "
        "other_grids: resample"
    }


def test_a_band_file_of_another_zone_is_refused(own):
    own.store(band_table(own, from_origin(LEFT, TOP, 20, 20), crs="EPSG:32632"), 0.5)
    (reason,) = own.quarantine().values()
    assert reason.startswith("against band B02, band B04 is in EPSG:32632, not in EPSG:32633; bring them to one place")


@pytest.mark.parametrize(
    ("turn", "first"),
    [
        (Affine.translation(0, 16) * Affine.scale(1, -1), (LEFT, TOP - 320)),
        (Affine.translation(16, 0) * Affine.scale(-1, 1), (LEFT + 320, TOP)),
        (Affine.translation(16, 0) * Affine.rotation(90), (LEFT + 320, TOP)),
    ],
)
def test_a_band_file_with_rows_or_columns_in_another_order_is_refused_or_resampled(own, turn, first):
    moved = from_origin(LEFT, TOP, 20, 20) * turn
    own.store(band_table(own, moved), 0.5)
    assert own.quarantine() == {
        "p4": f"against band B02, band B04 has rows or columns in another order: its first pixel begins at {first[0]} "
        f"{first[1]}, expected {LEFT} {TOP}; bring them to one place, or state other_grids: resample"
    }
    store = own.store(band_table(own, moved, options={"other_grids": "resample"}))
    inside = samples_of(store)["p4"][2, 1:-1, 1:-1]
    np.testing.assert_allclose(inside, ramp(PLACE, 32, 32)[0, 1:-1, 1:-1], atol=1e-2)


def test_half_a_pixel_and_another_spelling_of_the_system_are_one_place(own):
    own.store(band_table(own, from_origin(LEFT + 5, TOP, 20, 20), crs=CRS.from_wkt(ESRI)))
    assert own.quarantine() == {}


def test_band_files_are_resampled_on_request_and_lie_where_the_finest_does(own):
    moved = from_origin(LEFT - 50, TOP + 30, 20, 20)
    store = own.store(band_table(own, moved, options={"other_grids": "resample", "min_valid_share": 0.3}), 0.0)
    sample = samples_of(store)["p4"]
    opened = xarray.open_zarr(store.path, group="val").s2
    stored = opened[opened.id.values.tolist().index("p4")].values
    with_data = ~np.isnan(stored[2])
    # B04 ends 50 m west and 30 m north of the others.
    assert with_data[:28, :26].all()
    assert not with_data[:, 28:].any()
    np.testing.assert_allclose(stored[2][2:26, :24], stored[0][2:26, :24] - 4, atol=0.6)
    assert np.isfinite(sample).all()


# --- pairs ---------------------------------------------------------------------------------------------------------

BOTH = {
    "s2": {
        "sensor": "sentinel-2",
        "bands": ["B02", "B03", "B04"],
        "composite": {"bands": ["B04", "B03", "B02"], "divisor": 2000},
    },
    "s1": {"sensor": "sentinel-1", "bands": ["VV", "VH"]},
}


def pairs(own, place=PLACE, crs="EPSG:32633", options=None, lat=False, sides=(32, 32)):
    """Nine pairs, the radar of p3 at `place`."""
    rows = []
    for i in range(9):
        write(own.files / f"s2/p{i}.tif", noise(3, 32, 32, seed=i))
        other = i == 3
        facts = {"transform": place, "crs": crs} if other else {}
        radar = np.repeat(ramp(place if other else PLACE, *(sides if other else (32, 32))), 2, axis=0) / 1000 - 30
        write(own.files / f"s1/p{i}.tif", radar.astype("float32"), **facts)
        row = {"id": f"p{i}", "s2": f"s2/p{i}.tif", "s1": f"s1/p{i}.tif", "cover": CLASSES[i % 3]}
        rows.append({**row, "part": SPLITS[i // 3], **({"lat": "52", "lon": "15"} if lat else {})})
    columns = {"lat": "lat", "lon": "lon"} if lat else {}
    options = {"path": {"s2": "s2", "s1": "s1"}, **columns, **(options or {})}
    return own.table(rows, modalities=BOTH, options=options)


@pytest.mark.parametrize("lat", [False, True], ids=["files", "places in the table"])
def test_a_pair_that_lies_elsewhere_is_refused_with_both_extents(own, lat):
    dataset = pairs(own, from_origin(LEFT + 100_000, TOP, 10, 10), lat=lat)
    with pytest.raises(UserError, match=r"1  s1: lies elsewhere: 600000 5799680 600320 5800000, expected 500000 57996"):
        own.store(dataset)


def test_a_pair_in_another_zone_is_refused(own):
    with pytest.raises(UserError, match=r"1  s1: is in EPSG:32632, not in EPSG:32633; bring both to one place"):
        own.store(pairs(own, crs="EPSG:32632"))


def test_a_coarser_grid_of_the_same_ground_is_a_pair(own):
    dataset = pairs(own, from_origin(LEFT, TOP, 20, 20), sides=(16, 16))
    own.store(dataset, 0.5)
    assert list(own.quarantine().values()) == ["s1: is 2 x 16 x 16 float32, most are 2 x 32 x 32 float32"]


def test_a_pair_is_resampled_to_the_first_modalitys_place_on_request(own):
    place = from_origin(LEFT - 100, TOP + 100, 10, 10)
    options = {"other_grids": "resample", "min_valid_share": 0.3}
    store = own.store(pairs(own, place, options=options, sides=(64, 64)))
    opened = xarray.open_zarr(store.path, group="val").s1
    moved, other = (opened[opened.id.values.tolist().index(name)].values for name in ("p3", "p4"))
    # All of it is covered, so that it holds what the others hold at their place.
    np.testing.assert_allclose(moved, other, atol=0.02)


def test_a_pair_of_another_zone_is_resampled_on_request(own):
    # The same ground as seen from the next zone: near 15 degrees east, 6 degrees from its own meridian.
    (x,), (y,) = transform("EPSG:32633", "EPSG:32632", [LEFT + 160], [TOP - 160])
    place = from_origin(x - 640, y + 640, 10, 10)
    options = {"other_grids": "resample"}
    store = own.store(pairs(own, place, crs="EPSG:32632", options=options, sides=(128, 128)))
    assert len(samples_of(store)) == 9
    assert own.quarantine() == {}


def test_a_value_that_is_no_number_in_a_pair_is_recorded(own):
    dataset = pairs(own)
    radar = np.repeat(ramp(PLACE, 32, 32), 2, axis=0) / 1000 - 30
    radar[0, 0, 0] = np.nan
    write(own.files / "s1/p4.tif", radar.astype("float32"))
    store = own.store(dataset)
    shares = xarray.open_zarr(store.path, group="val").valid_share_s1.values
    assert sorted(shares.tolist()) == [1 - 1 / 1024, 1, 1]


# --- scenes --------------------------------------------------------------------------------------------------------


def scene(own, place=PLACE):
    for band in ("B02", "B03"):
        write(own.files / f"{band}.tif", ramp(PLACE, 192, 192))
    write(own.files / "B04.tif", ramp(place, 192, 192), transform=place)


def test_a_scenes_band_that_lies_elsewhere_is_refused_or_resampled(own):
    moved = from_origin(LEFT + 300, TOP, 10, 10)
    scene(own, moved)
    dataset = own.scene()
    with pytest.raises(UserError, match=r"band B04 covers 500300 .* cut them to one extent, or state other_grids"):
        reader(dataset).plan(dataset, own.files)
    dataset = own.scene(options={"other_grids": "resample", "blocks": ["tttve"], "block": 32})
    planned = reader(dataset).plan(dataset, own.files)
    samples = list(reader(dataset).read(dataset, own.files, "s2", {sample.id for sample in planned}))
    assert len(samples) == len(planned) > 0
    for sample in samples:
        assert int(sample.id.split("_")[-1]) >= 30
        np.testing.assert_allclose(sample.pixels[2][sample.valid[2]], sample.pixels[0][sample.valid[2]], atol=0.01)


def test_a_scenes_band_may_spell_its_system_otherwise(own):
    scene(own)
    write(own.files / "B04.tif", ramp(PLACE, 192, 192), crs=CRS.from_wkt(ESRI))
    dataset = own.scene()
    assert len(reader(dataset).plan(dataset, own.files)) == 144


def test_a_scenes_samples_know_their_grid(own):
    scene(own)
    dataset = own.scene()
    sample = next(iter(reader(dataset).read(dataset, own.files, "s2", {"mine_0016_0032"})))
    assert sample.grid == Grid("EPSG:32633", (10, 0, LEFT + 320, 0, -10, TOP - 160), 16, 16)


# --- grids ---------------------------------------------------------------------------------------------------------


def test_systems_are_one_however_they_are_written():
    assert same_system("EPSG:32633", ESRI)
    assert not same_system("EPSG:32633", "EPSG:32632")


def with_points(path, x_and_y):
    """A file with ground control points in its corners in place of a transform, as by `gdal_translate -gcp`."""
    corners = [(row, col) for row in (0, 16) for col in (0, 16)]
    points = [GroundControlPoint(row, col, *x_and_y(row, col)) for row, col in corners]
    write(path, noise(3, 16, 16), transform=None, gcps=points)
    return decode(path.read_bytes())


@pytest.mark.parametrize("degrees", [0, 17])
def test_ground_control_points_of_a_grid_are_a_place(tmp_path, degrees):
    place = PLACE * Affine.rotation(degrees)
    grid = with_points(tmp_path / "a.tif", lambda row, col: place * (col, row)).grid
    assert grid.crs == "EPSG:32633"
    np.testing.assert_allclose(grid.transform, tuple(place)[:6], atol=1e-3)


def test_points_that_no_grid_has_are_none(tmp_path):
    raster = with_points(tmp_path / "a.tif", lambda row, col: (LEFT + 10 * col + row * col, TOP - 10 * row))
    assert (raster.grid, raster.centre) == (None, None)


def test_files_without_a_place_are_not_compared():
    assert misplaced({"a": None, "b": ZONE_33}) is None
    assert difference(ZONE_33, ZONE_33, 0) is None


def test_a_grid_of_the_same_ground_in_other_pixels():
    coarse = ZONE_33.resized(16, 8)
    assert coarse.bounds == ZONE_33.bounds
    assert on_ground(ZONE_33, Grid("EPSG:32632", (20, 0, 0, 0, -20, 0), 5, 5)) == ZONE_33.resized(16, 16)


def test_resampling_to_the_same_grid_changes_nothing():
    pixels = noise(2, 32, 32)
    values, with_data = on_grid(pixels, None, ZONE_33, ZONE_33, "bilinear")
    np.testing.assert_array_equal(values, pixels)
    assert with_data.all()


def test_samples_in_a_local_system_have_no_place(own):
    """As of scanned plans and drone images without control points."""
    own.images(crs='LOCAL_CS["site",UNIT["metre",1]]')
    assert len(samples_of(own.store(own.folder()))) == 9


@pytest.mark.parametrize("exchanged", [False, True])
def test_latitudes_and_longitudes_that_are_exchanged_are_said(own, exchanged, capsys):
    place = dict(zip(("lat", "lon"), (15.0, 52.35) if exchanged else (52.35, 15.0), strict=True))
    for i in range(9):
        write(own.files / f"p{i}.tif", noise(4, 16, 16, seed=i))
    rows = [
        {"id": f"p{i}", "path": f"p{i}.tif", "cover": CLASSES[i % 3], "part": SPLITS[i // 3], **place} for i in range(9)
    ]
    notes = own.store(own.table(rows, options={"lat": "lat", "lon": "lon"})).notes
    expected = (
        "mine: Of 9 samples examined, 9 lie more than 1 degree from where their files do, the first at latitude 15 "
    )
    assert [note.startswith(expected) for note in notes] == [True] * exchanged
    assert ("may be exchanged" in capsys.readouterr().err) == exchanged
