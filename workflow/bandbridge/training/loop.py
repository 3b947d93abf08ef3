"""The training loop of every stage: optimiser, schedule, validation, history."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bandbridge.errors import UserError
from bandbridge.files import whole_file
from bandbridge.order import epoch_order
from bandbridge.progress import progress
from bandbridge.training.batches import Batch, Batches, Split
from bandbridge.training.recipes import Recipe
from bandbridge.training.schedules import warmup_cosine

STEPS_PER_RECORD = 10

Record = dict[str, Any]
Terms = dict[str, Tensor]


class Stage(Protocol):
    """What one training stage adds to the loop.

    Attributes:
        name: for progress and messages.
        trained: the module whose parameters the optimiser moves.
    """

    name: str
    trained: nn.Module

    def terms(self, pixels: Tensor, labels: Tensor, generator: Generator | None) -> Terms:
        """The loss of a batch and its parts, scalars; 'loss' is what is minimised.

        Encoders run in the recipe's precision, all else in float32: rounded pictures would be other pictures.

        Args:
            pixels: as stored, on the device.
            labels: (n, class) of 0 and 1, on the device.
            generator: draws the random changes to the pictures; None for validation, which changes nothing.
        """


@dataclass
class State:
    """All that changes in the course of training, the modules' weights aside.

    Attributes:
        generator: on the CPU; draws the random changes to samples.
        step, epoch: how many are done.
    """

    optimiser: torch.optim.Optimizer
    generator: Generator
    step: int = 0
    epoch: int = 0
    history: list[Record] = field(default_factory=list)


def fit(stage: Stage, train: Split, val: Split | None, recipe: Recipe, seed: int, device: torch.device) -> list[Record]:
    """Train a stage's module in place, on `device`, and leave it in eval mode.

    Args:
        val: validated on after each epoch; None for no validation.
        seed: of the order of samples and of the random changes to them.

    Returns: a record of every tenth step (means since the last one) and of every epoch, for `write_history`.

    Raises:
        UserError: no samples to train on, or a loss that is not finite (the message names the step).
    """
    if len(train) == 0:
        raise UserError(f"{stage.name}: there are no training samples.")
    batches = Batches(train, recipe.batch_size, device)
    validation = Batches(val, recipe.batch_size, device) if val is not None and len(val) else None
    state = _start(stage, recipe, seed)
    total = recipe.epochs * len(batches)
    recent: list[Terms] = []
    for pixels, labels in progress(_all_batches(batches, state, recipe, seed), stage.name, total=total, unit="steps"):
        recent.append(_update(stage, pixels, labels, state, recipe, total))
        epoch_ends = state.step % len(batches) == 0
        if epoch_ends or state.step % STEPS_PER_RECORD == 0:
            state.history.append(_record(stage, state, recent))
            recent.clear()
        if epoch_ends and validation is not None:
            state.history.append(_validate(stage, validation, state))
    stage.trained.eval()
    return state.history


def write_history(path: Path, history: Sequence[Record]) -> None:
    """Write records as JSON, one object a line; numbers keep six significant digits."""
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")


def _start(stage: Stage, recipe: Recipe, seed: int) -> State:
    stage.trained.train()
    # The fused step takes a third of the time of the others, on CPUs too.
    optimiser = torch.optim.AdamW(
        [parameter for parameter in stage.trained.parameters() if parameter.requires_grad],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    return State(optimiser, Generator().manual_seed(seed))


def _all_batches(batches: Batches, state: State, recipe: Recipe, seed: int) -> Iterator[Batch]:
    while state.epoch < recipe.epochs:
        yield from batches.read(epoch_order(batches.samples, seed, state.epoch))
        state.epoch += 1


def _update(stage: Stage, pixels: Tensor, labels: Tensor, state: State, recipe: Recipe, total: int) -> Terms:
    """One step of the optimiser; returns the loss terms and the norm of the gradient before clipping."""
    group = state.optimiser.param_groups[0]
    group["lr"] = recipe.learning_rate * warmup_cosine(state.step, recipe.warmup_steps, total)
    terms = stage.terms(pixels, labels, state.generator)
    state.optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    norm = clip_grad_norm_(group["params"], recipe.clip_norm)
    state.optimiser.step()
    state.step += 1
    return {name: term.detach() for name, term in terms.items()} | {"gradient_norm": norm}


def _record(stage: Stage, state: State, recent: list[Terms]) -> Record:
    # Numbers leave the GPU here only, so that it never waits for a step to be looked at.
    losses = torch.stack([terms["loss"] for terms in recent])
    if not losses.isfinite().all():
        step = state.step - len(recent) + 1 + int(losses.isfinite().logical_not().byte().argmax())
        raise UserError(
            f"{stage.name}: the loss is not finite at step {step} (epoch {state.epoch + 1}). "
            "A lower learning_rate, more warmup_steps or precision: float32 usually mends that."
        )
    means = {name: torch.stack([terms[name] for terms in recent]).mean() for name in recent[0]}
    rate = state.optimiser.param_groups[0]["lr"]
    return {"step": state.step, "epoch": state.epoch + 1, "learning_rate": _short(rate), **_numbers(means)}


@torch.inference_mode()
def _validate(stage: Stage, batches: Batches, state: State) -> Record:
    """Mean of each loss term over a split, without random changes."""
    stage.trained.eval()
    sums: Terms = {}
    for pixels, labels in batches.read():
        terms = stage.terms(pixels, labels, None)
        sums = {name: sums.get(name, 0) + term * len(pixels) for name, term in terms.items()}
    stage.trained.train()
    means = {f"val_{name}": total / batches.samples for name, total in sums.items()}
    return {"step": state.step, "epoch": state.epoch + 1, **_numbers(means)}


def _numbers(terms: Terms) -> Record:
    return {name: _short(term.item()) for name, term in terms.items()}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
