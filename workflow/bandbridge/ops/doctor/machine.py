"""Checks of the machine: Python, packages, torch and GPUs, memory, cores, SLURM. It needs no installed packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bandbridge.base.packages import installed_version
from bandbridge.base.untrusted import whole_number

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
PYTHONS = ((3, 11), (3, 14))  # the oldest and the newest that BandBridge runs on
OK, NOTE, MISSING = "ok", "note", "missing"
SECONDS = 8.0  # time limit of what may hang
GB = 1e9
# Packages that only PyTorch's build for CUDA needs.
FOR_GPUS = ("cuda-", "nvidia-", "triton")

TORCH = """
import json, torch
cuda = torch.cuda.is_available()
devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda,
    "devices": [[d.name, d.total_memory, d.major] for d in devices],
    "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
}))
"""


@dataclass(frozen=True)
class Check:
    """The result of a check, and what to do about it.

    Attributes:
        state: 'ok', 'note' (a run works without it) or 'missing'.
        what: was checked.
        result: in words.
        remedy: what to do; empty if nothing.
    """

    state: str
    what: str
    result: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8} {self.what:<14} {self.result}{f'. {self.remedy}' if self.remedy else ''}"


Checks = Iterator[Check]


def at_once(calls: Mapping[K, Callable[[], T]], seconds: float) -> dict[K, T]:
    """The results of calls that run at the same time, of those that end within some seconds."""
    answers: dict[K, T] = {}

    def ask(key: K, call: Callable[[], T]) -> None:
        answers[key] = call()

    # Threads that hang in the network must not keep the process from ending.
    running = [threading.Thread(target=ask, args=item, daemon=True) for item in calls.items()]
    for thread in running:
        thread.start()
    end = time.monotonic() + seconds
    for thread in running:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Checks:
    """Whether BandBridge supports this version of Python."""
    interpreter = f"{'.'.join(map(str, version))} ({sys.executable})"
    oldest, newest = PYTHONS
    if oldest <= version[:2] <= newest:
        yield Check(OK, "Python", interpreter)
    else:
        remedy = "BandBridge needs Python 3.11 to 3.14. Run make setup PYTHON=/path/to/one"
        yield Check(MISSING, "Python", interpreter, remedy)


def packages(lock: Path) -> Checks:
    """Compare installed packages with the lock file; those for other systems or builds of torch are ignored."""
    if not lock.is_file():
        yield Check(NOTE, "packages", "installed without a clone: there is no lock file to compare them with")
        return
    pins = dict(locked(lock))
    if (installed_version("torch") or "").endswith("+cpu"):
        pins = {name: version for name, version in pins.items() if not name.startswith(FOR_GPUS)}
    installed = {name: installed_version(name) for name in pins}
    absent = [name for name, version in installed.items() if version is None]
    other = [
        f"{name} {version} (locked: {pins[name]})"
        for name, version in installed.items()
        if _differs(version, pins[name])
    ]
    if absent:
        yield Check(
            MISSING, "packages", f"{len(absent)} of {len(pins)} are not installed: {_some(absent)}", "Run make setup"
        )
    if other:
        yield Check(
            NOTE,
            "packages",
            f"other versions than the lock's: {_some(other)}",
            "Run make setup to install the locked ones",
        )
    if not absent and not other:
        yield Check(OK, "packages", f"all {len(pins)} at the locked versions")


def locked(lock: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package that the lock file has for this system."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin = re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)\s*(?:;([^\\]*))?", line)
        if pin and _applies(pin[3] or ""):
            yield pin[1], pin[2]


def _applies(marker: str) -> bool:
    if not marker.strip():
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        # Without `packaging` nothing is installed, so it is enough to recognise the pins of other systems.
        return "!= 'linux'" not in marker and "== 'win32'" not in marker and "== 'darwin'" not in marker
    return Marker(marker).evaluate()


def _differs(installed: str | None, pinned: str) -> bool:
    # Torch's wheels have a suffix for the kind of GPU, as in 2.14.1+cpu.
    return installed is not None and installed.split("+")[0] != pinned.split("+")[0]


def torch(program: str = TORCH) -> Checks:
    """Torch and its devices, in a separate process: a broken driver may hang or kill it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield Check(NOTE, "torch", f"did not start within {SECONDS:.0f} s", "A slow disk, or a GPU driver that hangs")
        return
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        yield Check(MISSING, "torch", f"cannot be imported ({lines[-1]})", "Run make setup")
        return
    facts = json.loads(done.stdout.splitlines()[-1])
    build = f"built for CUDA {facts['cuda']}" if facts["cuda"] else "built for CPUs only"
    yield Check(OK, "torch", f"{facts['version']}, {build}")
    yield from _devices(facts, shutil.which("nvidia-smi") is not None)


def _devices(facts: Mapping[str, Any], driver: bool) -> Checks:
    if facts["devices"]:
        names = ", ".join(f"{name} ({size / GB:.0f} GB)" for name, size, _ in facts["devices"])
        if facts["bf16"]:
            yield Check(OK, "GPU", f"{names}, bfloat16")
        else:
            yield Check(NOTE, "GPU", f"{names}, without bfloat16", "precision: auto computes in float16 or float32")
    elif driver and not facts["cuda"]:
        yield Check(
            NOTE,
            "GPU",
            "there is an NVIDIA driver, but torch is built for CPUs only",
            "Run make setup CPU=0 to use the GPU",
        )
    elif driver:
        yield Check(
            NOTE, "GPU", "there is an NVIDIA driver, but torch sees no GPU", "See nvidia-smi, and CUDA_VISIBLE_DEVICES"
        )
    else:
        yield Check(NOTE, "GPU", "none; everything runs on the CPU", "Enough for the demo")


def memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> Checks:
    """Memory of the machine, or of the container's share of it."""
    lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
    sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    total, free = sizes["MemTotal"], sizes["MemAvailable"]
    if limit.is_file() and (allowed := limit.read_text(encoding="ascii").strip()).isdigit() and int(allowed) < total:
        total, free = int(allowed), min(free, int(allowed))
    size = f"{total / GB:.0f} GB, {free / GB:.0f} GB of it free"
    if free < 2 * GB:
        yield Check(NOTE, "memory", size, "A job of the demo takes 1.2 GB; close other programs, or run with --cores 1")
    else:
        yield Check(OK, "memory", size)


def threads() -> Checks:
    """The cores that this process may use, and whether OMP_NUM_THREADS exceeds them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stated = os.environ.get("OMP_NUM_THREADS", "")
    count = f"{cores} {'core' if cores == 1 else 'cores'}{f', OMP_NUM_THREADS={stated}' if stated else ''}"
    if (whole_number(stated) or 0) > cores:
        yield Check(NOTE, "threads", count, "More threads than cores wait for each other: unset OMP_NUM_THREADS")
    else:
        yield Check(OK, "threads", count)


def slurm() -> Checks:
    """Whether SLURM's sbatch is available."""
    if sbatch := shutil.which("sbatch"):
        yield Check(OK, "SLURM", sbatch)
    else:
        yield Check(NOTE, "SLURM", "sbatch was not found; jobs run on this machine")


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
