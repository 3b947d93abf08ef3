"""The tidy metrics table: one number per row, written byte for byte reproducibly and read back as one data frame."""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bandbridge.base.alphas import alpha_name
from bandbridge.base.checksums import open_verified
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell, from_cell

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run",
    "encoder",
    "clip",
    "alpha",
    "dataset",
    "modality",
    "split",
    "task",
    "nomenclature",
    "prompts",
    "metric",
    "class",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "units",
    "seed",
)
# A metric that is a count: samples without a label in the nomenclature, which are not scored. `n` counts the others.
LEFT_OUT = "unlabelled_samples"
_NUMBERS = ("alpha", "value", "ci_low", "ci_high", "units")
_WHOLE_NUMBERS = ("n", "seed")
_TEXTS = [column not in (*_NUMBERS, *_WHOLE_NUMBERS) for column in COLUMNS]
_KEY = COLUMNS[: COLUMNS.index("value")]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of metrics.csv and what identifies it; an empty string or None where a column does not apply.

    `value` is a fraction 0..1 (a rank for median_rank, a ratio for lift, a difference for gains, a p value for `_p`),
    NaN where the metric is undefined: the row is kept, its value empty. `n` is the number of samples behind the value;
    on a row with a `class_`, of those that carry the class (in task words: the class that the word stands for). `units`
    is the number of independent units behind an interval over samples: samples, or blocks of neighbouring ones; for a
    mean over classes, those that carry its rarest class.
    """

    run: str
    encoder: str
    clip: str
    alpha: float | None = None
    dataset: str
    modality: str
    split: str
    task: str
    nomenclature: str = ""
    prompts: str = ""
    metric: str
    class_: str = ""
    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    n: int
    units: int | None = None
    seed: int

    def cells(self) -> list[str]:
        """The row's cells in the order of COLUMNS; numbers with 10 significant digits, alpha exactly."""
        cells = {column: format_cell(getattr(self, "class_" if column == "class" else column)) for column in COLUMNS}
        return list({**cells, "alpha": "" if self.alpha is None else alpha_name(self.alpha)}.values())


def format_cell(value: str | float | None) -> str:
    """A cell of a CSV file: numbers with 10 significant digits, empty for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, sorted, so that the same rows in any order give the same bytes.

    A name that a spreadsheet would take for a formula gets a leading apostrophe, see `untrusted.as_cell`.

    Raises:
        UserError: two rows differ only in their numbers.
    """
    _write_cells(path, [row.cells() for row in rows])


def merge_rows(paths: Sequence[Path], table: Path) -> None:
    """Concatenate partial tables into one, cell for cell.

    Raises:
        UserError: a file has other columns, or a row is in two files.
    """
    _write_cells(table, [cells for path in paths for cells in _read_cells(path)])


def read_rows(paths: Iterable[Path]) -> "pd.DataFrame":
    """The rows of several tables as one data frame: numbers float64, `n` and `seed` integers, all else text."""
    # Imported late: scoring writes rows without pandas, whose import takes longer than a small score.
    import pandas as pd

    cells = [row for path in paths for row in _read_cells(path)]
    frame = pd.DataFrame(cells, columns=list(COLUMNS), dtype=object)
    for column in _NUMBERS:
        frame[column] = frame[column].map(lambda cell: float(cell or "nan")).astype("float64")
    return frame.astype(dict.fromkeys(_WHOLE_NUMBERS, "int64"))


def _read_cells(path: Path) -> list[list[str]]:
    with open_verified(path) as file:
        header, *cells = csv.reader(file)
    if tuple(header) != COLUMNS:
        raise UserError(f"{path}: columns are {','.join(header)}; expected {','.join(COLUMNS)}. Delete it and rerun.")
    return [[from_cell(cell) if is_text else cell for cell, is_text in zip(row, _TEXTS, strict=True)] for row in cells]


def _write_cells(path: Path, cells: list[list[str]]) -> None:
    cells = sorted(cells, key=lambda row: [_natural(cell) for cell in row])
    for first, second in pairwise(cells):
        if first[: len(_KEY)] == second[: len(_KEY)]:
            named = ", ".join(f"{column} {cell}" for column, cell in zip(_KEY, first, strict=False) if cell)
            raise UserError(f"{path}: two rows for {named}; expected one. Two parts of the run score the same thing.")
    with whole_file(path, checked=True) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in cells:
            writer.writerow(as_cell(cell) if is_text else cell for cell, is_text in zip(row, _TEXTS, strict=True))


@lru_cache(100_000)  # most cells are those of other rows, too
def _natural(text: str) -> tuple[tuple[float, str], ...]:
    """A sort key that puts recall@5 before recall@10 and alpha 0.5 before 1."""
    return tuple(
        (float(piece), "") if index % 2 else (math.inf, piece)
        for index, piece in enumerate(re.split(r"(\d+(?:\.\d+)?)", text))
    )
