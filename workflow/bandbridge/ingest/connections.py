"""HTTP sessions with a total time limit that refuse redirects from https to http."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

# Seconds that a server may take in all, and the average bytes per second that extend this time.
PATIENCE = 1_800.0
SLOWEST = 10_000
MOST_WATCHED = 8


class LeadingAwayError(requests.RequestException):
    """A redirect out of https."""


class TimedSession(requests.Session):
    """A session whose connections are shut when a transfer takes too long, in any phase of it.

    Timeouts of sockets start again with every byte: a server that sends one a minute would hold a job forever, also
    while it sends headers.

    Args:
        received: returns the number of bytes received so far; they extend the time limit.
    """

    def __init__(self, received: Callable[[], int]) -> None:
        super().__init__()
        self.expired = False
        self._received = received
        self._began = time.monotonic()
        self._before = received()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = self._armed(PATIENCE)
        for scheme in ("https://", "http://"):
            self.mount(scheme, _WatchedAdapter(self._watch))

    def __exit__(self, *args: Any) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()
        super().__exit__(*args)

    @property
    def seconds(self) -> float:
        """Since the session began."""
        return time.monotonic() - self._began

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(urljoin(resp.url, target)).scheme != "https":
            raise LeadingAwayError(f"it leads from https to {urljoin(resp.url, target)}, which anybody could change")
        return target

    def _armed(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._check)
        timer.daemon = True
        timer.start()
        return timer

    def _check(self) -> None:
        allowed = PATIENCE + (self._received() - self._before) / SLOWEST
        left = self._began + allowed - time.monotonic()
        if left > 0:
            self._timer = self._armed(left)
            return
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                _shut(connection)

    def _watch(self, connection: socket.socket) -> None:
        # TLS takes the socket over; a second name for it still reaches the connection.
        again = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._sockets.append(again)
            # One at a time is in use; those of earlier attempts must not use up the process's files.
            for old in self._sockets[:-MOST_WATCHED]:
                old.close()
            del self._sockets[:-MOST_WATCHED]
            if self.expired:
                _shut(again)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _WatchedAdapter(HTTPAdapter):
    """Calls `watch` with the socket of every connection as soon as it is made."""

    def __init__(self, watch: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._watch = watch

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _watched(type(pool).ConnectionCls, self._watch)
        return pool


def _watched(kind: type, watch: Callable[[socket.socket], None]) -> type:
    def new_connection(self: Any) -> socket.socket:
        connection: socket.socket = kind._new_conn(self)  # type: ignore[attr-defined]
        watch(connection)
        return connection

    return type(kind.__name__, (kind,), {"_new_conn": new_connection})
