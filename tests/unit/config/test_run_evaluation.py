"""Which encoder is scored on what, what gains are over, and what the report shows."""

from pathlib import Path

import pytest
from demo_runs import IN_PARALLEL, OTHERS, TWO_CLIPS, Choices, half, run_with

from bandbridge.base.paths import EncoderName
from bandbridge.config.compared import compared_files, compared_runs, comparison_files
from bandbridge.config.evaluation import Evaluation

FEW = {"paint": {"alphas": [0, 0.5, 1]}}


def scores_with(*changes):
    return Evaluation(run_with(FEW, *changes))


def kinds(paths):
    return [Path(path).name.split(".")[0] for path in paths]


def test_zero_shot_scores_are_of_every_alpha_student_and_encoder_with_text():
    scores = scores_with(OTHERS)
    on_line = ["demo-clip@0", "demo-clip@0.5", "demo-clip@1"]
    assert scores.encoders_of("demo_land_cover") == [*on_line, "ms-vit", "remoteclip-vit-b-32"]
    assert scores.encoders_of("digits") == [*on_line, "remoteclip-vit-b-32"]
    assert scores.shown_encoders("demo_land_cover") == [
        "demo-clip@0",
        "ms-vit",
        "remoteclip-vit-b-32",
        "satmae-vit-l-8",
    ]


def test_zero_shot_scores_are_in_every_nomenclature_with_every_prompt_set():
    scores = scores_with()
    assert len(scores.zero_shot("ms-vit", "demo_land_cover")) == 2
    # Three alphas on two prompt sets and on one, and the student on two.
    assert len(scores.all_zero_shot()) == 3 * 3 + 2


def test_the_tables_of_an_encoder_are_those_that_it_can_have():
    scores = scores_with(OTHERS)
    probes = ["linear-probe", "few-shot", "knn"]
    assert kinds(scores.tables_of("ms-vit", "demo_land_cover")) == [
        "retrieval",
        "gap",
        "text-retrieval",
        "words",
        *probes,
    ]
    assert kinds(scores.tables_of("demo-clip@0", "demo_land_cover")) == ["gap", "text-retrieval", "words", *probes]
    assert kinds(scores.tables_of("demo-clip@0", "digits")) == ["gap", "text-retrieval"]
    assert kinds(scores.tables_of("satmae-vit-l-8", "demo_land_cover")) == ["gap", *probes]


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("retrieval", {"retrieval"}),
        ("gap", {"gap"}),
        ("text_retrieval", {"text-retrieval"}),
        ("words", {"words"}),
        ("knn", {"knn"}),
        ("linear_probe", {"linear-probe", "few-shot", "knn"}),
    ],
)
def test_scores_can_be_switched_off(key, gone):
    everything = kinds(scores_with().tables_of("ms-vit", "demo_land_cover"))
    left = kinds(scores_with({"evaluate": {key: None}}).tables_of("ms-vit", "demo_land_cover"))
    assert left == [kind for kind in everything if kind not in gone]


def test_a_chosen_model_is_scored_in_every_way_unless_it_is_zero_shot_clip():
    scores = scores_with()
    paths = scores.tables_of_the_chosen(half)
    assert paths
    assert all("/metrics/demo-clip@0.5/" in path for path in paths)
    assert scores.tables_of_the_chosen(lambda line: str(EncoderName(line, 0))) == []


def test_what_is_asked_of_a_data_set_names_the_keys_that_ask():
    scores = scores_with()
    keys = {asked["key"] for asked in scores.neighbours("demo_land_cover")}
    assert {"evaluate.retrieval.ks", "evaluate.text_retrieval.ks", "evaluate.words.k", "evaluate.knn.k"} <= keys
    assert {asked["key"] for asked in scores.neighbours("digits")} == {"evaluate.text_retrieval.ks"}
    assert scores.shots("digits") == []
    assert scores.shots("demo_land_cover")


def test_heads_are_those_of_an_encoders_space():
    scores = scores_with(OTHERS)
    for encoder, space in (("demo-clip@0.5", "demo-clip"), ("ms-vit", "demo-clip"), *[("remoteclip-vit-b-32",) * 2]):
        assert scores.head(encoder, "digits", "digits-10", "digits") == (
            f"results/demo/heads/{space}/digits.digits-10.digits.npz"
        )
        assert scores.words_head(encoder, "digits", "digits") == f"results/demo/heads/{space}/words/digits.digits.npz"


def test_the_gap_of_a_student_is_to_its_teacher_and_that_of_a_clip_to_its_start_and_its_class_names():
    scores, asked = scores_with(OTHERS), Choices()
    sides = scores.sides_of_the_gap("ms-vit", "demo_land_cover", asked)
    assert set(sides) == {"rgb", "multispectral"}
    assert "/demo-clip@0.5/" in sides["rgb"]
    assert set(asked) == {"demo-clip"}
    sides = scores.sides_of_the_gap("demo-clip@1", "demo_land_cover", asked)
    assert set(sides) == {"rgb", "zero_shot", "head"}
    assert "/demo-clip@0/" in sides["zero_shot"]
    assert set(scores.sides_of_the_gap("remoteclip-vit-b-32", "digits", asked)) == {"rgb", "head"}
    assert set(scores.sides_of_the_gap("satmae-vit-l-8", "demo_land_cover", asked)) == {"rgb"}


def test_gains_are_over_zero_shot_clip_and_a_students_over_the_patched_clip_as_well():
    assert scores_with().references() == {
        "demo-clip@1": {"gain": "demo-clip@0"},
        "demo-clip@selected": {"gain": "demo-clip@0"},
        "ms-vit": {"gain": "demo-clip@0", "gain_over_patched": "demo-clip@selected"},
    }


def test_a_student_that_sees_no_data_set_gains_nothing():
    blind = {"align": {"students": {"ms-vit": {"modality": "s1"}}}}
    assert "ms-vit" not in scores_with(blind).references()


def test_gains_need_the_draws_of_both_sides_on_what_both_are_scored_on():
    names = {Path(path).parent.name for path in scores_with().compared_draws(half)}
    assert names == {"demo-clip@0", "demo-clip@0.5", "demo-clip@1", "ms-vit"}
    paths = scores_with(IN_PARALLEL).compared_draws(half)
    on_digits = [path for path in paths if "demo-clip-on-demo_land_cover@1" in path and ".digits." in path]
    assert on_digits == []
    assert all(path.endswith(".draws.npz") for path in paths)


def test_a_line_of_parts_starts_at_zero_shot_clip():
    assert set(scores_with(IN_PARALLEL).starts().values()) == {"demo-clip@0"}


def test_the_report_shows_each_student_and_a_patched_clip_where_no_student_sees_the_data():
    scores = scores_with()
    assert scores.pictured() == [("ms-vit", "demo_land_cover"), ("demo-clip", "digits")]
    assert scores.report_parts("gallery") == [
        "results/demo/report_parts/gallery.ms-vit.demo_land_cover.json",
        "results/demo/report_parts/gallery.demo-clip.digits.json",
    ]
    assert len(scores_with(TWO_CLIPS).pictured()) == 4


def test_what_the_report_shows_comes_from_the_line_of_the_teacher():
    scores = scores_with()
    for subject in ("ms-vit", "demo-clip"):
        assert "/demo-clip@0.5/" in scores.pictured_patched(subject, "demo_land_cover", half)
        assert "/demo-clip@0/" in scores.pictured_zero_shot(subject, "demo_land_cover")
        assert "/heads/demo-clip/" in scores.pictured_head(subject, "demo_land_cover")
    assert len(scores.pictured_student("ms-vit", "demo_land_cover", half)) == 1
    assert scores.pictured_student("demo-clip", "digits", half) == []
    assert len(scores.pictured_words("ms-vit", "demo_land_cover")) == 1
    assert scores.pictured_words("demo-clip", "digits") == []


def test_trainings_are_told_with_what_they_trained():
    assert [(of["kind"], of["name"], of.get("datasets")) for of in scores_with().trainings()] == [
        ("clip", "demo-clip", None),
        ("finetune", "demo-clip", ["demo_land_cover"]),
        ("align", "ms-vit", None),
    ]
    assert [of["kind"] for of in scores_with(TWO_CLIPS).trainings()] == ["finetune"] * 2 + ["align"] * 2
    # The line that the parts add up to has no training of its own.
    assert len([of for of in scores_with(IN_PARALLEL).trainings() if of["kind"] == "finetune"]) == 2


def test_runs_are_compared_by_name_or_by_folder():
    config = {**run_with().config, "compare": ["demo", "elsewhere/seed-1"]}
    assert compared_runs(config) == ["results/demo", "elsewhere/seed-1"]
    assert comparison_files(config)["page"] == "results/comparisons/demo-seed-1/index.html"
    assert "elsewhere/seed-1/metrics.csv" in compared_files(config)
    nothing = comparison_files({**config, "compare": []})
    assert nothing["page"] == "results/comparisons/none/index.html"
    assert nothing["seeds_latex"] == "results/comparisons/none/seeds.tex"
