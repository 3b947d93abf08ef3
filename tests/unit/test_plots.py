"""Figures: that they show what they are given, and fit into a page."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from synthetic_run import ALPHAS, make_run

from bandbridge import plots

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run")).read()[1][0]


def texts(figure, name="figure"):
    root = ElementTree.fromstring(plots.svg(figure, name))
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
    figure = plots.training_curves(history(steps=5 * plots.MOST_STEPS))
    assert all(len(line.get_xdata()) <= plots.MOST_STEPS for axes in figure.axes for line in axes.lines)


def test_a_class_without_a_score_keeps_its_line():
    scores = pd.DataFrame({"Zero-shot": [0.2, np.nan], "Patched": [0.4, np.nan]}, index=["farm", "wetland"])
    assert {"farm", "wetland", "Zero-shot", "Patched"} <= set(texts(plots.per_class(scores)))


def test_class_counts_stack_the_splits():
    counts = pd.DataFrame({"train": [5, 3], "val": [2, 1], "test": [1, 1]}, index=["farm", "water"])
    bars = plots.class_counts(counts).axes[0].patches
    assert [bar.get_width() for bar in bars] == [5, 3, 2, 1, 1, 1]
    assert [bar.get_x() for bar in bars] == [0, 0, 5, 3, 7, 4]


def test_the_map_draws_a_bounded_number_of_samples():
    count = 3 * plots.MOST_POINTS + 1
    places = pd.DataFrame({"split": "train", "lat": np.linspace(50, 51, count), "lon": np.linspace(12, 13, count)})
    (points,) = plots.sample_map(places).axes[0].collections
    assert len(points.get_offsets()) <= plots.MOST_POINTS


def test_svg_takes_its_colours_and_fonts_from_the_page(curve):
    text = plots.svg(plots.paint_curve(curve, "Digits"), "front")
    assert not [colour for colour in plots.COLOURS.values() if colour in text]
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(plots.COLOURS)
    assert "var(--ink)" in text
    assert "DejaVu" not in text
    assert "<?xml" not in text


def test_svg_ids_do_not_clash_with_those_of_another_figure(curve):
    def ids(name):
        text = plots.svg(plots.paint_curve(curve, "Digits"), name)
        found, used = re.findall(r' id="([^"]+)"', text), re.findall(r'(?:href="|url\()#([^")]+)', text)
        assert set(used) == set(found)
        assert len(found) == len(set(found))
        return set(found)

    assert ids("one").isdisjoint(ids("two"))


def test_svg_is_the_same_each_time(curve):
    first, second = (plots.svg(plots.paint_by_alpha(curve, "Digits"), "alpha") for _ in range(2))
    assert first == second
