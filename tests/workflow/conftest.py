"""A clone to run the workflow in, and one in which it has run."""

from pathlib import Path

import pytest
from clones import Clone, make_clone
from filelock import FileLock


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path, warm=True)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Clone:
    """A clone whose small run has ended, one for all test processes. Tests only read it; to change it they copy it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished" / "results/small/report/index.html").exists():
            make_clone(shared / "finished", warm=True).run()
    return Clone(shared / "finished", warm=True)


@pytest.fixture
def copied_run(finished_run: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished run, to be changed."""
    return finished_run.copy(tmp_path / "copy")
