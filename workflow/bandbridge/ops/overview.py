"""What a run prints at the terminal: its plan in words as it begins, its headline figures as it ends.

Neither can stop a run: `opening` and `closing` never raise, and print less where less is known. A dry run, which
calls none of Snakemake's hooks, ends with the plan.
"""

import atexit
import csv
import glob
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.alphas import alpha_name, parse_alpha
from bandbridge.base.paths import EncoderName, Paths, zero_shot
from bandbridge.base.progress import duration
from bandbridge.catalogue.datasets import Source, load_dataset
from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.config.lines import all_tasks, lines, model_at, nomenclature_of, tasks
from bandbridge.config.networks import clips, fine_tunes, locked_tower, patched_files, student_files, students
from bandbridge.config.run import Run
from bandbridge.config.run_notes import run_notes
from bandbridge.config.scored import evaluated
from bandbridge.ingest.fetch import missing_manual, to_download

# Snakemake's reasons to run a job, as attributes of its `Reason`: the first that holds is shown. A job whose
# configuration changed may lack outputs as well, so missing outputs come late.
REASONS = {
    "forced": "forced by the user",
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

# Rules by stage: a rule belongs to the first stage that lists the start of its name.
STAGES = {
    "Data": ("download", "plan", "convert", "preprocess"),
    "CLIP": ("fetch_text_tower", "scratch_clip", "fetch_clip", "zero_shot_head", "words_head"),
    "Alignment": ("align", "fetch_weights", "check_first_weights"),
    "Patching": ("finetune", "embed_sweep", "select_alpha", "add_task_vectors", "patch"),
    "Use": ("apply",),
    "Report": ("collect", "tables", "report", "compare"),
    "Evaluation": ("",),
}
ORDER = ("Data", "CLIP", "Patching", "Alignment", "Evaluation", "Use", "Report")
METRICS = {"map": "mAP", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
MOST_LINES = 4


@dataclass(frozen=True)
class PlannedJob:
    """A job that Snakemake is about to run.

    Attributes:
        benchmark: where its time will be written.
        encoder: the model on a PAINT line that it makes or scores.
        waits: for alpha to be chosen, which decides what it does and whether it has to.
    """

    rule: str
    reason: str = NOT_MADE
    benchmark: Path | None = None
    threads: int = 1
    waits: bool = False
    encoder: EncoderName | None = None

    @property
    def stage(self) -> str:
        return next(stage for stage, starts in STAGES.items() if self.rule.startswith(starts))


def opening(config: Mapping[str, Any], workflow: Any) -> str:
    """The plan of the run that Snakemake's `workflow` is about to start; empty where it is not known."""
    try:
        return plan_text(config, planned_jobs(workflow), _cores(workflow))
    except Exception:
        return ""


def plan_a_dry_run(config: Mapping[str, Any], workflow: Any) -> None:
    """Print the plan after Snakemake's own, if what `workflow` is about to do turns out to be a dry run."""

    def print_plan() -> None:
        # Only then is there an executor; --lint, --summary, --dag and the like have none.
        if workflow.dryrun and planned_jobs(workflow):
            print(f"\n{opening(config, workflow)}", flush=True)

    if workflow.output_settings.dryrun and not is_quiet(workflow):
        atexit.register(print_plan)


def is_quiet(workflow: Any) -> bool:
    """Whether the user wants no output (`--quiet all`)."""
    return "ALL" in {kind.name for kind in workflow.output_settings.quiet or ()}


def closing(config: Mapping[str, Any], workflow: Any) -> str:
    """The results and headline figures of a finished run, if the report was among its targets.

    For other targets, figures of an earlier run are not shown: they may be out of date.
    """
    report = Path(Paths(config).report)
    if not _asks_for_the_report(workflow):
        outdated = f" {report} is of an earlier run and may be out of date; `snakemake` updates it." * report.exists()
        return f"Run '{config['run']}': the requested targets are done.{outdated}"
    try:
        return headline_text(config)
    except Exception:
        return f"Done. Report: {report}" if report.exists() else ""


def _asks_for_the_report(workflow: Any) -> bool:
    """Whether the report is among the requested jobs, whether or not it had to run."""
    try:
        return any(job.rule.name == "report" for job in workflow.dag.jobs)
    except Exception:
        return False


# --- the plan --------------------------------------------------------------------------------------------------------


def planned_jobs(workflow: Any) -> list[PlannedJob]:
    """The jobs to do, from Snakemake's graph of jobs, an undocumented attribute; empty where it is not as expected."""
    try:
        jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
        choices = [job for job in jobs if job.is_checkpoint]
        waiting = {*workflow.dag.bfs(workflow.dag.depending, *choices)} - {*choices}
        return [
            PlannedJob(
                job.rule.name,
                _reason(workflow.dag.reason(job)),
                Path(str(job.benchmark)) if job.benchmark else None,
                int(job.threads),
                job in waiting,
                _encoder(job.wildcards_dict),
            )
            for job in jobs
            if job.output
        ]
    except Exception:
        return []


def _encoder(wildcards: Mapping[str, str]) -> EncoderName | None:
    if "alpha" in wildcards:
        return EncoderName(wildcards["line"], parse_alpha(wildcards["alpha"]))
    return EncoderName.if_on_a_line(wildcards.get("encoder", ""))


def _reason(reason: Any) -> str:
    return next((text for name, text in REASONS.items() if getattr(reason, name, None)), FOLLOWS)


def _cores(workflow: Any) -> int | None:
    """The number of cores that jobs share on this machine; None where they run elsewhere."""
    try:
        return int(workflow.cores)
    except Exception:
        return None


def plan_text(config: Mapping[str, Any], jobs: Sequence[PlannedJob], cores: int | None = None) -> str:
    """A few lines: what will be done stage by stage and why, and how long that took in earlier runs.

    Args:
        config: a valid configuration.
        jobs: those to do; if empty (they may be unknown), only the stages are named.
        cores: number that the jobs share; None for no estimate of the time.
    """
    first = all(job.reason in (NOT_MADE, FOLLOWS) for job in jobs) and not Path(Paths(config).metrics).exists()
    certain = [job for job in jobs if not job.waits]
    waiting = [job for job in jobs if job.waits]
    plan = [f"Run '{config['run']}', seed {config['seed']}{' (nothing of it exists yet)' * (first and bool(jobs))}:"]
    plan += _stage_lines(stages(config), certain, first) if jobs else _stage_lines(stages(config))
    if waiting:
        plan.append("Then, depending on the alpha that is chosen:")
        plan += _stage_lines(stages(config) | after_the_choice(config), waiting, first)
    plan += [f"Note: {note}" for note in run_notes(config)]
    if jobs:
        depend = f", {len(waiting):,} of which depend on alpha; the choice may add more" * bool(waiting)
        plan.append(f"{_counted(len(jobs), 'job')} in all{depend}. {_time(config, jobs, cores)}".rstrip())
    return "\n".join(plan)


def _stage_lines(
    texts: Mapping[str, str], jobs: Sequence[PlannedJob] | None = None, first: bool = False
) -> Iterable[str]:
    """A line for each stage that has jobs, or for each stage if the jobs are unknown."""
    by_stage = {stage: [job for job in jobs or () if job.stage == stage] for stage in texts}
    listed = [stage for stage in ORDER if stage in texts and (jobs is None or by_stage[stage])]
    width = max((len(texts[stage]) for stage in listed), default=0)
    for stage in listed:
        line = f"  {stage:<11} {texts[stage]:<{width}}"
        if by_stage[stage]:
            line += f"  {_counted(len(by_stage[stage]), 'job')}{'' if first else f': {_why(by_stage[stage])}'}"
        yield line.rstrip()


def stages(config: Mapping[str, Any]) -> dict[str, str]:
    """What each stage of a run does, in words; stages that are switched off are left out."""
    patching = " and ".join(task["dataset"] for task in tasks(config, "patching"))
    texts = {
        "Data": _data(config),
        "CLIP": ", ".join(_clip(config, name, source) for name, source in clips(config).values()),
        "Patching": f"{_patched_by(config, patching)}, "
        f"encode at {_counted(len(config['paint']['alphas']), 'alpha')}, choose alpha",
    }
    if aligned := students(config):
        texts["Alignment"] = _aligned_by(config, aligned)
    texts["Evaluation"] = f"score on {', '.join(_with_samples(config, name) for name in evaluated(config))}"
    if config.get("apply"):
        texts["Use"] = f"map or embed {', '.join(config['apply'])}"
    texts["Report"] = f"{Paths(config).report}, and tables"
    return texts


def _patched_by(config: Mapping[str, Any], patching: str) -> str:
    if files := patched_files(config):
        return f"load {' and '.join(files.values())}"
    if not fine_tunes(config):
        return "no fine-tuning"
    return f"fine-tune on {patching} for {_counted(config['finetune']['epochs'], 'epoch')}"


def _aligned_by(config: Mapping[str, Any], aligned: Mapping[str, tuple[str, str]]) -> str:
    files = student_files(config)
    trained = [encoder for encoder, (name, _) in aligned.items() if name not in files]
    parts = [f"align {', '.join(trained)} for {_counted(config['align']['epochs'], 'epoch')}"] if trained else []
    return ", ".join([*parts, *(f"load {path}" for path in files.values())])


def after_the_choice(config: Mapping[str, Any]) -> dict[str, str]:
    """The rest of the stages that begin before alpha is chosen."""
    scored = ["the chosen model", *students(config)]
    return {"Patching": "write the patched model", "Evaluation": f"score {', '.join(scored)}"}


def _clip(config: Mapping[str, Any], name: str, source: str) -> str:
    if source != "scratch":
        return f"load {name} (weights: {source})"
    tower = locked_tower(config)
    if tower is None:
        return f"train {name} from scratch"
    if missing_tower_files(config["data_root"], tower):
        return f"download {tower}, train {name} against it"
    return f"train {name} against {tower}"


def _data(config: Mapping[str, Any]) -> str:
    """'download demo_land_cover (5 MB), read digits'."""
    names_by_verb: dict[str, list[str]] = {"copy manually first:": [], "download": [], "read": []}
    run = Run(config)
    for name in dict.fromkeys([*(task["dataset"] for task in all_tasks(config)), *run.datasets]):
        facts, folder = run.dataset(name), Path(run.archives(name))
        if missing_manual(facts, folder):
            names_by_verb["copy manually first:"].append(name)
        elif missing := to_download(facts, folder):
            names_by_verb["download"].append(f"{name}{_size(missing)}")
        else:
            names_by_verb["read"].append(name)
    return ", ".join(f"{verb} {', '.join(names)}" for verb, names in names_by_verb.items() if names)


def _size(sources: Sequence[Source]) -> str:
    """' (5 MB)'; empty where the publisher of one does not state it."""
    sizes = [file.size for source in sources for file in source.parts or (source,)]
    stated = [size for size in sizes if size is not None]
    return f" ({sum(stated) / 1e6:,.0f} MB)" if len(stated) == len(sizes) else ""


def _with_samples(config: Mapping[str, Any], dataset: str) -> str:
    try:
        facts = json.loads(Path(Paths(config).store(dataset)).read_text(encoding="utf-8"))
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
    measured = [(job, seconds) for job in jobs if (seconds := _seconds(config, job)) is not None]
    if not measured:
        return ""
    # A job with as many threads as cores has the machine to itself; others share it.
    wall = sum(seconds * min(job.threads, cores) / cores for job, seconds in measured)
    coverage = "" if len(measured) == len(jobs) else f", which are known for {len(measured)} of the jobs"
    return f"About {duration(wall)} on {_counted(cores, 'core')} by the times of earlier runs{coverage}."


def _seconds(config: Mapping[str, Any], job: PlannedJob) -> float | None:
    """Seconds of the same job before, in this run or else the median of others; None where it never ran."""
    paths = Paths(config)
    if job.benchmark is None or not job.benchmark.is_relative_to(paths.run_logs):
        return None
    if (seconds := _measured(job.benchmark)) is not None:
        return seconds
    pattern = glob.escape(str(job.benchmark.relative_to(paths.run_logs)))
    if job.encoder is not None:
        # Which alpha is chosen differs between runs, and takes the same time.
        pattern = pattern.replace(str(job.encoder), f"{job.encoder.line}@*")
    others = Path(paths.log_root).glob(f"*/{pattern}")
    times = [seconds for path in others if (seconds := _measured(path)) is not None]
    return statistics.median(times) if times else None


def _measured(path: Path) -> float | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t")) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# --- the headline ----------------------------------------------------------------------------------------------------


def headline_text(config: Mapping[str, Any]) -> str:
    """Where report and tables are, and for each task the score of zero-shot, patched and aligned models, with gains.

    Empty if there is no report: another target was requested.
    """
    paths = Paths(config)
    if not Path(paths.report).exists():
        return ""
    headlines = list(_headlines(config, _rows(Path(paths.metrics)), _selected(config)))
    if len(headlines) > MOST_LINES:
        headlines[MOST_LINES:] = [f"  and {len(headlines) - MOST_LINES} more in the report"]
    places = [f"Report: {paths.report}", f"Tables: {paths.results('tables')}/"]
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
