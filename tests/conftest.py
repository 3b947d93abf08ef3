"""What all tests share: processes they start use the same package, and do not fight over the cores."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import bandbridge

os.environ["PYTHONPATH"] = str(Path(bandbridge.__file__).parents[1])
# Threads that wait for each other spin; two test processes with two each take several times as long.
os.environ["OMP_NUM_THREADS"] = "1"

# Clones in which the workflow is planned or run, the report's page with all its figures, the built wheel.
SLOW_FIXTURES = {"clone", "finished_run", "html", "wheel"}

# No file of a test need survive a power cut, and tests would wait for the disk some ten thousand times.
os.fsync = lambda _: None


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands keep results in the user's cache folder; those of tests have one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BANDBRIDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test as slow that needs what takes seconds to make."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
