"""Figures: that they show what they are given, and fit into a page."""

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from synthetic_run import ALPHAS, make_run

from bandbridge.reporting.figures import datasets as plots_datasets
from bandbridge.reporting.figures import models as plots_models
from bandbridge.reporting.figures import run as plots
from bandbridge.reporting.figures import style as figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run")).read()[1][0]


def texts(figure, name="figure"):
    root = ElementTree.fromstring(figures.svg(figure, name))
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


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
    lines = {line.get_label(): line for line in plots.paint_curve(curve, "Digits").axes[0].lines}
    for label, split in (("validation", "val"), ("test", "test")):
        x, y = lines[label].get_data()
        assert len(x) == len(ALPHAS)
        np.testing.assert_array_equal(x, curve.points[f"supported_{split}"])
        np.testing.assert_array_equal(y, curve.points[f"patching_{split}"])


def test_scores_against_alpha_need_no_supported_task(tmp_path, curve):
    (alone,) = make_run(tmp_path, supported=False).read()[1]
    assert len(plots.paint_by_alpha(curve, "Digits").axes) == 2
    assert len(plots.paint_by_alpha(alone, "").axes) == 1


def test_losses_of_training_and_validation_share_a_panel(curve):
    figure = plots.training_curves(history(val_loss=0.5))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss", "Learning rate, at most 0.0001"]
    assert {"loss", "validation"} <= set(texts(figure))


def test_validation_scores_have_a_panel_of_their_own():
    figure = plots.training_curves(history(val_loss=0.5, val_map=0.4))
    assert [axes.get_title(loc="left") for axes in figure.axes][1] == "Validation, %"
    assert "mAP" in texts(figure)


def test_a_long_history_is_thinned():
    figure = plots.training_curves(history(steps=5 * figures.MOST_STEPS))
    assert all(len(line.get_xdata()) <= figures.MOST_STEPS for axes in figure.axes for line in axes.lines)


def test_a_class_without_a_score_keeps_its_line():
    scores = pd.DataFrame({"Zero-shot": [0.2, np.nan], "Patched": [0.4, np.nan]}, index=["farm", "wetland"])
    assert {"farm", "wetland", "Zero-shot", "Patched"} <= set(texts(plots_models.per_class(scores)))


# --- data sets -------------------------------------------------------------------------------------------------------


def test_class_counts_stack_the_splits():
    counts = pd.DataFrame({"train": [5, 3], "val": [2, 1], "test": [1, 1]}, index=["farm", "water"])
    bars = plots_datasets.class_counts(counts).axes[0].patches
    assert [bar.get_width() for bar in bars] == [5, 3, 2, 1, 1, 1]
    assert [bar.get_x() for bar in bars] == [0, 0, 5, 3, 7, 4]


def test_long_names_of_classes_are_cut_and_stay_apart():
    names = [f"{'Land principally occupied by agriculture, with areas'} {number}" for number in (1, 2)]
    figure = plots_datasets.class_counts(pd.DataFrame({"train": [5, 3]}, index=names))
    assert texts(figure).count("Land principally occupied by …") == 2
    assert len(figure.axes[0].patches) == 2


@pytest.mark.parametrize("bands", [("VV", "VH"), ("red", "green", "blue")])
def test_curves_of_a_few_bands_share_the_axes(bands):
    values = np.random.default_rng(0).normal(-12, 3, (1000, len(bands)))
    figure = plots_datasets.band_values(values, bands, (-20, 0), "dB")
    assert {*bands, "dB", "pixels per bin, %"} <= set(texts(figure))
    lines = [line for line in figure.axes[0].patches if line.get_label() in bands]
    shown = ((values >= -20) & (values <= 0)).mean(axis=0)
    np.testing.assert_allclose([line.get_data().values.sum() for line in lines], 100 * shown)


def test_bins_of_whole_numbers_hold_equally_many():
    values = np.arange(256, dtype=np.uint8).repeat(4)[:, None]
    figure = plots_datasets.band_values(values, ["red"], (0, 255), "value")
    (line,) = (line for line in figure.axes[0].patches if line.get_label() == "red")
    np.testing.assert_allclose(line.get_data().values, 100 / 64)


def test_many_bands_stand_below_each_other_with_their_medians():
    values = np.random.default_rng(0).integers(0, 3000, (500, 13)) + 100 * np.arange(13)
    bands = [f"B{number:02d}" for number in range(13)]
    figure = plots_datasets.band_values(values, bands, (0, 4500), "reflectance × 10000")
    assert {*bands, "median", "reflectance × 10000"} <= set(texts(figure))
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata())]
    np.testing.assert_allclose(medians, np.median(values, axis=0))


def test_a_spectrum_is_drawn_in_the_order_of_wavelengths():
    quantiles = pd.DataFrame({"5 %": [1, 2, 3], "median": [4, 5, 6], "95 %": [7, 8, 9]}, index=["a", "b", "c"])
    figure = plots_datasets.band_spectrum(quantiles, [700, 500, 600], "radiance")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [500, 600, 700]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [5, 6, 4]
    assert {"wavelength, nm", "radiance"} <= set(texts(figure))
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
    assert len(figures.svg(plots_datasets.sample_map(shown), "map")) < 160_000


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
    figure = plots_datasets.sample_map(pd.DataFrame({"split": ["train", "test"], "lat": lat, "lon": lon}))
    assert {"training", "test", *labels} <= set(texts(figure))
    assert figure.get_size_inches()[1] < 5.1


def test_a_map_is_as_wide_as_the_land_at_its_latitude():
    places = pd.DataFrame({"split": "train", "lat": [59.0, 61.0], "lon": [10.0, 14.0]})
    assert plots_datasets.sample_map(places).axes[0].get_aspect() == pytest.approx(2, rel=0.01)


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


# --- svg -------------------------------------------------------------------------------------------------------------


def test_svg_holds_no_finer_coordinates_than_a_screen_shows(curve):
    text = figures.svg(plots.paint_curve(curve, "Digits"), "front")
    assert not re.findall(r' (?:d|x|y|transform)="[^"]*\.\d{3}', text)


def test_svg_takes_its_colours_and_fonts_from_the_page(curve):
    text = figures.svg(plots.paint_curve(curve, "Digits"), "front")
    assert not [colour for colour in figures.COLOURS.values() if colour in text]
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(figures.COLOURS)
    assert "var(--ink)" in text
    assert "DejaVu" not in text
    assert "<?xml" not in text


def test_svg_ids_do_not_clash_with_those_of_another_figure(curve):
    def ids(name):
        text = figures.svg(plots.paint_curve(curve, "Digits"), name)
        defined, used = re.findall(r' id="([^"]+)"', text), re.findall(r'(?:href="|url\()#([^")]+)', text)
        assert set(used) == set(defined)
        assert len(defined) == len(set(defined))
        return set(defined)

    assert ids("one").isdisjoint(ids("two"))


def test_svg_is_the_same_each_time(curve):
    first, second = (figures.svg(plots.paint_by_alpha(curve, "Digits"), "alpha") for _ in range(2))
    assert first == second


# --- marks, legends, files -------------------------------------------------------------------------------------------


def test_every_point_of_the_curve_can_be_asked_for_its_alpha(curve):
    text = figures.svg(plots.paint_curve(curve, "Digits"), "front")
    tips = re.findall(r'data-tip="([^"]*)"', text)
    assert len(tips) == 2 * len(ALPHAS)
    assert sum("selected" in tip for tip in tips) == 2
    assert "α = 0.7, test&#10;Demo scene: mAP 42.7 %&#10;Digits: accuracy 95.6 %" in tips
    ElementTree.fromstring(text)


def test_intervals_are_told_where_there_are_any(curve):
    spans = {("patching", "test", 0.7): (0.4, 0.45)}
    text = figures.svg(plots.paint_curve(curve, "Digits", spans), "front")
    assert "mAP 42.7 % (40.0 to 45.0)" in text
    assert text.count(" to ") == 1


def test_points_that_are_not_drawn_have_no_tip():
    scores = pd.DataFrame({"Zero-shot": [0.2, np.nan], "Patched": [0.4, 0.1]}, index=["farm", "wetland"])
    text = figures.svg(plots_models.per_class(scores), "classes")
    assert re.findall(r'data-tip="([^"]*)"', text) == [
        "farm&#10;Zero-shot: 20.0 %",
        "farm&#10;Patched: 40.0 %",
        "wetland&#10;Patched: 10.0 %",
    ]


def test_tips_cannot_break_out_of_their_attribute():
    scores = pd.DataFrame({'<b> "x"': [0.2], "Patched": [0.4]}, index=['a "b" <c> & d'])
    root = ElementTree.fromstring(figures.svg(plots_models.per_class(scores), "classes"))
    tips = [element.get("data-tip") for element in root.iter() if element.get("data-tip")]
    assert tips[0] == 'a "b" <c> & d\n<b> "x": 20.0 %'


def test_a_figure_is_kept_as_pdf_png_and_csv_with_its_legend_and_shown_without(tmp_path, curve):
    data = pd.DataFrame({"alpha": [0.0, 1 / 3]})
    plot = figures.Album(tmp_path).plot(plots.paint_curve(curve, "Digits"), "Curve of α/1", "Caption.", "Words.", data)
    assert plot.files == (
        "figures/curve-of-alpha-1.pdf",
        "figures/curve-of-alpha-1.png",
        "figures/curve-of-alpha-1.csv",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        file.removeprefix("figures/") for file in plot.files
    )
    assert (tmp_path / "curve-of-alpha-1.csv").read_text() == "alpha\n0\n0.3333333333\n"
    assert (tmp_path / "curve-of-alpha-1.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "curve-of-alpha-1.png") as picture:
        assert picture.size == (1260, 1020)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert [(key.series, key.label) for key in plot.keys] == [("validation", "validation"), ("test", "test")]
    assert "validation" not in texts_of(plot.svg)
    assert {"validation", "test"} <= set(re.findall(r'data-series="([^"]*)"', plot.svg))


@pytest.mark.slow
def test_figures_of_one_run_are_the_same_bytes_each_time(tmp_path, curve):
    for name in ("one", "two"):
        figures.Album(tmp_path / name).plot(plots.paint_by_alpha(curve, "Digits"), "curve", "", "", curve.points)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_colours_of_models_stay_apart_for_the_colour_blind():
    # Viénot, Brettel and Mollon's (1999) dichromats: distances in linear light of what they see.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    inks = [np.array(to_rgb(figures.COLOURS[name])) ** 2.2 for name in figures.MODEL_COLOURS]
    for seen_by in (protan, deutan):
        seen = [np.clip(seen_by @ ink, 0, 1) ** (1 / 2.2) for ink in inks]
        # Beside colour, every model has a marker of its own.
        for first, second in combinations(range(3), 2):
            assert np.linalg.norm(seen[first] - seen[second]) > 0.1
    assert len(set(figures.MODEL_MARKERS)) == len(figures.MODEL_COLOURS)


def texts_of(svg):
    return {"".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")}
