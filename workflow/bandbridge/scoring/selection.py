"""Which alpha to keep, from the scores along the line (PAINT, section 3)."""

import math
from collections.abc import Sequence

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError, did_you_mean

CRITERIA = ("mean", "max_loss", "fixed")
# Scores are shares of a whole number of samples; what differs by less is rounding.
TOLERANCE = 1e-9


def select_alpha(
    alphas: Sequence[float],
    patching: Sequence[float],
    supported: Sequence[Sequence[float]],
    criterion: str,
    max_loss: float,
    fixed: float,
) -> tuple[float, str]:
    """Choose the alpha to keep; of equally good ones, the smallest.

    Args:
        alphas: in any order; 0 is among them.
        patching: headline score (0..1) on the validation split at each alpha, the mean over the patching tasks.
        supported: per supported task, its scores at each alpha.
        criterion: 'mean', the best mean of the patching score and the supported tasks' mean; 'max_loss', the best
            patching score among those alphas at which no supported task scores more than `max_loss` below its score
            at 0; 'fixed', the value of `fixed`.
        max_loss: of the criterion of that name, at least 0.
        fixed: one of `alphas`.

    Returns:
        The alpha, and a sentence with the reason.

    Raises:
        UserError: unknown criterion, `fixed` not among `alphas`, no supported task where the criterion needs one, or a
            score that the criterion needs is undefined (NaN); the message names the alpha and the task.
    """
    scores = dict(zip(alphas, patching, strict=True))
    if criterion == "fixed":
        if fixed not in scores:
            raise UserError(
                f"paint.select.alpha is {alpha_name(fixed)}, which is not in paint.alphas ({_listed(scores)})."
            )
        return (
            fixed,
            f"alpha {alpha_name(fixed)} was set beforehand; the patching task scores {scores[fixed]:.4f} with it.",
        )
    if criterion not in CRITERIA:
        hint = did_you_mean(criterion, CRITERIA)
        raise UserError(f"paint.select.criterion is '{criterion}'; allowed: {', '.join(CRITERIA)}.{hint}")
    if not supported:
        raise UserError(f"paint.select.criterion '{criterion}' weighs two tasks; without a supported one use 'fixed'.")
    each = [dict(zip(alphas, scores_of_one, strict=True)) for scores_of_one in supported]
    if not max_loss >= 0:
        raise UserError(f"paint.select.max_loss is {max_loss:g}; expected a number of at least 0.")
    _must_be_defined("the patching task", scores)
    for number, task in enumerate(each, 1):
        _must_be_defined(f"supported task {number} of {len(each)}" if len(each) > 1 else "the supported task", task)
    kept = {alpha: sum(task[alpha] for task in each) / len(each) for alpha in alphas}
    if criterion == "mean":
        best, tie = _best({alpha: (scores[alpha] + kept[alpha]) / 2 for alpha in scores})
        return best, (
            f"alpha {alpha_name(best)} has the best mean of both tasks on validation data: patching {scores[best]:.4f} "
            f"and supported {kept[best]:.4f}, against {scores[0]:.4f} and {kept[0]:.4f} at alpha 0.{tie}"
        )
    allowed = [alpha for alpha in alphas if all(task[alpha] >= task[0] - max_loss - TOLERANCE for task in each)]
    best, tie = _best({alpha: scores[alpha] for alpha in allowed})
    tasks = "the supported task" if len(each) == 1 else "each supported task"
    return best, (
        f"alpha {alpha_name(best)} has the best patching score on validation data, {scores[best]:.4f} against "
        f"{scores[0]:.4f} at alpha 0, among those that cost {tasks} at most {max_loss:g} "
        f"({kept[0]:.4f} to {kept[best]:.4f}).{tie}"
    )


def _must_be_defined(task: str, scores: dict[float, float]) -> None:
    undefined = {alpha: score for alpha, score in scores.items() if not math.isfinite(score)}
    if undefined:
        raise UserError(
            f"alpha cannot be chosen: the validation score of {task} is not defined (NaN) at alpha "
            f"{_listed(undefined)}. Its metric needs labelled samples of the classes in val; choose another task, or "
            "the criterion 'fixed'."
        )


def _best(scores: dict[float, float]) -> tuple[float, str]:
    """The smallest of the best alphas, and a sentence that names the tied ones; empty without a tie."""
    top = max(scores.values())
    best = sorted(alpha for alpha, score in scores.items() if score >= top - TOLERANCE)
    others = ", ".join(map(alpha_name, best[1:]))
    return best[0], f" A tie: the score is the same at {others}, and the smallest alpha was taken." if others else ""


def _listed(alphas: dict[float, float]) -> str:
    return ", ".join(alpha_name(alpha) for alpha in sorted(alphas))
