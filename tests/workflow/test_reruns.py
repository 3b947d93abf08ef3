"""What reruns after a change, job by job: a rule depends on exactly the config values it uses."""

from typing import Any

import pytest
from changes import ALPHA, ALPHAS, CHANGES, PROBES, PROMPT_SETS, SHOWN, STORE, VIEWS
from clones import Clone


def after(run: Clone, changes: dict[str, Any]) -> list[str]:
    run.configure(changes)
    return run.jobs()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reruns_what_uses_it_and_nothing_else(copied_run: Clone, name: str):
    CHANGES[name].make(copied_run)
    assert copied_run.jobs() == CHANGES[name].jobs


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
    may_follow = {"align", "patched_clip", "embed_student_scene_crop", "score_retrieval", *PROBES, *SHOWN}
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
    k = ["score_retrieval"]
    data_set = [*STORE, "zero_shot_head", "embed_sweep_other_crop_new", "embed_student_other_crop", "score_retrieval"]
    data_set += [*["score_zero_shot"] * (len(ALPHAS) + 2), *3 * ["score_gap", "score_text_retrieval"]]
    data_set += ["gallery", "projection"]
    assert copied_run.run() == sorted([*alpha, *template, *k, *data_set, *VIEWS])
    assert copied_run.jobs() == []


def test_shots_rerun_the_probes_on_few_samples_alone(copied_run: Clone):
    jobs = after(copied_run, {"evaluate": {"linear_probe": {"shots": [2]}}})
    assert jobs == sorted(["score_few_shot"] * 3 + VIEWS)


def test_a_table_s_look_reruns_the_tables_and_the_report(copied_run: Clone):
    assert after(copied_run, {"tables": {"decimals": 2}}) == ["report", "tables"]
