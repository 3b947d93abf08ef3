"""Conversion: any number of jobs, any order and any interruption give the same store, and nothing faulty gets in."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_store import set_shard, small_dataset, write_store

from bandbridge.base.errors import UserError
from bandbridge.ingest import assemble as assemble_module
from bandbridge.ingest import convert as convert_module
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.readers import Planned, Rejected, Sample
from bandbridge.ingest.records import load_records
from bandbridge.store.dataset import Store
from bandbridge.store.shard_writer import read_index, with_crc, write_shard

SCENE = small_dataset("demo_scene")
COUNTS = {"train": 11, "val": 2, "test": 5}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    set_shard(monkeypatch, 3)


def sample(name, seed, **changes):
    pixels = np.random.default_rng(seed).integers(1, 3000, (13, 6, 5)).astype(np.uint16)
    return dataclasses.replace(Sample(name, pixels, ("forest", "water"), 52.5, 12.5, "2017-02-16"), **changes)


def some_samples():
    seeds = iter(range(100))
    return [(split, sample(f"{split}-{at:02d}", next(seeds))) for split, n in COUNTS.items() for at in range(n)]


def contents(path):
    """Relative name -> bytes of every file of a store."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        set_shard(patch, 3)
        path = tmp_path_factory.mktemp("reference") / "demo_scene.zarr"
        write_store(path, SCENE, some_samples())
    return path


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=st.integers(1, 9), order=st.permutations(range(sum(COUNTS.values()))))
def test_any_number_of_jobs_and_any_order_give_the_same_bytes(tmp_path_factory, reference, jobs, order):
    path = tmp_path_factory.mktemp("store") / "demo_scene.zarr"
    samples = some_samples()
    write_store(path, SCENE, [samples[at] for at in order], jobs=jobs)
    assert contents(path) == contents(reference)


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faulty=st.sets(st.integers(0, sum(COUNTS.values()) - 1), max_size=9), jobs=st.integers(1, 4))
def test_a_store_with_gaps_is_the_store_of_what_remains(tmp_path_factory, faulty, jobs):
    samples = some_samples()
    left = [item for at, item in enumerate(samples) if at not in faulty]
    if {split for split, _ in left} != set(COUNTS):
        return
    folder = tmp_path_factory.mktemp("stores")
    damaged = [
        (split, Rejected(item.id, "is damaged")) if at in faulty else (split, item)
        for at, (split, item) in enumerate(samples)
    ]
    write_store(folder / "gaps.zarr", SCENE, damaged, jobs=jobs, max_quarantined_share=1)
    write_store(folder / "left.zarr", SCENE, left)
    gaps, remains = Store(folder / "gaps.zarr"), Store(folder / "left.zarr")
    assert gaps.digest == remains.digest
    assert gaps.attrs["quarantined"] == len(faulty)
    for split in COUNTS:
        with_gaps, expected = gaps.split(split), remains.split(split)
        assert with_gaps.ids.tolist() == expected.ids.tolist()
        np.testing.assert_array_equal(with_gaps.read(range(len(with_gaps))), expected.read(range(len(expected))))


def test_the_stores_pixels_are_the_converted_files_themselves(tmp_path):
    write_store(tmp_path / "a.zarr", SCENE, some_samples(), jobs=2)
    linked = tmp_path / "a.zarr" / "train" / "s2" / "c.0.0.0.0"
    assert linked.stat().st_nlink == 2
    assert linked.samefile(tmp_path / "parts" / "a.zarr" / "0-of-2" / "train.0")
    assert {file.name for file in linked.parent.iterdir()} == {"zarr.json", *(f"c.{n}.0.0.0" for n in range(4))}


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch, reference):
    link = os.link

    def refuse(source, target):
        if "parts" in Path(source).parts:  # zarr-python makes links of its own
            raise OSError("Operation not supported")
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    write_store(tmp_path / "a.zarr", SCENE, some_samples())
    assert contents(tmp_path / "a.zarr") == contents(reference)


# --- going on ------------------------------------------------------------------------------------------------------


class Stop(BaseException):
    """As sudden as a kill for what runs."""


def share_of(samples):
    return make_plan(SCENE, [Planned(item.id, split) for split, item in samples]).share(0, 1)


def convert_until(folder, samples, stop, asked=None):
    """Convert, but stop before the `stop`-th sample that is asked for."""

    def read(missing):
        if asked is not None:
            asked.append(sorted(missing))
        for count, item in enumerate(item for _, item in samples if item.id in missing):
            if count == stop:
                raise Stop
            yield item

    convert_share(SCENE, "s2", share_of(samples), read, folder, "sources")


def outcome(folder):
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "records.npz"}
    records = load_records(folder / "records.npz")
    return files, {name: np.asarray(value).tolist() for name, value in vars(records).items() if name != "reasons"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        set_shard(patch, 3)
        folder = tmp_path_factory.mktemp("whole") / "share"
        convert_until(folder, some_samples(), None)
        return outcome(folder)


@pytest.fixture
def stopped(tmp_path):
    """The folder of a conversion that was stopped before its ninth sample."""
    with pytest.raises(Stop):
        convert_until(tmp_path / "share", some_samples(), 8)
    return tmp_path / "share"


@pytest.mark.parametrize("stops", [[0], [1], [7], [17], [4, 1, 6], [5, 5, 5]])
def test_an_interrupted_conversion_goes_on_with_what_is_missing(tmp_path, uninterrupted, stops):
    asked = []
    for stop in stops:
        with pytest.raises(Stop):
            convert_until(tmp_path / "share", some_samples(), stop, asked)
    convert_until(tmp_path / "share", some_samples(), None, asked)
    done = np.cumsum([0, *stops])
    assert [len(missing) for missing in asked] == (sum(COUNTS.values()) - done).tolist()
    assert outcome(tmp_path / "share") == uninterrupted


def test_what_was_cut_short_by_the_kill_is_made_again(stopped, uninterrupted):
    journal = stopped / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    for part in stopped.glob("*.part"):
        with part.open("ab") as file:
            file.write(b"half a chunk")
    convert_until(stopped, some_samples(), None)
    assert outcome(stopped) == uninterrupted


@pytest.mark.parametrize("finished", [1, 3, 6])
def test_a_kill_while_files_are_closed_loses_nothing(tmp_path, monkeypatch, uninterrupted, finished):
    calls = []

    def write(*arguments):
        if len(calls) == finished:
            raise Stop
        calls.append(arguments)
        return write_shard(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(convert_module, "write_shard", write)
        with pytest.raises(Stop):
            convert_until(tmp_path / "share", some_samples(), None)
    asked = []
    convert_until(tmp_path / "share", some_samples(), None, asked)
    assert asked == [[]]
    assert outcome(tmp_path / "share") == uninterrupted


def test_other_archives_start_anew(stopped, uninterrupted):
    asked = []

    def read(missing):
        asked.append(len(missing))
        return (item for _, item in some_samples() if item.id in missing)

    convert_share(SCENE, "s2", share_of(some_samples()), read, stopped, "other sources")
    assert asked == [sum(COUNTS.values())]
    assert outcome(stopped) == uninterrupted


@pytest.mark.attack("links where files are written")
@pytest.mark.parametrize("name", ["journal", "train.0.part"])
def test_a_link_among_the_files_of_a_share_is_not_followed(tmp_path, stopped, uninterrupted, name):
    (file,) = [file for file in stopped.iterdir() if name in file.name]
    file.rename(tmp_path / "precious")
    file.symlink_to(tmp_path / "precious")
    before = (tmp_path / "precious").read_bytes()
    convert_until(stopped, some_samples(), None)
    assert (tmp_path / "precious").read_bytes() == before
    assert outcome(stopped) == uninterrupted


def test_a_chunk_that_a_power_cut_took_is_converted_again(stopped, uninterrupted):
    flip(stopped / "train.0.part", 100)
    lost = stopped / "train.1.part"
    size = lost.stat().st_size
    lost.write_bytes(bytes(size - 10))
    asked = []
    convert_until(stopped, some_samples(), None, asked)
    done = [name for _, item in some_samples()[:8] if (name := item.id) not in asked[0]]
    assert done == ["train-01", "train-02", "train-06", "train-07"]
    assert outcome(stopped) == uninterrupted


def test_a_damaged_line_of_the_journal_and_those_after_it_do_not_count(stopped, uninterrupted):
    journal = stopped / "journal.jsonl"
    line = journal.read_bytes().splitlines()[3]
    flip(journal, journal.read_bytes().index(line) + line.index(b'"labels":[') + len('"labels":['))
    asked = []
    convert_until(stopped, some_samples(), None, asked)
    assert "train-02" in asked[0]
    assert "train-01" not in asked[0]
    assert outcome(stopped) == uninterrupted


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def change_before_joining(monkeypatch, change):
    """The folder of the only share is changed when it has been converted."""
    join = assemble_module.assemble

    def changed(path, dataset, plan, shares, *rest):
        change(shares["s2"][0])
        join(path, dataset, plan, shares, *rest)

    monkeypatch.setattr(small_store, "assemble", changed)


def test_chunks_damaged_after_conversion_are_an_error_with_what_to_delete(tmp_path, monkeypatch):
    samples = [*some_samples(), ("train", Rejected("train-000", "is broken"))]  # every shard must be copied
    change_before_joining(monkeypatch, lambda share: flip(share / "train.1", 300))
    with pytest.raises(UserError, match=r"train\.1 is damaged: bytes .* rm -r .*0-of-1"):
        write_store(tmp_path / "demo_scene.zarr", SCENE, samples, max_quarantined_share=1.0)
    assert not (tmp_path / "demo_scene.zarr").exists()


def test_a_shard_of_a_share_that_is_gone_is_an_error_with_what_to_delete(tmp_path, monkeypatch):
    change_before_joining(monkeypatch, lambda share: (share / "val.0").unlink())
    with pytest.raises(UserError, match=r"val\.0 is damaged: it is missing.*: rm -r .*0-of-1$"):
        write_store(tmp_path / "demo_scene.zarr", SCENE, some_samples())


SIZES = {"train.0": 3, "train.1": 3, "train.2": 3, "train.3": 2, "val.0": 2, "test.0": 3, "test.1": 2}


def without_checksums(folder):
    """Rewrite a share of all samples as versions without checksums left it."""
    records = load_records(folder / "records.npz")
    begin = 0
    for name, size in SIZES.items():
        rows = slice(begin, begin + size)
        stored = (folder / name).read_bytes()
        chunks = [stored[start : start + length - 4] for start, length in records.place[rows].tolist()]
        lengths = [len(chunk) for chunk in chunks]
        index = np.stack([np.cumsum([0, *lengths[:-1]]), lengths], axis=1).astype("<u8")
        (folder / name).write_bytes(b"".join(chunks) + with_crc(index.tobytes()))
        records.place[rows] = index
        begin += size
    arrays = {name: value for name, value in vars(records).items() if isinstance(value, np.ndarray)}
    del arrays["has_crc"]
    np.savez(folder / "records.npz", **arrays, forms=np.array(records.forms), reasons=np.array("[]"))


def test_shares_of_versions_without_checksums_become_the_same_store(tmp_path, monkeypatch, reference):
    change_before_joining(monkeypatch, without_checksums)
    write_store(tmp_path / "demo_scene.zarr", SCENE, some_samples())
    assert contents(tmp_path / "demo_scene.zarr") == contents(reference)


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import test_convert
from bandbridge.ingest import plan, convert
plan.SHARD = convert.SHARD = 3
from pathlib import Path

def read(missing):
    for number, (_, item) in enumerate(test_convert.some_samples()):
        if number == 9:
            print("nine", flush=True)
            time.sleep(60)
        if item.id in missing:
            yield item
shards = test_convert.share_of(test_convert.some_samples())
convert.convert_share(test_convert.SCENE, "s2", shards, read, Path({folder!r}), "sources")
"""


@pytest.mark.slow
def test_a_conversion_killed_with_9_goes_on(tmp_path, uninterrupted):
    folder = tmp_path / "share"
    paths = [
        str(Path(__file__).parent),
        str(Path(small_store.__file__).parent),
        str(Path(convert_module.__file__).parents[2]),
    ]
    script = KILLED.format(paths=paths, folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "nine\n"
        process.send_signal(signal.SIGKILL)
    asked = []
    convert_until(folder, some_samples(), None, asked)
    assert len(asked[0]) == sum(COUNTS.values()) - 9
    assert outcome(folder) == uninterrupted


# --- shard files ---------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=40)), min_size=1, max_size=12))
def test_the_index_of_a_shard_leads_to_its_chunks(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("shard") / "c.0"
    returned = write_shard(path, chunks)
    index = read_index(path, len(chunks))
    np.testing.assert_array_equal(index, returned)
    content = path.read_bytes()
    for chunk, (start, length) in zip(chunks, index.tolist(), strict=True):
        assert (chunk is None) == (start == length == 2**64 - 1)
        assert chunk is None or content[start : start + length] == with_crc(chunk)


def test_an_index_that_is_not_what_was_written_is_an_error(tmp_path):
    write_shard(tmp_path / "c.0", [b"one", None, b"two"])
    flip(tmp_path / "c.0", -30)
    with pytest.raises(UserError, match=r"c\.0 is damaged: the index of its 3 samples"):
        read_index(tmp_path / "c.0", 3)


def test_a_sample_twice_in_the_archive_is_refused(tmp_path):
    samples = some_samples()
    twice = [item for _, item in samples] + [samples[4][1]]
    convert_share(SCENE, "s2", share_of(samples), lambda _: iter(twice), tmp_path / "share", "sources")
    assert load_records(tmp_path / "share" / "records.npz").reasons == {4: "is in the archives more than once"}


def test_a_planned_sample_that_is_absent_is_refused(tmp_path):
    samples = some_samples()
    convert_share(SCENE, "s2", share_of(samples), lambda _: iter([samples[0][1]]), tmp_path / "share", "sources")
    reasons = load_records(tmp_path / "share" / "records.npz").reasons
    assert len(reasons) == len(samples) - 1
    assert set(reasons.values()) == {"is planned, but is not in the archives"}


def test_the_journal_is_gone_when_the_share_is_done(tmp_path):
    convert_until(tmp_path / "share", some_samples(), None)
    names = sorted(file.name for file in (tmp_path / "share").iterdir())
    assert names == ["records.npz", "test.0", "test.1", "train.0", "train.1", "train.2", "train.3", "val.0"]
    assert json.loads(str(np.load(tmp_path / "share" / "records.npz")["reasons"])) == []
