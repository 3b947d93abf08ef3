"""The executor that extends the SLURM plugin, on a scheduler of scripts: what Snakemake makes of the ends of jobs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake_executor_plugin_slurm
from snakemake_interface_common.exceptions import WorkflowError

from bandbridge.ops.slurm_executor import TESTED, check_version, has_failed

WORKFLOW = Path(__file__).parents[3] / "workflow"
SNAKEFILE = """
rule waits:
    output: "never.txt"
    shell: "touch {output}"
"""
COMMAND = [
    *(sys.executable, "-m", "snakemake", "--executor", "slurm-bandbridge", "--jobs", "1", "--nocolor"),
    *("--slurm-bandbridge-init-seconds-before-status-checks", "1", "--latency-wait", "1"),
    *("--default-resources", "slurm_account=lab", "slurm_partition=cpu", "runtime=1"),
]


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """Programs of a scheduler, each a script that answers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answers(**scripts):
        for name, script in scripts.items():
            program = folder / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    return answers


@pytest.mark.parametrize(
    ("state", "failed"),
    [
        ("CANCELLED by 1000", True),
        # The plugin knows these by itself, and says more of them.
        *((known, False) for known in ("CANCELLED", "COMPLETED", "OUT_OF_MEMORY", "TIMEOUT", "NODE_FAIL", "FAILED")),
        *((alive, False) for alive in ("RUNNING", "PENDING", "REQUEUED", "")),
    ],
)
def test_a_job_cancelled_by_somebody_has_failed(state, failed):
    assert has_failed("1", state) == failed


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        ("echo PENDING", False),
        ("echo RUNNING", False),
        ("echo PREEMPTED", True),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", True),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", False),
    ],
)
def test_a_preempted_job_has_failed_unless_it_is_queued_again(scheduler, script, failed):
    scheduler(squeue=script)
    assert has_failed("1", "PREEMPTED") == failed


def test_another_version_of_the_plugin_is_refused_with_what_to_do():
    check_version(TESTED)
    with pytest.raises(WorkflowError, match=r"3\.0\.0; the executor .* extends 2\.8\.0.*make setup"):
        check_version("3.0.0")


def test_the_patch_in_the_documentation_applies_to_the_plugin(tmp_path):
    package = Path(snakemake_executor_plugin_slurm.__file__).parent
    shutil.copytree(package, tmp_path / package.name)
    text = (WORKFLOW.parent / "docs" / "hpc.md").read_text(encoding="utf-8")
    (diff,) = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    command = ["git", "apply", "--verbose", "--directory", str(tmp_path.relative_to("/")), "--unsafe-paths", "-"]
    done = subprocess.run(command, cwd="/", input=diff, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    source = (tmp_path / package.name / "job_status_query.py").read_text(encoding="utf-8")
    compile(source, "job_status_query.py", "exec")
    assert "await is_queued(job_id)" in source


@pytest.mark.slow
@pytest.mark.parametrize("state", ["CANCELLED by 1000", "PREEMPTED"])
def test_snakemake_ends_with_the_failure_of_such_a_job(scheduler, tmp_path, state):
    scheduler(
        sbatch="echo '7;cluster'",
        sacct=f"echo '7|{state}'",
        squeue="exit 0",
        sinfo="echo cpu",
        scontrol="exit 0",
        sacctmgr="echo lab",
        sshare="echo lab",
        scancel="exit 0",
    )
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert f"SLURM-job '7' failed, SLURM status is: '{state}'" in done.stderr
