"""Files of a model hub: huggingface_hub receives them from a local server, and our checks stay."""

import hashlib
from pathlib import Path

import huggingface_hub
import pytest
from http_server import Answer, FileServer, running_server, visible
from huggingface_hub import constants

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Source
from bandbridge.ingest.fetch import fetch
from bandbridge.ingest.hub import HubFile, hub_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 2_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = f"datasets/owner/scenes/resolve/{COMMIT}/V2/scene.tar"
ADDRESS = f"https://huggingface.co/{PLACE}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A server in the hub's place, which has one file."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # What the library loses at most when a connection breaks; 10 MB by default.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with running_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        serve(server)
        yield server


def serve(server: FileServer, *answers: Answer, content: bytes = CONTENT, etag: str = "", commit: str = COMMIT) -> None:
    """The file; the first request is for its facts, the next ones are for its content."""
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    every = [Answer(headers=headers), *(Answer(a.status, a.headers | headers, a.drop, a.cut) for a in answers)]
    server.serve(PLACE, content, *every, etag=f'"{etag or hashlib.sha256(content).hexdigest()}"')


def source(**facts: object) -> Source:
    return Source("scene.tar", **{"urls": (ADDRESS,), "sha256": SHA256, **facts})


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (ADDRESS, HubFile("owner/scenes", "V2/scene.tar", COMMIT, "dataset")),
        ("https://huggingface.co/a/b/resolve/main/w.pt", HubFile("a/b", "w.pt", "main")),
        (
            "https://huggingface.co/a/b/resolve/refs%2Fpr%2F1/my%20w.pt?download=true",
            HubFile("a/b", "my w.pt", "refs/pr/1"),
        ),
        ("https://huggingface.co/a/b/blob/main/w.pt", None),
        ("https://example.org/huggingface.co/a/b/resolve/main/w.pt", None),
        ("http://huggingface.co/a/b/resolve/main/w.pt", None),
    ],
)
def test_addresses_of_the_hub_are_recognised(url, file):
    assert hub_file(url) == file


def test_every_address_of_the_hub_in_the_catalogue_is_one_of_a_file():
    folder = Path(__file__).parents[3] / "workflow"
    texts = [
        path.read_text(encoding="utf-8") for name in ("datasets", "encoders") for path in folder.glob(f"{name}/*.yaml")
    ]
    urls = [
        word.strip("[],")
        for text in texts
        for word in text.split()
        if "https://huggingface.co/" in word and "resolve" in word
    ]
    assert len(urls) > 20
    assert all(hub_file(url) for url in urls)


def test_a_file_comes_through_the_library_from_the_stated_endpoint(hub, tmp_path):
    path = fetch(source(), tmp_path / "archives")
    assert path.read_bytes() == CONTENT
    assert hub.asked == [f"/{PLACE}"] * 2
    assert all("hf_hub/" in request["user-agent"] for request in hub.requests)
    assert visible(path.parent) == ["scene.tar"]


def test_a_connection_that_breaks_is_resumed_by_the_library(hub, tmp_path):
    serve(hub, Answer(cut=100_000))
    assert fetch(source(), tmp_path / "archives").read_bytes() == CONTENT
    assert hub.ranges() == [None, None, "bytes=100000-"]


@pytest.mark.parametrize(
    ("content", "etag", "ranges"),
    [(CONTENT, "", [None, "bytes=300000-"]), (b"x" * len(CONTENT), "before", [None, None])],
    ids=["the same file", "another file"],
)
def test_what_was_received_is_kept_for_the_next_run_of_the_same_file_alone(hub, tmp_path, content, etag, ranges):
    serve(hub, Answer(cut=300_000), Answer(status=404), content=content, etag=etag)
    with pytest.raises(UserError, match="bytes received so far are kept"):
        fetch(source(), tmp_path / "archives")
    serve(hub)
    hub.requests.clear()
    assert fetch(source(), tmp_path / "archives").read_bytes() == CONTENT
    assert hub.ranges() == ranges


def test_a_server_that_ignores_ranges_sends_the_whole_file_once(hub, tmp_path):
    serve(hub, Answer(cut=100_000))
    hub.files[f"/{PLACE}"].ranges = False
    assert fetch(source(), tmp_path / "archives").read_bytes() == CONTENT


def test_a_wrong_sha256_is_known_before_the_transfer(hub, tmp_path):
    serve(hub, content=CONTENT[::-1])
    with pytest.raises(UserError, match=f"damaged or another file: sha256 is .*expected {SHA256}"):
        fetch(source(), tmp_path / "archives")
    assert len(hub.requests) == 1


def test_a_wrong_file_whose_etag_is_no_checksum_is_refused_after_it(hub, tmp_path):
    serve(hub, content=CONTENT[::-1], etag="abc")
    with pytest.raises(UserError, match=f"sha256 is .*expected {SHA256}"):
        fetch(source(), tmp_path / "archives")
    assert not (tmp_path / "archives" / "scene.tar").exists()


def test_another_commit_than_the_pinned_one_is_refused(hub, tmp_path):
    serve(hub, commit="f" * 40)
    with pytest.raises(UserError, match=f"states commit {'f' * 40}, the address is of {COMMIT}"):
        fetch(source(), tmp_path / "archives")


def test_another_size_than_stated_is_refused(hub, tmp_path):
    with pytest.raises(UserError, match=r"it has 512,000 bytes, expected 7"):
        fetch(source(size=7), tmp_path / "archives")


@pytest.mark.parametrize(("status", "advice"), [(404, "404"), (401, "hf auth login"), (403, "hf auth login")])
def test_a_file_that_the_hub_does_not_give_is_an_error_with_the_reason(hub, tmp_path, status, advice):
    hub.files[f"/{PLACE}"].answers[:] = [Answer(status=status)] * 8
    with pytest.raises(UserError, match=advice):
        fetch(source(), tmp_path / "archives")


def test_the_next_mirror_is_tried_when_the_hub_has_no_file(hub, tmp_path):
    mirror = hub.serve("mirror/scene.tar", CONTENT)
    hub.files.pop(f"/{PLACE}")
    assert fetch(source(urls=(ADDRESS, mirror)), tmp_path / "archives").read_bytes() == CONTENT


def test_a_file_in_the_library_s_cache_is_not_received_again(hub, tmp_path, monkeypatch):
    cached = tmp_path / "cached.tar"
    cached.write_bytes(CONTENT)
    asked = []

    def in_cache(repository, file, *, repo_type, revision):
        asked.append((repository, file, repo_type, revision))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", in_cache)
    assert fetch(source(), tmp_path / "archives").read_bytes() == CONTENT
    assert asked == [("owner/scenes", "V2/scene.tar", "dataset", COMMIT)]
    assert not hub.requests


def test_offline_the_error_says_so(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"(?i)offline"):
        fetch(source(), tmp_path / "archives")
