"""One file over HTTP: an interrupted transfer resumes where it stopped, also in a later run."""

import email.utils
import errno
import hashlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import urllib3

from bandbridge.base.errors import UserError
from bandbridge.base.files import write_json
from bandbridge.base.progress import Loop, tracked
from bandbridge.base.untrusted import visible, whole_number
from bandbridge.ingest.connections import SLOWEST, TimedSession

MEGABYTE = 1_000_000
CHUNK = 2**16  # what is lost at most when a connection breaks
TIMEOUT = (20, 60)  # seconds to connect, and to wait for the next bytes
FRUITLESS_ATTEMPTS = 6  # attempts in a row without a new byte
LONGEST_BACKOFF, LONGEST_RETRY_AFTER = 60.0, 600.0
# Of a file whose size neither the data set's file nor the server states.
MOST_UNSTATED = 100_000 * MEGABYTE
BUSY = (408, 425, 429, 500, 502, 503, 504)
sleep = time.sleep


class MirrorError(Exception):
    """This address does not deliver the file, and asking again would not help; the text states the reason."""

    def __init__(self, reason: object) -> None:
        super().__init__(visible(str(reason)))


class InterruptedTransferError(Exception):
    """The transfer may be resumed later: after `wait` seconds, if the server stated them."""

    def __init__(self, reason: object, wait: float | None = None) -> None:
        super().__init__(str(reason))
        self.wait = wait


@dataclass(frozen=True)
class Expected:
    """What is known of a file: its name, its size in bytes, and checksums by algorithm."""

    file: str
    size: int | None
    checksums: Mapping[str, str]


class Part:
    """The bytes of a file received so far, in a file beside it, with their checksums.

    The server's metadata (address, ETag or date, whole size) are kept beside it in JSON, so that a later run knows
    whether it may resume the transfer.

    Attributes:
        server_metadata: 'url', 'etag', 'date' and 'total' as far as stated.
        size: number of bytes received.
        resumed: whether the bytes come from more than one transfer.
    """

    def __init__(self, target: Path, algorithms: Iterable[str]) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f".{target.name}.part.json")
        self._algorithms = tuple(algorithms)
        # A folder of downloads may be shared: what is written must not follow another user's link.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(self.path, flags, 0o666), "r+b", buffering=0)
        self.server_metadata = self._read_notes()
        self._reset()
        while data := self._file.read(16 * CHUNK):
            self._count(data)
        self.resumed = self.size > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.size:
            self.discard()

    def write(self, data: bytes) -> None:
        """Append; a `UserError` where the disk is full, and what was written stays."""
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view) or 0
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise UserError(
                    f"{self.path}: the disk is full after {self.size:,} bytes; "
                    "make room and start again, it resumes where it stopped"
                ) from error
            self._count(view[:written])
            view = view[written:]

    def restart(self, metadata: Mapping[str, Any]) -> None:
        """Delete all bytes, and begin again with new metadata of the server."""
        self._file.truncate(0)
        self._file.seek(0)
        self._reset()
        self.server_metadata = dict(metadata)
        try:
            write_json(self._notes, self.server_metadata, checked=False)
        except OSError as error:
            raise UserError(
                f"{self._notes} cannot be written ({error}); make room, or make the directory writable"
            ) from error

    def checksums(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in zip(self._algorithms, self._hashes, strict=True)}

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the complete file its name, after it has reached the disk."""
        os.fsync(self._file.fileno())
        os.replace(self.path, target)
        self._notes.unlink(missing_ok=True)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _reset(self) -> None:
        self.size = 0
        self.resumed = False  # whether the bytes come from more than one transfer
        self._hashes: list[Any] = [hashlib.new(name) for name in self._algorithms]

    def _count(self, data: bytes | memoryview) -> None:
        for digest in self._hashes:
            digest.update(data)
        self.size += len(data)

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}


def transfer(url: str, part: Part, expected: Expected) -> None:
    """Complete `part` from an address, trying again as long as each attempt receives bytes.

    Raises:
        MirrorError: the address does not deliver the file, sends more than its size, takes too long (see
            `TimedSession`), or leads from https to http.
        UserError: the disk has no room for it.
    """
    most, fruitless, at_first = part.size, 0, part.size
    with TimedSession(lambda: part.size) as session, tracked(f"Downloading {expected.file}", "MB") as meter:
        while True:
            try:
                _attempt(session, url, part, expected, meter)
                # A connection that was shut looks like one that ended.
                if session.expired:
                    raise InterruptedTransferError("out of time")
                return
            except InterruptedTransferError as interruption:
                if session.expired:
                    received = f"{part.size - at_first:,} bytes were received in {session.seconds:,.0f} s"
                    raise MirrorError(f"it is too slow: {received}, expected {SLOWEST:,} a second") from interruption
                fruitless = 0 if part.size > most else fruitless + 1
                most = max(most, part.size)
                if fruitless == FRUITLESS_ATTEMPTS:
                    raise MirrorError(f"{interruption} (tried {fruitless} times)") from interruption
                backoff = min(LONGEST_BACKOFF, 2.0**fruitless) * random.uniform(0.5, 1)
                sleep(backoff if interruption.wait is None else interruption.wait)


def _attempt(session: requests.Session, url: str, part: Part, expected: Expected, meter: Loop) -> None:
    if part.size and part.size == part.server_metadata.get("total"):
        return
    # What a server compresses on the way would neither have the file's size nor its checksum.
    headers = {"Accept-Encoding": "identity", **_conditions(url, part, expected)}
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and "Range" in headers:
                if _content_range(response)[1] == part.size:
                    return
                part.restart({})
                raise InterruptedTransferError("the server has fewer bytes than were received; beginning again")
            _check_answer(response, expected)
            _begin(response, url, part, expected)
            total = part.server_metadata.get("total")
            meter.begin(round(part.size / MEGABYTE), total and round(total / MEGABYTE))
            response.raw.enforce_content_length = False  # checked below, with our own message
            limit = next(size for size in (total, expected.size, MOST_UNSTATED) if size is not None)
            for data in response.raw.stream(CHUNK, decode_content=False):
                if part.size + len(data) > limit:
                    part.restart({})
                    raise MirrorError(f"it sends more than {limit:,} bytes, the size that is stated or allowed")
                part.write(data)
                meter.done = round(part.size / MEGABYTE)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise InterruptedTransferError(_in_brief(error)) from error
    except requests.RequestException as error:
        raise MirrorError(error) from error
    total = part.server_metadata.get("total")
    if total is not None and part.size < total:
        raise InterruptedTransferError(f"the connection ended after {part.size:,} of {total:,} bytes")


def _in_brief(error: Exception) -> str:
    """What happened to a connection, without the layers of libraries that it passed."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    reason = getattr(inner, "reason", None) or inner
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return "no network, or no such host"
    if type(reason) is urllib3.exceptions.ConnectTimeoutError:  # a subclass is for connections that are refused
        return f"no answer within {TIMEOUT[0]} s"
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return f"no more bytes for {TIMEOUT[1]} s"
    # "HTTPSConnection(host='...', port=443): Failed to establish a new connection: [Errno 111] Connection refused"
    return str(reason).rpartition("connection: ")[2] or type(reason).__name__


def _conditions(url: str, part: Part, expected: Expected) -> dict[str, str]:
    """Headers that ask for the rest of the file, where it is known to be the same file; none otherwise."""
    same_address = part.server_metadata.get("url") == url
    # Equal dates do not show that two mirrors have the same file; a strong ETag does.
    validator = part.server_metadata.get("etag") or (part.server_metadata.get("date") if same_address else None)
    if not part.size or not (validator or (same_address and expected.checksums)):
        return {}
    range_header = {"Range": f"bytes={part.size}-"}
    return {**range_header, "If-Range": validator} if validator else range_header


def _check_answer(response: requests.Response, expected: Expected) -> None:
    status = response.status_code
    if status in BUSY:
        raise InterruptedTransferError(f"{status} {response.reason}", _retry_after(response.headers.get("Retry-After")))
    if status not in (200, 206):
        raise MirrorError(f"{status} {response.reason}")
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html") and not expected.checksums and not expected.file.endswith((".html", ".htm")):
        raise MirrorError("it sends a web page instead of the file, perhaps one to log in")
    encoding = response.headers.get("Content-Encoding", "identity")
    # Some servers call the compression of a .gz file an encoding of it; any other is not the file.
    if encoding != "identity" and not ("gzip" in encoding and expected.file.endswith((".gz", ".tgz"))):
        raise MirrorError(f"it sends the file encoded as {encoding}, although it was requested unencoded")


def _begin(response: requests.Response, url: str, part: Part, expected: Expected) -> None:
    """Prepare `part` for the response's bytes: at its end for the rest of the file, empty for the whole of it."""
    etag = response.headers.get("ETag", "")
    etag = "" if etag.startswith("W/") else etag
    total = whole_number(response.headers.get("Content-Length", "").strip())
    if response.status_code == 206:
        left = total
        first, total = _content_range(response)
        if total is None and left is not None:
            total = first + left
        stated_before = [(etag, part.server_metadata.get("etag")), (total, part.server_metadata.get("total"))]
        if first != part.size or any(now and before and now != before for now, before in stated_before):
            at, content_range = part.size, response.headers.get("Content-Range")
            part.restart({})
            raise InterruptedTransferError(
                f"the bytes from {at:,} on were requested, Content-Range is {content_range!r}"
            )
        part.resumed = True
        part.server_metadata["total"] = total
    if total is not None:
        if expected.size is not None and total != expected.size:
            raise MirrorError(f"it has {total:,} bytes, expected {expected.size:,}")
        whole = response.status_code == 200
        check_room(part, total if whole else total - part.size, part.size if whole else 0)
    if response.status_code == 200:
        part.restart({"url": url, "etag": etag, "date": response.headers.get("Last-Modified", ""), "total": total})


def check_room(part: Part, left: int | None, given_back: int) -> None:
    """Raises a `UserError` if `left` more bytes have no room, once `given_back` bytes are deleted."""
    free = shutil.disk_usage(part.path.parent).free + given_back
    if left is not None and left > free:
        raise UserError(
            f"{part.path.parent} has {free:,} bytes free, {part.path.stem} needs {left:,} more; "
            "make room there, or set data_root to a larger disk, and start again"
        )


def _content_range(response: requests.Response) -> tuple[int, int | None]:
    """First byte and whole size; -1 and None where the server states none."""
    stated = response.headers.get("Content-Range", "").strip()
    match = re.fullmatch(r"bytes (?:(\S+)-\S+|\*)/(\S+)", stated)
    if match is None:
        return -1, None
    first = whole_number(match[1] or "")
    return -1 if first is None else first, whole_number(match[2])


def _retry_after(stated: str | None) -> float | None:
    """Seconds to wait, as a server states them or a date; capped, None where it states neither."""
    if not stated:
        return None
    seconds = whole_number(stated.strip())
    if seconds is not None:
        return min(float(seconds), LONGEST_RETRY_AFTER)
    try:
        then = email.utils.parsedate_to_datetime(stated).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, then - time.time()), LONGEST_RETRY_AFTER)
