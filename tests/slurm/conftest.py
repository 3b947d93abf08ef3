"""Runs on the test cluster, which `make test-slurm` starts; without one nothing here is run."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from runs import Run, finished, new_run, shared  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest run begins first: one process makes it while the others test something else.
    items.sort(key=lambda item: item.path.name != "test_whole_run.py")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            if "BANDBRIDGE_TEST_CLUSTER" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="no test cluster is up; make test-slurm, as root, starts one"))


@pytest.fixture(scope="session")
def local_run() -> Run:
    """A small run that has ended, without SLURM."""
    return shared("local", lambda folder: finished(new_run(folder, warm=True), "--cores", "2"))


@pytest.fixture(scope="session")
def slurm_run() -> Run:
    """The same run, every job of it through SLURM."""
    return shared("slurm", lambda folder: finished(new_run(folder), "--profile", "slurm", "--verbose"))


@pytest.fixture
def heads_done(local_run: Run, tmp_path: Path) -> Run:
    """A copy of a run in which the fine-tuning comes next."""
    return local_run.copy(tmp_path / "clone").without("finetune", "paint", "align", "embeddings", "metrics")
