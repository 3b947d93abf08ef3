"""Runs on the test cluster, which `make test-slurm` starts; without one nothing here is run."""

import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from runs import Run, finished, new_run  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            if "BANDBRIDGE_TEST_CLUSTER" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="no test cluster is up; make test-slurm, as root, starts one"))


@pytest.fixture(scope="session")
def local_run() -> Run:
    """A small run that has ended, without SLURM, one for all test processes while the cluster is up."""
    folder = Path(os.environ["BANDBRIDGE_TEST_CLUSTER"]) / "local"
    with FileLock(f"{folder}.lock"):
        if not (folder / "results/small/report/index.html").exists():
            return finished(new_run(folder, warm=True), "--cores", "2")
    return Run(folder)


@pytest.fixture(scope="session")
def slurm_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, every job of it through SLURM."""
    return finished(new_run(tmp_path_factory.mktemp("slurm") / "clone"), "--profile", "slurm", "--verbose")


@pytest.fixture
def heads_done(local_run: Run, tmp_path: Path) -> Run:
    """A copy of a run in which the fine-tuning comes next."""
    return local_run.copy(tmp_path / "clone").without("finetune", "paint", "align", "embeddings", "metrics")
