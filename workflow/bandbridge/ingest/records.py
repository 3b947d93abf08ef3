"""What is known of each sample of a share while a data set is converted, and the file that keeps it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.npz import load_npz, save_npz
from bandbridge.store.shard_writer import HASH_BYTES

MISSING, GOOD, BAD = 0, 1, 2


@dataclass(eq=False)
class Records:
    """What is known of each sample of a share, in the order of the plan; arrays, because there may be a million.

    Attributes:
        state: `MISSING`, `GOOD` or `BAD`.
        place: (sample, 2) where the chunk begins in its shard's file, and its length.
        hash: (sample, HASH_BYTES) of the chunk.
        has_crc: whether the chunk ends in its CRC-32C, which those of earlier versions do not.
        form: which of `forms`, the shapes and number types that occur, a sample has; -1 without pixels.
        labels: (sample, class) uint8; `labelled` says where they are known.
        centre: (sample, 2) latitude and longitude, NaN where unknown.
        date: ISO 8601, empty where unknown.
        valid: the share of pixels that hold data in all bands, -1 where no statement implies missing data.
        made: which of `radiometries`, what was made of the file's numbers, a sample has; 0 is nothing.
        small: whether its values are of another unit than most: below `convert.SMALL`, as of reflectance from 0 to 1;
            where decibels of Sentinel-1 are expected, none below zero and half below 1, as of linear backscatter.
        system: which of `systems`, reference systems, its pixels' grid is in; -1 where unknown.
        transform: (sample, 6) of that grid, as `places.Grid` has it.
        reasons: sample -> why it is `BAD`.
    """

    OF_A_SHARE: ClassVar[tuple[str, ...]] = ("forms", "reasons", "radiometries", "systems")  # not one per sample

    state: NDArray[np.uint8]
    place: NDArray[np.uint64]
    hash: NDArray[np.uint8]
    has_crc: NDArray[np.bool_]
    form: NDArray[np.int16]
    labels: NDArray[np.uint8]
    labelled: NDArray[np.bool_]
    centre: NDArray[np.float64]
    date: NDArray[np.str_]
    valid: NDArray[np.float64]
    made: NDArray[np.int16]
    small: NDArray[np.bool_]
    system: NDArray[np.int16]
    transform: NDArray[np.float64]
    radiometries: list[str]
    systems: list[str]
    forms: list[str]
    reasons: dict[int, str]

    @classmethod
    def empty(cls, samples: int, classes: int) -> "Records":
        return cls(
            state=np.zeros(samples, np.uint8),
            place=np.zeros((samples, 2), np.uint64),
            hash=np.zeros((samples, HASH_BYTES), np.uint8),
            has_crc=np.ones(samples, np.bool_),
            form=np.full(samples, -1, np.int16),
            labels=np.zeros((samples, classes), np.uint8),
            labelled=np.zeros(samples, np.bool_),
            centre=np.full((samples, 2), np.nan),
            date=np.zeros(samples, "<U32"),
            **_unknown(samples),
            forms=[],
            reasons={},
        )

    def enter(self, line: Mapping[str, Any]) -> None:
        """Apply one line of the journal."""
        at = line["at"]
        if "reason" in line:
            self.state[at] = BAD
            self.reasons[at] = line["reason"]
            return
        self.state[at] = GOOD
        if line["form"] is not None:
            if line["form"] not in self.forms:
                self.forms.append(line["form"])
            self.form[at] = self.forms.index(line["form"])
            self.place[at] = line["place"]
            self.hash[at] = np.frombuffer(bytes.fromhex(line["hash"]), np.uint8)
        if line["labels"] is not None:
            self.labelled[at] = True
            self.labels[at, line["labels"]] = 1
        if line["centre"] is not None:
            self.centre[at] = line["centre"]
        self.date[at] = line["date"] or ""
        self.valid[at] = line.get("valid", -1.0)
        self.made[at] = _place(self.radiometries, line.get("radiometry", ""))
        self.small[at] = line.get("small", False)
        if "grid" in line:
            system, *transform = line["grid"]
            self.system[at] = _place(self.systems, system)
            self.transform[at] = transform


def _place(names: list[str], name: str) -> int:
    """The index of a name in a list, to which it is appended if it is new."""
    if name not in names:
        names.append(name)
    return names.index(name)


def _unknown(samples: int) -> dict[str, Any]:
    """What is known of samples whose files state nothing of their pixels, as of stores of earlier versions."""
    return {
        "valid": np.full(samples, -1.0),
        "made": np.zeros(samples, np.int16),
        "small": np.zeros(samples, np.bool_),
        "system": np.full(samples, -1, np.int16),
        "transform": np.zeros((samples, 6)),
        "radiometries": [""],
        "systems": [],
    }


def save_records(path: Path, records: Records) -> None:
    reasons = json.dumps(sorted(records.reasons.items()))
    arrays: dict[str, Any] = {name: value for name, value in vars(records).items() if isinstance(value, np.ndarray)}
    lists = {name: np.array(json.dumps(getattr(records, name))) for name in ("radiometries", "systems")}
    save_npz(path, {**arrays, **lists, "forms": np.array(records.forms, "<U64"), "reasons": np.array(reasons)})


def load_records(path: Path) -> Records:
    """Read what `save_records` wrote."""
    content: dict[str, Any] = load_npz(path)
    content.setdefault("has_crc", np.zeros(len(content["state"]), np.bool_))
    for name in ("radiometries", "systems"):
        if name in content:
            content[name] = json.loads(str(content[name]))
    content = {**_unknown(len(content["state"])), **content}
    content["forms"] = content["forms"].tolist()
    content["reasons"] = dict(json.loads(str(content["reasons"])))
    return Records(**content)
