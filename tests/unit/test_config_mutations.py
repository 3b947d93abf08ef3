"""Whatever is wrong in a configuration: it is refused with a sentence, or a run can follow it."""

from random import Random

import mutated_configs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_configs import CannotRunError, Mutant, mutant, run_in_small, students_can_be_built

from bandbridge.config import validate
from bandbridge.errors import UserError
from bandbridge.model_checks import student_fault

MUTANTS = st.randoms(use_true_random=False).map(mutant)


def judge(changed: Mutant) -> None:
    try:
        config = validate(changed.config)
    except UserError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith("config.yaml: ") and len(line) > len("config.yaml: ") + 10 for line in lines)
        return
    if students_can_be_built(config, student_fault):
        run_in_small(config)


@pytest.mark.parametrize("kind", sorted(mutated_configs.CHANGES))
def test_a_mistake_is_refused_or_a_run_can_follow_it(kind: str):
    # The same ones each time, so that every kind has its share.
    random = Random(kind)
    found = 0
    while found < 2:
        changed = mutant(random)
        if kind in changed.kinds:
            judge(changed)
            found += 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(MUTANTS)
def test_no_mistake_ends_in_a_traceback(changed: Mutant):
    judge(changed)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(MUTANTS)
def test_of_two_thousand_mistakes_none_ends_in_a_traceback(changed: Mutant):
    judge(changed)


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
