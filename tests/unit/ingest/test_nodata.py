"""What a file calls no data is never a pixel value: stored as a fill value, left out of everything that computes."""

import shutil

import numpy as np
import pytest
import rasterio
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from own_files import CLASSES, PLACE, noise, samples_of, write
from PIL import Image
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import composite
from bandbridge.ingest.nodata import FILL, not_measured, to_grid_with_data, with_fill
from bandbridge.ingest.readers import reader
from bandbridge.models.students import band_statistics
from bandbridge.reporting.page.datasets import dataset_page
from bandbridge.store.dataset import Store


def patches(own, dtype, fill, state=None, **more):
    """Four files a class: whole, half without data, one pixel without, whole."""

    def without_data(pixels, i):
        if i == 1:
            pixels[:, :, :8] = fill
        if i == 2:
            pixels[:, :1, :1] = fill
        return pixels

    own.images(without_data, count=4, dtype=dtype, **({"nodata": fill} if state is None else state), **more)


CASES = [
    ("int16", -9999),
    ("float32", -9999.0),
    ("float32", np.nan),
    ("float32", -3.4028234663852886e38),
    ("uint16", 0),
    ("uint16", 65535),
]


@pytest.mark.parametrize(("dtype", "fill", "compress"), [*((*case, "none") for case in CASES), (*CASES[0], "deflate")])
def test_a_declared_value_is_the_fill_value_of_the_store_and_no_pixel(own, dtype, fill, compress):
    patches(own, dtype, fill, compress=compress)
    store = own.store(own.folder())
    seen = samples_of(store)
    assert len(seen) == 12
    for name, pixels in seen.items():
        assert np.isfinite(pixels).all()
        assert pixels.min() >= 200, name
        assert pixels.max() < 3000, name
    shares = {name: share for split in store.splits for name, share in shares_of(store, split).items()}
    assert shares["forest_0"] == 1
    assert shares["forest_1"] == 0.5
    assert shares["forest_2"] == pytest.approx(255 / 256)
    for split in store.splits:
        opened = xarray.open_zarr(store.path, group=split)
        gaps = dict(zip(opened.id.values.tolist(), np.isnan(opened.s2.values).mean(axis=(1, 2, 3)), strict=True))
        assert gaps == pytest.approx({name: 1 - share for name, share in shares_of(store, split).items()})


@pytest.mark.parametrize(("dtype", "fill"), [("int16", -9999), ("float32", np.finfo("float32").min), ("float32", 1e35)])
def test_what_no_sensor_measures_is_no_pixel_where_no_file_states_it(own, dtype, fill):
    patches(own, dtype, fill, state={})
    with pytest.raises(UserError, match=r"6  a value is \S+, which is no measurement; .* state it as nodata"):
        own.store(own.folder())
    store = own.store(own.folder(modality={"nodata": float(fill)}))
    assert sum(len(store.split(split)) for split in store.splits) == 12


@pytest.mark.parametrize("fill", [-999, -9999, -32768, 3.4e38])
def test_what_no_radar_measures_is_no_pixel_where_no_file_states_it(own, fill):
    own.images(
        lambda pixels, i: np.where(np.arange(16) < 4 * (i == 1), fill, pixels / 100 - 30).astype("float32"),
        bands=2,
        dtype="float32",
    )
    radar = {"sensor": "sentinel-1", "product": "GRD", "bands": ["VV", "VH"]}
    with pytest.raises(UserError, match=r"3  a value is \S+, which is no measurement; .* state it as nodata"):
        own.store(own.folder(modalities={"s1": radar}))
    store = own.store(own.folder(modalities={"s1": radar | {"nodata": float(fill)}}))
    assert sum(len(store.split(split)) for split in store.splits) == 9


@pytest.mark.parametrize("missing", [-np.inf, np.nan])
def test_decibels_of_zero_are_refused_and_nan_in_their_place_is_no_data(own, missing):
    own.images(
        lambda pixels, i: np.where(np.arange(16) < 4, missing, pixels / 100 - 30).astype("float32"),
        bands=2,
        dtype="float32",
    )
    dataset = own.folder(modalities={"s1": {"sensor": "sentinel-1", "product": "GRD", "bands": ["VV", "VH"]}})
    if np.isinf(missing):
        with pytest.raises(UserError, match=r"9  128 of 512 values are not finite .* mark missing data, make NaN of"):
            own.store(dataset)
        return
    empty = np.isnan(xarray.open_zarr(own.store(dataset).path, group="train").s1.values)
    assert empty[..., :4].all()
    assert not empty[..., 4:].any()


@pytest.mark.parametrize(
    ("unit", "possible", "impossible"),
    [
        ("dB", [-90.0, 40.0], [-999.0, 9999.0]),
        ("kelvin", [200.0, 340.0], [0.0, -9999.0]),
        ("°C", [-80.0, 60.0], [-273.15, -9999.0]),
        ("reflectance", [-0.1, 2.0], [-9999.0, 3e38]),
        ("digital numbers", [-9999.0, 1e6], [-3e38, 3e38]),
        (None, [-9999.0, 1e6], [-3e38, 3e38]),
    ],
)
def test_each_unit_has_values_that_no_sensor_measures(unit, possible, impossible):
    assert not_measured(np.array(possible), unit) is None
    for value in impossible:
        assert not_measured(np.array([*possible, value]), unit) == value


def shares_of(store, split):
    samples = store.split(split)
    return dict(zip(samples.ids.tolist(), samples.valid_share.tolist(), strict=True))


def four_columns_of_9000(pixels, i):
    pixels[:, :, :4] = 9000
    return pixels


def without_four_columns(side=16):
    """A mask."""
    mask = np.full((side, side), 255, np.uint8)
    mask[:, :4] = 0
    return mask


def must_lack_four_columns(store):
    shares = [share for split in store.splits for share in shares_of(store, split).values()]
    assert shares == [0.75] * 9
    assert all(pixels.max() < 3000 for pixels in samples_of(store).values())


def test_a_mask_inside_the_file_is_no_data(own):
    own.images(four_columns_of_9000, mask=without_four_columns())
    must_lack_four_columns(own.store(own.folder()))


def masks_beside(own):
    """Files with a mask each beside them, which has no data in the first four columns."""
    own.images(four_columns_of_9000)
    for path in list(own.files.rglob("*.tif")):
        write(path.with_name(f"{path.name}.msk"), without_four_columns()[None])


@pytest.mark.parametrize("images", ["*.tif", "*"])
def test_a_mask_beside_the_file_is_no_data(own, images):
    masks_beside(own)
    must_lack_four_columns(own.store(own.folder(options={"images": images})))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_masks_in_archives_are_read(own, kind):
    masks_beside(own)
    archive = shutil.make_archive(str(own.root / "packed"), kind, own.files)
    must_lack_four_columns(own.store(own.folder(options={"archive": archive})))


def test_a_mask_of_another_size_is_refused(own):
    masks_beside(own)
    write(own.files / "water" / "water_0.tif.msk", np.zeros((1, 8, 8), np.uint8))
    (own.files / "water" / "water_1.tif.msk").write_bytes(b"II*\0 and so on")
    own.store(own.folder(), max_quarantined_share=0.5)
    reasons = own.quarantine()
    assert reasons["water_0"] == "has a mask file (.msk) of 8 x 8 pixels, expected 16 x 16"
    assert reasons["water_1"].startswith("has a mask file (.msk) that cannot be read")


def test_masks_beside_the_band_files_of_a_scene_and_of_a_table_are_no_data(own):
    mask = np.full((1, 192, 192), 255, np.uint8)
    mask[:, :, :64] = 0
    for band in ("B02", "B03", "B04"):
        write(own.files / f"{band}.tif", noise(1, 192, 192))
    write(own.files / "B03.tif.msk", mask)
    dataset = own.scene(options={"blocks": ["tttve"], "block": 32})
    assert min(int(sample.id.split("_")[-1]) for sample in reader(dataset).plan(dataset, own.files)) == 64
    table = bands_of_a_table(own, nodata=None, mask=None)
    half = np.full((1, 16, 16), 255, np.uint8)
    half[:, 8:] = 0
    write(own.files / "p3_B04.tif.msk", half)
    samples = {item.id: item for item in reader(table).read(table, own.files, "s2", {"p3", "p4"})}
    assert samples["p3"].valid[2, :16].all()
    assert not samples["p3"].valid[2, 18:].any()


def test_an_alpha_band_is_no_band(own):
    def transparent_above(pixels, i):
        pixels[4] = 65535
        pixels[4, :2] = 0
        pixels[:4, :2] = 60000
        return pixels

    own.images(transparent_above, bands=5, colours=[ColorInterp.gray] * 4 + [ColorInterp.alpha])
    store = own.store(own.folder())
    assert all(share == 0.875 for split in store.splits for share in shares_of(store, split).values())
    assert all(pixels.shape == (4, 16, 16) and pixels.max() < 3000 for pixels in samples_of(store).values())


def test_what_the_data_sets_file_calls_no_data_counts_beside_the_files_own(own):
    patches(own, "int16", -1, state={"nodata": -9999})
    store = own.store(own.folder(modality={"nodata": -1}))
    assert shares_of(store, "train") | shares_of(store, "val") | shares_of(store, "test")
    assert all(pixels.min() >= 200 for pixels in samples_of(store).values())


def test_files_that_state_it_wrongly_can_be_overruled(own):
    patches(own, "uint16", 0)
    store = own.store(own.folder(modality={"nodata": "ignore"}))
    assert store.fill_value is None
    assert samples_of(store)["forest_1"][:, :, :8].max() == 0


def test_no_data_of_one_band_alone(own):
    def sevens(pixels, i):
        pixels[2, :4] = 7
        return pixels

    own.images(sevens)
    store = own.store(own.folder(modality={"nodata": [1, 2, 7, 8]}))
    train = store.split("train")
    pixels, valid = train.read_with_validity(np.arange(len(train)))
    assert not valid[:, 2, :4].any()
    assert valid[:, [0, 1, 3]].all()
    for sample in pixels:
        assert abs(float(sample[2, :4].mean()) - float(sample[2, 4:].mean())) <= 0.5


def test_a_store_without_such_statements_is_as_ever(own):
    patches(own, "uint16", 250, state={})
    store = own.store(own.folder())
    attributes = xarray.open_zarr(store.path, group="train").s2.attrs
    assert attributes["units"] == "reflectance x 10000"
    assert "_FillValue" not in xarray.open_zarr(store.path, group="train", mask_and_scale=False).s2.attrs
    assert store.split("train").valid_share is None
    assert not (store.path / "train" / "valid_share").exists()


def test_samples_with_too_few_pixels_are_in_quarantine_and_counted(own):
    patches(own, "int16", -9999)
    dataset = own.folder(options={"min_valid_share": 0.9})
    with pytest.raises(UserError, match=r"3  50% of its pixels hold data in all bands, min_valid_share is 90%"):
        own.store(dataset)
    own.store(dataset, max_quarantined_share=0.5)
    assert own.quarantine().keys() == {f"{name}_1" for name in CLASSES}


def test_a_sample_without_any_data_is_never_kept(own):
    patches(own, "int16", -9999)
    write(own.files / "water" / "empty.tif", np.full((4, 16, 16), -9999, "int16"), nodata=-9999)
    own.store(own.folder(options={"min_valid_share": 0}), max_quarantined_share=0.5)
    assert own.quarantine() == {"empty": "0% of its pixels hold data in all bands, min_valid_share is 0%"}


def test_a_band_without_any_data_has_its_mean_in_the_train_split(own):
    def without_the_last(pixels, i):
        pixels[3] *= i not in (1, 4)
        return pixels

    own.images(without_the_last, count=6, nodata=0)
    store = own.store(own.folder(options={"min_valid_share": 0}))
    assert len(samples_of(store)) == 18
    mean = store.facts["band_means"][3]
    assert 1000 < mean < 2200
    for name, pixels in samples_of(store).items():
        if name[-1] in "14":
            assert (pixels[3] == round(mean)).all()


def test_the_report_says_what_has_no_data_and_how_the_composite_is_made(own, tmp_path):
    patches(own, "int16", -9999, scales=[1e-4] * 4, offsets=[-0.1] * 4)
    composite = {"bands": ["B04", "B03", "B02"], "percentiles": [2, 98], "gamma": 1.2}
    store = own.store(own.folder(modality={"composite": composite}))
    facts = dataset_page(store.path, own.root / "stores" / "quarantine.csv").facts
    assert facts["Without data"].startswith("6 samples, of whose pixels 25")
    assert facts["Without data"].endswith("on average; -32768 marks missing data")
    assert facts["Conversion of the files' numbers"] == (
        "1 x number + -1000: scale and offset of the files' bands (12 samples)"
    )
    assert "black to white: " in facts["Composite"]
    assert facts["Composite"].endswith("(percentiles 2 and 98); gamma 1.2")


def test_statistics_and_composites_are_of_the_pixels_with_data(own):
    patches(own, "int16", -9999)
    store = own.store(own.folder())
    train = store.split("train")
    pixels, valid = train.read_with_validity(np.arange(len(train)))
    statistics = band_statistics(train, store.bands, store.bands)
    for band in range(4):
        values = pixels[:, band][valid[:, band]].astype(np.float64)
        assert statistics.mean[band] == pytest.approx(values.mean())
        assert statistics.std[band] == pytest.approx(values.std())
    pictures = composite(pixels, store.bands, store.composite)
    assert pictures[0].min() >= int(200 / 2000 * 255)


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 8])
def test_transparent_parts_of_pictures_are_no_data(own, size):
    for name in CLASSES:
        (own.files / name).mkdir()
        for i in range(3):
            values = noise(4, 16, 16, "uint8", 50, 100, seed=i).transpose(1, 2, 0).copy()
            values[..., 3] = 255
            values[:8, :] = (255, 0, 255, 0)
            Image.fromarray(values, "RGBA").save(own.files / name / f"{name}_{i}.png")
    modalities = {"rgb": {"bands": ["red", "green", "blue"]}}
    options = {"images": "*.png", "min_valid_share": 0.3, **({"picture_size": size} if size else {})}
    store = own.store(own.folder(modalities=modalities, options=options))
    for pixels in samples_of(store).values():
        assert pixels.min() >= 45
        assert pixels.max() <= 105


def test_of_a_picture_with_a_value_for_no_data_only_pixels_that_have_it_in_all_channels_are_without(own):
    def zeros(pixels, i):
        pixels[:, :4] = 0
        pixels[0, 8:] = 0
        return pixels

    own.images(zeros, bands=3, dtype="uint8", low=50, high=100, nodata=0, photometric="RGB")
    store = own.store(own.folder(modalities={"rgb": {"bands": ["red", "green", "blue"]}}))
    assert store.split("train").valid_share.tolist() == [0.75] * len(store.split("train"))
    for pixels in samples_of(store).values():
        assert pixels[:4].min() > 20
        assert pixels[8:, :, 0].max() <= 1


# --- resampling ----------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["uint16", "int16", "float32"]),
    side=st.sampled_from([(16, 32), (7, 21), (10, 61)]),
    method=st.sampled_from(["nearest", "bilinear", "cubic"]),
)
def test_resampling_with_gaps_is_gdals(seed, dtype, side, method):
    random = np.random.default_rng(seed)
    pixels = random.integers(100, 3000, (side[0], side[0])).astype(dtype)
    valid = random.random(pixels.shape) > 0.1
    stated = pixels.dtype.type(0 if dtype == "uint16" else -9999)
    form = {"driver": "GTiff", "dtype": dtype, "count": 1, "width": side[0], "height": side[0]}
    with MemoryFile() as memory:
        with memory.open(nodata=float(stated), crs="EPSG:32633", transform=PLACE, **form) as file:
            file.write(np.where(valid, pixels, stated), 1)
        with memory.open() as file:
            expected = file.read(1, out_shape=(side[1], side[1]), resampling=Resampling[method])
    resampled, with_data = to_grid_with_data(pixels, valid, side[1], side[1], method)
    np.testing.assert_array_equal(with_data, expected != stated)
    np.testing.assert_allclose(resampled[with_data], expected[with_data].astype(dtype), rtol=1e-5, atol=1)


def bands_of_a_table(own, **coarse):
    """A table of band files, of which B04 is coarser and has a gap."""

    def write_bands(i):
        for band in ("B02", "B03"):
            write(own.files / f"p{i}_{band}.tif", noise(1, 32, 32, "int16", seed=i), nodata=-9999)
        pixels = noise(1, 16, 16, "int16", seed=i)
        pixels[:, 6:8, 6:8] = -9999
        facts = {"transform": from_origin(500_000, 5_800_000, 20, 20), "nodata": -9999, **coarse}
        write(own.files / f"p{i}_B04.tif", pixels, **facts)

    return own.band_files(write_bands)


def test_no_value_is_invented_beside_gaps_of_a_coarse_band_file(own):
    store = own.store(bands_of_a_table(own))
    opened = xarray.open_zarr(store.path, group="train").s2.sel(band="B04")
    for name, sample in zip(opened.id.values.tolist(), opened.values, strict=True):
        with rasterio.open(own.files / f"{name}_B04.tif") as file:
            expected = file.read(1, out_shape=(32, 32), resampling=Resampling.bilinear).astype(float)
        expected[expected == -9999] = np.nan
        np.testing.assert_allclose(sample, expected, atol=1)


# --- scenes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "fill", "tag"), [("uint16", 0, 0), ("float32", np.nan, np.nan), ("float32", np.nan, None)]
)
def test_places_at_the_edge_of_the_swath_are_left_out_and_counted(own, capsys, dtype, fill, tag):
    for number, band in enumerate(("B02", "B03", "B04")):
        pixels = noise(1, 192, 192, dtype, seed=number)
        pixels[:, :, :72] = fill
        write(own.files / f"{band}.tif", pixels, nodata=tag)
    store = own.store(own.scene(options={"blocks": ["ttt", "vve", "eet"], "block": 64}))
    assert "60 left out: data on less than 0.9 of the area" in capsys.readouterr().err
    assert not own.quarantine()
    for split in store.splits:
        assert min(shares_of(store, split).values(), default=1) >= 0.9
    # Of a place of 16 columns, half may be kept if that is wanted.
    some = own.scene(options={"blocks": ["ttt", "vve", "eet"], "block": 64, "min_valid_share": 0.5})
    assert len(reader(some).plan(some, own.files)) == 12 * 8


def test_a_coarse_band_with_gaps_is_gdals_in_a_scene(own):
    for band in ("B02", "B03"):
        write(own.files / f"{band}.tif", noise(1, 192, 192, "int16"), nodata=-9999)
    pixels = noise(1, 96, 96, "int16")
    pixels[:, 40:44, 40:44] = -9999
    write(own.files / "B04.tif", pixels, transform=from_origin(500_000, 5_800_000, 20, 20), nodata=-9999)
    with rasterio.open(own.files / "B04.tif") as file:
        expected = file.read(1, out_shape=(192, 192), resampling=Resampling.bilinear)
    dataset = own.scene(options={"min_valid_share": 0})
    for sample in reader(dataset).read(
        dataset, own.files, "s2", {p.id for p in reader(dataset).plan(dataset, own.files)}
    ):
        row, col = (int(part) for part in sample.id.split("_")[-2:])
        place = expected[row : row + 16, col : col + 16]
        np.testing.assert_array_equal(sample.valid[2], place != -9999)
        np.testing.assert_array_equal(sample.pixels[2][sample.valid[2]], place[sample.valid[2]])


# --- the fill value ------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(FILL)), st.integers(0, 100))
def test_a_value_with_data_is_never_the_fill_value(dtype, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 3, (2, 4, 4)).astype(dtype)
    pixels.flat[0] = -32768 if dtype == "int16" else 0
    valid = random.random(pixels.shape) > 0.4
    filled = with_fill(pixels, valid)
    assert filled.dtype == dtype
    gaps = np.isnan(filled) if dtype == "float32" else filled == FILL[dtype]
    np.testing.assert_array_equal(gaps, ~valid)
    assert (np.abs(filled[valid].astype(float) - pixels[valid].astype(float)) <= 1).all()


def test_a_store_of_an_earlier_version_is_read(own):
    patches(own, "uint16", 0, state={})
    path = own.store(own.folder()).path
    store = Store(path)
    store.facts.pop("fill_value", None)
    assert len(store.split("train").read([0, 1])) == 2
