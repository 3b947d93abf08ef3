"""What Snakemake's SLURM plugin does not say or see by itself: how a job ended, and what a user must edit."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
PROFILE = "profiles/slurm/config.yaml"

# What sbatch and the plugin complain of, and what to do about it.
CURES = {
    "invalid partition": f"the cluster has no such partition: set cpu_partition and gpu_partition in {PROFILE} to "
    "names that `sinfo` lists",
    "invalid account": f"you may not use this account there: set account in {PROFILE} to one that "
    "`sacctmgr show associations user=$USER format=account,partition` lists",
    "appears to be invalid": f"you may not use this account: set account in {PROFILE} to one that "
    "`sacctmgr show associations user=$USER format=account,partition` lists",
    "node configuration is not available": "no node of this partition has as much memory, as many cores or such GPUs: "
    f"compare `sinfo -o '%P %c %m %G'` with the job's resources, and set partitions and gpu_model in {PROFILE}",
    "invalid generic resource": f"the partition has no such GPU: set gpu_partition and gpu_model in {PROFILE} to what "
    "`sinfo -o '%P %G'` lists",
    "requested time limit": f"the partition allows less time: set longest in {PROFILE} to its limit in minutes, which "
    "`sinfo -o '%P %l'` lists",
    "qosmaxsubmitjob": f"you may not have as many jobs in the queue: lower jobs in {PROFILE}",
    "no module named": "the compute node lacks the environment that Snakemake was started from: put the clone and its "
    ".venv on a file system that the nodes share, or use --sdm conda or --sdm apptainer",
}


def cures(text: str) -> list[str]:
    """What to do about the troubles that a log tells of, each once."""
    lower = text.lower()
    return list(dict.fromkeys(cure for trouble, cure in CURES.items() if trouble in lower))


def cures_of(logs: str | Sequence[str]) -> list[str]:
    """The same, from Snakemake's own logs and those of the jobs of SLURM that they name."""
    paths = [logs] if isinstance(logs, str) else logs
    text = "\n".join(map(_read, paths))
    return cures("\n".join([text, *map(_read, sorted(set(re.findall(r"\S+/slurm_logs/[^\s,]+\.log", text))))]))


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""


def mend_status_query() -> None:
    """Let the plugin see the end of jobs that were cancelled or pushed aside for good, for which it waits for ever.

    SLURM's accounting says 'CANCELLED by <user>', and of a preempted job PREEMPTED, whether it is queued again or not.
    """
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or getattr(plugin, "mended_by_bandbridge", False):
        return
    query = plugin.query_job_status

    async def mended(*arguments: Any, **named: Any) -> Any:
        states, seconds = await query(*arguments, **named)
        return (states and {job: final_state(job, state) for job, state in states.items()}), seconds

    plugin.query_job_status = mended  # type: ignore[attr-defined]
    plugin.mended_by_bandbridge = True  # type: ignore[attr-defined]


def final_state(job: str, state: str) -> str:
    """A job's state in one word; FAILED if it was pushed aside and is not queued again."""
    word = state.split()[0] if state.strip() else state
    return "FAILED" if word == "PREEMPTED" and not _is_queued(job) else word


def _is_queued(job: str) -> bool:
    try:
        said = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T"], capture_output=True, text=True
        )
    except OSError:
        return True
    if said.returncode:
        return "Invalid job id" not in said.stderr  # forgotten, so it has ended; else the scheduler is busy
    return said.stdout.strip() not in ("", "PREEMPTED")
