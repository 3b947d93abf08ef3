"""Which scores share a job."""

from demo_runs import run_with

from bandbridge.config.evaluation import Evaluation
from bandbridge.config.score_jobs import rules_by_nomenclature, zero_shot_rules

PROMPTS = {"evaluate": {"datasets": {"demo_land_cover": ["satellite", "plain", "mine"]}}}
MINE = {"prompts": {"mine": ["{}"]}}
BIGEARTHNET = {
    "evaluate": {
        "datasets": {"bigearthnet_v1": ["satellite"]},
        "nomenclatures": {"bigearthnet_v1": ["bigearthnet-19", "bigearthnet-5"]},
        "linear_probe": {"datasets": ["demo_land_cover", "bigearthnet_v1"]},
    }
}


def rules(*changes):
    scores = Evaluation(run_with(*changes))
    return scores, {rule.name: rule for rule in zero_shot_rules(scores)}


def test_where_every_score_is_alone_there_is_the_common_rule_only():
    _, named = rules()
    assert list(named) == [""]
    assert set(named[""].datasets) == {"demo_land_cover", "digits"}
    assert named[""].parts == (("{nomenclature}", "{prompts}"),)
    assert (named[""].of_dataset, named[""].of_parts) == ({}, {})


def test_what_alpha_is_chosen_by_is_a_job_by_itself():
    _, named = rules(PROMPTS, MINE)
    assert set(named[""].datasets) == {"digits"}
    nomenclature = "demo-land-cover-5"
    assert named["demo_land_cover_task_0"].parts == ((nomenclature, "satellite"),)
    assert named["demo_land_cover"].parts == ((nomenclature, "plain"), (nomenclature, "mine"))


def test_every_score_is_made_by_exactly_one_rule():
    scores, named = rules(PROMPTS, MINE, BIGEARTHNET)
    made = {
        (dataset, *part)
        for rule in named.values()
        for dataset in rule.datasets
        for part in rule.parts
        if part[0] != "{nomenclature}"
    }
    listed = [part for rule in named.values() for part in rule.parts if rule.name]
    assert len(made) == len(listed)
    run = scores.run
    common = set(named[""].datasets)
    expected = {
        (dataset, nomenclature, prompts)
        for dataset in run.evaluated
        if dataset not in common
        for nomenclature in run.nomenclatures(dataset)
        for prompts in run.evaluated[dataset]
    }
    assert made == expected


def test_probes_in_several_nomenclatures_are_one_job():
    scores = Evaluation(run_with(BIGEARTHNET))
    assert scores.probed() == ["demo_land_cover", "bigearthnet_v1"]
    common, own = rules_by_nomenclature(scores, scores.probed())
    assert (common.name, common.datasets) == ("", ("demo_land_cover",))
    assert (own.name, own.nomenclatures) == ("bigearthnet_v1", ["bigearthnet-19", "bigearthnet-5"])
    assert own.of_dataset == {"dataset": "bigearthnet_v1"}
