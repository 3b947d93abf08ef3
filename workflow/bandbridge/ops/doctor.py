"""Checks of this machine for a run, one line each: `python -m bandbridge.ops.doctor`, `make doctor`.

It must work before anything is installed: modules that need packages are imported where they are used, and a check that
fails is reported as a line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.packages import installed_version
from bandbridge.base.untrusted import whole_number
from bandbridge.ops.checks import GB, MISSING, NOTE, OK, SECONDS, Check, Checks, at_once, verdict

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = ((3, 11), (3, 14))  # the oldest and the newest that BandBridge runs on
# Packages that only PyTorch's build for CUDA needs.
FOR_GPUS = ("cuda-", "nvidia-", "triton")

TORCH = """
import json, torch
cuda = torch.cuda.is_available()
devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda,
    "devices": [f"{d.name} ({d.total_memory / 1e9:.0f} GB)" for d in devices],
    "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
}))
"""


def together(checks: Mapping[str, Callable[[], Iterable[Check]]]) -> list[Check]:
    """The results of checks that run at the same time, in order; one that fails or takes too long is a note."""

    def ask(what: str) -> list[Check]:
        try:
            return list(checks[what]())
        except Exception as error:
            return [Check(NOTE, what, f"could not be checked ({type(error).__name__}: {error})")]

    answers = at_once(ask, checks, SECONDS + 1)
    return [check for what in checks for check in answers.get(what, [Check(NOTE, what, "took too long to check")])]


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Checks:
    """Whether BandBridge supports this version of Python."""
    oldest, newest = PYTHONS
    interpreter = f"{'.'.join(map(str, version))} ({sys.executable})"
    remedy = "BandBridge needs Python 3.11 to 3.14. Run make setup PYTHON=/path/to/one"
    yield verdict(oldest <= version[:2] <= newest, "Python", interpreter, remedy, otherwise=MISSING)


def packages(lock: Path = ROOT / "requirements.lock") -> Checks:
    """Compare installed packages with the lock file; those for other systems or builds of torch are ignored."""
    if not lock.is_file():
        yield Check(NOTE, "packages", "installed without a clone: there is no lock file to compare them with")
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Check(MISSING, "packages", "those of the lock file are not installed", "Run make setup")
        return
    pins = map(Requirement, re.findall(r"^\w[^\\\n]*", lock.read_text(encoding="utf-8"), re.MULTILINE))
    pins_here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    if (installed_version("torch") or "").endswith("+cpu"):
        pins_here = [pin for pin in pins_here if not pin.name.startswith(FOR_GPUS)]
    versions = [(pin, installed_version(pin.name)) for pin in pins_here]
    absent = [pin.name for pin, version in versions if version is None]
    # A pin accepts a suffix for the kind of GPU, as in torch 2.14.1+cpu.
    other = [
        f"{pin.name} {version} (locked: {str(pin.specifier)[2:]})"
        for pin, version in versions
        if version is not None and version not in pin.specifier
    ]
    if absent:
        text = f"{len(absent)} of {len(versions)} are not installed: {_some(absent)}"
        yield Check(MISSING, "packages", text, "Run make setup")
    if other:
        text = f"other versions than the lock's: {_some(other)}"
        yield Check(NOTE, "packages", text, "Run make setup to install the locked ones")
    if not absent and not other:
        yield Check(OK, "packages", f"all {len(versions)} at the locked versions")


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def torch(program: str = TORCH) -> Checks:
    """Torch and its devices, in a separate process: a broken driver may hang or kill it."""
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
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
    yield gpu(facts, driver=shutil.which("nvidia-smi") is not None)


def gpu(facts: Mapping[str, Any], driver: bool) -> Check:
    """The GPUs that torch sees, or why it sees none."""
    if facts["devices"]:
        names = f"{', '.join(facts['devices'])}, {'bfloat16' if facts['bf16'] else 'without bfloat16'}"
        return verdict(facts["bf16"], "GPU", names, "precision: auto computes in float16 or float32")
    if not driver:
        return Check(NOTE, "GPU", "none; everything runs on the CPU", "Enough for the demo")
    if facts["cuda"]:
        result, remedy = "torch sees no GPU", "See nvidia-smi, and CUDA_VISIBLE_DEVICES"
    else:
        result, remedy = "torch is built for CPUs only", "Run make setup CPU=0 to use the GPU"
    return Check(NOTE, "GPU", f"there is an NVIDIA driver, but {result}", remedy)


def memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> Checks:
    """Memory of the machine, or of the container's share of it."""
    sizes = re.findall(r"^(MemTotal|MemAvailable):\s*(\d+)", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    total, free = (int(dict(sizes)[name]) * 1024 for name in ("MemTotal", "MemAvailable"))
    if limit.is_file() and (share := whole_number(limit.read_text(encoding="ascii").strip())):
        total, free = min(total, share), min(free, share)
    size = f"{total / GB:.0f} GB, {free / GB:.0f} GB of it free"
    remedy = "A job of the demo takes 1.2 GB; close other programs, or run with --cores 1"
    yield verdict(free >= 2 * GB, "memory", size, remedy)


def threads() -> Checks:
    """The cores that this process may use, and whether OMP_NUM_THREADS exceeds them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stated = os.environ.get("OMP_NUM_THREADS", "")
    count = f"{cores} {'core' if cores == 1 else 'cores'}{f', OMP_NUM_THREADS={stated}' if stated else ''}"
    remedy = "More threads than cores wait for each other: unset OMP_NUM_THREADS"
    yield verdict((whole_number(stated) or 0) <= cores, "threads", count, remedy)


def slurm() -> Checks:
    """Whether SLURM's sbatch is available."""
    sbatch = shutil.which("sbatch")
    yield verdict(sbatch is not None, "SLURM", sbatch or "sbatch was not found; jobs run on this machine")


def read_configuration(files: Sequence[Path]) -> tuple[dict[str, Any] | None, list[Check]]:
    """A configuration from files, each of which overrides those before, and the lines about it.

    It is None where it is not valid; then there is a line for each fault.
    """
    try:
        from bandbridge.base.errors import UserError
        from bandbridge.config.checks import check_files, read_config, validate
    except ImportError as error:
        fault = f"cannot be read without BandBridge's packages ({error}); run make setup"
        return None, [Check(MISSING, "configuration", fault)]
    try:
        check_files(files)
        config = validate(read_config(files), source=" + ".join(map(str, files)))
    except UserError as error:
        return None, [Check(MISSING, "configuration", fault) for fault in str(error).splitlines()]
    return config, [Check(OK, "configuration", f"valid, run '{config['run']}'")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every check; returns 1 if something that a run needs is missing, otherwise 0."""
    parser = argparse.ArgumentParser(
        prog="python -m bandbridge.ops.doctor", description="Check this machine for a run."
    )
    parser.add_argument("--configfile", nargs="*", default=[], help="presets over config.yaml, as for snakemake")
    parser.add_argument("--gpu", help="estimate the run's time on this GPU: V100, A100, H100, RTX 4090")
    options = parser.parse_args(arguments)
    config, about = read_configuration([Path("config.yaml"), *map(Path, options.configfile)])
    checks: dict[str, Callable[[], Iterable[Check]]] = {
        "Python": python,
        "packages": packages,
        "torch": torch,
        "memory": memory,
        "threads": threads,
        "SLURM": slurm,
        "configuration": lambda: about,
    }
    if config is not None:
        from bandbridge.ops import estimate, needs

        checks |= {
            "data": lambda: needs.data(config),
            "folders": lambda: needs.folders(config),
            "time": lambda: estimate.estimated(config, options.gpu),
        }
    results = together(checks)
    print(*results, sep="\n")
    missing, notes = (sum(check.state == state for check in results) for state in (MISSING, NOTE))
    if missing:
        print(f"\n{missing} {'thing is' if missing == 1 else 'things are'} missing.")
    else:
        print(f"\nNothing is missing; {notes} {'note' if notes == 1 else 'notes'}.")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
