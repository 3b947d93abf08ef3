"""The report: one page that holds together, and whose numbers are those of metrics.csv."""

import base64
import copy
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from small_store import load_script
from synthetic_run import CLASSES, make_data, make_run, write_benchmark, write_history

from bandbridge import report_run
from bandbridge.metrics.rows import read_rows
from bandbridge.report import write_report
from bandbridge.report_run import costs, duration
from bandbridge.report_summary import key_figures, scratch_note, summary, what_was_run

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page taken apart: elements in order, text, and whether what was opened was closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


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
    histories = [
        write_history(run.root / "finetune" / "demo-vit.demo_scene" / "history.jsonl"),
        write_history(run.root / "align" / "ms-vit" / "history.jsonl"),
    ]
    write_benchmark(run.root / "logs" / "demo" / "finetune" / "demo-vit.demo_scene.tsv", 75.2, "1210.0")
    path = run.root / "report" / "index.html"
    load_script("report").main(
        run.metrics,
        run.curves,
        run.selected,
        histories,
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
    drawings = [attrs for tag, attrs in page.elements if attrs.get("class") == "drawing"]
    assert len(drawings) == 2 + 1 + 2 + 5  # PAINT, classes, trainings; of the data sets counts, values, and one map
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in drawings)
    assert len(page.all("svg")) == len(drawings)
    assert (
        "At alpha 0.4 (selected): patching task 38.0\u00a0%, supported task 99.4\u00a0%." in drawings[0]["aria-label"]
    )


def test_classes_with_their_scores_are_listed_and_undefined_ones_dashed(page):
    for name in CLASSES:
        assert name in page.text
    assert "wetland 0 – – – –" in page.text


def test_the_page_carries_the_files_of_its_tables(run, page):
    files = {attrs["download"]: attrs["href"] for attrs in page.all("a") if "download" in attrs}
    assert set(files) == {path.name for path in run.tables}
    for path in run.tables:
        assert base64.b64decode(files[path.name].partition("base64,")[2]) == path.read_bytes()


def test_provenance_has_the_configuration_the_versions_and_the_checksums(run, html, page):
    block = html[html.rindex("<pre") : html.rindex("</pre>")]
    assert yaml.safe_load("".join(Page(block).words)) == run.config
    for word in ("numpy", "matplotlib", "metrics.csv", "demo_scene, store", "ab" * 32):
        assert word in page.text


def test_what_the_user_wrote_is_escaped(tmp_path):
    run = make_run(tmp_path)
    run.config["report"]["title"] = "<script>alert(1)</script> & more"
    page = bare_page(run)
    assert len(page.all("script")) == 1
    assert "<script>alert(1)</script> & more" in page.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"students": False}, ["No student was aligned.", "the stage was switched off"]),
        ({"supported": False}, ["no supported task was watched"]),
        ({"probe": False}, ["the stage was switched off"]),
        ({"students": False, "supported": False, "probe": False}, ["No student was aligned.", "Nothing was trained"]),
    ],
)
def test_switched_off_stages_leave_a_whole_page(tmp_path, options, words):
    page = bare_page(make_run(tmp_path, **options))
    assert page.faults == []
    for word in words:
        assert word in page.text
    for heading in ("Summary", "Patching", "Zero-shot classification", "Cross-modal retrieval", "Linear probe", "Cost"):
        assert heading in page.text
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    curves = [attrs for _, attrs in page.elements if "Line through" in attrs.get("aria-label", "")]
    assert bool(curves) == options.get("supported", True)


def test_torch_is_not_imported():
    code = "import sys, bandbridge.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the words -------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_the_figures_say(run):
    text = summary(run.config, *run.read()).replace("\u00a0", " ")
    assert text == (
        "Patching with α = 0.4 raised mAP on Demo scene from 34.3 % to 38.0 %; it lowered accuracy on Handwritten "
        "digits from 99.6 % to 99.4 %. The student ms-vit sees 3 bands, was aligned to the patched model and reaches "
        "43.5 % mAP, 5.5 points above it."
    )


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
    assert "stands in for OpenAI's weights" in scratch_note(run.config)
    pretrained = {**run.config, "clip": {"name": "ViT-B-32", "pretrained": "openai"}}
    assert scratch_note(pretrained) == ""
    assert what_was_run(pretrained).startswith("ViT-B-32 (weights: openai) was fine-tuned")


def test_a_data_set_shows_what_it_was_made_of_and_what_was_left_out(page):
    for text in (
        "demo_scene.zip",
        "2 of 42 planned samples (4.8 %) are not in the store.",
        "every pixel is 0 2 0 0 bad-0, bad-1",
        "Nothing: all 40 planned samples are in the store.",
        "From all 24 training samples.",
    ):
        assert text in page.text


# --- cost and provenance ---------------------------------------------------------------------------------------------


def test_cost_sums_the_jobs_of_a_stage(tmp_path):
    logs = tmp_path / "logs" / "demo"
    write_benchmark(logs / "embed" / "a.tsv", 10, "100.0")
    write_benchmark(logs / "embed" / "b" / "c.tsv", 20, "300.0")
    write_benchmark(logs / "tables.tsv", 1, "-")
    found = costs([logs], "demo")
    assert [(cost.stage, cost.jobs, cost.seconds, cost.longest, cost.peak) for cost in found] == [
        ("embed", 2, 30, 20, "300 MB"),
        ("tables", 1, 1, 1, "–"),
    ]


def test_benchmarks_that_are_not_there_are_left_out(tmp_path):
    assert costs([tmp_path / "none.tsv", tmp_path / "nowhere"], "demo") == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (59.4, "59 s"), (125, "2 min 05 s"), (7_800, "2 h 10 min")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


def test_code_outside_a_clone_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(report_run, "WORKFLOW", tmp_path / "workflow")
    assert report_run.git_commit() == ""
