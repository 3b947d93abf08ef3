"""Locks of what several runs share: stores of data sets, text towers, published weights.

Snakemake plans once, and deletes a job's outputs before it starts the job and again if the job fails. A run that
planned to make what another run was making would delete it as soon as it was finished. So a run takes the locks of
everything it shares before it plans, and keeps the locks of what it will make until that exists. A run that waits for
them plans afterwards, with those outputs in place. While a run lasts it is listed as a reader of its stores, and no
other run replaces them.
"""

import errno
import json
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base import runlock
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.catalogue.datasets import Dataset, conversion_facts, load_nomenclature
from bandbridge.config.run import Run

STORE_RULES = frozenset({"download", "plan", "convert", "preprocess"})
_MOST_DIFFERENCES = 4
# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@dataclass(frozen=True)
class Shared:
    """Something that runs share: written by jobs of `rules` with these wildcards, locked in the folder `root`.

    Attributes:
        key: the setting that decides where it is.
        conversion: what decides the content of a data set's store (`settings_of`); None for anything else.
    """

    name: str
    root: Path
    key: str
    rules: frozenset[str]
    wildcards: tuple[tuple[str, str], ...] = ()
    conversion: Mapping[str, Any] | None = None

    @property
    def lock(self) -> Path:
        return self.root / runlock.FOLDER / f"{self.name}.lock"

    @property
    def store(self) -> Path:
        """The root metadata of a data set's store."""
        return self.root / f"{self.name}.zarr" / "zarr.json"

    @property
    def maker(self) -> Path:
        """The file that names the run which has made a store, or is making it."""
        return self.root / runlock.FOLDER / f"{self.name}.maker"

    def is_made_by(self, rule: str, wildcards: Mapping[str, str]) -> bool:
        return rule in self.rules and set(self.wildcards) <= set(wildcards.items())


@dataclass(frozen=True)
class Job:
    """A job that Snakemake is about to run."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: frozenset[str]


def shared_store(dataset: Dataset, root: str | Path) -> Shared:
    """The store of a data set below `root`, with its intermediates: list of downloads, plan, converted parts."""
    wildcards = (("dataset", dataset.name),)
    return Shared(dataset.name, Path(root), "store_root", STORE_RULES, wildcards, settings_of(dataset))


def shared_download(name: str, folder: str | Path, rule: str, **wildcards: str) -> Shared:
    """Something below `folder` that a job of one rule downloads."""
    return Shared(name, Path(folder), "data_root", frozenset({rule}), tuple(wildcards.items()))


def shared_things(run: Run) -> list[Shared]:
    """The stores of a run's data sets, its text tower, and the published weights that its students start from."""
    paths = run.paths
    things = [shared_store(run.dataset(dataset), paths.stores) for dataset in run.datasets]
    if run.tower:
        things.append(shared_download(run.tower, paths.downloads, "fetch_text_tower"))
    weights = [shared_download(file, paths.downloads, "fetch_weights", file=file) for file in run.fetched_weights]
    return [*things, *weights]


def settings_of(dataset: Dataset) -> dict[str, Any]:
    """What decides the content of a store, as JSON keeps it."""
    classes = {name: list(load_nomenclature(name).classes) for name in dataset.nomenclatures}
    maps = {name: dict(load_nomenclature(name).maps) for name in dataset.nomenclatures}
    composites = {item.name: item.composite.facts() if item.composite else None for item in dataset.modalities}
    stated = {
        "composites": composites,
        "zero_bands": {item.name: item.zero_bands for item in dataset.modalities},
        "headline": dataset.headline,
        "unlabelled": dataset.unlabelled,
        "maps": {name: united for name, united in maps.items() if united},
    }
    facts = {**conversion_facts(dataset), "nomenclatures": classes, "stated": stated}
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


def jobs_to_do(workflow: Any) -> list[Job] | None:
    """The jobs of Snakemake's graph, an undocumented attribute; None where it is not as expected."""
    try:
        jobs = workflow.dag.needrun_jobs(exclude_finished=False)
        return [Job(job.rule.name, dict(job.wildcards_dict), frozenset(map(str, job.input))) for job in jobs]
    except Exception:
        return None


class Guard(logging.Handler):
    """Holds the locks of what a run shares, from Snakemake's start of a workflow until each thing is made.

    A handler of Snakemake's log, whose events state when planning begins and which job has ended.
    """

    def __init__(self, run: str, shared: Sequence[Shared]) -> None:
        super().__init__()
        self._run = run
        self._shared = shared
        self._unlockable: dict[str, OSError] = {}
        self._jobs: dict[int, Shared] = {}
        self._left: Counter[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "WORKFLOW_STARTED":
            self.wait()
        elif event == "JOB_INFO":
            job = record.__dict__
            if thing := self._made_by(job["rule_name"], job["wildcards"]):
                self._jobs[job["jobid"]] = thing
            # With --quiet, Snakemake does not log the end of a job, but the start of those that read its output.
            for thing in self._read_by(job.get("input") or ()):
                runlock.let_go(thing.lock)
        elif event == "JOB_FINISHED":
            self._finished(record.__dict__["job_id"])

    def wait(self) -> None:
        """Take the locks of everything shared, once the runs that make it are done."""
        for thing in self._shared:
            try:
                if runlock.take(thing.lock, self._run):
                    runlock.let_go(thing.lock)
            except OSError as error:
                self._unlockable[thing.name] = error
        lockable = [thing for thing in self._shared if thing.name not in self._unlockable]
        runlock.take_all({thing.lock: f"makes {thing.name} in {thing.root}" for thing in lockable}, self._run)

    def begin(self, jobs: Sequence[Job] | None) -> None:
        """Keep the locks of what these jobs will make, and release the others.

        Raises:
            UserError: something to be made cannot be written, is read by another run, or was made by another run under
                other settings; or a store that is only read was made under other settings.
        """
        if jobs is None:  # then the locks end with the run
            return
        made = Counter(thing.name for job in jobs if (thing := self._made_by(job.rule, job.wildcards)))
        read = self._read_by(path for job in jobs for path in job.inputs)
        for thing in self._shared:
            if made[thing.name]:
                self._check_free(thing)
            if thing.conversion is not None and (made[thing.name] or thing in read):
                self._check_settings(thing, bool(made[thing.name]))
        for thing in self._shared:
            if thing.name in self._unlockable:
                continue
            if thing.conversion is not None:
                with suppress(OSError):  # a user without write permission reads without being listed
                    runlock.take(self._reader(thing), self._run)
                if made[thing.name]:
                    with suppress(OSError):
                        write_json(thing.maker, self._this_run, checked=False)
            if not made[thing.name]:
                runlock.let_go(thing.lock)
        self._left = made

    def end(self) -> None:
        """Release everything, and remove this run from the lists of readers."""
        for thing in self._shared:
            runlock.let_go(thing.lock)
            path = self._reader(thing)
            runlock.let_go(path)
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _finished(self, job: int) -> None:
        thing = self._jobs.pop(job, None)
        if thing and self._left is not None:
            self._left[thing.name] -= 1
            if not self._left[thing.name]:
                runlock.let_go(thing.lock)

    def _made_by(self, rule: str, wildcards: Mapping[str, str]) -> Shared | None:
        return next((thing for thing in self._shared if thing.is_made_by(rule, wildcards)), None)

    def _read_by(self, inputs: Iterable[str]) -> list[Shared]:
        paths = set(map(os.path.normpath, inputs))
        return [thing for thing in self._shared if thing.conversion is not None and str(thing.store) in paths]

    @property
    def _this_run(self) -> dict[str, str]:
        return {"run": self._run, "folder": os.getcwd()}

    def _reader(self, thing: Shared) -> Path:
        return thing.lock.with_name(f"{thing.name}.reader.{socket.gethostname()}.{os.getpid()}")

    def _check_free(self, thing: Shared) -> None:
        if error := self._unlockable.get(thing.name):
            if error.errno not in _NO_LOCKS:
                raise UserError(
                    f"{thing.root} cannot be written ({error.strerror}), but {thing.name} has to be made in it: set "
                    f"{thing.key} to a folder of your own, or have its owner make {thing.name}"
                )
            print(
                f"Warning: {thing.lock} cannot be locked ({error.strerror}); "
                f"make sure that no other run makes {thing.name} at the same time (docs/hpc.md).",
                file=sys.stderr,
            )
            return
        for path in thing.lock.parent.glob(f"{thing.name}.reader.*"):
            if path == self._reader(thing) or path.suffix == ".holder":
                continue
            if not _is_free(path, self._run):
                raise UserError(
                    f"{thing.root}: {thing.name} is read by {runlock.holder(path)}, and this run would make it again. "
                    f"Wait until that run has ended, or give this one a {thing.key} of its own"
                )
            runlock.let_go(path)  # a run that was killed
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _check_settings(self, thing: Shared, is_made: bool) -> None:
        """Refuse an existing store that was made under other settings, unless this run may change it.

        Raises:
            UserError: it was made under other settings.
        """
        assert thing.conversion is not None
        try:
            recorded = read_json(thing.store)["attributes"]["conversion"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        differences = list(_differences(recorded, thing.conversion))
        try:
            maker = read_json(thing.maker)
        except (OSError, ValueError):
            maker = None
        if not differences or (is_made and (maker is None or self._is_mine(maker, thing))):
            return
        by_whom = f" by run '{maker['run']}' in {maker['folder']}" if isinstance(maker, dict) else ""
        more = f"; and {len(differences) - _MOST_DIFFERENCES} more" if len(differences) > _MOST_DIFFERENCES else ""
        raise UserError(
            f"{thing.store.parent} was made{by_whom} under other settings than this run's: "
            f"{'; '.join(differences[:_MOST_DIFFERENCES])}{more}. Give this run a store_root of its own, or those "
            f"settings; or delete {thing.store.parent}, and it is converted under this run's"
        )

    def _is_mine(self, maker: Mapping[str, str], thing: Shared) -> bool:
        """Whether a store's maker is this run, whose folder may have been moved or copied together with its stores."""
        moved = not Path(maker["folder"]).is_dir() or thing.root.resolve().is_relative_to(Path.cwd())
        return maker == self._this_run or (moved and maker["run"] == self._this_run["run"])


def _is_free(path: Path, run: str) -> bool:
    """Take a lock unless another process holds it; True on success."""
    try:
        return runlock.take(path, run)
    except OSError:  # another user's lock, in a folder that has changed owner since
        return True


def _differences(recorded: Any, expected: Any, key: str = "") -> Iterator[str]:
    """'options.val is 0.2 in the store, 0.3 in this run' for each value; keys that only one code version records are
    ignored."""
    if isinstance(recorded, Mapping) and isinstance(expected, Mapping):
        names: Iterable[str] = recorded.keys() | expected.keys() if key else recorded.keys() & expected.keys()
        for name in sorted(names):
            yield from _differences(recorded.get(name), expected.get(name), f"{key}.{name}".lstrip("."))
    elif recorded != expected:
        yield f"{key} is {_brief(recorded)} in the store, {_brief(expected)} in this run"


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
