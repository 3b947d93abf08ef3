"""How the encoder being trained runs: compiled, with gradient checkpointing."""

from torch import nn

from bandbridge.base.errors import UserError
from bandbridge.training.recipes import Recipe


def prepare(trained: nn.Module, recipe: Recipe) -> None:
    """Do what `compile` and `checkpoint_gradients` of the recipe ask for, in place; weights keep their names.

    Raises:
        UserError: the encoder knows no gradient checkpointing.
    """
    if recipe.checkpoint_gradients:
        _checkpoint_gradients(trained)
    if recipe.compile:
        encoder = getattr(trained, "visual", trained)
        encoder.compile()


def _checkpoint_gradients(trained: nn.Module) -> None:
    for module in (trained, getattr(trained, "trunk", None)):
        method = getattr(module, "set_grad_checkpointing", None)
        if method is None:
            continue
        try:
            method(True)
        except (AssertionError, NotImplementedError, TypeError):
            break
        return
    raise UserError(
        f"checkpoint_gradients is true, but {type(getattr(trained, 'trunk', trained)).__name__}, the encoder that is "
        "trained, has no gradient checkpointing; set it to false."
    )
