"""Files of an archive by the names of a list or a table, as far as these are unambiguous."""

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from bandbridge.ingest.archives import member_names, members
from bandbridge.ingest.names import Lookalikes

MOST_EXAMPLES = 3


def wanted_members(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The name in `names` and the content of each file, in the archive's order.

    Names that no file has are looked up in a second pass, as `Lookalikes` finds them; that, and names that
    several files could have, are logged to standard error.
    """
    missing = set(names)
    for name, content in members(path, accepts=names.__contains__):
        missing.discard(name)
        yield name, content
    if missing:
        yield from _lookalikes(path, missing)


def _lookalikes(path: Path, missing: Collection[str]) -> Iterator[tuple[str, bytes]]:
    lookalikes = Lookalikes(member_names(path))
    candidates = {name: lookalikes.of(name) for name in sorted(missing)}
    unclear = [f"{name} ({', '.join(files[:2])})" for name, files in candidates.items() if len(files) > 1]
    if unclear:
        _log(f"{len(unclear)} names may mean several files of {path}, none of which is read: {_first(unclear)}")
    meant: dict[str, list[str]] = {}
    for name, files in candidates.items():
        if len(files) == 1:
            meant.setdefault(files[0], []).append(name)
    if meant:
        examples = [f"{names[0]} as {file}" for file, names in meant.items()]
        _log(f"{len(examples)} of {path}'s files are listed under other names: {_first(examples)}")
        for file, content in members(path, accepts=meant.__contains__):
            for name in meant[file]:
                yield name, content


def _first(items: list[str]) -> str:
    return ", ".join(items[:MOST_EXAMPLES]) + (" ..." if len(items) > MOST_EXAMPLES else "")


def _log(message: str) -> None:
    print(message, file=sys.stderr)
