"""A real web server on this machine that misbehaves as a test specifies."""

import contextlib
import http.server
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    Attributes:
        status: sent instead of the file, if it is an error.
        headers: added to the others, or in their place.
        drop: header names that are left out.
        cut: the connection ends after so many bytes of the body.
        pause: seconds before each further 64 kB.
        stalls: where it is cut, the connection stays open and nothing comes any more.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    cut: int | None = None
    pause: float = 0.0
    stalls: bool = False


@dataclass
class Served:
    """A file; its requests are answered by `answers` in turn, and then as they should be."""

    content: bytes
    etag: str = ""
    date: str = ""
    ranges: bool = True
    answers: list[Answer] = field(default_factory=list)


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files` by their paths and keeps the path and the headers of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}
        self.asked: list[str] = []
        self.requests: list[dict[str, str]] = []
        self.over = threading.Event()

    def serve(
        self, path: str, content: bytes, *answers: Answer, etag: str = "", date: str = "", ranges: bool = True
    ) -> str:
        """The address of a new file."""
        self.files[f"/{path}"] = Served(content, etag, date, ranges, list(answers))
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def ranges(self) -> list[str | None]:
        """The Range header of each request, None for none."""
        return [headers.get("Range") for headers in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """No output: clients that disconnect are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.requests.append(dict(self.headers))
        served = self.server.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        answer = served.answers.pop(0) if served.answers else Answer()
        if answer.status and answer.status >= 300:
            self._send(answer.status, answer.headers, b"an error", answer)
            return
        headers = {"ETag": served.etag, "Last-Modified": served.date, "Content-Type": "application/octet-stream"}
        begin = self._begin(served)
        status, body = 200, served.content
        if begin is not None and begin >= len(body):
            self._send(416, {"Content-Range": f"bytes */{len(body)}"}, b"", answer)
            return
        if begin is not None:
            status, body = 206, served.content[begin:]
            headers["Content-Range"] = f"bytes {begin}-{len(served.content) - 1}/{len(served.content)}"
        self._send(status, {**headers, **answer.headers}, body, answer)

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def _begin(self, served: Served) -> int | None:
        """The start of the requested range, None for the whole file."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked is None or not served.ranges or (condition and condition not in (served.etag, served.date)):
            return None
        return int(asked[1])

    def _send(self, status: int, headers: dict[str, str], body: bytes, answer: Answer) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value and name not in answer.drop:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body[: answer.cut]
        for at in range(0, len(body), 65_536):
            time.sleep(answer.pause)
            self.wfile.write(body[at : at + 65_536])
        if answer.stalls:
            self.wfile.flush()
            self.server.over.wait()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that passes each connection to `answer`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            with contextlib.suppress(OSError):
                answer(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        allow_reuse_address = True

    with serving(Server(("127.0.0.1", 0), Handler)) as address:
        yield f"{address}/x"


@contextmanager
def running_server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        try:
            yield server
        finally:
            server.over.set()


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[str]:
    """Answer requests in a thread; the address of the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def visible(folder: Path) -> list[str]:
    """The files that a download leaves to its user."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
