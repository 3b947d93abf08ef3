"""What all tests share: processes they start use the same package, and do not fight over the cores."""

import os
from pathlib import Path

import bandbridge

os.environ["PYTHONPATH"] = str(Path(bandbridge.__file__).parents[1])
# Threads that wait for each other spin; two test processes with two each take several times as long.
os.environ["OMP_NUM_THREADS"] = "1"
