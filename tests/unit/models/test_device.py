"""Where models run, and how."""

import pytest
import torch
from torch import nn

from bandbridge.models.clip import new_clip
from bandbridge.models.device import autocast, cast_layers, set_up


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
        actual_gradient = gradient()
    torch.testing.assert_close(actual_gradient, gradient())


@torch.inference_mode()
def test_layers_cast_once_give_what_autocast_gives():
    torch.manual_seed(0)
    visual = new_clip("demo-vit").visual.eval()
    pictures = torch.randn(5, 3, 32, 32)
    with autocast(torch.device("cpu"), "bfloat16"):
        expected = visual(pictures)
        cast_layers(visual, "bfloat16")
        embedding = visual(pictures)
    torch.testing.assert_close(embedding, expected, atol=0.02 * expected.abs().max().item(), rtol=0)
    types = {name: weight.dtype for name, weight in visual.named_parameters()}
    assert types["transformer.resblocks.0.attn.in_proj_weight"] == types["conv1.weight"] == torch.bfloat16
    assert types["ln_post.weight"] == types["positional_embedding"] == torch.float32


def test_layers_that_compute_with_their_weights_are_not_cast():
    class Standardised(nn.Conv2d):
        pass

    model = nn.Sequential(Standardised(3, 4, 1), nn.Conv2d(3, 4, 1))
    cast_layers(model, "bfloat16")
    assert [layer.weight.dtype for layer in model] == [torch.float32, torch.bfloat16]


def test_layers_stay_as_they_are_for_float32():
    model = nn.Linear(2, 3)
    cast_layers(model, "float32")
    assert model.weight.dtype == torch.float32
