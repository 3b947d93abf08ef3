"""timm backbones for any number of bands, from scratch or from a local checkpoint in one of the usual layouts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers, stems
from bandbridge.models.weights import Weights, list_some

# Tensors that a backbone without a classifier does not use; under MoCo and DINO a projection takes the place.
CLASSIFIERS = ("head.", "fc.", "classifier.")
# The channel of an RGB checkpoint that provides a band's weights; every other band gets the mean of the three.
RGB_CHANNELS = {"B04": 0, "B03": 1, "B02": 2, "red": 0, "green": 1, "blue": 2}


def new_backbone(name: str, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """timm's model `name` with random weights and without its classifier.

    Args:
        name: of timm's.
        channels: of the input.
        options: further keyword arguments of timm.create_model.

    Raises:
        UserError: timm has no such model, or the model does not take the options.
    """
    import timm

    try:
        model: nn.Module = timm.create_model(name, in_chans=channels, num_classes=0, **options)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"timm cannot make the backbone '{name}': {error}") from error
    return model


def load_backbone(trunk: nn.Module, path: Path, bands: Sequence[str], widen: bool = False) -> str:
    """Load a local checkpoint into a backbone.

    The backbone's tensors may have any prefix (`state_dicts.choose`). A checkpoint may contain anything besides, and a
    classifier or projection (`CLASSIFIERS`) among them. Position embeddings for another image size are resampled
    bicubically. Every tensor of the backbone must be in the file: none stays random. Shapes do not reveal everything:
    MoCo-v3's ViT-S has 12 heads, that of SSL4EO-S12 has 6 like timm's; set that in the options.

    Args:
        trunk: made by `new_backbone`.
        path: of the checkpoint.
        bands: names of the trunk's channels.
        widen: the checkpoint takes RGB: spread its first layer over `bands`, see `widen_rgb`.

    Returns:
        What was loaded, in a sentence without its full stop.

    Raises:
        UserError: the file cannot be read (`checkpoint_files.read_checkpoint`), or tensors are missing, unknown, of
            another shape or without finite numbers; the message names them.
    """
    expected = trunk.state_dict()
    chosen = choose(read_checkpoint(path), expected, path)
    # Tensors on the backbone's level of the checkpoint may also be a classifier's.
    state = {
        name: value for name, value in chosen.tensors.items() if name in expected or not name.startswith(CLASSIFIERS)
    }
    unused = [*chosen.unused, *(name for name in chosen.tensors if name not in state)]
    done = [f"names under '{chosen.prefix}'"] if chosen.prefix else []
    done += [chosen.remark] if chosen.remark else []
    done += _widen(trunk, state, bands, path) if widen else []
    done += _resample_positions(trunk, state)
    must_fit(state, expected, path, f"the backbone ({type(trunk).__name__})", _advice(state, expected))
    must_hold_numbers(state, expected, path)
    trunk.load_state_dict(state)
    how = f" ({'; '.join(done)})" if done else ""
    rest = f"{len(unused)} not used ({list_some(stems(unused))})" if unused else "none unused"
    return f"{path.name}: {len(expected)} tensors loaded{how}; {rest}"


def widen_rgb(weight: Tensor, bands: Sequence[str]) -> Tensor:
    """The first convolution of an RGB model for other bands.

    B04, B03 and B02 (or bands named red, green and blue) get the weights of red, green and blue, every other band
    the mean of the three. All are then multiplied by 3 / len(bands): the weights of each output channel keep their sum
    over the input, so that equal values in all bands activate it as a grey image did. (The sum is kept if the
    bands include all of red, green and blue or none of them.) For only red, green and blue, only the order changes.

    Args:
        weight: (out, 3, y, x).
        bands: names of the new input channels.

    Returns:
        (out, band, y, x).
    """
    mean = weight.mean(dim=1)
    chosen = [weight[:, RGB_CHANNELS[band]] if band in RGB_CHANNELS else mean for band in bands]
    return torch.stack(chosen, dim=1) * (3 / len(bands))


def _first_convolution(trunk: nn.Module) -> str:
    """Name of the weight whose input are the bands."""
    config: Any = getattr(trunk, "pretrained_cfg", {})
    first = config.get("first_conv")
    if not isinstance(first, str):
        raise UserError(f"widen_rgb: timm does not record which layer of {type(trunk).__name__} takes the bands.")
    return f"{first}.weight"


def _widen(trunk: nn.Module, state: Weights, bands: Sequence[str], path: Path) -> list[str]:
    name = _first_convolution(trunk)
    if name not in state:
        return []  # reported as missing with the others
    if state[name].ndim != 4 or state[name].shape[1] != 3:
        raise UserError(
            f"{path}: widen_rgb is true, but {name} is {tuple(state[name].shape)}, which is not for red, green and "
            "blue (3). Set widen_rgb to false for a checkpoint that takes all bands."
        )
    state[name] = widen_rgb(state[name].float(), bands)
    return [f"{name} widened from RGB to {len(bands)} bands"]


def _resample_positions(trunk: nn.Module, state: Weights) -> list[str]:
    """Fit absolute position embeddings (1, tokens, width) of a square grid to the backbone's grid."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    ours = trunk.state_dict().get("pos_embed")
    grid = getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
    theirs = state.get("pos_embed")
    if ours is None or grid is None or theirs is None or theirs.ndim != 3 or ours.shape == theirs.shape:
        return []
    # A grid without an embedding for the class token has as many tokens as cells.
    prefix = ours.shape[1] - math.prod(grid)
    side = math.isqrt(max(theirs.shape[1] - prefix, 0))
    if side**2 + prefix != theirs.shape[1] or ours.shape[2] != theirs.shape[2]:
        return []  # reported as another shape with the others
    state["pos_embed"] = resample_abs_pos_embed(theirs, list(grid), [side, side], num_prefix_tokens=prefix)
    return [f"pos_embed resampled from {side} x {side} to {grid[0]} x {grid[1]}"]


def _advice(state: Weights, expected: Weights) -> str:
    for name in set(expected) & set(state):
        theirs, ours = state[name].shape, expected[name].shape
        if len(ours) == 4 and theirs[1:2] == (3,) and theirs == (ours[0], 3, *ours[2:]) != ours:
            return f"It takes RGB: set the student's widen_rgb to true to spread it over {ours[1]} bands."
    return ""
