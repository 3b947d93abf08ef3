"""A SLURM executor that also sees cancelled and preempted jobs end, for which Snakemake's plugin would wait for ever.

SLURM's accounting reports 'CANCELLED by <user>', and PREEMPTED whether a job is queued again or not. The plugin
compares with 'CANCELLED', and waits for preempted jobs.
"""

import subprocess
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm.job_status_query import (
    is_query_tool_available,
    query_job_status,
    query_job_status_sacct,
    query_job_status_squeue,
)
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

DISTRIBUTION, TESTED = "snakemake-executor-plugin-slurm", "2.8.0"


class Executor(plugin.Executor):  # type: ignore[misc]
    """Snakemake's SLURM executor; a job that is cancelled, or preempted and not queued again, has failed.

    Raises:
        WorkflowError: another version of the plugin is installed than the one that this is tested with.
    """

    def __init__(self, workflow: Any, logger: Any) -> None:
        check_version(version(DISTRIBUTION))
        super().__init__(workflow, logger)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """The jobs that are still active; those that have ended are reported."""
        states = await self._states() if active_jobs else {}
        left = []
        for job in active_jobs:
            state = states.get(job.external_jobid, "")
            if has_failed(job.external_jobid, state):
                message = f"SLURM-job '{job.external_jobid}' failed, SLURM status is: '{state}'."
                self.report_job_error(job, msg=message, aux_logs=[str(job.aux["slurm_logfile"])])
            else:
                left.append(job)
        async for job in super().check_active_jobs(left):
            yield job

    async def _states(self) -> dict[str, str]:
        """Job -> its state as SLURM states it; empty if SLURM does not answer, as the plugin's own query then says."""
        accounted = self.get_status_command() == "sacct" and is_query_tool_available("sacct")
        command = (query_job_status_sacct if accounted else query_job_status_squeue)(self.run_uuid)
        async with self.status_rate_limiter:
            states, _ = await query_job_status(command, self.logger)
        return states or {}


def check_version(installed: str) -> None:
    """Raises a WorkflowError for another version of the SLURM plugin than the tested one."""
    if installed != TESTED:
        raise WorkflowError(
            f"{DISTRIBUTION} is {installed}; the executor slurm-bandbridge extends {TESTED}. Install that version "
            "(`make setup`), or use `--executor slurm`, which waits for ever for jobs that were cancelled or preempted."
        )


def has_failed(job: str, state: str) -> bool:
    """Whether a job was cancelled, or preempted and not queued again; the plugin recognises every other end."""
    word = state.partition(" ")[0]
    return (word == "CANCELLED" and word != state) or (word == "PREEMPTED" and not _is_queued(job))


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
