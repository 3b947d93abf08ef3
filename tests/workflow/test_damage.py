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
    path.unlink()  # a link to the file of the finished run
    path.write_bytes(content)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


STUDENT = "results/small/embeddings/ms-vit/scene_crop"
METRICS = "results/small/metrics"
OF_STUDENT = f"{METRICS}/ms-vit/zero-shot.scene_crop.osm-landuse-8.plain.csv"
# What is damaged -> a table that is made of it, and what else is removed so that it must be read again.
DAMAGE = {
    f"{STUDENT}.test.zarr/embedding/c/0/0": (OF_STUDENT, []),
    "results/small/heads/demo-vit/digits.digits-10.digits.npz": (
        f"{METRICS}/demo-vit@1/zero-shot.digits.digits-10.digits.csv",
        [],
    ),
    "results/small/paint/demo-vit.scene_crop/selected.json": (f"{METRICS}.csv", []),
    "data/zarr/scene_crop.zarr/val/s2/c.0.0.0.0": (OF_STUDENT, [f"{STUDENT}.val.zarr"]),
}


@pytest.mark.parametrize("damaged", DAMAGE)
def test_a_run_names_what_is_damaged_and_repairs_it_when_that_is_deleted(copied_run: Clone, damaged: str):
    root = copied_run.root
    table, others = DAMAGE[damaged]
    expected = (root / table).read_bytes()
    flip_a_bit(root / damaged)
    for name in (table, *others):
        remove(root / name)
    failed = copied_run.snakemake(table, "--cores", "2")
    assert failed.returncode != 0
    output = failed.stdout + failed.stderr
    assert re.search(rf"{re.escape(damaged)} is damaged: .*match", output), output
    commands = set(re.findall(r"rebuild it: (rm .*)", output))
    assert len(commands) == 1
    subprocess.run(commands.pop(), shell=True, check=True, cwd=root)
    copied_run.run(table)
    assert (root / table).read_bytes() == expected
