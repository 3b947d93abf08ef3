"""Folders, archives and tables as people have them, from files to a store: names, texts, formats, labels, splits."""

import gzip
import io
import json
import os
import re
import shutil
import unicodedata
import zipfile
from collections import Counter

import geopandas
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import rasterio
import tifffile
from own_scenes import CLASSES, LEFT, noise, write_raster
from packed import zipped
from PIL import Image
from reading import read_all
from shapely.geometry import Point, box
from small_store import convert_archives

from bandbridge.base.errors import UserError
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.divide import block_of
from bandbridge.ingest.other_formats import OtherFormats
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.rasters import RasterError
from bandbridge.ingest.readers import Planned, Rejected, Sample, looked_in, reader
from bandbridge.ingest.records import load_records
from bandbridge.store.dataset import Store

BANDS = "{s2: {sensor: sentinel-2, product: L2A, bands: [B02, B03, B04]}}"
SPLITS = ("train", "val", "test")
SHARES = "{shares: {val: 0.3, test: 0.3}}"


@pytest.fixture
def described(described):
    """A function that makes a data set of the test's own, with three classes."""

    def load(reader, options, kind="single", modalities=BANDS):
        return described(
            f"name: mine\ntitle: Mine\nreader: {reader}\nmodalities: {modalities}\n"
            f"labels: {{kind: {kind}, nomenclatures: [abc]}}\nsources: []\nlicence: mine\noptions: {options}\n"
        )

    return load


def pixels_of(number):
    return noise(3, 16, number)


def write_folders(root, ending=".tif", **profile):
    """Nine files in three folders of classes; file n holds `pixels_of(n)`."""
    for number in range(9):
        write_raster(root / CLASSES[number % 3] / f"p{number}{ending}", pixels_of(number), **profile)


def must_be_all(samples, numbers=range(9)):
    """Every file is read, as it was written, with its folder's class."""
    assert sorted(samples) == sorted(f"p{number}" for number in numbers)
    for name, sample in samples.items():
        number = int(name[1:])
        assert isinstance(sample, Sample), sample
        np.testing.assert_array_equal(sample.pixels, pixels_of(number))
        assert sample.labels == (CLASSES[number % 3],)


# --- folders: names ------------------------------------------------------------------------------------------------


def test_endings_of_any_spelling_are_read_and_counted(described, tmp_path, capsys):
    for number, ending in enumerate((".tif", ".TIF", ".tiff", ".Tif", ".tif", ".tif", ".TIFF", ".tif", ".tif")):
        write_raster(tmp_path / "d" / CLASSES[number % 3] / f"p{number}{ending}", pixels_of(number))
    (tmp_path / "d/README.txt").write_text("read me")
    must_be_all(read_all(described("folder", '{images: "*.tif", shares: {val: 0.3, test: 0.3}}'), tmp_path / "d")[1])
    log = capsys.readouterr().err
    assert "4 of 9 images spell '*.tif' otherwise: " in log
    assert all(f"{ending} (1)" in log for ending in (".TIF", ".tiff", ".Tif", ".TIFF"))
    assert "1 of 10 files are no images by their names and left out: .txt (1), such as README.txt" in log


def test_what_programs_leave_behind_is_no_image(described, tmp_path):
    write_folders(tmp_path / "d")
    for name in CLASSES:
        for trace in ("Thumbs.db", "desktop.ini", ".DS_Store", "._p0.tif", "p0.tif.aux.xml", "p0.tif.ovr", "p0.tfw"):
            (tmp_path / "d" / name / trace).write_bytes(b"<PAMDataset/>" if ".aux" in trace else b"\0\5\x16\7")
    (tmp_path / "d/@eaDir").mkdir()
    (tmp_path / "d/@eaDir/p0.tif").write_bytes(b"x")
    must_be_all(read_all(described("folder", SHARES), tmp_path / "d")[1])


def test_no_images_are_explained_by_the_endings_that_there_are(described, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.nc").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no file of .*d matches any ending .* end in .nc \(1\), such as a.nc$"):
        read_all(described("folder", SHARES), tmp_path / "d")
    (tmp_path / "d/a.nc").rename(tmp_path / "d/forest.zip")
    with pytest.raises(UserError, match=r"such as forest.zip; archives inside are not opened: unpack them"):
        read_all(described("folder", SHARES), tmp_path / "d")


def test_a_link_to_a_file_that_is_not_there_is_named(described, tmp_path):
    write_folders(tmp_path / "d")
    (tmp_path / "d/forest/p9.tif").symlink_to("../.git/annex/objects/p9")  # as DataLad leaves what it has not got
    with pytest.raises(
        UserError, match=r"'forest/p9.tif' cannot be opened \(it is a link to \S+/p9, which is not there"
    ):
        read_all(described("folder", SHARES), tmp_path / "d")


@pytest.mark.parametrize("kind", ["backslashes", "macOS", "under a folder", "accents in two characters"])
def test_zips_of_other_systems_are_read(described, tmp_path, kind):
    write_folders(tmp_path / "src")
    accented = "wälder"
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted((tmp_path / "src").rglob("*.tif")):
            name = file.relative_to(tmp_path / "src").as_posix()
            if kind == "under a folder":
                name = f"My data (1)/a b/{name}"
            if kind == "macOS":
                archive.writestr(f"__MACOSX/{os.path.dirname(name)}/._{os.path.basename(name)}", b"\0\5\x16\7")
            if kind.startswith("accents"):
                name = unicodedata.normalize("NFD", name.replace("forest", accented))
            archive.writestr(name, file.read_bytes())
    if kind == "backslashes":  # zipfile puts them right, PowerShell's Compress-Archive does not
        content = (tmp_path / "images.zip").read_bytes()
        for name in CLASSES:
            content = content.replace(f"{name}/p".encode(), f"{name}\\p".encode())
        (tmp_path / "images.zip").write_bytes(content)
    options = (
        f'{{archive: "{tmp_path / "images.zip"}", shares: {{val: 0.3, test: 0.3}}, classes: {{{accented}: forest}}}}'
    )
    must_be_all(read_all(described("folder", options), tmp_path)[1])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_from_windows_name_files_in_any_case(described, tmp_path, encoding):
    write_folders(tmp_path / "d", ".TIF")
    for at, split in enumerate(SPLITS):
        lines = "\r\n".join(f"{CLASSES[n % 3]}\\P{n}.tif" for n in range(3 * at, 3 * at + 3))
        (tmp_path / f"d/{split}.txt").write_bytes(lines.encode(encoding))
    dataset = described("folder", "{lists: {train: train.txt, val: val.txt, test: test.txt}}")
    splits, samples = read_all(dataset, tmp_path / "d")
    must_be_all(samples)
    assert splits == {f"p{number}": SPLITS[number // 3] for number in range(9)}


# --- folders: splits ------------------------------------------------------------------------------------------------


def test_an_image_more_moves_no_other(described, tmp_path):
    for number in range(60):
        (tmp_path / "d" / CLASSES[number % 3]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / CLASSES[number % 3] / f"{number}.tif").write_bytes(b"not read")
    dataset = described("folder", "{shares: {val: 0.2, test: 0.2}}")
    before = {item.id: item.split for item in reader_plan(dataset, tmp_path / "d")}
    # Its name stands in another class already, so that ids get their folders.
    (tmp_path / "d/water/0.tif").write_bytes(b"not read")
    after = {item.id: item.split for item in reader_plan(dataset, tmp_path / "d")}
    assert {name.rpartition("/")[2]: split for name, split in after.items() if name != "water/0"} == before
    assert set(before.values()) == set(SPLITS)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("draw: by_luck", "draw is 'by_luck'; allowed: "),
        ("spatial_block: 0", "spatial_block is 0; expected more than 0"),
    ],
)
def test_a_data_sets_file_with_a_wrong_way_to_draw_is_refused(described, option, message):
    with pytest.raises(UserError, match=message):
        described("folder", f"{{shares: {{val: 0.3, test: 0.3}}, {option}}}")


def reader_plan(dataset, archives):
    return reader(dataset).plan(dataset, archives)


def test_neighbours_stay_together_in_spatial_blocks(described, tmp_path):
    for number in range(40):
        place = {"left": LEFT + 2_000 * (number // 4), "top": 5_800_000 - 170 * (number % 4)}
        write_raster(tmp_path / "d" / CLASSES[number % 3] / f"{number:02d}.tif", pixels_of(number), **place)
    dataset = described("folder", "{shares: {val: 0.3, test: 0.3}, spatial_block: 1000}")
    splits, samples = read_all(dataset, tmp_path / "d")
    of_square = {}
    for name, sample in samples.items():
        of_square.setdefault(block_of(sample.lat, sample.lon, 1000), set()).add(splits[name])
    assert 10 <= len(of_square) <= 25
    assert all(len(splits_in_square) == 1 for splits_in_square in of_square.values())
    assert set(splits.values()) == set(SPLITS)
    write_raster(tmp_path / "d/forest/99.tif", pixels_of(0), crs=None)
    with pytest.raises(UserError, match="place of every sample, and 1 of 41 have none: forest/99"):
        reader_plan(dataset, tmp_path / "d")


# --- formats -------------------------------------------------------------------------------------------------------


def sparse(path, pixels):
    write_raster(path, pixels, SPARSE_OK="TRUE", blockysize=4)


def pages(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack")


def planes(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="separate")


def big_endian_envi(path, pixels):
    write_raster(path, pixels, driver="ENVI", INTERLEAVE="BIP")
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text().replace("byte order = 0", "byte order = 1"))
    path.write_bytes(np.frombuffer(path.read_bytes(), "<u2").astype(">u2").tobytes())


def envi_beside_its_ending(path, pixels):
    write_raster(path, pixels, driver="ENVI")
    path.with_suffix(".hdr").rename(f"{path}.hdr")


def array(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, pixels)


def array_of_bands_last(path, pixels):
    array(path, pixels.transpose(1, 2, 0))


def only_array(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(npz(pixels=pixels))


def compressed_array_of_bands_last(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, pixels.transpose(1, 2, 0))


FORMATS = [
    (sparse, ".tif"),
    (pages, ".tif"),
    (planes, ".tif"),
    (lambda path, pixels: write_raster(path, pixels, driver="ENVI"), ".img"),
    (lambda path, pixels: write_raster(path, pixels, driver="ENVI", INTERLEAVE="BIL"), ".dat"),
    (lambda path, pixels: write_raster(path, pixels, driver="ENVI"), ""),
    (big_endian_envi, ".bip"),
    (envi_beside_its_ending, ".img"),
    (array, ".npy"),
    (array_of_bands_last, ".NPY"),
    (only_array, ".npz"),
    (compressed_array_of_bands_last, ".NPZ"),
]


@pytest.mark.parametrize(("write", "ending"), FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_bands_of_any_format_are_read(described, tmp_path, write, ending, packed):
    for number in range(9):
        path = tmp_path / "d" / CLASSES[number % 3] / f"p{number}{ending}"
        write(path, pixels_of(number))
    place = tmp_path / "d"
    if packed:
        place = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "d")
    options = f'{{archive: "{place}", shares: {{val: 0.3, test: 0.3}}}}'
    _, samples = read_all(described("folder", options), tmp_path)
    must_be_all(samples)
    if write in (sparse, big_endian_envi):
        assert samples["p0"].grid.crs == "EPSG:32633"
        assert samples["p0"].lon == pytest.approx(15, abs=0.01)


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def header_of(shape):
    """The beginning of an array that is larger than any machine's memory."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((2, 4, 4, 3), "uint16"), r"is an array of \(2, 4, 4, 3\), expected \(band, y, x\)"),
        (np.full((3, 4, 4), 2**40), "is an array of int64, which no raster holds"),
        (np.array([["a"]]), "which no raster holds"),
        (np.array([{"a": 1}]), "cannot be read as an array of NumPy: Object arrays cannot be loaded"),
        (header_of((99_999, 99_999, 99)), "states an array of .* the limit is"),
        (b"\x93NUMPY\x01\x00\x10", "cannot be read as an array of NumPy"),
    ],
)
def test_arrays_that_are_no_rasters_are_set_aside(described, tmp_path, content, reason):
    write_folders(tmp_path / "d")
    if not isinstance(content, bytes):
        stream = io.BytesIO()
        np.save(stream, content)
        content = stream.getvalue()
    (tmp_path / "d/forest/q.npy").write_bytes(content)
    item = read_all(described("folder", SHARES), tmp_path / "d")[1]["q"]
    assert isinstance(item, Rejected)
    assert re.search(reason, item.reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npz(a=pixels_of(0), b=pixels_of(0)), r"holds 2 arrays \(a, b\), expected one"),
        (zipped({"a.npy": b"no array"}), "it holds a.npy"),
        (npz(a=pixels_of(0))[:-40], "cannot be read as an array of NumPy"),
    ],
)
def test_npz_files_of_anything_but_one_array_are_set_aside(described, tmp_path, content, reason):
    write_folders(tmp_path / "d")
    (tmp_path / "d/forest/q.npz").write_bytes(content)
    item = read_all(described("folder", SHARES), tmp_path / "d")[1]["q"]
    assert isinstance(item, Rejected)
    assert re.search(reason, item.reason)


def test_an_npz_file_is_not_unpacked_beyond_the_limit(tmp_path):
    with pytest.raises(RasterError, match="states an array of 160,128 bytes; the limit is 10,000"):
        OtherFormats(tmp_path).readable("a.npz", npz(a=np.zeros((100, 200))), 1, 10_000)


def test_envi_data_that_do_not_fit_their_header_are_set_aside(described, tmp_path):
    write_folders(tmp_path / "d")
    write_raster(tmp_path / "d/forest/q.img", pixels_of(0), driver="ENVI")
    (tmp_path / "d/forest/q.img").write_bytes(b"short")
    item = read_all(described("folder", SHARES), tmp_path / "d")[1]["q"]
    assert item == Rejected("q", "does not fit its ENVI header: Image file is too small")


def test_colours_that_jpeg_needs_contradict_no_bands(described, tmp_path):
    profile = {"compress": "JPEG", "photometric": "YCBCR", "JPEG_QUALITY": "90"}
    for number in range(3):
        bytes_of_it = (pixels_of(number) // 16).astype(np.uint8)
        write_raster(tmp_path / "d" / CLASSES[number] / f"p{number}.tif", bytes_of_it, **profile)
    samples = read_all(described("folder", SHARES), tmp_path / "d")[1]
    for name, sample in samples.items():
        with rasterio.open(next((tmp_path / "d").rglob(f"{name}.tif"))) as file:
            np.testing.assert_array_equal(sample.pixels, file.read())


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_tiff_pictures_of_every_kind_are_pictures(described, tmp_path, mode, compression):
    colours = Image.fromarray(np.random.default_rng(1).integers(0, 255, (12, 12, 3), np.uint8))
    picture = colours.convert("L").convert(mode) if mode == "LA" else colours.convert(mode)
    (tmp_path / "d/forest").mkdir(parents=True)
    picture.save(tmp_path / "d/forest/p.tif", compression=compression)
    dataset = described("folder", SHARES, modalities="{rgb: {bands: [red, green, blue]}}")
    (sample,) = read_all(dataset, tmp_path / "d")[1].values()
    with Image.open(tmp_path / "d/forest/p.tif") as file:
        np.testing.assert_array_equal(sample.pixels, np.asarray(file.convert("RGB")))


@pytest.mark.parametrize(
    ("ending", "driver", "options"),
    [(".png", "PNG", {}), (".jp2", "JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES"}), (".ppm", None, {})],
    ids=["PNG", "JPEG 2000", "PPM"],
)
def test_pictures_of_16_bits_are_not_cut_to_their_upper_8(described, tmp_path, ending, driver, options):
    (tmp_path / "d/forest").mkdir(parents=True)
    for name, dtype in (("deep", np.uint16), ("flat", np.uint8)):
        pixels, path = pixels_of(0).astype(dtype), tmp_path / f"d/forest/{name}{ending}"
        if driver is None:
            big_endian = pixels.transpose(1, 2, 0).astype(np.dtype(dtype).newbyteorder(">"))
            path.write_bytes(f"P6 16 16 {np.iinfo(dtype).max}\n".encode() + big_endian.tobytes())
        else:
            write_raster(path, pixels, driver=driver, crs=None, **options)
    dataset = described("folder", "{shares: {val: 0.3, test: 0.3}}", modalities="{rgb: {bands: [red, green, blue]}}")
    samples = read_all(dataset, tmp_path / "d")[1]
    assert "bands" in samples["deep"].reason
    np.testing.assert_array_equal(samples["flat"].pixels, pixels_of(0).astype(np.uint8).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "it is MATLAB's; save the array as NumPy's .npy"),
        (b'<VRTDataset rasterXSize="8">', "it is a VRT, as which only scenes are read; write it as a GeoTIFF"),
    ],
)
def test_files_of_other_programs_are_set_aside_by_name(described, tmp_path, content, reason):
    write_folders(tmp_path / "d")
    (tmp_path / "d/forest/q.tif").write_bytes(content)
    item = read_all(described("folder", "{shares: {val: 0.3, test: 0.3}}"), tmp_path / "d")[1]["q"]
    assert reason in item.reason


def test_complex_numbers_are_set_aside_with_what_to_make_of_them(own):
    for number in range(9):
        write_raster(own.files / CLASSES[number % 3] / f"p{number}.tif", pixels_of(number).astype("complex64"))
    with pytest.raises(UserError, match=r"pixels are complex64, .* such as amplitudes or decibels"):
        own.store(own.folder(bands=("B02", "B03", "B04")))


def test_pages_that_are_no_bands_are_counted_in_the_reason(described, tmp_path):
    (tmp_path / "d/forest").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "d/forest/p.tif", noise(5, 16, 1), photometric="minisblack")
    item = read_all(described("folder", SHARES), tmp_path / "d")[1]["p"]
    assert item == Rejected("p", "has 5 pages, the first of 1 bands; expected 3 bands in one image")


# --- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    """A folder with nine files: the n-th is of class n % 3 and split n // 3."""
    for number in range(9):
        write_raster(tmp_path / f"d/img/p{number}.tif", pixels_of(number))
    return tmp_path / "d"


def rows():
    """File, class, number of the class and split of each."""
    return [(f"img/p{n}.tif", CLASSES[n % 3], n % 3, SPLITS[n // 3]) for n in range(9)]


def must_be_the_table(splits, samples, several=False):
    numbers = {name: int(name[-1]) for name in splits}
    assert sorted(numbers.values()) == list(range(9))
    for name, number in numbers.items():
        assert isinstance(samples[name], Sample), samples[name]
        np.testing.assert_array_equal(samples[name].pixels, pixels_of(number))
        expected = {CLASSES[number % 3], *([CLASSES[(number + 1) % 3]] if several else [])}
        assert set(samples[name].labels) == expected
        assert splits[name] == SPLITS[number // 3]


def lines(end="\n", separator=",", head=("file", "cover", "part"), make=lambda row: (row[0], row[1], row[3])):
    return end.join([separator.join(head), *(separator.join(map(str, make(row))) for row in rows())]) + end


TABLES = {
    "BOM and CRLF": (lines("\r\n"), "utf-8-sig", ""),
    "semicolons": (lines("\r\n", ";"), "utf-8", ""),
    "tabs": (lines(separator="\t"), "utf-8", ""),
    "UTF-16": (lines("\r\n"), "utf-16", ""),
    "Latin-1": (
        lines(head=("file", "cover", "part", "Fläche"), make=lambda r: (r[0], r[1], r[3], "Wälder")),
        "latin-1",
        "",
    ),
    "absolute paths": (lines(make=lambda r: ("@D@/" + r[0], r[1], r[3])), "utf-8", ""),
    "addresses of files": (lines(make=lambda r: ("file://@D@/" + r[0], r[1], r[3])), "utf-8", ""),
    "marks that nobody sees": (lines(make=lambda r: (r[0], f"\u200b{r[1]}\ufeff", r[3])), "utf-8", ""),
    "empty cells at the ends": (lines(make=lambda r: (r[0], r[1], r[3], "")), "utf-8", ""),
    "backslashes": (lines(make=lambda r: (r[0].replace("/", "\\"), r[1], r[3])), "utf-8", ""),
    "dots": (lines(make=lambda r: ("./" + r[0], r[1], r[3])), "utf-8", ""),
    "no endings": (lines(make=lambda r: (r[0][:-4], r[1], r[3])), "utf-8", ""),
    "bare names": (lines(make=lambda r: (r[0][4:], r[1], r[3])), "utf-8", ""),
    "spaces before quotes": (
        lines(separator=", ", head=('"file"', '"cover"', '"part"'), make=lambda r: (f'"{r[0]}"', f'"{r[1]}"', r[3])),
        "utf-8",
        "",
    ),
    "other case": (lines(make=lambda r: (r[0].upper(), r[1], r[3].upper())), "utf-8", ""),
    "spaces in the header": (lines(head=(" file", "cover ", " part")), "utf-8", ""),
    "whole numbers": (lines(make=lambda r: (r[0], r[2], r[3])), "utf-8", "classes: {0: forest, 1: maize, 2: water}"),
    "floats": (lines(make=lambda r: (r[0], float(r[2]), r[3])), "utf-8", "classes: {0: forest, 1: maize, 2: water}"),
    "line ends of old Macs": (lines("\r"), "utf-8", ""),
    "comments": ("# made by hand\n# 9 rows; the path is below img/\n" + lines(), "utf-8", ""),
    "a comment sign in the header": (
        lines(head=("#n", "file", "cover", "part"), make=lambda r: (0, *r[:2], r[3])),
        "utf-8",
        "",
    ),
    "rows of nothing": (lines("\r\n") + ",,\r\n,,\r\n", "utf-8", ""),
    "splits in numbers": (
        lines(make=lambda r: (r[0], r[1], float(SPLITS.index(r[3])))),
        "utf-8",
        "split_names: {0: train, 1: val, 2: test}",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_text_are_read_however_they_were_written(described, images, name):
    text, encoding, more = TABLES[name]
    (images / "t.csv").write_bytes(text.replace("@D@", str(images)).encode(encoding))
    options = f'{{table: "{images}/t.csv", path: file, label: cover, split: part{", " * bool(more)}{more}}}'
    must_be_the_table(*read_all(described("table", options), images))


LISTS = {
    "Python": lambda a, b: f"\"['{a}', '{b}']\"",
    "JSON": lambda a, b: f'"[""{a}"", ""{b}""]"',
    "NumPy": lambda a, b: f"\"['{a}' '{b}']\"",
    "PostgreSQL": lambda a, b: f'"{{{a},{b}}}"',
    "separator": lambda a, b: f"{a}|{b}",
}


@pytest.mark.parametrize("name", LISTS)
def test_several_classes_in_a_cell_are_read(described, images, name):
    cells = [LISTS[name](CLASSES[n % 3], CLASSES[(n + 1) % 3]) for n in range(9)]
    text = "file,cover,part\n" + "".join(f"{r[0]},{cell},{r[3]}\n" for r, cell in zip(rows(), cells, strict=True))
    (images / "t.csv").write_text(text)
    options = f'{{table: "{images}/t.csv", path: file, labels: cover, split: part}}'
    must_be_the_table(*read_all(described("table", options, "multi"), images), several=True)


@pytest.mark.parametrize("name", ["t.parquet", "t.geoparquet", "t.PQ"])
def test_geoparquet_gives_places_to_files_without(described, tmp_path, name):
    for number in range(9):
        write_raster(tmp_path / f"d/img/p{number}.tif", pixels_of(number), crs=None)
    files, classes, _, parts = zip(*rows(), strict=True)
    squares = [box(500_000 + n, 5_800_000, 500_160 + n, 5_800_160) for n in range(9)]
    frame = geopandas.GeoDataFrame({"file": files, "cover": classes, "part": parts}, geometry=squares, crs=32633)
    frame.to_parquet(tmp_path / "d" / name)
    options = f'{{table: "{tmp_path}/d/{name}", path: file, label: cover, split: part}}'
    splits, samples = read_all(described("table", options), tmp_path / "d")
    must_be_the_table(splits, samples)
    assert samples["img/p0"].lon == pytest.approx(15.0012, abs=1e-3)
    assert samples["img/p0"].lat == pytest.approx(52.35, abs=0.02)


@pytest.mark.parametrize("index", [["file"], ["part", "file"]])
@pytest.mark.parametrize("has_places", [False, True])
def test_the_index_of_a_parquet_file_is_columns(described, images, index, has_places):
    files, classes, _, parts = zip(*rows(), strict=True)
    frame = pandas.DataFrame({"file": files, "cover": classes, "part": parts})
    if has_places:
        frame = geopandas.GeoDataFrame(frame, geometry=[Point(8, 50 + n) for n in range(9)], crs=4326)
    frame.set_index(index).to_parquet(images / "t.parquet")
    options = f'{{table: "{images}/t.parquet", path: file, label: cover, split: part}}'
    splits, samples = read_all(described("table", options), images)
    must_be_the_table(splits, samples)
    assert not has_places or [samples[f"img/p{n}"].lat for n in range(9)] == list(range(50, 59))


def test_geojson_of_another_reference_system_gives_places(described, images):
    files, classes, _, parts = zip(*rows(), strict=True)
    frame = geopandas.GeoDataFrame({"file": files, "type": classes, "id": range(9), "part": parts},
                                   geometry=[Point(500_000, 5_800_000)] * 9, crs=32633)  # fmt: skip
    frame.to_file(images / "t.geojson")
    content = json.loads((images / "t.geojson").read_text())
    for feature in content["features"]:
        feature["id"] = 99  # as databases number rows; the property of this name is the user's
    (images / "t.geojson").write_text(json.dumps(content))
    options = f'{{table: "{images}/t.geojson", path: file, id: id, label: type, split: part}}'
    splits, samples = read_all(described("table", options), images)
    must_be_the_table(splits, samples)
    assert samples["0"].lon == pytest.approx(15)
    content["crs"] = {"type": "link", "properties": {"href": "https://example.org/crs"}}
    (images / "t.geojson").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"states its reference system as .*link"):
        reader_plan(described("table", options), images)


def write_packed(file, text):
    """A table as it is passed on: with gzip, or in a zip."""
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
        return
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("labels/t.csv", text)
        archive.writestr("__MACOSX/labels/._t.csv", "of macOS")
        archive.writestr("labels/README.md", "by hand")


FORMS = ("NFC", "NFD")


@pytest.mark.parametrize("in_files", FORMS)
@pytest.mark.parametrize("in_options", FORMS)
@pytest.mark.parametrize("kind", ["table", "folder", "polygons"])
def test_accents_mean_the_same_in_either_form_of_unicode(own, kind, in_files, in_options):
    """macOS takes accented letters of files' names apart, and what is copied from there has them so."""
    names = ["Wälder", "Äcker\u00a0und Felder", "Seen"]  # the space does not break, as web pages write it
    spelled = [unicodedata.normalize(in_files, name) for name in names]
    stated = [unicodedata.normalize(in_options, name) for name in ("Wälder", "Äcker und Felder", "Wasser")]
    own.classes(*stated)
    mapped = {unicodedata.normalize(in_options, "Seen"): stated[2]}
    if kind == "table":
        column, part = (unicodedata.normalize(form, "Fläche") for form in (in_files, in_options))
        for number in range(9):
            write_raster(own.files / f"p{number}.tif", pixels_of(number))
        rows = [{"id": n, "path": f"p{n}.tif", column: spelled[n % 3], "part": SPLITS[n // 3]} for n in range(9)]
        dataset = own.table(rows, bands=("B02", "B03", "B04"), options={"label": part, "classes": mapped})
    elif kind == "folder":
        for number in range(9):
            write_raster(own.files / spelled[number % 3] / f"p{number}.tif", pixels_of(number))
        dataset = own.folder(bands=("B02", "B03", "B04"), options={"classes": mapped})
    else:
        for number, band in enumerate(("B02", "B03", "B04")):
            write_raster(own.files / f"{band}.tif", noise(1, 192, number))
        dataset = own.scene(options={"class_map": mapped})
        polygons = geopandas.read_file(own.files / "p.gpkg")
        polygons["cover"] = spelled
        polygons.to_file(own.files / "p.gpkg")
    store = own.store(dataset)
    counts = sum(store.split(split).labels.sum(axis=0, dtype=int) for split in store.splits)
    assert counts.tolist() == ([48, 48, 48] if kind == "polygons" else [3, 3, 3])


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zip", "T.ZIP"])
def test_packed_tables_are_read(described, images, name):
    write_packed(images / name, lines())
    options = f'{{table: "{images}/{name}", path: file, label: COVER, split: part}}'
    must_be_the_table(*read_all(described("table", options.replace("COVER", "cover")), images))
    with pytest.raises(UserError, match=rf"^\S+{re.escape(name)} has no column 'COVER'"):
        reader_plan(described("table", options), images)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv.gz", gzip.compress(lines().encode())[:-20], "t.csv.gz is damaged or incomplete"),
        ("t.csv.gz", lines().encode(), "t.csv.gz is damaged or incomplete"),
        ("t.zip", zipped({"a.csv": lines(), "b.csv": lines()}), r"t.zip holds 2 tables \(a.csv, b.csv\), expected one"),
        ("t.zip", zipped({"a.xlsx": "sheets"}), r"t.zip holds 0 tables \(a.xlsx\), expected one"),
        ("t.xlsx", zipped({"xl/workbook.xml": "sheets"}), "save sheets of Excel or LibreOffice as CSV"),
        ("t.gpkg", b"no database", "t.gpkg cannot be read as a table .*no GeoPackage"),
        ("t.gpkg", b"SQLite format 3\0" + bytes(100), "t.gpkg cannot be read as a table"),
    ],
)
def test_packed_tables_that_cannot_be_read_are_explained(described, images, name, content, message):
    (images / name).write_bytes(content)
    options = f'{{table: "{images}/{name}", path: file, label: cover, split: part}}'
    with pytest.raises(UserError, match=message):
        reader_plan(described("table", options), images)


def test_a_layer_of_a_geopackage_is_a_table(described, images):
    table = pandas.DataFrame([(row[0], row[1], row[3]) for row in rows()], columns=["file", "cover", "part"])
    places = geopandas.GeoDataFrame(table, geometry=[Point(15 + n / 10, 52) for n in range(9)], crs=4326)
    places.to_crs(32633).to_file(images / "t.gpkg", layer="samples")
    dataset = described("table", f'{{table: "{images}/t.gpkg", path: file, label: cover, split: part}}')
    splits, samples = read_all(dataset, images)
    must_be_the_table(splits, samples)
    assert samples["img/p4"].lon == pytest.approx(15.4)
    # A further layer is no matter, unless it has the same columns.
    places[["geometry"]].to_file(images / "t.gpkg", layer="roads", mode="a")
    must_be_the_table(*read_all(dataset, images))
    places.to_file(images / "t.gpkg", layer="older", mode="a")
    with pytest.raises(UserError, match=r"2 of its layers have the columns .*samples: cover, fid, file, part"):
        reader_plan(dataset, images)


@pytest.mark.parametrize("head", ["file,cover,part,cover", "file,cover,part, cover", '"file","cover","part","cover "'])
def test_two_columns_of_one_name_are_refused_where_one_is_used(described, images, head):
    text = lines(make=lambda r: (r[0], r[1], r[3], CLASSES[(r[2] + 1) % 3])).split("\n", 1)[1]
    (images / "t.csv").write_text(f"{head}\n{text}")
    options = f'{{table: "{images}/t.csv", path: file, label: COVER, split: part}}'
    for name, message in (("cover", "has 2 columns 'cover' .option label."), ("cover.1", "has no column 'cover.1'")):
        with pytest.raises(UserError, match=message):
            reader_plan(described("table", options.replace("COVER", name)), images)


def test_columns_of_one_name_that_nothing_uses_are_no_matter(described, images):
    head = ("file", "cover", "part", "notes", "notes", "", "")
    (images / "t.csv").write_text(lines(head=head, make=lambda r: (r[0], r[1], r[3], "a", "b", "", "")))
    options = f'{{table: "{images}/t.csv", path: file, label: cover, split: part}}'
    must_be_the_table(*read_all(described("table", options), images))


def test_a_table_may_lie_in_the_archive_of_the_images(described, images, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted(images.rglob("*.tif")):
            archive.write(file, f"set/{file.relative_to(images)}")
        archive.writestr("set/t.csv", lines(make=lambda row: (f"set/{row[0]}", row[1], row[3])))
    options = f'{{table: t.csv, archive: "{tmp_path}/all.zip", path: file, label: COVER, split: part}}'
    must_be_the_table(*read_all(described("table", options.replace("COVER", "cover")), images))
    with pytest.raises(UserError, match=r"^\S+all\.zip/set/t\.csv has no column 'COVER'"):
        reader_plan(described("table", options), images)


@pytest.mark.parametrize(
    ("text", "kind", "options", "message"),
    [
        # Decimal commas: each row has two cells more than there are names.
        (
            lines(head=("file", "cover", "part", "lat", "lon"), make=lambda r: (*r[:2], r[3], "50,1", "8,6")),
            "single",
            "label: cover, lat: lat, lon: lon",
            "more cells than the 5 column names; name the others, or put quotes around cells with ','",
        ),
        (
            lines(separator="\t", make=lambda r: (r[0], "forest, water", r[3])),
            "multi",
            "labels: cover",
            "row 1: cover is 'forest, water', and separator is '|'; state \",\" as the option separator",
        ),
    ],
)
def test_separators_inside_cells_are_explained(described, images, text, kind, options, message):
    (images / "t.csv").write_text(text)
    options = f'{{table: "{images}/t.csv", path: file, split: part, {options}}}'
    with pytest.raises(UserError, match=re.escape(message)):
        reader_plan(described("table", options, kind), images)


def test_what_repeats_an_id_is_named(described, images):
    more = lines(make=lambda r: (r[0], "water", r[3])).partition("\n")[2]
    (images / "t.csv").write_text(lines() + more)
    options = f'{{table: "{images}/t.csv", path: file, labels: cover, split: part}}'
    dataset = described("table", options, "multi")
    reasons = {item.reason for item in make_plan(dataset, reader_plan(dataset, images)).refused}
    assert "id occurs 2 times, in train, of one file; a sample has one row, with all its classes" in reasons
    write_folders(images / "f")
    write_folders(images / "f", ".png")
    for options in ("shares: {val: 0.3, test: 0.3}", 'patterns: {train: "*0.*", val: "*1.*", test: "*2.*"}'):
        dataset = described("folder", f'{{archive: "{images}/f", {options}}}')
        reasons = {item.reason for item in make_plan(dataset, reader_plan(dataset, images)).refused}
        assert "id occurs 2 times, in train, of files that end in .png and .tif; name those that count" in reasons


def stac_items(images, band_assets=False):
    items = []
    for number, (file, cover, _, part) in enumerate(rows()):
        assets = {"image": {"href": f"./{file}", "type": "image/tiff; application=geotiff"}}
        if band_assets:
            for at, band in enumerate(("B02", "B03", "B04")):
                write_raster(images / f"bands/{number}_{band}.tif", pixels_of(number)[at : at + 1])
                assets[band] = {"href": f"bands/{number}_{band}.tif"}
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": f"p{number}",
                "geometry": Point(15 + number / 10, 52).buffer(0.01).__geo_interface__,
                "properties": {"datetime": "2024-06-01T10:00:00Z", "cover": cover, "part": part},
                "assets": assets,
            }
        )
    return items


@pytest.mark.parametrize("form", ["items.json", "items.ndjson", "items.parquet", "a column for each band"])
def test_collections_of_stac_items_are_tables(described, images, form):
    by_band = form == "a column for each band"
    items = stac_items(images, by_band)
    name = "items.json" if by_band else form
    if name == "items.json":
        (images / name).write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    elif name == "items.ndjson":
        (images / name).write_text("\n".join(map(json.dumps, items)))
    else:  # as stac-geoparquet writes them: properties are columns, assets a record
        columns = {key: [item["properties"][key] for item in items] for key in ("datetime", "cover", "part")}
        table = {"id": [item["id"] for item in items], **columns, "assets": [item["assets"] for item in items]}
        pyarrow.parquet.write_table(pyarrow.table(table), images / name)
    path = "assets.{band}.href" if by_band else "assets.image.href"
    options = f'{{table: "{images}/{name}", path: "{path}", id: id, label: cover, split: part, date: datetime}}'
    splits, samples = read_all(described("table", options), images)
    must_be_the_table(splits, samples)
    assert samples["p3"].date.startswith("2024-06-01")


def test_names_that_several_files_could_have_are_not_guessed(described, images, capsys):
    write_raster(images / "other/P0.tif", pixels_of(1))
    (images / "t.csv").write_text(lines(make=lambda r: (r[0][4:], r[1], r[3])))
    options = f'{{table: "{images}/t.csv", path: file, label: cover, split: part}}'
    splits, samples = read_all(described("table", options), images)
    assert set(splits) - set(samples) == {"p0"}
    assert "1 names may mean several files of" in capsys.readouterr().err


def test_neighbouring_rows_stay_together_in_spatial_blocks(described, images):
    lats = [52 + (n // 3) for n in range(9)]
    table = "file,cover,lat,lon\n" + "".join(f"{r[0]},{r[1]},{lat},9\n" for r, lat in zip(rows(), lats, strict=True))
    (images / "t.csv").write_text(table)
    options = (
        f'{{table: "{images}/t.csv", path: file, label: cover, lat: lat, lon: lon, '
        "shares: {val: 0.3, test: 0.3}, spatial_block: 5000}"
    )
    planned = reader_plan(described("table", options), images)
    groups = [{item.split for item in planned if int(item.id[-1]) // 3 == group} for group in range(3)]
    assert all(len(group) == 1 for group in groups)
    assert set.union(*groups) == set(SPLITS)


# --- what is missing -----------------------------------------------------------------------------------------------


def test_what_is_not_there_says_where_was_looked(described, images, tmp_path):
    dataset = described("folder", f'{{archive: "{images}", shares: {{val: 0.3, test: 0.3}}}}')
    plan = make_plan(dataset, [Planned("gone", "train")])
    place = looked_in(dataset, tmp_path, "s2")
    convert_share(dataset, "s2", plan.share(0, 1), lambda missing: [], tmp_path / "part", "test", place)
    assert load_records(tmp_path / "part/records.npz").reasons == {0: f"is planned, but is not in {images}"}


def test_a_small_folder_becomes_a_store_with_every_split(described, tmp_path):
    write_folders(tmp_path / "d")
    store = Store(convert_archives(described("folder", SHARES), tmp_path / "d", tmp_path / "o"))
    counts = Counter({split: len(store.split(split)) for split in store.splits})
    assert counts.total() == 9
    assert set(counts) == set(SPLITS)


def test_pixels_that_are_in_two_splits_are_counted_and_named(described, images, tmp_path, capsys):
    for copy, original in ((6, 0), (7, 1), (8, 3)):
        shutil.copy(images / f"img/p{original}.tif", images / f"img/p{copy}.tif")
    shutil.copy(images / "img/p1.tif", images / "img/p0.tif")  # within a split, this is no leak
    (images / "t.csv").write_text(lines())
    dataset = described("table", f'{{table: "{images}/t.csv", path: file, label: cover, split: part}}')
    store = Store(convert_archives(dataset, images, tmp_path / "stores"))
    note = (
        "mine: 2 of 3 samples of test have the same s2 pixels as samples of another split (img/p7 is img/p0 of train, "
        "img/p8 is img/p3 of val), so that scores on test are too good"
    )
    assert [text.partition(";")[0] for text in store.notes] == [note]
    assert note in capsys.readouterr().err


def test_pictures_of_several_sizes_are_set_aside_with_the_option_that_helps(own):
    for number in range(9):
        pixels = noise(3, 40 + number // 8, number, "uint8").transpose(1, 2, 0)
        (own.files / CLASSES[number % 3]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(own.files / CLASSES[number % 3] / f"p{number}.png")
    rgb = {"rgb": {"bands": ["red", "green", "blue"]}}
    with pytest.raises(UserError, match=r"is 41 x 41 x 3 uint8, most are 40 x 40 x 3 uint8; the option picture_size"):
        own.store(own.folder(modalities=rgb, options={"images": "*.png"}))
    store = own.store(own.folder(modalities=rgb, options={"images": "*.png", "picture_size": 32}))
    assert sum(len(store.split(split)) for split in store.splits) == 9


def test_a_raster_of_labels_in_place_of_polygons_is_named(own):
    for number, band in enumerate(("B02", "B03", "B04")):
        write_raster(own.files / f"{band}.tif", noise(1, 192, number))
    write_raster(own.files / "labels.tif", noise(1, 192, 0, "uint8"))
    with pytest.raises(UserError, match=r"labels\.tif': is a raster of labels; make polygons of it"):
        own.store(own.scene(options={"polygons": "labels.tif"}))
