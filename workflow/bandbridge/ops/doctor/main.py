"""Checks of this machine for a run, one line each: `python -m bandbridge.ops.doctor`, `make doctor`.

It must work before anything is installed: modules that need packages are imported where they are used, and a check that
fails is reported as a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bandbridge.ops.doctor import machine as doctor_machine
from bandbridge.ops.doctor.machine import MISSING, NOTE, OK, SECONDS, Check, Checks, at_once

ROOT = Path(__file__).resolve().parents[4]


def diagnose(
    config: Mapping[str, Any] | None,
    faults: Sequence[str] = (),
    lock: Path = ROOT / "requirements.lock",
    gpu: str | None = None,
) -> list[Check]:
    """Every check, in the order in which to fix things; never raises, and takes about ten seconds at most.

    Args:
        config: a valid configuration; None if there is none, and checks that need it are left out.
        faults: why there is none.
        lock: the lock file of the packages.
        gpu: that the run's time is estimated for, one of `estimate.GPUS`; None for its default.
    """
    checks: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("Python", doctor_machine.python),
        ("packages", lambda: doctor_machine.packages(lock)),
        ("torch", doctor_machine.torch),
        ("memory", doctor_machine.memory),
        ("threads", doctor_machine.threads),
        ("SLURM", doctor_machine.slurm),
        ("configuration", lambda: configuration(config, faults)),
    ]
    if config is not None:
        checks += [
            ("data", lambda: late("data").data(config)),
            ("folders", lambda: late("data").folders(config)),
            ("time", lambda: late("estimate").estimated(config, gpu)),
        ]
    return [check for what, ask in together(checks) for check in ask]


def together(checks: Sequence[tuple[str, Callable[[], Iterable[Check]]]]) -> list[tuple[str, list[Check]]]:
    """The results of checks that run at the same time, in order; one that fails or takes too long is a note."""

    def ask(what: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
        try:
            return list(check())
        except Exception as error:
            return [Check(NOTE, what, f"could not be checked ({type(error).__name__}: {error})")]

    answers = at_once({number: partial(ask, *check) for number, check in enumerate(checks)}, SECONDS + 1)
    late = "took too long to check"
    return [(what, answers.get(number, [Check(NOTE, what, late)])) for number, (what, _) in enumerate(checks)]


def read_configuration(files: Sequence[Path]) -> tuple[dict[str, Any] | None, list[str]]:
    """Read and validate a configuration from files, each of which overrides those before.

    Returns:
        The configuration and no faults, or None and its faults.
    """
    try:
        from bandbridge.base.errors import UserError
        from bandbridge.config.checks import check_files, read_config, validate
    except ImportError as error:
        return None, [f"cannot be read without BandBridge's packages ({error}); run make setup"]
    try:
        check_files(files)
        return validate(read_config(files), source=" + ".join(map(str, files))), []
    except UserError as error:
        return None, str(error).splitlines()


def late(module: str) -> Any:
    """A module of this package that needs others to be installed, imported when it is called for."""
    return import_module(f"bandbridge.ops.doctor.{module}")


def configuration(config: Mapping[str, Any] | None, faults: Sequence[str]) -> Checks:
    """Whether the configuration is valid, with one line per fault."""
    if config is not None:
        yield Check(OK, "configuration", f"valid, run '{config['run']}'")
    for fault in faults:
        yield Check(MISSING, "configuration", fault)


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every check; returns 1 if something that a run needs is missing, otherwise 0."""
    parser = argparse.ArgumentParser(
        prog="python -m bandbridge.ops.doctor", description="Check this machine for a run."
    )
    parser.add_argument("--configfile", nargs="*", default=[], help="presets over config.yaml, as for snakemake")
    parser.add_argument("--gpu", help="estimate the run's time on this GPU: V100, A100, H100, RTX 4090")
    options = parser.parse_args(arguments)
    config, faults = read_configuration([Path("config.yaml"), *map(Path, options.configfile)])
    checks = diagnose(config, faults, gpu=options.gpu)
    print("\n".join(map(str, checks)))
    missing = sum(check.state == MISSING for check in checks)
    if missing:
        print(f"\n{missing} {'thing is' if missing == 1 else 'things are'} missing.")
    else:
        notes = sum(check.state == NOTE for check in checks)
        print(f"\nNothing is missing; {notes} {'note' if notes == 1 else 'notes'}.")
    return 1 if missing else 0
