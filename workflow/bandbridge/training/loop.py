"""The training loop of every stage: optimiser, schedule, validation, checkpoints, any number of processes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, pairwise

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from bandbridge.base.errors import UserError
from bandbridge.base.progress import progress
from bandbridge.metrics.resampled import headline_score
from bandbridge.models.device import attention, settle_precision
from bandbridge.store.order import Indices, epoch_order
from bandbridge.training.batches import Batch, Batches, Source, shares
from bandbridge.training.checkpoints import Checkpoints, Requeue, Saving, stop_signals
from bandbridge.training.determinism import hold_to_determinism
from bandbridge.training.distributed import ALONE, World, in_parallel, spread_buffers
from bandbridge.training.draws import Draws, seed_dropout
from bandbridge.training.encoders import prepare
from bandbridge.training.history import Guard, Monitor, Record, latest_scores, mean, note_precision, note_remarks, short
from bandbridge.training.recipes import Recipe, warmup_cosine
from bandbridge.training.stages import Predictions, Stage, Terms
from bandbridge.training.state import Run, State, content_of, restore

STEPS_PER_RECORD = 10


def fit(  # noqa: PLR0913 (half of them are keyword-only options)
    stage: Stage,
    train: Source | None,
    val: Source | None,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    *,
    saving: Saving | None = None,
    world: World = ALONE,
    remarks: Sequence[str] = (),
) -> list[Record]:
    """Train a stage's module in place, on `device`, and leave it in eval mode.

    With `saving`, a run that was stopped resumes from its last checkpoint and ends as if it had never stopped. The
    checkpoints stay: whoever writes the trained weights removes them then.

    Args:
        val: validated on after epochs; None for no validation.
        seed: of the order of samples and of the random changes to them.
        saving: where checkpoints are kept; None for none.
        world: the processes that train together.
        remarks: what a reader of the results should know of the data; they are reported as the training starts and kept
            in the history, as is a warm-up that leaves little of the training.

    Returns:
        a record of the precision (another one where a resumed run changes it), of each remark, of every tenth step
        (means since the last one) and of every validation, for `write_history`.

    Raises:
        UserError: no samples to train on, an option that this machine or this encoder cannot follow, or training that
            has gone wrong: a loss that is not finite or grows without end (the message names the step and its samples).
        Requeue: a signal asked to stop; the run is saved.
    """
    if not train:
        raise UserError(f"{stage.name}: there are no training samples.")
    run = _set_up(stage, train, val, recipe, seed, device, world)
    checkpoints = None if saving is None else Checkpoints(saving, world)
    state = _start(run, checkpoints, [*remarks, *run.remarks])
    with (
        stop_signals(checkpoints is not None) as stopped,
        Monitor(saving, world, state.history, state.step, device) as monitor,
    ):
        steps = monitor.clock.waiting(_remaining_batches(run, state))
        if world.is_first:
            if saving is not None:
                print(f"{stage.name}: checkpoints every {saving.minutes:g} min in {saving.directory}", flush=True)
            steps = progress(steps, stage.name, run.total, "steps", lambda: latest_scores(state.history), state.step)
        for batch in steps:
            state.pending.append(_step(run, state, batch))
            monitor.clock.count(batch.size)
            epoch_ends = state.done == run.batches.samples
            if epoch_ends or state.step % STEPS_PER_RECORD == 0:
                _settle(run, state, checkpoints)
                _add(state, monitor, _record(state))
                monitor.speed(state.step, state.epoch + 1)
            if epoch_ends and _validates(run, state, saving):
                _add(state, monitor, _validate(run, state))
            if checkpoints is not None and state.step < run.total:
                stop, due = world.largest(stopped(), checkpoints.due)
                if stop or due:
                    _settle(run, state, checkpoints)
                    checkpoints.save(content_of(run, state))
                if stop:
                    raise Requeue
    stage.eval()
    return state.history


def _set_up(
    stage: Stage, train: Source, val: Source | None, recipe: Recipe, seed: int, device: torch.device, world: World
) -> Run:
    precision = settle_precision(recipe.precision, device)
    prepare(stage.trained, recipe)
    shared = {"rank": world.rank, "world": world.world_size}
    batches = Batches(train, recipe.batch_size, device, **shared, parts=recipe.accumulate)
    if min(batches.sizes()) < world.world_size:
        raise UserError(
            f"{stage.name}: {len(train)} training samples in batches of {recipe.batch_size} make one of "
            f"{min(batches.sizes())}, too few for {world.world_size} processes; use a larger batch_size or fewer."
        )
    validation = None
    if val:
        validation = Batches(val, recipe.batch_size, device)
        if min(validation.sizes()) >= world.world_size > 1:
            validation = Batches(val, recipe.batch_size, device, **shared)
    total = recipe.epochs * len(batches)
    run = Run(stage, stage, recipe, seed, device, precision, world, batches, validation, total)
    held = _held_to_determinism(run) if device.type == "cuda" else []
    return replace(run, model=in_parallel(stage, world), remarks=held)


def _held_to_determinism(run: Run) -> list[str]:
    """What is to be said of the training's determinism, once the first micro-batch was tried."""
    with closing(run.batches.read(_order(run, 0), draws=partial(Draws.of, run.seed, 0))) as batches:
        batch = next(batches)
    first = shares(batch.size, run.world.rank, run.world.world_size, run.recipe.accumulate)[0]
    with attention(run.device):
        remark = hold_to_determinism(run.stage, batch.rows(0, first.stop - first.start))
    return [] if remark is None else [f"{run.stage.name}: {remark}"]


def _start(run: Run, checkpoints: Checkpoints | None, remarks: Sequence[str]) -> State:
    """The state before the first step, or that of the last checkpoint."""
    run.stage.train()
    # The fused step takes a third of the time of the others, on CPUs too.
    optimiser = torch.optim.AdamW(
        [parameter for parameter in run.stage.trained.parameters() if parameter.requires_grad],
        lr=run.recipe.learning_rate,
        weight_decay=run.recipe.weight_decay,
        fused=True,
    )
    scaler = torch.amp.GradScaler(run.device.type, enabled=run.precision.name == "float16")
    state = State(optimiser, scaler, Guard(run.recipe.warmup_steps))
    content = None if checkpoints is None else checkpoints.load()
    if content is not None:
        restore(run, state, content)
        print(f"{run.stage.name}: resumes after step {state.step} of {run.total}.", flush=True)
    place = {"step": state.step, "epoch": state.epoch + 1}
    first, name = run.world.is_first, run.stage.name
    note_precision(state.history, place, name, run.precision, run.recipe.precision, run.device, aloud=first)
    note_remarks(state.history, place, name, remarks, run.recipe.warmup_steps, run.total, aloud=first)
    return state


def _remaining_batches(run: Run, state: State) -> Iterator[Batch]:
    while state.epoch < run.recipe.epochs:
        order = _order(run, state.epoch)
        yield from run.batches.read(order, state.done, partial(Draws.of, run.seed, state.epoch))
        state.epoch += 1
        state.done = 0


def _order(run: Run, epoch: int) -> Indices:
    """The samples of an epoch in their order."""
    samples = run.batches.samples
    return epoch_order(samples, run.seed, epoch) if run.recipe.shuffle else np.arange(samples, dtype=np.int64)


def _step(run: Run, state: State, batch: Batch) -> Terms:
    """One step of the optimiser; returns this process's part of the loss terms, and the norm of the gradient."""
    world = run.world.world_size
    group = state.optimiser.param_groups[0]
    group["lr"] = run.recipe.learning_rate * warmup_cosine(state.step, run.recipe.warmup_steps, run.total)
    state.optimiser.zero_grad(set_to_none=True)
    sums: Terms = {}
    lengths = [rows.stop - rows.start for rows in shares(batch.size, run.world.rank, world, run.recipe.accumulate)]
    for number, (begin, end) in enumerate(pairwise([0, *accumulate(lengths)])):
        part = batch.rows(begin, end)
        seed_dropout(run.device, run.seed, state.step, run.world.rank, number)
        share = len(part) / batch.size
        with attention(run.device), _gradients_summed(run, last=end == len(batch)):
            terms = run.model(part)
            # Gradients become the mean over processes, of losses that are to be added up.
            state.scaler.scale(terms["loss"] * (share * world)).backward()
        sums = {name: sums.get(name, 0) + term.detach() * share for name, term in terms.items()}
    state.scaler.unscale_(state.optimiser)
    norm = clip_grad_norm_(group["params"], run.recipe.clip_norm)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.step += 1
    state.done += batch.size
    return sums | {"gradient_norm": norm.detach() / world}


def _gradients_summed(run: Run, last: bool) -> AbstractContextManager[None]:
    """Around a forward and backward pass: processes exchange their gradients in the last one of a step alone."""
    if last or not isinstance(run.model, DistributedDataParallel):
        return nullcontext()
    return run.model.no_sync()


def _settle(run: Run, state: State, checkpoints: Checkpoints | None) -> None:
    """Take the terms of the pending steps from the device, add them up over all processes, and check them.

    Done every few steps only, so that a GPU never waits for a step to be checked.
    """
    if not state.pending:
        return
    names = list(state.pending[0])
    numbers = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in state.pending]).cpu()
    first = state.step - len(state.pending) + 1
    state.pending.clear()
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
    names = run.batches.names(_order(run, epoch), number)
    latest = None if checkpoints is None else checkpoints.latest
    return UserError(
        f"{run.stage.name}: {complaint} at step {step} (epoch {epoch + 1}), learning rate {rate:.4g}, {names}. "
        f"Last good checkpoint: {latest or 'none'}. "
        "A lower learning_rate, more warmup_steps or precision: float32 usually helps."
    )


def _record(state: State) -> Record:
    means = {name: mean([terms[name] for terms in state.recent]) for name in state.recent[0]}
    state.recent.clear()
    rate = state.optimiser.param_groups[0]["lr"]
    return {"step": state.step, "epoch": state.epoch + 1, "learning_rate": short(rate), **means}


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
    run.stage.eval()
    # Statistics that batch normalisation gathered differ between processes: those of rank 0 count.
    spread_buffers(run.stage.trained, run.world)
    sums: Terms = {}
    count = 0
    predicted: dict[str, list[Predictions]] = {}
    for batch in run.validation.read():
        terms, predictions = run.stage.validation(batch)
        sums = {name: sums.get(name, 0) + term * len(batch) for name, term in terms.items()}
        count += len(batch)
        for task, (metric, logits, labels) in predictions.items():
            predicted.setdefault(task, []).append((metric, logits.float().cpu(), labels.cpu()))
    run.stage.train()
    numbers = torch.stack([*sums.values(), torch.tensor(float(count), device=run.device)]).cpu()
    *totals, samples = run.world.sums(numbers).tolist()
    means = {f"val_{name}": short(total / samples) for name, total in zip(sums, totals, strict=True)}
    if run.validation.shared:
        parts = run.world.gather(predicted)
        predicted = {
            task: [batch for part in parts for batch in part.get(task, [])] for task in sorted({*chain(*parts)})
        }
    return {"step": state.step, "epoch": state.epoch + 1, **means, **headlines(predicted)}


def headlines(predicted: Mapping[str, Sequence[Predictions]]) -> dict[str, float | None]:
    """The headline metric of each task, 0..1, of its batches' predictions; None where it is undefined."""
    scores = {}
    for task, batches in predicted.items():
        metric = batches[0][0]
        logits = np.concatenate([logits.numpy() for _, logits, _ in batches])
        labels = np.concatenate([labels.numpy() for _, _, labels in batches])
        # The largest of scores with a NaN among them is the first NaN, which would count as a prediction.
        value = headline_score(metric, labels, logits) if np.isfinite(logits).all() else math.nan
        scores[f"val_{metric}" + (f"/{task}" if task else "")] = None if math.isnan(value) else short(value)
    return scores
