"""Advice on errors of SLURM and of Snakemake's SLURM plugin."""

import re
from collections.abc import Sequence
from pathlib import Path

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
