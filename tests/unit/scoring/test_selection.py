"""Choosing alpha."""

import pytest

from bandbridge.base.errors import UserError
from bandbridge.scoring.selection import select_alpha

ALPHAS = [0.0, 0.25, 0.5, 0.75, 1.0]
PATCHING = [0.30, 0.40, 0.50, 0.60, 0.55]
SUPPORTED = [[0.90, 0.90, 0.89, 0.80, 0.50]]


def test_mean_takes_the_best_mean_of_both_tasks():
    alpha, reason = select_alpha(ALPHAS, PATCHING, SUPPORTED, "mean", 0.01, 0.5)
    assert alpha == 0.75
    assert "0.6000" in reason
    assert "0.8000" in reason


@pytest.mark.parametrize(("max_loss", "expected"), [(0.0, 0.25), (0.01, 0.5), (0.1, 0.75), (1.0, 0.75)])
def test_max_loss_takes_the_best_patching_score_among_those_that_keep_the_supported_one(max_loss, expected):
    alpha, reason = select_alpha(ALPHAS, PATCHING, SUPPORTED, "max_loss", max_loss, 0.5)
    assert alpha == expected
    assert f"{max_loss:g}" in reason


def test_no_supported_task_of_several_may_lose_more_than_the_limit():
    """The second task alone forbids what the first, and the mean of both, would allow."""
    other = [0.50, 0.49, 0.45, 0.45, 0.45]
    assert select_alpha(ALPHAS, PATCHING, [SUPPORTED[0], other], "max_loss", 0.01, 0.5)[0] == 0.25
    better = [0.50, 0.60, 0.70, 0.80, 0.90]
    assert select_alpha(ALPHAS, PATCHING, [SUPPORTED[0], better], "mean", 0.01, 0.5)[0] == 0.75


def test_a_loss_of_exactly_the_limit_is_allowed():
    assert select_alpha([0, 1], [0.1, 0.2], [[0.3, 0.1 + 0.1]], "max_loss", 0.1, 0)[0] == 1


def test_fixed_needs_no_supported_task():
    alpha, reason = select_alpha(ALPHAS, PATCHING, [], "fixed", 0.01, 0.5)
    assert alpha == 0.5
    assert "0.5000" in reason


@pytest.mark.parametrize("criterion", ["mean", "max_loss"])
def test_of_equally_good_alphas_the_smallest_is_taken(criterion):
    assert select_alpha([1, 0.5, 0], [0.4, 0.4, 0.2], [[0.6, 0.6, 0.6]], criterion, 0, 0)[0] == 0.5


@pytest.mark.parametrize("criterion", ["mean", "max_loss"])
def test_a_tie_is_said_with_the_alphas_that_score_the_same(criterion):
    tie = "A tie: the score is the same at 0.5, 1, and the smallest alpha was taken."
    chosen, reason = select_alpha([1, 0.5, 0.25, 0], [0.4, 0.4, 0.4, 0.2], [[0.6] * 4], criterion, 0, 0)
    assert chosen == 0.25
    assert reason.endswith(tie)
    assert "tie" not in select_alpha([0.5, 0], [0.4, 0.2], [[0.6, 0.6]], criterion, 0, 0)[1]


def test_rounding_breaks_no_tie():
    patching = [0.1, 0.3, 0.1 + 0.2]
    assert select_alpha([0, 0.5, 1], patching, [[0.5, 0.5, 0.5]], "mean", 0, 0)[0] == 0.5


@pytest.mark.parametrize("criterion", ["mean", "max_loss"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_score_that_is_not_defined_is_named_with_its_task_and_alpha(criterion, place):
    broken = [float("nan") if at == place else score for at, score in enumerate(PATCHING)]
    alpha = f"{ALPHAS[place]:g}"
    with pytest.raises(UserError, match=rf"the patching task is not defined \(NaN\) at alpha {alpha}\."):
        select_alpha(ALPHAS, broken, SUPPORTED, criterion, 0.01, 0.5)
    with pytest.raises(UserError, match=rf"supported task 2 of 2 is not defined \(NaN\) at alpha {alpha}\."):
        select_alpha(ALPHAS, PATCHING, [*SUPPORTED, broken], criterion, 0.01, 0.5)


@pytest.mark.parametrize("max_loss", [float("nan"), -0.1])
def test_a_loss_that_no_alpha_can_keep_is_refused(max_loss):
    with pytest.raises(UserError, match=r"paint\.select\.max_loss is (nan|-0\.1); expected a number of at least 0"):
        select_alpha(ALPHAS, PATCHING, SUPPORTED, "max_loss", max_loss, 0.5)


@pytest.mark.parametrize("criterion", ["mean", "max_loss"])
def test_a_criterion_of_two_tasks_needs_both(criterion):
    with pytest.raises(UserError, match="fixed"):
        select_alpha(ALPHAS, PATCHING, [], criterion, 0.01, 0.5)


def test_a_fixed_alpha_off_the_grid_is_refused():
    with pytest.raises(UserError, match=r"0\.3.*0\.25"):
        select_alpha(ALPHAS, PATCHING, [], "fixed", 0.01, 0.3)


def test_a_misspelt_criterion_is_explained():
    with pytest.raises(UserError, match=r"'meen'.*Did you mean 'mean'"):
        select_alpha(ALPHAS, PATCHING, SUPPORTED, "meen", 0.01, 0.5)
