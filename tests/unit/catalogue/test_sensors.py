"""Band orders and composites."""

import numpy as np
import pytest

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Composite
from bandbridge.catalogue.sensors import SENSORS, SENTINEL_1, SENTINEL_2, STUDENT_BANDS, composite, order_bands

EUROSAT = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
TRUE_COLOUR = Composite(("B04", "B03", "B02"), 3558.0)


def test_the_student_order_is_that_of_ssl4eo_s12():
    assert " ".join(STUDENT_BANDS) == "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12"


def test_sentinel_2_bands_are_in_the_order_of_their_wavelengths():
    wavelengths = [band.wavelength for band in SENTINEL_2.bands]
    assert wavelengths == sorted(wavelengths)
    assert {band.name for band in SENTINEL_2.bands if band.resolution == 10} == {"B02", "B03", "B04", "B08"}


def test_level_2a_lacks_the_cirrus_band_only():
    assert set(SENTINEL_2.band_names("L1C")) - set(SENTINEL_2.band_names("L2A")) == {"B10"}
    assert SENTINEL_1.band_names("GRD") == ("VV", "VH")


def test_an_unknown_product_level_is_explained():
    with pytest.raises(UserError, match="Sentinel-2 has no product 'L3'; its products: L1C, L2A"):
        SENSORS["sentinel-2"].band_names("L3")


def test_eurosat_bands_are_reordered_by_name():
    positions = order_bands(EUROSAT, STUDENT_BANDS)
    assert [EUROSAT[at] for at in positions] == list(STUDENT_BANDS)
    assert positions[8] == 12


def test_the_absent_cirrus_band_has_no_position():
    positions = order_bands(SENTINEL_2.band_names("L2A"), STUDENT_BANDS)
    assert [name for name, at in zip(STUDENT_BANDS, positions, strict=True) if at is None] == ["B10"]


def test_any_other_absent_band_is_named():
    with pytest.raises(UserError, match=r"band B8A is missing: found 2 bands \(B08 B09\), needed B08 B8A"):
        order_bands(("B08", "B09"), ("B08", "B8A"))


def test_a_band_listed_twice_is_named():
    with pytest.raises(UserError, match="band B02 is listed more than once"):
        order_bands(("B02", "B03", "B02"), ("B02",))


def test_a_composite_divides_clips_and_truncates():
    pixels = np.zeros((1, 13, 1, 3), np.uint16)
    pixels[0, EUROSAT.index("B04")] = [[0, 1779, 3558]]
    pixels[0, EUROSAT.index("B03")] = [[3557, 13, 14]]
    pixels[0, EUROSAT.index("B02")] = [[65535, 27, 28]]
    picture = composite(pixels, EUROSAT, TRUE_COLOUR)
    assert picture.dtype == np.uint8
    assert picture[0, :, 0].tolist() == [[0, 127, 255], [254, 0, 1], [255, 1, 2]]


def test_a_composite_keeps_leading_dimensions():
    pixels = np.random.default_rng(0).integers(0, 5000, (2, 4, 13, 5, 6))
    picture = composite(pixels, EUROSAT, TRUE_COLOUR)
    assert picture.shape == (2, 4, 3, 5, 6)
    np.testing.assert_array_equal(picture[1, 2], composite(pixels[1, 2], EUROSAT, TRUE_COLOUR))


def test_a_composite_of_absent_bands_is_refused():
    with pytest.raises(UserError, match="band B03 is missing"):
        composite(np.zeros((2, 4, 4)), ("B04", "B02"), TRUE_COLOUR)
