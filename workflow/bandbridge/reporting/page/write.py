"""The report: one self-contained HTML page, a view of metrics.csv and of what the run left beside it."""

import base64
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bandbridge import __version__
from bandbridge.base.files import whole_directory, whole_file
from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.config.run import locked_tower, open_words, tasks
from bandbridge.reporting.figures.style import Album
from bandbridge.reporting.page.curves import paint_plots, remarks, short_titles, training_name, training_plot
from bandbridge.reporting.page.datasets import dataset_page
from bandbridge.reporting.page.maps import map_view
from bandbridge.reporting.page.models import class_scores, confusions
from bandbridge.reporting.page.probes import probe_plots
from bandbridge.reporting.page.run import bibtex, cost_plot, costs, provenance, total_cost
from bandbridge.reporting.page.spaces import galleries, projections
from bandbridge.reporting.page.summary import key_figures, scratch_note, summary, task_scores, what_was_run
from bandbridge.reporting.tables.all import Curve, Table, ablation_facts, all_tables, number
from bandbridge.reporting.tables.formats import column_groups, used_extras

MEDIA_TYPES = {".csv": "text/csv", ".md": "text/markdown", ".tex": "text/x-tex"}
# The section of each table; what is not named here stands with the classification.
SECTIONS = {
    "paint": "patching",
    "retrieval": "retrieval",
    "text_retrieval": "retrieval",
    "words": "retrieval",
    "linear_probe": "probes",
    "few_shot": "probes",
    "knn": "probes",
    "gap": "space",
}
# A section of these says so where the run has no such figures.
EXPECTED = ("classification", "paint", "retrieval", "linear_probe")
# What a run against a locked text tower owes, besides the tower's own paper.
LOCKED_CITE = ("zhai2022lit",)
TABLE_OPTIONS = ("models", "datasets", "decimals", "published")

Job = Callable[[], Any]
_jobs: Sequence[Job] = ()


def write_report(
    report: Path,
    config: Mapping[str, Any],
    metrics: pd.DataFrame,
    curves: Sequence[Curve],
    *,
    histories: Sequence[Path] = (),
    stores: Sequence[Path] = (),
    quarantines: Sequence[Path] = (),
    tables: Sequence[Path] = (),
    benchmarks: Sequence[Path] = (),
    gallery_files: Sequence[Path] = (),
    projection_files: Sequence[Path] = (),
    checksums: Mapping[str, str] | None = None,
    figures: Path | None = None,
    processes: int = 1,
    notes: Sequence[str] = (),
    noted: Sequence[Path] = (),
    maps: Sequence[Path] = (),
) -> None:
    """Write the page, and its figures as files.

    Args:
        config: the run's validated configuration.
        histories: history.jsonl of every training.
        stores: Zarr directories, and beside them, in the same order, `quarantines`.
        tables: the table files, to be downloaded from the page.
        benchmarks: Snakemake's benchmark files; those that do not exist are left out.
        gallery_files, projection_files: what the scripts `gallery` and `projection` wrote.
        checksums: name -> SHA-256 of what the page was made from.
        figures: a folder beside the page, made anew, for every figure as PDF, PNG and CSV; None for no files.
        processes: that draw at once.
        notes: what the run leaves out, in sentences.
        noted: files with remarks of stages, see `remarks`.
        maps: what `use.apply` wrote of each map.
    """
    stages = costs(benchmarks, config["run"])
    scores = _main_scores(config, metrics)
    with _album(figures) as album:
        drawn = draw(
            {
                **{
                    f"data {store.name}": partial(dataset_page, store, quarantine, album)
                    for store, quarantine in zip(stores, quarantines, strict=True)
                },
                "galleries": partial(galleries, gallery_files, scores, album),
                "projections": partial(projections, projection_files, scores, album),
                "classes": partial(class_scores, config, metrics, curves, album),
                "confusions": partial(confusions, config, metrics, curves, album),
                "probes": partial(probe_plots, config, metrics, curves, album),
                "cost": partial(cost_plot, stages, album),
                **{
                    f"paint {index}": partial(paint_plots, curve, config, metrics, album)
                    for index, curve in enumerate(curves)
                },
                **{f"training {path}": partial(training_plot, path, album) for path in histories},
            },
            processes,
        )
    datasets = [drawn[f"data {store.name}"] for store in stores]
    shown, left_out = drawn["galleries"]
    name = locked_tower(config)
    tower = None if name is None else load_text_tower(name)
    page = _template().render(
        version=__version__,
        style=_asset("style.css"),
        code=_asset("report.js"),
        config=config,
        story=what_was_run(config),
        scratch=scratch_note(config),
        notes=[*dict.fromkeys([*notes, *remarks(noted)])],
        summary=summary(config, metrics, curves),
        key_figures=key_figures(config, metrics, curves),
        curves=[(curve, short_titles(curve.dataset), drawn[f"paint {index}"]) for index, curve in enumerate(curves)],
        sections=_sections(config, metrics, curves),
        downloads=downloads(tables),
        per_class=drawn["classes"],
        confusions=drawn["confusions"],
        galleries=shown,
        galleries_left_out=left_out,
        probes=drawn["probes"],
        projections=drawn["projections"],
        maps=[map_view(path) for path in maps],
        trainings=[(training_name(path), drawn[f"training {path}"]) for path in histories],
        datasets=datasets,
        costs=stages,
        cost_plot=drawn["cost"],
        total_cost=total_cost(stages),
        provenance=provenance(config, checksums or {}),
        tower=tower,
        bibtex=bibtex([*(key for data in datasets for key in data.cite), *(LOCKED_CITE + tower.cite if tower else ())]),
    )
    with whole_file(report) as part:
        part.write_text(page, encoding="utf-8")


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(WORKFLOW / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, groups=column_groups, extras=used_extras)
    return environment.get_template("report.html.j2")


def _asset(name: str) -> Markup:
    return Markup((WORKFLOW / "report" / name).read_text(encoding="utf-8"))


@contextmanager
def _album(folder: Path | None) -> Iterator[Album]:
    if folder is None:
        yield Album()
        return
    with whole_directory(folder) as part:
        yield Album(part, folder.name)


# --- drawing ---------------------------------------------------------------------------------------------------------


def draw(jobs: Mapping[str, Job], processes: int) -> dict[str, Any]:
    """What each job returns, several at a time; a figure takes longer to draw than to hand over."""
    global _jobs
    if processes < 2 or len(jobs) < 2:
        return {name: job() for name, job in jobs.items()}
    # Forked workers find the jobs, and the frames in them, in the memory that they share.
    _jobs = list(jobs.values())
    try:
        with ProcessPoolExecutor(min(processes, len(jobs)), multiprocessing.get_context("fork")) as pool:
            return dict(zip(jobs, pool.map(_do, range(len(_jobs))), strict=True))
    finally:
        _jobs = ()


def _do(number: int) -> Any:
    return _jobs[number]()


# --- tables ----------------------------------------------------------------------------------------------------------


def _sections(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> dict[str, list[Table]]:
    """Section -> the tables in it that have lines, and those that say that their stage was switched off."""
    options = {key: value for key, value in (config.get("tables") or {}).items() if key in TABLE_OPTIONS}
    sections: dict[str, list[Table]] = {
        name: [] for name in ("patching", "classification", "retrieval", "probes", "space")
    }
    students, words = ablation_facts(config), open_words(config)
    for table in all_tables(metrics, curves, students=students, words=words, **options).values():
        if table.lines or table.name in EXPECTED:
            sections[SECTIONS.get(table.name, "classification")].append(table)
    return sections


def _main_scores(config: Mapping[str, Any], metrics: pd.DataFrame) -> dict[str, float]:
    """Encoder -> its headline score on the first task, by which the page chooses whose pictures it shows."""
    for role in ("patching", "supported"):
        for task in tasks(config, role):
            scores = task_scores(metrics, task)
            if scores:
                return dict(scores.values)
    return {}


def downloads(tables: Sequence[Path]) -> dict[str, list[tuple[str, str]]]:
    """Table name -> (file name, data URI) of its files, so that the page carries them wherever it goes."""
    result: dict[str, list[tuple[str, str]]] = {}
    for path in tables:
        content = base64.b64encode(path.read_bytes()).decode()
        uri = f"data:{MEDIA_TYPES[path.suffix]};charset=utf-8;base64,{content}"
        result.setdefault(path.stem, []).append((path.name, uri))
    return result
