"""What the doctor expects a run to take."""

from collections import Counter

import pytest
from configs import DEMO, config_with

from bandbridge.config.checks import validate
from bandbridge.config.evaluation import Evaluation
from bandbridge.config.resources import clip_network
from bandbridge.config.run import Run
from bandbridge.ops.estimate import GPUS, SCORES, core_hours, estimated, gpu_hours, score_jobs, sizes_of, values

EUROSAT = {
    "clip": {"name": "ViT-B-32", "pretrained": "openai"},
    "datasets": {"demo_land_cover": None, "digits": None},
    "paint": {"select": {"criterion": "fixed"}},
    "tasks": {"patching": {"dataset": "eurosat_ms", "prompts": "satellite"}, "supported": None},
    "evaluate": {
        "datasets": {"demo_land_cover": None, "digits": None, "eurosat_ms": ["satellite"]},
        "linear_probe": {"datasets": ["eurosat_ms"]},
        "words": None,
    },
}


def run_with(*changes):
    return Run(validate(config_with(*changes)))


def hours(run, gpu="A100"):
    sizes = sizes_of(run)
    return gpu_hours(run, sizes, gpu) | core_hours(run, sizes)


def test_fine_tuning_takes_three_passes_of_the_network_over_each_training_image():
    run = run_with(EUROSAT, {"finetune": {"epochs": 2}})
    operations = 2 * 3 * clip_network("ViT-B-32").operations * 2 * 16_200
    assert hours(run)["fine-tuning"] == pytest.approx(operations / (312e12 * 0.1) / 3600)


def test_a_faster_gpu_takes_less_and_the_processor_the_same():
    run = run_with(EUROSAT)
    slow, fast = hours(run, "V100"), hours(run, "H100")
    ratio = GPUS["H100"] / GPUS["V100"]
    expected = {"fine-tuning": ratio, "alignment": ratio, "encoding": ratio, "conversion": 1, "scores": 1}
    assert {stage: slow[stage] / fast[stage] for stage in slow} == pytest.approx(expected)


def test_seeds_repeat_the_trainings_and_not_the_conversion():
    one, three = hours(run_with(EUROSAT)), hours(run_with(EUROSAT, {"seeds": [0, 1, 2]}))
    assert three["alignment"] == pytest.approx(3 * one["alignment"])
    assert three["scores"] == pytest.approx(3 * one["scores"])
    assert three["conversion"] == one["conversion"]


def test_more_alphas_take_longer_to_encode():
    few, many = (
        hours(run_with(EUROSAT, {"paint": {"alphas": alphas, "select": {"alpha": 1}}}))
        for alphas in ([0, 1], [0, 0.5, 1])
    )
    assert many["encoding"] > few["encoding"]
    assert many["fine-tuning"] == few["fine-tuning"]


def test_a_data_set_of_unknown_size_is_named_and_not_counted():
    text = " ".join(map(str, estimated(DEMO)))
    assert "not counted, because its size is unknown: demo_land_cover" in text


def test_every_figure_is_marked_as_an_estimate_with_its_assumption():
    gpu, core = estimated(run_with(EUROSAT).config, "A100")
    assert gpu.result.startswith("estimate: ")
    assert "312 TFLOP/s by its data sheet, of which 10%" in gpu.result
    assert core.result.startswith("estimate: ")


def test_an_unknown_gpu_is_told_with_the_known_ones():
    (check,) = estimated(DEMO, "Abacus")
    assert "'Abacus'" in check.result
    assert "A100" in check.remedy


# --- the processor ---------------------------------------------------------------------------------------------------

PAPER = {
    "clip": {"name": "ViT-B-32", "pretrained": "openai"},
    "datasets": {"demo_land_cover": None, "digits": None},
    "tasks": {
        "patching": {"dataset": "bigearthnet_v1", "nomenclature": "bigearthnet-19", "prompts": "satellite"},
        "supported": None,
    },
    "paint": {"alphas": [0, 0.5, 1], "select": {"criterion": "fixed", "alpha": 0.5}},
    "evaluate": {
        "datasets": {
            "demo_land_cover": None,
            "digits": None,
            "bigearthnet_v1": ["satellite", "plain"],
            "eurosat_ms": ["satellite"],
        },
        "nomenclatures": {"bigearthnet_v1": ["bigearthnet-43", "bigearthnet-19", "bigearthnet-5"]},
        "linear_probe": {"datasets": ["bigearthnet_v1"]},
        "words": None,
    },
}


@pytest.fixture(scope="module")
def run():
    return run_with(PAPER)


def seconds_of_scores(run, sizes):
    return 3600 * core_hours(run, sizes)["scores"]


def test_values_of_a_sample_are_its_bands_times_its_pixels(run):
    assert values(run, "eurosat_ms") == 13 * 64 * 64
    assert values(run, "bigearthnet_v1") >= 12 * 120 * 120


def test_conversion_is_a_line_in_samples(run):
    hours = [core_hours(run, {"eurosat_ms": {"train": n, "test": 10}})["conversion"] for n in (0, 1_000, 2_000)]
    assert hours[2] - hours[1] == pytest.approx(hours[1] - hours[0])
    assert hours[1] > hours[0] > 0


def test_larger_samples_take_longer_to_convert(run):
    small, large = (
        core_hours(run, {dataset: {"train": 1_000}})["conversion"] for dataset in ("eurosat_ms", "bigearthnet_v1")
    )
    assert large > small


def test_the_tables_that_are_counted_are_those_that_the_run_makes(run):
    scores = Evaluation(run)
    made = [*scores.all_zero_shot(), *scores.shown_tables(), *scores.tables_of_the_chosen(lambda line: f"{line}@0.5")]
    assert sum(tables for _, _, tables in score_jobs(run)) == len(made) == len(set(made))


def test_a_job_scores_all_nomenclatures_and_prompt_sets_of_a_data_set(run):
    jobs = Counter(score_jobs(run))
    # Three alphas and two students; three nomenclatures with two prompt sets each.
    encoders = 3 + len(run.students)
    assert jobs["zero-shot", "bigearthnet_v1", 6] == jobs["zero-shot", "eurosat_ms", 1] == encoders
    assert {kind for kind, dataset, _ in jobs if dataset == "eurosat_ms"}.isdisjoint({"linear-probe", "knn"})


def test_every_kind_of_score_has_a_cost(run):
    assert {kind for kind, *_ in score_jobs(run)} <= SCORES.keys()
    assert all(of_job > 0 and of_unit > 0 for of_job, of_unit, _ in SCORES.values())


def test_retrieval_grows_with_pairs_and_the_probe_with_training_samples():
    growth = {kind: units(20, 8, 8) / units(10, 4, 4) for kind, (_, _, units) in SCORES.items()}
    assert growth == {kind: 4 if kind in ("retrieval", "knn") else 2 for kind in SCORES}


def test_a_data_set_of_unknown_size_costs_the_start_of_its_jobs(run):
    started = sum(SCORES[kind][0] for kind, *_ in score_jobs(run))
    assert seconds_of_scores(run, {}) == pytest.approx(started)
    assert seconds_of_scores(run, sizes_of(run)) > started


def test_one_more_alpha_costs_its_zero_shot_scores(run):
    more = run_with(PAPER, {"paint": {"alphas": [0, 0.25, 0.5, 1]}})
    difference = seconds_of_scores(more, {}) - seconds_of_scores(run, {})
    assert difference == pytest.approx(2 * SCORES["zero-shot"][0])
