"""The tidy metrics table: what is written is read back, and the same rows give the same bytes."""

import dataclasses
import math

import pytest

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError
from bandbridge.scoring.rows import COLUMNS, Row, merge_rows, read_rows, write_rows

ROW = Row(
    run="demo",
    encoder="demo-vit@0.5",
    clip="demo-vit",
    alpha=0.5,
    dataset="demo_scene",
    modality="rgb",
    split="test",
    task="zero-shot",
    nomenclature="osm",
    prompts="satellite",
    metric="map",
    value=1 / 3,
    ci_low=0.25,
    ci_high=0.5,
    n=143,
    units=21,
    seed=0,
)
CLASS_ROW = dataclasses.replace(
    ROW, metric="average_precision", class_="forest, mixed", value=0.5, ci_low=None, ci_high=None, units=None
)


def replaced(**changes):
    return dataclasses.replace(ROW, **changes)


def test_a_row_is_written_with_ten_significant_digits_and_empty_cells(tmp_path):
    write_rows(tmp_path / "m.csv", [ROW, CLASS_ROW])
    header, *lines = (tmp_path / "m.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert lines == [
        "demo,demo-vit@0.5,demo-vit,0.5,demo_scene,rgb,test,zero-shot,osm,satellite,average_precision,"
        '"forest, mixed",0.5,,,143,,0',
        "demo,demo-vit@0.5,demo-vit,0.5,demo_scene,rgb,test,zero-shot,osm,satellite,map,,0.3333333333,0.25,0.5,143,21,0",
    ]


def test_rows_read_back_as_they_were_written(tmp_path):
    write_rows(tmp_path / "m.csv", [ROW, CLASS_ROW, replaced(encoder="ms-vit", alpha=None, value=math.nan)])
    frame = read_rows([tmp_path / "m.csv"])
    assert list(frame.columns) == list(COLUMNS)
    assert frame["class"].tolist() == ["forest, mixed", "", ""]
    assert frame["alpha"].tolist()[:2] == [0.5, 0.5]
    assert math.isnan(frame["alpha"][2])
    assert math.isnan(frame["value"][2])
    assert math.isnan(frame["ci_low"][0])
    assert frame["n"].tolist() == [143] * 3


def test_the_order_rows_come_in_does_not_show(tmp_path):
    rows = [replaced(metric=f"recall@{k}") for k in (5, 1, 50, 10)] + [
        replaced(encoder=f"demo-vit@{a}") for a in ("1", "0.1")
    ]
    write_rows(tmp_path / "a.csv", rows)
    write_rows(tmp_path / "b.csv", rows[::-1])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_recall_at_5_stands_before_recall_at_10(tmp_path):
    write_rows(tmp_path / "m.csv", [replaced(metric=f"recall@{k}") for k in (10, 1, 5)])
    assert read_rows([tmp_path / "m.csv"])["metric"].tolist() == ["recall@1", "recall@5", "recall@10"]


def test_merging_partial_tables_equals_writing_all_rows_at_once(tmp_path):
    rows = [ROW, CLASS_ROW, replaced(split="val", value=2 / 3)]
    for index, row in enumerate(rows):
        write_rows(tmp_path / f"{index}.csv", [row])
    merge_rows([tmp_path / f"{index}.csv" for index in (2, 0, 1)], tmp_path / "merged.csv")
    write_rows(tmp_path / "whole.csv", rows)
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_two_rows_for_the_same_thing_are_an_error_even_with_other_values(tmp_path):
    write_rows(tmp_path / "a.csv", [ROW])
    write_rows(tmp_path / "b.csv", [replaced(value=0.7)])
    with pytest.raises(UserError, match=r"two rows for run demo, encoder demo-vit@0\.5.*metric map"):
        merge_rows([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_a_table_with_other_columns_is_an_error(tmp_path):
    (tmp_path / "old.csv").write_text("run,value\ndemo,1\n")
    with pytest.raises(UserError, match=r"old\.csv: columns are run,value"):
        read_rows([tmp_path / "old.csv"])


def test_no_rows_give_a_table_with_a_header(tmp_path):
    write_rows(tmp_path / "m.csv", [])
    assert read_rows([tmp_path / "m.csv"]).empty


def test_alphas_that_differ_after_ten_digits_stay_apart(tmp_path):
    alphas = [0.0, 1e-9, 0.30000000000000004, 0.3, 0.12345678901, 0.12345678902, 1.0]
    write_rows(tmp_path / "rows.csv", [replaced(encoder=f"a@{alpha_name(alpha)}", alpha=alpha) for alpha in alphas])
    assert sorted(read_rows([tmp_path / "rows.csv"])["alpha"]) == sorted(alphas)
    assert "0.000000001" in (tmp_path / "rows.csv").read_text()
