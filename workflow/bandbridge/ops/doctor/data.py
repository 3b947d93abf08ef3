"""Checks of a configuration's needs: files to fetch, their servers, disk space and permissions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from bandbridge.base.paths import Paths
from bandbridge.base.untrusted import whole_number
from bandbridge.catalogue.datasets import Source, load_dataset
from bandbridge.catalogue.text_towers import load_text_tower, missing_tower_files
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.networks import clips, locked_tower
from bandbridge.config.run import Run
from bandbridge.ingest.archives import is_archive, locate
from bandbridge.ingest.connections import TimedSession
from bandbridge.ingest.fetch import missing_manual, needed
from bandbridge.ops.doctor.machine import GB, MISSING, NOTE, OK, SECONDS, Check, Checks, at_once

REQUEST_SECONDS = 4.0
MOST_REQUESTS = 24

# Bytes of a store per byte of its archives, at least and at most. Bands are compressed about as well in a store as in
# their archives; RGB images arrive as JPEG and are stored as pixels.
STORE_OF_BANDS = (0.8, 1.5)
STORE_OF_IMAGES = (1.0, 15.0)
FETCH = "Run snakemake fetch, or the workflow itself"
# Files of a run: embeddings, models, checkpoints.
RESULTS = 2 * GB


@dataclass(frozen=True)
class Need:
    """A file that a data set or a text tower still needs.

    Attributes:
        dataset: its name, or the text tower's.
        file: its name.
        urls: of the file; of a package's page in its index if `in_index`.
        size: in bytes, if stated.
        is_rgb: whether it holds RGB images.
        in_index: whether it is a package of an index.
    """

    dataset: str
    file: str
    urls: tuple[str, ...]
    size: int | None
    is_rgb: bool
    in_index: bool = False


def data(config: Mapping[str, Any]) -> Checks:
    """What must be fetched, whether its servers answer, and whether there is space for it and for the stores."""
    needs, manual, complete = missing_files(config)
    for steps in (*manual, *absent_checkpoints(config)):
        yield Check(MISSING, "data", " ".join(steps.split()))
    sets = f"{len(complete)} of {len(dataset_folders(config))} data sets are complete"
    if not needs and not manual:
        yield Check(OK, "data", f"all {len(complete)} data sets are complete")
    elif needs:
        names = dict.fromkeys(need.dataset for need in needs)
        yield Check(NOTE, "data", f"{sets}; to be fetched: {', '.join(names)}", FETCH)
    tower = missing_tower(config)
    for need in tower:
        yield Check(NOTE, "data", f"the text tower {need.dataset} is to be fetched", FETCH)
    needs += tower
    hub = [os.environ.get("HF_ENDPOINT", "https://huggingface.co")] if needs_hub(config) else []
    addresses = [address for need in needs for address in need.urls[:1]][:MOST_REQUESTS]
    answers = ask_servers([*addresses, *hub])
    yield from _network(addresses, answers)
    for address in hub:
        yield from _reached("model hub", address, answers, "give clip.pretrained a local checkpoint")
    yield from room(config, _with_sizes(needs, answers))


def missing_files(config: Mapping[str, Any]) -> tuple[list[Need], list[str], list[str]]:
    """Compare the data sets of a run with the files on disk.

    Returns:
        The files to be fetched, the steps for files to be copied manually, and the names of complete data sets.
    """
    needs: list[Need] = []
    manual: list[str] = []
    complete: list[str] = []
    for name, (folder, store) in dataset_folders(config).items():
        dataset = load_dataset(name, config["datasets"].get(name))
        if (store / "zarr.json").is_file():
            complete.append(name)
            continue
        steps = missing_manual(dataset, folder)
        lacking = [part for source in needed(dataset) if not source.manual for part in _lacking(source, folder)]
        manual += steps
        needs += [_need(name, part, dataset.primary.is_rgb) for part in lacking]
        if not steps and not lacking:
            complete.append(name)
    return needs, manual, complete


def missing_tower(config: Mapping[str, Any]) -> list[Need]:
    """The package of the text tower that the CLIP is trained against, while a file of the tower is missing."""
    name = locked_tower(config)
    if name is None or not missing_tower_files(config["data_root"], name):
        return []
    return [_need(name, load_text_tower(name).packagings[0].source, is_rgb=False)]


def _need(name: str, source: Source, is_rgb: bool) -> Need:
    return Need(name, source.file, tuple(source.urls) or _index(source.pip), source.size, is_rgb, bool(source.pip))


def _lacking(source: Source, folder: Path) -> list[Source]:
    """The files of a source, or of its parts, that are missing in every layout."""
    absent = [part for part in source.parts if not (folder / part.file).exists()]
    some_are_there = len(absent) < len(source.parts)
    if (some_are_there and not (folder / source.file).exists()) or locate(folder, source.file) is None:
        return absent if source.parts else [source]
    return []


def dataset_folders(config: Mapping[str, Any]) -> dict[str, tuple[Path, Path]]:
    """Per data set of a run, the folder of its downloads and its store."""
    run = Run(config)
    return {name: (Path(run.archives(name)), Path(run.paths.store(name)).parent) for name in run.datasets}


def _index(wheel: str | None) -> tuple[str, ...]:
    """The address of the package index that pip would ask for a wheel."""
    if wheel is None:
        return ()
    index = os.environ.get("PIP_INDEX_URL") or _pip_setting("global.index-url") or _pip_default()
    return (f"{index.rstrip('/')}/{wheel.split('==')[0]}/",) if index else ()


def _pip_setting(name: str) -> str:
    command = [sys.executable, "-m", "pip", "config", "get", name]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout.strip()


def _pip_default() -> str:
    """pip's default index; '' without pip."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    called = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    return called.stdout.strip()


def needs_hub(config: Mapping[str, Any]) -> bool:
    """Whether weights must still be fetched from a model hub."""
    paths = Paths(config)
    return any(
        source != "scratch" and not Path(source).exists() and not Path(paths.clip(clip)).exists()
        for clip, (_, source) in clips(config).items()
    )


# --- the network ------------------------------------------------------------------------------------------------------


def ask_servers(addresses: Collection[str]) -> dict[str, int | str | None]:
    """Per address: the size that its server states, None if it states none, or the reason why it does not answer."""
    answers = at_once({address: partial(_head, address) for address in addresses}, SECONDS - 1)
    return {address: answers.get(address, "no answer in time") for address in addresses}


def _head(address: str) -> int | str | None:
    try:
        with TimedSession(lambda: 0) as session:
            answer = session.head(address, allow_redirects=True, timeout=REQUEST_SECONDS)
    except requests.RequestException as error:
        cause: BaseException = error
        while cause.__context__ is not None:  # what the libraries have wrapped
            cause = cause.__context__
        return str(cause) or type(cause).__name__
    # A server that refuses HEAD requests answers as well.
    return whole_number(answer.headers.get("Content-Length", "")) if answer.ok else None


def _network(addresses: Sequence[str], answers: Mapping[str, int | str | None]) -> Checks:
    if not addresses:
        yield Check(OK, "network", "not needed for the data")
    hosts = {urlsplit(address).hostname: address for address in reversed(addresses)}
    for address in reversed(hosts.values()):
        yield from _reached(
            "network", address, answers, "run make fetch on a machine with a network, and copy data_root"
        )


def _reached(what: str, address: str, answers: Mapping[str, int | str | None], remedy: str) -> Checks:
    host, answer = urlsplit(address).hostname, answers[address]
    if isinstance(answer, str):
        yield Check(NOTE, what, f"{host} does not answer ({answer})", f"Offline? Then {remedy}")
    else:
        yield Check(OK, what, f"{host} answers")


# --- space and permissions --------------------------------------------------------------------------------------------


def _with_sizes(needs: Sequence[Need], answers: Mapping[str, int | str | None]) -> list[tuple[Need, int | None]]:
    def size(need: Need) -> int | None:
        stated = answers.get(need.urls[0]) if need.urls and not need.in_index else None
        return need.size or (stated if isinstance(stated, int) else None)

    return [(need, size(need)) for need in needs]


def room(config: Mapping[str, Any], needs: Sequence[tuple[Need, int | None]]) -> Checks:
    """Compare the free space of the roots' disks with what will be written; roots on one disk share it."""
    sized = [(need, size) for need, size in needs if size is not None]
    downloads = sum(size for _, size in sized)
    least = most = 0.0
    for need, size in sized:
        if is_archive(need.file) or re.search(r"\.gz[a-z]{2}$", need.file):
            low, high = STORE_OF_IMAGES if need.is_rgb else STORE_OF_BANDS
            least, most = least + low * size, most + high * size
    unknown = sum(1 for _, size in needs if size is None)
    roots = [
        ("data_root", Path(config["data_root"]), float(downloads), float(downloads)),
        ("store_root", Path(Paths(config).stores), least, most),
        ("results_root", Path(config["results_root"]), 0.0, RESULTS),
    ]
    for names, folder, low, high in _by_disk(roots):
        free = shutil.disk_usage(folder).free
        space = f"{free / GB:,.0f} GB free for {', '.join(names)}"
        if high > RESULTS:
            space += f"; about {low / GB:,.1f} to {high / GB:,.1f} GB will be written"
        if unknown and "data_root" in names:
            space += f" (and {unknown} {'file' if unknown == 1 else 'files'} of unknown size)"
        if free < low:
            yield Check(MISSING, "disk", space, f"Make room, or set {names[0]} to a larger disk")
        elif free < high:
            yield Check(NOTE, "disk", space, f"It may not be enough: make room, or set {names[0]} to a larger disk")
        else:
            yield Check(OK, "disk", space)


def _by_disk(
    roots: Iterable[tuple[str, Path, float, float]],
) -> list[tuple[list[str], Path, float, float]]:
    disks: dict[int, tuple[list[str], Path, float, float]] = {}
    for name, path, low, high in roots:
        folder = existing(path)
        names, first, lows, highs = disks.get(folder.stat().st_dev, ([], folder, 0.0, 0.0))
        disks[folder.stat().st_dev] = ([*names, name], first, lows + low, highs + high)
    return list(disks.values())


def existing(path: Path) -> Path:
    """The folder itself, or the nearest existing one above it."""
    path = path.absolute()
    return path if path.is_dir() else existing(path.parent)


def folders(config: Mapping[str, Any]) -> Checks:
    """Whether the roots are writable; data_root must be only while something is to be fetched."""
    complete = not any([*missing_files(config)[:2], missing_tower(config)])
    roots = {
        "data_root": Path(config["data_root"]),
        "store_root": Path(Paths(config).stores),
        "results_root": Path(config["results_root"]),
        "log_root": Path(config["log_root"]),
    }
    has_stores = all((store / "zarr.json").is_file() for _, store in dataset_folders(config).values())
    writable = []
    for name, path in roots.items():
        fault = _unwritable(existing(path))
        if not fault:
            writable.append(name)
        elif (name == "data_root" and complete) or (name == "store_root" and has_stores):
            yield Check(OK, "folders", f"{name} ({path}) cannot be written to, and need not be")
        else:
            remedy = f"Set {name} to a folder that can, or change its permissions"
            yield Check(MISSING, "folders", f"{name} ({path}) cannot be written to ({fault})", remedy)
    if writable:
        yield Check(OK, "folders", f"{', '.join(writable)} can be written to")


def _unwritable(folder: Path) -> str:
    """Why no file can be created in a folder; empty if one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
