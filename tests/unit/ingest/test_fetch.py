"""Sources of a data set: checked, whole or not at all, used as they are when they are there."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from disks import disk, remount
from http_server import FileServer, visible

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Dataset, Source, load_dataset
from bandbridge.ingest import fetch as download
from bandbridge.ingest.archives import members
from bandbridge.ingest.fetch import doing, fetch, fetch_all, missing_manual, own_files, to_download

CONTENT = b"a band of the scene " * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
WHEEL = "tinyscene-1.0-py3-none-any.whl"


@pytest.fixture
def server(server: FileServer) -> FileServer:
    for path in ("good", "a", "b"):
        server.serve(path, CONTENT)
    return server


def source(server: FileServer, *paths: str, file: str = "scene.zip", **facts: object) -> Source:
    return Source(file, **{"urls": tuple(server.url(path) for path in paths), "sha256": SHA256, **facts})


def dataset(*sources: Source, **options: object) -> Dataset:
    return dataclasses.replace(load_dataset("eurosat_100", options), sources=sources)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose checksums are computed."""
    names = []
    compute = download.checksum

    def noted(path: Path, algorithm: str = "sha256") -> str:
        names.append(path.name)
        return compute(path, algorithm)

    monkeypatch.setattr(download, "checksum", noted)
    return names


def test_a_file_is_downloaded_and_verified(server: FileServer, tmp_path: Path, hashed: list[str]):
    path = fetch(source(server, "good"), tmp_path / "new")
    assert path == tmp_path / "new" / "scene.zip"
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["scene.zip"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert hashed == []  # while it came, not afterwards


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_is_there_is_kept(server: FileServer, tmp_path: Path):
    path = tmp_path / "scene.zip"
    path.write_bytes(CONTENT)
    before = path.stat()
    fetch(source(server, "good", md5=MD5), tmp_path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert server.asked == []


def test_a_wrong_file_that_is_there_is_left_alone_and_explained(server: FileServer, tmp_path: Path):
    path = tmp_path / "scene.zip"
    path.write_bytes(b"wrong")
    actual_sha256 = hashlib.sha256(b"wrong").hexdigest()
    with pytest.raises(
        UserError, match=rf"scene.zip: sha256 is {actual_sha256}, expected {SHA256}. Delete it .*{path}"
    ):
        fetch(source(server, "good"), tmp_path)
    assert path.read_bytes() == b"wrong"
    assert not (tmp_path / ".scene.zip.verified").exists()


def test_a_checksum_is_computed_once(server: FileServer, tmp_path: Path, hashed: list[str]):
    path = tmp_path / "scene.zip"
    path.write_bytes(CONTENT)
    for _ in range(2):
        fetch(source(server, "good"), tmp_path)
    assert hashed == ["scene.zip"]
    fetch(source(server, "good", md5=MD5), tmp_path)
    assert hashed == ["scene.zip"] * 2  # the other algorithm
    with pytest.raises(UserError, match="expected ffff"):
        fetch(source(server, "good", sha256="f" * 64), tmp_path)


@pytest.mark.parametrize("change", ["time", "size", "note"])
def test_a_file_that_changed_is_verified_again(server: FileServer, tmp_path: Path, change: str):
    path = fetch(source(server, "good"), tmp_path)
    time = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1] + b"more" * (change == "size"))
    if change == "size":
        os.utime(path, ns=(time, time))
    if change == "note":
        (tmp_path / ".scene.zip.verified").write_text(
            json.dumps({"size": len(CONTENT), "checksums": {"sha256": SHA256}})
        )
    with pytest.raises(UserError, match=f"expected {SHA256}"):
        fetch(source(server, "good"), tmp_path)


def test_an_unlisted_checksum_is_noted_for_later_runs(server: FileServer, tmp_path: Path, hashed: list[str]):
    unpinned = dataset(source(server, "good", file="list.txt", sha256=None))
    assert fetch_all(unpinned, tmp_path) == fetch_all(unpinned, tmp_path) == [{"file": "list.txt", "sha256": SHA256}]
    assert hashed == []


def test_a_read_only_directory_is_enough_when_all_is_there(tmp_path: Path, server: FileServer):
    with disk(tmp_path / "shared", "size=4m") as place:
        (place / "scene.zip").write_bytes(CONTENT)
        (place / "list.txt").write_bytes(b"1")
        (place / "other.tar").write_bytes(b"repacked")
        remount(place, "ro")
        files = fetch_all(dataset(source(server, "good"), Source("list.txt"), Source("other.tar.gz")), place)
        assert [item["file"] for item in files] == ["scene.zip", "list.txt", "other.tar"]
        with pytest.raises(UserError, match=r"absent.zip not found, and it cannot be written .*Read-only"):
            fetch(source(server, "good", file="absent.zip"), place)
    assert server.asked == []


def test_a_directory_that_cannot_be_written_to_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not found, and it cannot be written"):
        fetch(Source("scene.zip", urls=("http://127.0.0.1:9/x",)), tmp_path / "file" / "archives")


def test_a_source_without_an_address_must_be_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"scene.zip not found, and no address"):
        fetch(Source("scene.zip"), tmp_path)
    (tmp_path / "scene.zip").write_bytes(CONTENT)
    assert fetch(Source("scene.zip"), tmp_path).read_bytes() == CONTENT


def test_a_lock_that_a_killed_process_left_does_not_block(server: FileServer, tmp_path: Path):
    script = "import os, sys, filelock; filelock.FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    lock = tmp_path / ".scene.zip.lock"
    killed = subprocess.run([sys.executable, "-c", script, str(lock)], check=False)
    assert killed.returncode == -9
    assert lock.exists()
    assert fetch(source(server, "good"), tmp_path).read_bytes() == CONTENT
    assert not lock.exists()


# --- parts and layouts ---------------------------------------------------------------------------------------------


@pytest.fixture
def in_parts(server: FileServer, tmp_path: Path) -> Source:
    """A zip that the server has in three parts; each has its own checksum."""
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.tif", CONTENT)
    content = whole.read_bytes()
    step = len(content) // 3 + 1
    parts = []
    for number, letters in enumerate(("aa", "ab", "ac")):
        piece = content[number * step : (number + 1) * step]
        url = server.serve(letters, piece)
        parts.append(Source(f"scene.zip{letters}", urls=(url,), sha256=hashlib.sha256(piece).hexdigest()))
    return Source("scene.zip", sha256=hashlib.sha256(content).hexdigest(), parts=tuple(parts))


def test_parts_are_fetched_verified_and_read_as_one(server: FileServer, in_parts: Source, tmp_path: Path):
    directory = tmp_path / "archives"
    path = fetch(in_parts, directory)
    assert visible(directory) == ["scene.zipaa", "scene.zipab", "scene.zipac"]
    assert dict(members(path)) == {"a.tif": CONTENT}
    listed = [{"file": part.file, "sha256": part.sha256} for part in in_parts.parts]
    assert fetch_all(dataset(in_parts), directory) == listed
    assert server.asked == ["/aa", "/ab", "/ac"]


def test_only_the_parts_that_are_missing_are_fetched(server: FileServer, in_parts: Source, tmp_path: Path):
    fetch(in_parts, tmp_path)
    (tmp_path / "scene.zipab").unlink()
    server.asked.clear()
    assert dict(members(fetch(in_parts, tmp_path))) == {"a.tif": CONTENT}
    assert server.asked == ["/ab"]


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("scene.zipab", b"wrong", r"scene.zipab: sha256 is .* Delete it to download it again"),
        ("scene.zipad", b"", r"its parts should be scene.zipaa, .*; found .*scene.zipad"),
    ],
    ids=["damaged", "too many"],
)
def test_a_part_that_is_wrong_is_named(
    server: FileServer, in_parts: Source, tmp_path: Path, part: str, content: bytes, message: str
):
    fetch(in_parts, tmp_path)
    (tmp_path / part).write_bytes(content)
    with pytest.raises(UserError, match=message):
        fetch(in_parts, tmp_path)


def test_the_whole_file_takes_the_place_of_parts(server: FileServer, in_parts: Source, tmp_path: Path):
    directory = tmp_path / "archives"
    directory.mkdir()
    (tmp_path / "whole.zip").rename(directory / "scene.zip")
    assert fetch_all(dataset(in_parts), directory) == [{"file": "scene.zip", "sha256": in_parts.sha256}]
    (directory / "scene.zip").write_bytes(b"wrong")
    with pytest.raises(UserError, match=r"scene.zip: sha256 is"):
        fetch(in_parts, directory)
    assert server.asked == []


def test_another_layout_is_taken_and_noted_as_the_users(server: FileServer, tmp_path: Path, hashed: list[str]):
    archive = dataset(source(server, "good", file="scene.tar.gz"))
    (tmp_path / "scene.zip").write_bytes(b"repacked")
    record = {"file": "scene.zip", "sha256": sha256(tmp_path / "scene.zip"), "instead_of": "scene.tar.gz"}
    for _ in range(2):
        assert fetch_all(archive, tmp_path) == [record]
    assert hashed == ["scene.zip"]
    assert fetch(archive.sources[0], tmp_path) == tmp_path / "scene.zip"
    assert server.asked == []


def test_parts_of_the_users_own_are_taken(server: FileServer, tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"scene.zip.00{number}").write_bytes(bytes([number]))
    assert fetch_all(dataset(source(server, "good")), tmp_path) == [
        {
            "file": f"scene.zip.00{number}",
            "sha256": sha256(tmp_path / f"scene.zip.00{number}"),
            "instead_of": "scene.zip",
        }
        for number in (1, 2)
    ]


def test_an_unpacked_folder_is_taken_without_reading_it(server: FileServer, tmp_path: Path, hashed: list[str]):
    (tmp_path / "scene" / "deep").mkdir(parents=True)
    (tmp_path / "scene" / "a.tif").write_bytes(b"12")
    (tmp_path / "scene" / "deep" / "b.tif").write_bytes(b"345")
    record = {"file": "scene", "files": "2", "bytes": "5", "instead_of": "scene.zip"}
    assert fetch_all(dataset(source(server, "good")), tmp_path) == [record]
    assert hashed == server.asked == []


# --- what is needed, and what is copied manually -------------------------------------------------------------------


def test_fetching_all_lists_files_with_checksums(server: FileServer, tmp_path: Path):
    sources = (source(server, "a", md5=MD5), source(server, "b", file="list.txt", sha256=None))
    assert fetch_all(dataset(*sources), tmp_path) == [
        {"file": "scene.zip", "sha256": SHA256, "md5": MD5},
        {"file": "list.txt", "sha256": SHA256},
    ]


def test_a_file_of_a_stream_that_is_not_converted_is_left_out(server: FileServer, tmp_path: Path):
    converted = load_dataset("eurosat_100").streams[0]
    sources = (source(server, "a", stream=converted), source(server, "b", file="other.zip", stream="radar"))
    assert [item["file"] for item in fetch_all(dataset(*sources), tmp_path)] == ["scene.zip"]
    assert server.asked == ["/a"]


def test_a_users_own_archive_takes_the_place_of_the_archives_only(server: FileServer, tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "B01.tif").write_bytes(CONTENT)
    sources = (source(server, "a"), source(server, "b", file="list.txt"))
    listed = fetch_all(dataset(*sources, archive=str(own)), tmp_path / "archives")
    assert server.asked == ["/b"]
    folder = {"file": str(own), "files": "1", "bytes": str(len(CONTENT))}
    assert listed == [{"file": "list.txt", "sha256": SHA256}, folder]
    file = own / "B01.tif"
    assert fetch_all(dataset(archive=str(file)), tmp_path) == [{"file": str(file), "sha256": SHA256}]
    assert visible(own) == [path.name for path in own.iterdir()] == ["B01.tif"]
    parts = [tmp_path / "own.zip.001", tmp_path / "own.zip.002"]
    for part in parts:
        part.write_bytes(CONTENT)
    in_parts = fetch_all(dataset(archive=str(tmp_path / "own.zip")), tmp_path)
    assert in_parts == [{"file": str(part), "sha256": SHA256} for part in parts]
    with pytest.raises(UserError, match=r"option 'archive': .* not found"):
        fetch_all(dataset(archive=str(tmp_path / "absent")), tmp_path)


def test_steps_for_files_that_are_fetched_by_hand_are_told(server: FileServer, tmp_path: Path):
    steps = "Sign the licence at the publisher's, then download the file."
    by_hand = Source("labels.zip", manual=steps)
    facts = dataset(source(server, "a"), by_hand, Source("radar.zip", manual=steps, stream="radar"))
    message = f"labels.zip has to be copied manually. {steps}\nTo: {tmp_path / 'labels.zip'}"
    assert missing_manual(facts, tmp_path) == [message]
    with pytest.raises(UserError) as caught:
        fetch(by_hand, tmp_path)
    assert str(caught.value) == message
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.tif").write_bytes(b"")
    assert missing_manual(facts, tmp_path) == []
    assert fetch(by_hand, tmp_path) == tmp_path / "labels"


def test_steps_are_not_told_where_a_program_may_fetch_the_file(server: FileServer, tmp_path: Path):
    facts = dataset(source(server, "a", manual="Or take the mirror by hand."))
    assert missing_manual(facts, tmp_path) == []
    assert fetch_all(facts, tmp_path) == [{"file": "scene.zip", "sha256": SHA256}]


def test_what_is_ones_own_is_not_called_a_download(server: FileServer, tmp_path: Path):
    archive, splits = source(server, "a"), source(server, "b", file="list.txt")
    assert doing(dataset(archive, splits)) == "Downloading eurosat_100"
    assert doing(dataset()) == "Listing the files of eurosat_100"
    assert doing(dataset(Source("scene.zip", manual="Ask."))) == "Listing the files of eurosat_100"
    assert doing(dataset(archive, archive="fields")) == "Listing fields for eurosat_100"
    assert (
        doing(dataset(archive, splits, archive="fields")) == "Listing fields for eurosat_100, and downloading the rest"
    )
    assert to_download(dataset(archive, splits, archive="fields"), tmp_path) == [splits]
    assert to_download(dataset(archive, splits), tmp_path) == [archive, splits]
    (tmp_path / "list.txt").write_bytes(CONTENT)
    assert to_download(dataset(archive, splits), tmp_path) == [archive]


# --- wheels --------------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which pip takes for its only index, as a user's pip settings would say."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tinyscene/B01.jp2", b"pixels")
        wheel.writestr("tinyscene-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinyscene\nVersion: 1.0\n")
        wheel.writestr("tinyscene-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tinyscene-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.slow
def test_a_wheel_comes_through_pip(index: Path, tmp_path: Path):
    wheel = Source(WHEEL, pip="tinyscene==1.0", sha256=sha256(index / WHEEL))
    path = fetch(wheel, tmp_path / "archives")
    assert path.read_bytes() == (index / WHEEL).read_bytes()
    assert visible(path.parent) == [WHEEL]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_a_wheel_with_another_checksum_is_not_kept(index: Path, tmp_path: Path):
    with pytest.raises(UserError, match=f"expected {SHA256}. The index serves another file"):
        fetch(Source(WHEEL, pip="tinyscene==1.0", sha256=SHA256), tmp_path / "archives")
    assert visible(tmp_path / "archives") == []


@pytest.mark.slow
def test_what_pip_says_is_shown_with_what_to_do(index: Path, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        fetch(Source("tinyscene-2.0-py3-none-any.whl", pip="tinyscene==2.0"), tmp_path / "archives")
    message = str(caught.value)
    assert "No matching distribution found for tinyscene==2.0" in message
    assert f"copy it to {tmp_path / 'archives' / 'tinyscene-2.0-py3-none-any.whl'}" in message


def test_a_users_own_table_is_listed_with_its_checksum(tmp_path):
    (tmp_path / "samples.csv").write_text("path,label\na.tif,farm\n")
    dataset = dataclasses.replace(
        load_dataset("eurosat_100"), sources=(), options={"table": "samples.csv", "archive": None}
    )
    assert own_files(dataset, tmp_path) == [tmp_path / "samples.csv"]
    (entry,) = fetch_all(dataset, tmp_path)
    assert entry["file"] == str(tmp_path / "samples.csv")
    (tmp_path / "samples.csv").write_text("path,label\na.tif,water\n")
    assert fetch_all(dataset, tmp_path)[0]["sha256"] != entry["sha256"]


def test_a_table_that_is_a_source_is_not_the_users_own(tmp_path):
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    dataset = dataclasses.replace(load_dataset("bigearthnet_v2"), options={"table": "metadata.parquet"})
    assert own_files(dataset, tmp_path) == []
