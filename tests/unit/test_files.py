"""Files and directories appear whole or not at all."""

from pathlib import Path

import pytest

from bandbridge.files import checksum, read_json, whole_directory, whole_file, write_json


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
