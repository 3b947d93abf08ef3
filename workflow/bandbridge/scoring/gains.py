"""From draws to rows of the metrics table: paired gains of one encoder over another, with intervals and p values."""

from collections.abc import Mapping, Sequence
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.paths import EncoderName, line_chosen_on, zero_shot
from bandbridge.metrics.intervals import paired_difference
from bandbridge.scoring.draws import HeadlineDraws
from bandbridge.scoring.rows import Row

References = Mapping[str, Mapping[str, str]]

_TASK = ("dataset", "nomenclature", "prompts")
# What must agree for two encoders' draws to be of the same half-samples.
_SAME = ("seed", "resamples", "store_digest", "metric")


def with_selected(
    references: References, alphas: Mapping[str, float], starts: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """References in which `<line>@selected` is the encoder at the line's selected alpha.

    Args:
        references: as for `gain_rows`.
        alphas: line -> its selected alpha.
        starts: line -> its encoder at alpha 0, where that has another name than `<line>@0`.

    Raises:
        UserError: a line is missing from `alphas`.
    """

    def resolved(encoder: str) -> str:
        line = line_chosen_on(encoder)
        if line is None:
            return encoder
        if line not in alphas:
            lines = ", ".join(sorted(alphas)) or "no line"
            raise UserError(f"{encoder}: no alpha was selected for {line}, but for {lines}. Pass its selected.json.")
        return str(EncoderName(line, alphas[line])) if alphas[line] else starts.get(line, zero_shot(line))

    return {
        resolved(encoder): {kind: resolved(name) for kind, name in kinds.items()}
        for encoder, kinds in references.items()
    }


def gain_rows(draws: Sequence[HeadlineDraws], references: References, level: float) -> list[Row]:
    """Rows of paired differences of the headline on test (val without a test split), under the improved encoder's name.

    Args:
        draws: of encoders and of their references, on any number of data sets.
        references: encoder -> name of the gain (`gain`, `gain_over_patched`) -> the encoder it is compared with.
        level: of the intervals, 0..1.

    Raises:
        UserError: an encoder without draws, a reference not scored on the same task, or draws of other half-samples.
    """
    scored = {(part.meta["encoder"], *(part.meta[key] for key in _TASK)): part for part in draws}
    missing = {name for encoder, kinds in references.items() for name in (encoder, *kinds.values())}
    missing -= {encoder for encoder, *_ in scored}
    if missing:
        raise UserError(f"No draws of {', '.join(sorted(missing))}: gains need its zero-shot scores. Score it first.")
    rows: list[Row] = []
    for (encoder, *task), ours in scored.items():
        for kind, name in references.get(encoder, {}).items():
            reference = scored.get((name, *task))
            if reference is None:
                raise UserError(
                    f"{encoder} is scored on {' / '.join(task)} (data set / nomenclature / prompts) and {name}, which "
                    "it is compared with, is not. Score both."
                )
            rows += _gain(ours, reference, kind, level)
    return rows


def _gain(ours: HeadlineDraws, reference: HeadlineDraws, kind: str, level: float) -> list[Row]:
    split = "test" if "test" in ours.meta["n"] else "val"
    _must_be_paired(ours, reference, split)
    meta = ours.meta
    gain = paired_difference(
        ours.estimates[split], reference.estimates[split], ours.resampled[split], reference.resampled[split], level
    )
    named = {key: meta[key] for key in ("run", "encoder", "clip", "alpha", "modality", "seed", *_TASK)}
    named |= {"split": split, "task": "zero-shot", "n": meta["n"][split], "units": ours.estimates[split].units}
    metric = f"{meta['metric']}_{kind}"
    return [
        Row(**named, metric=metric, value=gain.value, ci_low=gain.low, ci_high=gain.high),
        Row(**named, metric=f"{metric}_p", value=gain.p),
    ]


def _must_be_paired(ours: HeadlineDraws, reference: HeadlineDraws, split: str) -> None:
    def facts(draws: HeadlineDraws) -> dict[str, Any]:
        return {"n": draws.meta["n"].get(split), **{key: draws.meta[key] for key in _SAME}}

    mine, theirs = facts(ours), facts(reference)
    other = [key for key in mine if mine[key] != theirs[key]]
    if other:
        differences = "; ".join(f"{key} {mine[key]} and {theirs[key]}" for key in other)
        names = f"{ours.meta['encoder']} and {reference.meta['encoder']}"
        raise UserError(
            f"The draws of {names} on {ours.meta['dataset']} ({split}) are not of the same half-samples: "
            f"{differences}. Score both again, with one seed and one store."
        )
