"""What a run prints at the terminal as it begins: what it will do, stage by stage, in words.

It never stops a run, and prints less where less is known. Snakemake's own table has the jobs of each rule and, in a dry
run, the reason of each job.
"""

import atexit
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.config.compared import seed_files
from bandbridge.config.lines import tasks
from bandbridge.config.networks import fine_tunes
from bandbridge.config.run import Run
from bandbridge.config.run_notes import run_notes
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


class PlannedJob(NamedTuple):
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
    files of each job, after those that make its inputs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._config = config
        self._counts: Mapping[str, Any] = {}
        self._jobs: list[Mapping[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "RUN_INFO":
            self._counts = record.__dict__["stats"]
        elif event == "JOB_INFO":
            self._jobs.append(record.__dict__)

    def text(self) -> str:
        """The plan; empty where Snakemake has planned nothing."""
        try:
            counts = Counter({rule: int(count) for rule, count in self._counts.items() if rule not in TARGETS})
            jobs = list(planned_jobs(self._jobs)) or [PlannedJob(rule) for rule in counts.elements()]
            return plan_text(self._config, jobs, is_dry_run=bool(self._jobs)) if jobs else ""
        except Exception:
            return ""

    def after_a_dry_run(self) -> None:
        """Print the plan when the process ends: a dry run calls none of Snakemake's hooks."""
        atexit.register(lambda: (text := self.text()) and print(f"\n{text}", flush=True))


def is_quiet(workflow: Any) -> bool:
    """Whether the user wants no output (`--quiet all`)."""
    return "ALL" in {kind.name for kind in workflow.output_settings.quiet or ()}


def planned_jobs(logged: Iterable[Mapping[str, Any]]) -> Iterator[PlannedJob]:
    """The jobs of a dry run, from what Snakemake logged of each: those behind a choice of alpha wait for it."""
    waiting_files: set[str] = set()
    for job in logged:
        waits = UNKNOWN in job["input"] or not waiting_files.isdisjoint(job["input"])
        if waits or job["is_checkpoint"]:
            waiting_files.update(job["output"])
        if job["output"]:
            in_name = re.match(r"embed_sweep_seed_(\d+)_", job["rule_name"])
            seed = (job["wildcards"] or {}).get("seed") or (in_name[1] if in_name else "")
            yield PlannedJob(job["rule_name"], str(seed), waits)


def plan_text(config: Mapping[str, Any], jobs: Sequence[PlannedJob], is_dry_run: bool = True) -> str:
    """A few lines: what will be done stage by stage, and what of it depends on the alpha that is chosen.

    Args:
        config: a valid configuration.
        jobs: those to do; only in a dry run are their `waits` and `seed` known.
    """
    seeds, texts = seeds_of(config), stages(config)
    is_first = not any(Path(Run({**config, "seed": seed}).paths.metrics).exists() for seed in seeds)
    named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    plan = [f"Run '{config['run']}', {named}{' (no results yet)' * is_first}:"]
    plan += _stage_lines(texts, [job for job in jobs if not job.waits])
    total = f"{_counted(len(jobs), 'job')} in all"
    if waiting := [job for job in jobs if job.waits]:
        scored = ", ".join(["the chosen model", *Run(config).students])
        texts |= {"Patching": "write the patched model", "Evaluation": f"score {scored}"}
        plan += ["Then, depending on the alpha that is chosen:", *_stage_lines(texts, waiting)]
        total += f", {len(waiting):,} of which depend on alpha; the choice may add more"
    elif not is_dry_run:
        total += "; those of students and chosen models wait for the choice of alpha"
    plan += [f"Note: {note}" for note in run_notes(config)]
    if len(seeds) > 1 and is_dry_run:
        counts = Counter(job.seed for job in jobs)
        added = [f"seed {seed} adds {counts[str(seed)]:,}" for seed in seeds if counts[str(seed)]]
        plan.append(f"{_counted(counts[''], 'job')} shared by all seeds; {', '.join(added) or 'no seed adds any'}.")
    return "\n".join([*plan, f"{total}."])


def _stage_lines(texts: Mapping[str, str], jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """A line for each stage that has jobs."""
    counts = Counter(stage_of(job.rule) for job in jobs)
    listed = [stage for stage in ORDER if counts[stage] and stage in texts]
    width = max((len(texts[stage]) for stage in listed), default=0)
    for stage in listed:
        yield f"  {stage:<11} {texts[stage]:<{width}}  {_counted(counts[stage], 'job')}"


def stages(config: Mapping[str, Any]) -> dict[str, str]:
    """What each stage of a run does, in words; stages that are switched off are left out."""
    run, seeds = Run(config), seeds_of(config)
    texts = {
        "Data": _data(run),
        "CLIP": ", ".join(_clip(run, name, source) for name, source in run.clips.values()),
        "Patching": f"{_patched_by(run)}, encode at {_counted(len(run.alphas), 'alpha')}, choose alpha",
        "Evaluation": f"score on {', '.join(run.evaluated)}",
        "Report": f"{Run({**config, 'seed': seeds[0]}).paths.report}, and tables",
    }
    if run.students:
        trained = ", ".join(run.trained_students)
        epochs = _counted(config["align"]["epochs"], "epoch")
        loaded = dict.fromkeys(run.student_file(student) for student in run.students_by_file)
        parts = [f"align {trained} for {epochs}"] if trained else []
        texts["Alignment"] = ", ".join([*parts, *(f"load {path}" for path in loaded)])
    if config.get("apply"):
        texts["Use"] = f"map or embed {', '.join(config['apply'])}"
    if len(seeds) > 1:
        texts["Report"] += f", of each seed; {seed_files(config)['page']}"
    return texts


def _patched_by(run: Run) -> str:
    if run.patched_files:
        return f"load {' and '.join(run.patched_files.values())}"
    if not fine_tunes(run.config):
        return "no fine-tuning"
    patching = " and ".join(task["dataset"] for task in tasks(run.config, "patching"))
    return f"fine-tune on {patching} for {_counted(run.config['finetune']['epochs'], 'epoch')}"


def _clip(run: Run, name: str, source: str) -> str:
    if source != "scratch":
        return f"load {name} (weights: {source})"
    if run.tower is None:
        return f"train {name} from scratch"
    if missing_tower_files(run.config["data_root"], run.tower):
        return f"download {run.tower}, train {name} against it"
    return f"train {name} against {run.tower}"


def _data(run: Run) -> str:
    """'download demo_land_cover (5 MB), read digits'."""
    names_by_verb: dict[str, list[str]] = {"copy manually first:": [], "download": [], "read": []}
    for name in run.datasets:
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
    return "" if None in sizes else f" ({sum(filter(None, sizes)) / 1e6:,.0f} MB)"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
