"""What a machine denies is said in a sentence that says what to do."""

import errno
import os
import re
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bandbridge.base import limits
from bandbridge.base.errors import UserError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a.npy"),
            r"the disk or the quota is full \(a.npy\); make room",
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk or the quota is full; make room"),
        (OSError(errno.EMFILE, "Too many open files"), r"too many open files: .*ulimit -n"),
        (MemoryError(), r"no more memory for this job \(MemoryError\).*ulimit -v"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"), "no more memory"),
        (RuntimeError("can't start new thread"), "no more processes or threads"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "/data/x: Permission denied for "),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "/data/x: Read-only file system for "),
    ],
    ids=str,
)
def test_an_error_of_the_machine_has_a_sentence(error: Exception, sentence: str):
    assert re.search(sentence, limits.cure_of(error))


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), FileNotFoundError(errno.ENOENT, "No such file", "x"), KeyError(3)]
)
def test_an_error_of_the_program_has_none(error: Exception):
    assert limits.cure_of(error) is None


def test_a_folder_that_can_be_made_is_accepted(tmp_path: Path):
    limits.check_writable(tmp_path / "results" / "demo", "results_root")


def test_a_link_to_a_folder_is_accepted_and_one_to_nothing_is_named(tmp_path: Path):
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    with pytest.raises(UserError, match=r"results_root: .*/results is a link to .*/scratch, which does not exist"):
        limits.check_writable(tmp_path / "results" / "demo", "results_root")
    (tmp_path / "scratch").mkdir()
    limits.check_writable(tmp_path / "results" / "demo", "results_root")


def test_a_file_in_a_folder_s_place_is_named(tmp_path: Path):
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match=r"results_root: .*/results is a file, expected a folder"):
        limits.check_writable(tmp_path / "results" / "demo", "results_root")


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    with pytest.raises(UserError, match=r"log_root: .* cannot be written by .*; set log_root to a folder of your own"):
        limits.check_writable(tmp_path / "logs", "log_root")


def test_a_small_address_space_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 << 30, resource.RLIM_INFINITY))
    with pytest.raises(UserError, match=r"may map 2.0 GB of memory \(ulimit -v\), expected at least 6 GB"):
        limits.check_address_space()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    limits.check_address_space()


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limits.check_room(tmp_path / "records")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(UserError, match=r"the disk or the quota is full \(4,096 bytes are free\)"):
        limits.check_room(tmp_path / "records")
