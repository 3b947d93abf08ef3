"""Published figures beside a run's own: which are shown where, and how they are told apart."""

import csv
import io

import pytest
from full_rows import frame, full_curve, full_rows
from synthetic_run import make_run

from bandbridge.catalogue.datasets import dataset_names, load_dataset, read_yaml
from bandbridge.catalogue.published import MARKS, all_figures, figures
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.formats import to_csv, to_markdown

ABSTRACT = {
    ("bigearthnet_v1", "bigearthnet-5", "map"): 39.76,
    ("bigearthnet_v1", "bigearthnet-19", "map"): 56.86,
    ("bigearthnet_v1", "bigearthnet-43", "map"): 28.43,
    ("sen12ms", "igbp-simplified-10", "map"): 20.61,
    ("eurosat_ms", "eurosat-10", "accuracy"): 5.98,
}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return frame(full_rows(), tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="module")
def tables(metrics):
    return all_tables(metrics, [full_curve()])


def published(table):
    return {line.texts[0]: line for line in table.lines if line.source}


def value(table, name, key):
    cells = dict(zip([column.key for column in table.columns], published(table)[name].cells, strict=True))
    return cells[key]


def test_the_gains_of_the_abstract_are_as_printed():
    found = {(f.dataset, f.nomenclature, f.metric): f.gain for f in all_figures() if f.where == "abstract"}
    assert found == ABSTRACT
    assert all(figure.value is None for figure in all_figures() if figure.where == "abstract")


def test_every_figure_is_of_a_data_set_and_class_list_of_the_catalogue():
    for figure in all_figures():
        assert figure.dataset in dataset_names()
        assert not figure.nomenclature or figure.nomenclature in load_dataset(figure.dataset).nomenclatures
        assert (figure.value is None) != (figure.gain is None)


def test_every_source_has_a_mark_of_its_own():
    marks = {figure.origin: figure.mark for figure in all_figures()}
    assert len(set(marks.values())) == len(marks) <= len(MARKS)
    assert read_yaml("published", "zavras2025-abstract")["source"] == "Zavras et al. 2025"


def test_a_gain_without_a_score_is_shown_as_the_gain_alone(tables):
    cell = value(tables["classification"], "Patched †", "bigearthnet_v1/bigearthnet-19/satellite/map")
    assert (cell.value, cell.gain) == (None, 56.86)
    assert "| Patched † | (+39.8) |" in to_markdown(tables["classification"])


def test_second_hand_figures_have_another_mark_and_the_note_names_both_sources(tables):
    table = tables["classification"]
    assert value(table, "GeoRSCLIP ‡", "eurosat_ms/eurosat-10/satellite/accuracy").value == 74.83
    assert "† Zavras et al. 2025, abstract." in table.note
    assert "‡ Zavras et al. 2025, second hand" in table.note


def test_csv_names_the_source_of_each_published_line_and_of_no_other(tables):
    records = list(csv.DictReader(io.StringIO(to_csv(tables["linear_probe"]))))
    assert [record["source"] for record in records if record["model"].startswith("DOFA")] == [
        "Zavras et al. 2025, second hand (as quoted by others)"
    ]
    assert {record["source"] for record in records if record["model"].startswith(("Zero-shot", "Patched"))} == {""}


def test_a_figure_of_a_backbone_is_shown_beside_that_backbone_alone(tables):
    assert (
        value(tables["classification"], "Zero-shot, ViT-B-32 ‡", "imagenet/imagenet-1k/imagenet-80/accuracy").value
        == 63.28
    )
    assert not [name for name in published(tables["classification"]) if "ViT-L-14" in name]
    assert not published(tables["retrieval"])


@pytest.mark.parametrize(
    ("clip", "count"), [("ViT-L-14", 2), ("ViT-L-14-quickgelu", 2), ("ViT-L-14-336", 0), ("demo-vit", 0)]
)
def test_backbones_are_the_same_whatever_their_activation(clip, count):
    assert len([figure for figure in figures("retrieval", [clip]) if figure.clip]) == count


def test_retrieval_has_its_figures_in_their_direction(tmp_path):
    rows = frame(full_rows(clip="ViT-L-14"), tmp_path)
    table = all_tables(rows, [full_curve("ViT-L-14")])["retrieval"]
    found = {line.texts[2]: line.cells[0].value for line in table.lines if line.source}
    assert found == {"RGB\u00a0→\u00a0S2": 24.86, "S2\u00a0→\u00a0RGB": 6.14}


def test_published_figures_do_not_take_part_in_what_is_best(metrics, tables):
    alone = all_tables(metrics, [full_curve()], published=False)["linear_probe"]
    ours = [line for line in tables["linear_probe"].lines if not line.source]
    assert ours == list(alone.lines)


def test_they_can_be_left_out(metrics):
    for table in all_tables(metrics, [full_curve()], published=False).values():
        assert not published(table)
        assert "Zavras" not in table.note


def test_a_run_on_other_data_has_none(tmp_path):
    for table in all_tables(*make_run(tmp_path).read()).values():
        assert not published(table)


def test_a_figure_in_other_classes_is_not_shown(metrics):
    rows = metrics[metrics["nomenclature"] != "bigearthnet-5"]
    table = all_tables(rows, [full_curve()])["linear_probe"]
    assert not published(table)
