"""A comparison of runs as tables, CSV, Markdown and a page."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from bandbridge import __version__
from bandbridge.base.alphas import alpha_name
from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell
from bandbridge.metrics.intervals import FEWEST
from bandbridge.reporting.compare.runs import KEY_COLUMNS, TASKS, Change, Comparison, Key, Score, tally
from bandbridge.reporting.compare.seed_tables import seed_sentences, seed_tables, write_seeds
from bandbridge.reporting.compare.seeds import recipes_of
from bandbridge.reporting.tables.formats import markdown_text, to_markdown
from bandbridge.reporting.tables.model import (
    SIGNIFICANT,
    STAR,
    Cell,
    Column,
    Line,
    Table,
    distinct_titles,
    scaled,
    with_best,
    with_marks_explained,
)
from bandbridge.reporting.templates import asset, template
from bandbridge.scoring.rows import format_cell

# Keys that do not affect a run's results.
NOT_COMPARED = ("run", "seeds", "report", "results_root", "log_root")
NOT_PAIRED = "°"


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write index.html, comparison.md, scores.csv, configuration.csv and seeds.{csv,md,tex} into a folder."""
    write_seeds(recipes_of(comparison), folder)
    write_scores(comparison, folder / "scores.csv")
    write_config(comparison, folder / "configuration.csv")
    write_markdown(comparison, folder / "comparison.md")
    write_page(comparison, folder / "index.html")


# --- tables ----------------------------------------------------------------------------------------------------------


def score_tables(comparison: Comparison) -> list[Table]:
    """One table per task: a row per model, data set and measure, the runs' scores, the changes from the first."""
    first, *others = comparison.runs
    titles = distinct_titles(key.dataset for key in comparison.keys)
    tables = []
    for task, title in TASKS.items():
        keys = [key for key in comparison.keys if key.task == task]
        columns = [Column("Score", run.name, run.name) for run in comparison.runs]
        group = f"Change from {first.name}, points"
        for run, changes in zip(others, comparison.changes, strict=True):
            paired = all(changes[key].paired for key in keys if key in changes)
            label = run.name if paired else f"{run.name} {NOT_PAIRED}"
            columns.append(Column(group, label, f"{run.name} - {first.name}", signed=True))
        lines = [_line(comparison, key, titles) for key in keys]
        name = f"compare_{task.replace('-', '_')}"
        caption = f"{title}, in % (median rank: a rank), and the change from {first.name} to each other run in points."
        caption = caption if task == "retrieval" else caption.replace(" (median rank: a rank)", "")
        headings = ("Model", "Data set", "Measure")
        note = _note(comparison, keys)
        table = Table(name, caption, headings, tuple(columns) if lines else (), tuple(lines), note)
        tables.append(with_marks_explained(table))
    return tables


def _line(comparison: Comparison, key: Key, titles: Mapping[str, str]) -> Line:
    rank = key.metric == "median_rank"
    best = Column("", "", "", smaller_is_better=rank)
    cells = [
        *with_best([_cell(scores.get(key), rank) for scores in comparison.scores], best),
        *(_cell(changes.get(key), rank) for changes in comparison.changes),
    ]
    return Line((key.model, titles[key.dataset], key.measure), tuple(cells))


def _cell(score: Score | Change | None, rank: bool) -> Cell:
    if score is None:
        return Cell()
    if rank:
        return Cell(score.value)
    p = score.p if isinstance(score, Change) else None
    return Cell(scaled(score.value), scaled(score.low), scaled(score.high), p=p, few=score.units < FEWEST)


def _note(comparison: Comparison, keys: Sequence[Key]) -> str:
    listed = [changes[key] for changes in comparison.changes for key in keys if key in changes]
    notes = []
    if any(change.p is not None for change in listed):
        level = f"{100 * comparison.runs[0].level:g} %"
        notes.append(f"With intervals, at {level}; {STAR} p < {SIGNIFICANT:g} (two-sided, each test by itself).")
    if any(not change.paired for change in listed):
        notes.append(
            f"{NOT_PAIRED} Not paired, because the runs' half-samples are not the same (their seed, their number, or "
            "the samples differ): the interval treats them as independent, and is wider than that of pairs."
        )
    return " ".join(notes)


def runs_table(comparison: Comparison) -> Table:
    """The compared runs, one row each."""
    lines = []
    for run in comparison.runs:
        chosen = (
            "; ".join(f"{curve.clip} on {curve.dataset}: {alpha_name(curve.selected)}" for curve in run.curves)
            or "none"
        )
        seeds = ", ".join(map(str, sorted(run.metrics["seed"].unique())))
        lines.append(Line((run.name, seeds, chosen, run.folder.as_posix()), ()))
    return Table(
        "runs", "The runs; all are compared with the first.", ("Run", "Seed", "Selected α", "Folder"), (), tuple(lines)
    )


def config_table(comparison: Comparison) -> Table:
    """Differences between the runs' configurations, one row per key."""
    configured = [run for run in comparison.runs if run.config is not None]
    flat = [dict(_flat(run.config)) for run in configured]
    keys = dict.fromkeys(key for values in flat for key in values)
    lines = [
        Line((key, *texts), ()) for key in keys if len(set(texts := tuple(values.get(key, "–") for values in flat))) > 1
    ]
    missing = [run.name for run in comparison.runs if run.config is None]
    note = f"Without config.yaml, and so not compared: {', '.join(missing)}." if missing else ""
    if len(configured) > 1 and not lines:
        note = f"The configurations are the same. {note}".strip()
    caption = "Differences between the configurations."
    return Table("configuration", caption, ("Key", *(run.name for run in configured)), (), tuple(lines), note)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            if path or key not in NOT_COMPARED:
                yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- files -----------------------------------------------------------------------------------------------------------

CSV_COLUMNS = (
    *KEY_COLUMNS,
    *("run", "encoder", "value", "ci_low", "ci_high", "n"),
    *("compared_with", "change", "change_low", "change_high", "p", "paired"),
)


def write_scores(comparison: Comparison, path: Path) -> None:
    """Every score as a row of CSV, with its change from the first run: fractions, as in metrics.csv."""
    first = comparison.runs[0].name
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for key in comparison.keys:
            for run, scores, changes in zip(comparison.runs, comparison.scores, ({}, *comparison.changes), strict=True):
                if key in scores:
                    writer.writerow(_record(key, run.name, scores[key], changes.get(key), first))


def _record(key: Key, run: str, score: Score, change: Change | None, first: str) -> list[str]:
    cells = [
        *map(as_cell, (*astuple(key), run, score.encoder)),
        *map(format_cell, (score.value, score.low, score.high, score.n)),
    ]
    if change is None:
        return [*cells, *[""] * 6]
    numbers = map(format_cell, (change.value, change.low, change.high, change.p))
    return [*cells, as_cell(first), *numbers, "" if change.p is None else str(int(change.paired))]


def write_config(comparison: Comparison, path: Path) -> None:
    """The configurations' differences as CSV: one row per key, one column per run."""
    table = config_table(comparison)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["key", *map(as_cell, table.headings[1:])], *(list(map(as_cell, line.texts)) for line in table.lines)]
        )


def write_markdown(comparison: Comparison, path: Path) -> None:
    """All tables of a comparison as one Markdown file."""
    tables = [runs_table(comparison), *(table for table in score_tables(comparison) if table.lines)]
    names = " and ".join(run.name for run in comparison.runs)
    parts = [f"# {markdown_text(names)}, compared\n", *map(markdown_text, outcomes(comparison))]
    parts += ["", *map(to_markdown, tables)]
    config = config_table(comparison)
    parts += [to_markdown(config) if config.lines else f"{config.caption}\n\n{config.note}\n"]
    with whole_file(path) as part:
        part.write_text("\n".join(parts), encoding="utf-8")


def outcomes(comparison: Comparison) -> list[str]:
    """A sentence per run except the first: in how many scores it is better and worse, beyond chance."""
    first, *others = comparison.runs
    sentences = []
    for run, changes in zip(others, comparison.changes, strict=True):
        better, worse, neither = tally(changes)
        total = better + worse + neither
        sentences.append(
            f"Of {total:,} zero-shot scores of {first.name} and {run.name} that can be tested, {run.name} is better in "
            f"{better:,} and worse in {worse:,} beyond chance (p < {SIGNIFICANT:g}); {neither:,} cannot be told apart."
            if total
            else f"{run.name} and {first.name} have no zero-shot scores in common whose change can be tested."
        )
    return sentences


# --- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A change drawn on the axis of its table: positions from 0 (left) to 100."""

    zero: float
    value: float
    low: float | None
    high: float | None


def write_page(comparison: Comparison, path: Path) -> None:
    """One page that opens without a network, in the report's style."""
    tables = [table for table in score_tables(comparison) if table.lines]
    recipes = recipes_of(comparison)
    titles = {f"compare_{task.replace('-', '_')}": title for task, title in TASKS.items()}
    page = template("compare.html.j2").render(
        version=__version__,
        style=asset("style.css"),
        runs=[run.name for run in comparison.runs],
        outcomes=outcomes(comparison),
        runs_table=runs_table(comparison),
        seed_sentences=seed_sentences(recipes),
        seed_tables=seed_tables(recipes),
        sections=[(titles[table.name], table, bars(table, len(comparison.runs))) for table in tables],
        config=config_table(comparison),
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")


def bars(table: Table, runs: int) -> list[list[Bar | None]]:
    """Per row of a table of scores, its changes on one common axis; ranks have none."""
    changes = [[None if "rank" in line.texts[2] else cell for cell in line.cells[runs:]] for line in table.lines]
    drawn = [cell for cells in changes for cell in cells if cell is not None]
    ends = [0.0, *(end for cell in drawn for end in (cell.value, cell.low, cell.high) if end is not None)]
    least, width = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float) -> float:
        return round(4 + 92 * (value - least) / width, 2)

    def bar(cell: Cell | None) -> Bar | None:
        if cell is None or cell.value is None:
            return None
        low, high = (None if end is None else at(end) for end in (cell.low, cell.high))
        return Bar(at(0.0), at(cell.value), low, high)

    return [list(map(bar, cells)) for cells in changes]
