"""The learning rate, step by step."""

import pytest
import torch

from bandbridge.training.schedules import warmup_cosine


def test_the_warm_up_is_linear_and_the_cosine_ends_near_zero():
    factors = [warmup_cosine(step, 4, 12) for step in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[8] == pytest.approx(0.5)
    assert factors[11] == pytest.approx(0.5 * (1 + torch.tensor(torch.pi * 7 / 8).cos().item()))
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_without_warm_up_it_is_torchs_cosine():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10)
    for step in range(10):
        assert warmup_cosine(step, 0, 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        reference.step()


def test_a_warm_up_longer_than_the_training_never_reaches_the_rate():
    assert [warmup_cosine(step, 200, 3) for step in range(3)] == [1 / 200, 2 / 200, 3 / 200]
