"""Additions to Snakemake's SLURM plugin: the final state of jobs, and advice on errors."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
PROFILE = "profiles/slurm/config.yaml"

# Parts of error messages of sbatch and the plugin -> what to do.
CURES = {
    "invalid partition": f"the cluster has no such partition: set cpu_partition and gpu_partition in {PROFILE} to "
    "names that `sinfo` lists",
    "invalid account": f"you may not use this account in the partition: set account in {PROFILE} to one that "
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
    """What to do about the errors in a log, each once."""
    lower = text.lower()
    return list(dict.fromkeys(cure for message, cure in CURES.items() if message in lower))


def cures_of(logs: str | Sequence[str]) -> list[str]:
    """`cures` of Snakemake's logs and of the SLURM jobs' logs that they name."""
    paths = [logs] if isinstance(logs, str) else logs
    text = "\n".join(map(_read, paths))
    return cures("\n".join([text, *map(_read, sorted(set(re.findall(r"\S+/slurm_logs/[^\s,]+\.log", text))))]))


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""


def fix_status_query() -> None:
    """Make the plugin recognise the end of cancelled and preempted jobs, for which it would wait for ever.

    SLURM's accounting reports 'CANCELLED by <user>', and PREEMPTED whether a job is queued again or not.
    """
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or getattr(plugin, "fixed_by_bandbridge", False):
        return
    query = plugin.query_job_status

    async def fixed(*arguments: Any, **named: Any) -> Any:
        states, seconds = await query(*arguments, **named)
        return (states and {job: final_state(job, state) for job, state in states.items()}), seconds

    plugin.query_job_status = fixed  # type: ignore[attr-defined]
    plugin.fixed_by_bandbridge = True  # type: ignore[attr-defined]


def final_state(job: str, state: str) -> str:
    """A job's state in one word; FAILED if it was preempted and is not queued again."""
    word = state.split()[0] if state.strip() else state
    return "FAILED" if word == "PREEMPTED" and not _is_queued(job) else word


def _is_queued(job: str) -> bool:
    try:
        answer = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T"], capture_output=True, text=True
        )
    except OSError:
        return True
    if answer.returncode:
        return "Invalid job id" not in answer.stderr  # an unknown job has ended; otherwise the scheduler is busy
    return answer.stdout.strip() not in ("", "PREEMPTED")
