"""Trainings that a cluster interrupts end as if it had not."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from runs import FINETUNED, Run, finished, processes_of, sacct, shared, slurm, wait_for

WEIGHTS = f"{FINETUNED}/model.safetensors"
HISTORY = f"{FINETUNED}/history.jsonl"
# Long enough that a checkpoint is seen, however fast the machine.
LONG = {"finetune": {"epochs": 150}, "train": {"checkpoint_minutes": 0.02}}


@pytest.fixture(scope="module")
def undisturbed(local_run: Run) -> Run:
    def make(folder: Path) -> Run:
        run = local_run.copy(folder).without("finetune", "paint", "align")
        run.configure(LONG)
        return finished(run, "--cores", "2", "--", WEIGHTS)

    return shared("undisturbed", make)


def in_the_middle(run: Run, *options: str) -> "tuple[subprocess.Popen[bytes], str]":
    """The workflow, and the SLURM job of its fine-tuning, which has written a checkpoint and been halted there.

    Left alone, it may be done before SLURM gets round to what a test asks of it.
    """
    run.configure(LONG)
    process = run.start("--profile", "slurm", *options, "--", WEIGHTS)
    wait_for(lambda: process.poll() is not None or list(run.root.glob(f"{FINETUNED}/checkpoints/*-*-*.pt")))
    assert process.poll() is None, run.log()
    send(signal.SIGSTOP, run)
    return process, run.submitted()[-1]


def send(number: signal.Signals, run: Run) -> None:
    """To the fine-tuning's processes; SLURM itself lets those go on that it ends."""
    processes = processes_of(run.root, "finetune.py")
    assert processes
    for process in processes:
        os.kill(process, number)


def ended_as(undisturbed: Run, run: Run, process: "subprocess.Popen[bytes]") -> None:
    code = process.wait(400)
    assert code == 0, run.log()
    for path in (WEIGHTS, HISTORY):
        assert (run.root / path).read_bytes() == (undisturbed.root / path).read_bytes()
    log = next((run.root / "logs/small/finetune").glob("*.log")).read_text()
    assert "resumes after step" in log
    assert not (run.root / FINETUNED / "checkpoints").exists()


def soon(job: str) -> None:
    """SLURM lets a job that it queues again wait for two minutes; it may have started again by now."""

    def waits() -> bool:
        return "PENDING" in slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T")

    wait_for(lambda: waits() or len(sacct(job)) > 1)
    if waits():
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_told_to_stop(heads_done: Run, undisturbed: Run, name: str):
    """USR1 is what SLURM warns with before the time is up."""
    process, job = in_the_middle(heads_done)
    slurm("scancel", f"--signal={name}", job)
    send(signal.SIGCONT, heads_done)
    ended_as(undisturbed, heads_done, process)
    first, *_ = sacct(*heads_done.submitted())
    assert first["State"] == "FAILED"
    assert len(heads_done.submitted()) == 2


def test_killed_outright(heads_done: Run, undisturbed: Run):
    process, _ = in_the_middle(heads_done)
    send(signal.SIGKILL, heads_done)
    ended_as(undisturbed, heads_done, process)


def test_cancelled(heads_done: Run, undisturbed: Run):
    """The plugin alone would wait for a job 'CANCELLED by 0' for ever."""
    process, job = in_the_middle(heads_done)
    slurm("scancel", job)
    ended_as(undisturbed, heads_done, process)


def test_pushed_aside_and_queued_again_by_slurm(heads_done: Run, undisturbed: Run):
    process, job = in_the_middle(heads_done)
    slurm("scontrol", "requeue", job)
    soon(job)
    ended_as(undisturbed, heads_done, process)
    assert heads_done.submitted() == [job]
    assert [row["State"] for row in sacct(job)][-1] == "COMPLETED"
    assert len(sacct(job)) == 2


def test_over_its_memory(heads_done: Run, undisturbed: Run):
    """The first attempt has less than a process with torch needs."""
    heads_done.configure(LONG)
    memory = "finetune:mem_mb=400 if attempt == 1 else 8000"
    finished(heads_done, "--profile", "slurm", "--set-resources", memory, "--", WEIGHTS)
    assert (heads_done.root / WEIGHTS).read_bytes() == (undisturbed.root / WEIGHTS).read_bytes()
    killed, whole = sacct(*heads_done.submitted())
    assert (killed["ReqMem"], whole["ReqMem"]) == ("400M", "8000M")
    assert killed["State"] != "COMPLETED"


def test_over_its_time(heads_done: Run, undisturbed: Run):
    """It hangs, so that SLURM's warning is in vain."""
    time = "finetune:runtime=1 if attempt == 1 else 30"
    # Two minutes before its time is up is now, before the training could write its checkpoint.
    warning = "finetune:slurm_extra='--signal=USR1@20'"
    process, _ = in_the_middle(heads_done, "--set-resources", time, warning)
    ended_as(undisturbed, heads_done, process)
    late, whole = sacct(*heads_done.submitted())
    assert late["State"] != "COMPLETED"
    assert late["TimelimitRaw"] == "1"
    assert (whole["State"], whole["TimelimitRaw"]) == ("COMPLETED", "30")


@pytest.mark.alone
@pytest.mark.parametrize("partition", ["spare", "leftover"])
def test_pushed_aside_by_a_job_of_higher_priority(heads_done: Run, undisturbed: Run, partition: str):
    """SLURM would queue jobs of `spare` again and cancel those of `leftover`; a training ends itself before it does."""
    profile = heads_done.root / "profiles/slurm/config.yaml"
    profile.write_text(profile.read_text().replace("gpu_partition: gpu\n", f"gpu_partition: {partition}\n"))
    process, job = in_the_middle(heads_done)
    slurm("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    ended_as(undisturbed, heads_done, process)
    first, *_ = heads_done.submitted()
    assert first == job


@pytest.mark.alone
def test_a_nodes_daemon_stopped_and_started(heads_done: Run, undisturbed: Run):
    """SLURM takes the node for dead and queues the job again."""
    process, job = in_the_middle(heads_done)
    folder = Path(os.environ["BANDBRIDGE_TEST_CLUSTER"])
    node = sacct(job)[-1]["NodeList"]
    os.kill(int((folder / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: "down" in slurm("sinfo", "--noheader", f"--nodes={node}", "--format=%T"))
    subprocess.run(["slurmd", "-N", node], check=True, env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"})
    # It ends what still runs there of the job; a start before that would put the node out of service.
    wait_for(lambda: subprocess.run(["pgrep", "--full", rf"slurmstepd: \[{job}\."], capture_output=True).returncode)
    soon(job)
    ended_as(undisturbed, heads_done, process)
