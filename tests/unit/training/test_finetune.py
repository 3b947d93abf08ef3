"""Fine-tuning the image encoder under its frozen head."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score
from small_store import load_script, make_store
from tiny import FINETUNE, UNCHANGED, MemoryStore, draws, same_weights, tiny_clip, tiny_head

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import spoken
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import load_clip, save_clip
from bandbridge.models.paint import interpolate
from bandbridge.models.weights import load_metadata, load_weights
from bandbridge.training.checkpoints import Saving
from bandbridge.training.finetune import Finetuning, finetune
from bandbridge.training.history import read_records
from bandbridge.training.losses import class_weights, label_loss
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.training.splits import store_source

CPU = torch.device("cpu")


def recipe(**changes):
    return FinetuneRecipe.from_config(FINETUNE | changes)


def trained(store, seed=0, classes=3, **changes):
    clip = tiny_clip()
    return clip, finetune(clip, [tiny_head(classes)], [store], recipe(**changes), seed, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["s2", "rgb"])
@pytest.mark.parametrize("kind", ["multi", "single"])
def test_the_image_encoder_learns_and_the_rest_of_clip_stays(modality, kind):
    store = MemoryStore(modality, kind, train=30)
    clip, history = trained(store, epochs=6, learning_rate=1e-2)
    losses = [record["val_loss"] for record in history if "val_loss" in record]
    assert losses[-1] < losses[0]
    before, after = tiny_clip().model.state_dict(), clip.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("visual.")}


def test_a_step_is_the_paper_s_step_in_plain_torch():
    store = MemoryStore(train=5, side=16)
    changes = {"epochs": 1, "warmup_steps": 1, "label_smoothing": 0.2, "augmentation": UNCHANGED}
    clip, _ = trained(store, **changes)

    plain, head, data = tiny_clip(), tiny_head(), store.split("train")
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    pixels, labels = torch.from_numpy(data.pixels)[order], torch.from_numpy(data.labels)[order].float()
    values = plain.inputs(views.rgb_composite(pixels, store.bands, store.composite))
    embeddings = F.normalize(plain.model.encode_image(values), dim=-1)
    logits = head.logit_scale * embeddings @ torch.from_numpy(head.weights).T
    loss = F.binary_cross_entropy_with_logits(logits, 0.1 + 0.8 * labels)
    optimiser = torch.optim.AdamW(plain.visual.parameters(), lr=1e-3, weight_decay=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.visual.parameters(), 1.0)
    optimiser.step()
    for name, tensor in plain.visual.state_dict().items():
        if name.endswith("attn.in_proj_bias"):
            continue  # the keys' bias has no gradient but rounding, which AdamW blows up
        torch.testing.assert_close(clip.visual.state_dict()[name], tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["multi", "single"])
@pytest.mark.parametrize("how", ["balanced", "root"])
def test_classes_are_weighted_by_their_samples_in_train(kind, how):
    store = MemoryStore(kind=kind)
    train, val = store.split("train"), store.split("val")
    train.labels[:8] = [1, 0, 0]
    weights = torch.from_numpy(class_weights(train.labels, kind, how))
    assert len(set(weights.tolist())) > 1
    batch = store_source(store, "val").read(np.arange(len(val)))
    stage = Finetuning(tiny_clip(), [tiny_head()], [store], recipe(class_weights=how), CPU)
    terms, predicted = stage.validation(batch)
    logits, labels = predicted[""][1:]
    torch.testing.assert_close(terms["loss"], label_loss(logits, labels, kind, 0.2, weights))
    plain = Finetuning(tiny_clip(), [tiny_head()], [store], recipe(), CPU).validation(batch)[0]["loss"]
    torch.testing.assert_close(plain, label_loss(logits, labels, kind, 0.2))
    assert not torch.isclose(plain, terms["loss"])


@pytest.mark.parametrize("kind", ["multi", "single"])
def test_a_weighted_step_does_not_depend_on_how_it_is_cut(kind):
    store = MemoryStore(kind=kind, train=10)
    store.split("train").labels[:4] = [1, 0, 0]
    changes = {"epochs": 1, "batch_size": 10, "class_weights": "balanced", "augmentation": UNCHANGED}
    changes["warmup_steps"] = 0
    whole, cut = (trained(store, **changes, accumulate=parts)[1][1] for parts in (1, 3))  # after the precision's record
    assert cut["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert cut["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_seed_gives_one_encoder(precision):
    store = MemoryStore()
    one, again, other = (trained(store, seed, precision=precision)[0].visual.state_dict() for seed in (0, 0, 1))
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_pictures_are_prepared_in_float32_whatever_the_precision():
    store, seen = MemoryStore(), {}
    batch = store_source(store, "train").read(np.arange(14))
    for precision in ("float32", "bfloat16"):
        stage = Finetuning(tiny_clip(), [tiny_head()], [store], recipe(precision=precision), CPU)
        stage.trained.register_forward_hook(lambda _, args, out, key=precision: seen.update({key: (args[0], out)}))
        stage(replace(batch, draws=draws(14)))
    assert torch.equal(seen["float32"][0], seen["bfloat16"][0])
    assert seen["bfloat16"][1].dtype == torch.bfloat16


@pytest.mark.slow
def test_a_run_is_saved_where_that_is_asked(tmp_path):
    saving = Saving(tmp_path / "checkpoints", 0.0, 2, "run")
    finetune(tiny_clip(), [tiny_head()], [MemoryStore()], recipe(), 0, CPU, saving=saving)
    assert list(saving.directory.iterdir())


def test_a_head_of_other_classes_is_refused():
    with pytest.raises(UserError, match="a, b, c, d"):
        trained(MemoryStore(), classes=4)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("zarr"), "digits", {"train": 20, "val": 10}, side=8)


@pytest.mark.slow
def test_from_the_zero_shot_clip_to_the_patched_one_with_the_scripts(tmp_path, digits):
    clip = tmp_path / "clip" / "tiny" / "open_clip_config.json"
    save_clip(tiny_clip(), clip.parent)
    head, weights = tmp_path / "head.npz", tmp_path / "finetune" / "model.safetensors"
    patched = tmp_path / "patched" / "open_clip_config.json"
    load_script("head").main(clip, "digits-10", spoken("digits-10"), ["the digit {}."], head, 1)
    load_script("finetune").main(
        clip,
        [head],
        [digits.path / "zarr.json"],
        ["digits-10"],
        FINETUNE,
        weights,
        tmp_path / "finetune" / "history.jsonl",
        0,
        1,
    )
    load_script("patch").main(clip, weights, 0.5, patched)
    torch.use_deterministic_algorithms(False)

    assert load_metadata(weights)["clip"] == "tiny"
    assert (tmp_path / "finetune" / "history.jsonl").read_text().count("val_loss") == 2
    assert (tmp_path / "finetune" / "history.jsonl").read_text().count("val_accuracy") == 2
    expected = interpolate(tiny_clip().visual.state_dict(), load_weights(weights), 0.5)
    assert same_weights(load_clip(patched.parent).visual.state_dict(), expected)
    assert not np.array_equal(expected["proj"], tiny_clip().visual.state_dict()["proj"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "metric"), [("multi", "map"), ("single", "accuracy"), ("single", "balanced_accuracy")]
)
def test_validation_scores_the_zero_shot_classifier_as_scikit_learn_does(kind, metric):
    store = MemoryStore("s2", kind, train=30, headline=metric)
    if kind == "single":
        store.split("val").labels[3:] = store.split("val").labels[0]  # classes of unequal size
    clip, history = trained(store, epochs=1)
    val = store.split("val")
    rgb = views.rgb_image(torch.from_numpy(val.pixels), store.modality, store.bands, store.composite)
    with torch.no_grad():
        embeddings = F.normalize(clip.visual.eval()(clip.inputs(rgb)), dim=-1).numpy()
    logits = embeddings @ tiny_head().weights.T
    if kind == "single":
        theirs = {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}[metric]
        expected = theirs(val.labels.argmax(axis=1), logits.argmax(axis=1))
    else:
        expected = average_precision_score(val.labels, logits, average="macro")
    assert history[-1][f"val_{metric}"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_the_script_in_two_processes_learns_what_it_learns_in_one(tmp_path, digits):
    clip, head = tmp_path / "clip" / "tiny" / "open_clip_config.json", tmp_path / "head.npz"
    save_clip(tiny_clip(), clip.parent)
    load_script("head").main(clip, "digits-10", spoken("digits-10"), ["the digit {}."], head, 1)
    stores, recipe = [digits.path / "zarr.json"], FINETUNE | {"batch_size": 6}
    learnt = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        weights, history = folder / "model.safetensors", folder / "history.jsonl"
        load_script("finetune").main(
            clip, [head], stores, ["digits-10"], recipe, weights, history, 0, 2, processes=processes
        )
        learnt.append([record["loss"] for record in read_records(history) if "loss" in record])
    torch.use_deterministic_algorithms(False)
    assert learnt[1] == pytest.approx(learnt[0], rel=1e-5)
    assert len(learnt[0]) >= 2
