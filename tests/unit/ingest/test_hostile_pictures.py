"""What files that say they are pictures, rasters or polygons run into when they reach for more than themselves."""

import dataclasses
import io
import json
import math
import os
import sqlite3
import struct
import zlib

import numpy as np
import pytest
from own_scenes import thirds
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.rasters import RasterError, decode
from bandbridge.ingest.readers import Rejected, Sample, scene
from bandbridge.ingest.readers import folder as folder_reader
from bandbridge.ingest.readers.bigearthnet import _json_labels, _rows
from bandbridge.ingest.readers.images import read_image

pytestmark = pytest.mark.attack("pictures, rasters and polygons")

RGB = Modality("rgb", None, None, ("red", "green", "blue"), size=(64, 64))
ONE_BAND = Modality("x", None, None, ("B1",), size=(64, 64))
SECRET = b"root:x:0:0:top secret:/root:/bin/sh\n" * 10


@pytest.fixture
def server(server):
    server.serve("x.tif", b"")
    return server


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


def tiff(shape=(1, 64, 64), tags=(), **form):
    with MemoryFile() as memory:
        bands, height, width = shape
        form = {"dtype": "uint8", "transform": from_bounds(0, 0, 640, 640, width, height), "crs": "EPSG:32633"} | form
        with memory.open(driver="GTiff", count=bands, height=height, width=width, **form) as file:
            if not form.get("SPARSE_OK"):
                file.write(np.ones(shape, form["dtype"]))
            for domain, values in tags:
                file.update_tags(ns=domain, **values)
        return bytes(memory.read())


def raw_vrt(source, bands=1, relative=0):
    raw = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band + 1}" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativetoVRT="{relative}">{source}</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>8</LineOffset></VRTRasterBand>"
        for band in range(bands)
    )
    return f'<VRTDataset rasterXSize="8" rasterYSize="8">{raw}</VRTDataset>'.encode()


def simple_vrt(source):
    return (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    ).encode()


def wms(url):
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}</ServerUrl></Service><DataWindow>'
        "<UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>0</LowerRightY>"
        "<SizeX>8</SizeX><SizeY>8</SizeY><TileLevel>0</TileLevel></DataWindow><BandsCount>1</BandsCount>"
        "<BlockSizeX>8</BlockSizeX><BlockSizeY>8</BlockSizeY></GDAL_WMS>"
    ).encode()


# --- files that lead elsewhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("modality", "bands"), [(ONE_BAND, 1), (RGB, 3)])
def test_a_raw_vrt_reads_no_file_of_the_system(secret, modality, bands):
    with pytest.raises(RasterError):
        read_image(raw_vrt(secret, bands), modality)


def test_a_tiff_that_holds_a_vrt_reads_no_file_of_the_system(secret):
    with pytest.raises(RasterError):
        decode(simple_vrt(secret))


@pytest.mark.parametrize("kind", ["wms", "vrt", "vsicurl", "stac"])
def test_no_picture_makes_a_request(server, kind):
    url = server.url("x.tif")
    content = {
        "wms": wms(url),
        "vrt": simple_vrt(url),
        "vsicurl": simple_vrt(f"/vsicurl/{url}"),
        "stac": json.dumps(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "properties": {"proj:epsg": 4326},
                "assets": {"a": {"href": url, "proj:shape": [8, 8], "proj:transform": [1, 0, 0, 0, -1, 0]}},
            }
        ).encode(),
    }[kind]
    with pytest.raises(RasterError):
        decode(content)
    assert server.asked == []


@pytest.mark.parametrize("domain", [("OVERVIEWS", "OVERVIEW_FILE"), ("ProxyOverviewRequest", "FILENAME")])
@pytest.mark.parametrize("target", ["file", "address"])
def test_a_tiff_s_overviews_are_no_other_file(tmp_path, server, secret, domain, target):
    folder = tmp_path / "scene"
    folder.mkdir()
    (tmp_path / "o.vrt").write_bytes(raw_vrt(secret))
    named = str(tmp_path / "o.vrt") if target == "file" else f"/vsicurl/{server.url('x.tif')}"
    (folder / "B1.tif").write_bytes(tiff())
    # Less pixels than the other band, but more rows, so that it is read from its overviews.
    (folder / "B2.tif").write_bytes(tiff((1, 500, 8), tags=[(domain[0], {domain[1]: named})]))
    try:
        pixels, _ = scene.read_bands(folder, "{band}.tif", ["B1", "B2"], "nearest")
    except UserError:
        pixels = np.zeros(0)
    assert not set(SECRET) & set(pixels.ravel().tolist())
    assert server.asked == []


def test_files_beside_a_band_change_nothing(tmp_path, secret):
    folder = tmp_path / "scene"
    folder.mkdir()
    for band in ("B1", "B2"):
        (folder / f"{band}.tif").write_bytes(tiff())
        (folder / f"{band}.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{secret}</MDI></Metadata></PAMDataset>'
        )
        (folder / f"{band}.tif.ovr").write_bytes(raw_vrt(secret))
    pixels, _ = scene.read_bands(folder, "{band}.tif", ["B1", "B2"], "nearest")
    assert (pixels == 1).all()


def test_a_mask_beside_a_band_that_leads_elsewhere_is_refused(tmp_path, secret):
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "B1.tif").write_bytes(tiff())
    (folder / "B1.tif.msk").write_bytes(raw_vrt(secret))
    with pytest.raises(UserError, match=r"B1\.tif, band B1, has a mask file \(\.msk\) that cannot be read as a raster"):
        scene.read_bands(folder, "{band}.tif", ["B1"], "nearest")


def test_pillow_runs_no_program(tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(RasterError):
        read_image(eps, RGB)
    assert not (tmp_path / "ran").exists()


def test_hostile_pictures_of_a_folder_are_set_aside_one_by_one(tmp_path, server, secret):
    modalities = (Modality("rgb", None, None, ("red", "green", "blue"), size=(64, 64)),)
    options = {"shares": {"val": 0.2, "test": 0.2}, "archive": str(tmp_path / "images")}
    dataset = dataclasses.replace(load_dataset("eurosat_rgb"), modalities=modalities, options=options, sources=())
    pictures = {
        "good": png_of(np.ones((64, 64, 3), "uint8")),
        "vrt": raw_vrt(secret, 3),
        "wms": wms(server.url("x.tif")),
        "tiff": tiff((3, 60_000, 60_000), SPARSE_OK=True, tiled=True, compress="deflate"),
        "png": png(60_000, 60_000),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        "empty": b"",
    }
    (tmp_path / "images" / "Forest").mkdir(parents=True)
    for name, content in pictures.items():
        (tmp_path / "images" / "Forest" / f"{name}.png").write_bytes(content)
    read = {item.id: item for item in folder_reader.read(dataset, tmp_path, "rgb", list(pictures))}
    assert isinstance(read.pop("good"), Sample)
    assert set(read) == set(pictures) - {"good"}
    assert all(isinstance(item, Rejected) and item.reason for item in read.values())
    assert server.asked == []


# --- sizes -----------------------------------------------------------------------------------------------------------


def png(width, height):
    """A PNG that states a size and holds a line of it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 + 3 * width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def png_of(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def jpeg_2000(width, height):
    with MemoryFile(ext=".jp2") as memory:
        with memory.open(driver="JP2OpenJPEG", count=1, height=64, width=64, dtype="uint8") as file:
            file.write(np.ones((1, 64, 64), "uint8"))
        content = bytearray(memory.read())
    at = content.index(b"ihdr") + 4
    content[at : at + 8] = struct.pack(">II", height, width)
    at = content.index(b"\xff\x51") + 6
    content[at : at + 8] = struct.pack(">II", width, height)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "modality"),
    [
        (lambda: tiff((1, 100_000, 100_000), SPARSE_OK=True, tiled=True, compress="deflate"), ONE_BAND),
        (lambda: tiff((3, 60_000, 60_000), SPARSE_OK=True, tiled=True, compress="deflate"), RGB),
        (lambda: tiff((1, 20_000, 20_000), SPARSE_OK=True, dtype="float64"), ONE_BAND),
        (lambda: png(12_000, 12_000), RGB),
        (lambda: png(60_000, 60_000), ONE_BAND),
        (lambda: jpeg(13_000, 13_000), RGB),
        (lambda: jpeg(65_000, 65_000), ONE_BAND),
        (lambda: jpeg_2000(40_000, 40_000), ONE_BAND),
        (lambda: jpeg_2000(12_000, 12_000), RGB),
    ],
    ids=["tiff", "rgb tiff", "float64 tiff", "png", "png band", "jpeg", "jpeg band", "jpeg 2000 band", "jpeg 2000"],
)
def test_a_size_is_refused_before_it_is_decoded(content, modality):
    with pytest.raises(RasterError, match=r"states .*the limit is|opj_read_header"):
        read_image(content(), modality)


def test_without_a_known_size_the_limit_is_a_gigabyte():
    content = tiff((1, 100_000, 100_000), SPARSE_OK=True, tiled=True, compress="deflate")
    with pytest.raises(RasterError, match=r"10,000,000,000 bytes; the limit is 1,073,741,824"):
        decode(content)


def test_strips_that_lie_over_each_other_are_not_put_together():
    strips, length = 20_000, 1_000_000
    entries = [(256, 4, 1, 1000), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (277, 3, 1, 1), (278, 4, 1, 1)]
    lists = 8 + 2 + 12 * 8 + 4
    entries += [(273, 4, strips, lists), (279, 4, strips, lists + 4 * strips)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    offsets = np.full(strips, 1000, "<u4").tobytes() + np.full(strips, length, "<u4").tobytes()
    content = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + offsets + bytes(length)
    try:
        pixels = decode(content).pixels
    except RasterError:
        return
    assert pixels.nbytes <= strips * 1000


def test_a_block_that_is_larger_than_the_picture_is_refused():
    content = bytearray(tiff((1, 16, 16), tiled=True, blockxsize=16, blockysize=16, compress="deflate"))
    at = 4 if content[:2] == b"II" else None
    (directory,) = struct.unpack_from("<I", content, at)
    (count,) = struct.unpack_from("<H", content, directory)
    for number in range(count):
        entry = directory + 2 + 12 * number
        if struct.unpack_from("<H", content, entry)[0] in (322, 323):
            struct.pack_into("<HII", content, entry + 2, 4, 1, 64_000)
    with pytest.raises(RasterError):
        decode(bytes(content))


def test_a_small_sample_may_be_stored_in_large_blocks():
    content = tiff((1, 16, 16), tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    small = Modality("x", None, None, ("B1",), size=(16, 16))
    assert read_image(content, small).pixels.shape == (1, 16, 16)


def test_a_field_without_values_is_an_error_and_nothing_worse():
    content = bytearray(tiff())
    (directory,) = struct.unpack_from("<I", content, 4)
    for number in range(struct.unpack_from("<H", content, directory)[0]):
        changed = bytearray(content)
        struct.pack_into("<I", changed, directory + 2 + 12 * number + 4, 0)
        try:
            decode(bytes(changed))
        except RasterError:
            continue


def test_a_png_that_breaks_off_is_no_black_picture():
    whole = png_of(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    with pytest.raises(RasterError, match="truncated"):
        decode(whole[:-40])


def test_a_scene_that_no_memory_holds_is_refused(tmp_path):
    side = 16 * math.ceil(math.sqrt(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 16)
    for band in ("B1", "B2"):
        content = tiff((1, side, side), SPARSE_OK=True, tiled=True, compress="deflate")
        (tmp_path / f"{band}.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"the scene states [0-9,]+ bytes of pixels, and this machine has"):
        scene.read_bands(tmp_path, "{band}.tif", ["B1", "B2"], "nearest")


@pytest.mark.parametrize(
    "content", [b'{"labels": "abc"}', b'{"labels": [1, 2]}', b'{"labels": {"a": 1}}', b"[" * 100_000]
)
def test_odd_labels_are_a_fault_of_their_sample(content):
    with pytest.raises(Exception, match="its file of labels is damaged"):
        _json_labels(content)


def test_a_list_that_expands_beyond_measure_is_refused(tmp_path, monkeypatch):
    import bz2

    monkeypatch.setattr("bandbridge.ingest.readers.bigearthnet.MOST_LIST_BYTES", 1_000_000)
    (tmp_path / "train.csv.bz2").write_bytes(bz2.compress(bytes(2_000_000)))
    with pytest.raises(UserError, match="expands to more than"):
        list(_rows(tmp_path, "train.csv"))


# --- polygons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "url", "properties": {"url": "ADDRESS"}},
        {"type": "link", "properties": {"href": "ADDRESS", "type": "ogcwkt"}},
        {"type": "name", "properties": {"name": "ADDRESS"}},
        {"type": "OGC", "properties": {"urn": "ADDRESS"}},
        "ADDRESS",
        7,
    ],
)
def test_a_reference_system_is_not_fetched(tmp_path, server, crs):
    crs = json.loads(json.dumps(crs).replace("ADDRESS", server.url("crs")))
    point = {"type": "Feature", "properties": {"a": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [point]}))
    with pytest.raises(UserError, match="states its reference system as"):
        scene.read_polygons(tmp_path, "p.geojson")
    assert server.asked == []


@pytest.mark.parametrize("kind", ["vrt", "gdalg", "gml", "wfs", "view", "csv", "svg"])
def test_polygons_lead_nowhere_else(tmp_path, server, kind):
    folder = tmp_path / "data"
    folder.mkdir()
    other = tmp_path / "other.geojson"
    thirds().to_file(other)
    name = "p.gpkg" if kind == "view" else "p.geojson"
    if kind == "view":
        thirds().to_file(folder / name)
        with sqlite3.connect(folder / name) as database:
            database.execute("CREATE VIEW v AS SELECT ogr_datasource_load_layers('/etc/passwd') AS x")
    else:
        content = {
            "vrt": f'<OGRVRTDataSource><OGRVRTLayer name="other"><SrcDataSource>{other}</SrcDataSource>'
            "</OGRVRTLayer></OGRVRTDataSource>",
            "gdalg": json.dumps(
                {
                    "type": "gdal_streamed_alg",
                    "command_line": f"gdal vector pipeline ! read {other} ! write streamed_dataset --of stream",
                }
            ),
            "gml": '<?xml version="1.0"?><ogr:FeatureCollection xmlns:ogr="http://ogr.maptools.org/" '
            'xmlns:gml="http://www.opengis.net/gml" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            f'xsi:schemaLocation="http://ogr.maptools.org/ {server.url("x.xsd")}"><gml:featureMember><ogr:p fid="1">'
            "<ogr:cover>water</ogr:cover></ogr:p></gml:featureMember></ogr:FeatureCollection>",
            "wfs": f"<OGRWFSDataSource><URL>{server.url('wfs')}</URL></OGRWFSDataSource>",
            "csv": "cover,WKT\nwater,POINT (1 1)\n",
            "svg": "<svg/>",
        }[kind]
        (folder / name).write_text(content)
    with pytest.raises(UserError):
        scene.read_polygons(folder, name)
    assert server.asked == []
