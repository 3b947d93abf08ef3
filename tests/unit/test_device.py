"""Where models run, and how."""

import pytest
import torch

from bandbridge.device import autocast, set_up


@pytest.fixture(autouse=True)
def as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_a_seed_gives_the_same_draws_on_the_threads_asked_for():
    draws = []
    for seed in (3, 3, 4):
        device = set_up(threads=2, seed=seed)
        draws.append(torch.randn(4))
    assert device == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert torch.get_num_threads() == 2
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_the_precision_is_that_of_the_forward_pass_alone(precision, dtype):
    layer = torch.nn.Linear(2, 2)
    with autocast(torch.device("cpu"), precision):
        result = layer(torch.zeros(1, 2))
    assert result.dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_attention_has_the_gradient_it_has_elsewhere():
    def gradient():
        query = torch.linspace(-2, 2, 120).view(2, 3, 5, 4).requires_grad_()
        torch.nn.functional.scaled_dot_product_attention(query, query.sin(), query.cos()).sum().backward()
        return query.grad

    with autocast(torch.device("cpu"), "float32"):
        found = gradient()
    torch.testing.assert_close(found, gradient())
