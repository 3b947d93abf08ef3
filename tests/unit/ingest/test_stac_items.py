"""What STAC items state of their assets' pixels counts where the files state nothing: no data, scale and offset."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import xarray
from own_files import CLASSES, SPLITS, noise, write

from bandbridge.base.errors import UserError

BANDS = ("B02", "B03", "B04", "B08")
STATED = {"scale": 1e-4, "offset": -0.1}
# As STAC 1.0 and 1.1 have them.
OF_1_0 = {"raster:bands": [{"nodata": 0, **STATED, "data_type": "uint16"}]}
OF_1_1 = {"nodata": 0, "bands": [{"name": "B02", "raster:scale": 1e-4, "raster:offset": -0.1}]}


def numbers(i):
    pixels = noise(4, 16, 16, low=1100, high=3000, seed=i)
    pixels[:, :2] = 0
    return pixels


def items(own, asset, by_band=True, properties=None, **stated):
    """Nine samples with an asset per band, or one of all bands; the files state `stated` themselves.

    Returns:
        a collection of items
    """
    features = []
    for i in range(9):
        files = {band: numbers(i)[[at]] for at, band in enumerate(BANDS)} if by_band else {"image": numbers(i)}
        for name, pixels in files.items():
            write(own.files / f"{i}_{name}.tif", pixels, **stated)
        assets = {name: {"href": f"./{i}_{name}.tif", **asset} for name in files}
        facts = {"cover": CLASSES[i % 3], "part": SPLITS[i // 3], **(properties or {})}
        features.append({"type": "Feature", "id": f"p{i}", "geometry": None, "properties": facts, "assets": assets})
    return {"type": "FeatureCollection", "features": features}


def store_of(own, collection, by_band=True, **facts):
    (own.files / "items.json").write_text(json.dumps(collection))
    path = "assets.{band}.href" if by_band else "assets.image.href"
    options = {"table": "items.json", "path": path, "id": "id", "label": "cover", "split": "part"}
    return own.store(own.describe("table", options=options, **facts))


def must_hold(store, shift, nodata=0):
    for split in SPLITS:
        stored = xarray.open_zarr(store.path, group=split)
        for name, pixels in zip(stored.id.values, stored.s2.values, strict=True):
            of_file = numbers(int(name[1:])).astype(float)
            np.testing.assert_array_equal(pixels, np.where(of_file == nodata, np.nan, of_file + shift))


@pytest.mark.parametrize("asset", [OF_1_0, OF_1_1], ids=["1.0", "1.1"])
def test_scale_offset_and_no_data_of_an_asset_count(own, asset):
    store = store_of(own, items(own, asset))
    must_hold(store, -1000)
    assert list(store.facts["radiometry"]) == ["1 x number + -1000: scale and offset of the files' bands"]


@pytest.mark.parametrize(("listed", "shifts"), [(1, [-1000] * 4), (4, [-1000, 0, 0, 500])])
def test_bands_of_one_file_have_an_entry_each_or_one_for_all(own, listed, shifts):
    each = [{"nodata": 0, "scale": 1e-4, "offset": shift / 10_000} for shift in shifts[:listed]]
    store = store_of(own, items(own, {"raster:bands": each}, by_band=False), by_band=False)
    must_hold(store, np.reshape(shifts, (4, 1, 1)))


def test_items_of_stac_geoparquet_state_the_same(own):
    features = items(own, OF_1_0)["features"]
    columns = {key: [item["properties"][key] for item in features] for key in ("cover", "part")}
    table = {"id": [item["id"] for item in features], **columns, "assets": [item["assets"] for item in features]}
    pyarrow.parquet.write_table(pyarrow.table(table), own.files / "items.parquet")
    options = {"table": "items.parquet", "path": "assets.{band}.href", "id": "id", "label": "cover", "split": "part"}
    must_hold(own.store(own.describe("table", options=options)), -1000)


def test_the_baseline_of_an_item_counts_as_that_of_a_file(own):
    store = store_of(own, items(own, {"nodata": 0}, properties={"s2:processing_baseline": "05.09"}))
    must_hold(store, -1000)


def test_an_offset_that_was_applied_is_not_applied_again(own):
    properties = {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}
    must_hold(store_of(own, items(own, OF_1_0, properties=properties)), 0)


def test_what_files_and_the_data_sets_file_state_goes_before_the_item(own):
    must_hold(store_of(own, items(own, OF_1_0, scales=[1e-4], offsets=[-0.05])), -500)
    must_hold(store_of(own, items(own, OF_1_0), modality={"scale": 1}), 0)


@pytest.mark.parametrize("bands", [[], None, [{}], [{"nodata": None, "data_type": "uint16"}]])
def test_an_asset_that_states_nothing_changes_nothing(own, bands):
    store = store_of(own, items(own, {"raster:bands": bands}))
    must_hold(store, 0, nodata=None)
    assert "radiometry" not in store.facts


def test_what_an_item_states_wrongly_is_said(own):
    with pytest.raises(UserError, match=r"items.json, row 1: assets.B02: scale is 'small', expected a number"):
        store_of(own, items(own, {"raster:bands": [{"scale": "small"}]}))
    asset = {"raster:bands": [{"scale": 1e-4}] * 3}
    with pytest.raises(UserError, match=r"9  has 4 bands, of which its STAC item lists 3; correct the item"):
        store_of(own, items(own, asset, by_band=False), by_band=False)
