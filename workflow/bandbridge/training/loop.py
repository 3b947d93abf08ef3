"""The training loop of every stage: optimiser, schedule, validation, checkpoints, any number of processes."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Protocol, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress, remark
from bandbridge.models.device import Precision, announce_precision, attention, settle_precision
from bandbridge.store.order import epoch_order
from bandbridge.training.batches import Batch, Batches, Split
from bandbridge.training.checkpoints import Checkpoints, Content, Requeue, Saving, stop_signals
from bandbridge.training.distributed import ALONE, World, spread
from bandbridge.training.draws import rows_of_a_batch
from bandbridge.training.encoders import prepare
from bandbridge.training.gradients import Gradients
from bandbridge.training.guard import WINDOW, Guard
from bandbridge.training.history import Monitor, Record, precisions, short, write_history
from bandbridge.training.recipes import Recipe
from bandbridge.training.schedules import warmup_cosine
from bandbridge.training.validation import Predictions, headlines

__all__ = ["Predictions", "Record", "Stage", "State", "Terms", "fit", "precisions", "write_history"]

STEPS_PER_RECORD = 10

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
        Where several processes or `accumulate` share a batch, the terms of the shares are averaged by their samples:
        exact for means over samples; a contrastive loss then contrasts the samples of each share.

        Args:
            pixels: as stored, on the device.
            labels: (n, class) of 0 and 1, on the device.
            generator: draws the random changes to the pictures; None for validation, which changes nothing.
        """


class ScoredStage(Stage, Protocol):
    """A stage whose validation is scored like a zero-shot classifier, besides its loss."""

    def validation(self, pixels: Tensor, labels: Tensor) -> tuple[Terms, dict[str, Predictions]]:
        """`terms` without changes to the pictures, and what is predicted, by task; '' where there is one task alone."""


@dataclass
class State:
    """All that changes in the course of training, the modules' weights aside.

    Attributes:
        generator: on the CPU; draws the random changes to samples, alike in all processes.
        scaler: of the loss, for float16; otherwise it does nothing.
        step, epoch: how many are done.
        done: samples of the current epoch that are done, over all processes.
        recent: the terms of the steps since the last record, over all processes.
    """

    optimiser: torch.optim.Optimizer
    generator: Generator
    scaler: torch.amp.GradScaler
    guard: Guard
    step: int = 0
    epoch: int = 0
    done: int = 0
    history: list[Record] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What stays the same in the course of training.

    Attributes:
        batches: batch_size of the recipe counts the samples of all processes and of all `accumulate` parts.
        precision: of the forward passes, which decides whether the loss is scaled.
        total: steps of the whole training.
    """

    stage: Stage
    recipe: Recipe
    seed: int
    device: torch.device
    precision: Precision
    world: World
    batches: Batches
    validation: Batches | None
    total: int


def fit(
    stage: Stage,
    train: Split,
    val: Split | None,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
    remarks: Sequence[str] = (),
) -> list[Record]:
    """Train a stage's module in place, on `device`, and leave it in eval mode.

    With `saving`, a run that was stopped goes on where its last checkpoint was and ends as if it had never stopped.
    The checkpoints stay: whoever writes the trained weights removes them then.

    Args:
        val: validated on after epochs; None for no validation.
        seed: of the order of samples and of the random changes to them.
        saving: where checkpoints are kept; None for none.
        world: the processes that train together.
        remarks: what a reader of the results should know of the data; they are told as the training starts and kept in
            the history, as is a warm-up that leaves little of the training.

    Returns: a record of the precision (another one where a resumed run changes it), of each remark, of every tenth
    step (means since the last one) and of every validation, for `write_history`.

    Raises:
        UserError: no samples to train on, an option that cannot be had here, or training that has gone wrong: a loss
            that is not finite or grows without end (the message names the step and its samples).
        Requeue: a signal asked to stop; the run is saved.
    """
    if len(train) == 0:
        raise UserError(f"{stage.name}: there are no training samples.")
    run = _run(stage, train, val, recipe, seed, device, world)
    checkpoints = None if saving is None else Checkpoints(saving, world)
    state = _start(run, checkpoints)
    _note_remarks(run, state, remarks)
    pending: list[Terms] = []
    with (
        stop_signals(checkpoints is not None) as stopped,
        Gradients(state.optimiser.param_groups[0]["params"], world) as gradients,
        Monitor(saving, world, state.history, state.step, device) as monitor,
    ):
        steps = monitor.clock.waiting(_all_batches(run, state))
        if world.is_first:
            if saving is not None:
                print(f"{stage.name}: checkpoints every {saving.minutes:g} min in {saving.directory}", flush=True)
            steps = progress(steps, stage.name, run.total, "steps", lambda: _note(state.history), done=state.step)
        for batch, size in steps:
            pending.append(_update(run, state, gradients, batch, size))
            monitor.clock.count(size)
            epoch_ends = state.done == run.batches.samples
            if epoch_ends or state.step % STEPS_PER_RECORD == 0:
                _settle(run, state, pending, checkpoints)
                _add(state, monitor, _record(state))
                monitor.speed(state.step, state.epoch + 1)
            if epoch_ends and _validates(run, state, saving):
                _add(state, monitor, _validate(run, state))
            if checkpoints is not None and state.step < run.total:
                stop, due = world.largest(stopped(), checkpoints.due)
                if stop or due:
                    _settle(run, state, pending, checkpoints)
                    checkpoints.save(_content(run, state))
                if stop:
                    raise Requeue
    stage.trained.eval()
    return state.history


def _run(
    stage: Stage, train: Split, val: Split | None, recipe: Recipe, seed: int, device: torch.device, world: World
) -> Run:
    precision = settle_precision(recipe.precision, device)
    prepare(stage.trained, recipe)
    shared = {"rank": world.rank, "world": world.world_size}
    batches = Batches(train, recipe.batch_size, device, **shared)
    if min(batches.sizes()) < world.world_size:
        raise UserError(
            f"{stage.name}: {len(train)} training samples in batches of {recipe.batch_size} make one of "
            f"{min(batches.sizes())}, too few for {world.world_size} processes; use a larger batch_size or fewer."
        )
    validation = None
    if val is not None and len(val):
        validation = Batches(val, recipe.batch_size, device)
        if min(validation.sizes()) >= world.world_size > 1:
            validation = Batches(val, recipe.batch_size, device, **shared)
    return Run(stage, recipe, seed, device, precision, world, batches, validation, recipe.epochs * len(batches))


def _start(run: Run, checkpoints: Checkpoints | None) -> State:
    run.stage.trained.train()
    if not run.world.is_first:
        torch.manual_seed(torch.initial_seed() + run.world.rank)  # dropout differs between processes
    # The fused step takes a third of the time of the others, on CPUs too.
    optimiser = torch.optim.AdamW(
        [parameter for parameter in run.stage.trained.parameters() if parameter.requires_grad],
        lr=run.recipe.learning_rate,
        weight_decay=run.recipe.weight_decay,
        fused=True,
    )
    scaler = torch.amp.GradScaler(run.device.type, enabled=run.precision.name == "float16")
    state = State(optimiser, Generator().manual_seed(run.seed), scaler, Guard(run.recipe.warmup_steps))
    content = None if checkpoints is None else checkpoints.load()
    if content is not None:
        _restore(run, state, content)
        print(f"{run.stage.name}: resumes after step {state.step} of {run.total}.", flush=True)
    _note_precision(run, state)
    spread(run.stage.trained, run.world)
    return state


def _note_precision(run: Run, state: State) -> None:
    """Report what the training computes in, and keep it in the history, also where a resumed one changes it."""
    before = precisions(state.history)
    if run.world.is_first and before and before[-1].partition(" ")[0] != run.precision.name:
        print(
            f"{run.stage.name}: until step {state.step} it computed in {before[-1]}, on this machine it continues in "
            f"{run.precision}; set a precision other than 'auto' to have one on all machines.",
            flush=True,
        )
    elif run.world.is_first:
        announce_precision(run.stage.name, run.recipe.precision, run.device)
    if not before or before[-1] != str(run.precision):
        state.history.append({"step": state.step, "epoch": state.epoch + 1, "precision": str(run.precision)})


def _note_remarks(run: Run, state: State, remarks: Sequence[str]) -> None:
    """Tell the remarks, and keep those that the history of an interrupted run does not have yet."""
    warmup, total = run.recipe.warmup_steps, run.total
    short_of_it = f"{run.stage.name}: the warm-up takes {warmup:,} of the training's {total:,} steps"
    if warmup >= total:
        remarks = [*remarks, f"{short_of_it}, so that the learning rate never comes down; lower warmup_steps."]
    elif 2 * warmup > total:
        remarks = [*remarks, f"{short_of_it}, more than half of it."]
    kept = {record["remark"] for record in state.history if "remark" in record}
    for text in remarks:
        if run.world.is_first:
            remark(text)
        if text not in kept:
            state.history.append({"step": state.step, "epoch": state.epoch + 1, "remark": text})


def _all_batches(run: Run, state: State) -> Iterator[tuple[Batch, int]]:
    """The batches that are left, each with its samples over all processes."""
    while state.epoch < run.recipe.epochs:
        order = epoch_order(run.batches.samples, run.seed, state.epoch)
        start = state.done
        yield from zip(run.batches.read(order, start), run.batches.sizes(start), strict=True)
        state.epoch += 1
        state.done = 0


def _update(run: Run, state: State, gradients: Gradients, batch: Batch, size: int) -> Terms:
    """One step of the optimiser; returns this process's part of the loss terms, and the norm of the gradient."""
    group = state.optimiser.param_groups[0]
    group["lr"] = run.recipe.learning_rate * warmup_cosine(state.step, run.recipe.warmup_steps, run.total)
    state.optimiser.zero_grad(set_to_none=True)
    sums: Terms = {}
    drawn = state.generator.get_state()
    first = size * run.world.rank // run.world.world_size
    parts = _parts(len(batch[0]), run.recipe.accumulate)
    for begin, end in parts:
        # Each part draws for the whole batch.
        state.generator.set_state(drawn)
        with rows_of_a_batch(state.generator, first + begin, first + end, size):
            terms = run.stage.terms(batch[0][begin:end], batch[1][begin:end], state.generator)
        share = (end - begin) / size
        with attention(run.device), gradients.summed(last=end == len(batch[0])):
            state.scaler.scale(terms["loss"] * share).backward()
        sums = {name: sums.get(name, 0) + term.detach() * share for name, term in terms.items()}
    state.scaler.unscale_(state.optimiser)
    norm = clip_grad_norm_(group["params"], run.recipe.clip_norm)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.step += 1
    state.done += size
    return sums | {"gradient_norm": norm.detach() / run.world.world_size}


def _parts(n: int, count: int) -> list[tuple[int, int]]:
    """Where the micro-batches of n samples begin and end; none is empty."""
    count = min(count, n)
    return [(n * part // count, n * (part + 1) // count) for part in range(count)]


def _settle(run: Run, state: State, pending: list[Terms], checkpoints: Checkpoints | None) -> None:
    """Take the numbers of the steps since the last time from the device, over all processes, and look at them.

    Done every few steps only, so that a GPU never waits for a step to be looked at.
    """
    if not pending:
        return
    names = list(pending[0])
    numbers = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in pending]).cpu()
    first = state.step - len(pending) + 1
    pending.clear()
    for step, values in enumerate(run.world.sums(numbers).tolist(), start=first):
        terms = dict(zip(names, values, strict=True))
        # A scaler skips the steps whose gradient was too large for float16, and scales the next ones less.
        norm = 0.0 if state.scaler.is_enabled() else terms["gradient_norm"]
        complaint = state.guard.complaint(step, terms["loss"], norm)
        if complaint:
            raise _gone_wrong(run, step, complaint, checkpoints)
        state.recent.append(terms)


def _gone_wrong(run: Run, step: int, complaint: str, checkpoints: Checkpoints | None) -> UserError:
    epoch, number = divmod(step - 1, len(run.batches))
    rate = run.recipe.learning_rate * warmup_cosine(step - 1, run.recipe.warmup_steps, run.total)
    names = run.batches.names(epoch_order(run.batches.samples, run.seed, epoch), number)
    latest = None if checkpoints is None else checkpoints.latest
    return UserError(
        f"{run.stage.name}: {complaint} at step {step} (epoch {epoch + 1}), learning rate {rate:.4g}, {names}. "
        f"Last good checkpoint: {latest or 'none'}. "
        "A lower learning_rate, more warmup_steps or precision: float32 usually helps."
    )


def _record(state: State) -> Record:
    means = {name: _mean([terms[name] for terms in state.recent]) for name in state.recent[0]}
    state.recent.clear()
    rate = state.optimiser.param_groups[0]["lr"]
    return {"step": state.step, "epoch": state.epoch + 1, "learning_rate": short(rate), **means}


def _mean(values: list[float]) -> float | None:
    """Of the finite ones: a step that a scaler skipped has no norm of its gradient."""
    finite = [value for value in values if math.isfinite(value)]
    return short(torch.tensor(finite).mean().item()) if finite else None


def _note(history: list[Record]) -> str:
    """The latest loss, and the latest score on validation."""
    latest: dict[str, Any] = {}
    for record in history[-STEPS_PER_RECORD:]:
        latest |= {name: value for name, value in record.items() if name == "loss" or name.startswith("val_")}
    return ", ".join(f"{name} {value:.4g}" for name, value in latest.items() if value is not None)


def _add(state: State, monitor: Monitor, record: Record) -> None:
    state.history.append(record)
    monitor.record(record)


def _validates(run: Run, state: State, saving: Saving | None) -> bool:
    every = 1 if saving is None else saving.validate_epochs
    return run.validation is not None and (state.step == run.total or (state.epoch + 1) % every == 0)


@torch.inference_mode()
def _validate(run: Run, state: State) -> Record:
    """Mean of each loss term over a split, without random changes, and how well its labels are predicted."""
    assert run.validation is not None
    trained = run.stage.trained
    trained.eval()
    # Statistics that batch normalisation gathered differ between processes: those of rank 0 count.
    spread(trained, run.world)
    scored = hasattr(run.stage, "validation")
    sums: Terms = {}
    count = 0
    predicted: dict[str, list[Predictions]] = {}
    for pixels, labels in run.validation.read():
        terms, predictions = (
            cast(ScoredStage, run.stage).validation(pixels, labels)
            if scored
            else (run.stage.terms(pixels, labels, None), {})
        )
        sums = {name: sums.get(name, 0) + term * len(pixels) for name, term in terms.items()}
        count += len(pixels)
        for task, (metric, logits, truth) in predictions.items():
            predicted.setdefault(task, []).append((metric, logits.float().cpu(), truth.cpu()))
    trained.train()
    found = torch.stack([*sums.values(), torch.tensor(float(count), device=run.device)]).cpu()
    *totals, samples = run.world.sums(found).tolist()
    means = {f"val_{name}": short(total / samples) for name, total in zip(sums, totals, strict=True)}
    if run.validation.shared:
        parts = run.world.gather(predicted)
        predicted = {
            task: [batch for part in parts for batch in part.get(task, [])] for task in sorted({*chain(*parts)})
        }
    return {"step": state.step, "epoch": state.epoch + 1, **means, **headlines(predicted)}


def _content(run: Run, state: State) -> Content:
    """A checkpoint: everything that the rest of the run depends on."""
    own: dict[str, Any] = {"generator": state.generator.get_state(), "torch": torch.get_rng_state()}
    if run.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(run.device)
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
        "ranks": run.world.gather(own),
    }


def _restore(run: Run, state: State, content: Content) -> None:
    run.stage.trained.load_state_dict(content["module"])
    state.optimiser.load_state_dict(content["optimiser"])
    # A checkpoint of a machine that computed in another precision holds no state of a scaler.
    if state.scaler.is_enabled() and content["scaler"]:
        state.scaler.load_state_dict(content["scaler"])
    guard = content["guard"]
    state.guard = Guard(guard["warmup"], deque(guard["recent"], maxlen=WINDOW), guard["best"])
    state.step, state.epoch, state.done = content["step"], content["epoch"], content["done"]
    state.history, state.recent = content["history"], content["recent"]
    ranks = content["ranks"]
    # All processes draw the same changes to samples.
    state.generator.set_state(ranks[0]["generator"])
    # With more processes than before, the new ones begin their own draws, those of dropout.
    if run.world.rank < len(ranks):
        own = ranks[run.world.rank]
        torch.set_rng_state(own["torch"])
        if "cuda" in own and run.device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda"], run.device)
