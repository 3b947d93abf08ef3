"""PAINT curves, as the patching stage wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bandbridge.base.checksums import verify
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.base.paths import EncoderName
from bandbridge.reporting.tables.model import metric_name


@dataclass(frozen=True)
class Curve:
    """One PAINT curve: the rows of curve.csv, the selected alpha, and the reason for it."""

    clip: str
    dataset: str
    points: pd.DataFrame = field(repr=False)
    selected: float
    reason: str

    @property
    def chosen(self) -> str:
        """The encoder at the selected alpha."""
        return str(EncoderName(self.clip, self.selected))

    @property
    def has_supported(self) -> bool:
        return bool(self.points["supported_val"].notna().any() or self.points["supported_test"].notna().any())

    def metric(self, task: str) -> str:
        """Name of the metric of the 'patching' or the 'supported' task."""
        return metric_name(next(iter(self.points[f"{task}_metric"].dropna()), ""))

    def at(self, alpha: float) -> pd.Series:
        """The row of the grid point nearest to `alpha`."""
        return self.points.iloc[int(np.argmin(np.abs(self.points["alpha"] - alpha)))]


def read_curves(curves: Sequence[Path], selected: Sequence[Path]) -> list[Curve]:
    """The curves of PAINT lines from their curve.csv and, in the same order, selected.json.

    Raises:
        UserError: a selected.json does not say which line it is of.
    """
    return [read_curve(*files) for files in zip(curves, selected, strict=True)]


def read_curve(table: Path, choice: Path, line: str | None = None, datasets: Sequence[str] = ()) -> Curve:
    """The curve of one line.

    Args:
        table: its curve.csv.
        choice: its selected.json.
        line: its name, if an earlier version wrote the choice without it.
        datasets: its data sets, likewise.

    Raises:
        UserError: neither the choice nor `line` names the line.
    """
    chosen = read_json(choice)
    line, datasets = chosen.get("line", line), chosen.get("datasets", datasets)
    if line is None:
        raise UserError(f"{choice} does not name its line: an earlier version wrote it. Repeat that run.")
    verify(table)
    points = pd.read_csv(table).sort_values("alpha", ignore_index=True)
    return Curve(line, "+".join(datasets), points, float(chosen["alpha"]), chosen.get("reason", ""))
