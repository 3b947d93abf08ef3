"""Samples for models of any kind, and architectures of tiny CLIPs."""

import json
from collections.abc import Iterator

import pytest
import torch
from tiny import MODEL_CFG
from torch import Tensor

from bandbridge.models import clip as clips

ARCHITECTURES = {
    "tiny": {},
    "tiny-quickgelu": {"quick_gelu": True},  # OpenAI's activation
    "taller": {"vision_cfg": {**MODEL_CFG["vision_cfg"], "layers": 2}},
}


@pytest.fixture
def pictures() -> Tensor:
    """Four small RGB images, (4, 3, 20, 20) uint8."""
    return torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tiny_architectures(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder workflow/clip_configs with the tiny ones alone."""
    directory = tmp_path_factory.mktemp("workflow")
    (directory / "clip_configs").mkdir()
    for name, changes in ARCHITECTURES.items():
        (directory / "clip_configs" / f"{name}.json").write_text(json.dumps(MODEL_CFG | changes))
    monkeypatch.setattr(clips, "WORKFLOW", directory)
    clips._open_clip.cache_clear()
    yield
    clips._open_clip.cache_clear()
