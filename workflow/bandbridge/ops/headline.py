"""What a run prints at the terminal as it ends: its headline figures, and where its pages are."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.alphas import alpha_name
from bandbridge.base.paths import Paths, zero_shot
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.config.compared import comparison_files, seed_files
from bandbridge.config.lines import lines, model_at, nomenclature_of, tasks
from bandbridge.config.networks import students
from bandbridge.config.run import Run
from bandbridge.config.seeds import seeds_of

METRICS = {"map": "mAP", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
MOST_LINES = 4


def closing(config: Mapping[str, Any], targets: Iterable[str]) -> str:
    """The results and headline figures of a finished run, if the report was among its targets.

    For other targets, figures of an earlier run are not shown: they may be out of date.

    Args:
        config: a valid configuration.
        targets: the requested rules and files; none for the default.
    """
    asked = set(targets)
    report = Path(Paths({**config, "seed": seeds_of(config)[0]}).report)
    if "compare" in asked:
        return f"Comparison: {comparison_files(config)['page']}"
    if asked and not asked & {"all", "report", "seeds", str(report), seed_files(config)["page"]}:
        outdated = f" {report} is of an earlier run and may be out of date; `snakemake` updates it." * report.exists()
        return f"Run '{config['run']}': the requested targets are done.{outdated}"
    try:
        return headline_text(config)
    except Exception:
        return f"Done. Report: {report}" if report.exists() else ""


def headline_text(config: Mapping[str, Any]) -> str:
    """Where report and tables are, and for each task the score of zero-shot, patched and aligned models, with gains.

    Empty if there is no report: another target was requested.
    """
    if len(seeds := seeds_of(config)) > 1:
        reports = [f"Report of seed {seed}: {Paths({**config, 'seed': seed}).report}" for seed in seeds]
        page = f"Mean and deviation over {len(seeds)} seeds: {seed_files(config)['page']}"
        return "\n".join([f"Run '{config['run']}' is done.", page, *reports])
    paths = Paths(config)
    if not Path(paths.report).exists():
        return ""
    headlines = list(_headlines(config, _rows(Path(paths.metrics)), _selected(config)))
    if len(headlines) > MOST_LINES:
        headlines[MOST_LINES:] = [f"  and {len(headlines) - MOST_LINES} more in the report"]
    places = [f"Report: {paths.report}", f"Tables: {paths.tables}/"]
    return "\n".join([f"Run '{config['run']}' is done.", *headlines, *places])


def _selected(config: Mapping[str, Any]) -> dict[str, float]:
    """The alpha that was chosen on each CLIP's last line, by the line's name."""
    run = Run(config)
    alphas = {name: run.alpha_if_chosen(name) for name in run.patched.values()}
    return {name: float(alpha) for name, alpha in alphas.items() if alpha is not None}


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv that headlines are made of: zero-shot, of all classes together."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["task"] == "zero-shot" and not row["class"]]


def _headlines(
    config: Mapping[str, Any], rows: Sequence[Mapping[str, str]], selected: Mapping[str, float]
) -> Iterable[str]:
    for name, alpha in selected.items():
        line = lines(config)[name]
        aligned = [student for student, (_, teacher) in students(config).items() if teacher == line.clip]
        encoders = {"zero-shot": zero_shot(line.clip), f"patched (alpha {alpha_name(alpha)})": model_at(line, alpha)}
        for role in ("patching", "supported"):
            compared = {**encoders, **{student: student for student in aligned}} if role == "patching" else encoders
            for task in tasks(config, role):
                if headline := _headline(task, rows, compared):
                    yield f"  {f'{line.clip}: ' if len(selected) > 1 else ''}{headline}"


def _headline(task: Mapping[str, Any], rows: Sequence[Mapping[str, str]], compared: Mapping[str, str]) -> str:
    """'digits, accuracy in %: zero-shot 99.3, patched (alpha 0.9) 97.8 (-1.5)'; each gain is over the one before."""
    dataset = load_dataset(task["dataset"])
    split = "test" if "test" in dataset.splits else "val"
    scored_on = (dataset.name, nomenclature_of(task), task["prompts"], dataset.headline, split)
    keys = ("dataset", "nomenclature", "prompts", "metric", "split")
    scores = {row["encoder"]: float(row["value"]) for row in rows if tuple(row[key] for key in keys) == scored_on}
    parts, previous = [], None
    for number, (label, encoder) in enumerate(compared.items()):
        if encoder not in scores:
            continue
        score = 100 * scores[encoder]
        parts.append(f"{label} {score:.1f}" + (f" ({score - previous:+.1f})" if previous is not None else ""))
        # Every student is measured against the patched model, which comes second.
        previous = score if number < 2 else previous
    where = "" if split == "test" else " (val)"
    return f"{dataset.name}{where}, {METRICS[dataset.headline]} in %: {', '.join(parts)}" if parts else ""
