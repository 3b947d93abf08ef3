"""What a run is made of: data sets, models, lines, what is encoded by one job, what waits for alpha."""

from pathlib import Path

import pytest
from demo_runs import IN_PARALLEL, LOCAL, OTHERS, PUBLISHED, SCENE, SEQUENTIALLY, TWO_CLIPS, Choices, run_with

from bandbridge.base.files import write_json
from bandbridge.config.sweeps import sweep_batches, sweeps

# --- data sets -------------------------------------------------------------------------------------------------------


def test_the_data_sets_are_those_of_tasks_evaluation_and_training_from_scratch():
    assert run_with().datasets == ["demo_land_cover", "digits"]
    assert run_with({"evaluate": {"datasets": {"eurosat_ms": ["plain"]}}}).datasets == [
        "demo_land_cover",
        "digits",
        "eurosat_ms",
    ]
    task = {"dataset": "eurosat_ms", "prompts": "plain"}
    assert "eurosat_ms" in run_with({"align": {"task": task}}).datasets
    assert run_with({"align": {"task": task}}).taught == "eurosat_ms"


def test_a_data_set_has_the_options_of_the_configuration():
    run = run_with({"datasets": {"digits": {"val": 0.3, "convert_jobs": 2}}})
    assert run.dataset("digits").options["val"] == 0.3
    assert run.conversion_options("digits") == {"val": 0.3, "test": 0.2}
    assert run.download_options("digits") == {}
    assert len(run.converted("digits")) == 2 * len(run.dataset("digits").streams)
    assert run.converted("digits")[0].endswith(".0-of-2/records.npz")


def test_labels_depend_on_the_classes_and_maps_of_each_nomenclature():
    facts = run_with().class_names_and_maps("digits")
    assert list(facts) == ["digits-10"]
    assert len(facts["digits-10"][0]) == 10


def test_train_is_not_scored():
    assert run_with().scored_splits("digits") == ["val", "test"]


def test_data_sets_of_the_same_splits_are_together():
    run = run_with({"evaluate": {"datasets": {"imagenet": ["plain"]}}})
    assert run.datasets_by_splits(run.evaluated) == {
        ("train", "val", "test"): ["demo_land_cover", "digits"],
        ("val", "test"): ["imagenet"],
    }


def test_words_are_those_of_a_data_set():
    run = run_with()
    assert "forest" in run.words_of("demo_land_cover")
    assert run.words_of("digits") is None


# --- models ----------------------------------------------------------------------------------------------------------


def test_an_encoder_is_in_the_space_of_its_clip_or_its_own():
    run = run_with(TWO_CLIPS, OTHERS)
    assert run.clip_of("ViT-L-14@0.5") == run.space_of("ViT-L-14@0.5") == "ViT-L-14"
    assert run.clip_of("ms-vit-ViT-B-32") == "ViT-B-32"
    assert run.space_of("remoteclip-vit-b-32") == "remoteclip-vit-b-32"
    assert run.has_text("remoteclip-vit-b-32")
    assert not run.has_text("satmae-vit-l-8")
    assert run.text_model("ViT-L-14") == "results/demo/clip/ViT-L-14/open_clip_config.json"
    assert run.text_model("remoteclip-vit-b-32") == "results/demo/encoders/remoteclip-vit-b-32/open_clip_config.json"


def test_a_clip_is_fetched_unless_it_is_trained():
    assert run_with().fetched_clips() == []
    assert run_with().scratch == "digits"
    assert run_with(TWO_CLIPS).scratch is None
    assert len(run_with(TWO_CLIPS).fetched_clips()) == 2
    assert run_with(TWO_CLIPS).clip_source("ViT-L-14") == "openai"
    assert run_with(TWO_CLIPS).architecture("ViT-L-14")["embed_dim"] == 768


def test_the_text_tower_is_needed_where_a_clip_is_trained_against_it():
    files = run_with().tower_files()
    assert files
    assert all(file.startswith("data/archives/text_towers/all-minilm-l6-v2/") for file in files)
    assert run_with(TWO_CLIPS).tower_files() == []


def test_each_clip_has_students_of_its_own():
    assert list(run_with().students) == ["ms-vit"]
    run = run_with(TWO_CLIPS)
    assert list(run.students) == ["ms-vit-ViT-B-32", "ms-vit-ViT-L-14"]
    assert run.student_name("ms-vit-ViT-L-14") == "ms-vit"
    assert run.teacher("ms-vit-ViT-L-14") == "ViT-L-14"


def test_first_weights_are_fetched_where_they_are_published():
    fresh, published, local = run_with(), run_with(PUBLISHED), run_with(LOCAL)
    assert (fresh.first_weights("ms-vit"), fresh.checked_first_weights("ms-vit"), fresh.fetched_weights) == ([], [], {})
    (path,) = published.first_weights("ms-vit")
    assert path == published.paths.weights(Path(path).name)
    assert published.fetched_weights == {Path(path).name: "ssl4eo-moco-vit-s-16"}
    assert local.first_weights("ms-vit") == []
    for run in (published, local):
        assert run.checked_first_weights("ms-vit") == ["results/demo/align/ms-vit/first_weights.json"]


def test_consent_to_weights_without_a_checksum_is_part_of_what_is_fetched():
    consent = {"evaluate": {"encoders": [{"name": "ssl4eo-moco-vit-s-16", "unpinned": True}]}}
    file = next(iter(run_with(PUBLISHED).fetched_weights))
    assert "unpinned" not in run_with(PUBLISHED).fetched_facts(file)["weights"]
    assert run_with(PUBLISHED, consent).fetched_facts(file)["weights"]["unpinned"] is True


# --- lines -----------------------------------------------------------------------------------------------------------


def test_a_line_ends_at_its_fine_tuning_or_at_the_sum_of_others():
    run = run_with(IN_PARALLEL)
    parts = ["demo-clip-on-demo_land_cover", "demo-clip-on-digits"]
    assert list(run.lines) == [*parts, "demo-clip"]
    assert run.finetuned(parts[1]) == "results/demo/finetune/demo-clip-on-digits.digits/model.safetensors"
    assert run.finetuned("demo-clip") == "results/demo/paint/demo-clip.demo_land_cover+digits/sum.safetensors"
    assert run.finetuned_parts("demo-clip") == [run.finetuned(part) for part in parts]
    assert run.selected_parts("demo-clip") == [run.of_line(part, "selected.json") for part in parts]
    assert run.finetuned_parts(parts[0]) == []


def test_the_start_of_a_line_needs_no_end():
    run = run_with()
    assert run.line_end("demo-clip", "0") == []
    assert run.line_end("demo-clip", "0.5") == [run.finetuned("demo-clip")]


def test_a_part_of_a_line_is_scored_on_its_own_tasks_and_shares_zero_shot_clip():
    run = run_with(IN_PARALLEL)
    assert run.datasets_of("demo-clip-on-digits") == ["digits"]
    assert run.datasets_of("demo-clip") == ["demo_land_cover", "digits"]
    assert "demo-clip-on-digits@0" not in run.models_of("demo-clip-on-digits")
    assert len(run.models_of("demo-clip-on-digits")) == len(run.alphas) - 1
    assert run.models_of("demo-clip")[0] == "demo-clip@0"


def test_alpha_is_chosen_by_the_scores_of_every_task_at_every_alpha():
    run = run_with({"paint": {"alphas": [1, 0, 0.5]}})
    assert run.alpha_names == ["0", "0.5", "1"]
    asked = run.scores_to_choose_by("demo-clip")
    assert len(asked) == 3 * 2
    assert asked[0].endswith("metrics/demo-clip@0/zero-shot.demo_land_cover.demo-land-cover-5.satellite.csv")


def test_a_stated_task_has_its_nomenclature_and_its_headline():
    run = run_with()
    assert run.stated_patching("demo-clip") == [
        {**SCENE, "nomenclature": "demo-land-cover-5", "metric": "balanced_accuracy"}
    ]
    assert run.stated_kept("demo-clip")[0]["metric"] == "accuracy"
    (head,) = run.patching_heads("demo-clip")
    assert head == run.align_head("ms-vit")
    assert head.endswith("heads/demo-clip/demo_land_cover.demo-land-cover-5.satellite.npz")


def test_alpha_is_unknown_until_it_is_chosen(tmp_path: Path):
    run = run_with({"results_root": str(tmp_path)})
    assert run.alpha_if_chosen("demo-clip") is None
    write_json(Path(run.of_line("demo-clip", "selected.json")), {"alpha": 0.4})
    assert run.alpha_if_chosen("demo-clip") == run.teachers_alpha("ms-vit") == 0.4


# --- encoding --------------------------------------------------------------------------------------------------------


def test_students_see_data_with_their_bands():
    assert run_with().students_of("demo_land_cover") == ["ms-vit"]
    assert run_with().students_of("digits") == []
    radar = {"align": {"students": {"ms-vit": {"modality": "s1"}}}}
    assert run_with(radar).students_of("demo_land_cover") == []


def test_others_see_what_they_are_made_for():
    run = run_with(OTHERS)
    assert run.others_of("digits") == ["remoteclip-vit-b-32"]
    assert run.others_of("demo_land_cover") == ["remoteclip-vit-b-32", "satmae-vit-l-8"]


def test_what_is_encoded_already_is_one_job_and_what_is_new_another():
    run = run_with({"paint": {"alphas": [0, 0.5, 1]}})
    assert sweep_batches(run, "demo-clip", "digits", exists=lambda path: False) == {
        "new": ["demo-clip@0", "demo-clip@0.5", "demo-clip@1"]
    }
    assert sweep_batches(run, "demo-clip", "digits", exists=lambda path: "@0.5" not in str(path)) == {
        "encoded": ["demo-clip@0", "demo-clip@1"],
        "new": ["demo-clip@0.5"],
    }


def test_a_model_counts_as_encoded_when_every_scored_split_is():
    run = run_with({"paint": {"alphas": [0, 1]}})
    batches = sweep_batches(run, "demo-clip", "digits", exists=lambda path: "val" in str(path))
    assert batches == {"new": ["demo-clip@0", "demo-clip@1"]}


def test_models_are_spread_over_jobs():
    run = run_with({"paint": {"alphas": [0, 0.25, 0.5, 0.75, 1]}, "embed": {"models_per_job": 2}})
    batches = sweep_batches(run, "demo-clip", "digits", exists=lambda path: False)
    assert {name: len(models) for name, models in batches.items()} == {"new_0": 2, "new_1": 2, "new_2": 1}


def test_zero_shot_clip_has_a_job_of_its_own_where_a_line_is_made_of_others():
    run = run_with(IN_PARALLEL, {"paint": {"alphas": [0, 1]}})
    batches = sweep_batches(run, "demo-clip", "digits", exists=lambda path: False)
    assert batches == {"new": ["demo-clip@1"], "zero_shot": ["demo-clip@0"]}


def test_every_line_sweeps_the_data_sets_that_it_is_scored_on(tmp_path: Path):
    run = run_with(IN_PARALLEL, {"paint": {"alphas": [0, 1]}, "results_root": str(tmp_path)})
    assert [(line, dataset, batch) for line, dataset, batch, _ in sweeps(run)] == [
        ("demo-clip-on-demo_land_cover", "demo_land_cover", "new"),
        ("demo-clip-on-digits", "digits", "new"),
        ("demo-clip", "demo_land_cover", "new"),
        ("demo-clip", "demo_land_cover", "zero_shot"),
        ("demo-clip", "digits", "new"),
        ("demo-clip", "digits", "zero_shot"),
    ]


def test_a_line_starts_at_clip_or_at_what_was_chosen_before():
    run, asked = run_with(SEQUENTIALLY), Choices()
    first, second = run.lines
    assert run.start_of(first, asked)["clip"] == "results/demo/clip/demo-clip/open_clip_config.json"
    assert asked == []
    assert run.start_of(second, asked)["clip_weights"] == run.of_line(first, "patched/open_clip_model.safetensors")
    assert asked == [first]


def test_what_depends_on_a_choice_waits_for_it():
    run = run_with()
    for depends in (
        lambda chosen: run.ends_of("demo-clip", chosen),
        lambda chosen: run.teachers_ends("ms-vit", chosen),
        lambda chosen: run.aligned("ms-vit", chosen),
        lambda chosen: run.encoded("ms-vit", "digits", "test", chosen),
    ):
        asked = Choices()
        depends(asked)
        assert asked == ["demo-clip"]


@pytest.mark.parametrize("encoder", ["demo-clip@0.5", "remoteclip-vit-b-32"])
def test_what_no_choice_decides_waits_for_none(encoder: str):
    asked = Choices()
    path = run_with(OTHERS).encoded(encoder, "digits", "val", asked)
    assert path == f"results/demo/embeddings/{encoder}/digits.val.zarr/zarr.json"
    assert asked == []
