"""Samples for models of any kind."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def pictures() -> Tensor:
    """Four small RGB images, (4, 3, 20, 20) uint8."""
    return torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
