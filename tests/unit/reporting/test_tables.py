"""Tables: views of metrics.csv, as CSV, Markdown and LaTeX."""

import csv
import dataclasses
import io
import re

import pandas as pd
import pytest
from small_store import load_script
from synthetic_run import ALPHAS, SCENE, SELECTED, make_run

from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.formats import to_csv, to_markdown, write_table
from bandbridge.reporting.tables.latex import latex_escape, to_latex
from bandbridge.reporting.tables.model import main_metric, number, titles_of_class_lists
from bandbridge.reporting.tables.view import shown_models
from bandbridge.scoring.rows import LEFT_OUT, read_rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def tables(run):
    return all_tables(*run.read())


def records(table):
    return list(csv.DictReader(io.StringIO(to_csv(table))))


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_models_are_zero_shot_patched_fine_tuned_and_aligned(tables):
    models = [line.texts[0] for line in tables["classification"].lines]
    assert models == ["Zero-shot (α = 0)", "Patched (α = 0.4)", "Fine-tuned (α = 1)", "Aligned (ms-vit)"]


@pytest.mark.parametrize(
    ("selected", "name"), [(0.0, "Zero-shot and patched (α = 0)"), (1.0, "Fine-tuned and patched (α = 1)")]
)
def test_a_selected_end_of_the_line_has_both_names(tmp_path, selected, name):
    metrics, curves = make_run(tmp_path, selected=selected).read()
    assert name in shown_models(metrics, curves).values()
    assert len(shown_models(metrics, curves)) == 3


def test_an_rgb_encoder_without_alpha_goes_by_its_name(run):
    metrics, curves = run.read()
    metrics.loc[metrics["encoder"] == "ms-vit", "modality"] = "rgb"
    assert shown_models(metrics, curves)["ms-vit"] == "ms-vit"


def with_balanced_accuracy(metrics, dataset):
    """The rows of the digits as another data set's, with balanced accuracies beside the accuracies."""
    metrics = metrics.replace({"dataset": {"digits": dataset}})
    balanced = metrics[(metrics["dataset"] == dataset) & (metrics["metric"] == "accuracy")]
    balanced = balanced.assign(metric="balanced_accuracy", value=balanced["value"] / 2)
    return pd.concat([metrics, balanced], ignore_index=True)


def test_the_data_set_s_headline_is_shown_and_the_other_accuracy_is_a_detail(run):
    metrics, curves = run.read()
    shown = all_tables(with_balanced_accuracy(metrics, "demo_land_cover"), curves)
    (column,) = (column for column in shown["classification"].columns if "demo_land_cover" in column.key)
    assert (column.label, column.key.rpartition("/")[2]) == ("balanced accuracy", "balanced_accuracy")
    before = all_tables(metrics, curves)["classification"]
    (plain,) = (column for column in before.columns if "digits" in column.key)
    whole = defined(before, plain)
    assert defined(shown["classification"], column) == pytest.approx([value / 2 for value in whole], abs=0.06)
    keys = {column.key: column for column in shown["details"].columns}
    assert "balanced_accuracy" not in keys
    assert defined(shown["details"], keys["accuracy"]) == pytest.approx(whole, abs=0.01)


def defined(table, column):
    """A column's numbers, empty cells left out."""
    return [float(record[column.key]) for record in records(table) if record[column.key]]


def test_a_data_set_outside_the_catalogue_has_accuracy_for_its_headline(run):
    metrics, curves = run.read()
    shown = all_tables(with_balanced_accuracy(metrics, "elsewhere"), curves)
    (column,) = (column for column in shown["classification"].columns if "elsewhere" in column.key)
    assert column.key.rpartition("/")[2] == "accuracy"
    assert main_metric("digits", ["balanced_accuracy"]) == "balanced_accuracy"


def test_classification_holds_the_headline_of_every_prompt_set_in_percent(run, tables):
    metrics = read_rows([run.metrics])
    for record, encoder in zip(
        records(tables["classification"]), ("demo-vit@0", "demo-vit@0.4", "demo-vit@1", "ms-vit"), strict=True
    ):
        for prompts in ("satellite", "plain"):
            rows = metrics[
                (metrics["encoder"] == encoder)
                & (metrics["task"] == "zero-shot")
                & (metrics["split"] == "test")
                & (metrics["metric"] == "map")
                & (metrics["prompts"] == prompts)
            ]
            key = f"demo_scene/osm-landuse-8/{prompts}/map"
            assert record[key] == f"{100 * rows['value'].item():.1f}"
            assert record[f"{key} ci_low"] == f"{100 * rows['ci_low'].item():.1f}"
            assert record[f"{key} ci_high"] == f"{100 * rows['ci_high'].item():.1f}"


def test_what_is_left_out_stands_in_the_note_of_the_classification(run):
    metrics, curves = run.read()
    row = metrics[(metrics["metric"] == "map") & (metrics["split"] == "test")].iloc[[0]]
    left_out = row.assign(metric=LEFT_OUT, value=1234.0)
    noted = all_tables(pd.concat([metrics, left_out]), curves, notes=["x is not scored on digits."])["classification"]
    assert "Left out, without a label in osm-landuse-8: Demo scene 1,234 (test)." in noted.note
    assert noted.note.endswith("x is not scored on digits.")
    assert noted.lines == all_tables(metrics, curves)["classification"].lines


def test_intervals_of_few_units_are_marked_and_explained(run):
    metrics, curves = run.read()
    rows = (metrics["dataset"] == "demo_scene") & (metrics["task"] == "zero-shot") & metrics["ci_low"].notna()
    for units, marked in ((19, True), (20, False)):
        table = all_tables(metrics.assign(units=metrics["units"].mask(rows, units)), curves)["classification"]
        for text, mark in ((to_markdown(table), r"\~\["), (to_latex(table), r"\textasciitilde{}[")):
            assert (mark in text) == marked
            assert ("fewer than 20 independent samples" in text) == marked
        assert not any(cell.about for line in table.lines for cell in line.cells if cell.low is None)


def test_a_curve_s_interval_of_few_units_is_marked(run):
    metrics, (curve, *_) = run.read()
    points = curve.points.assign(patching_val_units=7)
    (few,) = (all_tables(metrics, [dataclasses.replace(curve, points=points)])[name] for name in ["paint"])
    assert r"\~\[" in to_markdown(few)
    assert r"\~\[" not in to_markdown(all_tables(metrics, [curve])["paint"])


def test_the_gain_is_over_zero_shot_in_points(tables):
    gains = [record["demo_scene/osm-landuse-8/satellite/map gain"] for record in records(tables["classification"])]
    assert gains == ["", "3.7", "9.1", "9.2"]
    lost = [record["digits/digits-10/digits/accuracy gain"] for record in records(tables["classification"])]
    assert lost == ["", "-0.2", "-14.5", ""]


def test_a_data_set_without_a_test_split_is_shown_on_val(run):
    metrics, curves = run.read()
    metrics = metrics[~((metrics["dataset"] == "digits") & (metrics["split"] == "test"))]
    table = all_tables(metrics, curves)["classification"]
    assert "digits/digits-10/digits/accuracy" in [column.key for column in table.columns]
    assert "(val)" in table.note


def test_the_linear_probe_shows_who_was_probed(tables):
    lines = tables["linear_probe"].lines
    assert [line.texts[0] for line in lines] == ["Zero-shot (α = 0)", "Patched (α = 0.4)", "Aligned (ms-vit)"]
    assert [number(line.cells[0].value) for line in lines] == ["44.3", "48.0", "56.0"]


def test_retrieval_has_a_row_per_model_and_columns_by_data_set_and_direction(tables):
    (line,) = records(tables["retrieval"])
    assert line["model"] == "Aligned (ms-vit)"
    measured = {key: value for key, value in line.items() if "ci_" not in key and key != "model"}
    assert {key: measured[key] for key in measured if "median" in key} == {
        "demo_scene/rgb->s2/median_rank": "8.0",
        "demo_scene/s2->rgb/median_rank": "9.5",
    }
    assert [measured[f"demo_scene/{way}/recall@1"] for way in ("rgb->s2", "s2->rgb")] == ["12.0", "9.0"]
    columns = tables["retrieval"].columns
    assert [column.group for column in columns] == ["Demo scene"] * 8
    assert [column.detail for column in columns] == ["R@1", "R@5", "R@10", "median rank"] * 2
    assert [column.label for column in columns] == ["RGB\u00a0→\u00a0S2"] * 4 + ["S2\u00a0→\u00a0RGB"] * 4


def test_a_lower_median_rank_is_better(run):
    metrics, curves = run.read()
    other = metrics[metrics["task"] == "retrieval"].assign(encoder="other")
    other.loc[other["metric"] == "median_rank", "value"] = 30.0
    table = all_tables(read_like(metrics, other), curves)["retrieval"]
    best = {line.texts[0]: line.cells[3].strong for line in table.lines}
    assert table.columns[3].key == "demo_scene/rgb->s2/median_rank"
    assert best == {"Aligned (ms-vit)": True, "Aligned (other)": False}


def read_like(*frames):
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


def test_paint_has_a_line_for_each_alpha_and_marks_the_selected_one(tables):
    lines = records(tables["paint"])
    assert [line["alpha"] for line in lines] == [f"{alpha:g}" for alpha in ALPHAS]
    assert [line["patching_test"] for line in lines] == [f"{100 * score:.1f}" for score in SCENE]
    assert [line["alpha"] for line in lines if line["selected"] == "1"] == [f"{SELECTED:g}"]


def test_paint_without_a_supported_task_has_the_patching_task_alone(tmp_path):
    table = all_tables(*make_run(tmp_path, supported=False).read())["paint"]
    assert [column.key for column in table.columns] == ["patching_val", "patching_test"]


@pytest.mark.parametrize(
    ("value", "text"), [(37.96, "38.0"), (-0.04, "0.0"), (-14.53, "−14.5"), (None, "–"), (float("nan"), "–")]
)
def test_numbers_have_one_decimal(value, text):
    assert number(value) == text


def test_a_gain_is_signed():
    assert [number(value, signed=True) for value in (3.72, -0.21, 0.01)] == ["+3.7", "−0.2", "0.0"]


# --- how it is written -----------------------------------------------------------------------------------------------


def test_the_best_of_a_column_is_bold(tables):
    markdown, latex = to_markdown(tables["classification"]), to_latex(tables["classification"])
    assert re.findall(r"\*\*(.*?)\*\*", markdown) == ["99.6", "38.5", "43.5"]
    assert re.findall(r"\\textbf\{(.*?)\}", latex) == ["99.6", "38.5", "43.5"]


def test_models_that_share_the_best_figure_are_all_bold(run):
    metrics, curves = run.read()
    chosen = (metrics["task"] == "linear-probe") & (metrics["encoder"] != "demo-vit@0")
    metrics.loc[chosen, "value"] = [0.5601, 0.5604]
    lines = all_tables(metrics, curves)["linear_probe"].lines
    assert [line.cells[0].strong for line in lines] == [False, True, True]


def test_the_line_of_the_selected_alpha_is_bold(tables):
    bold = [line for line in to_markdown(tables["paint"]).splitlines() if "**" in line]
    assert len(bold) == 1
    assert bold[0].startswith("| 0.4 |")
    assert bold[0].count("**") == 10


def test_csv_is_ascii(tables):
    for table in tables.values():
        assert to_csv(table).isascii()


def test_latex_escapes_what_it_must():
    assert latex_escape("a_b & 50 % of #1 {x} $ ~ ^ \\ α") == (
        r"a\_b \& 50 \% of \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{} $\alpha$"
    )


def test_latex_names_are_escaped(run):
    metrics, curves = run.read()
    metrics.loc[metrics["prompts"] == "plain", "prompts"] = "my_prompts"
    assert r"my\_prompts" in to_latex(all_tables(metrics, curves)["classification"])


@pytest.mark.parametrize("name", ["classification", "retrieval", "linear_probe", "paint"])
def test_latex_lines_fill_the_tabular(tables, name):
    latex = to_latex(tables[name])
    for spec, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", latex, re.DOTALL):
        width = len(re.sub(r"@\{\\ \}", "", spec))
        rows = [line for line in body.splitlines() if "&" in line]
        assert len(rows) > 2
        for line in rows:
            spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert line.count(" & ") + 1 - len(spans) + sum(spans) == width
        assert body.count(r"\toprule") == body.count(r"\midrule") == body.count(r"\bottomrule") == 1


def test_stages_that_were_switched_off_leave_valid_empty_tables(tmp_path):
    tables = all_tables(*make_run(tmp_path, students=False, probe=False).read())
    for name in ("retrieval", "linear_probe"):
        assert records(tables[name]) == []
        assert "no such figures" in to_markdown(tables[name])
        assert to_latex(tables[name]).startswith("% ")
    assert len(tables["classification"].lines) == 3


def test_the_script_writes_every_table_with_the_same_bytes_each_time(run):
    script = load_script("tables")
    script.main(run.metrics, run.curves, run.selected, run.tables)
    first = {path.name: path.read_bytes() for path in run.tables.iterdir()}
    script.main(run.metrics, run.curves, run.selected, run.tables)
    assert {path.name: path.read_bytes() for path in run.tables.iterdir()} == first
    assert all(first.values())


def test_a_table_that_has_nothing_to_show_has_no_file(tmp_path):
    run = make_run(tmp_path, students=False, probe=False)
    load_script("tables").main(run.metrics, run.curves, run.selected, run.tables)
    names = ("classification", "details", "prompts", "paint")
    files = {f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex")}
    assert {path.name for path in run.tables.iterdir()} == files


def test_a_table_is_written_in_the_format_of_its_suffix(tables, tmp_path):
    write_table(tables["paint"], tmp_path / "paint.md")
    assert (tmp_path / "paint.md").read_text(encoding="utf-8") == to_markdown(tables["paint"])


def test_class_lists_of_one_data_set_have_titles_of_their_own():
    tasks = [("bigearthnet_v1", "bigearthnet-19"), ("bigearthnet_v1", "bigearthnet-5"), ("eurosat_ms", "eurosat-10")]
    rows = pd.DataFrame([*tasks, *tasks], columns=["dataset", "nomenclature"])
    assert titles_of_class_lists(rows) == dict(
        zip(tasks, ["BigEarthNet v1, bigearthnet-19", "BigEarthNet v1, bigearthnet-5", "EuroSAT"], strict=True)
    )
