"""Every preset plans, a wrong configuration starts nothing, and planning needs no torch."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clones import ROOT, Clone, make_clone
from params_of_jobs import unrecorded

from bandbridge.catalogue.datasets import load_nomenclature
from bandbridge.config.compared import COMPARISON
from bandbridge.ops.rule_graph import as_mermaid, read_graph


def plan(clone: Clone, *configfiles: str) -> list[str]:
    (clone.root / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    return clone.jobs(*(["--configfile", *configfiles] if configfiles else []))


def test_the_demo_plans_every_stage(tmp_path: Path):
    """Makes its clone itself, because `make test-fast` leaves out what uses the fixture."""
    jobs = plan(make_clone(tmp_path))
    stages = {
        "download",
        "plan",
        "convert",
        "preprocess",
        "scratch_clip",
        "zero_shot_head",
        "finetune",
        "select_alpha",
        "report",
    }
    assert stages <= set(jobs)
    # Alphas x (two prompt sets of the scene, one of the digits), and the student on the scene.
    assert jobs.count("score_zero_shot") == 11 * 3 + 2


def test_the_openai_preset_differs_in_the_clip_alone(clone: Clone):
    demo, openai = plan(clone), plan(clone, "workflow/presets/demo-openai.yaml")
    assert sorted(set(openai) - set(demo)) == ["fetch_clip"]
    assert sorted(set(demo) - set(openai)) == ["fetch_text_tower", "scratch_clip"]


@pytest.mark.parametrize("presets", [["eurosat"], ["eurosat", "eurosat-100"]], ids="+".join)
def test_a_eurosat_preset_plans_its_data_set_alone(clone: Clone, presets: list[str]):
    jobs = plan(clone, *(f"workflow/presets/{preset}.yaml" for preset in presets))
    assert jobs.count("download") == jobs.count("preprocess") == 1
    assert {"fetch_clip", "finetune", "select_alpha"} <= set(jobs)
    assert "embed_sweep_digits_new" not in jobs


def test_several_backbones_have_a_curve_and_a_student_each(clone: Clone):
    clone.configure({"clip": {"name": ["ViT-B-32", "ViT-L-14"], "pretrained": "openai"}})
    jobs = clone.jobs()
    assert jobs.count("fetch_clip") == jobs.count("finetune") == jobs.count("select_alpha") == jobs.count("align") == 2
    assert {"embed_sweep_ViT-B-32_scene_crop_new", "embed_sweep_ViT-L-14_scene_crop_new"} <= set(jobs)
    # Each with three alphas on two prompt sets of the scene and one of the digits, and its student on the scene.
    assert jobs.count("score_zero_shot") == 2 * (3 * 3 + 2)


def test_the_papers_presets_plan_four_backbones_in_three_nomenclatures(clone: Clone):
    jobs = plan(clone, "workflow/presets/paper.yaml", "workflow/presets/paper-backbones.yaml")
    assert jobs.count("finetune") == jobs.count("align") == 4
    # BigEarthNet's jobs, those of SEN12MS for each of two streams, EuroSAT's and ImageNet's.
    assert jobs.count("convert") == 8 + 2 * 8 + 1 + 1


def test_the_papers_preset_for_sentinel_1_encodes_it_where_there_is_some(clone: Clone):
    (clone.root / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    presets = ("workflow/presets/paper.yaml", "workflow/presets/paper-sentinel-1.yaml")
    planned = clone.snakemake("--dry-run", "--configfile", *presets).stdout
    scored = re.findall(r"^Job \d+: Scoring ([\w-]+) on (\w+)$", planned, re.MULTILINE)
    with_radar = {"bigearthnet_v1", "sen12ms"}
    assert {dataset for encoder, dataset in scored if encoder == "vit-small-sentinel-1"} == with_radar
    for optical in ("vit-small-sentinel-2", "ssl4eo-vit-small"):
        assert {dataset for encoder, dataset in scored if encoder == optical} == {*with_radar, "eurosat_ms"}
    converted = set(re.findall(r"^Job \d+: Converting (\w+) \((\w+)", planned, re.MULTILINE))
    assert {dataset for dataset, stream in converted if stream == "s1"} == with_radar


def test_what_is_fetched_by_hand_stops_the_run_before_any_job(clone: Clone):
    (clone.root / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    completed = clone.snakemake("--cores", "1", "--configfile", "workflow/presets/paper.yaml")
    assert completed.returncode != 0
    assert "ILSVRC2012_img_val.tar" in completed.stderr
    assert not (clone.root / "results").exists()


def test_a_student_s_checkpoint_that_is_not_there_stops_the_run_before_any_job(clone: Clone):
    clone.configure({"align": {"students": {"ms-vit": {"pretrained": "nowhere.pth"}}}})
    completed = clone.snakemake("--cores", "1")
    assert completed.returncode != 0
    assert "align.students.ms-vit.pretrained: nowhere.pth not found" in completed.stderr
    assert not (clone.root / "results").exists()


def test_published_weights_that_a_student_starts_from_are_fetched(clone: Clone):
    clone.configure({"align": {"students": {"ms-vit": {"pretrained": "ssl4eo-moco-vit-s-16"}}}})
    assert "fetch_weights" in clone.jobs()
    assert clone.jobs("fetch").count("fetch_weights") == 1


def test_weights_that_do_not_fit_a_student_stop_the_run_before_anything_is_trained(clone: Clone):
    np.savez(clone.root / "other.npz", weight=np.ones(3))
    clone.configure({"align": {"students": {"ms-vit": {"pretrained": "other.npz"}}}})
    jobs = clone.jobs()
    assert jobs.count("check_first_weights") == 1
    completed = clone.snakemake("--cores", "1", "results/small/align/ms-vit/first_weights.json")
    assert completed.returncode != 0
    assert "other.npz contains nothing of the backbone" in completed.stderr
    assert "Traceback" not in completed.stderr


def test_another_encoder_is_fetched_encodes_and_is_scored(clone: Clone):
    satmae = {"name": "satmae-vit-l-8", "checkpoint": "x.pth"}
    clone.configure({"evaluate": {"encoders": [{"name": "remoteclip-vit-b-32", "unpinned": True}, satmae]}})
    jobs = clone.jobs()
    assert {"fetch_encoder_remoteclip-vit-b-32", "fetch_encoder_satmae-vit-l-8"} <= set(jobs)
    # Pictures have no bands for SatMAE, which has no text side either.
    assert jobs.count("embed_other") == 2 + 1
    alone = clone.snakemake("--cores", "1")
    assert "evaluate.encoders: checkpoint of satmae-vit-l-8: x.pth not found" in alone.stderr


def test_alignment_and_probe_can_be_switched_off(clone: Clone):
    clone.configure({"align": {"students": {"ms-vit": None}}, "evaluate": {"linear_probe": None, "retrieval": None}})
    jobs = set(clone.jobs())
    assert not {"align", "score_probe", "score_retrieval", "embed_student"} & jobs
    assert {"patched_clip", "report"} <= jobs


TWO_TASKS = {
    "tasks": {
        "patching": [{"dataset": "scene_crop", "prompts": "plain"}, {"dataset": "digits", "prompts": "digits"}],
        "supported": None,
    }
}


def test_two_tasks_are_patched_jointly_by_one_fine_tuning(clone: Clone):
    clone.configure({**TWO_TASKS, "paint": {"several": "jointly"}})
    jobs = clone.jobs()
    assert jobs.count("finetune") == jobs.count("select_alpha") == jobs.count("patched_clip") == 1
    assert jobs.count("embed_sweep_scene_crop_new") == jobs.count("embed_sweep_digits_new") == 1


def test_two_tasks_are_patched_one_after_the_other(clone: Clone):
    clone.configure({**TWO_TASKS, "paint": {"several": "sequentially"}})
    jobs = clone.jobs()
    assert jobs.count("finetune") == jobs.count("select_alpha") == 2
    assert {"embed_sweep_demo-vit_digits_new", "embed_sweep_demo-vit-after-scene_crop_digits_new"} <= set(jobs)


def test_two_tasks_are_patched_in_parallel_and_their_task_vectors_added(clone: Clone):
    clone.configure({**TWO_TASKS, "paint": {"several": "in_parallel"}})
    jobs = clone.jobs()
    assert jobs.count("finetune") == 2
    assert jobs.count("select_alpha") == 3
    assert jobs.count("add_task_vectors") == jobs.count("patched_clip") == 1
    # A part is scored on its own task alone, and never at alpha 0, which all lines share.
    assert "embed_sweep_demo-vit-on-digits_digits_new" in jobs
    assert "embed_sweep_demo-vit-on-digits_scene_crop_new" not in jobs
    encoders = {"demo-vit": 3 * 3, "demo-vit-on-scene_crop": 2 * 2, "demo-vit-on-digits": 2, "ms-vit": 2}
    assert jobs.count("score_zero_shot") == sum(encoders.values())
    clone.configure({**TWO_TASKS, "paint": {"several": "in_parallel", "coefficients": "jointly"}})
    assert sorted([*jobs, "search_coefficients"]) == clone.jobs()


def test_a_run_of_zero_shot_models_alone_plans_no_training(clone: Clone):
    """Beyond the CLIP's own, which stands in for published weights."""
    fixed = {"alphas": [0], "select": {"criterion": "fixed", "alpha": 0}}
    clone.configure({"paint": fixed, "align": {"students": {"ms-vit": None}}})
    jobs = clone.jobs()
    assert not {"finetune", "align", "patched_clip"} & set(jobs)
    assert {"select_alpha", "score_zero_shot", "tables", "report"} <= set(jobs)


def test_a_student_may_be_aligned_on_another_task_than_clip_is_patched_on(clone: Clone):
    patched_on_digits = {"patching": {"dataset": "digits", "prompts": "digits"}, "supported": None}
    clone.configure({"tasks": patched_on_digits})
    refused = clone.snakemake("--dry-run")
    assert refused.returncode != 0
    assert "align.task" in refused.stderr + refused.stdout
    clone.configure({"tasks": patched_on_digits, "align": {"task": {"dataset": "scene_crop", "prompts": "plain"}}})
    assert {"finetune", "align"} <= set(clone.jobs())


def test_a_sweep_can_be_spread_over_jobs(clone: Clone):
    clone.configure({"embed": {"models_per_job": 2}})
    jobs = clone.jobs()
    assert {"embed_sweep_digits_new_0", "embed_sweep_digits_new_1"} <= set(jobs)
    assert "embed_sweep_digits_new_2" not in jobs  # three alphas


def test_a_dry_run_ends_with_the_plan_in_words(clone: Clone):
    completed = clone.snakemake("--dry-run")
    plan = completed.stdout.partition("Run 'small', seed 0 (no results yet):\n")[2]
    certain, _, depending = plan.partition("Then, depending on the alpha that is chosen:\n")
    assert [line.split()[0] for line in certain.splitlines()] == ["Data", "CLIP", "Patching", "Evaluation"]
    *stages, note, total = depending.splitlines()
    assert note == "Note: ms-vit is not scored on digits, which has only RGB images."
    assert [line.split()[0] for line in stages] == ["Patching", "Alignment", "Evaluation", "Report"]
    assert total == "56 jobs in all, 19 of which depend on alpha; the choice may add more."


def test_seeds_share_what_does_not_depend_on_them(clone: Clone):
    one = clone.jobs()
    clone.configure({"seeds": [0, 1, 2]})
    jobs = clone.jobs()
    shared = {"download", "plan", "convert", "preprocess", "check_samples"}
    assert all(jobs.count(rule) == one.count(rule) for rule in shared)
    trained = {"scratch_clip", "finetune", "zero_shot_head", "select_alpha", "align", "score_zero_shot", "report"}
    assert all(jobs.count(rule) == 3 * one.count(rule) for rule in trained)
    assert {f"embed_sweep_seed_{seed}_digits_new" for seed in range(3)} <= set(jobs)
    assert jobs.count("seeds") == 1


def test_seeds_share_a_clip_that_is_loaded_its_heads_and_its_embeddings(clone: Clone):
    clip = {"clip": {"name": "ViT-B-32", "pretrained": "openai"}}
    encoders = {"evaluate": {"encoders": [{"name": "remoteclip-vit-b-32", "unpinned": True}]}}
    clone.configure(clip | encoders)
    one = clone.jobs()
    clone.configure({**clip, **encoders, "seeds": [0, 1]})
    completed = clone.snakemake("--dry-run")
    jobs = clone.jobs()
    shared = {"fetch_clip", "zero_shot_head", "words_head", "embed_other", "fetch_encoder_remoteclip-vit-b-32"}
    assert all(jobs.count(rule) == one.count(rule) for rule in shared)
    assert {"embed_sweep_digits_zero_shot", "embed_sweep_seed_0_digits_new"} <= set(jobs)
    assert not [job for job in jobs if re.fullmatch(r"embed_sweep_seed_\d_\w+_zero_shot", job)]
    assert jobs.count("embed_train_zero_shot") == 1
    plan = completed.stdout[completed.stdout.index("Run 'small', seeds 0, 1 (no results yet):") :]
    of_seeds = re.search(
        r"^(\d+) jobs shared by all seeds; seed 0 adds (\d+), seed 1 adds (\d+)\.$", plan, re.MULTILINE
    )
    assert sum(map(int, of_seeds.groups())) == len(jobs)
    assert of_seeds[2] == of_seeds[3]


def test_a_comparison_says_where_its_page_will_be(clone: Clone):
    for name in ("one", "two"):
        folder = clone.root / "results" / name
        folder.mkdir(parents=True)
        (folder / "metrics.csv").touch()
    completed = clone.snakemake("--dry-run", "compare", "--config", "compare=[one, two]")
    assert "results/comparisons/one-two/index.html" in completed.stdout


@pytest.mark.parametrize(
    "arguments", [["--dag"], ["--dry-run", "--rulegraph"], ["--dry-run", "--quiet", "all"], ["--dry-run", "nothing"]]
)
def test_what_is_for_programs_and_what_fails_has_no_plan_in_words(clone: Clone, arguments: list[str]):
    completed = clone.snakemake(*arguments)
    assert "seed 0" not in completed.stdout + completed.stderr


def test_files_of_ones_own_are_not_called_downloads(clone: Clone):
    planned = clone.snakemake("--dry-run", "--", "fetch").stdout
    assert "Listing the files of scene_crop" in planned
    assert "Downloading" not in planned


def test_fetch_plans_the_downloads_alone(clone: Clone):
    assert clone.jobs("fetch") == ["download", "download"]


def test_a_typo_stops_the_workflow_before_any_job(clone: Clone):
    text = (clone.root / "config.yaml").read_text()
    (clone.root / "config.yaml").write_text(text.replace("criterion: fixed", "criterion: fixd"))
    completed = clone.snakemake("--cores", "1")
    assert completed.returncode != 0
    assert "paint.select.criterion is 'fixd'; allowed: mean, max_loss, fixed." in completed.stderr
    assert "Did you mean 'fixed'?" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not (clone.root / "results").exists()


WITH_TORCH = {"scratch_clip", "fetch_clip", "fetch_encoder", "head", "finetune", "add_task_vectors", "patch", "align"}
WITH_TORCH |= {"words_head", "check_first_weights", "embed_sweep", "embed_student", "embed_encoder", "apply"}
WITH_TORCH |= {"patched_by_file", "aligned_by_file", "search_coefficients"}


def test_a_script_that_runs_no_network_imports_no_torch():
    """Each start of torch costs seconds and half a gigabyte. All in one process, in which torch cannot be imported."""
    scripts = [path for path in (ROOT / "workflow" / "scripts").glob("*.py") if path.stem not in WITH_TORCH]
    code = (
        "import runpy, sys; sys.modules['torch'] = None\n"
        "for script in sys.argv[1:]: print(script); runpy.run_path(script, run_name='imported')"
    )
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-c", code, *map(str, scripts)]
    completed = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert completed.returncode == 0, f"{completed.stdout.splitlines()[-1]}: {completed.stderr}"
    assert len(completed.stdout.splitlines()) == len(scripts) > 10


EVERYTHING = {
    **TWO_TASKS,
    "paint": {"several": "in_parallel"},
    "align": {"students": {"ms-vit": {"pretrained": "ssl4eo-moco-vit-s-16"}}},
    "evaluate": {
        "encoders": [
            {"name": "remoteclip-vit-b-32", "unpinned": True},
            {"name": "satmae-vit-l-8", "checkpoint": "x.pth"},
            {"name": "ssl4eo-moco-vit-s-16", "unpinned": True},
        ]
    },
}
PAPER = ["workflow/presets/paper.yaml", "workflow/presets/paper-backbones.yaml"]


@pytest.mark.parametrize(
    ("changes", "presets"), [({}, []), (EVERYTHING, []), ({}, PAPER), ({"seeds": [0, 1]}, [])], ids=str
)
def test_every_param_of_every_job_is_plain_data_that_snakemake_records(
    clone: Clone, changes: dict[str, Any], presets: list[str]
):
    clone.configure(changes)
    command = [sys.executable, str(ROOT / "tests/support/params_of_jobs.py"), *presets]
    completed = subprocess.run(command, cwd=clone.root, env=clone.environment, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == []
    jobs, params = re.search(r"^(\d+) jobs, (\d+) params$", completed.stderr, re.MULTILINE).groups()
    assert int(jobs) > 50
    assert int(params) > 3 * int(jobs)


def test_a_value_that_is_no_plain_data_is_found():
    faults = list(unrecorded({"classes": [load_nomenclature("digits-10")], "path": Path(), "k": [1, (2.5, None)]}, "p"))
    assert faults == ["p.classes[0]: Nomenclature", "p.path: PosixPath"]


def test_every_rule_has_its_script():
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    scripts = {path.name for path in (Path(ROOT) / "workflow" / "scripts").glob("*.py")}
    assert scripts == {line.strip().strip('"').split("/")[-1] for line in rules.splitlines() if "../scripts/" in line}


def test_a_clip_is_trained_against_a_text_tower_that_is_fetched_first(clone: Clone):
    assert "fetch_text_tower" not in clone.jobs()
    clone.configure({"clip": {"name": "demo-clip", "scratch": {"text": "all-minilm-l6-v2"}}})
    jobs = clone.jobs()
    assert jobs.count("fetch_text_tower") == jobs.count("scratch_clip") == 1
    assert clone.jobs("fetch").count("fetch_text_tower") == 1


def test_the_documentation_shows_the_rules_of_the_demo(clone: Clone):
    (clone.root / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    printed = clone.snakemake("--rulegraph", "mermaid-js").stdout
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{as_mermaid(read_graph(printed))}```\n" in page


def test_a_comparison_that_is_there_is_not_made_again(clone: Clone):
    for name in ("one", "two"):
        folder = clone.root / "results" / name
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("not looked at")
    asked = ("compare", "--config", "compare=[one, two]")
    assert clone.jobs(*asked) == ["compare"]
    (clone.root / "results/comparisons/one-two").mkdir(parents=True)
    for name in COMPARISON.values():
        (clone.root / "results/comparisons/one-two" / name).touch()
    assert clone.jobs(*asked) == []
