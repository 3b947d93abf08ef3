"""Tables of samples: CSV and Parquet, one class or several, one file a sample or one a band, several modalities."""

import dataclasses
import shutil
import zipfile
from collections import Counter
from datetime import date

import numpy as np
import pandas
import pytest
import rasterio
from own_files import write_tif
from PIL import Image
from rasterio.enums import Resampling
from reading import read_all

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset, Source, headline_metric
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.rasters import to_grid
from bandbridge.ingest.readers import Planned, Rejected, reader

BANDS = ("B02", "B03", "B04", "B08")
S2 = Modality("s2", "sentinel-2", "L2A", BANDS)
S1 = Modality("s1", "sentinel-1", "GRD", ("VV", "VH"))
SHARES = {"val": 0.2, "test": 0.3}
LABELS = ("forest", "water", "farm")


def described(*modalities, kind="single", sources=(), **options):
    """A data set's facts as its file would state them."""
    return Dataset(
        name="mine",
        title="Mine",
        description="",
        reader="table",
        modalities=modalities or (S2,),
        label_kind=kind,
        headline=headline_metric(kind),
        nomenclatures=("osm-landuse-8",),
        label_stream=None,
        splits=("train", "val", "test"),
        sources=tuple(Source(file, stream=stream) for file, stream in sources),
        archives="mine",
        convert_jobs=1,
        licence="mine",
        attribution="",
        cite=(),
        options={"table": "samples.csv", **options},
    )


def pixels(bands, size=8, seed=0, dtype=np.uint16):
    shape = (bands, size, size) if np.isscalar(size) else (bands, *size)
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """Twelve images of four bands and their table, with one class each."""
    frame = pandas.DataFrame(
        {
            "path": [f"images/{number:02d}.tif" for number in range(12)],
            "label": [LABELS[number % 3] for number in range(12)],
            "split": ["train"] * 6 + ["val"] * 3 + ["test"] * 3,
        }
    )
    for number, path in enumerate(frame.path):
        write_tif(tmp_path / path, pixels(4, seed=number))
    frame.to_csv(tmp_path / "samples.csv", index=False)
    return tmp_path


def rewrite(folder, **columns):
    frame = pandas.read_csv(folder / "samples.csv", dtype=str, keep_default_na=False)
    frame.assign(**columns).to_csv(folder / "samples.csv", index=False)


def plan(dataset, folder):
    return reader(dataset).plan(dataset, folder)


# --- what is read --------------------------------------------------------------------------------------------------


def test_each_row_is_a_sample_with_its_file_class_and_split(folder):
    splits, samples = read_all(described(label="label", split="split"), folder)
    assert len(samples) == 12
    assert Counter(splits.values()) == {"train": 6, "val": 3, "test": 3}
    for number in range(12):
        sample = samples[f"images/{number:02d}"]
        np.testing.assert_array_equal(sample.pixels, pixels(4, seed=number))
        assert sample.labels == (LABELS[number % 3],)
        assert (sample.lat, sample.lon, sample.date) == (None, None, None)


def test_parquet_reads_like_csv(folder):
    from_csv = read_all(described(label="label", split="split"), folder)
    pandas.read_csv(folder / "samples.csv").to_parquet(folder / "samples.parquet")
    from_parquet = read_all(described(label="label", split="split", table="samples.parquet"), folder)
    assert from_parquet[0] == from_csv[0]
    assert same(from_parquet[1], from_csv[1])


def same(one, two):
    facts = ("labels", "lat", "lon", "date")
    return one.keys() == two.keys() and all(
        np.array_equal(one[name].pixels, two[name].pixels)
        and all(getattr(one[name], fact) == getattr(two[name], fact) for fact in facts)
        for name in one
    )


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_reads_like_the_folder(folder, suffix):
    from_folder = read_all(described(label="label", split="split"), folder)
    form = {".zip": "zip", ".tar.gz": "gztar"}[suffix]
    shutil.make_archive(str(folder / "packed"), form, folder, "images")
    packed = described(label="label", split="split", archive=str(folder / f"packed{suffix}"))
    fetched = described(label="label", split="split", sources=[(f"packed{suffix}", None)])
    shutil.rmtree(folder / "images")
    for dataset in (packed, fetched):
        splits, samples = read_all(dataset, folder)
        assert splits == from_folder[0]
        assert same(samples, from_folder[1])


def test_the_table_may_lie_with_the_images_or_anywhere(folder, tmp_path):
    expected = plan(described(label="label", split="split"), folder)
    beside = described(label="label", split="split", archive=str(folder))
    assert plan(beside, tmp_path / "archives") == expected
    anywhere = described(label="label", split="split", table=str(folder / "samples.csv"))
    assert plan(anywhere, tmp_path / "archives") == expected
    assert len(read_all(anywhere, tmp_path / "archives")[1]) == 12


def test_only_the_wanted_rows_are_read(folder):
    dataset = described(label="label", split="split")
    samples = list(reader(dataset).read(dataset, folder, "s2", {"images/03", "images/05"}))
    assert [sample.id for sample in samples] == ["images/03", "images/05"]


def test_a_listed_image_that_is_absent_is_planned_but_not_read(folder):
    (folder / "images" / "04.tif").unlink()
    splits, samples = read_all(described(label="label", split="split"), folder)
    assert splits.keys() - samples.keys() == {"images/04"}


def test_ids_places_and_dates_may_be_columns(folder):
    rewrite(folder, name=[f"plot {n}" for n in range(12)], y=["50.5", "", *["1"] * 10], x=["8.25", "", *["2"] * 10])
    rewrite(folder, day=["2024-06-01", "", *["2024-06-02T10:20:30"] * 10])
    samples = read_all(described(label="label", split="split", id="name", lat="y", lon="x", date="day"), folder)[1]
    assert (samples["plot 0"].lat, samples["plot 0"].lon, samples["plot 0"].date) == (50.5, 8.25, "2024-06-01")
    assert (samples["plot 1"].lat, samples["plot 1"].lon, samples["plot 1"].date) == (None, None, "")
    assert samples["plot 2"].date == "2024-06-02T10:20:30"


def test_a_place_in_the_file_counts_where_the_table_has_none(folder):
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_800_000)}
    write_tif(folder / "images" / "00.tif", pixels(4), **place)
    write_tif(folder / "images" / "01.tif", pixels(4, seed=1), **place)
    rewrite(folder, y=["", "1.5", *[""] * 10], x=["", "2.5", *[""] * 10])
    samples = read_all(described(label="label", split="split", lat="y", lon="x"), folder)[1]
    assert (samples["images/00"].lat, samples["images/00"].lon) == pytest.approx((52.35, 15.0), abs=0.01)
    assert (samples["images/01"].lat, samples["images/01"].lon) == (1.5, 2.5)


def test_parquet_columns_have_types(folder):
    frame = pandas.read_csv(folder / "samples.csv")
    frame["code"] = [1.0, *[2.0] * 10, np.nan]
    frame["day"] = pandas.to_datetime(["2024-06-01"] * 11 + [None])
    frame["taken"] = [date(2023, 1, 2)] * 12
    frame["several"] = [["water", "farm"]] * 11 + [None]
    frame.to_parquet(folder / "samples.parquet")
    table = {"table": "samples.parquet", "split": "split"}
    coded = read_all(described(label="code", classes={"1": "water"}, date="day", **table), folder)[1]
    assert coded["images/00"].labels == ("water",)
    assert coded["images/01"].labels == ("2",)
    assert coded["images/11"].labels == ()
    assert (coded["images/00"].date, coded["images/11"].date) == ("2024-06-01", "")
    several = read_all(described(kind="multi", labels="several", date="taken", **table), folder)[1]
    assert several["images/00"].labels == ("water", "farm")
    assert several["images/11"].labels == ()
    assert several["images/00"].date == "2023-01-02"


def test_numbers_in_a_csv_keep_their_digits(folder):
    rewrite(folder, label=["007"] * 12)
    assert read_all(described(label="label", split="split"), folder)[1]["images/00"].labels == ("007",)


def test_a_table_of_pictures(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (300, 260, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 cut")
    (tmp_path / "samples.csv").write_text("path,label,split\na.png,water,train\nb.jpg,water,val\n")
    rgb = Modality("rgb", None, None, ("red", "green", "blue"))
    samples = read_all(described(rgb, label="label", split="split"), tmp_path)[1]
    np.testing.assert_array_equal(samples["a"].pixels, picture)
    assert samples["b"].reason.startswith("cannot be read as an image")
    resized = read_all(described(rgb, label="label", split="split", picture_size=224), tmp_path)[1]
    assert resized["a"].pixels.shape == (224, 224, 3)


def test_224_bands_are_read_in_the_order_of_the_file(tmp_path):
    names = tuple(f"b{number:03d}" for number in range(1, 225))
    values = pixels(224, 5, dtype=np.float32)
    for interleave in ("band", "pixel"):
        write_tif(tmp_path / f"{interleave}.tif", values, interleave=interleave)
    (tmp_path / "samples.csv").write_text("path,label,split\nband.tif,water,train\npixel.tif,farm,val\n")
    hyperspectral = Modality("hsi", {"title": "An imaging spectrometer"}, None, names)
    samples = read_all(described(hyperspectral, label="label", split="split"), tmp_path)[1]
    for name in ("band", "pixel"):
        np.testing.assert_array_equal(samples[name].pixels, values)


def test_damaged_files_and_other_band_counts_are_rejected(folder):
    whole = (folder / "images" / "00.tif").read_bytes()
    (folder / "images" / "00.tif").write_bytes(whole[: len(whole) - 300])
    write_tif(folder / "images" / "01.tif", pixels(3))
    samples = read_all(described(label="label", split="split"), folder)[1]
    assert "truncated" in samples["images/00"].reason
    assert samples["images/01"] == Rejected("images/01", "has 3 bands, expected 4")


def test_two_rows_may_share_an_image(folder):
    frame = pandas.read_csv(folder / "samples.csv")[:2].assign(name=["one", "two"], path="images/00.tif")
    frame.to_csv(folder / "samples.csv", index=False)
    samples = read_all(described(label="label", split="split", id="name"), folder)[1]
    np.testing.assert_array_equal(samples["one"].pixels, samples["two"].pixels)
    assert (samples["one"].labels, samples["two"].labels) == (("forest",), ("water",))


def test_an_id_that_occurs_twice_is_planned_twice(folder):
    rewrite(folder, name=["same"] * 2 + [str(n) for n in range(10)])
    planned = plan(described(label="label", split="split", id="name"), folder)
    assert planned.count(Planned("same", "train")) == 2


# --- several modalities, one file a band -----------------------------------------------------------------------------


def test_each_modality_has_a_column_of_paths(folder):
    for number in range(12):
        write_tif(folder / "radar" / f"{number}.tif", pixels(2, seed=100 + number, dtype=np.float32))
    rewrite(folder, radar=[f"radar/{number}.tif" if number else "" for number in range(12)])
    dataset = described(S2, S1, label="label", split="split", path={"s2": "path", "s1": "radar"})
    splits, radar = read_all(dataset, folder, "s1")
    assert len(splits) == 12
    assert radar["images/00"] == Rejected("images/00", "names no file of s1: its cell is empty")
    np.testing.assert_array_equal(radar["images/05"].pixels, pixels(2, seed=105, dtype=np.float32))
    np.testing.assert_array_equal(read_all(dataset, folder)[1]["images/05"].pixels, pixels(4, seed=5))


def test_each_modality_may_have_its_own_archive(folder):
    write_tif(folder / "radar" / "0.tif", pixels(2, seed=3, dtype=np.float32))
    with zipfile.ZipFile(folder / "radar.zip", "w") as archive:
        archive.write(folder / "radar" / "0.tif", "0.tif")
    shutil.make_archive(str(folder / "optical"), "zip", folder, "images")
    rewrite(folder, radar=["0.tif"] + [""] * 11)
    sources = [("optical.zip", "s2"), ("radar.zip", "s1")]
    dataset = described(S2, S1, sources=sources, label="label", split="split", path={"s2": "path", "s1": "radar"})
    radar = read_all(dataset, folder, "s1")[1]
    assert {name for name, item in radar.items() if not isinstance(item, Rejected)} == {"images/00"}
    assert len(read_all(dataset, folder, "s2")[1]) == 12


@pytest.fixture
def bands(tmp_path):
    """Two samples of four bands of 10 and 20 m, a file each, not in order."""
    for name, seed in (("a", 0), ("b", 1)):
        for place, band in enumerate(reversed(BANDS)):
            size = 4 if band == "B08" else 8
            write_tif(tmp_path / "tiles" / f"{band}_{name}.tif", pixels(1, size, seed=10 * seed + place))
    (tmp_path / "samples.csv").write_text("path,label,split\na,water,train\nb,farm,val\n")
    return tmp_path


BAND_FILES = {"label": "label", "split": "split", "band_files": "tiles/{band}_{path}.tif"}


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_files_of_one_band_come_to_the_grid_of_the_finest(bands, resampling):
    splits, samples = read_all(described(resampling=resampling, **BAND_FILES), bands)
    assert splits == {"a": "train", "b": "val"}
    for number, band in enumerate(BANDS):
        with rasterio.open(bands / "tiles" / f"{band}_b.tif") as raster:
            expected = raster.read(1, out_shape=(8, 8), resampling=Resampling[resampling])
            own = raster.read(1)
        values = samples["b"].pixels[number]
        np.testing.assert_array_equal(values, to_grid(own, 8, 8, resampling))
        assert abs(values.astype(int) - expected).max() <= (0 if resampling == "nearest" else 1)
    assert samples["b"].pixels.shape == (4, 8, 8)


def test_the_modalitys_size_is_the_grid(bands):
    samples = read_all(described(dataclasses.replace(S2, size=(16, 16)), **BAND_FILES), bands)[1]
    assert samples["a"].pixels.shape == (4, 16, 16)
    samples = read_all(described(dataclasses.replace(S2, size=(4, 4)), **BAND_FILES), bands)[1]
    assert samples["a"] == Rejected("a", "a band of 8 x 8 pixels is finer than 4 x 4")


def test_missing_and_damaged_band_files_are_named(bands):
    (bands / "tiles" / "B03_a.tif").unlink()
    (bands / "tiles" / "B08_b.tif").write_bytes(b"no raster")
    samples = read_all(described(**BAND_FILES), bands)[1]
    assert samples["a"] == Rejected("a", "lacks band B03 (found 3 of 4)")
    assert samples["b"].reason.startswith("band B08: cannot be read as a raster")


def test_a_sample_without_any_band_file_is_absent(bands):
    for file in bands.glob("tiles/*_a.tif"):
        file.unlink()
    assert read_all(described(**BAND_FILES), bands)[1].keys() == {"b"}


def test_band_files_of_several_bands_or_types_are_rejected(bands):
    write_tif(bands / "tiles" / "B02_a.tif", pixels(2))
    write_tif(bands / "tiles" / "B02_b.tif", pixels(1, dtype=np.float32))
    samples = read_all(described(**BAND_FILES), bands)[1]
    assert samples["a"] == Rejected("a", "band B02: has 2 bands, expected 1")
    assert samples["b"].reason.startswith("bands are of several types: float32, uint16")


# --- classes ---------------------------------------------------------------------------------------------------------


def test_several_classes_in_one_cell(folder):
    rewrite(folder, label=["water| farm", "", "water|water", *["farm"] * 9])
    samples = read_all(described(kind="multi", labels="label", split="split"), folder)[1]
    assert [samples[f"images/0{n}"].labels for n in range(4)] == [("water", "farm"), (), ("water",), ("farm",)]
    rewrite(folder, label=["water;farm"] * 12)
    samples = read_all(described(kind="multi", labels="label", separator=";", split="split"), folder)[1]
    assert samples["images/00"].labels == ("water", "farm")


def test_a_column_of_0_and_1_for_each_class(folder):
    rewrite(folder, water=["1", "0", "True", *["1"] * 9], farm=["1", "", "false", *["0"] * 9])
    samples = read_all(described(kind="multi", label_columns=["water", "farm"], split="split"), folder)[1]
    assert [samples[f"images/0{n}"].labels for n in range(4)] == [("water", "farm"), (), ("water",), ("water",)]
    mapped = described(kind="multi", label_columns={"water": "wetland", "farm": "farm"}, split="split")
    assert read_all(mapped, folder)[1]["images/00"].labels == ("wetland", "farm")


def test_classes_are_translated_or_left_out(folder):
    dataset = described(label="label", split="split", classes={"forest": "scrub", "farm": None})
    splits, samples = read_all(dataset, folder)
    assert len(splits) == 8
    assert {sample.labels for sample in samples.values()} == {("scrub",), ("water",)}


def test_a_sample_of_several_classes_keeps_those_not_left_out(folder):
    rewrite(folder, label=["water|farm", "farm", *["water"] * 10])
    dataset = described(kind="multi", labels="label", split="split", classes={"farm": None})
    samples = read_all(dataset, folder)[1]
    assert samples["images/00"].labels == ("water",)
    assert "images/01" not in samples


# --- splits ----------------------------------------------------------------------------------------------------------


def test_names_of_splits_are_translated_or_left_out(folder):
    rewrite(folder, split=["train"] * 6 + ["validation"] * 3 + ["test"] * 2 + ["unused"])
    dataset = described(label="label", split="split", split_names={"validation": "val", "unused": None})
    assert Counter(item.split for item in plan(dataset, folder)) == {"train": 6, "val": 3, "test": 2}


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_rows_without_splits_are_divided_by_shares_whatever_their_order(tmp_path, kind):
    rows = [(f"{number:03d}.tif", LABELS[number % 2]) for number in range(100)]
    frame = pandas.DataFrame(rows, columns=["path", "label"])
    frame.to_csv(tmp_path / "samples.csv", index=False)
    option = {"label": "label", "draw": "by_class"} if kind == "single" else {"labels": "label", "draw": "by_class"}
    planned = plan(described(kind=kind, shares=SHARES, **option), tmp_path)
    assert Counter(item.split for item in planned) == {"train": 50, "val": 20, "test": 30}
    if kind == "single":
        odd = Counter(item.split for item in planned if int(item.id) % 2)
        assert odd == {"train": 25, "val": 10, "test": 15}
    frame.sample(frac=1, random_state=1).to_csv(tmp_path / "samples.csv", index=False)
    assert plan(described(kind=kind, shares=SHARES, **option), tmp_path) == planned
    assert plan(described(kind=kind, shares=SHARES, seed=1, **option), tmp_path) != planned


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "labl"}, r"samples.csv has no column 'labl' \(option label\); it has: .* Did you mean 'label'"),
        ({"path": "file"}, r"has no column 'file' \(option path\)"),
        ({"label": None}, "expected one of label, labels and label_columns, found none"),
        ({"labels": "label"}, "found label and labels"),
        ({"split": None}, r"expected either split \(a column\) or shares"),
        ({"lat": "y"}, "expected both lat and lon, or neither"),
        ({"split": None, "shares": {"val": 1, "test": 1}}, r"val \+ test is 2, expected at most 1"),
        ({"band_files": "{path}.tif"}, "expected a pattern with {path} and {band}"),
        ({"resampling": "bilinar"}, "resampling is 'bilinar'; allowed: nearest, bilinear. Did you mean 'bilinear'"),
        ({"table": "other.csv"}, r"the table 'other.csv' not found; looked for .*other.csv"),
        ({"table": None}, "table is missing; table: CSV, Parquet, GeoPackage ..."),
        ({"labelz": "x"}, "labelz is not an option of .* Did you mean 'label"),
        ({"path": {"s1": "path"}}, "path has no column for s2"),
    ],
)
def test_wrong_options_are_explained(folder, changes, message):
    options = {"label": "label", "split": "split", **changes}
    with pytest.raises(UserError, match=message):
        plan(described(**options), folder)


def test_several_modalities_need_a_column_each(folder):
    with pytest.raises(UserError, match=r"expected a column for each modality: \{s2: s2_path, s1: s1_path\}"):
        plan(described(S2, S1, label="label", split="split"), folder)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("path", "/data/1.tif", "row 1: path is '/data/1.tif', an absolute path that .*folder with the option archive"),
        ("path", "../1.tif", r"row 1: path is '../1.tif', expected a path below the images' folder .*, without '\.\.'"),
        ("path", "C:\\a\\1.tif", "row 1: path is 'C:/a/1.tif', an absolute path that is not.*with the option archive"),
        ("path", "https://example.org/1.tif", "row 1: path is 'https://example.org/1.tif', an address"),
        ("path", "s3://bucket/1.tif", "row 1: path is 's3://bucket/1.tif', an address, and nothing is fetched"),
        ("path", "", "row 1: path is empty"),
        ("split", "validation", "split is 'validation', expected train, val, test.* as in {validation: val}"),
        ("split", "Dev", "split is 'Dev', expected train, val, test.* split_names, as in {Dev: val}"),
        ("split", "holdout", "split is 'holdout', expected train, val, test.* as in {holdout: test}"),
        ("y", "north", "y is 'north', expected degrees from -90 to 90"),
        ("y", "91", "y is '91', expected degrees"),
        ("x", "nan", "x is 'nan', expected degrees from -180 to 180"),
        ("day", "last summer", "day is 'last summer', expected a date like 2024-06-01"),
    ],
)
def test_a_wrong_cell_is_named(folder, column, value, message):
    rewrite(folder, y="1", x="1", day="2024-01-01")
    rewrite(folder, **{column: value})
    dataset = described(label="label", split="split", lat="y", lon="x", date="day")
    with pytest.raises(UserError, match=message):
        plan(dataset, folder)


def test_a_flag_that_is_no_flag_is_named(folder):
    rewrite(folder, water="maybe")
    with pytest.raises(UserError, match="row 1: water is 'maybe', expected 0 or 1"):
        plan(described(kind="multi", label_columns=["water"], split="split"), folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("samples.csv", b"", "samples.csv is empty; expected a line of column names"),
        ("samples.csv", b"path,label,split\n", "samples.csv has no rows"),
        ("samples.csv", b"path,label,split\na,b\x81\xfe,train\n", "samples.csv cannot be read as a table"),
        ("samples.csv", b'path,label,split\n"a,b,train\n', "samples.csv cannot be read as a table"),
        ("samples.parquet", b"PAR1 and no more", "samples.parquet cannot be read as a table"),
        ("samples.xlsx", b"x", "samples.xlsx is no readable table; expected .csv, .tsv, .txt, .parquet"),
    ],
)
def test_a_damaged_table_is_explained(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        plan(described(label="label", split="split", table=name), tmp_path)


def test_a_byte_order_mark_and_tabs_are_read(folder):
    text = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text("\ufeff" + text, encoding="utf-8")
    (folder / "samples.tsv").write_text(text.replace(",", "\t"))
    dataset = described(label="label", split="split")
    assert plan(dataset, folder) == plan(described(label="label", split="split", table="samples.tsv"), folder)
