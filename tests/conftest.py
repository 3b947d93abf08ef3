"""What all tests share: processes use the same package and do not fight over the cores; a server of files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import bandbridge

if TYPE_CHECKING:
    from http_server import FileServer

os.environ["PYTHONPATH"] = str(Path(bandbridge.__file__).parents[1])
# Threads that wait for each other spin; two test processes with two each take several times as long. Where a test asks
# for two, they sleep as they wait.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# Clones in which the workflow is planned or run, the report's page with all its figures, the built wheel.
SLOW_FIXTURES = {"clone", "finished_run", "html", "wheel"}

# Files whose tests make stores, charts, pages or networks, or compare with torchmetrics: some seconds each file.
SLOW_FILES = {
    "base": "code_version umask",
    "catalogue": "published",
    "config": "config_models config_mutations",
    "ingest": "band_names bigearthnet_reader convert layouts nodata places places_beside radiometry scene_layouts",
    "metrics": "calibration classification half_samples intervals",
    "models": "clip clip_text embed external_encoders external_fetch foreign_checkpoints local_encoders weights",
    "project": "rehearsal",
    "reporting": "compare compare_seeds figures hostile_names page page_datasets tables_full tables_latex",
    "scoring": "coefficients scoring_scripts",
    "store": "bit_flips sample_places",
    "training": "align",
    "use": "archive by_file published_checkpoints resumed_archives",
}

# No file of a test need survive a power cut, and tests would wait for the disk some ten thousand times.
os.fsync = lambda _: None


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands keep results in the user's cache folder; those of tests have one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BANDBRIDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_runtest_setup() -> None:
    """A script that a test calls sets how many threads PyTorch has, and so did for all tests that followed."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator["FileServer"]:
    """A server on this machine to fetch files from, whose failed requests are repeated at once."""
    from http_server import running_server

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("bandbridge.ingest.transfer.sleep", lambda seconds: None)
    with running_server() as running:
        yield running


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: archives hold the time, and processes must agree on the names of tests."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test as slow that needs what takes seconds to make."""
    # Whole runs come first: one of two processes makes them all, and short tests are left for whoever is done first.
    items.sort(key=lambda item: item.path.parent.name != "workflow")
    unit = Path(__file__).parent / "unit"
    files = {unit / room / f"test_{name}.py" for room, names in SLOW_FILES.items() for name in names.split()}
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise pytest.UsageError(f"SLOW_FILES in {__file__} names files that do not exist: {', '.join(missing)}")
    for item in items:
        if item.path in files or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
