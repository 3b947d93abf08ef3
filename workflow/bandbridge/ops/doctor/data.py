"""Checks of what a configuration asks for: files to fetch, the servers that have them, room and rights on the disks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bandbridge.base.paths import Paths
from bandbridge.base.untrusted import whole_number
from bandbridge.catalogue.datasets import Source, load_dataset
from bandbridge.catalogue.text_towers import load_text_tower, missing_tower_files
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.networks import clips, locked_tower
from bandbridge.config.run import Run
from bandbridge.ingest.archives import is_archive, locate
from bandbridge.ingest.fetch import missing_manual, needed
from bandbridge.ops.doctor.machine import GB, MISSING, NOTE, OK, SECONDS, Check, Checks

REQUEST_SECONDS = 4.0
MOST_REQUESTS = 24

# Bytes of a store for each byte of its archives, at least and at most. Bands shrink about as well in a store as in
# their archives; pictures come as JPEG and are stored as pixels.
STORE_OF_BANDS = (0.8, 1.5)
STORE_OF_PICTURES = (1.0, 15.0)
FETCH = "Run snakemake fetch, or the workflow itself"
# What a run itself writes: embeddings, models, checkpoints.
RESULTS = 2 * GB


@dataclass(frozen=True)
class Need:
    """A file that a data set or a text tower still needs: where it may be fetched, and its bytes where they are stated.

    Attributes:
        dataset: its name, or the text tower's.
        urls: of the file; of a package's page in its index where `in_index` says so.
    """

    dataset: str
    file: str
    urls: tuple[str, ...]
    size: int | None
    pictures: bool
    in_index: bool = False


def data(config: Mapping[str, Any]) -> Checks:
    """What has to be fetched, whether its servers answer, and whether there is room for it and for the stores."""
    needs, by_hand, whole = missing_files(config)
    for steps in (*by_hand, *absent_checkpoints(config)):
        yield Check(MISSING, "data", " ".join(steps.split()))
    sets = f"{len(whole)} of {len(dataset_folders(config))} data sets are here"
    if not needs and not by_hand:
        yield Check(OK, "data", f"all {len(whole)} data sets are here")
    elif needs:
        names = dict.fromkeys(need.dataset for need in needs)
        yield Check(NOTE, "data", f"{sets}; to be fetched: {', '.join(names)}", FETCH)
    tower = missing_tower(config)
    for need in tower:
        yield Check(NOTE, "data", f"the text tower {need.dataset} is to be fetched", FETCH)
    needs += tower
    hub = [_hub()] if needs_hub(config) else []
    addresses = [address for need in needs for address in need.urls[:1]][:MOST_REQUESTS]
    answers = ask_servers([*addresses, *hub])
    yield from _network(addresses, answers)
    for address in hub:
        yield from _reached("model hub", address, answers, "give clip.pretrained a local checkpoint")
    yield from room(config, _with_sizes(needs, answers))


def missing_files(config: Mapping[str, Any]) -> tuple[list[Need], list[str], list[str]]:
    """The files still to be fetched, the steps for those to be fetched by hand, the data sets that need nothing."""
    needs: list[Need] = []
    by_hand: list[str] = []
    whole: list[str] = []
    for name, (folder, store) in dataset_folders(config).items():
        dataset = load_dataset(name, config["datasets"].get(name))
        if (store / "zarr.json").is_file():
            whole.append(name)
            continue
        steps = missing_manual(dataset, folder)
        lacking = [part for source in needed(dataset) if not source.manual for part in _lacking(source, folder)]
        by_hand += steps
        needs += [
            Need(
                name, part.file, tuple(part.urls) or _index(part.pip), part.size, dataset.primary.is_rgb, bool(part.pip)
            )
            for part in lacking
        ]
        if not steps and not lacking:
            whole.append(name)
    return needs, by_hand, whole


def missing_tower(config: Mapping[str, Any]) -> list[Need]:
    """The package of the text tower that the CLIP is trained against, while a file of the tower is missing."""
    name = locked_tower(config)
    if name is None or not missing_tower_files(config["data_root"], name):
        return []
    source = load_text_tower(name).packagings[0].source
    urls = tuple(source.urls) or _index(source.pip)
    return [Need(name, source.file, urls, source.size, pictures=False, in_index=bool(source.pip))]


def _lacking(source: Source, folder: Path) -> list[Source]:
    """The files of a source, or of its parts, that are not there in any layout."""
    absent = [part for part in source.parts if not (folder / part.file).exists()]
    some_are_there = len(absent) < len(source.parts)
    if (some_are_there and not (folder / source.file).exists()) or locate(folder, source.file) is None:
        return absent if source.parts else [source]
    return []


def dataset_folders(config: Mapping[str, Any]) -> dict[str, tuple[Path, Path]]:
    """For every data set of a run, the folder of its downloads and its store."""
    run = Run(config)
    return {name: (Path(run.archives(name)), Path(run.paths.store(name)).parent) for name in run.datasets}


def _index(wheel: str | None) -> tuple[str, ...]:
    """The address of the package index that pip would ask for a wheel."""
    if wheel is None:
        return ()
    told = os.environ.get("PIP_INDEX_URL") or _pip_setting("global.index-url") or _pip_default()
    return (f"{told.rstrip('/')}/{wheel.split('==')[0]}/",) if told else ()


def _pip_setting(name: str) -> str:
    command = [sys.executable, "-m", "pip", "config", "get", name]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout.strip()


def _pip_default() -> str:
    """The index that pip asks unless it is told otherwise; '' where there is no pip to say."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    called = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    return called.stdout.strip()


def needs_hub(config: Mapping[str, Any]) -> bool:
    """Whether weights have still to come from a model hub."""
    paths = Paths(config)
    return any(
        source != "scratch" and not Path(source).exists() and not Path(paths.clip(clip)).exists()
        for clip, (_, source) in clips(config).items()
    )


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


# --- the network ------------------------------------------------------------------------------------------------------


def ask_servers(addresses: Iterable[str]) -> dict[str, int | str | None]:
    """For each address: the size its server states, None where it answers without one, or why it does not answer."""
    answers: dict[str, int | str | None] = {}

    def ask(address: str) -> None:
        answers[address] = _head(address)

    running = [threading.Thread(target=ask, args=(address,), daemon=True) for address in dict.fromkeys(addresses)]
    for thread in running:
        thread.start()
    end = time.monotonic() + SECONDS - 1
    for thread in running:
        thread.join(max(0.0, end - time.monotonic()))
    return {address: answers.get(address, "no answer in time") for address in addresses}


class _StillHead(urllib.request.HTTPRedirectHandler):
    """Asks for the head alone where a server sends it on, too; Python 3.11 would fetch the file."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args)
        if request is not None:
            if request.type not in ("https", args[0].type):
                raise urllib.error.URLError(f"it leads to {request.type}")
            request.method = "HEAD"
        return request


def _head(address: str) -> int | str | None:
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "BandBridge"})
    try:
        with urllib.request.build_opener(_StillHead).open(request, timeout=REQUEST_SECONDS) as response:
            return whole_number(response.headers.get("Content-Length", ""))
    except urllib.error.HTTPError:
        return None  # the server is there; some do not answer HEAD requests
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


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


# --- room and rights --------------------------------------------------------------------------------------------------


def _with_sizes(needs: Sequence[Need], answers: Mapping[str, int | str | None]) -> list[tuple[Need, int | None]]:
    def size(need: Need) -> int | None:
        said = answers.get(need.urls[0]) if need.urls and not need.in_index else None
        return need.size or (said if isinstance(said, int) else None)

    return [(need, size(need)) for need in needs]


def room(config: Mapping[str, Any], needs: Sequence[tuple[Need, int | None]]) -> Checks:
    """Free space where the roots lie against what is still to come there; roots on one disk share it."""
    known = [(need, size) for need, size in needs if size is not None]
    downloads = sum(size for _, size in known)
    least = most = 0.0
    for need, size in known:
        if is_archive(need.file) or re.search(r"\.gz[a-z]{2}$", need.file):
            low, high = STORE_OF_PICTURES if need.pictures else STORE_OF_BANDS
            least, most = least + low * size, most + high * size
    unknown = sum(1 for _, size in needs if size is None)
    wanted = [
        ("data_root", Path(config["data_root"]), float(downloads), float(downloads)),
        ("store_root", Path(Paths(config).stores), least, most),
        ("results_root", Path(config["results_root"]), 0.0, RESULTS),
    ]
    for names, folder, low, high in _by_disk(wanted):
        free = shutil.disk_usage(folder).free
        found = f"{free / GB:,.0f} GB free for {', '.join(names)}"
        if high > RESULTS:
            found += f"; about {low / GB:,.1f} to {high / GB:,.1f} GB are to come"
        if unknown and "data_root" in names:
            found += f" (and {unknown} {'file' if unknown == 1 else 'files'} of unknown size)"
        if free < low:
            yield Check(MISSING, "disk", found, f"Make room, or set {names[0]} to a larger disk")
        elif free < high:
            yield Check(NOTE, "disk", found, f"It may not do: make room, or set {names[0]} to a larger disk")
        else:
            yield Check(OK, "disk", found)


def _by_disk(
    wanted: Iterable[tuple[str, Path, float, float]],
) -> list[tuple[list[str], Path, float, float]]:
    disks: dict[int, tuple[list[str], Path, float, float]] = {}
    for name, path, low, high in wanted:
        folder = existing(path)
        names, first, lows, highs = disks.get(folder.stat().st_dev, ([], folder, 0.0, 0.0))
        disks[folder.stat().st_dev] = ([*names, name], first, lows + low, highs + high)
    return list(disks.values())


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    path = path.absolute()
    return path if path.is_dir() else existing(path.parent)


def folders(config: Mapping[str, Any]) -> Checks:
    """Whether the roots can be written to; downloads need it only while something is to be fetched."""
    complete = not any([*missing_files(config)[:2], missing_tower(config)])
    roots = {
        "data_root": Path(config["data_root"]),
        "store_root": Path(Paths(config).stores),
        "results_root": Path(config["results_root"]),
        "log_root": Path(config["log_root"]),
    }
    stores_there = all((store / "zarr.json").is_file() for _, store in dataset_folders(config).values())
    writable = []
    for name, path in roots.items():
        fault = _unwritable(existing(path))
        if not fault:
            writable.append(name)
        elif (name == "data_root" and complete) or (name == "store_root" and stores_there):
            yield Check(OK, "folders", f"{name} ({path}) cannot be written to, and need not be")
        else:
            remedy = f"Set {name} to a folder that can, or change its rights"
            yield Check(MISSING, "folders", f"{name} ({path}) cannot be written to ({fault})", remedy)
    if writable:
        yield Check(OK, "folders", f"{', '.join(writable)} can be written to")


def _unwritable(folder: Path) -> str:
    """Why no file can be made in a folder; empty where one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
