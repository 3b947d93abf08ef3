"""Fine-tuning on several tasks jointly."""

import numpy as np
import pytest
import torch
from tiny import FINETUNE, UNCHANGED, MemoryStore, tiny_clip, tiny_head

from bandbridge.base.errors import UserError
from bandbridge.training.finetune import Finetuning, finetune
from bandbridge.training.losses import class_weights, label_loss
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.training.splits import store_source, union_source

CPU = torch.device("cpu")
FIRST = MemoryStore("s2", "multi", classes=3, side=12, train=14)
SECOND = MemoryStore("rgb", "single", classes=4, side=20, train=9, seed=1)
SECOND.attrs = {"dataset": "another"}


def recipe(**changes):
    return FinetuneRecipe.from_config(FINETUNE | changes)


def test_a_union_returns_each_sample_s_own_pixels_and_labels():
    source = union_source([FIRST, SECOND], "train")
    order = np.random.default_rng(0).permutation(len(source))
    whole = source.read(order)
    for begin, end in ((0, 23), (0, 9), (9, 23)):
        batch = whole.rows(begin, end)
        for task, (store, start) in enumerate([(FIRST, 0), (SECOND, 14)]):
            rows = batch.task == task
            places = order[begin:end][rows.numpy()] - start
            data = store.split("train")
            assert np.array_equal(batch.pixels[store.attrs["dataset"]].numpy(), data.pixels[places])
            assert np.array_equal(batch.labels[rows][:, : len(store.classes)].numpy(), data.labels[places])
    assert len(source) == 23
    assert [source.ids[0], source.ids[14]] == ["memory/0", "another/0"]


def test_a_union_takes_the_tasks_that_have_samples_of_a_split():
    without = MemoryStore("rgb", "single", classes=4, side=20, train=9, seed=1)
    without.attrs, without.splits = {"dataset": "another"}, ("train",)
    source = union_source([without, FIRST], "val")
    batch = source.kept(10**9).read(np.arange(len(source)))
    assert batch.task.tolist() == [1] * 6
    assert batch.pixels["another"].shape == (0, 20, 20, 3)
    assert np.array_equal(batch.pixels["memory"].numpy(), FIRST.split("val").pixels)
    assert union_source([without], "val") is None
    stage = Finetuning(tiny_clip(), [tiny_head(4), tiny_head(3)], [without, FIRST], recipe(), CPU)
    assert set(stage.validation(batch)[1]) == {"memory"}


def test_a_batch_s_loss_is_the_mean_over_samples_of_each_task_s_own():
    """Against the tasks' own losses, weighted by their samples; pictures of one size, so that nothing is resized."""
    other = MemoryStore("rgb", "single", classes=4, side=12, train=9, seed=1)
    other.attrs = {"dataset": "another"}
    how, clip, heads = recipe(augmentation=UNCHANGED), tiny_clip(), [tiny_head(3), tiny_head(4, 1)]
    with torch.no_grad():
        batch = union_source([FIRST, other], "val").read(np.arange(12))
        both = Finetuning(clip, heads, [FIRST, other], how, CPU)(batch)["loss"]
        each = [
            Finetuning(clip, [head], [store], how, CPU)(store_source(store, "val").read(np.arange(6)))["loss"]
            for head, store in zip(heads, (FIRST, other), strict=True)
        ]
    torch.testing.assert_close(both, sum(each) / 2)


@pytest.mark.slow
def test_classes_are_weighted_within_their_task():
    first, second = MemoryStore("s2", "multi", side=12), MemoryStore("rgb", "single", classes=4, side=12, seed=1)
    second.attrs = {"dataset": "another"}
    for store in (first, second):
        store.split("train").labels[:8] = np.eye(len(store.classes), dtype=np.uint8)[0]
    heads, how = [tiny_head(3), tiny_head(4, 1)], recipe(class_weights="root")
    batch = union_source([first, second], "val").read(np.arange(12))
    terms, predicted = Finetuning(tiny_clip(), heads, [first, second], how, CPU).validation(batch)
    assert [metric for metric, _, _ in predicted.values()] == ["map", "accuracy"]
    losses = []
    for store, (_, logits, labels) in zip((first, second), predicted.values(), strict=True):
        weights = torch.from_numpy(class_weights(store.split("train").labels, store.label_kind, "root"))
        losses.append(label_loss(logits, labels, store.label_kind, 0.2, weights))
    torch.testing.assert_close(terms["loss"], sum(losses) / 2)


@pytest.mark.slow
def test_both_tasks_are_learnt():
    clip = tiny_clip()
    history = finetune(
        clip, [tiny_head(3), tiny_head(4, 1)], [FIRST, SECOND], recipe(epochs=8, learning_rate=1e-2), 0, CPU
    )
    validations = [record for record in history if "val_loss" in record]
    assert validations[-1]["val_loss"] < validations[0]["val_loss"]
    assert {"val_map/memory", "val_accuracy/another"} <= set(validations[-1])


def test_a_head_of_other_classes_is_refused():
    with pytest.raises(UserError, match="The zero-shot head has the classes"):
        finetune(tiny_clip(), [tiny_head(3), tiny_head(3)], [FIRST, SECOND], recipe(), 0, CPU)
