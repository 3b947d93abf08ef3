"""Batches read ahead: in order, bounded, and whatever goes wrong comes out."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import MemorySplit

from bandbridge.base.errors import UserError
from bandbridge.store.order import epoch_order
from bandbridge.store.prefetch import read_ahead
from bandbridge.training import batches
from bandbridge.training.batches import Batches, Source, shares

CPU = torch.device("cpu")


def split(n=13):
    rng = np.random.default_rng(0)
    return MemorySplit(rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 2, (n, 3)).astype(np.uint8))


def made(data, size, device=CPU, **how):
    """Batches of a split."""
    return Batches(Source({"numbers": data}, data.labels, data.ids), size, device, **how)


def together(coming):
    """The sizes of batches; their pixels and their labels, one after another."""
    pixels, labels = zip(*((batch.pixels["numbers"], batch.labels) for batch in coming), strict=True)
    return [len(part) for part in labels], torch.cat(pixels).cpu().numpy(), torch.cat(labels).cpu().numpy()


@pytest.fixture
def read_anew(monkeypatch):
    """Splits are too large to be kept in memory."""
    monkeypatch.setattr(batches, "KEPT_BYTES", 0)


@pytest.mark.parametrize(("n", "sizes"), [(10, [5, 5]), (12, [5, 4, 3]), (11, [5, 3, 3]), (4, [4]), (1, [1])])
def test_a_pass_holds_every_sample_once_in_the_order_given(n, sizes):
    data = split(n)
    cut = made(data, 5)
    assert len(cut) == len(sizes)
    order = epoch_order(n, 0, 0)
    lengths, pixels, labels = together(cut.read(order))
    assert lengths == sizes
    np.testing.assert_array_equal(pixels, data.pixels[order])
    np.testing.assert_array_equal(labels, data.labels[order])


def test_without_an_order_every_sample_comes_in_its_place():
    data = split(11)
    _, pixels, labels = together(made(data, 5).read())
    np.testing.assert_array_equal(pixels, data.pixels)
    np.testing.assert_array_equal(labels, data.labels)


def test_ranks_share_each_batch_and_an_epoch_goes_on_where_it_stopped():
    data, order = split(13), epoch_order(13, 0, 0)
    alone = list(made(data, 5).read(order))[1:]
    ranks = [list(made(data, 5, rank=rank, world=2).read(order, 5)) for rank in range(2)]
    for whole, *of_ranks in zip(alone, *ranks, strict=True):
        assert torch.cat([share.pixels["numbers"] for share in of_ranks]).equal(whole.pixels["numbers"])
        assert [share.size for share in of_ranks] == [whole.size] * 2 == [len(whole)] * 2


@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 12))
def test_every_process_has_its_part_of_each_micro_batch(size, world, parts):
    if size < world:
        return
    alone = shares(size, 0, 1, min(parts, size // world))
    ranks = [shares(size, rank, world, parts) for rank in range(world)]
    for whole, *rows in zip(alone, *ranks, strict=True):
        assert [part.stop - part.start > 0 for part in rows] == [True] * world
        assert np.concatenate([np.arange(size)[part] for part in rows]).tolist() == np.arange(size)[whole].tolist()


def test_a_split_that_fits_in_memory_is_read_once(monkeypatch):
    reads = []
    data = split(10)
    monkeypatch.setattr(data, "read", lambda indices: reads.append(len(indices)) or data.pixels[indices])
    for _ in range(2):
        list(made(data, 5).read())
    assert reads == [1, 10, 1, 10]
    monkeypatch.setattr(batches, "KEPT_BYTES", 10)
    reads.clear()
    cut = made(data, 5)
    passes = [together(cut.read())[1] for _ in range(2)]
    assert reads == [1, 5, 5, 5, 5]
    np.testing.assert_array_equal(*passes)


@pytest.mark.usefixtures("read_anew")
def test_what_cannot_be_read_is_named_by_its_samples(monkeypatch):
    data = split(20)
    data.ids = np.array([f"sample-{at}" for at in range(20)])

    def damaged(indices):
        if 9 in indices:
            raise UserError("c.0.0: sample 9 is damaged")
        return data.pixels[indices]

    monkeypatch.setattr(data, "read", damaged)
    coming = made(data, 7).read()
    next(coming)
    names = "samples sample-7, sample-8, sample-9, sample-10, sample-11 and 2 more"
    with pytest.raises(UserError, match=rf"sample 9 is damaged\. The batch: {names}"):
        next(coming)


@pytest.mark.usefixtures("read_anew")
def test_an_error_that_is_no_users_keeps_its_kind(monkeypatch):
    data = split(4)
    cut = made(data, 2)

    def fails(indices):
        raise MemoryError("no room")

    monkeypatch.setattr(data, "read", fails)
    with pytest.raises(MemoryError, match="no room") as caught:
        list(cut.read())
    assert caught.value.__notes__ == ["while reading the batch: samples 0, 1"]


@pytest.mark.parametrize("prefetch", [0, 1, 3, 50])
def test_every_part_comes_whatever_the_prefetch(prefetch):
    parts = [np.arange(length) for length in range(1, 6)]
    assert list(read_ahead(len, parts, prefetch)) == [1, 2, 3, 4, 5]
    assert list(read_ahead(len, [], prefetch)) == []


def test_a_part_that_takes_longer_than_the_next_still_comes_first():
    second_done = threading.Event()

    def read(part):
        if part[0] == 0:
            assert second_done.wait(300)
        else:
            second_done.set()
        return int(part[0])

    assert list(read_ahead(read, [np.array([at]) for at in range(4)])) == [0, 1, 2, 3]


def test_no_more_is_read_ahead_than_asked_for():
    begun = []

    def read(part):
        begun.append(int(part[0]))
        return part

    parts = [np.array([at]) for at in range(20)]
    coming = read_ahead(read, parts, prefetch=3)
    for taken in range(1, 6):
        assert next(coming)[0] == taken - 1
        assert max(begun) < taken + 3
    coming.close()
    assert len(begun) <= 8


def test_a_caller_that_stops_early_is_not_kept_waiting_for_the_rest():
    begun = []

    def read(part):
        begun.append(part)
        return part

    for _ in read_ahead(read, [np.array([at]) for at in range(1000)]):
        break
    assert len(begun) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("read_anew")
def test_batches_reach_the_gpu_whole():
    data = split(2000)
    order = epoch_order(2000, 0, 0)
    coming = list(made(data, 64, torch.device("cuda")).read(order))
    assert {tensor.device.type for batch in coming for tensor in (batch.pixels["numbers"], batch.labels)} == {"cuda"}
    np.testing.assert_array_equal(together(coming)[1], data.pixels[order])
