"""What a data set's quarantine list says, by reason."""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bandbridge.untrusted import from_cell

MOST_REASONS, MOST_EXAMPLES = 20, 3
# Words with digits: numbers, and those long enough to be an id or a file's name. Names of bands are kept.
WORD_WITH_DIGITS = re.compile(r"(?=[\w./-]*\d)[\w./-]*\w")
NUMBER = re.compile(r"[-\d./x]+")
SHORTEST_ID = 8


@dataclass
class Reason:
    """Why samples were set aside, with '…' for what differs from sample to sample."""

    text: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Quarantine:
    """What was set aside: a sentence, and the reasons, the most frequent first.

    `splits` are those of the store and any others that the list names; `left_out` reasons are too many to show.
    """

    summary: str
    splits: tuple[str, ...]
    reasons: tuple[Reason, ...]
    left_out: int


def read_quarantine(path: Path, counts: Mapping[str, int]) -> Quarantine:
    """Group a quarantine list (columns id, split, reason) by reason; numbers and ids in them make no difference.

    Args:
        counts: split -> samples that are in the store.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(from_cell(row["id"]), row["split"], from_cell(row["reason"])) for row in csv.DictReader(file)]
    planned = len(rows) + sum(counts.values())
    if not rows:
        return Quarantine(f"Nothing: all {planned:,} planned samples are in the store.", tuple(counts), (), 0)
    groups: dict[tuple[str, ...], tuple[Reason, list[str]]] = {}
    for name, split, text in rows:
        fixed, varying = _taken_apart(name, text)
        reason, common = groups.setdefault(fixed, (Reason(""), varying))
        reason.counts[split] += 1
        if len(reason.examples) < MOST_EXAMPLES:
            reason.examples.append(name)
        common[:] = [one if one == other else "…" for one, other in zip(common, varying, strict=True)]
    for fixed, (reason, common) in groups.items():
        reason.text = "".join(part for pair in zip(fixed, [*common, ""], strict=True) for part in pair)
    reasons = sorted((reason for reason, _ in groups.values()), key=lambda reason: -reason.counts.total())
    others = sorted({split for _, split, _ in rows} - set(counts))
    share = percent(len(rows) / planned)
    summary = f"{len(rows):,} of {planned:,} planned samples ({share[0].lower()}{share[1:]}) are not in the store."
    return Quarantine(summary, (*counts, *others), tuple(reasons[:MOST_REASONS]), len(reasons[MOST_REASONS:]))


def _taken_apart(sample: str, reason: str) -> tuple[tuple[str, ...], list[str]]:
    """The fixed parts of a reason and, one fewer, what stands between them: numbers and ids."""
    if sample in reason:
        reason = re.sub(rf"(?<!\w){re.escape(sample)}(?!\w)", "…", reason)
    fixed, varying, end = [], [], 0
    for word in WORD_WITH_DIGITS.finditer(reason):
        if NUMBER.fullmatch(word[0]) or len(word[0]) >= SHORTEST_ID:
            fixed.append(reason[end : word.start()])
            varying.append(word[0])
            end = word.end()
    return (*fixed, reason[end:]), varying


def percent(share: float) -> str:
    """A share in per cent, as a sentence begins with it."""
    return f"{100 * share:.2g} %" if share >= 0.0001 else "Less than 0.01 %"
