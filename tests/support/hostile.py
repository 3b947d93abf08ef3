"""Run the small configuration on hostile machines, and check that it succeeds or ends with a clear message.

    python tests/support/hostile.py [--whole] [--only WORDS] [--folder FOLDER]

Needs root, which mounts small file systems and gives up its right to write what others own. Each case runs in its
own clone up to the stores and a text head, or with --whole to the end if it should succeed. Prints a table; the exit
status is 1 if a case ends otherwise, or in a traceback.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clones import FEW_STEPS, Clone, make_clone
from disks import remount

NOBODY = 65534
STORES = ["data/zarr/digits.zarr/zarr.json", "data/zarr/scene_crop.zarr/zarr.json"]
CAPABILITIES = "-dac_override,-dac_read_search,-fowner"
PLAIN_USER = ["setpriv", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}"]


@dataclass(frozen=True)
class Case:
    """A hostile condition, how it is made, and what the run must report; None: it must succeed.

    Attributes:
        prepare: called with the clone and a stack, returns what precedes the command; the stack is closed afterwards.
        targets: of the run.
        again: with the condition removed afterwards, the same command succeeds.
    """

    name: str
    prepare: Callable[[Clone, ExitStack], list[str]]
    says: str | None = None
    targets: tuple[str, ...] = tuple(STORES)
    folder: str = "clone"
    again: Callable[[Clone], None] | None = None


@contextmanager
def disk(place: Path, options: str = "") -> Iterator[Path]:
    """A file system in memory; the content of `place` is copied to it."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(place, kept, dirs_exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", *(["-o", options] if options else []), "tmpfs", place], check=True)
        shutil.copytree(kept, place, dirs_exist_ok=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def nothing(clone: Clone, stack: ExitStack) -> list[str]:
    return []


def limited(option: str) -> Callable[[Clone, ExitStack], list[str]]:
    return lambda clone, stack: ["prlimit", option]


def read_only(folder: str, **config: str) -> Callable[[Clone, ExitStack], list[str]]:
    def prepare(clone: Clone, stack: ExitStack) -> list[str]:
        clone.configure({**FEW_STEPS, **config})
        remount(stack.enter_context(disk(clone.root / folder)), "ro")
        return []

    return prepare


def stores_made_then_read_only(clone: Clone, stack: ExitStack) -> list[str]:
    assert clone.snakemake("--cores", "2", "--", *STORES).returncode == 0
    return read_only("data")(clone, stack)


def small_disk(folder: str, size: str) -> Callable[[Clone, ExitStack], list[str]]:
    def prepare(clone: Clone, stack: ExitStack) -> list[str]:
        stack.enter_context(disk(clone.root / folder, f"size={size}"))
        return []

    return prepare


def more_room(folder: str) -> Callable[[Clone], None]:
    return lambda clone: remount(clone.root / folder, "size=2g")


def results_elsewhere(clone: Clone, stack: ExitStack) -> list[str]:
    place = stack.enter_context(disk(clone.root.parent / "other disk"))
    for name in ("results", "logs"):
        (place / name).mkdir()
        (clone.root / name).symlink_to(place / name)
    return []


def results_nowhere(clone: Clone, stack: ExitStack) -> list[str]:
    (clone.root / "results").symlink_to(clone.root.parent / "gone")
    return []


def owned_by_another(*folders: str) -> Callable[[Clone, ExitStack], list[str]]:
    def prepare(clone: Clone, stack: ExitStack) -> list[str]:
        for folder in folders:
            (clone.root / folder).mkdir(exist_ok=True, parents=True)
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", clone.root / folder], check=True)
        return PLAIN_USER

    return prepare


def another_users_stores(clone: Clone, stack: ExitStack) -> list[str]:
    assert clone.snakemake("--cores", "2", "--", *STORES).returncode == 0
    return owned_by_another("data")(clone, stack)


HEAD = ("results/small/heads/demo-vit/scene_crop.osm-landuse-8.plain.npz",)
CASES = [
    Case("a path with spaces and quotes", nothing, folder='it\'s a "clone" of mine'),
    Case("results and logs are links to another file system", results_elsewhere, targets=HEAD),
    Case(
        "results is a link to nothing", results_nowhere, "results_root: .* is a link to .*, which does not exist", HEAD
    ),
    Case("64 open files", limited("--nofile=64:64")),
    Case("an address space of 2 GB", limited("--as=2147483648"), r"may map 2\.0 GB of memory \(ulimit -v\)", HEAD),
    Case("data_root read-only, its stores missing", read_only("data"), "set store_root to a folder of your own"),
    Case(
        "data_root read-only, store_root elsewhere",
        read_only("data", store_root="stores"),
        targets=("stores/digits.zarr/zarr.json", "stores/scene_crop.zarr/zarr.json"),
    ),
    Case("data_root read-only, its stores made", stores_made_then_read_only, targets=HEAD),
    Case(
        "results read-only",
        read_only("results"),
        "results_root: .* is on a read-only file system; set results_root",
        HEAD,
    ),
    Case(
        "disk full where stores are",
        small_disk("data/zarr", "300k"),
        "the disk or the quota is full.*; make room",
        again=more_room("data/zarr"),
    ),
    Case(
        "disk full where results are",
        small_disk("results", "500k"),
        "the disk or the quota is full.*; make room",
        HEAD,
        again=more_room("results"),
    ),
    Case(
        "disk full where Snakemake keeps its records",
        small_disk(".snakemake", "16k"),
        "the disk or the quota is full .*, and Snakemake keeps its records there; make room",
        again=more_room(".snakemake"),
    ),
    Case("a clone of another user", owned_by_another("."), "the working directory: .* cannot be written by"),
    Case("stores of another user, read", another_users_stores, targets=HEAD),
    Case("store_root of another user, empty", owned_by_another("data/zarr"), "set store_root to a folder of your own"),
    Case("results of another user", owned_by_another("results"), "results_root: .* cannot be written by", HEAD),
]


def run(case: Case, folder: Path, whole: bool) -> tuple[str, bool]:
    """How a case ended, and whether that was right."""
    (folder / case.folder).parent.mkdir(parents=True)
    clone = make_clone(folder / case.folder)
    clone.configure(FEW_STEPS)
    well = case.says is None
    targets = [] if whole and well else case.targets
    arguments = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--max-threads",
        "1",
        "--quiet",
        "rules",
        "progress",
    ]
    arguments += ["--", *targets]
    with ExitStack() as stack:
        before = case.prepare(clone, stack)

        def call(before: list[str]) -> tuple[int, str]:
            completed = subprocess.run(
                [*before, *arguments],
                cwd=clone.root,
                env=clone.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            return completed.returncode, completed.stdout + completed.stderr

        code, text = call(before)
        (folder / "output.txt").write_text(text)
        traceback = "Traceback (most recent call last)" in text
        if well:
            return ("ends well", True) if not code and not traceback else (f"fails: {folder}/output.txt", False)
        sentence = re.search(case.says or "", text)
        if not code or traceback or not sentence:
            return f"{'a traceback' if traceback else 'no such sentence'}: {folder}/output.txt", False
        ending = next(line for line in text.splitlines() if re.search(case.says or "", line)).strip()
        if case.again:
            case.again(clone)
            code, text = call(before)
            (folder / "again.txt").write_text(text)
            if code:
                return f"fails with room: {folder}/again.txt", False
            ending += " (with room it ends well)"
        return ending, True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--only", default="", help="cases whose name has these words")
    parser.add_argument("--folder", type=Path, help="where the clones are made; kept")
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit("This needs root: it mounts file systems.")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="hostile-"))
    failed = False
    print("| case | how it ends | as it should |\n|---|---|---|")
    for number, case in enumerate(CASES):
        if options.only in case.name:
            ending, right = run(case, folder / str(number), options.whole)
            failed |= not right
            print(f"| {case.name} | {ending} | {'yes' if right else 'NO'} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
