"""The order of samples: nothing twice, nothing lost, the same batches however many processes share them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.store.order import batch_count, batches, epoch_order

numbers = st.integers(0, 400)
sizes = st.integers(1, 60)


@given(numbers, st.integers(0, 2**40), st.integers(0, 1000))
def test_an_epoch_holds_every_sample_once_and_is_the_same_again(n, seed, epoch):
    order = epoch_order(n, seed, epoch)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed, epoch))


def test_epochs_and_seeds_differ():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_an_order_stays_the_same_over_versions_and_machines():
    assert epoch_order(8, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert epoch_order(8, 7, 3).tolist() == [2, 4, 7, 3, 5, 1, 0, 6]


def test_every_sample_comes_first_about_as_often():
    counts = np.bincount([epoch_order(10, 0, epoch)[0] for epoch in range(2000)], minlength=10)
    assert counts.min() > 130
    assert counts.max() < 280


@given(numbers, sizes, st.data())
def test_batches_hold_each_sample_once(n, size, data):
    start = data.draw(st.integers(0, n))
    order = epoch_order(n, 1, 2)
    whole = batches(order, size, start=start)
    assert len(whole) == batch_count(n - start, size)
    np.testing.assert_array_equal(np.concatenate([*whole, order[:0]]), order[start:])


@given(numbers, sizes)
def test_batches_are_full_but_for_the_last_two(n, size):
    lengths = [len(batch) for batch in batches(np.arange(n), size)]
    assert all(length == size for length in lengths[:-2])
    assert max(lengths, default=0) <= size
    if len(lengths) > 1:
        assert min(lengths) >= size // 2
        assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("n", "lengths"),
    [(10, [5, 5]), (11, [5, 3, 3]), (12, [5, 4, 3]), (13, [5, 5, 3]), (6, [3, 3]), (4, [4]), (1, [1]), (0, [])],
)
def test_what_is_left_is_shared_by_the_last_two_batches(n, lengths):
    assert [len(batch) for batch in batches(np.arange(n), 5)] == lengths


@given(numbers, sizes, st.data())
def test_an_epoch_taken_up_after_a_batch_goes_on_as_it_would_have(n, size, data):
    order = epoch_order(n, 0, 0)
    whole = batches(order, size)
    done = data.draw(st.integers(0, len(whole)))
    rest = batches(order, size, start=sum(map(len, whole[:done])))
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[done:]]


@pytest.mark.parametrize("changes", [{"size": 0}, {"start": 11}, {"start": -1}])
def test_arguments_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="of 10 samples"):
        batches(np.arange(10), **{"size": 5} | changes)
