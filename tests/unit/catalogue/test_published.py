"""Published figures beside a run's own: which are shown where, and how they are told apart."""

import csv
import dataclasses
import io

import pydantic
import pytest
from full_rows import frame, full_curve, full_rows
from synthetic_run import make_run

from bandbridge.catalogue.datasets import dataset_names, load_dataset, read_yaml
from bandbridge.catalogue.file_models import PublishedFigure
from bandbridge.catalogue.published import MARKS, all_figures, figures, marks_of
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


ALPHA = "at alpha = 0.5"
INFERRED = "inferred: backbone, patching task"
ABSTRACT_IN_WORDS = f"Zavras et al. 2025, abstract; {INFERRED}"
SECOND_HAND = "Zavras et al. 2025, second hand, as quoted by others"


def patched(clip="ViT-B-32", dataset="bigearthnet_v1", nomenclature="bigearthnet-19", line=None, teaches=True):
    model = {"line": line or clip, "clip": clip, "dataset": dataset, "nomenclature": nomenclature, "teaches": teaches}
    return [model]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return frame(full_rows(), tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="module")
def tables(metrics):
    return all_tables(metrics, [full_curve()], patched=patched())


def lines_of_others(table):
    return {line.texts[0]: line for line in table.lines if line.source}


def cell(table, name, key):
    (line,) = (line for line in table.lines if line.texts[0] == name)
    return dict(zip([column.key for column in table.columns], line.cells, strict=True))[key]


def quotes(table):
    """(first text of the row, column) -> published values or gains, and their sources."""
    return {
        (line.texts[0], column.key): [(quote.value or quote.gain, quote.source) for quote in shown.quotes]
        for line in table.lines
        for column, shown in zip(table.columns, line.cells, strict=True)
        if shown.quotes
    }


def test_the_gains_of_the_abstract_are_as_printed():
    gains = {(f.dataset, f.nomenclature, f.metric): f.gain for f in all_figures() if f.where == "abstract"}
    assert gains == ABSTRACT
    assert all(figure.value is None for figure in all_figures() if figure.where == "abstract")


def test_every_figure_is_of_a_data_set_and_class_list_of_the_catalogue():
    for figure in all_figures():
        assert figure.dataset in dataset_names()
        assert not figure.nomenclature or figure.nomenclature in load_dataset(figure.dataset).nomenclatures
        if figure.patched_on:
            assert figure.patched_on[1] in load_dataset(figure.patched_on[0]).nomenclatures
        assert (figure.value is None) != (figure.gain is None)


def test_every_source_certainty_and_inference_has_a_mark_of_its_own():
    marks = marks_of(all_figures())
    assert set(marks) == {figure.provenance for figure in all_figures()}
    assert len(set(marks.values())) == len(marks) > len(MARKS)
    assert read_yaml("published", "zavras2025-abstract")["source"] == "Zavras et al. 2025"


def test_a_gain_without_a_score_is_shown_as_the_gain_alone(tables):
    table = tables["classification"]
    own = cell(table, "Patched (α = 0.5)", "bigearthnet_v1/bigearthnet-19/satellite/map")
    (quote,) = own.quotes
    assert (quote.value, quote.gain, quote.source) == (None, 56.86, ABSTRACT_IN_WORDS)
    (row,) = (line for line in to_markdown(table).splitlines() if line.startswith("| Patched"))
    assert f" {quote.mark}\u00a0(+56.9) |" in row


def test_published_figures_stand_in_the_cells_of_the_models_that_they_are_of(tables):
    bigearthnet = "bigearthnet_v1/bigearthnet"
    shown = quotes(tables["classification"])
    imagenet = "imagenet/imagenet-1k/imagenet-80/accuracy"
    eurosat = "eurosat_ms/eurosat-10/satellite/accuracy"
    assert shown == {
        **{
            ("Patched (α = 0.5)", f"{bigearthnet}-{classes}/{prompts}/map"): [(gain, ABSTRACT_IN_WORDS)]
            for classes, gain in ((5, 39.76), (19, 56.86), (43, 28.43))
            for prompts in ("plain", "satellite")
        },
        ("Patched (α = 0.5)", eurosat): [(5.98, ABSTRACT_IN_WORDS), (69.70, f"{SECOND_HAND}; {INFERRED}")],
        ("Aligned (all-bands)", eurosat): [(42.11, f"{SECOND_HAND}; {INFERRED}")],
        ("Aligned (rgb-labels-alone)", eurosat): [(42.11, f"{SECOND_HAND}; {INFERRED}")],
        ("Zero-shot (α = 0)", imagenet): [(63.28, SECOND_HAND)],
        ("Patched (α = 0.5)", imagenet): [(58.65, f"{SECOND_HAND}; at α = 0.5; inferred: patching task")],
    }


def test_the_note_names_the_source_of_every_mark(tables):
    table = tables["classification"]
    marks = {quote.mark: quote.source for line in table.lines for own in line.cells for quote in own.quotes}
    assert len(marks) == 4
    for mark, source in marks.items():
        assert f"{mark} {source}." in table.note


def test_models_of_others_have_rows_of_their_own(tables):
    (name,) = lines_of_others(tables["classification"])
    (quote,) = cell(tables["classification"], "Zero-shot (α = 0)", "imagenet/imagenet-1k/imagenet-80/accuracy").quotes
    assert quote.source == SECOND_HAND
    assert name == f"GeoRSCLIP {quote.mark}"
    assert cell(tables["classification"], name, "eurosat_ms/eurosat-10/satellite/accuracy").value == 74.83


def test_csv_has_published_figures_and_their_sources_in_columns_of_their_own(tables):
    records = list(csv.DictReader(io.StringIO(to_csv(tables["linear_probe"]))))
    key = "bigearthnet_v1/bigearthnet-5/map"
    assert {record["model"]: record[f"{key} published"] for record in records if record[f"{key} published"]} == {
        "Aligned (all-bands)": "90.4",
        "Aligned (rgb-labels-alone)": "90.4",
    }
    sources = {record["model"]: record[f"{key} published_source"] for record in records}
    assert sources["Aligned (all-bands)"] == f"{SECOND_HAND}; with vit_small; {INFERRED}"
    assert sources["Patched (alpha = 0.5)"] == ""
    assert [record["source"] for record in records if record["model"].startswith("DOFA")] == [SECOND_HAND]
    assert {record["source"] for record in records if record["model"].startswith(("Zero-shot", "Patched"))} == {""}
    (record,) = (
        record
        for record in csv.DictReader(io.StringIO(to_csv(tables["classification"])))
        if record["model"].startswith("Patched")
    )
    assert ALPHA in record["imagenet/imagenet-1k/imagenet-80/accuracy published_source"]


def test_a_student_of_another_network_has_no_figure_of_a_network(metrics):
    facts = {"all-bands": {"Backbone": "vit_small_patch16_224"}, "rgb-labels-alone": {"Backbone": "resnet50"}}
    table = all_tables(metrics, [full_curve()], patched=patched(), students=facts)["linear_probe"]
    assert [name for name, _ in quotes(table)] == ["Aligned (all-bands)"]


@pytest.mark.parametrize(
    "other", [{"Bands": "VV VH"}, {"Bands": "B04 B03 B02"}, {"Bands": "12 bands"}, {"Pretrained": "none"}], ids=str
)
def test_a_student_that_sees_other_bands_or_starts_from_nothing_has_no_figure_of_the_paper_s(metrics, other):
    paper = {"Backbone": "vit_small_patch16_224", "Bands": "13 bands", "Pretrained": "weights.pth"}
    by_file = {key: value for key, value in paper.items() if key != "Pretrained"}
    tables = all_tables(
        metrics, [full_curve()], patched=patched(), students={"all-bands": by_file, "rgb-labels-alone": paper | other}
    )
    for name in ("linear_probe", "classification"):
        assert {model for model, _ in quotes(tables[name]) if model.startswith("Aligned")} == {"Aligned (all-bands)"}


def test_a_student_that_another_line_teaches_has_no_figure(metrics):
    shown = all_tables(metrics, [full_curve()], patched=patched(teaches=False))
    assert {name for name, _ in quotes(shown["classification"])} == {"Zero-shot (α = 0)", "Patched (α = 0.5)"}
    assert not quotes(shown["linear_probe"])


def test_a_patched_model_of_another_line_has_no_figure(metrics):
    shown = all_tables(metrics, [full_curve()], patched=patched(line="ViT-B-32-on-bigearthnet_v1"))["classification"]
    assert not [name for name, _ in quotes(shown) if name.startswith("Patched")]


def test_a_figure_of_a_backbone_is_shown_beside_that_backbone_alone(tables, tmp_path):
    assert not quotes(tables["retrieval"])
    rows = frame(full_rows(clip="ViT-L-14"), tmp_path)
    large = all_tables(rows, [full_curve("ViT-L-14")], patched=patched("ViT-L-14"))["classification"]
    assert [value for values in quotes(large).values() for value, _ in values] == [75.49, 74.22]


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
    assert "What is inferred is that of the authors" in tables["classification"].note
    rows = frame(full_rows(clip="ViT-L-14"), tmp_path)
    large = all_tables(rows, [full_curve("ViT-L-14")], patched=patched("ViT-L-14"))
    assert "inferred: patching task." in large["classification"].note
    assert "inferred: backbone" not in large["classification"].note
    other = all_tables(metrics, [full_curve()], patched=patched(dataset="eurosat_ms", nomenclature="eurosat-10"))
    assert "Zavras" in other["classification"].note
    assert "inferred" not in other["classification"].note


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
    expected = {
        "sequentially": patched(teaches=False),
        "in_parallel": [
            *patched(line="ViT-B-32-on-bigearthnet_v1", teaches=False),
            *patched("ViT-B-32", "eurosat_ms", "eurosat-10", "ViT-B-32-on-eurosat_ms", teaches=False),
        ],
    }
    assert patched_models(config) == expected[how]


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
    shown = {key: value for (_, key), ((value, _),) in quotes(table).items()}
    assert shown == {"bigearthnet_v1/rgb->s2/recall@1": 24.86, "bigearthnet_v1/s2->rgb/recall@1": 6.14}


def test_published_figures_do_not_take_part_in_what_is_best(metrics, tables):
    alone = all_tables(metrics, [full_curve()], published=False, patched=patched())["linear_probe"]
    ours = [
        dataclasses.replace(line, cells=tuple(dataclasses.replace(shown, quotes=()) for shown in line.cells))
        for line in tables["linear_probe"].lines
        if not line.source
    ]
    assert ours == list(alone.lines)


def test_they_can_be_left_out(metrics):
    for table in all_tables(metrics, [full_curve()], published=False, patched=patched()).values():
        assert not lines_of_others(table)
        assert not quotes(table)
        assert "Zavras" not in table.note


def test_a_run_on_other_data_has_none(tmp_path):
    for table in all_tables(*make_run(tmp_path).read(), patched=patched("demo-vit", "demo_scene")).values():
        assert not lines_of_others(table)
        assert not quotes(table)


def test_a_figure_in_other_classes_is_not_shown(metrics):
    rows = metrics[metrics["nomenclature"] != "bigearthnet-5"]
    table = all_tables(rows, [full_curve()], patched=patched())["linear_probe"]
    assert not lines_of_others(table)
    assert not quotes(table)
