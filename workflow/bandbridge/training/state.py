"""What a training is made of: what stays the same, what changes with its steps, and the checkpoint of the latter."""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from bandbridge.models.device import Precision
from bandbridge.training.batches import Batches
from bandbridge.training.checkpoints import Content
from bandbridge.training.distributed import World
from bandbridge.training.history import WINDOW, Guard, Record
from bandbridge.training.recipes import Recipe
from bandbridge.training.stages import Stage, Terms


@dataclass(frozen=True)
class Run:
    """What stays the same in the course of training.

    Attributes:
        model: the stage, or DistributedDataParallel around it where there are several processes.
        batches: batch_size of the recipe counts the samples of all processes and of all `accumulate` parts.
        precision: of the forward passes, which decides whether the loss is scaled.
        total: steps of the whole training.
        remarks: on how the training runs here, for its history.
    """

    stage: Stage
    model: nn.Module
    recipe: Recipe
    seed: int
    device: torch.device
    precision: Precision
    world: World
    batches: Batches
    validation: Batches | None
    total: int
    remarks: Sequence[str] = ()


@dataclass
class State:
    """All that changes in the course of training, except the modules' weights.

    Attributes:
        scaler: of the loss, for float16; otherwise it does nothing.
        step, epoch: how many are done.
        done: samples of the current epoch that are done, over all processes.
        pending: this process's part of the terms of the last steps, still on the device.
        recent: the terms of the steps since the last record, over all processes.
    """

    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    guard: Guard
    step: int = 0
    epoch: int = 0
    done: int = 0
    history: list[Record] = field(default_factory=list)
    pending: list[Terms] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)


def content_of(run: Run, state: State) -> Content:
    """A checkpoint: everything that the rest of the training depends on."""
    return {
        "step": state.step,
        "epoch": state.epoch,
        "done": state.done,
        "module": run.stage.trained.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "scaler": state.scaler.state_dict(),
        "guard": {**asdict(state.guard), "recent": list(state.guard.recent)},
        "history": state.history,
        "recent": state.recent,
    }


def restore(run: Run, state: State, content: Content) -> None:
    """Put a training where it was when a checkpoint was made of it."""
    run.stage.trained.load_state_dict(content["module"])
    state.optimiser.load_state_dict(content["optimiser"])
    # A checkpoint of a machine that computed in another precision holds no state of a scaler.
    if state.scaler.is_enabled() and content["scaler"]:
        state.scaler.load_state_dict(content["scaler"])
    guard = content["guard"]
    state.guard = Guard(guard["warmup"], deque(guard["recent"], maxlen=WINDOW), guard["best"])
    state.step, state.epoch, state.done = content["step"], content["epoch"], content["done"]
    state.history, state.recent = content["history"], content["recent"]
