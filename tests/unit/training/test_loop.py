"""The training loop."""

import json
import math

import numpy as np
import pytest
import torch
from regression import CPU, Regression, recipe, split, watched, weights
from tiny import ALIGN, COMMON, FINETUNE, MemoryStore, tiny_clip, tiny_head
from torch import nn
from torch.nn.utils import clip_grad_norm_

from bandbridge.base.errors import UserError
from bandbridge.store.order import epoch_order
from bandbridge.training import loop
from bandbridge.training.checkpoints import Saving
from bandbridge.training.draws import seed_dropout
from bandbridge.training.finetune import Finetuning
from bandbridge.training.history import write_history
from bandbridge.training.loop import fit
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe, Recipe, warmup_cosine
from bandbridge.training.splits import store_source


def remarks(history):
    return [record["remark"] for record in history if "remark" in record]


@pytest.mark.parametrize(
    ("warmup", "said"),
    [(3, None), (7, "takes 7 of the training's 12 steps, more than half of it."), (12, "never comes down")],
)
def test_a_warm_up_that_leaves_little_of_the_training_is_noted(warmup, said, capsys):
    history = fit(Regression(), split(), None, recipe(epochs=3, batch_size=4, warmup_steps=warmup), 0, CPU)
    assert history[-1]["step"] == 12
    assert [said in text for text in remarks(history)] == ([True] if said else [])
    assert ("Note: " in capsys.readouterr().err) is bool(said)


def test_remarks_on_the_data_are_told_and_kept_once_by_a_resumed_training(tmp_path, capsys):
    saving = Saving(tmp_path, minutes=0, keep=2, identity="x")
    quiet = recipe(warmup_steps=0)
    first = fit(Regression(), split(), None, quiet, 0, CPU, saving=saving, remarks=["3 samples are left out."])
    again = fit(Regression(), split(), None, quiet, 0, CPU, saving=saving, remarks=["3 samples are left out."])
    assert remarks(first) == remarks(again) == ["3 samples are left out."]
    assert capsys.readouterr().err.count("Note: 3 samples are left out.") == 2


class InOrder(Recipe):
    shuffle = False


@pytest.mark.parametrize("shuffle", [True, False])
def test_training_is_the_plain_loop_it_claims_to_be(shuffle):
    stage, plain, data = Regression(), Regression(), split(10)
    torch.manual_seed(3)
    fit(stage, data, None, recipe() if shuffle else InOrder.from_config(COMMON), 7, CPU)

    torch.manual_seed(3)
    model = plain.trained.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=COMMON["learning_rate"], weight_decay=COMMON["weight_decay"])
    step = 0
    for epoch in range(2):
        order = epoch_order(10, 7, epoch) if shuffle else np.arange(10)
        for part in np.split(order, 2):
            for group in optimiser.param_groups:
                group["lr"] = COMMON["learning_rate"] * warmup_cosine(step, COMMON["warmup_steps"], 4)
            batch = data.read(part)
            seed_dropout(CPU, 7, step, 0, 0)
            loss = (model(batch.pixels["numbers"]) - batch.labels.float()).square()
            optimiser.zero_grad()
            loss.mean().backward()
            clip_grad_norm_(model.parameters(), COMMON["clip_norm"])
            optimiser.step()
            step += 1
    torch.testing.assert_close(weights(stage), weights(plain), atol=1e-6, rtol=0)


def test_one_seed_gives_one_model_and_one_history():
    runs = []
    for seed in (1, 1, 2):
        stage = Regression(noise=0.5)
        torch.manual_seed(0)
        history = fit(stage, split(), split(5, seed=1), recipe(), seed, CPU)
        runs.append((weights(stage), history))
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not torch.equal(runs[0][0], runs[2][0])


def test_the_history_has_steps_and_epochs(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "STEPS_PER_RECORD", 2)
    stage = Regression()
    history = fit(stage, split(15), split(4), recipe(), 0, CPU)
    assert history[0] == {"step": 0, "epoch": 1, "precision": "float32 (as configured)"}
    assert [(record["step"], record["epoch"], "val_loss" in record) for record in history[1:]] == [
        (2, 1, False),
        (3, 1, False),
        (3, 1, True),
        (4, 2, False),
        (6, 2, False),
        (6, 2, True),
    ]
    assert set(history[1]) == {"step", "epoch", "learning_rate", "loss", "worst", "gradient_norm"}
    assert set(history[3]) == {"step", "epoch", "val_loss", "val_worst"}
    write_history(tmp_path / "history.jsonl", history)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history


def test_the_validation_loss_is_the_mean_over_samples_in_eval_mode():
    stage, val = Regression(noise=9.0), split(7, seed=2)
    history = fit(stage, split(), val, recipe(epochs=1), 0, CPU)
    with torch.no_grad():
        batch = val.read(np.arange(7))
        expected = (stage.trained(batch.pixels["numbers"]) - batch.labels.float()).square().mean()
    assert history[-1]["val_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert [training for _, training in stage.seen] == [True] * 3 + [False] * 2
    assert not stage.trained.training


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step():
    stage = Regression()
    watched(stage, after=lambda terms: terms | {"loss": terms["loss"] * (math.nan if len(stage.seen) == 4 else 1)})
    with pytest.raises(UserError, match=r"Regression: .* step 4 \(epoch 2\)"):
        fit(stage, split(15), None, recipe(), 0, CPU)


def test_an_empty_train_split_is_refused():
    with pytest.raises(UserError, match="no training samples"):
        fit(Regression(), split(0), None, recipe(), 0, CPU)


def test_frozen_parameters_stay():
    stage = Regression()
    stage.trained[0].requires_grad_(False)
    before = stage.trained[0].weight.clone()
    fit(stage, split(), None, recipe(), 0, CPU)
    assert torch.equal(stage.trained[0].weight, before)


def test_recipes_come_from_the_configs_lists():
    assert AlignRecipe.from_config(ALIGN).crop_scale == (0.9, 1.0)
    assert FinetuneRecipe.from_config(FINETUNE).augmentation.jitter == (0.4, 0.4, 0.4)
    assert hash(FinetuneRecipe.from_config(FINETUNE)) == hash(FinetuneRecipe.from_config(FINETUNE))
    with pytest.raises(TypeError, match="learning_rat"):
        Recipe.from_config({**COMMON, "learning_rat": 1})


def finetuning(clip=None, **changes):
    """A fine-tuning with augmentation; its history, and the model."""
    store, clip = MemoryStore(modality="rgb", train=14), clip or tiny_clip()
    how = FinetuneRecipe.from_config(FINETUNE | changes)
    stage = Finetuning(clip, [tiny_head()], [store], how, CPU)
    history = fit(stage, store_source(store, "train"), store_source(store, "val"), how, 5, CPU)
    return [record[key] for record in history for key in ("loss", "gradient_norm", "val_loss") if key in record], clip


@pytest.mark.slow
def test_micro_batches_change_no_number_beyond_rounding():
    expected, _ = finetuning()
    assert finetuning(accumulate=2)[0] == pytest.approx(expected, rel=1e-5)
    assert finetuning(accumulate=100)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_gradient_checkpointing_changes_nothing_but_memory():
    expected, one = finetuning()
    network, other = finetuning(checkpoint_gradients=True)
    assert network == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(other.visual.state_dict(), one.visual.state_dict(), atol=1e-6, rtol=1e-5)
    assert other.visual.transformer.grad_checkpointing
    assert not one.visual.transformer.grad_checkpointing


def test_an_encoder_without_gradient_checkpointing_is_named():
    with pytest.raises(UserError, match="checkpoint_gradients is true, but Sequential"):
        fit(Regression(), split(), None, recipe(checkpoint_gradients=True), 0, CPU)


@pytest.mark.slow
def test_a_compiled_encoder_trains_alike_and_keeps_the_names_of_its_weights(monkeypatch):
    compiled = []

    def compile_without_a_compiler(module):
        compiled.append(module)
        module.forward = torch.compile(module.forward, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_without_a_compiler)
    expected, one = finetuning()
    network, other = finetuning(compile=True, accumulate=2)
    assert compiled == [other.visual]
    assert network == pytest.approx(expected, rel=1e-5)
    assert set(other.visual.state_dict()) == set(one.visual.state_dict())


def test_float16_needs_a_gpu():
    with pytest.raises(UserError, match="float16"):
        fit(Regression(), split(), None, recipe(precision="float16"), 0, CPU)


def test_validation_can_be_rarer_but_ends_the_training(tmp_path):
    saving = Saving(tmp_path, 60, 2, "a run", validate_epochs=2)
    history = fit(Regression(), split(), split(4), recipe(epochs=5), 0, CPU, saving=saving)
    assert [record["epoch"] for record in history if "val_loss" in record] == [2, 4, 5]
