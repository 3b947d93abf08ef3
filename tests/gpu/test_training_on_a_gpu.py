"""Training on a GPU: the precisions, compiled encoders, checkpoints. Without a GPU all of it is skipped."""

import os
import signal

import pytest
import torch
from regression import watched
from tiny import ALIGN, FINETUNE, MODEL_CFG, MemoryStore, tiny_clip, tiny_head

from bandbridge.models.device import set_up
from bandbridge.training.align import Alignment
from bandbridge.training.checkpoints import Requeue, Saving
from bandbridge.training.finetune import Finetuning
from bandbridge.training.loop import fit
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe
from bandbridge.training.splits import store_source

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
CPU = torch.device("cpu")


@pytest.fixture
def gpu():
    yield set_up(threads=2, seed=0)
    torch.use_deterministic_algorithms(False)


def finetune(device, saving=None, before=lambda batch: None, clip=None, **changes):
    recipe = FinetuneRecipe.from_config(FINETUNE | {"epochs": 4} | changes)
    store, clip = MemoryStore(modality="rgb", train=24), clip or tiny_clip()
    stage = watched(Finetuning(clip, [tiny_head()], [store], recipe, device), before)
    train, val = store_source(store, "train"), store_source(store, "val")
    history = fit(stage, train, val, recipe, 3, device, saving=saving)
    return clip.visual, history


def losses(history, key="loss"):
    return [record[key] for record in history if key in record]


def test_a_gpu_trains_as_the_cpu_does(gpu):
    torch.set_float32_matmul_precision("highest")
    _, expected = finetune(CPU)
    _, history_on_gpu = finetune(gpu)
    assert losses(history_on_gpu) == pytest.approx(losses(expected), rel=1e-3)
    assert losses(history_on_gpu, "val_loss") == pytest.approx(losses(expected, "val_loss"), rel=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_as_float32_does_within_its_rounding(gpu, precision):
    _, expected = finetune(gpu)
    model, history_in_half = finetune(gpu, precision=precision)
    # In float16 the first steps are skipped, until the scale of the loss has come down.
    assert losses(history_in_half)[1:] == pytest.approx(losses(expected)[1:], rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_weights(gpu, precision):
    # More patches than a block of the GPU's attention takes: otherwise no sum's order is left to chance.
    large = {"vision_cfg": MODEL_CFG["vision_cfg"] | {"image_size": 320}}
    one, other = (finetune(gpu, precision=precision, clip=tiny_clip(**large))[0] for _ in range(2))
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("changes", [{"compile": True}, {"checkpoint_gradients": True}, {"accumulate": 2}], ids=str)
def test_ways_to_save_time_or_memory_change_the_loss_by_rounding_alone(gpu, changes):
    _, expected = finetune(gpu)
    _, changed_history = finetune(gpu, **changes)
    assert losses(changed_history) == pytest.approx(losses(expected), rel=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_stopped_run_ends_with_the_same_weights(gpu, tmp_path, precision):
    calls = []

    def stop(batch):
        calls.append(batch)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    how = Saving(tmp_path / "run", 60, 2, "a run")
    whole, history = finetune(gpu, precision=precision)
    with pytest.raises(Requeue):
        finetune(gpu, how, stop, precision=precision)
    resumed, resumed_history = finetune(gpu, how, precision=precision)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert resumed_history == history


def test_batches_come_from_pinned_memory_to_the_gpu(gpu):
    seen = []
    finetune(gpu, before=lambda batch: seen.append((batch.pixels["rgb"].device.type, batch.labels.device.type)))
    assert set(seen) == {("cuda", "cuda")}


def test_an_alignment_learns_on_a_gpu(gpu):
    from bandbridge.models.students import StudentSpec, new_student

    store = MemoryStore(train=24)
    spec = StudentSpec(
        "vit_tiny_patch16_224", {"img_size": 16, "patch_size": 8, "depth": 1}, store.bands, "reflectance", 16
    )
    recipe = AlignRecipe.from_config(ALIGN | {"epochs": 20, "precision": "float16"})
    torch.manual_seed(0)
    stage = Alignment(tiny_clip(), new_student(spec, 8), tiny_head(), store, recipe, gpu)
    history = fit(stage, store_source(store, "train"), None, recipe, 0, gpu)
    assert losses(history)[-1] < losses(history)[0]
