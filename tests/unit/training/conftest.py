"""A process that trains again and again, each time in forks of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="session")
def train():
    """Train in a new folder what the options of `killed_runs` say; returns what the processes have written."""
    environment = {"PYTHONPATH": f"{SUPPORT}:{SUPPORT.parents[1] / 'workflow'}", "OMP_NUM_THREADS": "1", "PATH": ""}
    command = [sys.executable, str(SUPPORT / "killed_runs.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as trainer:

        def trained(folder, **options):
            folder.mkdir()
            training = {"stage": "regression", "world": 1, "kills": [], "accumulate": 1, "folder": str(folder)}
            print(json.dumps(training | options), file=trainer.stdin, flush=True)
            output = ""
            for line in trainer.stdout:
                if line == f"{folder}\n":
                    return output
                output += line
            pytest.fail(output[-3000:])

        yield trained
