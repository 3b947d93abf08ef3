"""A user's files and descriptions of data sets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_files import Workshop, describing, workshop

from bandbridge.catalogue.datasets import Dataset


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return workshop(tmp_path, monkeypatch)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Dataset]]:
    with describing(tmp_path / "workflow", monkeypatch) as load:
        yield load
