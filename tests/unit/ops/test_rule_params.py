"""Params of rules: of a job's seed, of a part of the configuration, and those whose changes rerun nothing."""

import inspect

import pytest

from bandbridge.base.locations import WORKFLOW
from bandbridge.ops.rule_params import code_of, config_of, how_it_trains, seed_of, shown, unrecorded, without


def test_a_seed_is_the_jobs_or_the_configurations():
    config = {"seed": 3, "run": "a"}
    assert seed_of(config)({}) == 3
    assert seed_of(config)({"seed": "7"}) == 7
    assert config_of(config)({"seed": "7"}) == {"seed": 7, "run": "a"}


def test_a_stage_does_not_see_the_keys_that_it_does_not_read():
    values = {"epochs": 2, "students": {}}
    assert without(values, "students", "task") == {"epochs": 2}
    assert without(None, "students") == {}


def test_what_reruns_nothing_is_computed_from_outputs():
    for param in (*how_it_trains({"gpus": 2, "nodes": 1, "tensorboard": True}).values(), unrecorded(5)):
        assert list(inspect.signature(param).parameters) == ["wildcards", "output"]
    assert unrecorded(5)({}, []) == 5
    assert unrecorded(lambda wildcards: wildcards["line"])({"line": "a"}, []) == "a"


@pytest.mark.skipif(not (WORKFLOW / "scripts").is_dir(), reason="an installed package has no scripts")
def test_a_script_has_one_version():
    version = code_of("tables")({})
    assert version == code_of("tables")({"seed": "1"})
    assert version != code_of("report")({})


def test_a_message_names_the_data_set_or_its_wildcard():
    assert (shown("eurosat"), shown("{dataset}")) == ("eurosat", "{wildcards.dataset}")
