"""What every script shares: arguments from Snakemake or from the command line, the log, errors in one paragraph."""

import argparse
import inspect
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from bandbridge.base import limits, progress, runlock
from bandbridge.base.errors import UserError
from bandbridge.base.paths import Paths
from bandbridge.base.untrusted import visible


def share_package(folder: Path) -> None:
    """Let child processes import this package from `folder`, also in environments without it.

    Conda environments and containers hold only the package's dependencies, and serve many of its versions.
    """
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def run(main: Callable[..., None], snakemake: Any = None) -> None:
    """Call `main` with the job's named input, output and params, or with `--name value` from the command line.

    A parameter of `main` takes the value of the same name; annotate it `Path`, `list[Path]`, `int`, `float`, `str`,
    or anything else for a structure (JSON on the command line). `threads` and `seed` are ordinary parameters. Under
    Snakemake, standard output and error go to the rule's log file; a `UserError` ends the job with one paragraph.

    Args:
        main: the script's function.
        snakemake: Snakemake's object of that name; None on the command line.
    """
    log = _open_log(snakemake)
    hints = typing.get_type_hints(main)
    arguments = _from_command_line(main, hints) if snakemake is None else _from_snakemake(main, snakemake)
    try:
        with progress.reporting(_title(snakemake), log), _alone(snakemake, log):
            main(**{name: _convert(value, hints.get(name)) for name, value in arguments.items()})
    except UserError as error:
        _stop(error, log)
    except Exception as error:
        if cure := limits.cure_of(error):
            if log is not None:
                traceback.print_exc()  # to the log
            _stop(UserError(cure), log)
        _report_unexpected(error, log)
        raise


def _title(snakemake: Any) -> str:
    """'score_probe (ms-vit, digits)': a job by its rule and wildcards."""
    wildcards = ", ".join(map(str, getattr(snakemake, "wildcards", ())))
    return f"{getattr(snakemake, 'rule', '')}{wildcards and f' ({wildcards})'}"


@contextmanager
def _alone(snakemake: Any, log: Path | None) -> Iterator[None]:
    """Keep other processes from making the same outputs while the block runs.

    A job survives if only Snakemake is killed, and the next Snakemake starts it again.
    """
    lock = _lock_of(snakemake)
    if lock is None:
        yield
        return

    def say(text: str) -> None:
        for stream in filter(None, (sys.stderr, progress.terminal)):
            print(text, file=stream, flush=True)

    with runlock.alone(lock, snakemake.config["run"], f"does the same: {_title(snakemake)}", say) as waited:
        if waited and log is not None and not _is_ours(log):
            raise UserError(f"{_title(snakemake)} was started again elsewhere and is done; this process is obsolete")
        yield


def _is_ours(log: Path) -> bool:
    """Whether standard output goes to this log; Snakemake deletes a job's log when it starts the job again."""
    try:
        return os.path.samestat(log.stat(), os.fstat(1))
    except FileNotFoundError:
        return False


def _lock_of(snakemake: Any) -> Path | None:
    """The job's lock: beside shared data for a job that makes some, in the clone's .snakemake for any other."""
    config = getattr(snakemake, "config", None)
    if not config or "run" not in config or not list(snakemake.output):
        return None
    name = ".".join([snakemake.rule, *map(str, snakemake.wildcards)]).replace(os.sep, "_")
    paths, first = Paths(config), Path(str(snakemake.output[0]))
    for root in (Path(paths.stores), Path(paths.downloads)):
        if first.is_relative_to(root):
            return root / runlock.FOLDER / f"{name}.job"
    return Path(".snakemake", "bandbridge", config["run"], f"{name}.job")


def _report_unexpected(error: Exception, log: Path | None) -> None:
    """Print an unexpected error and where its traceback will be to the terminal."""
    if log is not None:
        message = f"\nUnexpected {type(error).__name__}: {error}\n(traceback in the log: {log})\n"
        print(message, file=progress.terminal or sys.stderr, flush=True)


def _open_log(snakemake: Any) -> Path | None:
    if snakemake is None or not snakemake.log:
        return None
    path = Path(str(snakemake.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("w", encoding="utf-8", buffering=1)
    # A copy of standard error, the terminal, is kept for progress and for messages that explain a failure.
    progress.terminal = os.fdopen(os.dup(2), "w", encoding="utf-8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    return path


def _stop(error: UserError, log: Path | None) -> NoReturn:
    # It may contain names from files of others, which could control a terminal.
    message = "\n".join(visible(line.expandtabs()) for line in str(error).splitlines())
    print(f"Error: {message}", file=sys.stderr, flush=True)
    if log is not None:
        print(f"\n{message}\n(log: {log})\n", file=progress.terminal or sys.stderr, flush=True)
    sys.exit(1)


def _from_snakemake(main: Callable[..., None], snakemake: Any) -> dict[str, Any]:
    named: dict[str, Any] = {"threads": snakemake.threads}
    for group in (snakemake.params, snakemake.input, snakemake.output):
        named.update(group.items())
    return _pick(main, named, "the rule's input, output and params")


def _from_command_line(main: Callable[..., None], hints: Mapping[str, Any]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    for name, parameter in inspect.signature(main).parameters.items():
        hint = hints.get(name)
        plain = hint in (Path, Path | None, int, float, str)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            required=parameter.default is inspect.Parameter.empty,
            default=parameter.default,
            nargs="+" if hint == list[Path] else None,
            type=str if plain or hint == list[Path] else json.loads,
        )
    return vars(parser.parse_args())


def _pick(main: Callable[..., None], named: Mapping[str, Any], where: str) -> dict[str, Any]:
    picked = {}
    for name, parameter in inspect.signature(main).parameters.items():
        if name in named:
            picked[name] = named[name]
        elif parameter.default is inspect.Parameter.empty:
            raise TypeError(f"{main.__module__}.main needs '{name}', which is missing from {where}")
    return picked


def _convert(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if hint == list[Path]:
        return [Path(value)] if isinstance(value, str) else [Path(item) for item in value]
    if hint == Path | None:
        # An input function of a rule gives a list, which is empty for none.
        paths = [value] if isinstance(value, str | Path) else list(value)
        return Path(paths[0]) if paths and paths[0] else None
    if hint in (Path, int, float, str):
        return hint(value)
    return value
