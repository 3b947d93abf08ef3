"""A SLURM cluster on this machine alone, to test on: `cluster.py COMMAND ...` runs a command while it is up.

Root on Debian only. Everything it needs is in a folder of its own (configuration, keys, database, logs) and every
process is its child, so nothing of a SLURM, MariaDB or MUNGE that the machine may have is touched, and nothing is left
but the packages. Two nodes, each with eight fake cores and two fake GPUs; partitions `cpu` and `gpu`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "slurmdbd", "mariadb-server", "munge"]
PROGRAMS = ["slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "mariadbd", "munged"]
NODES = ["node1", "node2"]
ACCOUNT = "lab"
COMMANDS = ["sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare"]
PATIENCE = 60  # seconds for a daemon to answer

SLURM_CONF = """
ClusterName=bandbridge
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# Without cgroups, which a container may not have.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
MinJobAge=300
MpiDefault=none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=2-0 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=ALL MaxTime=2-0 PriorityTier=10 PreemptMode=OFF
# Jobs of `urgent` push those of `spare` aside, which are then queued again; of `leftover`, which are then cancelled.
PartitionName=spare Nodes=ALL MaxTime=2-0 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=leftover Nodes=ALL MaxTime=2-0 PriorityTier=1 PreemptMode=CANCEL GraceTime=10
PartitionName=urgent Nodes=ALL MaxTime=2-0 PriorityTier=20 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=200000 Gres=gpu:2"

SLURMDBD_CONF = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


class ProblemError(Exception):
    """What stands in the way, and what to do about it."""


class Cluster:
    """A cluster in a folder, its daemons by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(["ctld", "dbd", "sql", *NODES], _free_ports(3 + len(NODES)), strict=True))
        path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": path,
            "BANDBRIDGE_TEST_CLUSTER": str(folder),
        }

    def start(self) -> None:
        """All daemons, each once the one before it answers."""
        self._write_files()
        self._start_munge()
        self._start_database()
        self._daemon("slurmdbd", "slurmdbd", "-D")
        self._wait("slurmdbd", lambda: self._says("sacctmgr", "-n", "list", "cluster") is not None)
        if "bandbridge" not in (self._says("sacctmgr", "-nP", "list", "cluster", "format=cluster") or ""):
            self._call("sacctmgr", "-i", "add", "cluster", "bandbridge")
        self._call("sacctmgr", "-i", "add", "account", ACCOUNT)
        self._call("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")
        self._call("sacctmgr", "-i", "modify", "user", "root", "set", f"defaultaccount={ACCOUNT}")
        self._daemon("slurmctld", "slurmctld", "-D")
        self._wait("slurmctld", lambda: "UP" in (self._says("scontrol", "ping") or ""))
        for node in NODES:
            self.start_node(node)
        self._wait("nodes", lambda: self._states() == ["idle"] * len(NODES))
        self._wait("accounting", lambda: "127.0.0.1" in (self._says("sacctmgr", "-nP", "list", "cluster") or ""))

    def start_node(self, node: str) -> None:
        self._daemon(node, "slurmd", "-D", "-N", node)

    def stop(self) -> None:
        """Everything, jobs first, the database last."""
        self._says("scancel", "--quiet", "--user=root")
        deadline = time.monotonic() + 15
        while self._says("squeue", "-h") and time.monotonic() < deadline:
            time.sleep(0.5)
        for name in reversed(list(self._daemons)):
            self._end(self._daemons.pop(name))
        for left in _processes_under(self.folder):  # a job's own supervisor outlives its slurmd
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)

    def _write_files(self) -> None:
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(NODE.format(name=node, host=host, port=self._ports[node]) for node in NODES)
        values = {"folder": self.folder, "host": host, "nodes": nodes, **self._ports}
        for name, text in (("slurm.conf", SLURM_CONF), ("slurmdbd.conf", SLURMDBD_CONF)):
            (self.folder / name).write_text(text.format_map(values))
        (self.folder / "slurmdbd.conf").chmod(0o600)
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        for name in ("state", "munge", "sql", "bin"):
            (self.folder / name).mkdir()
        # Snakemake's jobs forget SLURM's variables, and would look for a cluster under /etc.
        for command in COMMANDS:
            script = self.folder / "bin" / command
            script.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_found(command)} "$@"\n')
            script.chmod(0o755)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.chmod(0o755)
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key": "key", "log": "log", "pid": "pid", "seed": "seed"}
        options = [f"--{option}-file={folder / name}" for option, name in files.items()]
        self._daemon("munged", "munged", "--foreground", "--force", f"--socket={folder / 'socket'}", *options)
        self._wait("munged", (folder / "socket").exists)

    def _start_database(self) -> None:
        folder = self.folder / "sql"
        shutil.chown(folder, "mysql", "mysql")
        install = ["mariadb-install-db", "--no-defaults", "--user=mysql", "--skip-test-db", f"--datadir={folder}"]
        self._call(*install, "--auth-root-authentication-method=socket")
        options = [f"--datadir={folder}", f"--socket={folder / 'socket'}", f"--port={self._ports['sql']}"]
        options += ["--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", "--innodb-buffer-pool-size=64M"]
        options += ["--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"]
        self._daemon("mariadbd", "mariadbd", "--no-defaults", "--user=mysql", *options)
        client = ["mariadb", "--no-defaults", f"--socket={folder / 'socket'}", "--user=root", "--execute"]
        self._wait("mariadbd", lambda: self._says(*client, "select 1") is not None)
        self._call(*client, "create user slurm@'%' identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'%';")

    def _daemon(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [_found(program), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C must not reach it before the command that it serves
            )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            dead = [daemon for daemon, process in self._daemons.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"--- {path}\n{_tail(path)}" for path in sorted(self.folder.glob("*.[lo][ou][gt]")))
                raise ProblemError(f"the test cluster did not start: {dead or name} gave no answer.\n{logs}")
            time.sleep(0.2)

    def _states(self) -> list[str]:
        return (self._says("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T") or "").split()

    def _says(self, *command: str) -> str | None:
        completed = subprocess.run(
            [_found(command[0]), *command[1:]], env=self.environment, capture_output=True, text=True
        )
        return completed.stdout if completed.returncode == 0 else None

    def _call(self, *command: str) -> None:
        completed = subprocess.run(
            [_found(command[0]), *command[1:]], env=self.environment, capture_output=True, text=True
        )
        if completed.returncode:
            raise ProblemError(
                f"the test cluster did not start: {' '.join(command)}: {completed.stdout}{completed.stderr}"
            )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that is up within, and gone after."""
    _check_machine()
    folder = Path(tempfile.mkdtemp(prefix="bandbridge-slurm-"))
    folder.chmod(0o755)
    new_cluster = Cluster(folder)
    try:
        new_cluster.start()
        yield new_cluster
    finally:
        new_cluster.stop()
        if "BANDBRIDGE_KEEP_CLUSTER" in os.environ:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _check_machine() -> None:
    missing = [program for program in PROGRAMS if _found(program) == program]
    if os.geteuid() != 0:
        raise ProblemError("the test cluster needs root, because SLURM's daemons do; as root: make test-slurm")
    if not missing:
        return
    if not Path("/etc/debian_version").exists():
        raise ProblemError(
            f"{', '.join(missing)} are missing, and only Debian's packages are known here; install SLURM with "
            "slurmdbd, MariaDB and MUNGE in your system's way, or use a container of debian:bookworm."
        )
    print(f"Installing {', '.join(PACKAGES)} ...", file=sys.stderr)
    _install()


def _install() -> None:
    """Without starting what is installed, and leaving the machine's own say in that as it is."""
    policy = Path("/usr/sbin/policy-rc.d")
    absent = not policy.exists()
    if absent:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", "--quiet=2", *command], env=environment, capture_output=True, text=True)
            if done.returncode:
                raise ProblemError(f"apt-get {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    finally:
        if absent:
            policy.unlink()


def _found(program: str) -> str:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin") or program


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _processes_under(folder: Path) -> list[int]:
    """Processes whose command line or environment names the cluster's folder."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.name != str(os.getpid()) and str(folder).encode() in (entry / "environ").read_bytes():
                processes.append(int(entry.name))
    return processes


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):  # the daemons must go, whoever ends this
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        with cluster() as test_cluster, subprocess.Popen(sys.argv[1:], env=test_cluster.environment) as command:
            try:
                return command.wait()
            finally:
                command.terminate()
    except ProblemError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
