"""The doctor's checks of a configuration's needs: files to fetch, their servers, disk space and permissions."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from bandbridge.base.errors import UserError
from bandbridge.base.limits import check_writable
from bandbridge.base.paths import Paths
from bandbridge.base.untrusted import whole_number
from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.text_towers import load_text_tower, missing_tower_files
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.run import Run
from bandbridge.ingest.archives import is_archive
from bandbridge.ingest.fetch import missing_manual, to_download
from bandbridge.ops.checks import GB, MISSING, NOTE, OK, SECONDS, Check, Checks, at_once, verdict

REQUEST_SECONDS = 4.0
MOST_REQUESTS = 24
# Bytes of a store per byte of its archives, at least and at most. Bands are compressed about as well in a store as in
# their archives; RGB images arrive as JPEG and are stored as pixels.
STORE_OF_BANDS = (0.8, 1.5)
STORE_OF_IMAGES = (1.0, 15.0)
# Files of a run: embeddings, models, checkpoints.
RESULTS = 2 * GB
FETCH = "Run snakemake fetch, or the workflow itself"
OFFLINE = (
    "Offline? Then run make fetch on a machine with a network, and copy data_root; for weights of a model hub, give "
    "clip.pretrained a local checkpoint"
)

# The size that a server states, None if it states none, or the reason why it does not answer.
Answer = int | str | None


@dataclass(frozen=True)
class Need:
    """A file that a data set or a text tower, its owner, still needs; `is_rgb`: it holds RGB images."""

    owner: str
    source: Source
    is_rgb: bool

    @property
    def address(self) -> str | None:
        """Where it is fetched from first; for a package, its page in the index that pip asks."""
        if not self.source.pip:
            return next(iter(self.source.urls), None)
        return f"{_index()}/{self.source.pip.split('==')[0]}/" if _index() else None

    def size(self, answers: Mapping[str, Answer]) -> int | None:
        """In bytes, as the data set's file or its server states it."""
        answer = None if self.source.pip else answers.get(self.address or "")
        return self.source.size or (answer if isinstance(answer, int) else None)


def data(config: Mapping[str, Any]) -> Checks:
    """What must be fetched, whether its servers answer, and whether there is space for it and for the stores."""
    run = Run(config)
    needs, manual = missing_files(run)
    for steps in (*chain(*manual.values()), *absent_checkpoints(config)):
        yield Check(MISSING, "data", " ".join(steps.split()))
    to_fetch = dict.fromkeys(need.owner for need in needs)
    complete = [dataset for dataset in run.datasets if dataset not in {*to_fetch, *manual}]
    sets = f"{len(complete)} of {len(run.datasets)} data sets are complete"
    fetched = f"; to be fetched: {', '.join(to_fetch)}" if to_fetch else ""
    yield verdict(not to_fetch and not manual, "data", f"{sets}{fetched}", FETCH if to_fetch else "")
    addresses = [address for need in needs if (address := need.address)][:MOST_REQUESTS]
    hub = [os.environ.get("HF_ENDPOINT", "https://huggingface.co")] if needs_hub(run) else []
    answers = ask_servers([*addresses, *hub])
    yield from network(answers)
    yield from room(config, [(need, need.size(answers)) for need in needs])


def missing_files(run: Run) -> tuple[list[Need], dict[str, list[str]]]:
    """The files of data sets and the text tower to be fetched; data set -> steps for those to copy manually."""
    needs: list[Need] = []
    manual: dict[str, list[str]] = {}
    for name in run.datasets:
        dataset, folder = run.dataset(name), Path(run.archives(name))
        if Path(run.paths.store(name)).is_file():
            continue
        if steps := missing_manual(dataset, folder):
            manual[name] = steps
        needs += [
            Need(name, part, dataset.primary.is_rgb)
            for source in to_download(dataset, folder)
            for part in source.parts or (source,)
            if not (folder / part.file).exists()
        ]
    if run.tower and missing_tower_files(run.config["data_root"], run.tower):
        source = load_text_tower(run.tower).packagings[0].source
        needs.append(Need(f"the text tower {run.tower}", source, is_rgb=False))
    return needs, manual


# By its environment, its configuration or its default; there is no public way to ask for all three.
INDEX = """
from pip._internal.commands import create_command
print(create_command("download").parser.get_default_values().index_url)
"""


@cache
def _index() -> str | None:
    """The package index that pip asks; None without pip."""
    done = subprocess.run([sys.executable, "-c", INDEX], capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stdout.strip().rstrip("/") or None


def needs_hub(run: Run) -> bool:
    """Whether weights must still be fetched from a model hub."""
    return any(
        source != "scratch" and not Path(source).exists() and not Path(run.paths.clip(clip)).exists()
        for clip, (_, source) in run.clips.items()
    )


def ask_servers(addresses: Collection[str]) -> dict[str, Answer]:
    """Address -> the answer of its server."""
    answers = at_once(_head, addresses, SECONDS - 1)
    return {address: answers.get(address, "no answer in time") for address in addresses}


def _head(address: str) -> Answer:
    try:
        answer = requests.head(address, allow_redirects=True, timeout=REQUEST_SECONDS)
    except requests.RequestException as error:
        cause: BaseException = error
        while cause.__context__ is not None:  # what the libraries have wrapped
            cause = cause.__context__
        return str(cause) or type(cause).__name__
    # A server that refuses HEAD requests answers as well.
    return whole_number(answer.headers.get("Content-Length", "")) if answer.ok else None


def network(answers: Mapping[str, Answer]) -> Checks:
    """Whether each server answers."""
    if not answers:
        yield Check(OK, "network", "not needed for the data")
    for host, answer in {urlsplit(address).hostname: answer for address, answer in answers.items()}.items():
        is_silent = isinstance(answer, str)
        text = f"{host} does not answer ({answer})" if is_silent else f"{host} answers"
        yield verdict(not is_silent, "network", text, OFFLINE)


def room(config: Mapping[str, Any], sizes: Sequence[tuple[Need, int | None]]) -> Checks:
    """Compare the free space of the roots' disks with what will be written; roots on one disk share it."""
    downloads = least = most = 0.0
    for need, size in sizes:
        downloads += size or 0
        if is_archive(need.source.file) or re.search(r"\.gz[a-z]{2}$", need.source.file):
            low, high = STORE_OF_IMAGES if need.is_rgb else STORE_OF_BANDS
            least, most = least + low * (size or 0), most + high * (size or 0)
    unknown = sum(size is None for _, size in sizes)
    roots = {
        "data_root": (_existing(config["data_root"]), downloads, downloads),
        "store_root": (_existing(Paths(config).stores), least, most),
        "results_root": (_existing(config["results_root"]), 0.0, RESULTS),
    }
    disks: dict[int, list[str]] = defaultdict(list)
    for name, (folder, *_) in roots.items():
        disks[folder.stat().st_dev].append(name)
    for names in disks.values():
        folders, lows, highs = zip(*(roots[name] for name in names), strict=True)
        free, low, high = shutil.disk_usage(folders[0]).free, sum(lows), sum(highs)
        space = f"{free / GB:,.0f} GB free for {', '.join(names)}"
        if high > RESULTS:
            space += f"; about {low / GB:,.1f} to {high / GB:,.1f} GB will be written"
        if unknown and "data_root" in names:
            space += f" (and {unknown} {'file' if unknown == 1 else 'files'} of unknown size)"
        remedy = f"{'It may not be enough: make' if free >= low else 'Make'} room, or set {names[0]} to a larger disk"
        yield verdict(free >= high, "disk", space, remedy, otherwise=MISSING if free < low else NOTE)


def _existing(folder: str) -> Path:
    """The folder itself, or the nearest existing one above it."""
    path = Path(folder).absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def folders(config: Mapping[str, Any]) -> Checks:
    """Whether the roots are writable; those of data must be only while something is to be fetched or converted."""
    run = Run(config)
    roots = {key: config[key] for key in ("data_root", "results_root", "log_root")} | {"store_root": run.paths.stores}
    has_stores = all(Path(run.paths.store(name)).is_file() for name in run.datasets)
    is_done = {"data_root": not any(missing_files(run)), "store_root": has_stores}
    writable = []
    for name, folder in roots.items():
        try:
            check_writable(Path(folder), name)
            writable.append(name)
        except UserError as error:
            fine = f"{name} ({folder}) cannot be written to, and need not be"
            yield Check(OK, "folders", fine) if is_done.get(name) else Check(MISSING, "folders", str(error))
    if writable:
        yield Check(OK, "folders", f"{', '.join(writable)} can be written to")
