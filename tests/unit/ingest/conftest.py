"""A user's files and descriptions of data sets, and a server to fetch files from."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from http_server import FileServer, running_server
from own_files import Workshop, workshop
from own_scenes import CLASSES

from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.datasets import Dataset, load_dataset, read_yaml
from bandbridge.ingest import transfer


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return workshop(tmp_path, monkeypatch)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine, whose failed requests are repeated at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "sleep", lambda seconds: None)
    with running_server() as running:
        yield running


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Dataset]]:
    """Data sets of the test's own, with a nomenclature of three classes: a function of a file's text and options."""
    for folder in ("datasets", "nomenclatures"):
        (tmp_path / "workflow" / folder).mkdir(parents=True)
    (tmp_path / "workflow/nomenclatures/abc.yaml").write_text(f"name: abc\ntitle: Three\nclasses: {list(CLASSES)}\n")
    monkeypatch.setattr(catalogue, "WORKFLOW", tmp_path / "workflow")

    def load(text, **options):
        name = yaml.safe_load(text)["name"]
        (tmp_path / f"workflow/datasets/{name}.yaml").write_text(text)
        read_yaml.cache_clear()
        return load_dataset(name, options)

    yield load
    read_yaml.cache_clear()
