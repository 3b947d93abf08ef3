"""Hours of one core by lines through what was measured."""

from collections import Counter

import pytest
from configs import config_with

from bandbridge.config.checks import validate
from bandbridge.config.evaluation import Evaluation
from bandbridge.config.run import Run
from bandbridge.ops.doctor import core_hours
from bandbridge.ops.doctor.estimate import samples_of

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


def run_with(*changes):
    return Run(validate(config_with(PAPER, *changes)))


@pytest.fixture(scope="module")
def run():
    return run_with()


def test_values_of_a_sample_are_its_bands_times_its_pixels(run):
    assert core_hours.values(run, "eurosat_ms") == 13 * 64 * 64
    assert core_hours.values(run, "bigearthnet_v1") >= 12 * 120 * 120


def test_conversion_is_a_line_in_samples(run):
    hours = [core_hours.conversion(run, {"eurosat_ms": {"train": n, "test": 10}}) for n in (0, 1_000, 2_000)]
    assert hours[2] - hours[1] == pytest.approx(hours[1] - hours[0])
    assert hours[1] > hours[0] > 0


def test_larger_samples_take_longer_to_convert(run):
    small, large = ({dataset: {"train": 1_000}} for dataset in ("eurosat_ms", "bigearthnet_v1"))
    assert core_hours.conversion(run, large) > core_hours.conversion(run, small)


def test_the_tables_that_are_counted_are_those_that_the_run_makes(run):
    scores = Evaluation(run)
    made = [*scores.all_zero_shot(), *scores.shown_tables(), *scores.tables_of_the_chosen(lambda line: f"{line}@0.5")]
    assert sum(tables for _, tables in core_hours.jobs(run).values()) == len(made) == len(set(made))


def test_a_job_scores_all_nomenclatures_and_prompt_sets_of_a_data_set(run):
    jobs = core_hours.jobs(run)
    # Three alphas and two students; three nomenclatures with two prompt sets each.
    encoders = 3 + len(run.students)
    assert jobs["zero-shot", "bigearthnet_v1"] == (encoders, 6 * encoders)
    assert jobs["zero-shot", "eurosat_ms"] == (encoders, encoders)
    assert Counter(kind for kind, dataset in jobs if dataset == "eurosat_ms").keys().isdisjoint({"linear-probe", "knn"})


def test_every_kind_of_score_has_a_cost(run):
    assert {kind for kind, _ in core_hours.jobs(run)} <= core_hours.SCORES.keys()
    assert all(cost.fixed > 0 and cost.slope > 0 for cost in core_hours.SCORES.values())


def test_retrieval_grows_with_pairs_and_the_probe_with_training_samples():
    small, large = {"train": 10, "val": 4, "test": 4}, {"train": 20, "val": 8, "test": 8}
    growth = {kind: core_hours.work(kind, large) / core_hours.work(kind, small) for kind in core_hours.SCORES}
    assert growth == {kind: 4 if kind in ("retrieval", "knn") else 2 for kind in core_hours.SCORES}


def test_a_data_set_of_unknown_size_costs_the_start_of_its_jobs(run):
    started = sum(count * core_hours.SCORES[kind].fixed for (kind, _), (count, _) in core_hours.jobs(run).items())
    assert core_hours.scoring(run, {}) == pytest.approx(started / 3600)
    sizes = {dataset: samples_of(run, dataset) for dataset in run.datasets}
    assert core_hours.scoring(run, sizes) > core_hours.scoring(run, {})


def test_one_more_alpha_costs_its_zero_shot_scores():
    run, more = run_with(), run_with({"paint": {"alphas": [0, 0.25, 0.5, 1]}})
    difference = core_hours.scoring(more, {}) - core_hours.scoring(run, {})
    assert difference == pytest.approx(2 * core_hours.SCORES["zero-shot"].fixed / 3600)
