"""Whatever is wrong in a configuration: it is refused with a sentence, or a run can follow it."""

import os
from pathlib import Path
from random import Random
from typing import Any

import mutated_configs
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_configs import CannotRunError, Mutant, mutant, run_in_small, students_can_be_built
from snakemake_starts import snakemake

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import merged
from bandbridge.config.checks import validate
from bandbridge.models.model_checks import student_fault

MUTANTS = st.randoms(use_true_random=False).map(mutant)


def judge(changed: Mutant) -> None:
    config, faults = judged(changed.config)
    for fault in faults:
        assert fault.startswith("config.yaml: ")
        assert len(fault) > len("config.yaml: ") + 10
    if faults:
        return
    if students_can_be_built(config, student_fault):
        run_in_small(config)


@pytest.mark.parametrize("kind", sorted(mutated_configs.CHANGES))
def test_a_mistake_is_refused_or_a_run_can_follow_it(kind: str):
    random = Random(kind)  # the same ones each time
    for _ in range(2):
        judge(mutant(random, kind))


@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
@given(MUTANTS)
def test_no_mistake_ends_in_a_traceback(changed: Mutant):
    judge(changed)


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
@given(MUTANTS)
def test_of_many_mistakes_none_ends_in_a_traceback(changed: Mutant):
    judge(changed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_snakemake_plans_what_is_accepted_and_shows_no_traceback_for_the_rest(seed: int, tmp_path: Path):
    changed = mutant(Random(f"dry run {seed}"))
    file = tmp_path / "mutant.yaml"
    file.write_text(yaml.safe_dump(changed.config), encoding="utf-8")
    # The clone's Snakefile takes no other copy of the package, which may be installed.
    environment = os.environ | {"PYTHONPATH": str(mutated_configs.ROOT / "workflow")}
    done = snakemake("--dry-run", "--nolock", "--configfile", str(file), cwd=mutated_configs.ROOT, env=environment)
    output = done.stdout + done.stderr
    # Snakemake lays the file over config.yaml.
    config, faults = judged(merged(mutated_configs.DEMO, changed.config))
    if faults:
        assert done.returncode != 0
        assert faults[-1].split(": ", 1)[1] in output
    elif students_can_be_built(config, student_fault):
        assert done.returncode == 0, output
    assert "Traceback" not in output


def judged(content: Any) -> tuple[dict[str, Any], list[str]]:
    """The configuration if it is valid, and its faults."""
    try:
        return validate(content), []
    except UserError as error:
        return {}, str(error).splitlines()


def test_what_could_not_run_is_told_from_what_can():
    """The judge itself: it lets the configurations of the repository pass, and stops what it should stop."""
    for config in mutated_configs.BASES[-len(mutated_configs.PRESETS) - 1 :]:
        run_in_small(validate(config))
    wrong = validate(mutated_configs.DEMO)
    for path, value in (
        ("paint/alphas", [0, 0.1, 0.1, 1]),
        ("finetune/batch_size", 0),
        ("log_root", wrong["results_root"]),
        ("seed", -1),
    ):
        section, _, name = path.rpartition("/")
        changed = {**wrong, section: {**wrong[section], name: value}} if section else {**wrong, name: value}
        with pytest.raises((CannotRunError, ValueError)):
            run_in_small(changed)
