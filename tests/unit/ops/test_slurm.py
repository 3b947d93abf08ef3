"""What the SLURM plugin is told of jobs' ends, and users of what to edit."""

import os
from pathlib import Path

import pytest

from bandbridge.ops import slurm


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A scheduler that gives one answer."""

    def answers(script: str) -> None:
        program = tmp_path / "squeue"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return answers


@pytest.mark.parametrize(
    ("said", "meant"),
    [("CANCELLED by 1000", "CANCELLED"), ("COMPLETED", "COMPLETED"), ("OUT_OF_MEMORY", "OUT_OF_MEMORY"), ("", "")],
)
def test_a_state_is_one_word(said: str, meant: str):
    assert slurm.final_state("1", said) == meant


@pytest.mark.parametrize(
    ("script", "meant"),
    [
        ("echo PENDING", "PREEMPTED"),
        ("echo RUNNING", "PREEMPTED"),
        ("echo PREEMPTED", "FAILED"),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "FAILED"),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", "PREEMPTED"),
    ],
)
def test_a_job_that_was_pushed_aside_has_failed_unless_it_is_queued_again(squeue, script: str, meant: str):
    squeue(script)
    assert slurm.final_state("1", "PREEMPTED") == meant


def test_cures_come_from_snakemakes_log_and_from_those_of_the_jobs(tmp_path: Path):
    job = tmp_path / "slurm_logs" / "rule_plan" / "7.log"
    job.parent.mkdir(parents=True)
    job.write_text("/usr/bin/python: No module named snakemake\n")
    log = tmp_path / "snakemake.log"
    log.write_text(f"sbatch: error: invalid partition specified: cpus\nlog: a.log, {job} (check log file(s))\n")
    partition, environment = slurm.cures_of([str(log)])
    assert "cpu_partition" in partition
    assert "--sdm conda" in environment
    assert slurm.cures_of(str(tmp_path / "absent.log")) == []


def test_without_the_plugin_nothing_is_loaded_or_patched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(slurm.sys.modules, slurm.PLUGIN, raising=False)
    before = set(slurm.sys.modules)
    slurm.fix_status_query()
    assert set(slurm.sys.modules) == before
