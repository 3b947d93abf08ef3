"""The state of the user's own files, cheap to compute, to detect whether a folder of images has changed."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path

from bandbridge.catalogue.datasets import Dataset
from bandbridge.ingest.fetch import by_hand, needed, own_files
from bandbridge.ingest.junk import NOTES, is_trace

BLOCK = 1 << 20


def data_listing(dataset: Dataset, archives: Path, mode: str = "times") -> list[str]:
    """Number, bytes and digest of the files that a data set is made of and that are the user's own.

    These are the files below `archives`, except those that are downloaded, the option `archive` and the table. A
    file that is replaced, added, removed or renamed changes the digest.

    Args:
        archives: the folder of the data set's downloads, where files of one's own may lie as well.
        mode: 'times' compares names, sizes and times of change; 'content' names and bytes, which reads every file;
            'nothing' compares nothing.

    Returns:
        Three texts, '3,072 files', '9,437,184 bytes' and 'sha256:...'; none where there is no such file.
    """
    stand_in = dataset.options.get("archive")
    places = [archives, *([Path(stand_in)] if stand_in else []), *own_files(dataset, archives)]
    return list(_listing(tuple(map(str, places)), frozenset(_fetched(dataset)), mode))


def file_listing(*paths: str | Path | None) -> list[str]:
    """The same of files and folders, such as weights; empty where none exists."""
    return list(_listing(tuple(str(path) for path in paths if path), frozenset(), "times"))


def _fetched(dataset: Dataset) -> Iterator[str]:
    """Names of the files that are downloaded, and checked against their publisher's checksums at that."""
    for source in needed(dataset):
        if not by_hand(source):
            yield source.file
            yield from (part.file for part in source.parts)


@cache
def _listing(places: Sequence[str], without: Collection[str], mode: str) -> tuple[str, ...]:
    if mode == "nothing":
        return ()
    digest, number, size = hashlib.sha256(), 0, 0
    for place in dict.fromkeys(places):
        for name, path, state in sorted(_walk(place, without)):
            number, size = number + 1, size + state.st_size
            version = _content(path) if mode == "content" else str(state.st_mtime_ns)
            digest.update(f"{name}\0{state.st_size}\0{version}\n".encode("utf-8", "surrogateescape"))
    return (f"{number:,} files", f"{size:,} bytes", f"sha256:{digest.hexdigest()}") if number else ()


def _walk(place: str, without: Collection[str]) -> Iterator[tuple[str, str, os.stat_result]]:
    """Name below a place, path and state of every file not named in `without`; a place that is a file is its own."""
    if os.path.isfile(place):
        yield os.path.basename(place), place, os.stat(place)
        return
    seen: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    for folder, folders, files in os.walk(place, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = [name for name in folders if not is_trace(name)]
        below = os.path.relpath(folder, place)
        for name in files:
            path = os.path.join(folder, name)
            if name in without or (is_trace(name) and not _is_statement(path)):
                continue
            try:
                state = os.stat(path)
            except OSError:  # a broken link, or a file that was removed this moment
                continue
            if stat.S_ISREG(state.st_mode):
                yield os.path.join(below, name), path, state


def _is_statement(path: str) -> bool:
    """Whether a file is notes that change what the file beside it means; statistics, which QGIS leaves, do not."""
    if not path.lower().endswith(NOTES) or os.path.basename(path).startswith("."):
        return False
    # Here, since it brings rasterio, and few folders hold such files.
    from bandbridge.ingest.side_files import states_something

    try:
        return states_something(Path(path).read_bytes())
    except OSError:
        return False


def _content(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
