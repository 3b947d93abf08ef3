"""A script that starts itself in several processes under torchrun."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
SUPPORT = Path(__file__).parents[2] / "support"
SCRIPT = """
import sys
from pathlib import Path
import torch
from killed_runs import CPU, regression
from regression import watched
from bandbridge.base.errors import UserError
from bandbridge.training import distributed
from bandbridge.training.checkpoints import Saving, remove_checkpoints
from bandbridge.training.loop import fit

def main(out: Path, pause: float, fault: str, threads: int, processes: int = 1, nodes: int = 1) -> None:
    if distributed.to_launch(processes, nodes):
        distributed.launch(Path(__file__), locals(), processes, nodes, out.parent)
        return
    with distributed.world_from_environment() as world:
        torch.set_num_threads(threads)
        if fault and world.rank == 1:
            raise UserError(fault)
        stage, data, recipe = regression(1)
        def slow(batch):
            (out.parent / "started").touch()
            import time
            time.sleep(pause)
        watched(stage, slow)
        saving = Saving(out.parent / "checkpoints", 60, 2, "a run")
        fit(stage, data, data, recipe, 5, CPU, saving=saving, world=world)
        if world.is_first:
            torch.save(stage.trained.state_dict(), out)
        remove_checkpoints(saving, world)

if __name__ == "__main__":
    distributed.run(main)
"""


JOB = """
    from types import SimpleNamespace
    from bandbridge.base import progress
    progress.SECONDS_IN_A_FILE = progress.SECONDS_BETWEEN_RELAYS = 0.1
    here, config = Path(__file__).parent, {"train": {"gpus": 2, "nodes": 1}}
    params = {"out": here / "out.pt", "pause": 0.1, "fault": ""}
    facts = {"input": {}, "output": {}, "params": params, "threads": 2, "config": config, "log": [here / "job.log"]}
    distributed.run(main, SimpleNamespace(**facts))
"""


def start(folder, processes=2, pause=0.0, fault="", nodes=1, script=SCRIPT):
    folder.mkdir(exist_ok=True)
    path = folder / "script.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": f"{SUPPORT}:{SUPPORT.parents[1] / 'workflow'}", "OMP_NUM_THREADS": "1"}
    environment.pop("SLURM_JOB_ID", None)
    command = [sys.executable, str(path), "--out", str(folder / "out.pt"), "--pause", str(pause), "--fault", fault]
    command += ["--threads", "2", "--processes", str(processes), "--nodes", str(nodes)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    out, error = process.communicate(timeout=600)
    return process.returncode, out, error


def test_a_launched_training_that_is_told_to_stop_asks_to_be_run_again_and_ends_as_if_it_had_not(tmp_path, train):
    first = start(tmp_path / "stopped", pause=0.2)
    while first.poll() is None and not (tmp_path / "stopped" / "started").exists():
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    code, _, error = ended(first)
    assert code == 85, error
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("*.pt"))) == 1
    code, out, error = ended(start(tmp_path / "stopped"))
    assert code == 0, error
    assert "resumes after step" in out
    train(tmp_path / "whole", world=2)
    resumed_weights, expected = (
        torch.load(tmp_path / name, weights_only=True) for name in ("stopped/out.pt", "whole/whole.pt")
    )
    assert all(torch.equal(resumed_weights[name], expected[name]) for name in expected)
    assert not (tmp_path / "stopped" / "checkpoints").exists()
    assert not (tmp_path / "stopped" / ".launch").exists()


def test_what_a_rank_says_has_gone_wrong_is_what_the_script_says(tmp_path):
    code, _, error = ended(start(tmp_path / "run", fault="the store lacks band B05"))
    assert code == 1
    assert error.rstrip().endswith("Error: the store lacks band B05")


def test_how_far_the_first_rank_is_reaches_the_terminal_of_the_launcher(tmp_path):
    under_snakemake = SCRIPT.replace("    distributed.run(main)\n", JOB)
    code, _, error = ended(start(tmp_path / "run", script=under_snakemake))
    assert code == 0, error
    assert re.search(r"^Regression: \d+ of 32 steps", error, re.MULTILINE), error
    assert "Regression: 32 steps in" in (tmp_path / "run" / "job.log").read_text()


def test_several_nodes_need_slurm(tmp_path):
    code, _, error = ended(start(tmp_path / "run", nodes=2))
    assert code == 1
    assert "2 nodes are asked for, but this is no job of SLURM" in error
