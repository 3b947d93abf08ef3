"""A data set's quarantine list, by reason."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bandbridge.base.checksums import open_verified
from bandbridge.base.errors import UserError
from bandbridge.base.reasons import Reason, group_reasons
from bandbridge.base.untrusted import from_cell

MOST_REASONS = 20


@dataclass(frozen=True)
class Quarantine:
    """The quarantined samples of a data set.

    Attributes:
        summary: a sentence.
        splits: those of the store and any others in the list.
        reasons: the most frequent first.
        left_out: number of further reasons.
    """

    summary: str
    splits: tuple[str, ...]
    reasons: tuple[Reason, ...]
    left_out: int


def read_quarantine(path: Path, counts: Mapping[str, int]) -> Quarantine:
    """Group a quarantine list (columns id, split, reason) by reason, ignoring numbers and ids in the reasons.

    Args:
        path: of the list.
        counts: split -> samples in the store.

    Raises:
        UserError: the list is missing.
    """
    if not path.exists():
        raise UserError(f"{path} not found; it is written with its store: delete the store's zarr.json, and run again")
    with open_verified(path) as file:
        rows = [(from_cell(row["id"]), row["split"], from_cell(row["reason"])) for row in csv.DictReader(file)]
    planned = len(rows) + sum(counts.values())
    if not rows:
        return Quarantine(f"Nothing: all {planned:,} planned samples are in the store.", tuple(counts), (), 0)
    reasons = group_reasons(rows)
    others = sorted({split for _, split, _ in rows} - set(counts))
    share = rough_percent(len(rows) / planned)
    summary = f"{len(rows):,} of {planned:,} planned samples ({share[0].lower()}{share[1:]}) are not in the store."
    return Quarantine(summary, (*counts, *others), tuple(reasons[:MOST_REASONS]), len(reasons[MOST_REASONS:]))


def rough_percent(share: float) -> str:
    """A share in percent with two digits, as the beginning of a sentence."""
    return f"{100 * share:.2g} %" if share >= 0.0001 else "Less than 0.01 %"
