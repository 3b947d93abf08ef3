"""The line between two models."""

import pytest
import torch
from tiny import same_weights, tiny_clip

from bandbridge.models.paint import add_task_vectors, interpolate, patch
from bandbridge.models.weights import save_weights


def weights(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in {"a": (3, 4), "b": (5,)}.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_ends_of_the_line_are_the_two_models_bit_by_bit(dtype):
    zero_shot, fine_tuned = weights(0, dtype), weights(1, dtype)
    assert same_weights(interpolate(zero_shot, fine_tuned, 0), zero_shot)
    assert same_weights(interpolate(zero_shot, fine_tuned, 1), fine_tuned)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9])
def test_between_the_ends_weights_are_mixed(alpha):
    zero_shot, fine_tuned = weights(0), weights(1)
    mixed = interpolate(zero_shot, fine_tuned, alpha)
    for name in zero_shot:
        torch.testing.assert_close(mixed[name], (1 - alpha) * zero_shot[name] + alpha * fine_tuned[name])


def test_half_precision_is_mixed_in_float32_and_kept():
    zero_shot, fine_tuned = weights(0, torch.float16), weights(1, torch.float16)
    mixed = interpolate(zero_shot, fine_tuned, 0.3)["a"]
    exact = 0.7 * zero_shot["a"].float() + 0.3 * fine_tuned["a"].float()
    assert mixed.dtype == torch.float16
    assert torch.equal(mixed, exact.half())


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_buffers_that_are_not_floats_come_from_the_zero_shot_model(alpha):
    counts = {"batches": torch.tensor(3)}, {"batches": torch.tensor(9)}
    assert interpolate(*counts, alpha)["batches"] == 3


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_the_result_shares_no_memory_with_the_models(alpha):
    zero_shot, fine_tuned = weights(0), weights(1)
    mixed = interpolate(zero_shot, fine_tuned, alpha)
    mixed["a"].zero_()
    assert same_weights(zero_shot, weights(0))
    assert same_weights(fine_tuned, weights(1))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_off_the_line_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        interpolate(weights(0), weights(1), alpha)


def test_models_that_differ_are_refused_with_the_names():
    zero_shot = weights(0) | {"only_zero": torch.zeros(1)}
    fine_tuned = weights(1) | {"b": torch.zeros(6), "only_tuned": torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r"b is \(6,\), expected \(5,\).*1 missing \(only_zero\); 1 unknown \(only_tuned\)"
    ):
        interpolate(zero_shot, fine_tuned, 0.5)


def test_patching_moves_the_image_encoder_alone(tmp_path):
    zero_shot, fine_tuned, patched = tiny_clip(0), tiny_clip(1), tiny_clip(0)
    save_weights(tmp_path / "model.safetensors", fine_tuned.visual.state_dict(), {})
    patch(patched, tmp_path / "model.safetensors", 0.25)
    expected = interpolate(zero_shot.visual.state_dict(), fine_tuned.visual.state_dict(), 0.25)
    assert same_weights(patched.visual.state_dict(), expected)
    text = {name: tensor for name, tensor in zero_shot.model.state_dict().items() if not name.startswith("visual.")}
    assert same_weights({name: patched.model.state_dict()[name] for name in text}, text)


def test_one_task_vector_is_the_line_itself():
    zero_shot, fine_tuned = weights(0), weights(1)
    added, mixed = add_task_vectors(zero_shot, [fine_tuned], [0.3]), interpolate(zero_shot, fine_tuned, 0.3)
    for name in zero_shot:
        torch.testing.assert_close(added[name], mixed[name])


def test_task_vectors_add_up_each_with_its_own_coefficient():
    start, first, second = weights(0), weights(1), weights(2)
    added = add_task_vectors(start, [first, second], [0.5, 0.25])
    for name in start:
        expected = 0.25 * start[name] + 0.5 * first[name] + 0.25 * second[name]
        torch.testing.assert_close(added[name], expected)
    assert same_weights(add_task_vectors(start, [first, second], [0, 0]), start)


def test_models_of_other_shapes_are_not_added():
    with pytest.raises(ValueError, match=r"1 missing \(a\)"):
        add_task_vectors(weights(0), [weights(1), {"b": torch.zeros(5)}], [1, 1])
