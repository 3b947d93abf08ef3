"""Runs that share their data: begun at once, one makes the stores, the other waits and takes them as they are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from clones import Clone, make_clone
from warm_jobs import warm_jobs

STORES = ("data/zarr/digits.zarr/zarr.json", "data/zarr/scene_crop.zarr/zarr.json")


def start(clone: Clone, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    environment = warm_jobs.added_to(clone.environment) if clone.warm else clone.environment
    return subprocess.Popen(command, cwd=clone.root, env=environment, **pipes)


def sharing(clone: Clone, folder: Path, run: str = "second") -> Clone:
    """Another clone, whose run has the data of the first."""
    folder.mkdir()
    other = make_clone(folder, clone.warm)
    other.configure({"run": run, "data_root": str(clone.root / "data")})
    return other


def states(clone: Clone) -> dict[Path, int]:
    """Every file of the stores -> when it was written."""
    return {path: path.stat().st_mtime_ns for path in (clone.root / "data" / "zarr").glob("*.zarr/**/*")}


def test_two_runs_that_start_at_once_convert_once(clone: Clone, tmp_path: Path):
    clone.configure({"data_root": str(clone.root / "data")})
    other = sharing(clone, tmp_path / "other")
    targets = [str(clone.root / store) for store in STORES]
    both = [start(clone, *targets), start(other, *targets)]
    words = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    first, second = sorted(words, key=lambda text: "Waiting for" in text)
    assert first.count("(Rule: preprocess)") == 2
    assert "Nothing to be done" in second
    assert "(process " in second.partition("Waiting for run '")[2]


def test_two_runs_of_one_clone_that_start_at_once_convert_once(clone: Clone):
    both = [start(clone, "--config", f"run={run}", "--", *STORES) for run in ("one", "two")]
    words = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert sorted(text.count("(Rule: preprocess)") for text in words) == [0, 2]


def test_a_waiting_run_continues_with_what_a_killed_one_left(clone: Clone, tmp_path: Path):
    clone = Clone(clone.root)  # its jobs are processes of their own, which end with it
    clone.configure({"data_root": str(clone.root / "data")})
    other = sharing(clone, tmp_path / "other")
    targets = [str(clone.root / store) for store in STORES]
    killed = start(clone, *targets)
    while not (clone.root / "logs/small/convert").exists():
        assert killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGSTOP)
    waiting = start(other, *targets)
    words = ""
    while "Waiting for run" not in words:
        words += waiting.stdout.readline()
        assert waiting.poll() is None, words
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    words += waiting.communicate()[0]
    assert waiting.returncode == 0, words
    assert words.count("(Rule: preprocess)") == 2


def test_a_store_of_other_settings_is_refused_and_stays(clone: Clone, tmp_path: Path):
    """By a run of the same clone, which would convert it again, and by one of another, which would only read it."""
    other = sharing(clone, tmp_path / "other")
    assert clone.snakemake("--cores", "1", STORES[0]).returncode == 0
    before = states(clone)
    settings = {"datasets": {"digits": {"val": 0.3}}}
    other.configure({"run": "second", "data_root": str(clone.root / "data"), **settings})
    read = other.snakemake("--cores", "1", "results/second/clip/demo-vit/open_clip_config.json")
    clone.configure({"run": "second", **settings})
    converted = clone.snakemake("--cores", "1", STORES[0])
    for completed in (read, converted):
        assert completed.returncode != 0
        assert "digits.zarr was made by run 'small' in " in completed.stderr, completed.stderr
        assert "options.val is 0.35 in the store, 0.3 in this run" in completed.stderr
    assert states(clone) == before
    clone.configure(settings)  # the run that made it may
    assert clone.snakemake("--cores", "1", STORES[0]).returncode == 0
    assert states(clone) != before
