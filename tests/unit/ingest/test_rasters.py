"""Decoded files hold what rasterio reads, wherever they are plain enough to be read without GDAL."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from own_files import geotiff
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.warp import transform

from bandbridge.ingest import outlines, rasters
from bandbridge.ingest.rasters import RasterError, decode, to_grid

DATA = Path(__file__).parents[2] / "data"
FILES = sorted([*DATA.rglob("*.tif"), *DATA.rglob("*.jp2"), *DATA.rglob("*.jpg")])


def centre_by_rasterio(file):
    x, y = file.xy(file.height / 2, file.width / 2, offset="ul")
    (longitude,), (latitude,) = transform(file.crs, "EPSG:4326", [x], [y])
    return latitude, longitude


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_real_file_holds_what_rasterio_reads(path):
    with rasterio.open(path) as file:
        raster = decode(path.read_bytes())
        np.testing.assert_array_equal(raster.pixels, file.read())
        assert raster.pixels.dtype == file.dtypes[0]
        if file.crs is None:
            assert raster.centre is None
        else:
            np.testing.assert_allclose(raster.centre, centre_by_rasterio(file), rtol=0, atol=1e-7)


def test_published_samples_are_read_without_gdal_but_for_the_first_of_an_outline(monkeypatch):
    monkeypatch.setattr(outlines, "_outlines", {})
    paths = [*(DATA / "eurosat_ms").rglob("*.tif"), *(DATA / "bigearthnet_v2").rglob("*B0?.tif")]
    centres = [decode(path.read_bytes()).centre for path in paths]
    assert all(centres)
    assert len(outlines._outlines) < len(paths) / 2
    monkeypatch.setattr(rasters, "_decode_with_gdal", lambda *_: pytest.fail("GDAL was asked"))
    assert [decode(path.read_bytes()).centre for path in paths] == centres


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "uint32"]),
    form=st.fixed_dictionaries(
        {},
        optional={
            "compress": st.sampled_from(["none", "lzw", "deflate", "packbits"]),
            "interleave": st.sampled_from(["pixel", "band"]),
            "blockysize": st.integers(1, 40),
            "endianness": st.sampled_from(["big", "little"]),
            "bigtiff": st.sampled_from(["yes", "no"]),
            "crs": st.sampled_from(["EPSG:32633", "EPSG:4326", "EPSG:3035"]),
        },
    ),
)
def test_any_tiff_holds_what_was_written(shape, dtype, form):
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    if "crs" in form:
        form["transform"] = (
            from_origin(12, 52, 0.001, 0.001) if form["crs"] == "EPSG:4326" else from_origin(4e5, 5e6, 10, 10)
        )
    decode(geotiff(pixels[..., ::-1], **form))
    content = geotiff(pixels, **form)
    raster = decode(content)
    np.testing.assert_array_equal(raster.pixels, pixels)
    assert raster.pixels.dtype == pixels.dtype
    with MemoryFile(content) as memory, memory.open() as file:
        expected = centre_by_rasterio(file) if file.crs else None
    assert raster.centre == (None if expected is None else pytest.approx(expected, rel=0, abs=1e-7))


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.999])
def test_a_truncated_file_is_an_error(compress, share):
    pixels = np.random.default_rng(0).integers(0, 9_000, (3, 50, 50)).astype(np.uint16)
    content = geotiff(pixels, compress=compress, crs="EPSG:32633", transform=from_origin(4e5, 5e6, 10, 10))
    with pytest.raises(RasterError, match=r"is truncated|cannot be read|is empty"):
        decode(content[: int(len(content) * share)])


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_rubbish_behind_a_tiff_header_is_an_error_and_nothing_worse(rubbish):
    with pytest.raises(RasterError):
        decode(b"II*\0" + rubbish)


# --- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(20, 20), (60, 60), (7, 12), (1, 1)])
@pytest.mark.parametrize("target", [(120, 120), (61, 75)])
def test_grids_are_gdals(dtype, shape, target):
    band = np.random.default_rng(0).integers(-90 if dtype != np.uint16 else 0, 9_000, shape).astype(dtype)
    with MemoryFile(geotiff(band[None])) as memory, memory.open() as file:
        nearest = file.read(1, out_shape=target, resampling=Resampling.nearest)
        bilinear = file.read(1, out_shape=target, resampling=Resampling.bilinear)
    np.testing.assert_array_equal(to_grid(band, *target, "nearest"), nearest)
    resampled = to_grid(band, *target, "bilinear")
    assert resampled.dtype == band.dtype
    # Where the mean lies just between two whole numbers, GDAL's arithmetic in single precision may take the other.
    np.testing.assert_allclose(resampled, bilinear, rtol=1e-5, atol=1e-2 if dtype == np.float32 else 1)
    assert (resampled != bilinear).mean() < 0.02 or dtype == np.float32


def test_a_finer_band_and_another_way_are_refused():
    with pytest.raises(ValueError, match=r"a band of 60 x 60 pixels is finer than 20 x 60"):
        to_grid(np.zeros((60, 60)), 20, 60, "nearest")
    with pytest.raises(ValueError, match="resampling is 'cubic', allowed: nearest, bilinear"):
        to_grid(np.zeros((2, 2)), 4, 4, "cubic")
