"""Files and directories appear whole or not at all, and outlive a power cut once they have appeared."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bandbridge.base.files import checksum, read_json, whole_directory, whole_file, write_json


def test_a_file_appears_when_its_block_ends(tmp_path: Path):
    target = tmp_path / "new" / "file.txt"
    with whole_file(target) as part:
        part.write_text("content")
        assert not target.exists()
    assert target.read_text() == "content"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(target) as part:
        part.write_text(Path(tmp_path / "missing").read_text())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_replaces_the_one_that_was_there(tmp_path: Path):
    target = tmp_path / "store"
    (target / "stale").mkdir(parents=True)
    with whole_directory(target) as part:
        (part / "fresh").write_text("")
    assert [path.name for path in target.iterdir()] == ["fresh"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_directory_leaves_the_old_one(tmp_path: Path):
    target = tmp_path / "store"
    (target / "kept").mkdir(parents=True)
    with pytest.raises(FileNotFoundError), whole_directory(target) as part:
        (part / "fresh").write_text((part / "missing").read_text())
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [target]


def test_equal_content_gives_equal_json_bytes(tmp_path: Path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1, 2]})
    write_json(tmp_path / "b.json", {"a": [1, 2], "b": 1})
    assert checksum(tmp_path / "a.json") == checksum(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2], "b": 1}


def test_checksums_are_the_published_ones(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert checksum(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert checksum(tmp_path / "abc").startswith("ba7816bf8f01cfea")


# --- permanence ----------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is flushed to disk and what is renamed, in order."""
    made: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def note_flush(handle: int) -> None:
        made.append(("flush", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        fsync(handle)

    def note_rename(source: Path, target: Path) -> None:
        made.append(("rename", f"{source.name} {target.name}"))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(os, "replace", note_rename)
    return made


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_before_the_block_returns(tmp_path: Path, calls):
    with whole_file(tmp_path / "a") as part:
        part.write_text("content")
    assert calls == [("flush", part.name), ("rename", f"{part.name} a"), ("flush", tmp_path.name)]


def test_a_checksum_takes_its_name_after_its_file(tmp_path: Path, calls):
    with whole_file(tmp_path / "a", checked=True) as part:
        part.write_text("content")
    note = f"..a.crc32c.{os.getpid()}.part"
    renames = [("rename", f"{part.name} a"), ("rename", f"{note} .a.crc32c")]
    assert calls == [("flush", part.name), ("flush", note), *renames, ("flush", tmp_path.name)]


def test_every_file_and_folder_of_a_directory_is_on_disk_before_it_has_its_name(tmp_path: Path, calls):
    with whole_directory(tmp_path / "store") as part:
        (part / "inner").mkdir()
        for name in ("one", "inner/two"):
            (part / name).write_text(name)
        (part / "link").symlink_to("nowhere")
    *flushes, rename, last = calls
    assert sorted(flushes) == sorted(("flush", name) for name in ("one", "two", "inner", part.name))
    assert (rename, last) == (("rename", f"{part.name} store"), ("flush", tmp_path.name))


def test_what_need_not_last_is_not_flushed(tmp_path: Path, calls):
    write_json(tmp_path / "state.json", {}, checked=False, durable=False)
    assert [kind for kind, _ in calls] == ["rename"]


def failing_flush(monkeypatch: pytest.MonkeyPatch, number: int, of: Callable[[int], bool]) -> None:
    def fail(handle: int) -> None:
        if of(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EBADF])
def test_a_file_system_that_flushes_no_folders_is_used_all_the_same(tmp_path: Path, monkeypatch, number: int):
    failing_flush(monkeypatch, number, stat.S_ISDIR)
    write_json(tmp_path / "a" / "file.json", [1])
    with whole_directory(tmp_path / "store") as part:
        (part / "one").write_text("1")
    assert read_json(tmp_path / "a" / "file.json") == [1]
    assert (tmp_path / "store" / "one").read_text() == "1"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_data_that_cannot_be_brought_to_disk_leave_the_old_file(tmp_path: Path, monkeypatch, number: int):
    write_json(tmp_path / "file.json", "old")
    failing_flush(monkeypatch, number, stat.S_ISREG)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_json(tmp_path / "file.json", "new")
    assert read_json(tmp_path / "file.json") == "old"
    with pytest.raises(OSError, match=os.strerror(number)), whole_directory(tmp_path / "store") as part:
        (part / "one").write_text("1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file.json.crc32c", "file.json"]


def test_a_file_system_that_flushes_nothing_is_used_all_the_same(tmp_path: Path, monkeypatch):
    failing_flush(monkeypatch, errno.EINVAL, lambda _: True)
    write_json(tmp_path / "file.json", "new")
    assert read_json(tmp_path / "file.json") == "new"


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f".a.{os.getpid()}.part").symlink_to(precious)
    with whole_file(tmp_path / "a") as part:
        part.write_text("new")
    assert (precious.read_text(), (tmp_path / "a").read_text()) == ("kept", "new")
