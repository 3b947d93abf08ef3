"""The presets that are laid over the paper's experiment change what they are for, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from configs import ROOT, config_with

from bandbridge.config.checks import validate
from bandbridge.config.run import Run
from bandbridge.config.run_notes import run_notes
from bandbridge.config.scored import evaluated, scored_nomenclatures


def laid_over_the_paper(*names: str) -> dict[str, Any]:
    presets = (ROOT / f"workflow/presets/{name}.yaml" for name in ("paper", *names))
    return validate(config_with(*(yaml.safe_load(preset.read_text()) for preset in presets)))


PAPER = laid_over_the_paper()
OF_THE_REPORT = {"run", "report.title", "report.description"}


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Dotted keys whose values differ, or that only one has."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    elif one != other:
        yield path


@pytest.mark.parametrize(
    ("preset", "task"),
    [("paper-sen12ms", ("sen12ms", "igbp-simplified-10")), ("paper-eurosat", ("eurosat_ms", "eurosat-10"))],
)
def test_another_patching_data_set_changes_the_task_and_its_warm_ups_alone(preset: str, task: tuple[str, str]):
    config = laid_over_the_paper(preset)
    patching = config["tasks"]["patching"]
    assert (patching["dataset"], patching["nomenclature"]) == task
    assert set(differences(PAPER, config)) == OF_THE_REPORT | {
        "tasks.patching.dataset",
        "tasks.patching.nomenclature",
        "finetune.warmup_steps",
        "align.warmup_steps",
    }
    shorter = [config[stage]["warmup_steps"] / PAPER[stage]["warmup_steps"] for stage in ("finetune", "align")]
    assert shorter[0] == pytest.approx(shorter[1], rel=0.05)


@pytest.mark.parametrize("preset", ["paper-sentinel-1", "paper-sen12ms", "paper-eurosat"])
def test_ablations_are_scored_as_the_paper_so_that_their_runs_stand_in_one_table(preset: str):
    config = laid_over_the_paper(preset)
    assert evaluated(config) == evaluated(PAPER)
    for dataset in evaluated(PAPER):
        assert scored_nomenclatures(config, dataset) == scored_nomenclatures(PAPER, dataset)


def test_students_of_the_two_sensors_differ_in_what_they_see_alone():
    config = laid_over_the_paper("paper-sentinel-1")
    students = config["align"]["students"]
    radar, optical, published = (
        students[name] for name in ("vit-small-sentinel-1", "vit-small-sentinel-2", "ssl4eo-vit-small")
    )
    assert (radar["modality"], radar["bands"]) == ("s1", ["VV", "VH"])
    assert set(differences(radar, optical)) == {"modality", "bands", "scaling"}
    assert set(differences(optical, published)) == {"pretrained"}
    assert published == PAPER["align"]["students"]["ssl4eo-vit-small"]


def test_the_student_of_sentinel_1_encodes_the_data_sets_that_have_it():
    run = Run(laid_over_the_paper("paper-sentinel-1"))
    encoded = {dataset for dataset in run.evaluated if "vit-small-sentinel-1" in run.students_of(dataset)}
    assert encoded == {"bigearthnet_v1", "sen12ms"}


def test_the_run_says_where_the_student_of_sentinel_1_is_not_scored():
    config = laid_over_the_paper("paper-sentinel-1")
    assert {note for note in run_notes(config) if note.startswith("vit-small-sentinel-1 ")} == {
        "vit-small-sentinel-1 is not scored on eurosat_ms, which has no s1, only s2.",
        "vit-small-sentinel-1 is not scored on imagenet, which has only RGB images.",
    }
