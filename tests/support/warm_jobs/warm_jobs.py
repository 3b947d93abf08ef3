"""Jobs of Snakemake as forks of a process that has imported what takes long: PyTorch, open_clip, zarr and the like.

A start of Python with these imports costs three to six seconds of processor time, and a whole run has dozens of jobs.
A job's own process only hands over its standard streams, environment and working directory, and ends as the fork ends.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import FrameType

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


@cache
def server() -> str:
    """The socket of a server that ends with this process."""
    folder = tempfile.TemporaryDirectory(dir="/tmp")  # a socket's name has 107 bytes at the most
    name = f"{folder.name}/jobs"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, __file__, name], env=environment, **pipes)
    if process.stdout.readline() != "listening\n":
        raise RuntimeError(f"the process for warm jobs ended with {process.wait()}")
    atexit.register(folder.cleanup)
    atexit.register(process.communicate)
    return name


def added_to(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment of Snakemake, with what makes its jobs continue in a warm process."""
    folders = [environment["PYTHONPATH"], str(Path(__file__).parent)]
    return {**environment, "PYTHONPATH": os.pathsep.join(folders), "BANDBRIDGE_WARM_JOBS": server()}


def continue_there(name: str, script: str) -> None:
    """Run the script in a fork of the server and end as it does; does not return."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(name)

    def forward(number: int, _frame: FrameType | None) -> None:
        connection.sendall(bytes([number]))

    for number in FORWARDED:
        signal.signal(number, forward)
    start = json.dumps({"script": script, "folder": os.getcwd(), "environment": dict(os.environ), "path": sys.path})
    socket.send_fds(connection, [len(start).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(start.encode())
    status = int(connection.makefile().readline())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(name: str) -> None:
    """Import, then fork for each connection until standard input ends."""
    import altair  # noqa: F401
    import open_clip  # noqa: F401
    import pandas  # noqa: F401
    import pydantic  # noqa: F401
    import rasterio  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import snakemake.script  # noqa: F401
    import tensorstore  # noqa: F401
    import threadpoolctl  # noqa: F401
    import torch  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    gc.freeze()  # a collection in a fork would copy all of it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen()
    print("listening", flush=True)
    while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _supervise(connection)
        connection.close()


def _supervise(connection: socket.socket) -> None:
    """Fork the job, forward signals to it, and tell how it ended; kill it where its own process is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, *_ = socket.recv_fds(connection, 4, 3)
    start = json.loads(connection.makefile().read(int.from_bytes(length, "big")))
    job = os.fork()
    if job == 0:
        connection.close()
        _become(streams, **start)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(job)
    while ended not in (ready := select.select([connection, ended], [], [])[0]):
        received = connection.recv(1) if ready else b""
        os.kill(job, received[0] if received else signal.SIGKILL)
        if not received:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(streams: list[int], script: str, folder: str, environment: dict[str, str], path: list[str]) -> None:
    """Become the process of a script; does not return."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [script]
    sys.path[:] = [str(Path(script).parent), *path]
    import threadpoolctl
    import torch

    threads = int(environment["OMP_NUM_THREADS"])  # libraries read it when they are loaded
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # waits for threads, as the end of any process
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
