"""`make seeds`: the run that it starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# It writes its arguments down, and fails where they hold the word in the file `fail`.
SNAKEMAKE = """#!/bin/sh
echo "$*" >> calls
case "$*" in *"$(cat fail)"*) exit 1;; esac
"""


@pytest.fixture
def clone(tmp_path):
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    program = tmp_path / ".venv/bin/snakemake"
    program.parent.mkdir(parents=True)
    program.write_text(SNAKEMAKE)
    program.chmod(0o755)
    (tmp_path / ".venv/.installed").touch()
    (tmp_path / "fail").write_text("nothing of this name")
    return tmp_path


def make(clone, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "seeds", *arguments], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    calls = clone / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_all_seeds_are_one_run(clone):
    done, calls = make(clone, "RUN=paper", "SEEDS=0 1 2", "ARGS=--configfile paper.yaml")
    assert done.returncode == 0, done.stderr
    assert calls == ["--configfile paper.yaml --config run=paper seeds=[0, 1, 2]"]


def test_a_run_that_fails_fails_make(clone):
    (clone / "fail").write_text("run=paper")
    done, calls = make(clone, "RUN=paper", "SEEDS=0 1 2")
    assert done.returncode != 0
    assert len(calls) == 1


@pytest.mark.parametrize("arguments", [["RUN=paper"], ["SEEDS=0 1"]])
def test_without_a_name_or_seeds_nothing_runs(clone, arguments):
    done, calls = make(clone, *arguments)
    assert done.returncode != 0
    assert "make seeds RUN=eurosat" in done.stderr
    assert calls == []
