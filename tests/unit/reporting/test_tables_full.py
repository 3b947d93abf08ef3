"""Tables of everything that a run can measure: what each shows, in which order, and how exactly."""

import csv
import io

import pandas as pd
import pytest
from full_rows import SELECTED, frame, full_curve, full_rows, score, zero_shot_score

from bandbridge.base.errors import UserError
from bandbridge.config.students_in_words import ablation_facts
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.formats import to_csv, to_markdown

TABLES = (
    *("classification", "details", "prompts", "retrieval", "text_retrieval", "words", "linear_probe", "few_shot"),
    *("gap", "ablations", "paint"),
)
FACTS = {
    "all-bands": {"Loss": "MSE + 0.05 labels", "Bands": "13 bands", "Epochs": "5"},
    "rgb-labels-alone": {"Loss": "labels", "Bands": "B04 B03 B02", "Epochs": "5"},
}

WORDS = {"eurosat_ms": {"River": ["a creek"], "Forest": ["trees", "a wood"], "Pasture": ["a tundra", "not scored"]}}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return frame(full_rows(), tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="module")
def tables(metrics):
    return all_tables(metrics, [full_curve()], students=FACTS, words=WORDS)


def records(table):
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def line(table, *starts):
    return next(line for line in table.lines if line.texts[: len(starts)] == starts)


def column(table, key):
    return [column.key for column in table.columns].index(key)


def test_all_tables_are_there_and_filled(tables):
    assert tuple(tables) == TABLES
    assert all(table.lines for table in tables.values())


def test_a_run_with_nothing_in_it_has_only_empty_tables(metrics):
    empty = all_tables(metrics.iloc[:0], [])
    assert set(empty) == set(TABLES)
    for table in empty.values():
        assert table.lines == table.columns == ()
        assert "no such figures" in to_markdown(table)


def test_a_gain_that_is_surely_not_chance_has_an_asterisk_that_the_note_explains(tables):
    table = tables["classification"]
    seen = set()
    for record, shown in zip(records(table), table.lines, strict=True):
        for cell, of in zip(shown.cells, table.columns, strict=True):
            if cell.p is not None:
                assert float(record[f"{of.key} p"]) == cell.p
                assert bool(cell.mark) == (cell.p < 0.05)
                seen.add(cell.mark)
    assert seen == {"*", ""}
    assert "p < 0.05" in table.note
    assert "\\*)" in to_markdown(table)


def test_without_sure_gains_there_is_no_note_about_them(metrics):
    unsure = metrics[~metrics["metric"].str.endswith("_p")]
    assert "p <" not in all_tables(unsure, [full_curve()])["classification"].note


def test_the_tested_gain_is_the_one_shown(metrics):
    rows = metrics.copy()
    chosen = (rows["metric"] == "accuracy_gain") & (rows["encoder"] == "ViT-B-32@1") & (rows["dataset"] == "eurosat_ms")
    rows.loc[chosen, "value"] = 0.1234
    table = all_tables(rows, [full_curve()])["classification"]
    cell = line(table, "Fine-tuned (α = 1)").cells[column(table, "eurosat_ms/eurosat-10/satellite/accuracy")]
    assert cell.gain == pytest.approx(12.34)


def test_each_clip_gains_over_its_own_zero_shot_model(tmp_path):
    both = two_clips(tmp_path)
    table = all_tables(both, [full_curve(), full_curve("ViT-L-14")], published=False)["linear_probe"]
    at = column(table, "eurosat_ms/eurosat-10/accuracy")
    for clip in ("ViT-B-32", "ViT-L-14"):
        expected = 100 * (
            score("linear-probe", f"{clip}@1", "eurosat-10") - score("linear-probe", f"{clip}@0", "eurosat-10")
        )
        assert line(table, f"{clip}, fine-tuned (α = 1)").cells[at].gain == pytest.approx(expected)


def two_clips(folder):
    rows = {tuple(row.cells()[:12]): row for clip in ("ViT-B-32", "ViT-L-14") for row in full_rows(clip=clip)}
    return frame([row for row in rows.values() if row.alpha is not None], folder)


def test_several_clips_are_told_apart_and_stand_together(tmp_path):
    table = all_tables(two_clips(tmp_path), [full_curve(), full_curve("ViT-L-14")], published=False)["classification"]
    assert [shown.texts[0] for shown in table.lines] == [
        f"{clip}, {role}"
        for clip in ("ViT-B-32", "ViT-L-14")
        for role in ("zero-shot (α = 0)", "patched (α = 0.5)", "fine-tuned (α = 1)")
    ]


def test_the_start_of_a_line_that_goes_on_from_another_is_not_zero_shot(metrics):
    further = metrics[metrics["alpha"].notna()].copy()
    further["encoder"] = further["encoder"].str.replace("ViT-B-32@", "ViT-B-32-after-eurosat_ms@")
    rows = pd.concat([metrics, further], ignore_index=True)
    curves = [full_curve(), full_curve("ViT-B-32-after-eurosat_ms")]
    names = [shown.texts[0] for shown in all_tables(rows, curves, published=False)["classification"].lines]
    assert "ViT-B-32, zero-shot (α = 0)" in names
    assert "ViT-B-32-after-eurosat_ms, patched (α = 0.5)" in names
    assert not [name for name in names if name.startswith("ViT-B-32-after") and "α = 0)" in name]


def test_knn_stands_beside_the_linear_probe_of_the_same_data_set(tables):
    table = tables["linear_probe"]
    assert [(shown.group, shown.label) for shown in table.columns][-2:] == [
        ("EuroSAT", "accuracy"),
        ("EuroSAT", "k-NN accuracy"),
    ]
    at = column(table, "eurosat_ms/eurosat-10/accuracy/knn")
    assert line(table, "RemoteCLIP-ViT-B-32").cells[at].value == pytest.approx(
        100 * score("knn", "RemoteCLIP-ViT-B-32", "eurosat-10")
    )


def test_few_shot_columns_go_by_data_set_then_by_k(tables):
    keys = [shown.key for shown in tables["few_shot"].columns]
    assert keys[:4] == [f"bigearthnet_v1/bigearthnet-5/map@{k}" for k in (1, 5, 10, 50)]
    assert keys[-4:] == [f"eurosat_ms/eurosat-10/accuracy@{k}" for k in (1, 5, 10, 50)]


def test_retrieval_shows_what_shares_a_label_too(tables):
    table = tables["retrieval"]
    measures = ["R@1", "R@5", "R@10", "R@50", "mAP@20", "median rank"]
    assert [shown.detail for shown in table.columns] == measures * 4  # two data sets, two directions
    at = column(table, "eurosat_ms/s2->rgb/label_map@20")
    assert line(table, "Aligned (all-bands)").cells[at].value == pytest.approx(40)


def test_the_best_text_retrieval_is_the_best_of_a_data_set_with_one_prompt_set(tables):
    table = tables["text_retrieval"]
    at = column(table, "map")
    for prompts in ("plain", "satellite"):
        group = [
            shown for shown in table.lines if shown.texts[1].startswith("BigEarthNet") and shown.texts[3] == prompts
        ]
        assert len(group) == 6
        best = max(group, key=lambda shown: shown.cells[at].value)
        assert [shown for shown in group if shown.cells[at].strong] == [best]


def test_words_stand_with_their_class_and_its_share_and_models_side_by_side(tables, metrics):
    table = tables["words"]
    title = "EuroSAT"
    assert [shown.texts for shown in table.lines] == [
        (title, "River", "a creek"),
        (title, "Forest", "trees"),
        (title, "Forest", "a wood"),
        (title, "Pasture", "a tundra"),
        (title, "", "mean"),
        (title, "", "mean lift (×)"),
    ]
    assert [shown.label for shown in table.columns] == [
        "Share of images, %",
        *("Zero-shot (α = 0)", "Patched (α = 0.5)", "Fine-tuned (α = 1)", "RemoteCLIP-ViT-B-32"),
        *("Aligned (all-bands)", "Aligned (rgb-labels-alone)"),
    ]
    assert {shown.group for shown in table.columns[1:]} == {"Precision among the 20 nearest, %"}
    shares = [shown.cells[0].value for shown in table.lines]
    expected = [100 * n / 12_345 for n in (500, 1000, 1000, 0)]
    assert shares[:4] == pytest.approx(expected)
    assert shares[4:] == [pytest.approx(sum(expected) / 3), None]  # of the words that have images
    at = column(table, "ViT-B-32@0.5")
    assert line(table, title, "Forest", "trees").cells[at].value == pytest.approx(
        100 * score("words", "precision@20", "ViT-B-32@0.5", "trees")
    )
    assert line(table, title, "Pasture").cells[at].value is None
    mean, lift = table.lines[-2:]
    assert mean.cells[at].value == pytest.approx(100 * score("words", "precision@20", "ViT-B-32@0.5", ""))
    assert lift.cells[at].value == pytest.approx(score("words", "lift@20", "ViT-B-32@0.5", ""))
    for shown in table.lines[:3]:
        values = [cell.value for cell in shown.cells[1:]]
        assert [cell.strong for cell in shown.cells[1:]] == [value == max(values) for value in values]
    assert records(table)[1]["word"] == "trees"
    assert all_tables(metrics, [full_curve()], words=WORDS, datasets=["imagenet"])["words"].lines == ()


def test_prompt_sensitivity_is_mean_deviation_best_and_worst(tables):
    table = tables["prompts"]
    values = {
        prompts: 100 * zero_shot_score("paper", "ViT-B-32@0", "bigearthnet_v1", "bigearthnet-5", prompts)
        for prompts in ("plain", "satellite")
    }
    best, worst = max(values, key=values.get), min(values, key=values.get)
    shown = line(table, "Zero-shot (α = 0)")
    assert shown.texts[2:] == ("mAP, bigearthnet-5", "2", best, worst)
    spread = values[best] - values[worst]
    expected = [sum(values.values()) / 2, spread / 2**0.5, values[best], values[worst]]
    assert [cell.value for cell in shown.cells] == pytest.approx(expected)


def test_data_sets_with_one_prompt_set_have_no_sensitivity_to_it(tables):
    assert {shown.texts[1][:12] for shown in tables["prompts"].lines} == {"BigEarthNet "}


def test_the_gap_has_three_decimals_and_no_percent(tables):
    table = tables["gap"]
    shown = line(table, "Aligned (all-bands)")
    assert shown.cells[column(table, "rgb-s2/cosine")].value == pytest.approx(score("rgb-s2", "cosine", "all-bands"))
    record = next(record for record in records(table) if record["model"] == "Aligned (all-bands)")
    assert record["rgb-s2/cosine"] == f"{score('rgb-s2', 'cosine', 'all-bands'):.3f}"


def test_a_student_is_not_taken_for_an_rgb_model_by_its_rgb_gap(tables):
    assert "Aligned (all-bands)" in [shown.texts[0] for shown in tables["gap"].lines]


def test_ablations_show_only_what_differs(tables):
    table = tables["ablations"]
    assert table.headings == ("Student", "Loss", "Bands")
    assert [shown.texts for shown in table.lines] == [
        ("all-bands", "MSE + 0.05 labels", "13 bands"),
        ("rgb-labels-alone", "labels", "B04 B03 B02"),
    ]
    first = table.lines[0].cells[0]
    assert first.gain == pytest.approx(3.1)
    assert first.mark == "*"
    assert "R@1" in [shown.label for shown in table.columns]


def test_one_student_alone_is_no_ablation(metrics):
    alone = {"all-bands": FACTS["all-bands"]}
    assert all_tables(metrics, [full_curve()], students=alone)["ablations"].lines == ()


def test_facts_of_students_are_their_losses_bands_and_recipes():
    align = {"distillation_weight": 1.0, "label_weight": 0.05, "loss": "mse", "temperature": 0.07, "epochs": 5}
    bands = ["B02", "B03", "B04", "B05", "B08"]
    config = {
        "clip": {"name": "ViT-B-32", "pretrained": "openai"},
        "tasks": {"patching": {"dataset": "eurosat_ms"}, "supported": None},
        "align": {
            **align,
            "students": {
                "full": {"backbone": "vit", "bands": bands, "recipe": {}},
                "labels": {
                    "backbone": "vit",
                    "bands": bands[:3],
                    "recipe": {"distillation_weight": 0, "label_weight": 1},
                },
                "infonce": {"backbone": "vit", "bands": bands, "recipe": {"loss": "infonce", "label_weight": 0}},
            },
        },
    }
    facts = ablation_facts(config)
    assert [values["Loss"] for values in facts.values()] == ["MSE + 0.05 labels", "labels", "InfoNCE"]
    assert [values["Bands"] for values in facts.values()] == ["5 bands", "B02 B03 B04", "5 bands"]
    assert facts["full"]["Patched on"] == "EuroSAT"
    assert "Temperature" in facts["infonce"]
    assert "Temperature" not in facts["full"]


# --- order and rounding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patched", ["patched", "ViT-B-32@selected", "ViT-B-32@0.5"])
def test_models_and_data_sets_come_in_the_order_asked_for(metrics, patched):
    table = all_tables(
        metrics,
        [full_curve()],
        models=["rgb-labels-alone", patched, "ViT-B-32@0.7"],
        datasets=["imagenet", "eurosat_ms"],
        published=False,
    )["classification"]
    assert [shown.texts[0] for shown in table.lines] == [
        "Aligned (rgb-labels-alone)",
        "Patched (α = 0.5)",
        "Interpolated (α = 0.7)",
    ]
    assert [shown.group for shown in table.columns] == ["ImageNet-1k", "EuroSAT"]


def test_the_best_is_the_best_of_those_shown(metrics):
    table = all_tables(metrics, [full_curve()], models=["zero-shot"], published=False)["classification"]
    assert not any(cell.strong for shown in table.lines for cell in shown.cells)


@pytest.mark.parametrize(("key", "name"), [("models", "patchd"), ("datasets", "eurosat")])
def test_a_name_that_the_run_does_not_have_is_an_error_that_says_which_it_has(metrics, key, name):
    with pytest.raises(UserError, match=f"'{name}' is not in metrics.csv.*Did you mean"):
        all_tables(metrics, [full_curve()], **{key: [name]})


@pytest.mark.parametrize("decimals", [0, 2, 3])
def test_percentages_have_the_decimals_asked_for(metrics, decimals):
    tables = all_tables(metrics, [full_curve()], decimals=decimals, published=False)
    value = 100 * zero_shot_score("paper", "ViT-B-32@0", "eurosat_ms", "eurosat-10", "satellite")
    record = records(tables["classification"])[0]
    assert record["eurosat_ms/eurosat-10/satellite/accuracy"] == f"{value:.{decimals}f}"
    assert records(tables["paint"])[0]["patching_val"] == f"{50:.{decimals}f}"
    assert records(tables["retrieval"])[0]["eurosat_ms/rgb->s2/median_rank"] == "12.5"


def test_the_selected_alpha_is_the_one_in_the_table(tables):
    assert [shown.texts[-1] for shown in tables["paint"].lines if shown.strong] == [f"{SELECTED:g}"]
