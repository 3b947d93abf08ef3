"""Published figures beside a run's own: which are shown where, and how they are told apart."""

import csv
import io

import pydantic
import pytest
from full_rows import frame, full_curve, full_rows
from synthetic_run import make_run

from bandbridge.catalogue.datasets import dataset_names, load_dataset, read_yaml
from bandbridge.catalogue.file_models import PublishedFigure
from bandbridge.catalogue.published import MARKS, all_figures, figures
from bandbridge.config.lines import patched_models
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.formats import to_csv, to_markdown

ABSTRACT = {
    ("bigearthnet_v1", "bigearthnet-5", "map"): 39.76,
    ("bigearthnet_v1", "bigearthnet-19", "map"): 56.86,
    ("bigearthnet_v1", "bigearthnet-43", "map"): 28.43,
    ("sen12ms", "igbp-simplified-10", "map"): 20.61,
    ("eurosat_ms", "eurosat-10", "accuracy"): 5.98,
}


def patched(clip="ViT-B-32", dataset="bigearthnet_v1", nomenclature="bigearthnet-19"):
    return [{"clip": clip, "dataset": dataset, "nomenclature": nomenclature}]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return frame(full_rows(), tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="module")
def tables(metrics):
    return all_tables(metrics, [full_curve()], patched=patched())


def published_lines(table):
    return {line.texts[0]: line for line in table.lines if line.source}


def value(table, name, key):
    cells = dict(zip([column.key for column in table.columns], published_lines(table)[name].cells, strict=True))
    return cells[key]


def test_the_gains_of_the_abstract_are_as_printed():
    found = {(f.dataset, f.nomenclature, f.metric): f.gain for f in all_figures() if f.where == "abstract"}
    assert found == ABSTRACT
    assert all(figure.value is None for figure in all_figures() if figure.where == "abstract")


def test_every_figure_is_of_a_data_set_and_class_list_of_the_catalogue():
    for figure in all_figures():
        assert figure.dataset in dataset_names()
        assert not figure.nomenclature or figure.nomenclature in load_dataset(figure.dataset).nomenclatures
        if figure.patched_on:
            assert figure.patched_on[1] in load_dataset(figure.patched_on[0]).nomenclatures
        assert (figure.value is None) != (figure.gain is None)


def test_every_source_has_a_mark_of_its_own():
    marks = {figure.origin: figure.mark for figure in all_figures()}
    assert len(set(marks.values())) == len(marks) <= len(MARKS)
    assert read_yaml("published", "zavras2025-abstract")["source"] == "Zavras et al. 2025"


def test_a_gain_without_a_score_is_shown_as_the_gain_alone(tables):
    cell = value(
        tables["classification"], "Patched, ViT-B-32 † (inferred)", "bigearthnet_v1/bigearthnet-19/satellite/map"
    )
    assert (cell.value, cell.gain) == (None, 56.86)
    assert "| Patched, ViT-B-32 † (inferred) | (+39.8) |" in to_markdown(tables["classification"])


def test_second_hand_figures_have_another_mark_and_the_note_names_both_sources(tables):
    table = tables["classification"]
    assert value(table, "GeoRSCLIP ‡", "eurosat_ms/eurosat-10/satellite/accuracy").value == 74.83
    assert "† Zavras et al. 2025, abstract." in table.note
    assert "‡ Zavras et al. 2025, second hand" in table.note


def test_csv_names_the_source_of_each_published_line_and_of_no_other(tables):
    records = list(csv.DictReader(io.StringIO(to_csv(tables["linear_probe"]))))
    assert [record["source"] for record in records if record["model"].startswith("DOFA")] == [
        "Zavras et al. 2025, second hand, as quoted by others"
    ]
    assert {record["source"] for record in records if record["model"].startswith(("Zero-shot", "Patched"))} == {""}
    (aligned,) = (record["source"] for record in records if record["model"].startswith("Aligned ViT-S"))
    assert aligned == "Zavras et al. 2025, second hand, as quoted by others; inferred: backbone, patching task"


def test_a_figure_of_a_backbone_is_shown_beside_that_backbone_alone(tables):
    assert (
        value(tables["classification"], "Zero-shot, ViT-B-32 ‡", "imagenet/imagenet-1k/imagenet-80/accuracy").value
        == 63.28
    )
    assert not [name for name in published_lines(tables["classification"]) if "ViT-L-14" in name]
    assert not published_lines(tables["retrieval"])


@pytest.mark.parametrize(
    ("clip", "count"), [("ViT-L-14", 2), ("ViT-L-14-quickgelu", 2), ("ViT-L-14-336", 0), ("demo-vit", 0)]
)
def test_backbones_are_the_same_whatever_their_activation(clip, count):
    assert len(figures("retrieval", patched(clip))) == count


@pytest.mark.parametrize(
    "other",
    [
        patched(dataset="bigearthnet_v2"),
        patched(nomenclature="bigearthnet-43"),
        patched("ViT-B-16"),
        patched(dataset="eurosat_ms", nomenclature="eurosat-10"),
        [],
    ],
)
@pytest.mark.parametrize("task", ["zero-shot", "linear-probe", "retrieval", "gap"])
def test_a_run_of_another_backbone_or_patching_task_has_no_figure_of_a_patched_model(task, other):
    shown = figures(task, other)
    assert {figure.model for figure in shown} <= {"Zero-shot"}
    assert not any(figure.inferred for figure in shown)


def test_zero_shot_figures_need_the_backbone_alone():
    assert [figure.value for figure in figures("zero-shot", patched("ViT-L-14", "resisc45", "resisc45"))] == [75.49]


def test_models_of_others_come_with_the_figures_that_their_source_sets_them_beside(metrics):
    assert "GeoRSCLIP" in {figure.model for figure in figures("zero-shot", patched())}
    assert "GeoRSCLIP" not in {figure.model for figure in figures("zero-shot", patched("ViT-L-14"))}


def test_the_note_says_what_is_inferred_and_only_where_something_is(tables, metrics, tmp_path):
    assert "(inferred): backbone and patching task are those of the authors" in tables["classification"].note
    rows = frame(full_rows(clip="ViT-L-14"), tmp_path)
    large = all_tables(rows, [full_curve("ViT-L-14")], patched=patched("ViT-L-14"))
    assert "(inferred): patching task are" not in large["classification"].note
    assert "(inferred): the patching task is" in large["classification"].note
    other = all_tables(metrics, [full_curve()], patched=patched(dataset="eurosat_ms", nomenclature="eurosat-10"))
    assert "Zavras" in other["classification"].note
    assert "(inferred)" not in other["classification"].note


@pytest.mark.parametrize(
    ("clip", "patching", "expected"),
    [
        ({"name": "ViT-B-32", "pretrained": "openai"}, [("bigearthnet_v1", "bigearthnet-19")], patched()),
        ({"name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}, [("bigearthnet_v1", "bigearthnet-19")], []),
        (
            {"name": ["ViT-B-32", "ViT-L-14"], "pretrained": ["laion2b_s34b_b79k", "openai"]},
            [("eurosat_ms", None)],
            patched("ViT-L-14", "eurosat_ms", "eurosat-10"),
        ),
        (
            {"name": "ViT-B-32", "pretrained": "openai"},
            [("bigearthnet_v1", "bigearthnet-19"), ("eurosat_ms", None)],
            [],
        ),
    ],
)
def test_figures_may_be_of_openai_s_clips_patched_on_one_task(clip, patching, expected):
    named = [{"dataset": dataset, "nomenclature": nomenclature} for dataset, nomenclature in patching]
    config = {"clip": clip, "paint": {}, "tasks": {"patching": named, "supported": None}}
    assert patched_models(config) == expected


@pytest.mark.parametrize("how", ["sequentially", "in_parallel"])
def test_of_several_tasks_only_the_first_line_from_clip_itself_is_patched_on_one(how):
    named = [{"dataset": "bigearthnet_v1", "nomenclature": "bigearthnet-19"}, {"dataset": "eurosat_ms"}]
    config = {
        "clip": {"name": "ViT-B-32", "pretrained": "openai"},
        "paint": {"several": how},
        "tasks": {"patching": named, "supported": None},
    }
    parallel = patched("ViT-B-32", "eurosat_ms", "eurosat-10") if how == "in_parallel" else []
    assert patched_models(config) == [*patched(), *parallel]


@pytest.mark.parametrize(
    ("entry", "lacking"),
    [
        ({"patched_on": {"dataset": "resisc45", "nomenclature": "resisc45"}}, "clip"),
        ({"inferred": ["clip"]}, "clip"),
        ({"clip": "ViT-B-32", "inferred": ["patched_on"]}, "patched_on"),
    ],
)
def test_a_figure_without_what_tells_whose_it_is_is_refused(entry, lacking):
    facts = {"task": "zero-shot", "dataset": "resisc45", "metric": "accuracy", "model": "Patched", "value": 50}
    with pytest.raises(pydantic.ValidationError) as refused:
        PublishedFigure.model_validate(facts | entry)
    assert refused.value.errors()[0]["ctx"]["error"].about["names"] == [lacking]


def test_retrieval_has_its_figures_in_their_direction(tmp_path):
    rows = frame(full_rows(clip="ViT-L-14"), tmp_path)
    table = all_tables(rows, [full_curve("ViT-L-14")], patched=patched("ViT-L-14"))["retrieval"]
    found = {line.texts[2]: line.cells[0].value for line in table.lines if line.source}
    assert found == {"RGB\u00a0→\u00a0S2": 24.86, "S2\u00a0→\u00a0RGB": 6.14}


def test_published_figures_do_not_take_part_in_what_is_best(metrics, tables):
    alone = all_tables(metrics, [full_curve()], published=False, patched=patched())["linear_probe"]
    ours = [line for line in tables["linear_probe"].lines if not line.source]
    assert ours == list(alone.lines)


def test_they_can_be_left_out(metrics):
    for table in all_tables(metrics, [full_curve()], published=False, patched=patched()).values():
        assert not published_lines(table)
        assert "Zavras" not in table.note


def test_a_run_on_other_data_has_none(tmp_path):
    for table in all_tables(*make_run(tmp_path).read(), patched=patched("demo-vit", "demo_scene")).values():
        assert not published_lines(table)


def test_a_figure_in_other_classes_is_not_shown(metrics):
    rows = metrics[metrics["nomenclature"] != "bigearthnet-5"]
    table = all_tables(rows, [full_curve()], patched=patched())["linear_probe"]
    assert not published_lines(table)
