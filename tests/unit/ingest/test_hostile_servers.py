"""What servers that want to harm a download run into: sizes, deadlines, redirects, headers, links in shared folders."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import Answer, FileServer, answering, visible

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Source
from bandbridge.ingest import transfer
from bandbridge.ingest.fetch import fetch

pytestmark = pytest.mark.attack("servers and downloads")

CONTENT = b"a band of the scene " * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEAD = b"HTTP/1.1 200 OK\r\n"


def source(*urls: str, **facts: object) -> Source:
    return Source("scene.bin", **{"urls": urls, "sha256": SHA256, **facts})


def endless(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def dripping(start: bytes) -> Callable[[socket.socket], None]:
    """An answer that begins with `start` and continues byte by byte."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + start)
        while True:
            connection.sendall(b"a")
            time.sleep(0.02)

    return drip


def test_a_server_that_sends_more_than_the_size_is_cut_off(server: FileServer, tmp_path: Path):
    with (
        answering(endless) as url,
        pytest.raises(UserError, match=rf"it sends more than {len(CONTENT):,} bytes, the size"),
    ):
        fetch(source(url, size=len(CONTENT)), tmp_path)
    assert visible(tmp_path) == []


def test_a_server_that_states_no_size_is_cut_off_too(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transfer, "MOST_UNSTATED", 1_000_000)
    with answering(endless) as url, pytest.raises(UserError, match="it sends more than 1,000,000 bytes"):
        fetch(source(url), tmp_path)
    assert visible(tmp_path) == []


@pytest.mark.parametrize(
    "start",
    [b"", b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n10000\r\n"],
    ids=["headers", "body", "chunk"],
)
def test_a_server_that_drips_is_left_after_a_while(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
):
    monkeypatch.setattr("bandbridge.ingest.connections.PATIENCE", 1)
    good = server.serve("good", CONTENT)
    with answering(dripping(start)) as url:
        assert fetch(source(url, good), tmp_path).read_bytes() == CONTENT
    with (
        answering(dripping(start)) as url,
        pytest.raises(UserError, match=r"it is too slow: [0-9,]+ bytes were received in [0-9]+ s"),
    ):
        fetch(source(url), tmp_path / "alone")


def test_a_slow_server_that_brings_enough_has_more_time(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bandbridge.ingest.connections.PATIENCE", 1)
    slow = server.serve("slow", bytes(500_000), Answer(pause=0.15))
    path = fetch(source(slow, sha256=hashlib.sha256(bytes(500_000)).hexdigest()), tmp_path)
    assert path.stat().st_size == 500_000


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "\xb2"},
        {"Content-Length": "+100000"},
        {"Content-Length": "9" * 5_000},
        {"Content-Range": "bytes \xb2-\xb3/\xb9"},
        {"Content-Range": f"bytes {'9' * 5_000}-1/2"},
    ],
)
def test_odd_numbers_in_headers_are_no_numbers(server: FileServer, tmp_path: Path, headers: dict[str, str]):
    url = server.serve("x", CONTENT, Answer(headers=headers))
    good = server.serve("good", CONTENT)
    assert fetch(source(url, good), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("stated", ["\xb2", "-5", "9" * 5_000, "1e9", "Mon, 99 Foo 99999", "nan"])
def test_an_odd_wait_is_no_wait(server: FileServer, tmp_path: Path, stated: str):
    url = server.serve("x", CONTENT, Answer(status=503, headers={"Retry-After": stated}))
    assert fetch(source(url), tmp_path).read_bytes() == CONTENT


def test_control_characters_of_a_server_do_not_reach_the_terminal(server: FileServer, tmp_path: Path):
    def shouting(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 \x1b[2Jgone\r\nContent-Length: 0\r\n\r\n")

    with answering(shouting) as url, pytest.raises(UserError) as caught:
        fetch(source(url), tmp_path)
    assert "\x1b" not in str(caught.value)
    assert "404 ?[2Jgone" in str(caught.value)


@pytest.fixture
def certified(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """The server, by https, with a certificate that clients trust."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_https_never_leads_to_http(certified: FileServer, tmp_path: Path):
    secure = certified.serve("good", CONTENT).replace("http:", "https:")
    assert fetch(source(secure), tmp_path / "direct").read_bytes() == CONTENT
    asked = []

    def plain(connection: socket.socket) -> None:
        asked.append(1)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT)

    with answering(plain) as target:
        certified.serve("down", b"", Answer(status=302, headers={"Location": target}))
        with pytest.raises(UserError, match="it leads from https to http://"):
            fetch(source(secure.replace("good", "down")), tmp_path / "down")
    assert asked == []
    certified.serve("across", b"", Answer(status=302, headers={"Location": "/good"}))
    assert fetch(source(secure.replace("good", "across")), tmp_path / "across").read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_a_redirect_leads_to_no_other_protocol(server: FileServer, tmp_path: Path, target: str):
    url = server.serve("x", b"", Answer(status=302, headers={"Location": target}))
    with pytest.raises(UserError, match="No connection adapters"):
        fetch(source(url, sha256=None), tmp_path)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("name", ["scene.bin.part", ".scene.bin.part.json", ".scene.bin.lock", ".scene.bin.verified"])
def test_a_download_follows_no_link_of_others(server: FileServer, tmp_path: Path, name: str):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / name).symlink_to(precious)
    url = server.serve("x", CONTENT)
    if name in ("scene.bin.part", ".scene.bin.lock"):
        with pytest.raises(UserError, match="cannot be written"):
            fetch(source(url), shared)
    else:
        fetch(source(url), shared)
    assert precious.read_bytes() == b"precious"
