"""Process group, collectives and launcher for multi-GPU training."""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bandbridge.base import progress
from bandbridge.base import script as job
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json

EXIT_REQUEUE = 85  # to the scheduler: stopped as asked, run me again
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
FOLDER = "BANDBRIDGE_LAUNCH"  # through which launcher and ranks exchange messages
PROGRESS = "progress.txt"  # in that folder: the progress of rank 0
LAUNCHER = "BANDBRIDGE_LAUNCHER"  # its process id and machine
TIMEOUT = timedelta(minutes=30)  # rank 0 may write a large checkpoint while the others wait


@dataclass(frozen=True)
class World:
    """This process among those that train together; numbers on the host go through gloo, gradients through NCCL.

    Attributes:
        rank: of all; 0 writes the files.
        world_size: how many there are.
        local_rank: on this machine; the number of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes."""
        largest = torch.tensor(values, dtype=torch.float64)
        if self.world_size > 1:
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def sums(self, values: Tensor) -> Tensor:
        """The sum over all processes, in the order of their ranks, so that it is the same sum every time."""
        if self.world_size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world_size)]
        dist.all_gather(parts, values.contiguous())
        return torch.stack(parts).sum(dim=0)

    def whole_batch(self, *shares: Tensor) -> tuple[list[Tensor], slice]:
        """The rows of all processes, rank by rank, of tensors that have this one's rows; gradients flow through.

        The gradient of this process's rows is the sum of what all processes have for them.

        Returns:
            the tensors, and which of their rows are this process's.
        """
        if self.world_size == 1:
            return list(shares), slice(None)
        lengths = [torch.empty(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(lengths, torch.tensor([len(shares[0])]))
        counts = [int(length) for length in lengths]
        begin = sum(counts[: self.rank])
        rows = slice(begin, begin + counts[self.rank])
        return [_WholeBatch.apply(share, counts, rows) for share in shares], rows

    def from_first(self, value: Any) -> Any:
        """What rank 0 has: any object that can be pickled."""
        box = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(box, 0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """What each process has, rank by rank; on every process."""
        objects: list[Any] = [value]
        if self.world_size > 1:
            objects = [None] * self.world_size
            dist.all_gather_object(objects, value)
        return objects


ALONE = World(0, 1)


class _WholeBatch(torch.autograd.Function):
    """The collective of `World.whole_batch`; torch.distributed.nn has one for shares of equal size."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, counts: list[int], rows: slice) -> Tensor:
        ctx.rows = rows
        padded = share.new_zeros((max(counts), *share.shape[1:]))
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.rows], None, None


@contextmanager
def world_from_environment() -> Iterator[World]:
    """The world that torchrun has set up (RANK, WORLD_SIZE, LOCAL_RANK), or `ALONE`; on a GPU of its own if possible.

    Makes the process group and takes it down again.

    Raises:
        UserError: there are GPUs, but fewer than processes on this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    world = World(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    backend = "gloo"
    if torch.cuda.is_available():
        if world.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"{os.environ.get('LOCAL_WORLD_SIZE', 'several')} processes are to train on this machine, each on a "
                f"GPU of its own, but it has {torch.cuda.device_count()}; lower the number of GPUs asked for."
            )
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(world.local_rank)  # from here on 'cuda' means this one
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def in_parallel(stage: nn.Module, world: World) -> nn.Module:
    """A stage as all processes run it together: rank 0's weights everywhere, gradients the mean over processes.

    What DistributedDataParallel searches for unused parameters also keeps its buckets as they are at first, so that a
    resumed training adds up its gradients in the same order.
    """
    if world.world_size == 1:
        return stage
    # It warns where all parameters are used.
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified in DDP constructor")
    return DistributedDataParallel(stage, find_unused_parameters=True, forward_sync_buffers=False)


def spread_buffers(module: nn.Module, world: World) -> None:
    """Give every process the buffers of rank 0."""
    if world.world_size > 1:
        for tensor in module.buffers():
            dist.broadcast(tensor, 0)


class Requeue(SystemExit):
    """A signal asked training to stop; what was done is saved. Ends the process with `EXIT_REQUEUE`."""

    def __init__(self) -> None:
        super().__init__(EXIT_REQUEUE)


@contextmanager
def on_stop_signals(do: Callable[[], None]) -> Iterator[None]:
    """Within it SIGTERM and SIGUSR1 call `do` instead of ending the process."""
    before: dict[signal.Signals, Any] = {}
    for number in STOP_SIGNALS:
        try:
            before[number] = signal.signal(number, lambda *_: do())
        except ValueError:  # not the main thread, which alone gets signals
            break
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_asked() -> bool:
    """Whether the launcher of this rank asks it to stop, or is gone; rank 0 speaks for all."""
    if os.environ.get("RANK") != "0" or FOLDER not in os.environ:
        return False
    number, _, machine = os.environ[LAUNCHER].partition("@")
    if machine == socket.gethostname():
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return (Path(os.environ[FOLDER]) / "stop").exists()


def to_launch(processes: int, nodes: int) -> bool:
    """Whether this process is to start others, rather than being the only one or one of them."""
    return processes * nodes > 1 and FOLDER not in os.environ


def launch(script: Path, arguments: Mapping[str, Any], processes: int, nodes: int, folder: Path) -> None:
    """Run a script's `main` in several processes, under torchrun, and wait for them.

    When asked to stop (SIGTERM, SIGUSR1), the ranks finish their step, save and end.

    Args:
        script: ends in `distributed.run(main, ...)`.
        arguments: of its main, among them `threads`, for all processes of a machine together.
        processes: on each machine.
        nodes: machines; more than one need SLURM, which has given them to this job.
        folder: that all machines see, for a folder of this launch's own.

    Raises:
        UserError: what a rank reported.
        Requeue: the ranks have stopped as asked.
    """
    messages = folder / ".launch"
    shutil.rmtree(messages, ignore_errors=True)
    messages.mkdir(parents=True)
    share = {"threads": max(1, int(arguments["threads"]) // processes)}
    values = json.loads(json.dumps({**arguments, **share}, default=str))  # paths as text
    write_json(messages / "arguments.json", values, checked=False, durable=False)
    command = [*_launcher(processes, nodes), str(script), "--arguments", str(messages / "arguments.json")]
    # torchrun would kill ranks that take long to save: the signals pass it by.
    environment = os.environ | {
        FOLDER: str(messages.absolute()),
        LAUNCHER: f"{os.getpid()}@{socket.gethostname()}",
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGINT",
    }
    progress.relayed = messages / PROGRESS
    if nodes > 1:
        environment = _outside_of_a_step(environment)
    try:
        with (
            on_stop_signals((messages / "stop").touch),
            subprocess.Popen(command, env=environment, preexec_fn=_ignore_stop_signals) as process,
        ):
            try:
                code = process.wait()
            except BaseException:
                process.send_signal(signal.SIGINT)
                raise
        _raise_reported(messages, code)
    finally:
        shutil.rmtree(messages, ignore_errors=True)
        with suppress(OSError):  # it is not empty, or went with what the ranks have replaced
            folder.rmdir()


def _ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _launcher(processes: int, nodes: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--max-restarts=0"]
    if nodes == 1:
        return [*torchrun, "--standalone"]
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"{nodes} nodes are asked for, but this is no job of SLURM (SLURM_JOB_ID is not set); "
            "run it there with that many nodes, or set nodes to 1."
        )
    number = os.environ["SLURM_JOB_ID"]
    # Of the whole job: the variables of a step, which this may be in, know of the step's nodes alone.
    hosts = _ask("scontrol", "show", "hostnames", _ask("squeue", "--noheader", f"--jobs={number}", "--format=%N"))
    names = hosts.split()
    if len(names) < nodes:
        raise UserError(f"{nodes} nodes are asked for, but SLURM has given this job {len(names)}: {', '.join(names)}.")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    srun.append("--overlap")  # the step that this runs in holds all that the job has
    if "SLURM_CPUS_PER_TASK" in os.environ:  # srun does not take it over by itself
        srun.append(f"--cpus-per-task={os.environ['SLURM_CPUS_PER_TASK']}")
    # SLURM tells every step to stop as well, and torchrun's end would be that of its ranks.
    srun += ["sh", "-c", 'trap "" TERM USR1; exec "$@"', "sh"]
    # SLURM reaches a node by its address, which need not be its name. Jobs that share one must not meet at one port.
    address = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "show", "node", names[0], "--oneliner"))
    endpoint = f"{address[1] if address else names[0]}:{20_000 + int(number) % 10_000}"
    meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", f"--rdzv-id={number}"]
    return [*srun, *torchrun, *meeting]


def _ask(*command: str) -> str:
    """What one of SLURM's programs says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _outside_of_a_step(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the variables of this SLURM step, which would otherwise override srun's arguments."""
    kept = {"SLURM_JOB_ID", "SLURM_CONF"}
    return {
        name: value for name, value in environment.items() if name in kept or not name.startswith(("SLURM_", "SRUN_"))
    }


def _raise_reported(messages: Path, code: int) -> None:
    """Raise the error that a rank reported, not torchrun's exit code.

    torch's own reports (`record` of `torch.distributed.elastic`) keep the error of one agent: on several nodes each
    agent writes its own, and that of the node that merely lost the others may come last.
    """
    if code == 0:
        return
    if (messages / "requeue").exists():
        raise Requeue
    # Ranks that lose another one fail in turn: a rank that reports a fault that the user can fix comes first.
    for kind in ("user", "other"):
        reports = sorted(messages.glob(f"{kind}-*.txt"), key=lambda path: path.stat().st_mtime_ns)
        if reports:
            rank = reports[0].stem.partition("-")[2]
            raise UserError(reports[0].read_text(encoding="utf-8") + ("" if kind == "user" else f" (rank {rank})"))
    raise UserError(f"training in several processes ended with exit code {code}; the log has the details.")


def run(main: Callable[..., None], snakemake: Any = None) -> None:
    """`job.run`, for a script that can be launched: with `--arguments FILE` it is a rank of such a launch."""
    if "--arguments" not in sys.argv:
        job.run(main, snakemake)
        return
    path = Path(sys.argv[sys.argv.index("--arguments") + 1])
    values = read_json(path)
    nothing: dict[str, Any] = {}
    job_facts = SimpleNamespace(
        threads=1, params=values, input=nothing, output=nothing, resources=nothing, config=nothing, log=[]
    )
    job.run(_reporting(main, path.parent), job_facts)


def _reporting(main: Callable[..., None], messages: Path) -> Callable[..., None]:
    """`main`, whose exception is written for the launcher."""
    rank = os.environ.get("RANK", "0")

    @functools.wraps(main)
    def reporting(**arguments: Any) -> None:
        try:
            # The terminal is the launcher's, which may be on another machine.
            with progress.relay(messages / PROGRESS) if rank == "0" else nullcontext():
                main(**arguments)
        except Requeue:
            (messages / "requeue").touch()
            raise
        except UserError as error:
            (messages / f"user-{rank}.txt").write_text(str(error), encoding="utf-8")
            raise
        except Exception as error:
            (messages / f"other-{rank}.txt").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            raise

    return reporting
