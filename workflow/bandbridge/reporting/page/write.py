"""The report: one self-contained HTML page, a view of metrics.csv and of the run's other files."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bandbridge import __version__
from bandbridge.base.data_uris import data_uri
from bandbridge.base.files import whole_directory, whole_file
from bandbridge.base.progress import remark
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.config.lines import patched_models, tasks
from bandbridge.config.networks import locked_tower
from bandbridge.config.scored import open_words
from bandbridge.config.students_in_words import ablation_facts
from bandbridge.reporting.figures.drawing import Album, page_json, scripts
from bandbridge.reporting.figures.style import ON_THE_PAGE
from bandbridge.reporting.page.curves import paint_plots, remarks, short_titles, training_name, training_plot
from bandbridge.reporting.page.datasets import dataset_page
from bandbridge.reporting.page.maps import map_view
from bandbridge.reporting.page.models import class_scores, confusions
from bandbridge.reporting.page.probes import probe_plots
from bandbridge.reporting.page.run import Cost, bibtex, cost_plot, costs, provenance, total_cost
from bandbridge.reporting.page.spaces import galleries, projections
from bandbridge.reporting.page.summary import key_figures, scratch_note, summary, task_scores, what_was_run
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import Table
from bandbridge.reporting.templates import asset, template

MEDIA_TYPES = {".csv": "text/csv", ".md": "text/markdown", ".tex": "text/x-tex"}
# The section of each table; others are in the section 'classification'.
SECTIONS = {
    "paint": "patching",
    "retrieval": "retrieval",
    "text_retrieval": "retrieval",
    "words": "retrieval",
    "linear_probe": "probes",
    "few_shot": "probes",
    "gap": "space",
}
# Tables that are shown even without rows, with a note that the run has no such figures.
EXPECTED = ("classification", "paint", "retrieval", "linear_probe")
# References of a run with a locked text tower, besides the tower's paper.
LOCKED_CITE = ("zhai2022lit",)
TABLE_OPTIONS = ("models", "datasets", "decimals", "published")

Job = Callable[[], Any]


@dataclass(frozen=True)
class RunFiles:
    """Files of a run that the report shows, besides metrics.csv and the PAINT curves.

    Attributes:
        trainings: those of the run, see `Evaluation.trainings`.
        stores: Zarr directories.
        quarantines: the quarantine list of each store, in the same order.
        tables: the table files, to be downloaded from the page.
        benchmarks: folders of Snakemake's benchmark files; missing ones are left out.
        galleries: files of `galleries.make_gallery`.
        projections: files of `projection.make_projection`.
        noted: files with remarks of stages, see `remarks`.
        maps: what `use.apply` wrote beside each map.
        checksums: name -> SHA-256 of the page's inputs.
    """

    trainings: Sequence[Mapping[str, Any]] = ()
    stores: Sequence[Path] = ()
    quarantines: Sequence[Path] = ()
    tables: Sequence[Path] = ()
    benchmarks: Sequence[Path] = ()
    galleries: Sequence[Path] = ()
    projections: Sequence[Path] = ()
    noted: Sequence[Path] = ()
    maps: Sequence[Path] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)


NO_FILES = RunFiles()


def write_report(
    report: Path,
    config: Mapping[str, Any],
    metrics: pd.DataFrame,
    curves: Sequence[Curve],
    files: RunFiles = NO_FILES,
    *,
    figures: Path | None = None,
    processes: int = 1,
    notes: Sequence[str] = (),
) -> None:
    """Write the page, and its figures as files.

    Args:
        report: the page's path.
        config: the run's validated configuration.
        metrics: the rows of metrics.csv.
        curves: the PAINT curves.
        files: the run's other files.
        figures: a folder beside the page, replaced, for every figure as PDF, PNG, SVG and CSV; None for no files.
        processes: that draw at the same time.
        notes: what the run leaves out, in sentences.
    """
    stages = costs(files.benchmarks)
    with _album(figures) as album:
        drawings = _drawings(config, metrics, curves, files, stages, album)
        drawn = draw(drawings, processes)
    datasets = [drawn[f"data {store.name}"] for store in files.stores]
    shown_galleries, left_out = drawn["galleries"]
    name = locked_tower(config)
    tower = None if name is None else load_text_tower(name)
    page = template("report.html.j2").render(
        version=__version__,
        style=asset("style.css"),
        vega=drawn["scripts"],
        theme=page_json(ON_THE_PAGE),
        code=asset("report.js"),
        config=config,
        story=what_was_run(config),
        scratch=scratch_note(config),
        notes=[*dict.fromkeys([*notes, *remarks(files.noted)])],
        summary=summary(config, metrics, curves),
        key_figures=key_figures(config, metrics, curves),
        curves=[(curve, short_titles(curve.dataset), drawn[f"paint {index}"]) for index, curve in enumerate(curves)],
        sections=_sections(config, metrics, curves),
        downloads=downloads(files.tables),
        per_class=drawn["classes"],
        confusions=drawn["confusions"],
        galleries=shown_galleries,
        galleries_left_out=left_out,
        probes=drawn["probes"],
        projections=drawn["projections"],
        maps=[map_view(path) for path in files.maps],
        trainings=[(training_name(of), drawn[f"training {index}"]) for index, of in enumerate(files.trainings)],
        datasets=datasets,
        costs=stages,
        cost_plot=drawn["cost"],
        total_cost=total_cost(stages),
        provenance=provenance(config, files.checksums),
        tower=tower,
        bibtex=bibtex([*(key for data in datasets for key in data.cite), *(LOCKED_CITE + tower.cite if tower else ())]),
    )
    with whole_file(report) as part:
        part.write_text(page, encoding="utf-8")


def _drawings(
    config: Mapping[str, Any],
    metrics: pd.DataFrame,
    curves: Sequence[Curve],
    files: RunFiles,
    stages: Sequence[Cost],
    album: Album,
) -> dict[str, Job]:
    """The jobs that take long: the page's figures and the scripts that make them live, by name."""
    scores = _main_scores(config, metrics)
    return {
        "scripts": scripts,
        **{
            f"data {store.name}": partial(dataset_page, store, quarantine, album)
            for store, quarantine in zip(files.stores, files.quarantines, strict=True)
        },
        "galleries": partial(galleries, files.galleries, scores, album),
        "projections": partial(projections, files.projections, scores, album),
        "classes": partial(class_scores, config, metrics, curves, album),
        "confusions": partial(confusions, config, metrics, curves, album),
        "probes": partial(probe_plots, config, metrics, curves, album),
        "cost": partial(cost_plot, stages, album),
        **{f"paint {index}": partial(paint_plots, curve, config, metrics, album) for index, curve in enumerate(curves)},
        **{f"training {index}": partial(training_plot, of, album) for index, of in enumerate(files.trainings)},
    }


@contextmanager
def _album(folder: Path | None) -> Iterator[Album]:
    if folder is None:
        yield Album()
        return
    with whole_directory(folder) as part:
        yield Album(part, folder.name)


# --- drawing ---------------------------------------------------------------------------------------------------------


def draw(jobs: Mapping[str, Job], processes: int) -> dict[str, Any]:
    """The result of each job, several at a time; what a process leaves undone that crashes is done here."""
    drawn: dict[str, Any] = {}
    if processes > 1 and len(jobs) > 1:
        # Started anew, not forked: neither vl-convert, which draws, nor TensorStore, which reads stores, survives that.
        with ProcessPoolExecutor(min(processes, len(jobs)), multiprocessing.get_context("spawn")) as pool:
            try:
                results = {name: pool.submit(job) for name, job in jobs.items()}
                for name, result in results.items():
                    drawn[name] = result.result()
            except BrokenProcessPool:
                # Seen once, in one of TensorStore's threads, and not reproduced: no reason to lose the report.
                remark(f"a process that drew has crashed; drawing {len(jobs) - len(drawn)} parts one by one")
    return {name: drawn[name] if name in drawn else job() for name, job in jobs.items()}


# --- tables ----------------------------------------------------------------------------------------------------------


def _sections(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> dict[str, list[Table]]:
    """Section -> its tables that have rows, and those that are shown without any."""
    options = {key: value for key, value in (config.get("tables") or {}).items() if key in TABLE_OPTIONS}
    sections: dict[str, list[Table]] = {
        name: [] for name in ("patching", "classification", "retrieval", "probes", "space")
    }
    students, words = ablation_facts(config), open_words(config)
    options["patched"] = patched_models(config)
    for table in all_tables(metrics, curves, students=students, words=words, **options).values():
        if table.lines or table.name in EXPECTED:
            sections[SECTIONS.get(table.name, "classification")].append(table)
    return sections


def _main_scores(config: Mapping[str, Any], metrics: pd.DataFrame) -> dict[str, float]:
    """Encoder -> its headline score on the first task, by which the page chooses the galleries that it shows."""
    for role in ("patching", "supported"):
        for task in tasks(config, role):
            scores = task_scores(metrics, task)
            if scores:
                return dict(scores.values)
    return {}


def downloads(tables: Sequence[Path]) -> dict[str, list[tuple[str, str]]]:
    """Table name -> (file name, data URI) of its files, which are embedded in the page."""
    result: dict[str, list[tuple[str, str]]] = {}
    for path in tables:
        uri = data_uri(path.read_bytes(), f"{MEDIA_TYPES[path.suffix]};charset=utf-8")
        result.setdefault(path.stem, []).append((path.name, uri))
    return result
