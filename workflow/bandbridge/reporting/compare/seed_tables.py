"""Mean and deviation over seeds as tables and as CSV, Markdown and LaTeX."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from bandbridge.base.files import whole_file
from bandbridge.base.untrusted import as_cell
from bandbridge.reporting.compare.runs import KEY_COLUMNS, TASKS, Key
from bandbridge.reporting.compare.seeds import Recipe, Spread
from bandbridge.reporting.tables.formats import markdown_text, to_markdown
from bandbridge.reporting.tables.latex import to_latex
from bandbridge.reporting.tables.model import (
    Cell,
    Column,
    Line,
    Table,
    distinct_titles,
    metric_name,
    modality_name,
    scaled,
    with_best,
)
from bandbridge.scoring.rows import format_cell

NO_SEEDS = "No two of the runs differ only in their seed."
MEANING = (
    "The deviation is that of whole runs, which differ in what the seed draws; it says nothing about other test "
    "samples, as the intervals of a single run do."
)
CSV_COLUMNS = (
    *KEY_COLUMNS,
    *("runs", "seeds", "n", "mean", "sd", "min", "max", "gain_mean", "gain_sd"),
    *("compared_with", "change_seeds", "change_mean", "change_sd"),
)


def seed_tables(recipes: Sequence[Recipe]) -> list[Table]:
    """One table per task, rows of models and columns of data sets; where there are several recipes, one of changes."""
    tables = []
    for task, title in TASKS.items():
        keys = list(dict.fromkeys(key for recipe in recipes for key in recipe.scores if key.task == task))
        if not keys:
            continue
        name = task.replace("-", "_")
        ranks = " (median rank: a rank)" if any(map(_is_rank, keys)) else ""
        caption = (
            f"{title} over seeds, in %{ranks}: mean ± standard deviation and, signed, the gain over zero-shot CLIP in "
            "points, mean ± deviation of the runs' gains."
        )
        tables.append(_table(f"seeds_{name}", caption, recipes, keys))
        if any(key in recipe.changes for recipe in recipes for key in keys):
            tables.append(_changes_table(f"seeds_change_{name}", title, recipes, keys))
    return tables


def _table(name: str, caption: str, recipes: Sequence[Recipe], keys: Sequence[Key]) -> Table:
    columns = _columns(keys)
    models = list(dict.fromkeys(key.model for key in keys))
    rows = [
        (recipe, model) for recipe in recipes for model in models if any(key.model == model for key in recipe.scores)
    ]
    by_place = {(key.model, _place(key)): key for key in keys}
    grid = [
        with_best([_score_cell(recipe, by_place.get((model, place))) for recipe, model in rows], column)
        for place, column in columns.items()
    ]
    lines = [
        Line((*([recipe.name] if len(recipes) > 1 else []), model), tuple(cells[index] for cells in grid))
        for index, (recipe, model) in enumerate(rows)
    ]
    filled = [line for line in lines if any(cell.value is not None for cell in line.cells)]
    headings = (*(["Runs"] if len(recipes) > 1 else []), "Model")
    return Table(name, caption, headings, tuple(columns.values()), tuple(filled), _note(recipes))


def _changes_table(name: str, title: str, recipes: Sequence[Recipe], keys: Sequence[Key]) -> Table:
    first, *others = recipes
    columns = _columns([key for key in keys if any(key in recipe.changes for recipe in others)], signed=True)
    by_place = {(key.model, _place(key)): key for key in keys}
    lines = []
    for recipe in others:
        for model in dict.fromkeys(key.model for key in keys if key in recipe.changes):
            spreads = [
                (key, recipe.changes.get(key)) if (key := by_place.get((model, place))) else None for place in columns
            ]
            cells = tuple(Cell() if pair is None else _cell(pair[1], _is_rank(pair[0])) for pair in spreads)
            lines.append(Line((recipe.name, model), cells))
    caption = (
        f"{title}: change from {first.name}, in points, mean ± standard deviation over pairs of runs with equal seeds "
        "on the same test samples."
    )
    return Table(name, caption, ("Runs", "Model"), tuple(columns.values()), tuple(lines), _note(recipes))


def _columns(keys: Sequence[Key], signed: bool = False) -> dict[tuple[str, ...], Column]:
    """The columns by what is measured: data set, direction, nomenclature, prompts, split and metric."""
    titles = distinct_titles(key.dataset for key in keys)
    columns = {}
    for key in sorted(keys, key=lambda key: list(titles).index(key.dataset)):
        direction = modality_name(key.modality) if key.modality else ""
        label = " ".join(filter(None, [metric_name(key.metric), direction]))
        detail = ", ".join(filter(None, [key.nomenclature, key.prompts]))
        name = "/".join(filter(None, _place(key)))
        columns[_place(key)] = Column(titles[key.dataset], label, name, detail, _is_rank(key), signed=signed)
    return columns


def _place(key: Key) -> tuple[str, ...]:
    return key.dataset, key.modality, key.nomenclature, key.prompts, key.split, key.metric


def _is_rank(key: Key) -> bool:
    return key.metric == "median_rank"


def _score_cell(recipe: Recipe, key: Key | None) -> Cell:
    return _cell(recipe.scores.get(key), _is_rank(key), recipe.gains.get(key)) if key else Cell()


def _cell(spread: Spread | None, rank: bool, gain: Spread | None = None) -> Cell:
    if spread is None:
        return Cell()
    if rank:
        return Cell(spread.mean, deviation=spread.deviation)
    ends = (scaled(gain.mean), scaled(gain.deviation)) if gain else (None, None)
    return Cell(scaled(spread.mean), gain=ends[0], deviation=scaled(spread.deviation), gain_deviation=ends[1])


def _note(recipes: Sequence[Recipe]) -> str:
    """Which runs stand behind the numbers, and what is left out."""
    sentences = []
    for recipe in recipes:
        runs = ", ".join(f"{run.name} ({seed})" for run, seed in zip(recipe.runs, recipe.seeds, strict=True))
        sentences.append(f"{recipe.name}: {len(recipe.runs)} runs, by seed: {runs}.")
        if recipe.repeated:
            sentences.append(
                f"Not counted, because their seed is that of an earlier run: {', '.join(recipe.repeated)}."
            )
        if recipe.other_samples:
            titles = distinct_titles(recipe.other_samples)
            sentences.append(
                f"Left out, because the runs' test samples are not the same: {', '.join(titles.values())}."
            )
    return " ".join([*sentences, MEANING])


def seed_sentences(recipes: Sequence[Recipe]) -> list[str]:
    """A sentence per recipe, or that there is none."""
    return [
        f"{recipe.name}: {len(recipe.runs)} runs differ only in their seed ({', '.join(map(str, recipe.seeds))}); "
        f"they have {len(recipe.scores):,} scores on the same test samples."
        for recipe in recipes
    ] or [NO_SEEDS]


# --- files -----------------------------------------------------------------------------------------------------------


def write_seeds(recipes: Sequence[Recipe], folder: Path) -> None:
    """Write seeds.csv, seeds.md and seeds.tex; without recipes the first has a header and the others a sentence."""
    tables = seed_tables(recipes)
    texts = {
        "seeds.md": ["# Mean and deviation over seeds\n", *map(markdown_text, seed_sentences(recipes)), ""],
        "seeds.tex": [] if tables else [f"% {NO_SEEDS}\n"],
    }
    texts["seeds.md"] += map(to_markdown, tables)
    texts["seeds.tex"] += map(to_latex, tables)
    for name, parts in texts.items():
        with whole_file(folder / name) as part:
            part.write_text("\n".join(parts), encoding="utf-8", newline="")
    with whole_file(folder / "seeds.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for recipe in recipes:
            writer.writerows(_record(recipe, key, recipes[0]) for key in recipe.scores)


def _record(recipe: Recipe, key: Key, first: Recipe) -> list[str]:
    """A score as a row: fractions, as in metrics.csv."""
    spread, change = recipe.scores[key], recipe.changes.get(key)
    return [
        *map(as_cell, (*astuple(key), recipe.name, _listed(spread.seeds))),
        *map(format_cell, (recipe.samples[key], *_moments(recipe.scores, key))),
        *map(format_cell, (min(spread.values), max(spread.values), *_moments(recipe.gains, key))),
        *((as_cell(first.name), _listed(change.seeds)) if change else ("", "")),
        *map(format_cell, _moments(recipe.changes, key)),
    ]


def _listed(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))


def _moments(spreads: Mapping[Key, Spread], key: Key) -> tuple[float | None, float | None]:
    return (spreads[key].mean, spreads[key].deviation) if key in spreads else (None, None)
