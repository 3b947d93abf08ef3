"""Random numbers that follow from seed, epoch and sample alone."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from regression import CPU, Regression, recipe, split, watched
from scipy.stats import chisquare, kstest

from bandbridge.training import draws
from bandbridge.training.batches import Batches
from bandbridge.training.draws import Draws, seed_dropout
from bandbridge.training.loop import fit

N = 20_000
FIRST = [[0.4291980266571045, 0.5621621608734131], [0.9072930216789246, 0.16062897443771362]]
CAPTIONS = [51, 99]


def test_the_generator_is_splitmix64():
    """Against the numbers that its authors' program prints for the seed 1234567."""
    states = np.uint64(1234567) + draws.STEP * np.arange(1, 4, dtype=np.uint64)
    assert draws._hash(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_sample_draws_the_same_in_this_version_as_in_the_next_ones():
    drawn = Draws.of(3, 2, [0, 7])
    assert drawn.uniform("crop area", 2).tolist() == FIRST
    assert drawn.integers("caption", 100).tolist() == CAPTIONS


@settings(max_examples=50)
@given(st.integers(0, 2**70), st.integers(0, 2**40), st.lists(st.integers(0, 2**40), min_size=1, max_size=9), st.data())
def test_a_sample_draws_the_same_in_whatever_company(seed, epoch, samples, data):
    begin = data.draw(st.integers(0, len(samples) - 1))
    whole, alone = Draws.of(seed, epoch, samples), Draws.of(seed, epoch, samples[begin : begin + 1])
    for part in (whole.rows(begin, begin + 1), alone):
        assert part.uniform("a", 3, 2).equal(whole.uniform("a", 3, 2)[begin : begin + 1])
        assert part.integers("b", 7).equal(whole.integers("b", 7)[begin : begin + 1])
    assert 0 <= whole.uniform("a", 50).min() <= whole.uniform("a", 50).max() < 1
    assert 0 <= whole.integers("b", 7).min() <= whole.integers("b", 7).max() < 7


def test_numbers_are_uniform_over_samples_epochs_and_their_own_number():
    for numbers in (
        Draws.of(0, 0, np.arange(N)).uniform("flip rows"),
        torch.stack([Draws.of(0, epoch, [5]).uniform("flip rows")[0] for epoch in range(2000)]),
        torch.stack([Draws.of(seed, 0, [5]).uniform("flip rows")[0] for seed in range(2000)]),
        Draws.of(0, 0, [5]).uniform("crop area", N)[0],
    ):
        assert kstest(numbers, "uniform").pvalue > 0.01
    counts = np.bincount(Draws.of(1, 1, np.arange(N)).integers("caption", 7), minlength=7)
    assert chisquare(counts).pvalue > 0.01


def test_names_seeds_epochs_samples_and_numbers_are_independent():
    samples = np.arange(N)
    one = Draws.of(0, 0, samples).uniform("crop top", 2)
    others = [
        one[:, 1],
        one[:, 0].roll(1),
        Draws.of(0, 0, samples).uniform("crop left"),
        Draws.of(1, 0, samples).uniform("crop top"),
        Draws.of(0, 1, samples).uniform("crop top"),
    ]
    for other in others:
        assert abs(np.corrcoef(one[:, 0], other)[0, 1]) < 4 / N**0.5
        pairs = np.bincount((one[:, 0] * 8).int() * 8 + (other * 8).int(), minlength=64)
        assert chisquare(pairs).pvalue > 0.001


def test_each_process_and_micro_batch_has_dropout_of_its_own():
    masks = set()
    for seed, step, rank, part in product(range(3), range(20), range(4), range(4)):
        seed_dropout(CPU, seed, step, rank, part)
        masks.add(tuple(F.dropout(torch.ones(64)).tolist()))
    assert len(masks) == 3 * 20 * 4 * 4


def test_a_sample_changes_alike_on_any_number_of_processes():
    source, order = split(13), np.random.default_rng(1).permutation(13)
    drawn = {}
    for world in (1, 2, 3):
        for rank in range(world):
            cut = Batches(source, 5, CPU, rank=rank, world=world)
            for batch in cut.read(order, 5, lambda indices: Draws.of(3, 1, indices)):
                for pixels, number in zip(batch.pixels["numbers"], batch.draws.uniform("noise"), strict=True):
                    drawn.setdefault(tuple(pixels.tolist()), set()).add(number.item())
    assert [len(numbers) for numbers in drawn.values()] == [1] * 8


def test_training_draws_anew_in_each_epoch_and_nothing_in_validation():
    seen = []
    stage = watched(Regression(), seen.append)
    fit(stage, split(6), split(4), recipe(batch_size=6), 3, CPU)
    training = [batch for batch in seen if batch.draws is not None]
    assert len(training) == 2
    assert len(seen) == 4
    first, second = (batch.draws.uniform("noise").sort().values for batch in training)
    assert not torch.equal(first, second)
    other = replace(training[0], draws=None)
    assert other.rows(1, 3).draws is None


@pytest.mark.parametrize("consumed", [0, 5])
def test_dropout_follows_from_the_seed_and_the_step_whatever_was_drawn_before(consumed):
    stage = Regression()
    torch.manual_seed(consumed)
    torch.rand(consumed)
    history = fit(stage, split(), None, recipe(), 3, CPU)
    again = fit(Regression(), split(), None, recipe(), 3, CPU)
    assert history == again


def test_draws_apart_are_others_and_the_same_each_time():
    draws = Draws.of(0, 0, np.arange(1_000))
    values = [each.uniform("x") for each in (draws, draws.apart("one"), draws.apart("other"))]
    assert torch.equal(draws.apart("one").uniform("x"), values[1])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(values[first].ravel(), values[second].ravel())[0, 1]) < 0.15
