"""The report: one page that holds together, and whose numbers are those of metrics.csv."""

import base64
import copy
import json
import os
import re
import signal
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml
from pages import Page
from small_store import load_script
from synthetic_run import CLASSES, SCENE, SELECTED, make_data, make_run, write_benchmark, write_history

from bandbridge.base.progress import duration
from bandbridge.catalogue.datasets import dataset_names, load_dataset
from bandbridge.catalogue.encoders import encoder_names, load_encoder_facts
from bandbridge.reporting.figures.drawing import Album
from bandbridge.reporting.page import run as report_run
from bandbridge.reporting.page.models import confusions
from bandbridge.reporting.page.probes import probe_plots
from bandbridge.reporting.page.run import METHOD, bibtex, costs, references
from bandbridge.reporting.page.summary import key_figures, scratch_note, summary, what_was_run
from bandbridge.reporting.page.write import draw, write_report
from bandbridge.scoring.rows import read_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run, data):
    """The page as the rule's script writes it."""
    stores, quarantines = data
    load_script("tables").main(run.metrics, run.curves, run.selected, run.tables)
    histories = [write_history(run.root / f"{name}.jsonl") for name in ("demo-vit", "ms-vit")]
    trainings = [
        {"kind": "finetune", "name": "demo-vit", "datasets": ["demo_scene"], "history": str(histories[0])},
        {"kind": "align", "name": "ms-vit", "history": str(histories[1])},
    ]
    write_benchmark(run.root / "logs" / "demo" / "finetune" / "demo-vit.demo_scene.tsv", 75.2, "1210.0")
    path = run.root / "report" / "index.html"
    load_script("report").main(
        run.metrics,
        run.curves,
        run.selected,
        trainings,
        [store / "zarr.json" for store in stores],
        quarantines,
        run.tables,
        [run.root / "logs" / "demo"],
        run.config,
        path,
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def rows_of(plot):
    """The data of a chart."""
    return json.loads(plot.spec)["datasets"]["rows"]


def scripts_of(page):
    """The scripts of a page; data are none."""
    return [attrs for attrs in page.all("script") if "type" not in attrs]


def bare_page(run, **kwargs):
    """The page of a run without data sets and trainings."""
    path = run.root / "report.html"
    write_report(path, run.config, *run.read(), **kwargs)
    return Page(path.read_text(encoding="utf-8"))


# --- the page --------------------------------------------------------------------------------------------------------


def test_elements_close_and_ids_are_unique(page):
    assert page.faults == []
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_chart_is_one_that_vega_lite_knows(html, vega_lite):
    specs = re.findall(r'<script type="application/json">(.*?)</script>', html)
    assert len(specs) > 10
    for spec in specs:
        vega_lite.validate(json.loads(spec))


def test_links_within_the_page_lead_somewhere(page):
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    for _, attrs in page.elements:
        for key in ("href", "xlink:href"):
            if attrs.get(key, "").startswith("#"):
                assert attrs[key][1:] in ids
        assert attrs.get("aria-labelledby") in {None, *ids}


def test_nothing_is_loaded_from_elsewhere(page, html):
    for tag, attrs in page.elements:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            if key in attrs and tag != "a":
                assert attrs[key].startswith(("data:", "#")), (tag, attrs)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_numbers_of_the_tables_are_those_of_the_metrics(run, page):
    shown = {round(float(attrs["data-value"]), 6) for attrs in page.all("td") if attrs.get("data-value")}
    metrics = read_rows([run.metrics])
    headline = metrics[(metrics["split"] == "test") & metrics["metric"].isin(["map", "accuracy", "recall@5"])]
    headline = headline[headline["encoder"].isin(["demo-vit@0", "demo-vit@0.4", "demo-vit@1", "ms-vit"])]
    assert len(headline) > 15
    assert {round(100 * value, 6) for value in headline["value"]} <= shown


def test_every_figure_is_described_in_words(page):
    drawings = [attrs for tag, attrs in page.elements if attrs.get("class") == "chart-wrapper"]
    # PAINT, classes, probes, trainings; of the data sets counts, values, and one map.
    assert len(drawings) == 2 + 1 + 1 + 2 + 5
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in drawings)
    pictures = [attrs for attrs in page.all("svg") if attrs.get("class") == "marks"]
    assert len(pictures) == len(drawings)
    assert all(attrs["aria-hidden"] == "true" for attrs in pictures)
    assert (
        "At alpha 0.4 (selected): patching task 38.0\u00a0%, supported task 99.4\u00a0%." in drawings[0]["aria-label"]
    )


def test_every_figure_has_its_specification_and_its_numbers(html, page):
    figures = re.findall(r"<figure class=\"plot.*?</figure>", html, re.DOTALL)
    assert len(figures) == len([attrs for attrs in page.all("svg") if attrs.get("class") == "marks"])
    for figure in figures:
        spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', figure)[1])
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/v6")
        assert spec["datasets"]["rows"]
        following = html[html.index(figure) + len(figure) :].lstrip()
        assert "The numbers</summary>" in figure or following.startswith("<details>")


def test_classes_with_their_scores_are_listed_and_undefined_ones_dashed(page):
    for name in CLASSES:
        assert name in page.text
    assert "wetland 0 – – – –" in page.text


def test_figures_are_files_beside_the_page_with_their_numbers(run, page):
    links = {attrs["href"] for attrs in page.all("a") if attrs.get("href", "").startswith("figures/")}
    folder = run.root / "report" / "figures"
    assert {f"figures/{path.name}" for path in folder.iterdir()} == links
    stems = {path.stem for path in folder.iterdir()}
    assert {"paint-demo-vit-demo-scene-front", "classes-demo-scene-osm-landuse-8"} <= stems
    assert len(links) == 4 * len(stems)
    points = pd.read_csv(folder / "paint-demo-vit-demo-scene-front.csv")
    chosen = points[(points["selected"] == 1) & (points["split"] == "test") & (points["task"] == "patching")].iloc[0]
    assert (chosen["alpha"], chosen["value"]) == (SELECTED, SCENE[1])
    assert (chosen["ci_low"], chosen["ci_high"]) == (pytest.approx(SCENE[1] - 0.03), pytest.approx(SCENE[1] + 0.04))
    assert (folder / "cost.pdf").exists() is False  # one stage has nothing to be compared with


@pytest.mark.slow
def test_a_figure_that_is_gone_leaves_no_file(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.png").write_bytes(b"")
    write_report(tmp_path / "page.html", run.config, *run.read(), figures=tmp_path / "figures")
    assert list((tmp_path / "figures").glob("*.png"))
    assert not (tmp_path / "figures" / "old.png").exists()


@pytest.mark.slow
def test_several_processes_draw_the_same_page(tmp_path):
    run = make_run(tmp_path, further=True)
    pages = []
    for processes in (1, 2):
        path = tmp_path / f"{processes}.html"
        write_report(path, run.config, *run.read(), processes=processes)
        pages.append(re.sub(r"\d\d:\d\d UTC", "", path.read_text(encoding="utf-8")))
    assert pages[0] == pages[1]


def crash_in(process: int) -> str:
    """The process that does it, which must not be the one that asked for it."""
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGSEGV)
    return "done"


@pytest.mark.slow
def test_what_a_crashed_process_leaves_undone_is_drawn(capsys):
    jobs = {"a": partial(str, 1), "b": partial(crash_in, os.getpid()), "c": partial(str, 3)}
    assert draw(jobs, processes=2) == {"a": "1", "b": "done", "c": "3"}
    assert "a process that drew has crashed" in capsys.readouterr().err


def test_the_page_carries_the_files_of_its_tables(run, page):
    files = {attrs["download"]: attrs["href"] for attrs in page.all("a") if "download" in attrs}
    assert set(files) == {path.name for path in run.tables.iterdir()}
    for path in run.tables.iterdir():
        assert base64.b64decode(files[path.name].partition("base64,")[2]) == path.read_bytes()


def test_provenance_has_the_configuration_the_versions_and_the_checksums(run, html, page):
    content = html[: html.index('id="theme"')]
    block = content[content.rindex("<pre") : content.rindex("</pre>")]
    assert yaml.safe_load("".join(Page(block).words)) == run.config
    for word in ("numpy", "vl-convert-python", "metrics.csv", "demo_scene, store", "ab" * 32):
        assert word in page.text


def test_what_the_user_wrote_is_escaped(tmp_path):
    run = make_run(tmp_path)
    run.config["report"]["title"] = "<script>alert(1)</script> & more"
    page = bare_page(run)
    assert len(scripts_of(page)) == 3
    assert "<script>alert(1)</script> & more" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"students": False}, ["No student was aligned.", "the stage was switched off"]),
        ({"supported": False}, ["there is no supported task"]),
        ({"probe": False}, ["the stage was switched off"]),
        ({"students": False, "supported": False, "probe": False}, ["No student was aligned.", "Nothing was trained"]),
    ],
)
def test_switched_off_stages_leave_a_whole_page(tmp_path, options, words):
    page = bare_page(make_run(tmp_path, **options))
    assert page.faults == []
    for word in words:
        assert word in page.text
    for heading in ("Summary", "Patching", "Zero-shot classification", "Retrieval", "Probes on frozen", "Cost"):
        assert heading in page.text
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    curves = [attrs for _, attrs in page.elements if "Line through" in attrs.get("aria-label", "")]
    assert bool(curves) == options.get("supported", True)


@pytest.mark.slow
def test_a_run_without_patching_compares_its_students_with_the_clip_they_were_aligned_to(tmp_path):
    run = make_run(tmp_path)
    metrics, _ = run.read()
    metrics = metrics[metrics["alpha"].isna() | (metrics["alpha"] == 0)]
    path = tmp_path / "page.html"
    write_report(path, run.config, metrics, [])
    page = Page(path.read_text(encoding="utf-8"))
    assert page.faults == []
    assert "No model was patched in this run. The student ms-vit takes 3 bands, was aligned to demo-vit" in page.text
    assert "43.5\u00a0% mAP, 9.2 points above it." in " ".join(page.words)


@pytest.mark.slow
def test_a_data_set_without_validation_leaves_a_whole_page(tmp_path):
    run = make_run(tmp_path)
    metrics, curves = run.read()
    metrics = metrics[(metrics["dataset"] != "digits") | (metrics["split"] != "val")]
    for curve in curves:
        curve.points.loc[:, "supported_val"] = float("nan")
    path = tmp_path / "page.html"
    write_report(path, run.config, metrics, curves)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.faults == []
    assert "Digits" in page.text or "digits" in page.text
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)


def test_several_tasks_of_a_role_are_all_in_the_summary(tmp_path):
    run = make_run(tmp_path)
    task = run.config["tasks"]["supported"]
    metrics, curves = run.read()
    other = metrics[metrics["dataset"] == "digits"].assign(dataset="resisc45", nomenclature="resisc45-45")
    config = copy.deepcopy(run.config)
    config["tasks"]["supported"] = [task, {"dataset": "resisc45", "prompts": "digits"}]
    text = summary(config, pd.concat([metrics, other], ignore_index=True), curves)
    assert "on Handwritten digits from 99.6" in text
    assert "and lowered accuracy on NWPU-RESISC45 from 99.6" in text
    assert len(key_figures(config, pd.concat([metrics, other], ignore_index=True), curves)) == 4


# --- the words -------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_the_figures_say(run):
    text = summary(run.config, *run.read()).replace("\u00a0", " ")
    assert text == (
        "Patching with α = 0.4 raised mAP on Demo scene from 34.3 % to 38.0 %; it lowered accuracy on Handwritten "
        "digits from 99.6 % to 99.4 %. The student ms-vit takes 3 bands, was aligned to the patched model and reaches "
        "43.5 % mAP, 5.5 points above it."
    )


def test_measured_gains_are_told_with_their_intervals_and_whether_chance_could_do_as_much(tmp_path):
    run = make_run(tmp_path, further=True)
    text = summary(run.config, *run.read()).replace("\u00a0", " ")
    assert text == (
        "Patching with α = 0.4 raised mAP on Demo scene from 34.3 % to 38.0 % (+3.7 points, 95 % interval +1.2 to "
        "+6.1); it lowered accuracy on Handwritten digits from 99.6 % to 99.4 % (−0.2 points, interval −0.6 to +0.1, "
        "which chance could do). The student ms-vit takes 3 bands, was aligned to the patched model and reaches 43.5 % "
        "mAP, 5.5 points above it (interval +2.0 to +9.0)."
    )
    patched, supported, student = key_figures(run.config, *run.read())
    assert (patched.interval, patched.verdict) == ("+1.2 to +6.1", "p = 0.004")
    assert supported.verdict == "p = 0.30: chance could do as much"
    assert student.interval == "+2.0 to +9.0"


@pytest.mark.slow
def test_the_summary_tells_when_nothing_changed(tmp_path):
    run = make_run(tmp_path, selected=0.0, students=False)
    assert "left mAP on Demo scene at 34.3\u00a0%; it left accuracy" in summary(run.config, *run.read())


def test_the_best_of_several_students_is_in_the_summary(run):
    metrics, curves = run.read()
    worse = metrics[metrics["encoder"] == "ms-vit"].assign(encoder="small", value=0.1)
    config = copy.deepcopy(run.config)
    config["align"]["students"]["small"] = config["align"]["students"]["ms-vit"]
    both = type(metrics)(np.concatenate([metrics, worse]), columns=metrics.columns).astype(metrics.dtypes)
    assert "The best of 2 students, ms-vit," in summary(config, both, curves)
    assert len(key_figures(config, both, curves)) == 4


def test_key_figures_are_the_changes(run):
    figures = key_figures(run.config, *run.read())
    assert [(item.before, item.after, item.change) for item in figures] == [
        ("34.3", "38.0", "+3.7 points"),
        ("99.6", "99.4", "−0.2 points"),
        ("38.0", "43.5", "+5.5 points"),
    ]


def test_a_clip_trained_from_scratch_is_called_a_stand_in(run):
    assert "replaces OpenAI's weights" in scratch_note(run.config)
    pretrained = {**run.config, "clip": {"name": "ViT-B-32", "pretrained": "openai"}}
    assert scratch_note(pretrained) == ""
    assert what_was_run(pretrained).startswith("ViT-B-32 (weights: openai) was fine-tuned")
    assert "stayed as it was" not in scratch_note(run.config)
    locked = {**run.config["clip"]["scratch"], "text": "all-minilm-l6-v2"}
    lit = {**run.config, "clip": {**run.config["clip"], "name": "demo-clip", "scratch": locked}}
    assert "Its text encoder, all-MiniLM-L6-v2, had been trained on sentences and was not changed" in scratch_note(lit)


def test_a_data_set_shows_what_it_was_made_of_and_what_was_left_out(page):
    for text in (
        "demo_scene.zip",
        "2 of 42 planned samples (4.8 %) are not in the store.",
        "every pixel is 0 2 0 0 bad-0, bad-1",
        "Nothing: all 40 planned samples are in the store.",
        "From all 24 training samples.",
    ):
        assert text in page.text


# --- confusions, probes ----------------------------------------------------------------------------------------------


def test_confusions_stand_beside_each_other_with_their_largest_cells(tmp_path):
    run = make_run(tmp_path, further=True)
    (confusion,) = confusions(run.config, *run.read(), Album())
    assert list(confusion.largest.columns) == ["true", "predicted", "samples", "Zero-shot (α = 0)", "Patched (α = 0.4)"]
    assert confusion.largest["Patched (α = 0.4)"].tolist() == pytest.approx([0.6] * 10)
    assert set(confusion.largest["true"] + confusion.largest["predicted"]) >= {"01", "90"}
    assert len(rows_of(confusion.plot)) == 20 + 10  # what is under half a per cent is not seen


def test_probes_have_a_mark_for_each_kind_and_model(tmp_path):
    run = make_run(tmp_path, further=True)
    ((title, (probes, shots)),) = probe_plots(run.config, *run.read(), Album())
    assert title == "Demo scene"
    kinds = [row["series"] for row in rows_of(probes)]
    assert sorted(kinds) == sorted(3 * ["zero-shot", "nearest neighbours", "linear probe"])
    assert len(rows_of(shots)) == 9
    (last,) = (row for row in rows_of(shots) if (row["series"], row["k"]) == ("Aligned (ms-vit)", 20))
    assert last["score"] == "56.9 % (51.9 to 61.9)"


# --- cost and provenance ---------------------------------------------------------------------------------------------


def test_cost_sums_the_jobs_of_a_stage(tmp_path):
    logs = tmp_path / "logs" / "demo"
    write_benchmark(logs / "embed" / "a.tsv", 10, "100.0")
    write_benchmark(logs / "embed" / "b" / "c.tsv", 20, "300.0")
    write_benchmark(logs / "tables.tsv", 1, "-")
    stages = costs([logs])
    assert [(cost.stage, cost.jobs, cost.seconds, cost.longest, cost.peak) for cost in stages] == [
        ("embed", 2, 30, 20, "300 MB"),
        ("tables", 1, 1, 1, "–"),
    ]


def test_benchmarks_that_are_not_there_are_left_out(tmp_path):
    assert costs([tmp_path / "none", tmp_path / "nowhere"]) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (59.4, "59 s"), (125, "2 min 05 s"), (7_800, "2 h 10 min")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds, measured=True) == text


def test_bibtex_has_the_method_and_what_the_data_sets_ask_to_cite():
    text = bibtex(["helber2019eurosat", "https://example.org", "helber2019eurosat"])
    assert [line[line.index("{") + 1 : -1] for line in text.splitlines() if line.startswith("@")] == [
        *METHOD,
        "helber2019eurosat",
    ]
    assert text.count("{") == text.count("}")


def test_every_data_set_and_encoder_of_the_catalogue_can_be_cited():
    keys = {key for name in dataset_names() for key in load_dataset(name).cite}
    keys |= {key for name in encoder_names() for key in load_encoder_facts(name).cite}
    assert {key for key in keys if "://" not in key} <= set(references())


def test_code_outside_a_clone_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(report_run, "WORKFLOW", tmp_path / "workflow")
    assert report_run.git_commit() == ""


def test_a_text_tower_is_named_with_its_licence_and_what_to_cite(run, tmp_path):
    locked = {**run.config["clip"]["scratch"], "text": "all-minilm-l6-v2"}
    config = {**run.config, "clip": {**run.config["clip"], "name": "demo-clip", "scratch": locked}}
    metrics, _ = run.read()
    write_report(tmp_path / "page.html", config, metrics, [])
    text = (tmp_path / "page.html").read_text()
    assert "all-MiniLM-L6-v2</dt><dd>Apache-2.0. Cite: reimers2019sentence" in text
    assert "@inproceedings{zhai2022lit," in text
    assert "@inproceedings{reimers2019sentence," in text
