"""Notes that GDAL writes beside a file (.aux.xml) count as GDAL counts them; statistics change nothing."""

import shutil

import numpy as np
import pytest
import rasterio
from own_files import noise, samples_of, write
from rasterio.shutil import copy

from bandbridge.ingest.declarations import declarations_of
from bandbridge.ingest.listing import file_listing
from bandbridge.ingest.rasters import RasterError, decode
from bandbridge.ingest.side_files import SideFiles, states_something, with_side_files

STATISTICS = b"""<PAMDataset>
  <PAMRasterBand band="1">
    <Histograms><HistItem><HistMin>0</HistMin><HistMax>9</HistMax><HistCounts>1|2</HistCounts></HistItem></Histograms>
    <Metadata><MDI key="STATISTICS_MAXIMUM">9</MDI><MDI key="STATISTICS_MEAN">4.5</MDI></Metadata>
  </PAMRasterBand>
</PAMDataset>"""
NODATA = b'<PAMDataset><PAMRasterBand band="%d"><NoDataValue>9.0E+03</NoDataValue></PAMRasterBand></PAMDataset>'


def notes_by_gdal(folder, **stated):
    """What GDAL writes beside a PNG, which can hold none of it."""
    path = write(folder / "stated.tif", noise(3, 16, 16, "uint16"), **stated)
    copy(path, folder / "stated.png", driver="PNG")
    return (folder / "stated.png.aux.xml").read_bytes()


@pytest.mark.parametrize("bare", [{}, {"nodata": 5}, {"names": ["x", "y", "z"]}, {"crs": "EPSG:32631"}], ids=str)
@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"nodata": 9},
        {"scales": (0.5, 1.0, 2.0), "offsets": (0.0, -3.0, 7.0)},
        {"names": ["B02", "", "B04"]},
        {"crs": "EPSG:3035"},
        {"tags": {"BOA_ADD_OFFSET": "-1000"}},
    ],
    ids=str,
)
def test_notes_mean_what_gdal_makes_of_them(tmp_path, bare, stated):
    notes = notes_by_gdal(tmp_path, **stated)
    content = write(tmp_path / "bare.tif", noise(3, 16, 16, "uint16"), **bare).read_bytes()
    (tmp_path / "bare.tif.aux.xml").write_bytes(notes)
    raster = with_side_files(decode(content), SideFiles(notes=notes))
    with rasterio.open(tmp_path / "bare.tif") as file:
        expected = declarations_of(file)
    assert raster.grid == expected.grid
    for name in ("nodata", "scales", "offsets", "names", "colours", "tags"):
        assert getattr(raster.stated, name) == getattr(expected, name), name


def noted_images(own):
    def four_columns_of_9000(pixels, i):
        pixels[:, :, :4] = 9000
        return pixels

    own.images(four_columns_of_9000)
    notes = b"".join(NODATA[12:-13] % band for band in range(1, 5))
    for path in list(own.files.rglob("*.tif")):
        path.with_name(f"{path.name}.aux.xml").write_bytes(b"<PAMDataset>" + notes + b"</PAMDataset>")


@pytest.mark.parametrize("kind", ["", "zip", "tar"])
def test_values_of_no_data_beside_a_file_count(own, kind):
    noted_images(own)
    archive = {"archive": shutil.make_archive(str(own.root / "packed"), kind, own.files)} if kind else {}
    store = own.store(own.folder(options=archive))
    assert set(store.split("train").valid_share.tolist()) == {0.75}
    assert all(pixels.max() < 3000 for pixels in samples_of(store).values())


def test_damaged_notes_are_an_error_that_names_them(own):
    noted_images(own)
    (own.files / "water" / "water_0.tif.aux.xml").write_bytes(b"<PAMDataset>")
    own.store(own.folder(), max_quarantined_share=0.5)
    assert own.quarantine()["water_0"].startswith("has notes beside it (.aux.xml) that cannot be read (no element")


@pytest.mark.parametrize(
    "notes",
    [
        b'<!DOCTYPE x [<!ENTITY y "z">]><PAMDataset>&y;</PAMDataset>',
        b"<PAMDataset><SRS>nowhere</SRS><GeoTransform>0,1,0,0,0,1</GeoTransform></PAMDataset>",
        b"<PAMDataset><SRS>EPSG:4326</SRS><GeoTransform>0,1,0</GeoTransform></PAMDataset>",
        NODATA.replace(b"9.0E+03", b"nine") % 1,
        NODATA.replace(b'"%d"', b'"one"'),
    ],
)
def test_notes_that_cannot_be_understood_are_refused(tmp_path, notes):
    raster = decode(write(tmp_path / "a.tif", noise(3, 16, 16, "uint16")).read_bytes())
    with pytest.raises(RasterError, match=r"has notes beside it \(\.aux\.xml\) that cannot be read .*; remove them"):
        with_side_files(raster, SideFiles(notes=notes))
    assert states_something(notes)


def test_statistics_state_nothing(tmp_path):
    assert not states_something(STATISTICS)
    raster = decode(write(tmp_path / "a.tif", noise(3, 16, 16, "uint16")).read_bytes())
    noted = with_side_files(raster, SideFiles(notes=STATISTICS))
    assert (noted.grid, noted.stated.nodata) == (raster.grid, raster.stated.nodata)
    np.testing.assert_array_equal(noted.pixels, raster.pixels)


def test_statistics_that_come_change_no_listing_and_notes_do(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    before = file_listing(tmp_path)
    listings = []
    for number, notes in enumerate((STATISTICS, NODATA % 1)):
        folder = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}_{number}")
        (folder / "a.tif.aux.xml").write_bytes(notes)
        listings.append(file_listing(folder))
    assert listings[0] == before
    assert listings[1] != before
