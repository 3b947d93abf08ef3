"""From CLIP to multispectral satellite images: patch, align, evaluate (docs/architecture.md)."""

import signal
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from bandbridge import job, overview, runlock, slurm
from bandbridge.config import validate
from bandbridge.errors import UserError


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# SLURM's warning before the time limit reaches every process of a job; it is meant for trainings.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

job.share_package(Path(workflow.basedir) / "workflow")

try:
    config = validate(config, source=" + ".join(map(str, workflow.configfiles)))
except UserError as error:
    raise WorkflowError(str(error)) from None


if config["container"]:

    container: config["container"]


include: "workflow/rules/common.smk"
include: "workflow/rules/scores.smk"
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
include: "workflow/rules/report.smk"


rule all:
    """The report, the tables and the patched model."""
    default_target: True
    input:
        report=results("report/index.html"),
        tables=TABLES,
        patched=[
            of_line(line, "patched/open_clip_config.json") for line in PATCHED.values()
        ],
    localrule: True


rule fetch:
    """Everything that needs a network: archives and weights. Afterwards the rest runs offline."""
    input:
        archives=[files(dataset) for dataset in DATASETS],
        clip=fetched_clip(),
        tower=tower_files(),
        encoders=[brought(encoder) for encoder in OTHERS],
        weights=[
            path
            for student in config["align"]["students"]
            for path in first_weights(student)
        ],
    localrule: True


onstart:
    slurm.mend_status_query()
    by_hand = absent_checkpoints(config)
    by_hand += [
        step for dataset in DATASETS for step in still_to_fetch_by_hand(dataset)
    ]
    if by_hand:
        raise WorkflowError("\n\n".join(by_hand))
    try:
        runlock.hold(
            Path(".snakemake") / f"bandbridge-{config['run']}.lock", config["run"]
        )
    except UserError as error:
        raise WorkflowError(str(error)) from None
    print(f"\n{overview.opening(config, workflow)}\n", file=sys.stderr)


onsuccess:
    if told := overview.closing(config):
        print(f"\n{told}\n", file=sys.stderr)


onerror:
    for cure in slurm.cures_of(log):
        print(f"\nSLURM: {cure}.", file=sys.stderr)
    print(
        f"\nThe run stopped; the logs are under {logs('')}. Mended, the same command continues it.\n",
        file=sys.stderr,
    )
