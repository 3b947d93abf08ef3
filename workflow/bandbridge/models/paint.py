"""PAINT: models on the line between a zero-shot and a fine-tuned image encoder (Ilharco et al. 2022)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bandbridge.models.clip import Clip
from bandbridge.models.state_dicts import differences
from bandbridge.models.weights import Weights, load_metadata, load_weights

# In the metadata of weights at another place of a line than its end.
ALPHA = "alpha"


def interpolate(zero_shot: Mapping[str, Tensor], fine_tuned: Mapping[str, Tensor], alpha: float) -> Weights:
    """Weights on the line between two models: (1 - alpha) * zero_shot + alpha * fine_tuned (PAINT, eq. 1).

    Floating-point tensors are mixed in float32 and returned in their dtype; other buffers are taken from
    `zero_shot`. alpha = 0 and alpha = 1 return the end points exactly.

    Raises:
        ValueError: alpha outside [0, 1], or the two models differ in a name or a shape (the message lists them).
    """
    mixed = {name: torch.empty_like(tensor) for name, tensor in zero_shot.items()}
    interpolate_into(mixed, zero_shot, fine_tuned, alpha)
    return mixed


@torch.no_grad()
def interpolate_into(
    target: Mapping[str, Tensor], zero_shot: Mapping[str, Tensor], fine_tuned: Mapping[str, Tensor], alpha: float
) -> None:
    """Like `interpolate`, but the result is written to existing tensors, such as a model's, in their dtype.

    Takes no more memory than the largest tensor, which keeps the arithmetic in the processor's cache.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, expected a number in [0, 1]")
    _must_match(zero_shot, fine_tuned)
    largest = max((tensor.numel() for tensor in zero_shot.values()), default=0)
    device = next((tensor.device for tensor in zero_shot.values()), None)
    scratch = torch.empty(2, largest, device=device)
    for name, tensor in zero_shot.items():
        if not tensor.is_floating_point() or alpha == 0:
            target[name].copy_(tensor)
        elif alpha == 1:
            target[name].copy_(fine_tuned[name].to(tensor.dtype))
        else:
            start, end = (row[: tensor.numel()].view_as(tensor) for row in scratch)
            torch.mul(tensor.float(), 1 - alpha, out=start)
            torch.mul(fine_tuned[name].float(), alpha, out=end)
            target[name].copy_(start.add_(end).to(tensor.dtype))


def patch(clip: Clip, fine_tuned: Path | None, alpha: float) -> Clip:
    """Give `clip`'s image encoder the weights at `alpha` on the line to a fine-tuned file; returns `clip`.

    Args:
        clip: the model at alpha 0.
        fine_tuned: None if `alpha` is 0.
        alpha: at most `end_alpha` of the file.
    """
    if fine_tuned is None:
        if alpha:
            raise ValueError(f"alpha {alpha} without fine-tuned weights; only 0 needs none")
        return clip
    mixed = interpolate(clip.visual.state_dict(), load_weights(fine_tuned), alpha / end_alpha(fine_tuned))
    clip.visual.load_state_dict(mixed)
    return clip


def end_alpha(fine_tuned: Path) -> float:
    """The alpha of the weights in a file: 1, or that at which a patched model that came by file was patched."""
    return float(load_metadata(fine_tuned).get(ALPHA, 1))


def add_task_vectors(
    zero_shot: Mapping[str, Tensor], fine_tuned: Sequence[Mapping[str, Tensor]], coefficients: Sequence[float]
) -> Weights:
    """zero_shot + sum_i coefficient_i * (fine_tuned_i - zero_shot): patching in parallel (PAINT, section 5).

    Types and buffers as in `interpolate`.

    Raises:
        ValueError: the models differ in a name or a shape (the message lists them).
    """
    for weights in fine_tuned:
        _must_match(zero_shot, weights)
    result = {name: tensor.clone() for name, tensor in zero_shot.items()}
    for name, tensor in zero_shot.items():
        if tensor.is_floating_point():
            start = tensor.float()
            parts = zip(fine_tuned, coefficients, strict=True)
            total = start + sum(alpha * (weights[name].float() - start) for weights, alpha in parts)
            result[name] = total.to(tensor.dtype)
    return result


def _must_match(zero_shot: Mapping[str, Tensor], fine_tuned: Mapping[str, Tensor]) -> None:
    faults = differences(fine_tuned, zero_shot)
    if faults:
        raise ValueError(
            f"the two models cannot be mixed; compared with the zero-shot one, the fine-tuned has {faults}"
        )
