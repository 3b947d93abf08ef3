"""The plan of a conversion: which samples a data set should have, and in which shard of which split each belongs."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath

from bandbridge.base.checksums import open_verified
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell, from_cell
from bandbridge.catalogue.datasets import Dataset
from bandbridge.ingest.readers import Planned

# One file holds this many samples: few files for a file system's quota, and what a killed conversion may lose.
SHARD = 2_000


@dataclass(frozen=True)
class Refused:
    """A sample that is not in the store, and why: one row of the quarantine list."""

    id: str
    split: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """The samples of one file, in their order: the `number`-th of its split, of `SHARD` samples but for the last."""

    split: str
    number: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Split -> ids in order, what is refused before anything is read, and the files of samples as far as known."""

    ids: dict[str, tuple[str, ...]]
    refused: tuple[Refused, ...]
    paths: Mapping[str, str] = field(default_factory=dict)  # id -> path

    def shards(self) -> list[Shard]:
        return [
            Shard(split, number, ids[start : start + SHARD])
            for split, ids in self.ids.items()
            for number, start in enumerate(range(0, len(ids), SHARD))
        ]

    def share(self, job: int, jobs: int) -> list[Shard]:
        """The shards of one of several jobs (counted from 0): neighbours, and as even as possible between jobs."""
        shards = self.shards()
        return shards[len(shards) * job // jobs : len(shards) * (job + 1) // jobs]


def make_plan(dataset: Dataset, planned: Iterable[Planned]) -> Plan:
    """Sort what a reader plans by split and id; refuse unknown splits, and ids that occur more than once.

    Raises:
        UserError: nothing is planned.
    """
    ids: dict[str, list[str]] = {split: [] for split in dataset.splits}
    refused, paths = [], {}
    everything = sorted(planned, key=lambda sample: sample.id)
    if not everything:
        raise UserError(f"{dataset.name}: its lists and archives name no sample; check the data set's options")
    for name, group in groupby(everything, key=lambda sample: sample.id):
        same = list(group)
        splits = sorted(sample.split for sample in same)
        unknown = [split for split in splits if split not in ids]
        if unknown:
            reason = f"split is '{unknown[0]}', expected one of {', '.join(dataset.splits)}"
            refused.append(Refused(name, unknown[0], reason))
        elif len(splits) > 1:
            reason = f"id occurs {len(splits)} times, in {_listed(splits)}{_whose(same)}"
            refused += [Refused(name, split, reason) for split in splits]
        else:
            ids[splits[0]].append(name)
            if same[0].path:
                paths[name] = same[0].path
    return Plan({split: tuple(names) for split, names in ids.items()}, tuple(refused), paths)


def _whose(same: Sequence[Planned]) -> str:
    """What the files of samples with one id suggest to do."""
    files = {sample.path for sample in same if sample.path}
    endings = sorted({PurePosixPath(file).suffix for file in files})
    if len(endings) > 1:
        return f", of files that end in {' and '.join(endings)}; name those that count"
    is_one = len(files) == 1 and len({sample.split for sample in same}) == 1
    return ", of one file; a sample has one row, with all its classes" if is_one else ""


def _listed(splits: Sequence[str]) -> str:
    return ", ".join(sorted(set(splits)))


def save_plan(path: Path, plan: Plan) -> None:
    """Write a plan as CSV: id, split, for what is refused the reason, and the path where it is known."""
    with whole_file(path, checked=True) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "reason", "path"])
        writer.writerows(
            [as_cell(name), split, "", as_cell(plan.paths.get(name, ""))]
            for split, ids in plan.ids.items()
            for name in ids
        )
        writer.writerows([as_cell(item.id), item.split, as_cell(item.reason), ""] for item in plan.refused)


def load_plan(path: Path, dataset: Dataset) -> Plan:
    """Read what `save_plan` wrote; plans of earlier versions have no paths."""
    ids: dict[str, list[str]] = {split: [] for split in dataset.splits}
    refused, paths = [], {}
    with open_verified(path) as file:
        for row in csv.DictReader(file):
            if row["reason"]:
                refused.append(Refused(from_cell(row["id"]), row["split"], from_cell(row["reason"])))
            else:
                ids[row["split"]].append(name := from_cell(row["id"]))
                if member := row.get("path"):
                    paths[name] = from_cell(member)
    return Plan({split: tuple(names) for split, names in ids.items()}, tuple(refused), paths)
