"""Starts of Snakemake that cost what it does: one process imports it, and each start is a fork of that process.

As a program, this reads a JSON object per line from standard input (arguments, folder, environment, names of two files
for standard output and standard error), becomes `snakemake` with them, and writes its exit status as a line.
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path


def snakemake(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `python -m snakemake` with these arguments, working directory and environment does, and has written."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        output = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        start = {"arguments": arguments, "folder": str(cwd), "environment": dict(env or os.environ), "output": output}
        server = _server()
        print(json.dumps(start), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, status, *(Path(name).read_text() for name in output))


@cache
def _server() -> subprocess.Popen[str]:
    """The process that imports Snakemake; a start forgets what that has imported of this project, which a clone has."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)
    atexit.register(server.communicate)
    return server


def _become(arguments: list[str], folder: str, environment: Mapping[str, str], output: list[str]) -> None:
    """Become a process of Snakemake; does not return."""
    for number, name in enumerate(output, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = [os.path.abspath(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [folder, *paths]
    from snakemake import cli
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    # Snakemake has looked for plugins and found the one of this project, of another checkout than the clone.
    for name in [name for name in sys.modules if "bandbridge" in name]:
        del sys.modules[name]
    ExecutorPluginRegistry._instance = None
    sys.argv = [str(Path(cli.__file__).with_name("__main__.py")), *arguments]
    cli.main(arguments)


def _serve() -> None:
    # What Snakemake imports as it starts and as it reads a workflow, and the workflow's own imports that take longest.
    import docutils.parsers.rst.directives.images  # noqa: F401
    import jinja2  # noqa: F401
    import nbformat  # noqa: F401
    import PIL.Image  # noqa: F401
    import pydantic  # noqa: F401
    import pygments.formatters  # noqa: F401
    import smart_open  # noqa: F401
    import snakemake.cli
    import yaml  # noqa: F401
    import yte  # noqa: F401

    snakemake.cli.get_argument_parser()  # loads the plugins for reports
    gc.freeze()  # a collection in a fork would copy all of it
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _become(**json.loads(line))
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            atexit._run_exitfuncs()  # as at the end of any process: a dry run prints its plan in words there
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
