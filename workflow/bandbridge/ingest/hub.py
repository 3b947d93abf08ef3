"""Files of a model hub, received by huggingface_hub: its endpoint, login, cache, revisions and repeated attempts.

The library keeps no part of a file from one run to the next, so it writes into our `Part`, which does.
"""

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bandbridge.base.progress import Loop, tracked
from bandbridge.ingest.transfer import CHUNK, MEGABYTE, Expected, MirrorError, Part, check_room, transfer

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

ADDRESS = re.compile(r"https://huggingface\.co/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/([^?#]+)")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its `kind` ('dataset', 'space' or None for a model), and a branch, tag or commit."""

    repository: str
    file: str
    revision: str
    kind: str | None = None


def hub_file(url: str) -> HubFile | None:
    """The file that an address of the hub stands for; None for any other address."""
    match = ADDRESS.match(url)
    if match is None:
        return None
    kinds, repository, revision, file = match.groups()
    return HubFile(repository, unquote(file), unquote(revision), kinds.removesuffix("s") if kinds else None)


def transfer_from_hub(url: str, part: Part, expected: Expected) -> None:
    """Complete `part` with a file of the hub: from huggingface_hub's cache, or from `HF_ENDPOINT`, with its login.

    What `part` has is kept if the hub states the same ETag as before. Larger files than the library receives over HTTP
    are received as from any other server.

    Raises:
        MirrorError: the hub does not deliver the file, states another commit than the address, another size or sha256
            than expected, or leads from https to http.
        UserError: the disk has no room for it.
    """
    import huggingface_hub
    from huggingface_hub import constants

    source = hub_file(url)
    assert source is not None
    if _from_cache(source, part):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    address = huggingface_hub.hf_hub_url(
        source.repository, source.file, repo_type=source.kind, revision=source.revision, endpoint=endpoint
    )
    try:
        facts = huggingface_hub.get_hf_file_metadata(address, endpoint=endpoint, retry_on_errors=True)
        _check(facts, address, source, expected)
        if (facts.size or 0) > constants.MAX_HTTP_DOWNLOAD_SIZE:
            transfer(url, part, expected)
            return
        if not part.size or not facts.etag or part.server_metadata.get("etag") != facts.etag:
            check_room(part, facts.size, part.size)
            part.restart({"url": url, "etag": facts.etag, "date": "", "total": facts.size})
        with tracked(f"Downloading {expected.file}", "MB") as meter:
            meter.begin(round(part.size / MEGABYTE), facts.size and round(facts.size / MEGABYTE))
            _receive(facts, address, part, meter)
    except MirrorError:
        raise
    except Exception as error:
        if not _is_of_the_hub(error):
            raise
        raise MirrorError(_in_brief(error)) from error


def _from_cache(source: HubFile, part: Part) -> bool:
    """Whether the file was in the library's cache, of which `part` is now a copy."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source.repository, source.file, repo_type=source.kind, revision=source.revision)
    if not isinstance(cached, str):
        return False
    check_room(part, Path(cached).stat().st_size, part.size)
    part.restart({})
    with open(cached, "rb") as file:
        while data := file.read(16 * CHUNK):
            part.write(data)
    return True


def _check(facts: "HfFileMetadata", address: str, source: HubFile, expected: Expected) -> None:
    if COMMIT.fullmatch(source.revision) and facts.commit_hash not in (None, source.revision):
        raise MirrorError(f"the hub states commit {facts.commit_hash}, the address is of {source.revision}")
    if None not in (facts.size, expected.size) and facts.size != expected.size:
        raise MirrorError(f"it has {facts.size:,} bytes, expected {expected.size:,}")
    # The ETag of a large file is its sha256: a wrong one is known before the transfer.
    pinned, etag = expected.checksums.get("sha256"), facts.etag or ""
    if pinned and SHA256.fullmatch(etag) and etag != pinned:
        raise MirrorError(f"it serves a damaged or another file: sha256 is {etag}, expected {pinned}")
    if address.startswith("https://") and not facts.location.startswith("https://"):
        raise MirrorError(f"it leads from https to {facts.location}")


def _receive(facts: "HfFileMetadata", address: str, part: Part, meter: Loop) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        """The library's progress, in place of which ours is shown."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    # What is compressed on the way has another size; another host must not see the login.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if urlsplit(facts.location).netloc != urlsplit(address).netloc:
        headers.pop("authorization", None)
    http_get(
        facts.location,
        _Sink(part, meter),  # type: ignore[arg-type]
        resume_size=part.size,
        headers=headers,
        expected_size=facts.size,
        tqdm_class=Silent,
    )


class _Sink(io.RawIOBase):
    """`part` as the file that the library appends to, and begins again if the server sends the whole of it."""

    def __init__(self, part: Part, meter: Loop) -> None:
        self._part, self._meter = part, meter

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._part.write(data)
        self._meter.done = round(self._part.size / MEGABYTE)
        return len(data)

    def tell(self) -> int:
        return self._part.size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a part is appended to or begun again")
        self._part.restart(self._part.server_metadata)
        return 0

    def truncate(self, size: int | None = None) -> int:
        return self._part.size


def _is_of_the_hub(error: Exception) -> bool:
    """Whether an error is of the library or of its transfers, and not of this machine or of the program."""
    from huggingface_hub.errors import HFValidationError

    # Errors of this machine's files have a number.
    remote = isinstance(error, HFValidationError) or (isinstance(error, OSError) and error.errno is None)
    return remote or type(error).__module__.partition(".")[0].startswith("httpx")


def _in_brief(error: Exception) -> str:
    """The first line of an error, and for a repository behind a login what to do."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    behind_login = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
    return f"{text} Log in (`hf auth login`), and accept the repository's terms on its page." if behind_login else text
