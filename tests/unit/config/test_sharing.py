"""Runs that share stores: who makes one has it alone, others wait, and nobody takes it away from a reader."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from bandbridge.base import runlock
from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Composite, load_dataset
from bandbridge.config import sharing
from bandbridge.config.sharing import STORE_RULES, Guard, Job, Shared

FACTS = {"options": {"val": 0.2, "test": 0.2}, "splits": ["train", "test"]}

# Enters another process as a reader of the store.
READ = """
import sys
from pathlib import Path
from bandbridge.config.sharing import STORE_RULES, Guard, Shared
guard = Guard("other", [Shared("digits", Path(sys.argv[1]), "store_root", STORE_RULES, (("dataset", "digits"),), {})])
guard.wait()
guard.begin([])
print("reads", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def digits(tmp_path: Path) -> Shared:
    return Shared("digits", tmp_path, "store_root", STORE_RULES, (("dataset", "digits"),), FACTS)


@pytest.fixture
def guard(digits: Shared) -> Iterator[Guard]:
    guard = Guard("demo", [digits])
    guard.wait()
    yield guard
    guard.end()


def job(rule: str, dataset: str = "digits", inputs: frozenset[str] = frozenset()) -> Job:
    return Job(rule, {"dataset": dataset}, inputs)


def is_free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


def event(name: str, **values: object) -> logging.LogRecord:
    record = logging.makeLogRecord(values)
    record.event = type("Event", (), {"name": name})
    return record


def made(digits: Shared, facts: dict, run: str, folder: str) -> None:
    digits.store.parent.mkdir(parents=True)
    digits.store.write_text(json.dumps({"attributes": {"conversion": facts}}))
    digits.maker.parent.mkdir(exist_ok=True)
    digits.maker.write_text(json.dumps({"run": run, "folder": folder}))


def test_the_lock_lasts_from_the_plan_until_the_last_job_of_the_store(digits: Shared):
    guard = Guard("demo", [digits])
    guard.emit(event("WORKFLOW_STARTED"))
    guard.begin([job("convert"), job("preprocess"), job("preprocess", "another")])
    for number, rule in enumerate(["convert", "preprocess"]):
        assert not is_free(digits.lock)
        guard.emit(event("JOB_INFO", jobid=number, rule_name=rule, wildcards={"dataset": "digits"}))
        guard.emit(event("JOB_FINISHED", job_id=number))
    assert is_free(digits.lock)
    guard.end()


def test_a_quiet_snakemake_gives_a_store_up_when_it_starts_a_job_that_reads_it(guard: Guard, digits: Shared):
    guard.begin([job("preprocess"), job("embed")])
    facts = {"jobid": 3, "rule_name": "embed", "wildcards": {}, "input": [f"{digits.root}/./digits.zarr/zarr.json"]}
    assert not is_free(digits.lock)
    guard.emit(event("JOB_INFO", **facts))
    assert is_free(digits.lock)


def test_what_is_not_made_is_let_go_before_the_first_job(guard: Guard, digits: Shared):
    assert not is_free(digits.lock)
    guard.begin([job("score_probe")])
    assert is_free(digits.lock)


def test_a_store_that_another_run_reads_is_not_made_again_until_that_run_is_gone(digits: Shared, tmp_path: Path):
    environment = {"PYTHONPATH": str(Path(sharing.__file__).parents[2])}
    command = [sys.executable, "-c", READ, str(tmp_path)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    guard = Guard("demo", [digits])
    try:
        assert reader.stdout.readline() == b"reads\n"
        guard.wait()
        with pytest.raises(UserError, match=rf"digits is read by run 'other' \(process {reader.pid} of .*store_root"):
            guard.begin([job("preprocess")])
    finally:
        reader.kill()
        reader.wait()
    guard.begin([job("preprocess")])
    guard.end()


def test_a_store_of_other_settings_is_neither_read_nor_made_again(digits: Shared, guard: Guard):
    made(digits, {**FACTS, "options": {"val": 0.3, "test": 0.2}}, "first", "/elsewhere")
    for jobs in ([job("embed", inputs=frozenset({str(digits.store)}))], [job("preprocess")]):
        with pytest.raises(UserError, match=r"run 'first' in /elsewhere .*val is 0.3 in the store, 0.2 in this run"):
            guard.begin(jobs)


def test_a_run_may_change_the_settings_of_its_own_store(digits: Shared, guard: Guard):
    made(digits, {**FACTS, "options": {"val": 0.3, "test": 0.2}}, "demo", os.getcwd())
    guard.begin([job("preprocess")])


@pytest.mark.parametrize("clone", ["moved", "copied"])
def test_a_clone_that_was_moved_or_copied_with_its_stores_may_change_them(
    digits: Shared, guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clone: str
):
    before = tmp_path / "before"
    if clone == "copied":
        before.mkdir()
        monkeypatch.chdir(digits.root)
    made(digits, {**FACTS, "options": {"val": 0.3, "test": 0.2}}, "demo", str(before))
    guard.begin([job("preprocess")])


def test_a_store_of_the_same_settings_is_read_whoever_made_it(digits: Shared, guard: Guard):
    made(digits, {**FACTS, "a_fact_of_another_version": 1}, "first", "/elsewhere")
    guard.begin([job("embed", inputs=frozenset({str(digits.store)}))])


def test_a_folder_that_cannot_be_written_matters_only_where_something_is_to_be_made(tmp_path: Path, digits: Shared):
    (tmp_path / "file").touch()
    nowhere = replace(digits, root=tmp_path / "file" / "zarr")
    guard = Guard("demo", [nowhere])
    guard.wait()
    guard.begin([job("embed")])
    with pytest.raises(UserError, match=r"set store_root to a folder of your own"):
        guard.begin([job("preprocess")])
    guard.end()


def test_locks_last_as_long_as_the_run_where_its_jobs_are_unknown(guard: Guard, digits: Shared):
    guard.begin(None)
    assert not is_free(digits.lock)
    assert runlock.holder(digits.lock).startswith("run 'demo' (process ")


def test_who_may_lock_but_not_write_reads_all_the_same(digits: Shared, guard: Guard, monkeypatch: pytest.MonkeyPatch):
    """Another user's folder: its lock files may be locked by anyone, but none be added."""
    made(digits, FACTS, "first", "/elsewhere")
    take = runlock.take

    def only_what_is_there(path: Path, run: str) -> bool:
        if not path.exists():
            raise PermissionError(13, "Permission denied", str(path))
        return take(path, run)

    monkeypatch.setattr(runlock, "take", only_what_is_there)
    guard.begin([job("embed", inputs=frozenset({str(digits.store)}))])
    assert is_free(digits.lock)


def test_what_a_data_set_states_of_its_pixels_and_labels_is_a_setting_of_its_store():
    dataset = load_dataset("eurosat_ms")
    composite = Composite(("B08", "B04", "B03"), 3000.0)
    primary = replace(dataset.primary, composite=composite)
    changed = [
        replace(dataset, modalities=(primary,)),
        replace(dataset, headline="balanced_accuracy"),
        replace(dataset, unlabelled="count"),
    ]
    settings = [sharing.settings_of(one) for one in (dataset, *changed)]
    assert all(one != other for one, other in combinations(settings, 2))
    assert sharing.settings_of(replace(dataset, title="Another")) == settings[0]
    maps = sharing.settings_of(load_dataset("bigearthnet_v1"))["stated"]["maps"]
    assert "bigearthnet-19" in maps
