"""Files of every form that GDAL and tifffile write hold what rasterio reads, the second of an outline as well.

The first file of a form is read by GDAL, a later one without it where it is plain: so each form is decoded with several
pixels and places.
"""

import struct
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest
import tifffile
from own_files import geotiff
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import Affine, from_origin

from bandbridge.ingest import outlines
from bandbridge.ingest.declarations import grid_of
from bandbridge.ingest.outlines import known_outline
from bandbridge.ingest.rasters import RasterError, decode

SHAPE = (3, 33, 40)
FILES = 3


@pytest.fixture(autouse=True)
def _no_outlines(monkeypatch):
    monkeypatch.setattr(outlines, "_outlines", {})


def values(seed, dtype="uint16", shape=SHAPE, largest=100):
    """Smooth, as pictures are, and of another kind in each file."""
    random = np.random.default_rng(seed)
    steps = random.integers(0, 3, shape).cumsum(-1) + random.integers(0, 20)
    return (steps % largest).astype(dtype)


@dataclass(frozen=True)
class Form:
    """How a file is written.

    Attributes:
        plain: whether a second file of it is read without GDAL.
    """

    name: str
    options: dict = field(default_factory=dict)
    dtype: str = "uint16"
    bands: int = 3
    largest: int = 100
    plain: bool = False

    def pixels(self, seed):
        return values(seed, self.dtype, (self.bands, *SHAPE[1:]), self.largest)

    def __str__(self):
        return self.name


def by_gdal(form, seed):
    pixels = form.pixels(seed)
    place = {"crs": "EPSG:32633", "transform": from_origin(4e5 + 120 * seed, 5e6 - 60 * seed, 10, 10)}
    return geotiff(pixels, **(place | form.options))


def same_as_rasterio(content):
    """Decode a file and compare everything with rasterio's reading; returns whether GDAL was spared."""
    spared = known_outline(content) is not None
    raster = decode(content)
    with MemoryFile(content) as memory, memory.open() as file:
        expected, grid, nodata, alpha = file.read(), grid_of(file), file.nodatavals, file.colorinterp
    assert raster.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(raster.pixels, expected)
    assert raster.grid == grid
    assert (raster.centre is None) == (grid is None)
    assert raster.stated.nodata == pytest.approx(nodata, nan_ok=True)
    assert (raster.stated.alpha is None) == ("alpha" not in [kind.name for kind in alpha])
    return spared


def add_overviews(file):
    file.build_overviews([2, 4])


def add_mask(file):
    file.write_mask(np.arange(SHAPE[1] * SHAPE[2]).reshape(SHAPE[1:]) % 7 > 0)


GDAL_FORMS = [
    *(Form(f"{kind}, plain", dtype=kind, plain=True) for kind in (
        "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
    )),
    *(Form(f"{compress}, {kind}", {"compress": compress}, kind) for compress in ("lzw", "deflate", "zstd", "packbits")
      for kind in ("uint8", "int16", "float32")),
    *(Form(f"{compress}, predictor {predictor}, {kind}", {"compress": compress, "predictor": predictor}, kind)
      for compress in ("lzw", "deflate", "zstd") for predictor, kind in ((2, "uint8"), (2, "uint16"), (3, "float32"))),
    *(Form(f"lerc, {kind}", {"compress": "lerc"}, kind) for kind in ("uint16", "float32")),
    *(Form(f"lerc, {zip_kind}", {"compress": zip_kind}) for zip_kind in ("lerc_deflate", "lerc_zstd")),
    Form("lzma", {"compress": "lzma"}),
    Form("jpeg", {"compress": "jpeg"}, "uint8"),
    Form("jpeg, YCbCr", {"compress": "jpeg", "photometric": "ycbcr"}, "uint8"),
    Form("jpeg, tiles", {"compress": "jpeg", "tiled": True, "blockxsize": 16, "blockysize": 16}, "uint8"),
    Form("webp", {"compress": "webp"}, "uint8"),
    Form("webp, lossless", {"compress": "webp", "webp_lossless": True}, "uint8"),
    *(Form(f"order {order}, {kind}", {"endianness": order}, kind, plain=True) for order in ("big", "little")
      for kind in ("uint16", "float64")),
    Form("order big, deflate, predictor 2", {"endianness": "big", "compress": "deflate", "predictor": 2}),
    *(Form(f"{rows} rows per strip, {layout}", {"blockysize": rows, "interleave": layout}, plain=True)
      for rows in (1, 7, 33, 40) for layout in ("band", "pixel")),
    Form("tiles", {"tiled": True, "blockxsize": 16, "blockysize": 16}),
    Form("tiles, by band, deflate", {"tiled": True, "blockxsize": 16, "blockysize": 32, "interleave": "band",
                                     "compress": "deflate"}),
    *(Form(f"{bits} bits", {"nbits": bits}, kind, largest=2**bits)
      for bits, kind in ((1, "uint8"), (2, "uint8"), (4, "uint8"), (7, "uint8"), (12, "uint16"), (17, "uint32"))),
    Form("1 bit, black is 1", {"nbits": 1, "photometric": "miniswhite"}, "uint8", 1, 2),
    Form("16 bits of floats", {"nbits": 16}, "float32"),
    Form("complex", {}, "complex64"),
    Form("BigTIFF", {"bigtiff": "yes"}, plain=True),
    Form("BigTIFF, order big", {"bigtiff": "yes", "endianness": "big"}, plain=True),
    Form("one band", bands=1, plain=True),
    Form("13 bands by pixel", {"interleave": "pixel"}, bands=13, plain=True),
    Form("RGB", {"photometric": "rgb"}, "uint8", plain=True),
    Form("RGBA", {"photometric": "rgb", "alpha": "yes"}, "uint8", 4, plain=True),
    Form("grey with alpha", {"alpha": "unspecified"}, "uint8", 2, plain=True),
    Form("white is 0", {"photometric": "miniswhite"}, "uint8", 1, plain=True),
    Form("CMYK", {"photometric": "cmyk"}, "uint8", 4),
    Form("Lab", {"photometric": "cielab"}, "uint8"),
    Form("no data", {"nodata": 7}, plain=True),
    Form("no data, negative", {"nodata": -9999}, "float32", plain=True),
    Form("no data, NaN", {"nodata": float("nan")}, "float32", plain=True),
    Form("no place", {"crs": None, "transform": None}, plain=True),
    Form("no reference system", {"crs": None}, plain=True),
    Form("degrees", {"crs": "EPSG:4326"}, plain=True),
    Form("rotated", {"transform": Affine(8, 3, 4e5, -3, 8, 5e6)}, plain=True),
    Form("south up", {"transform": Affine(10, 0, 4e5, 0, 10, 5e6)}, plain=True),
    Form("another system", {"crs": "+proj=laea +lat_0=51 +lon_0=9 +ellps=GRS80 +units=m"}, plain=True),
    Form("places of points", {"before": lambda file: file.update_tags(AREA_OR_POINT="Point")}, plain=True),
    Form("overviews", {"after": add_overviews}),
    Form("a mask", {"after": add_mask}),
    Form("descriptions", {"before": lambda file: file.set_band_description(2, "B03")}, plain=True),
    Form("a header left behind", {"after": lambda file: file.set_band_description(2, "B03")}),
    Form("palette", {"photometric": "palette", "before": lambda file: file.write_colormap(
        1, {index: (index, 255 - index, 7, 255) for index in range(256)})}, "uint8", 1, plain=True),
    Form("sparse", {"sparse_ok": True, "blockysize": 4}, "uint8", largest=1),
]  # fmt: skip


@pytest.mark.parametrize("form", GDAL_FORMS, ids=str)
def test_what_gdal_writes_is_what_rasterio_reads(form):
    spared = [same_as_rasterio(by_gdal(form, seed)) for seed in range(FILES)]
    assert spared == [False, form.plain, form.plain]


def test_a_cloud_optimised_file_is_what_rasterio_reads():
    for seed in range(FILES):
        with MemoryFile(geotiff(values(seed))) as memory, memory.open() as file, MemoryFile() as target:
            copy(file, target.name, driver="COG", blocksize=128)
            same_as_rasterio(bytes(target.read()))


# --- by tifffile ---------------------------------------------------------------------------------------------------


def by_tifffile(pixels, **options):
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, **({"metadata": None, "photometric": "minisblack"} | options))
    return buffer.getvalue()


@dataclass(frozen=True)
class Stack(Form):
    """A file by tifffile; its pixels are (band, y, x), (y, x, band) or (y, x)."""

    shape: tuple[int, ...] = SHAPE[1:]

    def pixels(self, seed):
        return values(seed, self.dtype, self.shape, self.largest)


LAST, FIRST = (*SHAPE[1:], 3), SHAPE
TIFFFILE_FORMS = [
    *(Stack(f"{kind}, {order}", {"byteorder": order}, kind, plain=True) for order in "<>"
      for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")),
    *(Stack(f"float16, {order}", {"byteorder": order}, "float16") for order in "<>"),
    Stack("BigTIFF", {"bigtiff": True}, plain=True),
    *(Stack(f"contiguous, {rows} rows per strip", {"rowsperstrip": rows, "planarconfig": "contig"}, shape=LAST,
            plain=True) for rows in (1, 5, 33)),
    *(Stack(f"separate, {rows} rows per strip", {"rowsperstrip": rows, "planarconfig": "separate"}, shape=FIRST,
            plain=True) for rows in (1, 5, 33)),
    Stack("RGB", {"photometric": "rgb"}, "uint8", shape=LAST, plain=True),
    Stack("RGB, 16 bits", {"photometric": "rgb"}, shape=LAST, plain=True),
    Stack("RGB, planes", {"photometric": "rgb", "planarconfig": "separate"}, "uint8", shape=FIRST, plain=True),
    Stack("RGBA, associated", {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "uint8", shape=(*SHAPE[1:], 4),
          plain=True),
    Stack("RGBA", {"photometric": "rgb", "extrasamples": ["unassalpha"]}, "uint8", shape=(*SHAPE[1:], 4), plain=True),
    Stack("white is 0", {"photometric": "miniswhite"}, "uint8", plain=True),
    Stack("white is 0, 16 bits", {"photometric": "miniswhite"}, plain=True),
    Stack("palette", {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256)}, "uint8",
          plain=True),
    Stack("CMYK", {"photometric": "separated"}, "uint8", shape=(*SHAPE[1:], 4)),
    Stack("1 bit", {}, "bool", largest=2),
    Stack("deflate", {"compression": "zlib"}),
    Stack("deflate, predictor", {"compression": "zlib", "predictor": True}),
    Stack("lzma", {"compression": "lzma"}),
    Stack("tiles", {"tile": (16, 16)}),
    Stack("tiles, deflate", {"tile": (16, 32), "compression": "zlib"}, shape=LAST),
    Stack("description", {"description": "by hand", "software": "x"}, plain=True),
    Stack("ImageJ", {"imagej": True, "metadata": {}, "photometric": None}, plain=True),
    Stack("OME", {"ome": True, "metadata": {}}),
    Stack("several pages", {}, shape=(4, *SHAPE[1:])),
    Stack("pages of RGB", {"photometric": "rgb"}, "uint8", shape=(2, *LAST)),
    Stack("no strip is read ahead", {"align": 4096}, plain=True),
]  # fmt: skip


@pytest.mark.parametrize("form", TIFFFILE_FORMS, ids=str)
def test_what_tifffile_writes_is_what_rasterio_reads(form):
    spared = [same_as_rasterio(by_tifffile(form.pixels(seed), **form.options)) for seed in range(FILES)]
    assert spared == [False, form.plain, form.plain]


# --- legal and rare ------------------------------------------------------------------------------------------------

SHORT = 3
THRESHOLDING, FILL_ORDER, OFFSETS, COUNTS = 263, 266, 273, 279


def changed_tag(content, code, change):
    """A little-endian classic TIFF with other values of a tag of its first image."""
    content = bytearray(content)
    with tifffile.TiffFile(BytesIO(content)) as file:
        tag = file.pages.first.tags[code]
        form = f"<{tag.count}{'H' if tag.dtype == SHORT else 'I'}"
        before = struct.unpack_from(form, content, tag.valueoffset)
        struct.pack_into(form, content, tag.valueoffset, *change(before))
    return bytes(content)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_bits_in_the_other_order_are_what_rasterio_reads(dtype):
    for seed in range(FILES):
        pixels = values(seed, dtype, SHAPE[1:])
        content = by_tifffile(pixels, extratags=[(THRESHOLDING, SHORT, 1, 2, True)])
        content = content.replace(struct.pack("<HH", THRESHOLDING, SHORT), struct.pack("<HH", FILL_ORDER, SHORT), 1)
        assert not same_as_rasterio(content)
        assert (decode(content).pixels != pixels).any()


def test_strips_that_are_padded_are_what_rasterio_reads():
    pixels = values(0, "uint16", SHAPE[1:])
    size = 4 * SHAPE[2] * 2
    plain = by_tifffile(pixels, rowsperstrip=4)
    with tifffile.TiffFile(BytesIO(plain)) as file:
        start = file.pages.first.dataoffsets[0]
    strips = [plain[start + at * size : start + (at + 1) * size] for at in range(9)]
    padded = plain[:start] + b"".join(strip.ljust(size + 16, b"\xff") for strip in strips) + bytes(size)
    content = changed_tag(padded, OFFSETS, lambda old: [start + at * (size + 16) for at in range(len(old))])
    content = changed_tag(content, COUNTS, lambda old: [size + 16] * len(old))
    same_as_rasterio(content)
    np.testing.assert_array_equal(decode(content).pixels[0], pixels)


@pytest.mark.parametrize("rows", [4, 33], ids=["strips", "one strip"])
def test_a_last_strip_that_claims_more_than_the_file_holds_is_what_rasterio_reads(rows):
    pixels = values(0, "uint16", SHAPE[1:])
    content = changed_tag(by_tifffile(pixels, rowsperstrip=rows), COUNTS, lambda old: [*old[:-1], old[-1] + 500])
    same_as_rasterio(content)
    np.testing.assert_array_equal(decode(content).pixels[0], pixels)


def test_strips_in_any_order_and_over_each_other_are_what_rasterio_reads():
    plain = by_tifffile(values(0, "uint16", SHAPE[1:]), rowsperstrip=3)
    same_as_rasterio(changed_tag(plain, OFFSETS, lambda old: old[::-1]))
    same_as_rasterio(changed_tag(plain, OFFSETS, lambda old: [old[0]] * len(old)))


def test_strips_that_are_absent_are_what_rasterio_reads():
    content = by_tifffile(values(0, "uint16", SHAPE[1:]), rowsperstrip=11)
    content = changed_tag(content, OFFSETS, lambda old: [old[0], 0, old[2]])
    content = changed_tag(content, COUNTS, lambda old: [old[0], 0, old[2]])
    same_as_rasterio(content)
    assert not decode(content).pixels[0, 11:22].any()


# --- outlines ------------------------------------------------------------------------------------------------------


def plain(seed=0, **options):
    return by_gdal(Form("plain", options), seed)


def test_a_file_that_differs_in_a_tag_is_read_by_gdal():
    decode(plain())
    for other in (plain(1, nodata=3), plain(1, crs="EPSG:32634"), plain(1, endianness="big")):
        assert known_outline(other) is None
        same_as_rasterio(other)


def test_an_outline_fits_no_file_that_is_cut_off_or_longer():
    content = plain()
    decode(content)
    assert known_outline(content)
    assert known_outline(content + b"\0") is None
    assert known_outline(content[:-1]) is None
    with pytest.raises(RasterError):
        decode(content[:-400])


def test_pixels_that_overlap_the_header_give_no_outline():
    content = changed_tag(by_tifffile(values(0, "uint16", SHAPE[1:])), OFFSETS, lambda old: [4])
    assert not same_as_rasterio(content)
    assert known_outline(content) is None


def test_the_limit_holds_for_files_of_a_known_outline():
    decode(plain())
    with pytest.raises(RasterError, match="the limit is 100"):
        decode(plain(1), limit=100)


def test_the_number_of_outlines_is_bounded(monkeypatch):
    monkeypatch.setattr(outlines, "MOST_OUTLINES", 3)
    for nodata in range(1, 9):
        decode(plain(nodata=nodata))
        assert 1 <= sum(map(len, outlines._outlines.values())) <= 3
    assert known_outline(plain(1, nodata=8))


def test_a_large_header_is_not_kept(monkeypatch):
    monkeypatch.setattr(outlines, "MOST_BYTES", 100)
    decode(plain())
    assert known_outline(plain()) is None
