"""A file that is damaged stops the run with a command, and after that command the run repairs itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from clones import Clone


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


STUDENT = "results/small/embeddings/ms-vit/scene_crop"
METRICS = "results/small/metrics.csv"
SCORES = "results/small/metrics/ms-vit"
# What is damaged -> what is made of it, removed so that it must be read again.
DAMAGE = {
    f"{STUDENT}.test.zarr/embedding/c/0/0": [SCORES],
    "results/small/heads/demo-vit/digits.digits-10.digits.npz": ["results/small/metrics/demo-vit@1"],
    "results/small/paint/demo-vit.scene_crop/selected.json": [],
    "data/zarr/scene_crop.zarr/val/s2/c.0.0.0.0": [f"{STUDENT}.val.zarr", SCORES],
}


@pytest.mark.parametrize("damaged", DAMAGE)
def test_a_run_names_what_is_damaged_and_repairs_it_when_that_is_deleted(copied_run: Clone, damaged: str):
    root = copied_run.root
    metrics = root / METRICS
    expected = metrics.read_bytes()
    flip_a_bit(root / damaged)
    for path in (metrics, *(root / name for name in DAMAGE[damaged])):
        remove(path)
    failed = copied_run.snakemake(METRICS, "--cores", "2")
    assert failed.returncode != 0
    output = failed.stdout + failed.stderr
    assert re.search(rf"{re.escape(damaged)} is damaged: .*match", output), output
    commands = set(re.findall(r"rebuild it: (rm .*)", output))
    assert len(commands) == 1
    subprocess.run(commands.pop(), shell=True, check=True, cwd=root)
    copied_run.run(METRICS)
    assert metrics.read_bytes() == expected
