"""Transfers from servers that break off, refuse, lie or send something else, onto disks that fill up."""

import email.utils
import gzip
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import disk, remount
from http_server import Answer, FileServer, visible

from bandbridge.base import progress
from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Source
from bandbridge.ingest import transfer
from bandbridge.ingest.fetch import fetch

CONTENT = bytes(range(256)) * 8_000
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DATE = "Mon, 01 Jun 2026 10:00:00 GMT"
WORKFLOW = Path(__file__).parents[3] / "workflow"
FETCH = """
import sys
from pathlib import Path
from bandbridge.catalogue.datasets import Source
from bandbridge.ingest.fetch import fetch
fetch(Source("scene.bin", urls=(sys.argv[1],), sha256=sys.argv[3]), Path(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def waits(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that transfers would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(transfer, "sleep", waited.append)
    return waited


def pinned(*urls: str, file: str = "scene.bin") -> Source:
    return Source(file, urls=urls, sha256=SHA256)


def broken_off(server: FileServer, directory: Path, content: bytes = CONTENT) -> tuple[str, Path]:
    """A file's address and its first half, which a run that ended before the server answered again has left."""
    url = server.serve("x", content, Answer(cut=HALF), *[Answer(status=503)] * 6, etag='"1"')
    with pytest.raises(UserError, match="the bytes received so far are kept"):
        fetch(pinned(url), directory)
    assert visible(directory) == ["scene.bin.part"]
    return url, directory / "scene.bin.part"


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validator", [{"etag": '"1"'}, {"date": DATE}, {}])
def test_a_transfer_that_broke_off_goes_on_where_it_stopped(server: FileServer, tmp_path: Path, validator: dict):
    url = server.serve("x", CONTENT, Answer(cut=HALF), **validator)
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-"]
    assert server.requests[1].get("If-Range") == next(iter(validator.values()), None)
    assert visible(tmp_path) == ["scene.bin"]


def test_it_goes_on_as_often_as_that_brings_more_bytes(server: FileServer, tmp_path: Path):
    step = len(CONTENT) // 20
    url = server.serve("x", CONTENT, *[Answer(cut=step)] * 18, etag='"1"')
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 19


def test_a_transfer_that_stalls_goes_on(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transfer, "TIMEOUT", (20, 1))
    url = server.serve("x", CONTENT, Answer(cut=10 * transfer.CHUNK, stalls=True), etag='"1"')
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={10 * transfer.CHUNK}-"]


def test_it_gives_up_when_no_attempt_brings_more(server: FileServer, tmp_path: Path, waits: list[float]):
    url = server.serve("x", CONTENT, *[Answer(cut=HALF)] * 50, ranges=False)
    with pytest.raises(
        UserError, match=rf"the connection ended after {HALF:,} of {2 * HALF:,} bytes \(tried 6 times\)"
    ):
        fetch(pinned(url), tmp_path)
    assert len(server.asked) == 7
    assert len(waits) == 6
    assert sorted(waits) == waits


def test_what_came_is_kept_for_the_next_run(server: FileServer, tmp_path: Path):
    url, _ = broken_off(server, tmp_path)
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges()[-1] == f"bytes={HALF}-"
    assert visible(tmp_path) == ["scene.bin"]


def test_a_server_that_ignores_ranges_begins_anew(server: FileServer, tmp_path: Path):
    url = server.serve("x", CONTENT, Answer(cut=HALF), etag='"1"', ranges=False)
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-"]


def test_without_checksum_or_validator_it_begins_anew(server: FileServer, tmp_path: Path):
    url = server.serve("x", CONTENT, Answer(cut=HALF))
    assert fetch(Source("scene.bin", urls=(url,)), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, None]


@pytest.mark.parametrize("obeys", [True, False])
def test_a_file_that_changed_meanwhile_begins_anew(server: FileServer, tmp_path: Path, obeys: bool):
    url = server.serve("x", CONTENT[::-1], Answer(cut=HALF), *[Answer(status=503)] * 6, etag='"1"')
    with pytest.raises(UserError):
        fetch(Source("scene.bin", urls=(url,)), tmp_path)
    server.serve("x", CONTENT, etag='"2"' if obeys else '"1"')
    if not obeys:  # a server that ignores If-Range, but names the new ETag in its answer
        server.files["/x"].answers.append(Answer(headers={"ETag": '"2"'}))
    assert fetch(Source("scene.bin", urls=(url,)), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("stated", ["bytes 0-99/100", f"bytes {HALF}-{HALF + 9}/{HALF + 10}", "rows 1-2/3", ""])
def test_a_wrong_content_range_is_refused(server: FileServer, tmp_path: Path, stated: str):
    wrong = Answer(headers={"Content-Range": stated})
    url = server.serve("x", CONTENT, Answer(cut=HALF), wrong, etag='"1"')
    assert fetch(Source("scene.bin", urls=(url,)), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-", None]


def test_a_part_that_is_longer_than_the_file_begins_anew(server: FileServer, tmp_path: Path):
    url, part = broken_off(server, tmp_path, CONTENT + b"more")
    with part.open("ab") as file:
        file.write(CONTENT)
    server.serve("x", CONTENT, etag='"1"')
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges()[-2:] == [f"bytes={HALF + len(CONTENT)}-", None]


def test_a_part_that_was_complete_is_not_asked_for_again(server: FileServer, tmp_path: Path):
    url, part = broken_off(server, tmp_path)
    part.write_bytes(CONTENT)
    server.asked.clear()
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize(
    ("damaged", "asked"), [(bytes(HALF), [f"bytes={HALF}-", None]), (CONTENT[::-1], [None])], ids=["half", "whole"]
)
def test_a_damaged_part_is_found_out_and_fetched_anew_from_the_same_mirror(
    server: FileServer, tmp_path: Path, damaged: bytes, asked: list[str | None]
):
    url, part = broken_off(server, tmp_path)
    part.write_bytes(damaged)
    before = len(server.ranges())
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges()[before:] == asked


def test_a_whole_size_that_the_server_does_not_know_is_counted_by_the_rest(server: FileServer, tmp_path: Path):
    untold = Answer(headers={"Content-Range": f"bytes {HALF}-{2 * HALF - 1}/*"}, cut=1_000)
    url = server.serve("x", CONTENT, Answer(cut=HALF), untold, etag='"1"')
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert server.ranges()[-2:] == [f"bytes={HALF}-", f"bytes={HALF + 1_000}-"]


def test_another_mirror_goes_on_only_with_the_same_etag(server: FileServer, tmp_path: Path):
    broken = [Answer(cut=HALF), *[Answer(status=404)]]
    first = server.serve("first", CONTENT, *broken, etag='"1"')
    same, other = server.serve("same", CONTENT, etag='"1"'), server.serve("other", CONTENT, etag='"2"')
    assert fetch(pinned(first, same), tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-", f"bytes={HALF}-"]
    server.files["/first"].answers[:] = broken
    assert fetch(pinned(first, other), tmp_path / "b").read_bytes() == CONTENT
    dated = server.serve("dated", CONTENT, *broken, date=DATE)
    also = server.serve("also", CONTENT, date=DATE)
    assert fetch(pinned(dated, also), tmp_path / "c").read_bytes() == CONTENT
    assert server.ranges()[-1] is None


@pytest.mark.slow
def test_a_killed_download_goes_on_in_the_next_run(server: FileServer, tmp_path: Path):
    content = CONTENT * 8
    sha256 = hashlib.sha256(content).hexdigest()
    url = server.serve("x", content, Answer(cut=2**21, stalls=True), etag='"1"')
    process = subprocess.Popen([*command(), url, str(tmp_path), sha256], env=environment())
    part = tmp_path / "scene.bin.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size > 2**20):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    kept = part.stat().st_size
    assert visible(tmp_path) == ["scene.bin.part"]
    fetch(Source("scene.bin", urls=(url,), sha256=sha256), tmp_path)
    assert (tmp_path / "scene.bin").read_bytes() == content
    assert server.ranges() == [None, f"bytes={kept}-"]


@pytest.mark.slow
def test_two_processes_fetch_a_file_once(server: FileServer, tmp_path: Path):
    url = server.serve("x", CONTENT, Answer(pause=0.02))
    both = [subprocess.Popen([*command(), url, str(tmp_path), SHA256], env=environment()) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert server.asked == ["/x"]
    assert visible(tmp_path) == ["scene.bin"]


def command() -> list[str]:
    return [sys.executable, "-c", FETCH]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(WORKFLOW), "NO_PROXY": "127.0.0.1"}


# --- servers that refuse, lie or send something else -----------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_long_as_the_server_says(server: FileServer, tmp_path: Path, waits: list[float], status: int):
    url = server.serve("x", CONTENT, Answer(status, {"Retry-After": "7"}), Answer(status, {"Retry-After": "99999"}))
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert waits == [7, transfer.LONGEST_RETRY_AFTER]


def test_it_waits_until_the_date_that_the_server_says(server: FileServer, tmp_path: Path, waits: list[float]):
    dates = [email.utils.formatdate(time.time() + ahead, usegmt=True) for ahead in (300, -300)]
    url = server.serve("x", CONTENT, *[Answer(429, {"Retry-After": date}) for date in (*dates, "soon")])
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert 0 < waits[0] <= 300
    assert waits[1] == 0
    assert 0 < waits[2] <= transfer.LONGEST_BACKOFF


def test_a_server_in_trouble_is_asked_again(server: FileServer, tmp_path: Path, waits: list[float]):
    url = server.serve("x", CONTENT, *[Answer(status) for status in (500, 502, 503)])
    assert fetch(pinned(url), tmp_path).read_bytes() == CONTENT
    assert len(waits) == 3


def test_a_refusal_leads_straight_to_the_next_mirror(server: FileServer, tmp_path: Path, waits: list[float]):
    refused = server.serve("refused", CONTENT, Answer(403))
    good = server.serve("good", CONTENT)
    unheard = "http://127.0.0.1:1/x"
    assert fetch(pinned(server.url("missing"), refused, good, unheard), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/missing", "/refused", "/good"]
    assert waits == []


def test_a_server_that_is_not_there_is_one_of_the_reasons(server: FileServer, tmp_path: Path, waits: list[float]):
    with pytest.raises(UserError, match=r"\n  http://127.0.0.1:1/x: .{,20}Connection refused \(tried 6 times\)"):
        fetch(pinned("http://127.0.0.1:1/x"), tmp_path)
    assert visible(tmp_path) == []


def test_a_host_without_an_address_is_said_in_a_few_words(tmp_path: Path, waits: list[float]):
    with pytest.raises(UserError, match=r"\n  http://nowhere.invalid/x: no network, or no such host \(tried 6 times\)"):
        fetch(pinned("http://nowhere.invalid/x"), tmp_path)


def test_a_wrong_file_is_thrown_away_and_the_next_mirror_asked(server: FileServer, tmp_path: Path):
    wrong, good = server.serve("wrong", CONTENT[::-1]), server.serve("good", CONTENT)
    assert fetch(pinned(wrong, good), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/wrong", "/good"]


def test_when_all_mirrors_are_wrong_it_says_so_and_keeps_nothing(server: FileServer, tmp_path: Path):
    urls = [server.serve(str(number), bytes([number]) * 1_000) for number in range(2)]
    with pytest.raises(UserError) as caught:
        fetch(pinned(*urls), tmp_path)
    for number, url in enumerate(urls):
        actual_sha256 = hashlib.sha256(bytes([number]) * 1_000).hexdigest()
        assert f"{url}: it serves a damaged or another file: sha256 is {actual_sha256}, expected {SHA256}" in str(
            caught.value
        )
    assert visible(tmp_path) == []
    assert len(server.asked) == 2


def test_a_promised_length_that_does_not_come_is_noticed(server: FileServer, tmp_path: Path):
    longer = Answer(headers={"Content-Length": str(len(CONTENT) + 5)})
    url = server.serve("x", CONTENT, *[longer] * 9, ranges=False)
    with pytest.raises(UserError, match="tried 6 times"):
        fetch(Source("scene.bin", urls=(url,)), tmp_path)
    assert "scene.bin" not in visible(tmp_path)


@pytest.mark.parametrize(
    "short",
    [Answer(headers={"Content-Length": "1000"}), Answer(drop=("Content-Length",), cut=1_000)],
    ids=["stated", "not stated"],
)
def test_a_length_that_is_too_short_is_noticed(server: FileServer, tmp_path: Path, short: Answer):
    url = server.serve("x", CONTENT, short)
    with pytest.raises(UserError, match=rf"it has 1,000 bytes, expected {len(CONTENT):,}"):
        fetch(Source("scene.bin", urls=(url,), size=len(CONTENT)), tmp_path)
    assert visible(tmp_path) == []


def test_an_empty_file_is_a_file(server: FileServer, tmp_path: Path):
    assert fetch(Source("empty.txt", urls=(server.serve("x", b""),)), tmp_path).read_bytes() == b""
    assert visible(tmp_path) == ["empty.txt"]


def test_a_login_page_is_no_archive(server: FileServer, tmp_path: Path):
    page = b"<!DOCTYPE html><html>Please log in</html>"
    stated_url = server.serve("told", page, Answer(headers={"Content-Type": "text/html; charset=utf-8"}))
    untold = server.serve("untold", page)
    with pytest.raises(UserError) as caught:
        fetch(Source("scene.zip", urls=(stated_url, untold)), tmp_path)
    assert "it sends a web page instead of the file, perhaps one to log in" in str(caught.value)
    assert "what it serves is no .zip file, it begins with b'<!DOCTYPE html>" in str(caught.value)
    assert visible(tmp_path) == []


def test_what_a_server_compresses_on_the_way_is_refused(server: FileServer, tmp_path: Path):
    url = server.serve("x", gzip.compress(CONTENT), Answer(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(UserError, match="encoded as gzip, although it was requested unencoded"):
        fetch(pinned(url), tmp_path)
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_a_gz_file_whose_compression_is_called_an_encoding_stays_as_it_is(server: FileServer, tmp_path: Path):
    packed = gzip.compress(CONTENT)
    url = server.serve("x", packed, *[Answer(headers={"Content-Encoding": "gzip"})] * 9)
    assert fetch(Source("x.tar.gz", urls=(url,)), tmp_path).read_bytes() == packed


# --- full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "small", "size=1m") as place:
        yield place


def test_a_file_that_does_not_fit_is_refused_before_the_first_byte(server: FileServer, small_disk: Path):
    url = server.serve("x", CONTENT, etag='"1"')
    with pytest.raises(UserError, match=rf"{small_disk} has [0-9,]+ bytes free, scene.bin needs {len(CONTENT):,} more"):
        fetch(pinned(url), small_disk)
    assert visible(small_disk) == []
    assert len(server.asked) == 1


def test_a_disk_that_fills_up_keeps_what_came(server: FileServer, small_disk: Path):
    url = server.serve("x", CONTENT, Answer(drop=("Content-Length",)), etag='"1"')
    with pytest.raises(UserError, match=r"scene.bin.part: the disk is full after [0-9,]+ bytes; make room"):
        fetch(pinned(url), small_disk)
    kept = (small_disk / "scene.bin.part").read_bytes()
    assert len(kept) > 500_000
    assert CONTENT.startswith(kept)
    assert visible(small_disk) == ["scene.bin.part"]
    remount(small_disk, "size=8m")
    assert fetch(pinned(url), small_disk).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={len(kept)}-"]


# --- progress --------------------------------------------------------------------------------------------------------


def test_it_tells_how_far_it_is(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loops: list[progress.Loop] = []
    monkeypatch.setattr(progress, "_loops", loops)
    lines = []
    write = transfer.Part.write

    def noting(part: transfer.Part, data: bytes) -> None:
        lines.append(str(loops[0]))
        write(part, data)

    monkeypatch.setattr(transfer.Part, "write", noting)
    fetch(pinned(server.serve("x", CONTENT)), tmp_path)
    assert lines[0] == "Downloading scene.bin: 0 of 2 MB"
    assert lines[-1].startswith("Downloading scene.bin: 2 of 2 MB")
    assert loops == []
