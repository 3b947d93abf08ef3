"""The learning rate, step by step."""

import pytest
import torch
from open_clip_train.scheduler import cosine_lr
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from bandbridge.training.recipes import warmup_cosine


def test_the_warm_up_is_linear_and_the_cosine_ends_near_zero():
    factors = [warmup_cosine(step, 4, 12) for step in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[8] == pytest.approx(0.5)
    assert factors[11] == pytest.approx(0.5 * (1 + torch.tensor(torch.pi * 7 / 8).cos().item()))
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_without_warm_up_it_is_torchs_cosine():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = CosineAnnealingLR(optimiser, T_max=10)
    for step in range(10):
        assert warmup_cosine(step, 0, 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        reference.step()


def test_a_warm_up_longer_than_the_training_never_reaches_the_rate():
    assert [warmup_cosine(step, 200, 3) for step in range(3)] == [1 / 200, 2 / 200, 3 / 200]


@pytest.mark.parametrize(("warmup", "total"), [(2, 9), (5, 40), (200, 1000), (8, 9)])
def test_it_is_torchs_linear_warm_up_and_cosine(warmup, total):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    linear = LinearLR(optimiser, start_factor=1 / warmup, total_iters=warmup - 1)
    cosine = CosineAnnealingLR(optimiser, T_max=total - warmup)
    reference = SequentialLR(optimiser, [linear, cosine], milestones=[warmup])
    for step in range(total):
        assert warmup_cosine(step, warmup, total) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        reference.step()


@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (1, 10), (200, 750), (30, 30), (50, 30)])
def test_it_is_open_clips_schedule(warmup, total):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = cosine_lr(optimiser, 1.0, warmup, total)
    for step in range(total):
        assert warmup_cosine(step, warmup, total) == pytest.approx(theirs(step))


def test_a_warm_up_as_long_as_the_training_ends_at_the_rate():
    assert [warmup_cosine(step, 4, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
