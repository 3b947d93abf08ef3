"""Where pictures and rasters lie by what is beside them: notes, world files, reference systems in .prj files."""

import shutil

import numpy as np
import pytest
import rasterio
from own_files import LEFT, PLACE, TOP, noise, samples_of, write
from own_scenes import write_raster
from PIL import Image
from pyproj import CRS
from rasterio import Affine

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.rasters import RasterError
from bandbridge.ingest.readers.images import read_image
from bandbridge.ingest.readers.scene import read_bands, read_scene
from bandbridge.ingest.side_files import side_files_of

RGB = Modality("rgb", None, None, ("red", "green", "blue"))
UTM = CRS("EPSG:32633")
WORLD = f"10.0\n0.0\n0.0\n-10.0\n{LEFT + 5}\n{TOP - 5}\n"
NOTED_SYSTEM = f"<PAMDataset><SRS>{UTM.to_wkt('WKT1_GDAL').replace('&', '&amp;')}</SRS></PAMDataset>"
OF_ARCGIS = (
    '<PAMDataset><Metadata domain="xml:ESRI" format="xml"><GeodataXform><SpatialReference>'
    f"<WKT>{UTM.to_wkt('WKT1_ESRI')}</WKT></SpatialReference></GeodataXform></Metadata></PAMDataset>"
)
NOTED = NOTED_SYSTEM.replace("</SRS>", f"</SRS><GeoTransform>{LEFT}, 10, 0, {TOP}, 0, -10</GeoTransform>")
PRJ = UTM.to_wkt("WKT1_ESRI")


def picture(path, beside, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(1, 255, (16, 16, 3)).astype(np.uint8)).save(path)
    for name, text in beside.items():
        (path.parent / name).write_text(text)


def grid_of_picture(path):
    return read_image(path.read_bytes(), RGB, beside=side_files_of(path.parent, path.name.__eq__).get(path.name)).grid


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize(
    "beside",
    [
        {".{ending}.aux.xml": NOTED},
        {".{world}": WORLD, ".{ending}.aux.xml": NOTED_SYSTEM},
        {".wld": WORLD, ".{ending}.aux.xml": NOTED_SYSTEM},
    ],
    ids=["notes", "world file and noted system", "wld"],
)
def test_a_picture_lies_where_gdal_says_that_it_does(tmp_path, ending, beside):
    kinds = {"ending": ending, "world": {"png": "pgw", "jpg": "jgw", "tif": "tfw"}[ending]}
    path = tmp_path / f"a.{ending}"
    picture(path, {f"a{name.format(**kinds)}": text for name, text in beside.items()})
    with rasterio.open(path) as file:
        expected = file.crs, file.transform
    assert expected == (UTM, PLACE)
    grid = grid_of_picture(path)
    assert (grid.crs, grid.affine, grid.height, grid.width) == ("EPSG:32633", PLACE, 16, 16)


@pytest.mark.parametrize(
    ("file", "beside"),
    [
        ("a.png", {"a.pgw": WORLD, "a.prj": PRJ}),
        ("a.PNG", {"a.PGW": WORLD, "a.PRJ": PRJ}),
        ("a.jpeg", {"a.jgw": WORLD.replace(".", ","), "a.jpeg.aux.xml": OF_ARCGIS}),
        ("a.jpg", {"a.jpgw": "\ufeff" + WORLD, "a.prj": "EPSG:32633"}),
        ("a.tiff", {"a.tfw": WORLD.replace("\n", "\r\n"), "a.prj": PRJ}),
        ("a.bmp", {"a.bpw": WORLD, "a.prj": PRJ}),
        ("a.png", {"a.png.wld": WORLD, "a.png.prj": PRJ}),
    ],
)
def test_places_are_found_under_the_names_that_programs_write(tmp_path, file, beside):
    picture(tmp_path / file, beside)
    grid = grid_of_picture(tmp_path / file)
    assert (grid.crs, grid.affine) == ("EPSG:32633", PLACE)


@pytest.mark.parametrize("beside", [{"a.pgw": WORLD}, {"a.prj": PRJ}, {"a.jgw": WORLD, "a.prj": PRJ}, {"b.pgw": WORLD}])
def test_half_a_place_is_none(tmp_path, beside):
    picture(tmp_path / "a.png", beside)
    assert grid_of_picture(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"a.pgw": "10 0 0"}, "has a world file beside it that holds '10 0 0', expected 6 numbers; remove it"),
        ({"a.pgw": "0 0 0 0 5 5"}, "has a world file beside it"),
        ({"a.pgw": WORLD, "a.prj": "here"}, r"has a \.prj file beside it that holds no reference system; remove it"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, beside, message):
    picture(tmp_path / "a.png", beside)
    with pytest.raises(RasterError, match=message):
        grid_of_picture(tmp_path / "a.png")


def test_rotated_world_files_keep_their_rotation(tmp_path):
    place = Affine(8, 6, LEFT, 6, -8, TOP)
    x, y = place * (0.5, 0.5)
    picture(tmp_path / "a.png", {"a.pgw": f"8 6 6 -8 {x} {y}", "a.prj": PRJ})
    assert grid_of_picture(tmp_path / "a.png").affine.almost_equals(place)


@pytest.mark.parametrize("kind", ["", "zip", "tar"])
def test_pictures_with_places_are_drawn_by_blocks(own, kind):
    for number in range(8):
        world = WORLD.replace(str(LEFT + 5), str(LEFT + 5 + 20_000 * number))
        cover = ("forest", "maize")[number % 2]
        picture(own.files / cover / f"p{number}.png", {f"p{number}.pgw": world, f"p{number}.prj": PRJ}, number)
    archive = {"archive": shutil.make_archive(str(own.root / "packed"), kind, own.files)} if kind else {}
    rgb = {"rgb": {"bands": ["red", "green", "blue"]}}
    dataset = own.folder(modalities=rgb, options={"images": "*.png", "spatial_block": 5000, **archive})
    store = own.store(dataset)
    longitudes = np.concatenate([store.split(split).lon for split in store.splits])
    assert len(set(np.round(longitudes, 2))) == 8
    assert abs(longitudes.min() - 15) < 0.01


def test_values_of_no_data_beside_a_picture_count(tmp_path):
    pixels = np.full((16, 16), 7, np.uint8)
    pixels[:4] = 9
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    beside = side_files_of(tmp_path, "a.png".__eq__).get("a.png")
    image = read_image((tmp_path / "a.png").read_bytes(), RGB, beside=beside)
    assert image.valid.mean() == 0.75
    assert not image.valid[:4].any()


# --- scenes --------------------------------------------------------------------------------------------------------

BANDS = ("B02", "B03")


def band_picture(path, seed, beside):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = noise(1, 48, 48, "uint16", seed=seed)
    Image.fromarray(pixels[0]).save(path)
    for ending, text in beside.items():
        path.with_suffix(ending).write_text(text)
    return pixels[0]


@pytest.mark.parametrize("beside", [{".pgw": WORLD, ".prj": PRJ}, {".png.aux.xml": NOTED}], ids=["world", "notes"])
def test_a_scene_of_pictures_lies_where_the_files_beside_them_say(tmp_path, beside):
    expected = [band_picture(tmp_path / f"{band}.png", seed, beside) for seed, band in enumerate(BANDS)]
    values, grid = read_bands(tmp_path, "{band}.png", BANDS, "nearest")
    np.testing.assert_array_equal(values, expected)
    assert (grid.crs, grid.transform) == (UTM, PLACE)


def test_bands_that_lie_elsewhere_by_their_world_files_are_refused(tmp_path):
    moved = WORLD.replace(str(LEFT + 5), str(LEFT + 5005))
    for band, world in zip(BANDS, (WORLD, moved), strict=True):
        band_picture(tmp_path / f"{band}.png", 1, {".pgw": world, ".prj": PRJ})
    with pytest.raises(UserError, match=f"band B03 covers {LEFT + 5000} "):
        read_bands(tmp_path, "{band}.png", BANDS, "nearest")


def test_tiles_of_pictures_with_world_files_are_one_scene(tmp_path):
    """As surveys deliver orthophotos."""
    tiles = []
    for number in range(2):
        world = WORLD.replace(str(LEFT + 5), str(LEFT + 5 + 160 * number))
        picture(tmp_path / f"dop_{number}.png", {f"dop_{number}.pgw": world, f"dop_{number}.prj": PRJ}, number)
        tiles.append(np.asarray(Image.open(tmp_path / f"dop_{number}.png")).transpose(2, 0, 1))
    modality = Modality("photo", None, None, ("red", "green", "blue"))
    scene = read_scene(tmp_path, "dop_*.png", modality, "nearest")
    np.testing.assert_array_equal(scene.pixels, np.concatenate(tiles, axis=2))
    assert (scene.grid.height, scene.grid.width, scene.grid.transform) == (16, 32, PLACE)


def test_a_tiff_with_a_transform_alone_takes_the_system_beside_it(tmp_path):
    write_raster(tmp_path / "a.tif", noise(2, 48, 48), crs=None)
    (tmp_path / "a.prj").write_text(PRJ)
    assert read_bands(tmp_path, "a.tif", BANDS, "nearest")[1].crs == UTM


def test_samples_with_a_transform_alone_take_the_system_beside_them(own):
    for number, cover in enumerate(3 * ("forest", "maize", "water")):
        place = PLACE * Affine.translation(100 * number, 0)
        path = own.files / cover / f"{cover}_{number}.tif"
        write(path, noise(3, 16, 16, "uint16", seed=number), crs=None, transform=place)
        path.with_suffix(".prj").write_text(PRJ)
    store = own.store(own.folder(bands=("B02", "B03", "B04")))
    places = {}
    for split in store.splits:
        samples = store.split(split)
        places |= dict(zip(samples.ids.tolist(), zip(samples.lat, samples.lon, strict=True), strict=True))
    assert places["forest_0"] == pytest.approx((52.345, 15.001), abs=0.01)
    assert len({round(lon, 4) for _, lon in places.values()}) == 9


# --- bands: from-files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("form", ["notes beside a png", "notes beside a tif", "envi"])
def test_bands_are_those_that_stand_beside_the_files(own, form, packed):
    names = ["B4", "B3", "B2"]
    ending = {"notes beside a png": "png", "notes beside a tif": "tif", "envi": "img"}[form]
    for number, cover in enumerate(3 * ("forest", "maize", "water")):
        path = own.files / cover / f"{cover}_{number}.{ending}"
        driver = {"png": "PNG", "tif": "GTiff", "img": "ENVI"}[ending]
        write(path, noise(3, 16, 16, "uint16", seed=number), driver=driver, names=names if form == "envi" else None)
        if form != "envi":
            described = "".join(
                f'<PAMRasterBand band="{band}"><Description>{name}</Description></PAMRasterBand>'
                for band, name in enumerate(names, start=1)
            )
            path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{described}</PAMDataset>")
    archive = shutil.make_archive(str(own.root / "packed"), "zip", own.files) if packed else str(own.files)
    modality = {"bands": "from-files", "composite": {"bands": ["B04", "B03", "B02"], "divisor": 2000}}
    dataset = own.folder(modality=modality, options={"archive": archive, "images": f"*.{ending}"})
    assert dataset.primary.bands == ("B04", "B03", "B02")
    assert len(samples_of(own.store(dataset))) == 9
