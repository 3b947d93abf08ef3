"""What reruns after a change, job by job: a rule depends on exactly the config values it uses."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from changes import ALPHA, ALPHAS, CHANGES, EACH_SHOWN, PROBES, PROMPT_SETS, SEVERAL, SHOWN, STORE, VIEWS
from clones import Clone


def after(run: Clone, changes: dict[str, Any]) -> list[str]:
    run.configure(changes)
    return run.jobs()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reruns_what_uses_it_and_nothing_else(copied_run: Clone, name: str):
    CHANGES[name].make(copied_run)
    assert copied_run.jobs() == CHANGES[name].jobs


def test_changes_at_once_rerun_what_each_of_them_does(copied_run: Clone):
    SEVERAL.make(copied_run)
    assert copied_run.jobs() == SEVERAL.jobs


def test_a_students_value_reruns_the_student_alone(copied_run: Clone):
    jobs = after(copied_run, {"align": {"students": {"ms-vit": {"scaling": "reflectance"}}}})
    assert "align" in jobs
    assert not {"finetune", "scratch_clip", "zero_shot_head", "preprocess", "select_alpha"} & set(jobs)


def test_a_students_own_recipe_is_its_own(copied_run: Clone):
    common = after(copied_run, {"align": {"students": {"ms-vit": {"recipe": {}}}}})
    assert common == []
    jobs = after(copied_run, {"align": {"students": {"ms-vit": {"recipe": {"loss": "cosine"}}}}})
    assert "align" in jobs
    assert not {"finetune", "scratch_clip", "zero_shot_head", *STORE, "select_alpha"} & set(jobs)


def test_how_training_runs_trains_nothing_anew(copied_run: Clone):
    """The report alone, which shows the whole configuration."""
    assert after(copied_run, {"train": {"checkpoint_minutes": 1, "gpus": 2, "tensorboard": False}}) == ["report"]


def test_an_alpha_reruns_its_own_encoding_and_scores_and_the_selection(copied_run: Clone):
    jobs = after(copied_run, {"paint": {"alphas": [*ALPHAS, 0.25]}})
    # Behind the selection, which has yet to run, a plan also lists what may follow from it.
    may_follow = {"align", "patched_clip", "embed_student", "score_retrieval", *PROBES, *SHOWN}
    own = {"score_gains", "embed_sweep_digits_new", "embed_sweep_scene_crop_new", "score_zero_shot"}
    assert set(jobs) - may_follow == {*own, "select_alpha", *VIEWS}
    assert jobs.count("score_zero_shot") == len(PROMPT_SETS) + 1 + len(PROMPT_SETS)  # the alpha's, and the student's


def test_another_criterion_reruns_the_selection_and_no_encoding(copied_run: Clone):
    jobs = after(copied_run, {"paint": {"select": {"criterion": "mean"}}})
    assert "select_alpha" in jobs
    assert not {job for job in jobs if job.startswith("embed_sweep")}
    assert not {"finetune", "zero_shot_head", "preprocess"} & set(jobs)


def test_a_fine_tuning_value_reruns_what_follows_it(copied_run: Clone):
    jobs = after(copied_run, {"finetune": {"weight_decay": 0.1}})
    assert {"finetune", "embed_sweep_scene_crop_encoded", "embed_sweep_digits_encoded", "select_alpha"} <= set(jobs)
    assert not {*STORE, "scratch_clip", "zero_shot_head"} & set(jobs)


def test_an_option_of_the_scene_reruns_its_store_and_not_the_clip(copied_run: Clone):
    jobs = after(copied_run, {"datasets": {"scene_crop": {"label_share": 0.2}}})
    assert {"plan", "convert", "preprocess", "finetune", "embed_sweep_scene_crop_encoded"} <= set(jobs)
    assert not {"download", "scratch_clip", "zero_shot_head"} & set(jobs)
    assert jobs.count("convert") == jobs.count("preprocess") == 1


def test_what_is_said_about_a_data_set_converts_nothing_anew(copied_run: Clone):
    file = copied_run.root / "workflow" / "datasets" / "scene_crop.yaml"
    file.write_text(file.read_text().replace("licence: ", "licence: now "))
    jobs = after(copied_run, {})
    assert "preprocess" in jobs
    assert not {"download", "plan", "convert"} & set(jobs)


def test_more_quarantine_allowed_converts_nothing_anew(copied_run: Clone):
    jobs = after(copied_run, {"preprocess": {"max_quarantined_share": 0.5}})
    assert "preprocess" in jobs
    assert not {"download", "plan", "convert"} & set(jobs)


def test_the_seed_reruns_training_and_no_store(copied_run: Clone):
    jobs = after(copied_run, {"seed": 1})
    assert {"scratch_clip", "finetune"} <= set(jobs)
    assert not set(STORE) & set(jobs)


def test_an_alpha_a_template_a_k_and_a_data_set_run_their_own_jobs_and_nothing_behind_an_unchanged_choice(
    copied_run: Clone,
):
    """Run for real: only after the selection has been made again is it known that nothing follows."""
    other_crop = CHANGES["an evaluation data set"]
    other_crop.files(copied_run)
    copied_run.configure(
        {
            **ALPHA.config,
            "prompts": {"mine": ["{} from above"]},
            "evaluate": {"retrieval": {"ks": [1, 2]}, **other_crop.config["evaluate"]},
        }
    )
    alpha = ["embed_sweep_digits_new", "embed_sweep_scene_crop_new", *["score_zero_shot"] * 2, "select_alpha"]
    template = ["zero_shot_head", *["score_zero_shot"] * (len(ALPHAS) + 2), "score_gains"]
    k = ["check_samples", "score_retrieval"]
    data_set = [*STORE, "zero_shot_head", "embed_sweep_other_crop_new", "embed_student", "score_retrieval"]
    data_set += [*["score_zero_shot"] * (len(ALPHAS) + 2), *3 * EACH_SHOWN]
    data_set += ["check_samples", "gallery", "projection"]
    assert copied_run.run() == sorted([*alpha, *template, *k, *data_set, *VIEWS])
    assert copied_run.jobs() == []


def test_shots_rerun_the_probes_on_few_samples_alone(copied_run: Clone):
    jobs = after(copied_run, {"evaluate": {"linear_probe": {"shots": [2]}}})
    assert jobs == sorted(["check_samples", *["score_few_shot"] * 3, *VIEWS])


def test_a_table_s_look_reruns_the_tables_and_the_report(copied_run: Clone):
    assert after(copied_run, {"tables": {"decimals": 2}}) == ["report", "tables"]


TRAINED = {"finetune", "align"}
FIRST = {"download", "scratch_clip"}


def test_a_class_s_prompt_reruns_its_heads_and_what_was_trained_under_them(copied_run: Clone):
    nomenclature = copied_run.root / "workflow" / "nomenclatures" / "osm-landuse-8.yaml"
    edited = nomenclature.read_text().replace("{name: farm, prompt: farmland}", "{name: farm, prompt: fields}")
    assert edited != nomenclature.read_text()
    nomenclature.write_text(edited)
    jobs = copied_run.jobs()
    assert jobs.count("zero_shot_head") == 2  # of two prompt sets
    assert {*TRAINED, "select_alpha", *VIEWS} <= set(jobs)
    assert not {*STORE, *FIRST} & set(jobs)


def test_a_class_s_prompt_reruns_the_clip_that_is_trained_on_it(copied_run: Clone):
    nomenclature = copied_run.root / "workflow" / "nomenclatures" / "digits-10.yaml"
    edited = nomenclature.read_text().replace("zero", "nought")
    assert edited != nomenclature.read_text()
    nomenclature.write_text(edited)
    assert "scratch_clip" in copied_run.jobs()


def test_a_renamed_class_reruns_its_store_its_heads_and_what_follows(copied_run: Clone):
    nomenclature = copied_run.root / "workflow" / "nomenclatures" / "osm-landuse-8.yaml"
    edited = nomenclature.read_text().replace("{name: farm, prompt: farmland}", "{name: field, prompt: farmland}")
    assert edited != nomenclature.read_text()
    nomenclature.write_text(edited)
    without_words = {"words": {"datasets": {"scene_crop": None}}}
    jobs = after(copied_run, {"datasets": {"scene_crop": {"class_map": {"farm": "field"}}}, "evaluate": without_words})
    assert {"plan", "convert", "preprocess", "zero_shot_head", *TRAINED, "select_alpha", *VIEWS} <= set(jobs)
    assert not FIRST & set(jobs)


def _image(run: Clone) -> Path:
    return next((run.root / "data/archives/scene_crop").rglob("*_B04.jp2"))


def _replace(image: Path) -> None:
    image.write_bytes(image.read_bytes() + b"\0")


def _touch(image: Path) -> None:
    os.utime(image, ns=(0, 0))


def _add(image: Path) -> None:
    shutil.copy(image, image.with_stem("another"))


def _add_a_folder(image: Path) -> None:
    (image.parent / "class").mkdir()
    shutil.copy(image, image.parent / "class")


@pytest.mark.parametrize("change", [_replace, _touch, _add, _add_a_folder, Path.unlink])
def test_a_changed_image_of_one_s_own_reruns_its_data_set_and_no_other(copied_run: Clone, change):
    change(_image(copied_run))
    jobs = copied_run.jobs()
    assert {*STORE, "finetune", *VIEWS} <= set(jobs)
    assert jobs.count("download") == jobs.count("convert") == 1
    assert "scratch_clip" not in jobs


def test_what_a_file_manager_leaves_beside_images_reruns_nothing(copied_run: Clone):
    folder = _image(copied_run).parent
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "scene_B04.jp2.aux.xml"):
        (folder / name).write_text('<PAMDataset><PAMRasterBand band="1"><Histograms/></PAMRasterBand></PAMDataset>')
    assert copied_run.jobs() == []


def test_where_content_is_compared_another_time_of_change_reruns_nothing(copied_run: Clone):
    files = "data/zarr/scene_crop.files.json"
    copied_run.configure({"preprocess": {"watch": "content"}})
    copied_run.run(files)
    _touch(_image(copied_run))
    assert copied_run.jobs(files) == []
    _replace(_image(copied_run))
    assert copied_run.jobs(files) == ["download"]


def test_where_nothing_is_watched_a_changed_image_reruns_nothing(copied_run: Clone):
    copied_run.configure({"preprocess": {"watch": "nothing"}})
    before = copied_run.jobs()
    _replace(_image(copied_run))
    assert copied_run.jobs() == before


def test_the_code_of_a_metric_reruns_its_scores_and_no_training(copied_run: Clone):
    with (copied_run.root / "workflow/bandbridge/metrics/knn.py").open("a") as module:
        module.write("# Another version.\n")
    assert copied_run.jobs() == sorted(["score_knn"] * 3 + VIEWS)


def test_the_code_of_a_training_repeats_none(copied_run: Clone):
    with (copied_run.root / "workflow/bandbridge/training/loop.py").open("a") as module:
        module.write("# Another version.\n")
    assert copied_run.jobs() == []


def test_a_published_figure_reruns_the_tables_and_the_report(copied_run: Clone):
    with (copied_run.root / "workflow/published/zavras2025-abstract.yaml").open("a") as file:
        file.write("# Corrected.\n")
    assert copied_run.jobs() == ["report", "tables"]


def test_a_stated_precision_reruns_the_stage_it_is_stated_for(copied_run: Clone):
    jobs = after(copied_run, {"align": {"precision": "float32"}})
    assert "align" in jobs
    assert not {"finetune", *STORE, *FIRST} & set(jobs)


def test_a_run_that_stopped_after_training_clip_makes_the_heads_again(copied_run: Clone):
    """The trained CLIP's description, which heads read, would be the same but for the checksum of its weights."""
    jobs = after(copied_run, {"seed": 1})
    completed = copied_run.snakemake("--cores", "1", "--", "results/small/clip/demo-vit/open_clip_config.json")
    assert completed.returncode == 0, completed.stderr
    assert copied_run.jobs() == [job for job in jobs if job != "scratch_clip"]


def test_a_run_that_stopped_after_listing_other_files_plans_again(copied_run: Clone):
    (copied_run.root / "data/archives/scene_crop/another.txt").touch()
    jobs = copied_run.jobs()
    completed = copied_run.snakemake("--cores", "1", "--", "data/zarr/scene_crop.files.json")
    assert completed.returncode == 0, completed.stderr
    assert copied_run.jobs() == [job for job in jobs if job != "download"]


def test_a_run_for_one_target_shows_no_scores_of_an_earlier_run(copied_run: Clone):
    copied_run.configure({"evaluate": {"retrieval": {"ks": [1, 2]}}})
    completed = copied_run.snakemake("--cores", "1", "--", "results/small/metrics/ms-vit/retrieval.scene_crop.csv")
    assert completed.returncode == 0, completed.stderr
    assert "is done." not in completed.stderr
    assert "may be out of date; `snakemake` updates it." in completed.stderr
