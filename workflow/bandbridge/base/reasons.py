"""Reasons of quarantined samples, grouped: one line for reasons that differ only in numbers and ids."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_EXAMPLES = 3
# Words with digits: numbers, and words long enough to be an id or a file name. Names of bands are kept.
WORD_WITH_DIGITS = re.compile(r"(?=[\w./-]*\d)[\w./-]*\w")
NUMBER = re.compile(r"[-\d./x]+")
SHORTEST_ID = 8
# Names that a library makes up for objects in memory, different ones each time.
MADE_UP = re.compile(r"""\s*(?:'|"|\b)?(?:<[\w.]+ object at 0x[0-9a-f]+>|/vsimem/[\w./-]*\w)['"]?""")


@dataclass
class Reason:
    """A reason why samples were quarantined, with '…' for what differs between samples.

    Attributes:
        text: the reason.
        counts: split -> number of samples.
        examples: ids of the first samples.
    """

    text: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def without_made_up_names(reason: str) -> str:
    """A reason without names that differ each time the sample is read."""
    return MADE_UP.sub("", reason)


def group_reasons(rows: Iterable[tuple[str, str, str]]) -> list[Reason]:
    """The reasons of a quarantine list's rows (id, split, reason), the most frequent first."""
    groups: dict[tuple[str, ...], tuple[Reason, list[str]]] = {}
    for name, split, text in rows:
        fixed, varying = _split_reason(name, text)
        reason, common = groups.setdefault(fixed, (Reason(""), varying))
        reason.counts[split] += 1
        if len(reason.examples) < MOST_EXAMPLES:
            reason.examples.append(name)
        common[:] = [one if one == other else "…" for one, other in zip(common, varying, strict=True)]
    for fixed, (reason, common) in groups.items():
        reason.text = "".join(part for pair in zip(fixed, [*common, ""], strict=True) for part in pair)
    return sorted((reason for reason, _ in groups.values()), key=lambda reason: -reason.counts.total())


def _split_reason(sample: str, reason: str) -> tuple[tuple[str, ...], list[str]]:
    """The fixed parts of a reason, and the numbers and ids between them, one fewer."""
    if sample in reason:
        reason = re.sub(rf"(?<!\w){re.escape(sample)}(?!\w)", "…", reason)
    fixed, varying, end = [], [], 0
    for word in WORD_WITH_DIGITS.finditer(reason):
        if NUMBER.fullmatch(word[0]) or len(word[0]) >= SHORTEST_ID:
            fixed.append(reason[end : word.start()])
            varying.append(word[0])
            end = word.end()
    return (*fixed, reason[end:]), varying
