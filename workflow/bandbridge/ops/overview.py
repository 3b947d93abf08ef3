"""What a run prints at the terminal as it begins: what it will do, stage by stage, in words.

It never stops a run, and prints less where less is known. Snakemake's own table has the jobs of each rule and, in a dry
run, the reason of each job.
"""

import atexit
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.paths import Paths
from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.config.compared import seed_files
from bandbridge.config.lines import all_tasks, tasks
from bandbridge.config.networks import clips, fine_tunes, locked_tower, patched_files, student_files, students
from bandbridge.config.run import Run
from bandbridge.config.run_notes import run_notes
from bandbridge.config.scored import evaluated
from bandbridge.config.seeds import seeds_of
from bandbridge.ingest.fetch import missing_manual, to_download

# Rules by stage: a rule belongs to the first stage that lists the start of its name.
STAGES = {
    "Data": ("download", "plan", "convert", "preprocess"),
    "CLIP": ("fetch_text_tower", "scratch_clip", "fetch_clip", "zero_shot_head", "words_head"),
    "Alignment": ("align", "fetch_weights", "check_first_weights"),
    "Patching": ("finetune", "embed_sweep", "select_alpha", "add_task_vectors", "patch"),
    "Use": ("apply",),
    "Report": ("collect", "tables", "report", "compare", "seeds"),
    "Evaluation": ("",),
}
ORDER = ("Data", "CLIP", "Patching", "Alignment", "Evaluation", "Use", "Report")
TARGETS = ("all", "fetch", "total")
# In a dry run's log, an input that is known only after a choice of alpha.
UNKNOWN = "<TBD>"


def stage_of(rule: str) -> str:
    """The stage that a rule belongs to."""
    return next(stage for stage, starts in STAGES.items() if rule.startswith(starts))


@dataclass(frozen=True)
class PlannedJob:
    """A job that Snakemake is about to run.

    Attributes:
        seed: the seed that it is of; empty where all seeds share it, or there is one.
        waits: for the choice of alpha, which decides what it does and whether it has to.
    """

    rule: str
    seed: str = ""
    waits: bool = False


class Overview(logging.Handler):
    """Collects what Snakemake logs of its plan, in events that are documented for loggers, and prints it in words.

    `RUN_INFO` has the number of jobs of each rule, before the first job of any run; in a dry run, `JOB_INFO` has the
    files of each job.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._config = config
        self._counts: dict[str, int] = {}
        self._jobs: list[Mapping[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "RUN_INFO":
            self._counts = {rule: int(count) for rule, count in record.__dict__["stats"].items() if rule not in TARGETS}
        elif event == "JOB_INFO":
            self._jobs.append(record.__dict__)

    def text(self) -> str:
        """The plan; empty where Snakemake has planned nothing."""
        try:
            jobs = planned_jobs(self._jobs)
            counts = jobs or [PlannedJob(rule) for rule, count in self._counts.items() for _ in range(count)]
            return plan_text(self._config, counts, knows_what_waits=bool(jobs)) if counts else ""
        except Exception:
            return ""

    def after_a_dry_run(self) -> None:
        """Print the plan when the process ends: a dry run calls none of Snakemake's hooks."""
        atexit.register(lambda: (text := self.text()) and print(f"\n{text}", flush=True))


def is_quiet(workflow: Any) -> bool:
    """Whether the user wants no output (`--quiet all`)."""
    return "ALL" in {kind.name for kind in workflow.output_settings.quiet or ()}


def planned_jobs(logged: Sequence[Mapping[str, Any]]) -> list[PlannedJob]:
    """The jobs of a dry run, from what Snakemake logged of each: those behind a choice of alpha wait for it."""
    makers = {output: job for job in logged for output in job["output"]}
    waits: dict[int, bool] = {}

    def is_waiting(job: Mapping[str, Any]) -> bool:
        if job["jobid"] not in waits:
            sources = [makers[path] for path in job["input"] if path in makers]
            waits[job["jobid"]] = UNKNOWN in job["input"] or any(
                source["is_checkpoint"] or is_waiting(source) for source in sources
            )
        return waits[job["jobid"]]

    return [
        PlannedJob(job["rule_name"], _seed(job["rule_name"], job["wildcards"] or {}), is_waiting(job))
        for job in logged
        if job["output"]
    ]


def _seed(rule: str, wildcards: Mapping[str, str]) -> str:
    in_name = re.match(r"embed_sweep_seed_(\d+)_", rule)
    return str(wildcards.get("seed") or (in_name[1] if in_name else ""))


def plan_text(config: Mapping[str, Any], jobs: Sequence[PlannedJob], knows_what_waits: bool = True) -> str:
    """A few lines: what will be done stage by stage, and what of it depends on the alpha that is chosen.

    Args:
        config: a valid configuration.
        jobs: those to do.
        knows_what_waits: whether their `waits` and `seed` are known.
    """
    seeds = seeds_of(config)
    is_first = not any(Path(Paths({**config, "seed": seed}).metrics).exists() for seed in seeds)
    named = f"seeds {_listed(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}"
    waiting = [job for job in jobs if job.waits]
    plan = [f"Run '{config['run']}', {named}{' (no results yet)' * is_first}:"]
    plan += _stage_lines(stages(config), [job for job in jobs if not job.waits])
    if waiting:
        plan.append("Then, depending on the alpha that is chosen:")
        plan += _stage_lines(stages(config) | after_the_choice(config), waiting)
    plan += [f"Note: {note}" for note in run_notes(config)]
    if len(seeds) > 1 and knows_what_waits:
        plan.append(_by_seed(jobs))
    depend = (
        f", {len(waiting):,} of which depend on alpha; the choice may add more"
        if waiting
        else ""
        if knows_what_waits
        else "; those of students and chosen models wait for the choice of alpha"
    )
    return "\n".join([*plan, f"{_counted(len(jobs), 'job')} in all{depend}."])


def _by_seed(jobs: Sequence[PlannedJob]) -> str:
    """'12 jobs are shared by all seeds; seeds 0 and 1 add 45 jobs each.'"""
    counts = Counter(job.seed for job in jobs)
    shared = counts.pop("", 0)
    groups: dict[int, list[str]] = {}
    for seed, count in sorted(counts.items(), key=lambda item: int(item[0])):
        groups.setdefault(count, []).append(seed)
    added = [
        f"seed {seeds[0]} adds {_counted(count, 'job')}"
        if len(seeds) == 1
        else f"seeds {_listed(seeds)} add {_counted(count, 'job')} each"
        for count, seeds in groups.items()
    ]
    return f"{_counted(shared, 'job')} shared by all seeds; {', '.join(added) or 'no seed adds any'}."


def _listed(values: Sequence[Any]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def _stage_lines(texts: Mapping[str, str], jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """A line for each stage that has jobs."""
    counts = Counter(stage_of(job.rule) for job in jobs)
    listed = [stage for stage in ORDER if counts[stage] and stage in texts]
    width = max((len(texts[stage]) for stage in listed), default=0)
    for stage in listed:
        yield f"  {stage:<11} {texts[stage]:<{width}}  {_counted(counts[stage], 'job')}"


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
    reports = [Paths({**config, "seed": seed}).report for seed in seeds_of(config)]
    texts["Report"] = f"{reports[0]}, and tables"
    if len(reports) > 1:
        texts["Report"] = f"{reports[0]} and those of the other seeds; {seed_files(config)['page']}"
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


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
