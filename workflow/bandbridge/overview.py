"""What a run says at the terminal: its plan in words as it begins, its headline figures as it ends.

Both are courtesies: `opening` and `closing` never raise, and say less where less is known.
"""

import csv
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.catalogue import load_dataset
from bandbridge.settings import (
    all_tasks,
    clips,
    evaluated,
    final_lines,
    lines,
    model_at,
    nomenclature_of,
    students,
    tasks,
    uses_scratch,
)

# How Snakemake explains a job, as attributes of its `Reason`: the first that holds counts. A job whose configuration
# changed may lack outputs as well, so missing outputs come late.
REASONS = {
    "forced": "asked for by hand",
    "_incomplete_output": "was interrupted",
    "params_changed": "its configuration changed",
    "code_changed": "its code changed",
    "software_stack_changed": "its software changed",
    "input_changed": "what it reads changed",
    "_updated_input": "what it reads changed",
    "_missing_output": "not made yet",
    "_updated_input_run": "follows from the above",
}
NOT_MADE, FOLLOWS = REASONS["_missing_output"], REASONS["_updated_input_run"]

# Rules by stage; a rule belongs where the start of its name is found first.
STAGES = {
    "Data": ("download", "plan", "convert", "preprocess"),
    "CLIP": ("scratch_clip", "fetch_clip", "zero_shot_head"),
    "Alignment": ("align",),
    "Patching": ("finetune", "embed_sweep", "select_alpha", "patch"),
    "Report": ("collect", "tables", "report", "compare"),
    "Evaluation": ("",),
}
ORDER = ("Data", "CLIP", "Patching", "Alignment", "Evaluation", "Report")
METRICS = {"map": "mAP", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
MOST_LINES = 4


@dataclass(frozen=True)
class PlannedJob:
    """A job that Snakemake is about to run; `benchmark` is where its time will be written."""

    rule: str
    reason: str = NOT_MADE
    benchmark: Path | None = None
    threads: int = 1
    checkpoint: bool = False

    @property
    def stage(self) -> str:
        return next(stage for stage, starts in STAGES.items() if self.rule.startswith(starts))


def opening(config: Mapping[str, Any], workflow: Any) -> str:
    """The plan of the run that Snakemake's `workflow` is about to start; empty where it cannot be told."""
    try:
        return plan_text(config, planned_jobs(workflow), _cores(workflow))
    except Exception:
        return ""


def closing(config: Mapping[str, Any]) -> str:
    """Where the results of a finished run are, and its headline figures; empty where there is no report."""
    try:
        return headline_text(config)
    except Exception:
        report = _results(config) / "report" / "index.html"
        return f"Done. Report: {report}" if report.exists() else ""


# --- the plan --------------------------------------------------------------------------------------------------------


def planned_jobs(workflow: Any) -> list[PlannedJob]:
    """The jobs to do, from Snakemake's graph of jobs, which is not documented; none where it is not as expected."""
    try:
        return [
            PlannedJob(
                job.rule.name,
                _reason(workflow.dag.reason(job)),
                Path(str(job.benchmark)) if job.benchmark else None,
                int(job.threads),
                bool(job.is_checkpoint),
            )
            for job in workflow.dag.needrun_jobs()
            if job.output
        ]
    except Exception:
        return []


def _reason(reason: Any) -> str:
    return next((text for name, text in REASONS.items() if getattr(reason, name, None)), FOLLOWS)


def _cores(workflow: Any) -> int | None:
    """How many cores jobs share on this machine; None where they go elsewhere."""
    try:
        return int(workflow.cores)
    except Exception:
        return None


def plan_text(config: Mapping[str, Any], jobs: Sequence[PlannedJob], cores: int | None = None) -> str:
    """A few lines: what is to be done stage by stage and why, and how long that took in earlier runs.

    Args:
        jobs: those to do; where there are none (they may not be known), the stages alone are named.
        cores: that the jobs share; None for no estimate of the time.
    """
    told = stages(config)
    by_stage = {stage: [job for job in jobs if job.stage == stage] for stage in ORDER}
    shown = [stage for stage in ORDER if stage in told and (by_stage[stage] or not jobs)]
    first = all(job.reason in (NOT_MADE, FOLLOWS) for job in jobs) and not (_results(config) / "metrics.csv").exists()
    width = max((len(told[stage]) for stage in shown), default=0)
    told_lines = [
        f"Run '{config['run']}', seed {config['seed']}{' (nothing of it is there yet)' * (first and bool(jobs))}:"
    ]
    for stage in shown:
        line = f"  {stage:<11} {told[stage]:<{width}}"
        if by_stage[stage]:
            line += f"  {_counted(len(by_stage[stage]), 'job')}{'' if first else f': {_why(by_stage[stage])}'}"
        told_lines.append(line.rstrip())
    if jobs:
        more = ", more once alpha is chosen" if any(job.checkpoint for job in jobs) else ""
        told_lines.append(f"{_counted(len(jobs), 'job')} in all{more}. {_time(config, jobs, cores)}".rstrip())
    return "\n".join(told_lines)


def stages(config: Mapping[str, Any]) -> dict[str, str]:
    """What each stage of a run does, in words; stages that are switched off are left out."""
    patching = tasks(config, "patching")
    epochs = _counted(config["finetune"]["epochs"], "epoch")
    told = {
        "Data": ", ".join(_datasets(config)),
        "CLIP": ", ".join(_clip(config, name, source) for name, source in clips(config).values()),
        "Patching": f"fine-tune on {' and '.join(task['dataset'] for task in patching)} for {epochs}, "
        f"then {len(config['paint']['alphas'])} alphas",
    }
    if aligned := students(config):
        told["Alignment"] = f"{', '.join(aligned)}, for {_counted(config['align']['epochs'], 'epoch')}"
    told["Evaluation"] = f"on {', '.join(_with_samples(config, name) for name in evaluated(config))}"
    told["Report"] = f"{_results(config) / 'report' / 'index.html'}, and tables"
    return told


def _clip(config: Mapping[str, Any], name: str, source: str) -> str:
    return f"{name}, trained from scratch" if source == "scratch" else f"{name}, weights: {source}"


def _datasets(config: Mapping[str, Any]) -> list[str]:
    names = [task["dataset"] for task in all_tasks(config)]
    if uses_scratch(config):
        names.append(config["clip"]["scratch"]["dataset"])
    return list(dict.fromkeys([*names, *evaluated(config)]))


def _with_samples(config: Mapping[str, Any], dataset: str) -> str:
    stores = Path(config["store_root"] or Path(config["data_root"]) / "zarr")
    try:
        facts = json.loads((stores / f"{dataset}.zarr" / "zarr.json").read_text(encoding="utf-8"))
        return f"{dataset} ({sum(facts['attributes']['counts'].values()):,} samples)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return dataset


def _why(jobs: Iterable[PlannedJob]) -> str:
    """The reasons of a stage's jobs, those that start something before those that follow."""
    counts = Counter(job.reason for job in jobs)
    causes = [reason for reason, _ in counts.most_common() if reason != FOLLOWS]
    return ", ".join(causes) or FOLLOWS


def _time(config: Mapping[str, Any], jobs: Sequence[PlannedJob], cores: int | None) -> str:
    if not cores:
        return ""
    measured = [(job, seconds) for job in jobs if (seconds := _seconds(config, job.benchmark)) is not None]
    if not measured:
        return ""
    # A job of as many threads as there are cores has the machine to itself; others share it.
    wall = sum(seconds * min(job.threads, cores) / cores for job, seconds in measured)
    known = "" if len(measured) == len(jobs) else f", which are known for {len(measured)} of the jobs"
    return f"About {_duration(wall)} on {_counted(cores, 'core')} by the times of earlier runs{known}."


def _seconds(config: Mapping[str, Any], benchmark: Path | None) -> float | None:
    """What the same job took before, in this run or else, at the median, in others; None where it never ran."""
    if benchmark is None:
        return None
    root = Path(config["log_root"])
    try:
        below = benchmark.relative_to(root / config["run"])
    except ValueError:
        return None
    if (here := _measured(benchmark)) is not None:
        return here
    # Which alpha is chosen differs between runs, and takes the same time.
    pattern = re.sub(r"@[0-9.]+?(?=\.[A-Za-z])", "@*", str(below))
    times = [seconds for path in root.glob(f"*/{pattern}") if (seconds := _measured(path)) is not None]
    return statistics.median(times) if times else None


def _measured(path: Path) -> float | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t")) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# --- the headline ----------------------------------------------------------------------------------------------------


def headline_text(config: Mapping[str, Any]) -> str:
    """Where report and tables are, and for each task the score of zero-shot, patched and aligned models, with gains.

    Empty where there is no report: another target was asked for.
    """
    folder = _results(config)
    if not (folder / "report" / "index.html").exists():
        return ""
    told = list(_headlines(config, _rows(folder / "metrics.csv"), _selected(config, folder)))
    if len(told) > MOST_LINES:
        told[MOST_LINES:] = [f"  and {len(told) - MOST_LINES} more in the report"]
    places = [f"Report: {folder / 'report' / 'index.html'}", f"Tables: {folder / 'tables'}/"]
    return "\n".join([f"Run '{config['run']}' is done.", *told, *places])


def _results(config: Mapping[str, Any]) -> Path:
    return Path(config["results_root"]) / config["run"]


def _selected(config: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """The alpha that was chosen on each CLIP's last line, by the line's name."""
    found = {}
    for name in final_lines(config).values():
        path = folder / "paint" / f"{name}.{lines(config)[name].tag}" / "selected.json"
        if path.is_file():
            found[name] = float(json.loads(path.read_text(encoding="utf-8"))["alpha"])
    return found


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
        encoders = {"zero-shot": f"{line.clip}@0", f"patched (alpha {alpha:g})": model_at(line, alpha)}
        for role in ("patching", "supported"):
            shown = {**encoders, **{student: student for student in aligned}} if role == "patching" else encoders
            for task in tasks(config, role):
                if told := _headline(task, rows, shown):
                    yield f"  {f'{line.clip}: ' if len(selected) > 1 else ''}{told}"


def _headline(task: Mapping[str, Any], rows: Sequence[Mapping[str, str]], shown: Mapping[str, str]) -> str:
    """'digits, accuracy in %: zero-shot 99.3, patched (alpha 0.9) 97.8 (-1.5)'; each gain is over the one before."""
    dataset = load_dataset(task["dataset"])
    split = "test" if "test" in dataset.splits else "val"
    wanted = (dataset.name, nomenclature_of(task), task["prompts"], dataset.headline, split)
    keys = ("dataset", "nomenclature", "prompts", "metric", "split")
    scores = {row["encoder"]: float(row["value"]) for row in rows if tuple(row[key] for key in keys) == wanted}
    parts, before = [], None
    for number, (label, encoder) in enumerate(shown.items()):
        if encoder not in scores:
            continue
        score = 100 * scores[encoder]
        parts.append(f"{label} {score:.1f}" + (f" ({score - before:+.1f})" if before is not None else ""))
        # Every student is measured against the patched model, which comes second.
        before = score if number < 2 else before
    where = "" if split == "test" else " (val)"
    return f"{dataset.name}{where}, {METRICS[dataset.headline]} in %: {', '.join(parts)}" if parts else ""
