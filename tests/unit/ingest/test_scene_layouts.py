"""Scenes as users have them: Sentinel-2 products, one file of all bands, ENVI, VRT; each band from the right file."""

import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from own_scenes import (
    CRS,
    L2A,
    LEFT,
    NATIVE,
    SIDE,
    TOP,
    l2a_metadata,
    noise,
    thirds,
    write_l1c,
    write_l2a,
    write_raster,
)
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from reading import read_all
from small_store import convert_archives

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.readers.scene import read_bands, read_grid, read_scene
from bandbridge.store.dataset import Store

# Under 15 lines, as docs/own-data.md has it.
SAFE = """
name: my_product
title: My product
reader: scene
modalities:
  s2:
    sensor: sentinel-2
    product: L2A
    bands: [B02, B03, B04, B05, B06, B07, B08, B8A, B11, B12]
    composite: {bands: [B04, B03, B02], divisor: 2000}
labels: {kind: single, nomenclatures: [abc]}
sources: []
licence: Copernicus Sentinel data terms
options: {polygons: "*.gpkg", class_field: cover, size: 16, stride: 16, block: 64, blocks: [tve]}
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A folder with a Level-2A product and polygons, and the finest pixels of each band."""
    folder = tmp_path_factory.mktemp("l2a")
    finest = write_l2a(folder)
    thirds().to_file(folder / "landuse.gpkg")
    return folder, finest


MODALITY = Modality("s2", "sentinel-2", "L2A", ())
INSIDE = slice(0, 160)  # where all bands hold data


def bands_of(folder, pattern, bands, resampling="nearest"):
    """Bands in the sensor's unit, and their grid."""
    scene = read_scene(folder, pattern, replace(MODALITY, bands=tuple(bands)), resampling)
    return scene.pixels, scene.grid


def on_ten_metres(pixels, metres, method="bilinear"):
    """What rasterio makes of a band of a product on the 10 m grid, with its metadata's offset."""
    side = SIDE // 10
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", width=SIDE // metres, height=SIDE // metres, count=1, dtype="uint16") as file:
            file.write(pixels, 1)
        with memory.open() as file:
            return file.read(1, out_shape=(side, side), resampling=Resampling[method]).astype(int) - 1000


# --- Sentinel-2 products -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_safe_folder_becomes_a_store_by_a_short_file(described, product, tmp_path):
    assert len(SAFE.strip().splitlines()) < 15
    archives, finest = product
    store = Store(convert_archives(described(SAFE), archives, tmp_path / "out"))
    # The place at the swath's edge holds too few data.
    assert {name: len(store.split(name)) for name in store.splits} == {"train": 48, "val": 48, "test": 47}
    assert store.facts["wavelengths"][:2] == [492.4, 559.8]
    test = store.split("test")
    first = test.ids[0]
    row, col = map(int, first.rsplit("_", 2)[1:])
    pixels = test.read([0])[0]
    for band in ("B02", "B8A"):
        expected = on_ten_metres(finest[band], NATIVE[band])[row : row + 16, col : col + 16]
        np.testing.assert_array_equal(pixels[store.bands.index(band)], expected)


def test_bands_come_from_their_finest_resolution(product):
    folder, finest = product
    pixels, grid = bands_of(folder, None, ["B02", "B05", "B01"])
    assert grid.transform.a == 10
    for band, read_band in zip(("B02", "B05", "B01"), pixels, strict=True):
        expected = on_ten_metres(finest[band], NATIVE[band], "nearest")
        np.testing.assert_array_equal(read_band[INSIDE], expected[INSIDE])


def test_beyond_the_swath_there_are_no_data(product):
    scene = read_scene(product[0], None, replace(MODALITY, bands=("B02", "B05")), "bilinear")
    assert not scene.valid[1, -6:, -6:].any()
    assert scene.valid[:, :180].all()
    assert scene.radiometry == "1 x number + -1000: BOA_ADD_OFFSET"


def test_one_pattern_finds_the_finest_of_several_resolutions(product):
    folder, _ = product
    by_name, _ = read_bands(folder, "*_{band}_*m.jp2", ["B02", "B05"], "nearest")
    with rasterio.open(next(folder.rglob("*_B02_10m.jp2"))) as file:
        np.testing.assert_array_equal(by_name[0][INSIDE], file.read(1)[INSIDE])


@pytest.mark.parametrize("layout", ["zip", "zip beside the polygons", "the product itself", "renamed", "backslashes"])
def test_a_product_is_found_however_it_is_packed(described, product, tmp_path, layout):
    archives, _ = product
    place = tmp_path / "archives"
    place.mkdir()
    shutil.copy(archives / "landuse.gpkg", place)
    options = {}
    if layout in ("zip", "zip beside the polygons", "backslashes"):
        name = tmp_path / "elsewhere.zip" if layout != "zip beside the polygons" else place / L2A.replace("SAFE", "zip")
        with zipfile.ZipFile(name, "w") as packed:
            for file in sorted((archives / L2A).rglob("*.*")):
                packed.write(file, file.relative_to(archives))
        if layout == "backslashes":  # as PowerShell's Compress-Archive writes them
            inner = [file.relative_to(archives).as_posix().encode() for file in (archives / L2A).rglob("*.*")]
            content = name.read_bytes()
            for member in inner:
                content = content.replace(member, member.replace(b"/", b"\\"))
            name.write_bytes(content)
        options = {} if layout == "zip beside the polygons" else {"archive": str(name)}
    elif layout == "the product itself":
        options = {"archive": str(archives / L2A)}
    else:
        shutil.copytree(archives / L2A, place / "my scene")
    dataset = described(SAFE, **options)
    splits, samples = read_all(dataset, place)
    expected = read_all(described(SAFE), archives)[1]
    assert len(splits) == 143
    assert samples.keys() == expected.keys()
    for name in list(samples)[:3]:
        np.testing.assert_array_equal(samples[name].pixels, expected[name].pixels)
        assert samples[name].date == "2023-06-15"


def test_level_1c_has_the_resolutions_of_its_bands(tmp_path):
    bands = write_l1c(tmp_path)
    pixels, grid = bands_of(tmp_path, "*MSIL1C*.SAFE", ["B04", "B10"])
    np.testing.assert_array_equal(pixels[0], bands["B04"] - 1000)
    np.testing.assert_array_equal(pixels[1], np.kron(bands["B10"], np.ones((6, 6), np.uint16)) - 1000)
    assert (grid.height, grid.width) == (192, 192)


def test_metadata_without_offsets_leave_numbers_as_they_are(tmp_path):
    finest = write_l2a(tmp_path, offset=None)
    pixels, _ = bands_of(tmp_path, None, ["B02"])
    np.testing.assert_array_equal(pixels[0], finest["B02"])


def test_without_metadata_the_baseline_in_the_name_counts(tmp_path):
    finest = write_l2a(tmp_path, metadata=False)
    pixels, _ = bands_of(tmp_path, None, ["B02"])
    np.testing.assert_array_equal(pixels[0][INSIDE], finest["B02"][INSIDE] - 1000)


def test_classes_of_the_scene_classification_are_left_out(described, product):
    archives, _ = product
    whole = read_all(described(SAFE), archives)[0]
    clear, samples = read_all(described(SAFE, scl=[8, 9, 10]), archives)
    assert set(whole) - set(clear) == {f"my_product_{row:04d}_{col:04d}" for row in (0, 16) for col in (0, 16)}
    assert set(samples) == set(clear)


def test_what_a_product_lacks_is_named(tmp_path, product):
    folder, _ = product
    with pytest.raises(UserError, match=r"S2B_MSIL2A_.*SAFE has no band B10; it has: B01, B02, .*SCL"):
        read_grid(folder, None, ["B10"])
    with pytest.raises(UserError, match="found no product of Sentinel-2 called S2A"):
        read_grid(folder, "S2A*.SAFE", ["B02"])
    shutil.copytree(folder / L2A, tmp_path / L2A)
    shutil.copytree(folder / L2A, tmp_path / L2A.replace("15101559", "16101559").replace("T33UUU", "T33UUV"))
    with pytest.raises(UserError, match=r"found 2 products \(S2B_.*\) of Sentinel-2; name one with the option rasters"):
        read_grid(tmp_path, None, ["B02"])
    assert read_grid(tmp_path, L2A, ["B02"]).width == 192
    (next((tmp_path / L2A).rglob("*_B02_10m.jp2"))).unlink()
    assert read_grid(tmp_path, L2A, ["B02"]).width == 96
    for file in (tmp_path / L2A).rglob("*_B12_*.jp2"):
        file.unlink()
    with pytest.raises(UserError, match=r"MTD_MSIL2A.xml lists .* are missing, among them .*_B12_20m"):
        read_grid(tmp_path, L2A, ["B12"])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "it declares a document type, which is not followed"),
        ("<a><b>", "MTD_MSIL2A.xml cannot be read"),
        (l2a_metadata([], quantification=1000), "its quantification value is 1000, expected 10000"),
    ],
)
def test_odd_metadata_are_refused(tmp_path, metadata, message):
    write_l2a(tmp_path, metadata=False)
    (tmp_path / L2A / "MTD_MSIL2A.xml").write_text(metadata)
    with pytest.raises(UserError, match=message):
        read_grid(tmp_path, None, ["B02"])


# --- one file of all bands -----------------------------------------------------------------------------------------

FOUR = ("B02", "B03", "B04", "B08")


@pytest.mark.parametrize("form", ["tif", "upper case", "envi", "envi without an ending", "vrt"])
def test_a_scene_in_one_file_is_read_band_by_band(tmp_path, form):
    pixels = noise(4, 48, 1)
    name = {"tif": "export.tif", "upper case": "EXPORT.TIF", "envi": "cube.img", "envi without an ending": "cube"}
    if form == "vrt":
        write_raster(tmp_path / "parts/a.tif", pixels)
        (tmp_path / "scene.vrt").write_text(vrt(4, [(band, "parts/a.tif", band) for band in (1, 2, 3, 4)]))
    else:
        write_raster(tmp_path / name[form], pixels, **({"driver": "ENVI"} if form.startswith("envi") else {}))
    pattern = {"vrt": "*.vrt", "envi": "*.img", "envi without an ending": "cube"}.get(form, "*.tif")
    values, grid = read_bands(tmp_path, pattern, FOUR, "bilinear")
    np.testing.assert_array_equal(values, pixels)
    assert (grid.crs.to_epsg(), grid.transform.c, grid.transform.f) == (32633, LEFT, TOP)


def test_descriptions_say_which_band_is_which(tmp_path):
    pixels = noise(6, 32, 2)
    write_raster(tmp_path / "a.tif", pixels, names=["B08", "QA60", "b04", "B03", "B02", "NDVI"])
    values, _ = read_bands(tmp_path, "a.tif", FOUR, "nearest")
    np.testing.assert_array_equal(values, pixels[[4, 3, 2, 0]])


def test_another_number_of_bands_is_refused_by_name(tmp_path):
    write_raster(tmp_path / "a.tif", noise(5, 32, 2), names=["blue", "green", "red", "nir", "mask"])
    with pytest.raises(UserError, match="has 5 bands, expected 4: it names blue green red nir mask, the"):
        read_bands(tmp_path, "*.tif", FOUR, "nearest")


def test_band_files_in_capitals_are_found(tmp_path):
    for number, band in enumerate(FOUR):
        write_raster(tmp_path / f"{band}.TIFF", noise(1, 32, number))
        (tmp_path / f"._{band}.TIFF").write_bytes(b"\0\5\x16\7")
        (tmp_path / f"{band}.TIFF.aux.xml").write_text("<PAMDataset/>")
    values, _ = read_bands(tmp_path, "{band}.tif", FOUR, "nearest")
    np.testing.assert_array_equal(values[3], noise(1, 32, 3)[0])


# --- tiles ---------------------------------------------------------------------------------------------------------


def write_tiles(folder, pixels, parts, names=None, **facts):
    """As Earth Engine names them: NAME-<first row>-<first column>.tif, of (rows, columns)."""
    for rows, cols in parts:
        name = f"export-{rows.start:010d}-{cols.start:010d}.tif"
        left, top = LEFT + 10 * cols.start, TOP - 10 * rows.start
        write_raster(folder / name, pixels[:, rows, cols], left=left, top=top, names=names, **facts)


QUARTERS = [(rows, cols) for rows in (slice(0, 40), slice(40, 64)) for cols in (slice(0, 40), slice(40, 48))]


def test_tiles_of_one_export_are_one_scene(tmp_path):
    pixels = noise(4, 64, 3)[:, :, :48]
    write_tiles(tmp_path, pixels, QUARTERS, names=("B2", "B3", "B4", "B8"), nodata=0)
    values, grid = read_bands(tmp_path, "*.tif", FOUR, "nearest")
    np.testing.assert_array_equal(values, pixels)
    assert (grid.height, grid.width, grid.transform.c, grid.transform.f) == (64, 48, LEFT, TOP)


def test_bands_may_be_tiles(tmp_path):
    pixels = noise(4, 64, 4)[:, :, :48]
    for number, band in enumerate(FOUR):
        write_tiles(tmp_path / band, pixels[number : number + 1], QUARTERS)
    values, _ = read_bands(tmp_path, "{band}/*.tif", FOUR, "nearest")
    np.testing.assert_array_equal(values, pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_where_no_tile_is_there_are_no_data(tmp_path, dtype):
    pixels = noise(4, 64, 5, dtype)[:, :, :48]
    write_tiles(tmp_path, pixels, QUARTERS[:3])
    scene = read_scene(tmp_path, "*.tif", Modality("s2", None, None, FOUR), "nearest")
    expected = np.ones((64, 48), bool)
    expected[40:, 40:] = False
    np.testing.assert_array_equal(scene.valid.all(axis=0), expected)
    np.testing.assert_array_equal(scene.pixels[:, expected], pixels[:, expected])


def test_what_tiles_state_of_their_numbers_holds_for_the_scene(tmp_path):
    write_tiles(tmp_path, noise(4, 64, 6)[:, :, :48], QUARTERS)
    for path in tmp_path.iterdir():
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = [1e-4] * 4, [-0.1] * 4
    modality = Modality("s2", "sentinel-2", "L2A", FOUR)
    scene = read_scene(tmp_path, "*.tif", modality, "nearest")
    np.testing.assert_array_equal(scene.pixels, noise(4, 64, 6)[:, :, :48] - 1000)
    assert scene.radiometry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": LEFT + 475}, "or tiles of one raster, but they have different grids"),
        ({"left": LEFT + 470}, r"but a\.tif and b\.tif overlap"),
        ({"left": LEFT + 480, "metres": 20}, "but they have different grids"),
        ({"left": LEFT + 480, "crs": "EPSG:32632"}, "but they have different grids"),
        ({"left": LEFT + 480, "names": ("a", "b", "c", "d")}, "but their bands differ"),
        ({"left": LEFT + 480, "nodata": 0}, "but they state different no-data values"),
        ({"left": LEFT + 480, "crs": None}, "but they "),
    ],
)
def test_files_that_are_no_tiles_are_refused_with_the_reason(tmp_path, change, message):
    write_raster(tmp_path / "a.tif", noise(4, 48, 1))
    write_raster(tmp_path / "b.tif", noise(4, 48, 2), **change)
    with pytest.raises(UserError, match=rf"finds 2 files \(a\.tif, b\.tif\), expected exactly one.*{message}"):
        read_bands(tmp_path, "*.tif", FOUR, "nearest")


def test_notes_beside_tiles_count_and_masks_are_refused(tmp_path):
    pixels = noise(4, 64, 7)[:, :, :48]
    write_tiles(tmp_path, pixels, QUARTERS)
    noted = "".join(
        f'<PAMRasterBand band="{band}"><NoDataValue>{pixels[0, 0, 0]}</NoDataValue></PAMRasterBand>'
        for band in range(1, 5)
    )
    for path in list(tmp_path.iterdir()):
        path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{noted}</PAMDataset>")
    scene = read_scene(tmp_path, "*.tif", Modality("s2", None, None, FOUR), "nearest")
    np.testing.assert_array_equal(scene.valid, pixels != pixels[0, 0, 0])
    (tmp_path / "export-0000000000-0000000000.tif.msk").write_bytes(b"II*")
    with pytest.raises(UserError, match=r"tiles of one raster, but they have masks \(\.msk\)"):
        read_bands(tmp_path, "*.tif", FOUR, "nearest")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\0", "it is compressed with gzip; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "it is HDF5 or netCDF 4; convert it to GeoTIFF"),
        (b"<!DOCTYPE html>", "it is a web page, which a server sent in place of the file"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a pointer of Git LFS"),
        (b"nothing known", "it begins with b'nothing '; get the file again"),
    ],
)
def test_what_is_no_raster_is_named(tmp_path, content, message):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UserError, match=f"a.tif cannot be read as a raster: .*{message}"):
        read_bands(tmp_path, "a.tif", FOUR, "nearest")


def test_a_scene_without_a_sample_says_why(described, tmp_path):
    write_raster(tmp_path / "a.tif", noise(4, 48, 1))
    thirds(480).to_file(tmp_path / "p.gpkg")
    text = SAFE.replace("B04, B05, B06, B07, B08, B8A, B11, B12", "B04, B08")
    with pytest.raises(UserError, match=r"no place of 48 x 48 pixels is a sample of 16 x 16; .*blocks of one split"):
        read_all(described(text, rasters="*.tif", archive=str(tmp_path), block=8), tmp_path)


# --- VRT -----------------------------------------------------------------------------------------------------------


def vrt(bands, sources, side=48, more="", relative="1"):
    """As gdalbuildvrt writes it: of (band, file, band of the file[, rectangle])."""
    text = ""
    for band in range(1, bands + 1):
        own = ""
        for number, file, of_file, *rectangle in sources:
            if number != band:
                continue
            x, y, width, height = rectangle[0] if rectangle else (0, 0, side, side)
            own += (
                f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{file}</SourceFilename><SourceBand>{of_file}'
                f'</SourceBand><SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
                f'<DstRect xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/>{more}</SimpleSource>'
            )
        text += f'<VRTRasterBand dataType="UInt16" band="{band}"><NoDataValue>0</NoDataValue>{own}</VRTRasterBand>'
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{LEFT}, 10, 0, {TOP}, 0, -10</GeoTransform>{text}</VRTDataset>"
    )


def test_a_vrt_of_band_files_reads_them(tmp_path):
    for number, band in enumerate(FOUR):
        write_raster(tmp_path / f"bands/{band}.tif", noise(1, 48, number))
    sources = [(number + 1, f"bands/{band}.tif", 1) for number, band in enumerate(FOUR)]
    (tmp_path / "stack.vrt").write_text(vrt(4, sources))
    values, _ = read_bands(tmp_path, "stack.vrt", FOUR, "nearest")
    np.testing.assert_array_equal(values[2], noise(1, 48, 2)[0])


def test_a_vrt_of_tiles_is_put_together(tmp_path):
    west, east = noise(2, 48, 1), noise(2, 48, 2)
    write_raster(tmp_path / "west.tif", west)
    write_raster(tmp_path / "east.tif", east, left=LEFT + 480)
    tiles = [(band, f"{name}.tif", band, (x, 0, 48, 48)) for band in (1, 2) for name, x in (("west", 0), ("east", 48))]
    (tmp_path / "mosaic.vrt").write_text(vrt(2, tiles, side=96))
    values, grid = read_bands(tmp_path, "mosaic.vrt", ("B02", "B03"), "nearest")
    np.testing.assert_array_equal(values[:, :48], np.concatenate([west, east], axis=2))
    assert (values[:, 48:] == 0).all()
    assert (grid.height, grid.width, grid.transform.c) == (96, 96, LEFT)


def of_files(change=lambda text: text):
    """A VRT of the band files B02 to B08, as `test_a_vrt_of_band_files_reads_them` has it, changed."""
    return change(vrt(4, [(number + 1, f"{band}.tif", 1) for number, band in enumerate(FOUR)]))


@pytest.fixture
def four(tmp_path):
    """Four band files whose northern half is 0, which none of them calls missing."""
    for number, band in enumerate(FOUR):
        pixels = noise(1, 48, number)
        pixels[:, :24] = 0
        write_raster(tmp_path / f"{band}.tif", pixels)
    return tmp_path


def test_what_a_vrt_calls_no_data_holds_none(four):
    (four / "a.vrt").write_text(of_files())
    scene = read_scene(four, "a.vrt", replace(MODALITY, bands=FOUR), "nearest")
    assert scene.valid[:, 24:].all()
    assert not scene.valid[:, :24].any()
    (four / "a.vrt").write_text(of_files(lambda text: text.replace("<NoDataValue>0</NoDataValue>", "")))
    assert read_scene(four, "a.vrt", replace(MODALITY, bands=FOUR), "nearest").valid is None


def test_a_vrt_may_be_a_window_of_its_files_or_place_them_itself(four):
    window = 'xOff="0" yOff="0" xSize="48" ySize="48"'

    def cut(text):
        text = text.replace(f"SrcRect {window}", 'SrcRect xOff="8" yOff="16" xSize="32" ySize="32"')
        text = text.replace(f"DstRect {window}", 'DstRect xOff="0" yOff="0" xSize="32" ySize="32"')
        text = text.replace('rasterXSize="48" rasterYSize="48"', 'rasterXSize="32" rasterYSize="32"')
        return text.replace(f"{LEFT}, 10, 0, {TOP}", f"{LEFT + 80}, 10, 0, {TOP - 160}")

    (four / "a.vrt").write_text(of_files(cut))
    values, grid = bands_of(four, "a.vrt", FOUR)
    np.testing.assert_array_equal(values[2, 8:], noise(1, 48, 2)[0, 24:48, 8:40])
    assert (grid.width, grid.height, grid.transform.c, grid.transform.f) == (32, 32, LEFT + 80, TOP - 160)
    for number, band in enumerate(FOUR):
        write_raster(four / f"{band}.tif", noise(1, 48, number), crs=None)
    (four / "a.vrt").write_text(of_files())
    values, grid = bands_of(four, "a.vrt", FOUR)
    np.testing.assert_array_equal(values[2], noise(1, 48, 2)[0])
    assert grid.crs == rasterio.crs.CRS.from_user_input(CRS)


@pytest.mark.parametrize("shift", [0, 200])
def test_ground_control_points_of_a_vrt_place_it_where_a_grid_follows_them(four, shift):
    for number, band in enumerate(FOUR):
        write_raster(four / f"{band}.tif", noise(1, 48, number), crs=None)
    corners = [(0, 0, 0), (48, 0, 0), (0, 48, 0), (48, 48, shift)]
    points = "".join(
        f'<GCP Id="" Pixel="{col}" Line="{row}" X="{LEFT + 10 * col + moved}" Y="{TOP - 10 * row}"/>'
        for col, row, moved in corners
    )

    def placed(text):
        start, end = text.index("<SRS>"), text.index("<VRTRasterBand")
        return f'{text[:start]}<GCPList Projection="{CRS}">{points}</GCPList>{text[end:]}'

    (four / "a.vrt").write_text(of_files(placed))
    if shift:
        with pytest.raises(UserError, match=r"no grid of pixels follows its ground control points.*gdalwarp"):
            bands_of(four, "a.vrt", FOUR)
        return
    values, grid = bands_of(four, "a.vrt", FOUR)
    np.testing.assert_array_equal(values[2], noise(1, 48, 2)[0])
    assert grid.crs == rasterio.crs.CRS.from_user_input(CRS)
    assert (grid.transform.a, grid.transform.c, grid.transform.f) == pytest.approx((10, LEFT, TOP))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("<NoData", "<Scale>0.0001</Scale><NoData"), "scale and offset of a band are not"),
        (
            lambda text: text.replace(
                "</VRTDataset>",
                '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">B02.tif'
                "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTDataset>",
            ),
            "a band of data is its mask",
        ),
    ],
)
def test_what_a_vrt_states_of_its_files_is_not_lost(four, change, reason):
    (four / "a.vrt").write_text(of_files(change))
    with pytest.raises(UserError, match=f"{reason}.*gdal_translate"):
        bands_of(four, "a.vrt", FOUR)


@pytest.mark.parametrize("is_beside", [False, True])
def test_masks_of_tiles_are_not_lost_in_a_vrt(tmp_path, is_beside):
    for name, left in (("west", LEFT), ("east", LEFT + 480)):
        write_raster(tmp_path / f"{name}.tif", noise(2, 48, 1), left=left)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not is_beside),
            rasterio.open(tmp_path / f"{name}.tif", "r+") as file,
        ):
            file.write_mask(np.eye(48, dtype=bool))
    tiles = [(band, f"{name}.tif", band, (x, 0, 48, 48)) for band in (1, 2) for name, x in (("west", 0), ("east", 48))]
    (tmp_path / "mosaic.vrt").write_text(vrt(2, tiles, side=96))
    with pytest.raises(UserError, match=r"its sources have masks.*gdal_translate"):
        read_bands(tmp_path, "mosaic.vrt", ("B02", "B03"), "nearest")


@pytest.mark.parametrize(
    ("source", "relative", "more", "message"),
    [
        ("../secret.tif", "1", "", "its source ../secret.tif lies outside of"),
        ("/etc/passwd", "0", "", "its source /etc/passwd lies outside of"),
        ("https://example.org/a.tif", "0", "", "is not among the files of"),
        ("/vsicurl/https://example.org/a.tif", "0", "", "lies outside of"),
        ("other.tif", "1", "", "its source other.tif is not among the files of"),
        ("a.tif", "1", "<LUT>0:0,1:255</LUT>", "a source has LUT, which changes its values"),
        ("a.tif", "1", "<ScaleRatio>2</ScaleRatio>", "a source has ScaleRatio"),
    ],
)
def test_a_vrt_leads_to_files_of_its_archive_alone(tmp_path, source, relative, more, message):
    write_raster(tmp_path / "in/a.tif", noise(1, 48, 0))
    (tmp_path / "secret.tif").write_bytes(b"secret")
    (tmp_path / "in/a.vrt").write_text(vrt(1, [(1, source, 1)], more=more, relative=relative))
    with pytest.raises(UserError, match=message):
        read_bands(tmp_path / "in", "a.vrt", ["B02"], "nearest")


@pytest.mark.parametrize(
    "text",
    [
        '<VRTDataset rasterXSize="4" rasterYSize="4" subClass="VRTWarpedDataset"/>',
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand subClass="VRTDerivedRasterBand"/></VRTDataset>',
        '<VRTDataset rasterXSize="4"><VRTRasterBand><KernelFilteredSource/></VRTRasterBand></VRTDataset>',
        '<VRTDataset rasterXSize="4" rasterYSize="4"></VRTDataset>',
        "<VRTDataset",
    ],
)
def test_other_kinds_of_vrt_are_refused_with_a_way_out(tmp_path, text):
    (tmp_path / "a.vrt").write_text(text)
    with pytest.raises(UserError, match=r"a.vrt is a VRT that cannot be followed .*gdal_translate"):
        read_bands(tmp_path, "a.vrt", ["B02"], "nearest")


# --- reference systems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rasters", ["a.tif", "{band}.tif"])
def test_ground_control_points_place_a_scene_where_a_grid_follows_them(described, tmp_path, rasters):
    side, text = 48, SAFE.replace("B04, B05, B06, B07, B08, B8A, B11, B12", "B04, B08")
    thirds(480).to_file(tmp_path / "p.gpkg")

    def write(shift):
        corners = [(0, 0), (0, side), (side, 0), (side, side)]
        points = [GroundControlPoint(row, col, LEFT + 10 * col, TOP - 10 * row) for row, col in corners]
        points[-1].x += shift
        for name, pixels in (("a", noise(4, side, 1)), *zip(FOUR, noise(4, side, 1)[:, None], strict=True)):
            count = len(pixels)
            facts = {"count": count, "height": side, "width": side, "dtype": "uint16", "crs": CRS, "gcps": points}
            with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", **facts) as file:
                file.write(pixels)

    write(0)
    dataset = described(text, rasters=rasters, archive=str(tmp_path), block=16)
    samples = read_all(dataset, tmp_path)[1].values()
    assert [sample.labels for sample in samples] == [("forest",), ("maize",), ("water",)] * 3
    assert {sample.grid.crs for sample in samples} == {CRS}
    write(200)
    with pytest.raises(UserError, match=r"points .* that no grid of pixels follows; .*gdalwarp"):
        read_all(dataset, tmp_path)


def test_rasters_without_a_reference_system_take_the_options(described, tmp_path):
    write_raster(tmp_path / "a.tif", noise(4, 48, 1), crs=None)
    thirds(480).to_file(tmp_path / "p.gpkg")
    text = SAFE.replace("B04, B05, B06, B07, B08, B8A, B11, B12", "B04, B08")
    with pytest.raises(UserError, match=r"the rasters state no reference system.*option crs"):
        read_all(described(text, rasters="*.tif", archive=str(tmp_path)), tmp_path)
    assert len(read_all(described(text, rasters="*.tif", archive=str(tmp_path), crs=CRS, block=16), tmp_path)[0]) == 9
    write_raster(tmp_path / "a.tif", noise(4, 48, 1), crs="EPSG:32632")
    with pytest.raises(UserError, match=r"crs is 'EPSG:32633', and the rasters state EPSG:32632; remove the option"):
        read_all(described(text, rasters="*.tif", archive=str(tmp_path), crs=CRS), tmp_path)
