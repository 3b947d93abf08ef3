"""The two profiles, as Snakemake reads them together."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import snakemake_starts

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SNAKEFILE = """
rule all:
    input: expand("{number}.done", number=range(3))

rule on_gpu:
    output: "{number}.done"
    resources: gpu=GPUS
    shell: "mkdir busy && sleep 0.3 && rmdir busy && touch {output}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    (tmp_path / "slurm").symlink_to("profiles/slurm")
    return tmp_path


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A clone has the executor of profiles/slurm; an installed package has not.
    return snakemake_starts.snakemake(*arguments, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")})


@pytest.mark.parametrize("gpus", [1, 2])
def test_on_a_workstation_two_gpu_jobs_never_meet(folder: Path, gpus: int):
    """Nor does a training in two processes, which a machine with one GPU, or with none, runs all the same."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("GPUS", str(gpus)))
    completed = snakemake(folder, "--cores", "4", "--resources", "gpu=1")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    completed = snakemake(folder, "--forceall", "--dry-run")  # the profile's own values are good ones
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_the_workstations_gpus_do_not_bound_the_clusters(folder: Path):
    """Snakemake lays profiles/default over any --profile. (Its cores do not either: make test-slurm.)"""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("GPUS", "64"))
    assert "gpu=64" not in snakemake(folder, "--dry-run").stdout
    assert "gpu=64" in snakemake(folder, "--profile", "slurm", "--dry-run").stdout
