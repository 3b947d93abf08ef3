"""Bands are told by name, description, common name or the user; nothing is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import SENTINEL_2
from bandbridge.use.bands import canonical, match_bands, must_have

WANTED = tuple(band.name for band in SENTINEL_2.bands)


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("B4", "B04"),
        ("b04", "B04"),
        ("Band 4", "B04"),
        ("band_8a", "B8A"),
        ("B8a", "B8A"),
        ("B04 (665 nm)", "B04"),
        ("T33UUU_20170216T102101_B04_10m", "B04"),
        ("S2A_MSIL2A_20170613T101031_87_48_B8A", "B8A"),
        ("red", "B04"),
        ("NIR08", "B8A"),
        ("swir16", "B11"),
        ("VV", "VV"),
        ("S1A_IW_GRDH_VH", "VH"),
        ("SR_B4", None),  # Landsat's B4 is red as well, but its B5 is near infrared
        ("LC08_L2SP_193023_20200801_SR_B5", None),
        ("elevation", None),
        ("B04/B08", None),  # two bands: an index
        ("B17", None),
    ],
)
def test_a_band_is_known_by_its_usual_spellings(name, band):
    assert canonical(name, WANTED) == band


@given(st.sampled_from(WANTED), st.sampled_from(["{}", "{} ", "x_{}", "{}_20m", "tile.{}.v2"]), st.booleans())
def test_every_band_is_found_in_longer_names_in_any_case(band, pattern, upper):
    name = pattern.format(band)
    assert canonical(name.upper() if upper else name.lower(), WANTED) == band


def test_names_of_another_sensor_are_its_own():
    assert match_bands(["B1", "B2", "b3"], ("B1", "B2", "B3"), "x.tif") == ("B1", "B2", "B3")
    assert canonical("Band 04", ("B1", "B4")) == "B4"


def test_a_file_without_names_asks_for_them():
    with pytest.raises(UserError, match=r"none of its 2 bands has a name.*--bands B01,B02"):
        match_bands([None, None], WANTED, "x.tif")


def test_stated_names_count_and_a_dash_passes_over_a_band():
    assert match_bands([None, "B04", None], WANTED, "x.tif", ["b2", "-", "Band 8"]) == ("B02", "", "B08")
    with pytest.raises(UserError, match=r"2 names .*the file 3 bands"):
        match_bands([None, None, None], WANTED, "x.tif", ["B02", "B03"])


def test_another_sensors_file_is_refused_with_both_lists():
    with pytest.raises(UserError, match=r"SR_B2, SR_B3.*B01 B02.*another sensor"):
        match_bands(["SR_B2", "SR_B3"], WANTED, "landsat.tif")


def test_two_bands_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"B04 is the name of several"):
        match_bands(["B04", "red"], WANTED, "x.tif")


def test_a_missing_band_is_refused_or_listed():
    assert must_have(["B02"], ["B02", "B10"], "x.tif", ["B10"]) == ["B10"]
    with pytest.raises(UserError, match=r"x\.tif: band B03 is missing"):
        must_have(["B02"], ["B02", "B03"], "x.tif")
