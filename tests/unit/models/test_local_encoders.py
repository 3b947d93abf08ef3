"""An encoder that is only a local file, as docs/encoders.md describes it."""

import copy
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_store import make_store

from bandbridge.base.errors import UserError
from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue import encoders as encoder_facts
from bandbridge.catalogue.encoders import load_encoder_facts, sees
from bandbridge.config import networks as settings
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.models.backbones import new_backbone
from bandbridge.models.external.fetch import fetch_encoder
from bandbridge.models.external.load import load

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
EXAMPLE = next(
    block
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/encoders.md").read_text(), re.S)
    if "manual:" in block
)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """A workflow folder with the page's example among its encoders; returns the example's content."""
    folder = tmp_path / "workflow"
    for name in ("schemas", "datasets", "nomenclatures"):
        shutil.copytree(ROOT / "workflow" / name, folder / name)
    (folder / "encoders").mkdir()
    (folder / "encoders/my-vit.yaml").write_text(EXAMPLE)
    for module in (catalogue, encoder_facts, settings):
        monkeypatch.setattr(module, "WORKFLOW", folder)
    return yaml.safe_load(EXAMPLE)


def configured(tmp_path, **student):
    config = copy.deepcopy(DEMO) | {"data_root": str(tmp_path / "data")}
    config["evaluate"]["encoders"] = ["my-vit"]
    config["align"]["students"]["ms-vit"].update(student)
    return config


def copied(tmp_path, content):
    path = tmp_path / "data/archives/encoders/my-vit.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.mark.usefixtures("example")
def test_a_run_without_the_file_stops_before_its_first_job_with_the_pages_words(tmp_path):
    (sentence,) = absent_checkpoints(configured(tmp_path))
    path = tmp_path / "data/archives/encoders/my-vit.pth"
    assert sentence == (
        "evaluate.encoders: my-vit.pth of my-vit has to be copied manually. Ask the group's data manager for "
        f"my-vit.pth, or train it as the lab's wiki describes.\nTo: {path}"
    )
    config = configured(tmp_path, pretrained="my-vit")
    config["evaluate"]["encoders"] = []
    (sentence,) = absent_checkpoints(config)
    assert sentence.startswith("align.students.ms-vit: my-vit.pth of my-vit has to be copied manually.")
    copied(tmp_path, b"<html>Sign in</html>")
    (sentence,) = absent_checkpoints(config)
    assert sentence.startswith(f"align.students.ms-vit: {path} (20 bytes) is a web page")
    copied(tmp_path, {"a": torch.ones(1)})
    assert absent_checkpoints(config) == []


def test_the_pages_example_encodes_a_store(tmp_path, example):
    facts = load_encoder_facts("my-vit")
    assert sees(facts, catalogue.load_dataset("eurosat_ms"))
    torch.manual_seed(0)
    model = new_backbone(facts.architecture, 4, {}).eval()
    copied(tmp_path, {"model": {f"module.{name}": value for name, value in model.state_dict().items()}, "epoch": 3})
    fetch_encoder(example, tmp_path / "data/archives/encoders", tmp_path / "my-vit")
    encoder = load(tmp_path / "my-vit")
    store = make_store(tmp_path / "store", "eurosat_ms", {"test": 2}, side=16)
    seen = encoder.view(store)
    values = encoder.inputs(torch.from_numpy(seen.split("test").read(np.arange(2))), seen)
    with torch.inference_mode():
        assert torch.equal(encoder.encode(values), model(values))


def test_another_file_than_the_one_whose_sha256_is_stated_is_refused(tmp_path, example):
    copied(tmp_path, {"a": torch.ones(1)})
    stated = example | {"weights": example["weights"] | {"sha256": "0" * 64}}
    with pytest.raises(UserError, match=r"encoder my-vit: .*sha256 is"):
        fetch_encoder(stated, tmp_path / "data/archives/encoders", tmp_path / "my-vit")
