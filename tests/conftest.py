"""What all tests share: processes they start find the package, and do not fight over the cores."""

import os
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "workflow")
# Threads that wait for each other spin; two test processes with two each take several times as long.
os.environ["OMP_NUM_THREADS"] = "1"
