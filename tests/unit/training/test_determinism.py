"""A trial step finds out whether a training can do without operations that do not repeat to the bit."""

import pytest
import torch
from regression import Regression, split
from tiny import COMMON

from bandbridge.models.device import set_up
from bandbridge.training import loop
from bandbridge.training.determinism import hold_to_determinism
from bandbridge.training.distributed import ALONE
from bandbridge.training.recipes import Recipe


@pytest.fixture(autouse=True)
def leniency():
    yield set_up(threads=1, seed=0)
    torch.use_deterministic_algorithms(False)


class Unordered(Regression):
    """A stage with an operation of which torch has no deterministic implementation."""

    def forward(self, batch):
        terms = super().forward(batch)
        return terms | {"worst": torch.zeros(1).put_(torch.tensor([0]), terms["worst"].detach().view(1))}


def content(stage):
    return {name: tensor.clone() for name, tensor in stage.state_dict().items()}


def with_statistics(stage):
    stage.trained.append(torch.nn.BatchNorm1d(3))
    return stage


def test_what_repeats_is_held_to_it():
    stage = with_statistics(Regression())
    before = content(stage)
    assert hold_to_determinism(stage, split().read(range(8))) is None
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.state_dict().items())
    assert all(parameter.grad is None for parameter in stage.parameters())


def test_what_does_not_repeat_is_named_and_allowed():
    stage = with_statistics(Unordered())
    before = content(stage)
    assert "put_ does not have a deterministic implementation" in hold_to_determinism(stage, split().read(range(8)))
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.state_dict().items())


@pytest.mark.parametrize(("stage", "remarks"), [(Regression, 0), (Unordered, 1)])
def test_a_training_tries_its_first_micro_batch(stage, remarks):
    recipe = Recipe(**COMMON | {"batch_size": 8, "accumulate": 2})
    tried = stage()
    run = loop._set_up(tried, split(), None, recipe, 0, torch.device("cpu"), ALONE)
    assert not tried.seen  # on a CPU nothing is left to chance
    assert len(loop._held_to_determinism(run)) == remarks
    assert len(tried.seen[0][0]) == 4


def test_other_errors_are_not_hidden():
    stage = Regression()
    stage.trained[0] = torch.nn.Linear(9, 5)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        hold_to_determinism(stage, split().read(range(8)))
    assert torch.is_deterministic_algorithms_warn_only_enabled()
