"""Charts: that they show what they are given, answer, and fit into a page and into print."""

import io
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import vl_convert
from PIL import Image, ImageColor
from synthetic_run import ALPHAS, make_run

from bandbridge.reporting.figures import datasets as plots_datasets
from bandbridge.reporting.figures import drawing, style
from bandbridge.reporting.figures import models as plots_models
from bandbridge.reporting.figures import run as plots
from bandbridge.reporting.figures import space as plots_space
from bandbridge.reporting.thumbnails import image_uri

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run")).read()[1][0]


def texts(spec):
    root = ElementTree.fromstring(drawing.page_svg(spec))
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def rows(spec, **wanted):
    """The data of a chart, those with these values."""
    return [row for row in spec["datasets"]["rows"] if all(row.get(name) == value for name, value in wanted.items())]


def params(spec):
    """The names of what answers in a chart."""
    return {one["name"].split("_")[0] for one in spec["params"]}


def history(steps=30, epochs=3, **validation):
    lines = [{"step": step, "epoch": 1, "learning_rate": 1e-4, "loss": 1 / step} for step in range(1, steps + 1)]
    return lines + [{"step": steps * epoch // epochs, "epoch": epoch, **validation} for epoch in range(1, epochs + 1)]


def test_the_paint_curve_names_its_ends_and_the_selected_point(curve):
    shown = texts(plots.paint_curve(curve, "Digits"))
    for name in (
        "zero-shot",
        "fine-tuned",
        "α = 0.4",
        "validation",
        "test",
        "Digits: accuracy, %",
        "Demo scene: mAP, %",
    ):
        assert name in shown


def test_the_paint_curve_has_a_point_for_each_alpha_on_both_splits(curve):
    spec = plots.paint_curve(curve, "Digits")
    for series, split in (("validation", "val"), ("test", "test")):
        points = rows(spec, series=series)
        assert [point["alpha"] for point in points] == list(ALPHAS)
        np.testing.assert_allclose([point["x"] for point in points], 100 * curve.points[f"supported_{split}"])
        np.testing.assert_allclose([point["y"] for point in points], 100 * curve.points[f"patching_{split}"])


def test_scores_against_alpha_need_no_supported_task(tmp_path, curve):
    (alone,) = make_run(tmp_path, supported=False).read()[1]
    assert len(plots.paint_by_alpha(curve, "Digits")["vconcat"]) == 2
    assert len(plots.paint_by_alpha(alone, "")["vconcat"]) == 1


def test_losses_of_training_and_validation_share_a_panel():
    spec = plots.training_curves(history(val_loss=0.5))
    shown = texts(spec)
    assert len(spec["vconcat"]) == 2
    assert {"Loss", "Learning rate, at most 0.0001", "loss", "training", "validation"} <= set(shown)


def test_validation_scores_have_a_panel_of_their_own():
    spec = plots.training_curves(history(val_loss=0.5, val_map=0.4))
    assert len(spec["vconcat"]) == 3
    assert {"Validation, %", "mAP"} <= set(texts(spec))
    assert [row["value"] for row in rows(spec, panel="score")] == [40, 40, 40]


def test_a_long_history_is_thinned():
    spec = plots.training_curves(history(steps=5 * style.MOST_STEPS))
    assert len(rows(spec, series="loss", kind="training")) <= style.MOST_STEPS
    assert len(rows(spec, panel="rate")) <= style.MOST_STEPS


def test_a_class_without_a_score_keeps_its_line():
    scores = pd.DataFrame({"Zero-shot": [0.2, np.nan], "Patched": [0.4, np.nan]}, index=["farm", "wetland"])
    assert {"farm", "wetland", "Zero-shot", "Patched"} <= set(texts(plots_models.per_class(scores)))


def test_cells_of_a_confusion_matrix_are_shares_of_its_rows():
    shares = pd.DataFrame([[0.9, 0.1], [0.001, 0.999]], index=["farm", "water"], columns=["farm", "water"])
    spec = plots_models.confusions({"Zero-shot": shares, "Patched": shares}, pd.Series([10, 1000], index=shares.index))
    assert [(row["true"], row["predicted"], row["score"]) for row in rows(spec, model=0)] == [
        ("farm", "farm", "90.0 % of 10"),
        ("farm", "water", "10.0 % of 10"),
        ("water", "water", "99.9 % of 1,000"),
    ]
    assert len(spec["hconcat"]) == 2
    assert {"Zero-shot", "Patched", "90", "10", "100", "true", "predicted"} <= set(texts(spec))


def test_a_unit_is_as_long_on_both_axes_of_a_projection():
    points = {"points": [[0, 0], [4, 1]], "labels": [["farm"], []], "centroid": [2, 0.5]}
    groups = [{"kind": "rgb", "gap": None, **points}, {"kind": "text", "gap": 0.25, **points}]
    spec = plots_space.projection({"Before": groups, "After": groups}, (0.5, 0.25))
    assert {"Before", "After", "gap 0.25", "RGB images", "class names"} <= set(texts(spec))
    panel = spec["hconcat"][0]
    x, y = (panel["layer"][0]["encoding"][axis]["scale"]["domain"] for axis in "xy")
    assert (x[1] - x[0]) / panel["width"] == pytest.approx((y[1] - y[0]) / panel["height"])
    assert [row["words"] for row in rows(spec, part="point", panel=0, kind="rgb")] == ["farm", "no class"]


# --- data sets -------------------------------------------------------------------------------------------------------


def test_class_counts_stack_the_splits():
    counts = pd.DataFrame({"train": [5, 3], "val": [2, 1], "test": [1, 1]}, index=["farm", "water"])
    spec = plots_datasets.class_counts(counts)
    assert [(row["key"], row["series"], row["count"]) for row in rows(spec)] == [
        *(("farm", name, count) for name, count in (("training", 5), ("validation", 2), ("test", 1))),
        *(("water", name, count) for name, count in (("training", 3), ("validation", 1), ("test", 1))),
    ]
    assert {"farm", "water", "training", "validation", "test", "samples"} <= set(texts(spec))


def test_long_names_of_classes_are_cut_and_stay_apart():
    names = [f"{'Land principally occupied by agriculture, with areas'} {number}" for number in (1, 2)]
    spec = plots_datasets.class_counts(pd.DataFrame({"train": [5, 3]}, index=names))
    cut = [text for text in texts(spec) if text.startswith("Land principally") and text.endswith("…")]
    assert len(cut) == 2
    assert {row["key"] for row in rows(spec)} == set(names)


@pytest.mark.parametrize("bands", [("VV", "VH"), ("red", "green", "blue")])
def test_curves_of_a_few_bands_share_the_axes(bands):
    values = np.random.default_rng(0).normal(-12, 3, (1000, len(bands)))
    spec = plots_datasets.band_values(values, bands, (-20, 0), "dB")
    assert {*bands, "dB", "pixels per bin, %"} <= set(texts(spec))
    shown = ((values >= -20) & (values <= 0)).mean(axis=0)
    # The last edge repeats the share of the last bin.
    drawn = [sum(row["share"] for row in rows(spec, band=band)[:-1]) for band in bands]
    np.testing.assert_allclose(drawn, 100 * shown, rtol=1e-4)


def test_bins_of_whole_numbers_hold_equally_many():
    values = np.arange(256, dtype=np.uint8).repeat(4)[:, None]
    spec = plots_datasets.band_values(values, ["red"], (0, 255), "value")
    np.testing.assert_allclose([row["share"] for row in rows(spec)], 100 / 64)


def test_many_bands_stand_below_each_other_with_their_medians():
    values = np.random.default_rng(0).integers(0, 3000, (500, 13)) + 100 * np.arange(13)
    bands = [f"B{number:02d}" for number in reversed(range(13))]
    spec = plots_datasets.band_values(values, bands, (0, 4500), "reflectance × 10000")
    shown = texts(spec)
    assert "reflectance × 10000" in shown
    assert [text for text in shown if text in bands] == bands
    medians = [row["median"] for row in rows(spec) if "median" in row]
    np.testing.assert_allclose(medians, np.median(values, axis=0))


def test_a_spectrum_is_drawn_in_the_order_of_wavelengths():
    quantiles = pd.DataFrame({"5 %": [1, 2, 3], "median": [4, 5, 6], "95 %": [7, 8, 9]}, index=["a", "b", "c"])
    spec = plots_datasets.band_spectrum(quantiles, [700, 500, 600], "radiance")
    assert [(row["x"], row["median"], row["band"]) for row in rows(spec)] == [
        (500, 5, "b"),
        (600, 6, "c"),
        (700, 4, "a"),
    ]
    assert {"wavelength, nm", "radiance", "line: median; area: 5 % to 95 %"} <= set(texts(spec))
    assert "band" in texts(plots_datasets.band_spectrum(quantiles, None, "radiance"))


@pytest.mark.slow
def test_a_map_of_half_a_million_samples_is_small():
    count = 500_000
    generator = np.random.default_rng(0)
    splits = generator.choice(["train", "val", "test"], count)
    lat, lon = generator.uniform(-55, 70, count), generator.uniform(-180, 180, count)
    shown = plots_datasets.drawn_places(pd.DataFrame({"split": splits, "lat": lat, "lon": lon}))
    assert len(shown) == plots_datasets.MOST_POINTS
    assert shown["split"].value_counts(normalize=True).min() > 0.3
    spec = plots_datasets.sample_map(shown)
    assert len(drawing.page_svg(spec)) + len(drawing.page_json(spec)) < 180_000


def test_every_sample_is_a_dot_on_the_map():
    places = pd.DataFrame({"split": ["train", "train", "test"], "lat": [50.0, 51, 52], "lon": [10.0, 11, 12]})
    drawn = drawing.page_svg(plots_datasets.sample_map(places))
    lines = re.findall(r'class="mark-line[^>]*><path[^>]* d="([^"]*)"', drawn)
    assert sorted(len(re.findall("M", line)) for line in lines) == [1, 2]


def test_a_lonely_sample_is_on_the_map():
    lat = np.append(np.random.default_rng(0).normal(50, 0.01, 20_000), 60)
    shown = plots_datasets.drawn_places(pd.DataFrame({"split": "train", "lat": lat, "lon": 12.0}))
    assert 60 in set(shown["lat"])
    assert len(shown) < 100


@pytest.mark.parametrize(
    ("lat", "lon", "labels"),
    [
        ((-50, 70), (-170, 175), {"90° W", "0°", "90° E", "60° N"}),
        ((40, 60), (-8, 25), {"0°", "20° E", "50° N"}),
        ((52.0, 52.05), (12.5, 12.6), {"12.5° E", "12.6° E"}),
        ((-17, -16), (179.5, 180.6), {"180°", "179.5° W"}),
        ((52, 52), (12, 12), {"12° E", "52° N"}),
    ],
)
def test_maps_are_labelled_in_degrees(lat, lon, labels):
    spec = plots_datasets.sample_map(pd.DataFrame({"split": ["train", "test"], "lat": lat, "lon": lon}))
    assert {"training", "test", *labels} <= set(texts(spec))
    assert spec["height"] <= plots_datasets.MOST_HEIGHT


def test_a_map_is_as_wide_as_the_land_at_its_latitude():
    places = pd.DataFrame({"split": "train", "lat": [59.0, 61.0], "lon": [10.0, 14.0]})
    spec = plots_datasets.sample_map(places)
    x, y = (spec["encoding"][axis]["scale"]["domain"] for axis in "xy")
    degree_east, degree_north = spec["width"] / (x[1] - x[0]), spec["height"] / (y[1] - y[0])
    assert degree_north / degree_east == pytest.approx(2, rel=0.01)
    assert spec["usermeta"]["keepsAspect"]


def test_a_region_across_the_date_line_is_not_torn():
    assert plots_datasets.unbroken(pd.Series([179.0, -179.5])).tolist() == [179.0, 180.5]
    assert plots_datasets.unbroken(pd.Series([-8.0, 25.0])).tolist() == [-8.0, 25.0]
    assert plots_datasets.unbroken(pd.Series([-170.0, 0.0, 170.0])).tolist() == [-170.0, 0.0, 170.0]


@pytest.mark.parametrize(
    ("value", "sides", "digits", "text"),
    [
        (12.5, "EW", None, "12.5° E"),
        (-0.25, "NS", 2, "0.25° S"),
        (0, "EW", None, "0°"),
        (-180, "EW", None, "180°"),
        (181.5, "EW", None, "178.5° W"),
        (-0.001, "NS", 2, "0.00°"),
    ],
)
def test_degrees_name_their_side_of_the_world(value, sides, digits, text):
    assert plots_datasets.degrees(value, sides, digits) == text


# --- on the page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def front(curve):
    return plots.paint_curve(curve, "Digits", {("patching", "test", 0.7): (0.4, 0.45)})


def test_a_drawing_holds_no_finer_coordinates_than_a_screen_shows(front):
    assert not re.findall(r"<[^>]*\d\.\d{3}[^>]*>", drawing.page_svg(front))


def test_a_drawing_takes_its_colours_from_the_page(front):
    text = drawing.page_svg(front)
    assert not [colour for colour in style.COLOURS.values() if colour in text]
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(style.COLOURS)
    assert "var(--ink)" in text
    assert "<?xml" not in text


@pytest.mark.parametrize("chart", ["front", "by alpha", "training"])
def test_drawings_beside_each_other_share_no_ids(curve, front, chart):
    made = {
        "front": lambda: front,
        "by alpha": lambda: plots.paint_by_alpha(curve, "Digits"),
        "training": lambda: plots.training_curves(history(val_loss=0.5)),
    }
    text = drawing.page_svg(made[chart]())
    assert not re.findall(r' id="|url\(#|href="#', text)


def test_every_point_of_the_curve_can_be_asked_for_its_alpha(front):
    points = rows(front)
    assert len(points) == 2 * len(ALPHAS)
    assert sum("selected" in point["label"] for point in points) == 2
    (point,) = rows(front, alpha=0.7, series="test")
    assert (point["label"], point["supported"]) == ("0.7", "accuracy 95.6 %")
    asked = [tip["field"] for layer in front["layer"] for tip in layer["encoding"].get("tooltip", [])]
    assert {"label", "series", "patching", "supported"} <= set(asked)


def test_intervals_are_told_where_there_are_any(front):
    told = [row["patching"] for row in rows(front) if " to " in row["patching"]]
    assert told == ["mAP 42.7 % (40.0 to 45.0)"]


def test_points_that_are_not_drawn_have_no_tip():
    scores = pd.DataFrame({"Zero-shot": [0.2, np.nan], "Patched": [0.4, 0.1]}, index=["farm", "wetland"])
    shown = [(row["key"], row["series"], row["score"]) for row in rows(plots_models.per_class(scores))]
    assert shown == [
        ("farm", "Zero-shot", "20.0 %"),
        ("farm", "Patched", "40.0 %"),
        ("wetland", "Patched", "10.0 %"),
    ]


def legends_of(part):
    """The legends of a compiled chart, wherever they are."""
    if isinstance(part, dict):
        yield from part.get("legends", [])
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from legends_of(one)


def test_charts_zoom_and_their_legends_filter(curve, front):
    of_classes = plots_models.per_class(pd.DataFrame({"Zero-shot": [0.2], "Patched": [0.4]}, index=["farm"]))
    for spec in (front, plots.paint_by_alpha(curve, "Digits"), of_classes):
        assert params(spec) == {"zoom", "shown", "pointed"}
        assert {one["bind"] for one in spec["params"] if "bind" in one} == {"legend", "scales"}
        legends = list(legends_of(vl_convert.vegalite_to_vega(spec, config=style.ON_PAPER)))
        assert legends
        assert all(legend["encode"]["symbols"]["interactive"] for legend in legends)


def test_a_specification_cannot_end_the_script_that_holds_it():
    scores = pd.DataFrame({"</script><b>": [0.2], "<!--": [0.4]}, index=["a & </SCRIPT >"])
    text = drawing.page_json(plots_models.per_class(scores))
    assert not set("<>&") & set(text)


def test_a_page_s_list_of_numbers_is_short_and_its_file_has_all(tmp_path, front):
    data = pd.DataFrame({"step": range(1000)})
    plot = drawing.Album(tmp_path).plot(front, "long", "", "", data)
    assert plot.is_part
    assert 1 < len(plot.values) <= drawing.MOST_ROWS
    assert len(pd.read_csv(tmp_path / "long.csv")) == 1000
    whole = drawing.Album().plot(front, "short", "", "", data.iloc[:5])
    assert (len(whole.values), whole.is_part) == (5, False)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_chart_is_kept_as_pdf_png_svg_and_csv(tmp_path, front):
    data = pd.DataFrame({"alpha": [0.0, 1 / 3]})
    plot = drawing.Album(tmp_path).plot(front, "Curve of α/1", "Caption.", "Words.", data)
    kinds = ("pdf", "png", "svg", "csv")
    assert plot.files == tuple(f"figures/curve-of-alpha-1.{kind}" for kind in kinds)
    assert {path.name for path in tmp_path.iterdir()} == {f"curve-of-alpha-1.{kind}" for kind in kinds}
    assert (tmp_path / "curve-of-alpha-1.csv").read_text() == "alpha\n0\n0.3333333333\n"
    assert (tmp_path / "curve-of-alpha-1.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "curve-of-alpha-1.png") as picture:
        # 4.2 inches at 300 pixels each.
        assert picture.width == pytest.approx(1260, abs=3)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    root = ElementTree.parse(tmp_path / "curve-of-alpha-1.svg").getroot()
    assert float(root.get("width")) == pytest.approx(302.6, abs=0.1)
    inks = {element.get("stroke") for element in root.iter() if element.get("stroke")}
    assert style.COLOURS["blue"] in inks
    assert "var(" not in "".join(inks)


def test_letters_in_print_have_seven_points(front):
    root = ElementTree.fromstring(drawing.print_svg(front))
    scale = float(root.get("width")) / float(root.get("viewBox").split()[2])
    sizes = {float(text.get("font-size").removesuffix("px")) for text in root.iter(f"{SVG}text")}
    assert min(sizes) * scale >= 7


@pytest.mark.slow
def test_charts_of_one_run_are_the_same_bytes_each_time(tmp_path, curve):
    for name in ("one", "two"):
        drawing.Album(tmp_path / name).plot(plots.paint_by_alpha(curve, "Digits"), "curve", "", "", curve.points)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_colours_of_models_stay_apart_for_the_colour_blind():
    # Viénot, Brettel and Mollon's (1999) dichromats: distances in linear light of what they see.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    inks = [(np.array(ImageColor.getrgb(style.COLOURS[name])) / 255) ** 2.2 for name in style.MODEL_COLOURS]
    for seen_by in (protan, deutan):
        seen = [np.clip(seen_by @ ink, 0, 1) ** (1 / 2.2) for ink in inks]
        # Beside colour, every model has a marker of its own.
        for first, second in combinations(range(3), 2):
            assert np.linalg.norm(seen[first] - seen[second]) > 0.1
    assert len(set(style.MODEL_MARKERS)) == len(style.MODEL_COLOURS)


def test_splits_stay_apart_without_colours():
    strengths = [plots_datasets.SPLIT_STRENGTHS[split] for split in style.SPLIT_NAMES]
    inks = [ImageColor.getcolor(style.COLOURS[style.SPLIT_COLOURS[split]], "L") for split in style.SPLIT_NAMES]
    greys = sorted(255 - strength * (255 - ink) for strength, ink in zip(strengths, inks, strict=True))
    assert min(np.diff(greys)) > 25


def test_a_printed_gallery_shows_each_pixel_of_its_samples_as_a_square():
    red_beside_blue = image_uri(Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)), "png")
    spec = plots_space.gallery([("a row", [(red_beside_blue, "forest", True)])])
    drawn = Image.open(io.BytesIO(drawing.png(drawing.print_svg(spec)))).convert("RGB")
    shades = {colour for _, colour in drawn.getcolors(1 << 24) if min(colour[0], colour[2]) > 60 > colour[1]}
    assert shades == set()
    assert {(255, 0, 0), (0, 0, 255)} <= {colour for _, colour in drawn.getcolors(1 << 24)}


def test_costs_of_stages_are_bars_of_time_and_of_memory():
    seconds, memory = pd.Series({"fine-tuning": 75.2, "alignment": 20.0}), pd.Series({"fine-tuning": 1210.0})
    shown = texts(plots.stage_costs(seconds, memory.reindex(seconds.index)))
    for name in ("fine-tuning", "alignment", "all jobs' time, s", "peak memory, MB"):
        assert name in shown
