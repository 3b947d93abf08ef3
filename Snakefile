"""From CLIP to multispectral satellite images: patch, align, evaluate (docs/architecture.md)."""

import atexit
import gc
import os
import signal
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version

min_version("9.0")

# Planning makes millions of objects that live until it ends; to look for garbage among them takes a sixth of its time.
gc.set_threshold(100_000, 50, 50)

PACKAGE = Path(workflow.basedir).resolve() / "workflow"
INSTALL = f"pip install --editable {PACKAGE.parent}, or make setup and then .venv/bin/snakemake"

try:
    import bandbridge
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{error.name} is not installed for {sys.executable}: {INSTALL}"
    ) from None

# Another copy would read its own data set files, not those beside this Snakefile.
if Path(bandbridge.__file__).resolve().parents[1] != PACKAGE:
    raise WorkflowError(
        f"bandbridge comes from {bandbridge.__file__}, not from this clone: {INSTALL}"
    )

from bandbridge.base import script as job, limits, progress, runlock
from bandbridge.ops import headline, overview, slurm
from bandbridge.config import sharing
from bandbridge.config.checks import check_files, validate
from bandbridge.base.cpu import slow_without_gpu
from bandbridge.base.errors import UserError
from bandbridge.models.model_checks import model_faults
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.networks import configured_precisions
from bandbridge.ingest.fetch import manual_steps

# Errors that reading a file would hide, such as the first of two equal keys.
try:
    check_files([Path("config.yaml"), *map(Path, workflow.configfiles)])
except UserError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# SLURM's warning before the time limit reaches every process of a job; it is meant for trainings.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

if overview.is_quiet(workflow):
    os.environ[progress.QUIET] = "1"

# Conda environments and containers contain the package's dependencies, but not the package.
if workflow.deployment_settings.deployment_method:
    job.share_package(PACKAGE)

try:
    if workflow.is_main_process:
        limits.check_writable(Path(".snakemake"), "the working directory")
        limits.check_room(Path(".snakemake"))
    source = " + ".join(map(str, workflow.configfiles))
    config = validate(config, source)
    if faults := model_faults(config, Path(".snakemake/bandbridge-models")):
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
except UserError as error:
    raise WorkflowError(str(error)) from None

in_words = overview.Overview(config)
if workflow.is_main_process and not overview.is_quiet(workflow):
    logger.addHandler(in_words)
    if workflow.output_settings.dryrun:
        in_words.after_a_dry_run()


if config["container"]:

    container: config["container"]


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/clip.smk"
include: "workflow/rules/encoders.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/paint.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/apply.smk"
include: "workflow/rules/report.smk"


rule all:
    """The report, the tables and the patched model."""
    default_target: True
    input:
        report=[one.run.paths.report for one in seeds.each.values()],
        tables=[one.run.paths.tables for one in seeds.each.values()],
        applied=[
            file
            for one in seeds.each.values()
            for file in (*one.applied.maps(), *one.applied.archives())
        ],
        patched=[
            one.run.of_line(line, "patched/open_clip_config.json")
            for one in seeds.each.values()
            for line in run.patched.values()
            if any(run.alphas)
        ],
        # Asked for by name, so that they are loaded first: their scores wait for the choice of alpha.
        students=[
            one.run.paths.aligned(student)
            for one in seeds.each.values()
            for student in run.students_by_file
        ],
        seeds=list(seed_files(config).values()) if seeds.several else [],
    localrule: True


rule fetch:
    """Everything that needs a network: archives and weights. Afterwards the rest runs offline."""
    input:
        archives=[paths.files(dataset) for dataset in run.datasets],
        clip=run.fetched_clips(),
        tower=run.tower_files(),
        encoders=[shared.encoder(encoder) for encoder in run.others],
        weights=[paths.weights(file) for file in run.fetched_weights],
    localrule: True


# Locks are taken before Snakemake plans. A dry run changes nothing, and jobs belong to a run that holds the locks.
guard = sharing.Guard(config["run"], sharing.shared_things(run))
if workflow.is_main_process and not workflow.output_settings.dryrun:
    logger.addHandler(guard)
    atexit.register(guard.end)


onstart:
    if steps := [*absent_checkpoints(config), *manual_steps(run)]:
        raise WorkflowError("\n\n".join(steps))
    try:
        for key in ("results_root", "log_root"):
            limits.check_writable(Path(config[key], config["run"]), key)
        # Jobs on other machines have other limits.
        if workflow.local_exec:
            limits.check_address_space()
        runlock.hold(
            Path(".snakemake") / f"bandbridge-{config['run']}.lock", config["run"]
        )
        guard.begin(sharing.jobs_to_do(workflow))
    except UserError as error:
        raise WorkflowError(str(error)) from None
    # Jobs on other machines have other processors.
    if workflow.local_exec and (
        warning := slow_without_gpu(configured_precisions(config))
    ):
        print(f"Warning: {warning}.", file=sys.stderr)
    if not overview.is_quiet(workflow):
        print(f"\n{in_words.text()}\n", file=sys.stderr)


onsuccess:
    if summary := headline.closing(config, workflow.dag_settings.targets):
        print(f"\n{summary}\n", file=sys.stderr)


onerror:
    for cure in slurm.cures_of(log):
        print(f"\nSLURM: {cure}.", file=sys.stderr)
    print(
        f"\nThe run stopped; the logs are under {shared.run_logs}/. Fix what they report, and the same command resumes the run.\n",
        file=sys.stderr,
    )
