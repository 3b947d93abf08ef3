"""Small runs of the workflow on the test cluster, and what SLURM knows of their jobs."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clones import Clone, make_clone
from filelock import FileLock
from warm_jobs import warm_jobs

# The tests' patience is not a scheduler's: ask often, and trust the file system.
IMPATIENT = ["--slurm-bandbridge-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--nocolor"]
FINETUNED = "results/small/finetune/demo-vit.scene_crop"


@dataclass
class Run(Clone):
    """A clone, with Snakemake's last output."""

    output: str = ""

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.root / "run.log").open("w") as log:
            command = [sys.executable, "-m", "snakemake", *_patient(arguments)]
            environment = warm_jobs.added_to(self.environment) if self.warm else self.environment
            return subprocess.Popen(command, cwd=self.root, env=environment, stdout=log, stderr=log)

    def log(self) -> str:
        return (self.root / "run.log").read_text()

    def submitted(self) -> list[str]:
        """Ids of the jobs that SLURM was given in the last run, in that order."""
        return re.findall(r"submitted with SLURM jobid (\d+)", self.log())

    def copy(self, folder: Path, warm: bool = False) -> "Run":
        return Run(shutil.copytree(self.root, folder, symlinks=True), warm)

    def without(self, *names: str) -> "Run":
        """As if what is under these names of results/small had not been made, nor what comes of it."""
        for name in (*names, "metrics.csv", "tables", "report"):
            path = self.root / "results" / "small" / name
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        return self


def new_run(folder: Path, warm: bool = False) -> Run:
    clone = make_clone(folder)
    if not (folder / "slurm").exists():
        (folder / "slurm").symlink_to("profiles/slurm")
    return Run(clone.root, warm)


def finished(run: Run, *arguments: str) -> Run:
    code = run.start(*arguments).wait()
    run.output = run.log()
    assert code == 0, run.output
    return run


def shared(name: str, make: Callable[[Path], Run]) -> Run:
    """A run that the first test process to ask for it makes, and that all use while the cluster is up."""
    folder = Path(os.environ["BANDBRIDGE_TEST_CLUSTER"]) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return Run(folder, output=Run(folder).log())


def wait_for(what: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def sacct(*jobs: str) -> list[dict[str, str]]:
    """What the accounting knows of jobs, a row for each time that one was started."""
    fields = "JobID,Comment,Partition,ReqTRES,ReqMem,TimelimitRaw,State,ExitCode,NodeList,AllocCPUS"
    table = slurm(
        "sacct", "--allocations", "--duplicates", "--parsable2", f"--format={fields}", f"--jobs={','.join(jobs)}"
    )
    return list(csv.DictReader(table.splitlines(), delimiter="|"))


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def processes_of(folder: Path, word: str) -> list[int]:
    """Processes whose command line names a folder and a word."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and word in line and int(entry.name) != os.getpid():
            processes.append(int(entry.name))
    return processes


def _patient(arguments: tuple[str, ...]) -> list[str]:
    if "--profile" not in arguments:
        return list(arguments)
    options, dashes, targets = (list(part) for part in _partition(arguments))
    return [*options, *IMPATIENT, *dashes, *targets]


def _partition(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at : at + 1], arguments[at + 1 :]
