"""The figures that a run ends with, as text."""

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bandbridge.config.lines import lines
from bandbridge.ops.headline import closing, headline_text

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
COLUMNS = ["encoder", "dataset", "nomenclature", "prompts", "metric", "split", "task", "class", "value"]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    roots = {"data_root": "data", "results_root": "results", "log_root": "logs"}
    return {**copy.deepcopy(DEMO), **{key: str(tmp_path / name) for key, name in roots.items()}, "store_root": None}


def finished(config: dict[str, Any], scores: dict[tuple[str, str], float], alpha: float = 0.9) -> None:
    folder = Path(config["results_root"]) / "demo"
    for path in ("report", "paint/demo-clip.demo_land_cover"):
        (folder / path).mkdir(parents=True)
    (folder / "report/index.html").touch()
    (folder / "paint/demo-clip.demo_land_cover/selected.json").write_text(json.dumps({"alpha": alpha}))
    facts = {
        "demo_land_cover": {"nomenclature": "demo-land-cover-5", "prompts": "satellite", "metric": "balanced_accuracy"},
        "digits": {"nomenclature": "digits-10", "prompts": "digits", "metric": "accuracy"},
    }
    with (folder / "metrics.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for (encoder, dataset), value in scores.items():
            row = {"encoder": encoder, "dataset": dataset, "task": "zero-shot", "split": "test", "value": value}
            table.writerow({**row, **facts[dataset]})
            # What is no headline: other prompts, another split, one class.
            table.writerow({**row, **facts[dataset], "prompts": "plain", "value": 0.99})
            table.writerow({**row, **facts[dataset], "split": "val", "value": 0.98})
            table.writerow({**row, **facts[dataset], "class": "farm", "value": 0.97})


SCORES = {
    ("demo-clip@0", "demo_land_cover"): 0.259,
    ("demo-clip@0.9", "demo_land_cover"): 0.302,
    ("demo-clip@1", "demo_land_cover"): 0.304,
    ("ms-vit", "demo_land_cover"): 0.327,
    ("demo-clip@0", "digits"): 0.993,
    ("demo-clip@0.9", "digits"): 0.978,
}


def test_a_finished_run_ends_with_its_gains_and_the_report_in_five_lines(config: dict[str, Any]):
    finished(config, SCORES)
    results = Path(config["results_root"]) / "demo"
    gains = "zero-shot 25.9, patched (alpha 0.9) 30.2 (+4.3), ms-vit 32.7 (+2.5)"
    assert headline_text(config).splitlines() == [
        "Run 'demo' is done.",
        f"  demo_land_cover, balanced accuracy in %: {gains}",
        "  digits, accuracy in %: zero-shot 99.3, patched (alpha 0.9) 97.8 (-1.5)",
        f"Report: {results / 'report' / 'index.html'}",
        f"Tables: {results / 'tables'}/",
    ]


def test_a_task_is_told_by_its_data_set_s_own_headline(config: dict[str, Any]):
    config["tasks"]["patching"] = {"dataset": "demo_scene", "prompts": "satellite"}
    config["align"]["students"] = {}
    finished(config, {("demo-clip@0", "digits"): 0.9})
    folder = Path(config["results_root"]) / "demo"
    (folder / "paint/demo-clip.demo_land_cover").rename(folder / "paint/demo-clip.demo_scene")
    common = {"dataset": "demo_scene", "nomenclature": "osm-landuse-8", "prompts": "satellite"}
    common |= {"task": "zero-shot", "split": "test"}
    with (folder / "metrics.csv").open("a", newline="") as file:
        for encoder, value in (("demo-clip@0", 0.1), ("demo-clip@0.9", 0.25)):
            for metric, factor in (("f1_macro", 2), ("map", 1)):
                row = {"encoder": encoder, "metric": metric, "value": factor * value}
                csv.DictWriter(file, COLUMNS).writerow({**common, **row})
    expected = "  demo_scene, mAP in %: zero-shot 10.0, patched (alpha 0.9) 25.0 (+15.0)"
    assert headline_text(config).splitlines()[1] == expected


def test_several_tasks_have_a_line_each_and_the_last_line_counts(config: dict[str, Any]):
    scene = config["tasks"]["patching"]
    config["tasks"] = {"patching": [scene, {"dataset": "digits", "prompts": "digits"}], "supported": None}
    config["paint"]["several"] = "sequentially"
    config["align"]["students"] = {}
    finished(config, {**SCORES, ("demo-clip-after-demo_land_cover@0.5", "digits"): 0.995})
    chosen = Path(config["results_root"]) / "demo/paint/demo-clip-after-demo_land_cover.digits/selected.json"
    chosen.parent.mkdir()
    chosen.write_text(json.dumps({"alpha": 0.5}))
    assert headline_text(config).splitlines()[1:3] == [
        "  demo_land_cover, balanced accuracy in %: zero-shot 25.9",
        "  digits, accuracy in %: zero-shot 99.3, patched (alpha 0.5) 99.5 (+0.2)",
    ]


def test_more_headlines_than_fit_are_counted(config: dict[str, Any]):
    config["tasks"]["patching"] = [config["tasks"]["patching"]] * 6
    finished(config, SCORES)
    several = next((Path(config["results_root"]) / "demo/paint").iterdir())
    tag = next(iter(lines(config).values())).tag
    several.rename(several.with_name(f"demo-clip.{tag}"))
    headlines = headline_text(config).splitlines()
    assert len(headlines) == 8
    assert headlines[5] == "  and 3 more in the report"


def test_without_alignment_and_supported_task_one_line_is_left(config: dict[str, Any]):
    config["align"]["students"] = {}
    config["tasks"]["supported"] = None
    finished(config, SCORES)
    assert len(headline_text(config).splitlines()) == 4


def test_scores_that_are_not_there_are_left_out(config: dict[str, Any]):
    finished(config, {("demo-clip@0", "demo_land_cover"): 0.25})
    assert "  demo_land_cover, balanced accuracy in %: zero-shot 25.0\nReport" in headline_text(config)


def test_a_damaged_table_still_leads_to_the_report(config: dict[str, Any]):
    finished(config, SCORES)
    (Path(config["results_root"]) / "demo/metrics.csv").write_text("no,table\n1,2\n")
    assert closing(config, []) == f"Done. Report: {Path(config['results_root']) / 'demo' / 'report' / 'index.html'}"


def test_a_run_for_another_target_shows_no_scores_of_an_earlier_run(config: dict[str, Any]):
    assert closing(config, ["align"]) == "Run 'demo': the requested targets are done."
    finished(config, SCORES)
    text = closing(config, ["align"])
    assert text.endswith("index.html is of an earlier run and may be out of date; `snakemake` updates it.")
    assert closing(config, ["align", "report"]) == headline_text(config)


def test_a_comparison_says_where_its_page_is(config: dict[str, Any]):
    config["compare"] = ["one", "two"]
    page = Path(config["results_root"]) / "comparisons/one-two/index.html"
    assert closing(config, ["compare"]) == f"Comparison: {page}"


def test_several_seeds_end_with_the_page_of_their_mean_and_their_reports(config: dict[str, Any]):
    config["seeds"] = [0, 1]
    folder = Path(config["results_root"]) / "demo"
    assert closing(config, []).splitlines() == [
        "Run 'demo' is done.",
        f"Mean and deviation over 2 seeds: {folder / 'seeds/index.html'}",
        f"Report of seed 0: {folder / 'seed-0/report/index.html'}",
        f"Report of seed 1: {folder / 'seed-1/report/index.html'}",
    ]
