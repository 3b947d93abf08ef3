"""`make seeds`: which runs it starts, and what it compares."""

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


def test_each_seed_is_a_run_of_its_own_and_all_are_compared(clone):
    done, calls = make(clone, "RUN=paper", "SEEDS=0 1 2", "ARGS=--configfile paper.yaml")
    assert done.returncode == 0, done.stderr
    assert calls == [
        *(f"--configfile paper.yaml --config run=paper-{seed} seed={seed}" for seed in range(3)),
        "--configfile paper.yaml --config compare=[paper-0, paper-1, paper-2] -- compare",
    ]


def test_a_run_that_fails_is_the_last_one(clone):
    (clone / "fail").write_text("seed=1")
    done, calls = make(clone, "RUN=paper", "SEEDS=0 1 2")
    assert done.returncode != 0
    assert [call.split()[-1] for call in calls] == ["seed=0", "seed=1"]


@pytest.mark.parametrize("arguments", [["RUN=paper"], ["SEEDS=0 1"]])
def test_without_a_name_or_seeds_nothing_runs(clone, arguments):
    done, calls = make(clone, *arguments)
    assert done.returncode != 0
    assert "make seeds RUN=eurosat" in done.stderr
    assert calls == []
