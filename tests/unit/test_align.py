"""Aligning a multispectral student to a patched CLIP."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from small_store import load_script, make_store
from tiny import ALIGN, BANDS, STUDENT, MemoryStore, same_weights, tiny_clip, tiny_head

from bandbridge import views
from bandbridge.clip import save_clip
from bandbridge.errors import UserError
from bandbridge.heads import load_head
from bandbridge.paint import patch
from bandbridge.students import StudentSpec, load_student, new_student
from bandbridge.training.align import Alignment, align
from bandbridge.training.recipes import AlignRecipe
from bandbridge.weights import save_weights

CPU = torch.device("cpu")


def recipe(**changes):
    return AlignRecipe.from_config(ALIGN | changes)


def spec(**changes):
    return StudentSpec.from_config(STUDENT | changes)


def trained(store, seed=0, student=None, **changes):
    return align(tiny_clip(1), tiny_head(), store, student or spec(), recipe(**changes), seed, CPU)


@pytest.mark.parametrize("kind", ["multi", "single"])
def test_the_student_approaches_the_teacher_which_stays(kind):
    store = MemoryStore(kind=kind, train=30)
    teacher = tiny_clip(1)
    student, history = align(teacher, tiny_head(), store, spec(), recipe(epochs=15, learning_rate=3e-3), 0, CPU)
    records = [record for record in history if "loss" in record]
    assert records[-1]["distillation"] < 0.7 * records[0]["distillation"]
    assert same_weights(teacher.model.state_dict(), tiny_clip(1).model.state_dict())
    assert not student.training


def test_the_loss_is_the_papers():
    store, teacher, student = (
        MemoryStore(kind="multi"),
        tiny_clip(1),
        new_student(spec(scaling="reflectance"), 8).eval(),
    )
    stage = Alignment(teacher, student, tiny_head(), store, recipe(label_weight=0.05), CPU)
    data = store.split("train")
    pixels, labels = torch.from_numpy(data.pixels[:6]), torch.from_numpy(data.labels[:6])
    found = stage.terms(pixels, labels, None)

    target = teacher.visual(teacher.inputs(views.rgb_composite(pixels, BANDS, store.composite)))
    embedding = student(views.band_input(pixels, BANDS, STUDENT["bands"], 16, "reflectance"))
    logits = F.normalize(embedding, dim=-1) @ torch.from_numpy(tiny_head().weights).T * 10
    distillation = (embedding - target).square().mean()
    label = F.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(found["distillation"], distillation)
    torch.testing.assert_close(found["label"], label)
    torch.testing.assert_close(found["loss"], distillation + 0.05 * label)
    only = dataclasses.replace(recipe(label_weight=2.0), distillation_weight=0.0)
    alone = Alignment(teacher, student, tiny_head(), store, only, CPU).terms(pixels, labels, None)
    torch.testing.assert_close(alone["loss"], 2 * label)


def test_both_encoders_see_the_same_crop_and_flips():
    store = MemoryStore(side=24)
    bands = ["B04", "B03", "B02"]
    student = new_student(spec(bands=bands, scaling="reflectance"), 8)
    teacher = tiny_clip(1)
    teacher.preprocess_cfg.update(mean=[0.0] * 3, std=[1.0] * 3)
    stage = Alignment(teacher, student, tiny_head(), store, recipe(crop_scale=[0.2, 0.6]), CPU)
    pixels = torch.from_numpy(store.split("train").pixels)
    rgb = views.rgb_composite(pixels, BANDS, store.composite)
    picture, values = stage._cropped(rgb, pixels, torch.Generator().manual_seed(0))
    # Apart from the composite's whole levels the two are the same picture in other units.
    torch.testing.assert_close(picture * 3558, values * 10_000, atol=30, rtol=0)
    still = stage._teacher.inputs(rgb)
    assert not torch.allclose(picture, still, atol=0.05)


def test_without_cropping_training_and_validation_see_the_same():
    store = MemoryStore(side=16)
    student = new_student(spec(scaling="reflectance"), 8).eval()
    still = recipe(crop_scale=[1.0, 1.0], flip=0.0)
    stage = Alignment(tiny_clip(1), student, tiny_head(), store, still, CPU)
    data = store.split("train")
    batch = torch.from_numpy(data.pixels), torch.from_numpy(data.labels)
    training, validation = stage.terms(*batch, torch.Generator()), stage.terms(*batch, None)
    for name in training:
        torch.testing.assert_close(training[name], validation[name])


def test_bands_are_prepared_in_float32_whatever_the_precision():
    store, seen = MemoryStore(), {}
    data = store.split("train")
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        student = new_student(spec(scaling="reflectance"), 8)
        stage = Alignment(tiny_clip(1), student, tiny_head(), store, recipe(precision=precision), CPU)
        student.register_forward_hook(lambda _, args, out, key=precision: seen.update({key: (args[0], out)}))
        stage.terms(torch.from_numpy(data.pixels), torch.from_numpy(data.labels), torch.Generator().manual_seed(0))
    assert torch.equal(seen["float32"][0], seen["bfloat16"][0])
    assert seen["bfloat16"][1].dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_seed_gives_one_student(precision):
    store = MemoryStore()
    students = [trained(store, seed, precision=precision)[0] for seed in (0, 0, 1)]
    one, again, other = (student.state_dict() for student in students)
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_only_standardised_bands_need_statistics():
    store = MemoryStore()
    standardised = trained(store, epochs=1)[0].statistics
    assert standardised.mean[0] == pytest.approx(store.split("train").pixels[:, 2].mean())
    assert trained(store, epochs=1, student=spec(scaling="reflectance"))[0].statistics is None


def test_a_band_that_the_store_lacks_is_refused():
    with pytest.raises(UserError, match="B05"):
        trained(MemoryStore(), student=spec(bands=["B04", "B05"]))


def test_the_script_interpolates_the_teacher_in_memory(tmp_path):
    scene = make_store(tmp_path, "demo_scene", {"train": 12, "val": 6})
    zero_shot, fine_tuned = tmp_path / "clip" / "tiny" / "open_clip_config.json", tmp_path / "tuned.safetensors"
    save_clip(tiny_clip(0), zero_shot.parent)
    save_weights(fine_tuned, tiny_clip(1).visual.state_dict(), {"clip": "tiny"})
    head, weights = tmp_path / "head.npz", tmp_path / "align" / "model.safetensors"
    load_script("head").main(zero_shot, "osm-landuse-8", ["a photo of {}."], head, 1)
    load_script("align").main(
        zero_shot,
        fine_tuned,
        0.5,
        head,
        scene.path / "zarr.json",
        scene.nomenclature,
        STUDENT,
        ALIGN,
        weights,
        tmp_path / "align" / "history.jsonl",
        0,
        1,
    )
    torch.use_deterministic_algorithms(False)

    teacher = patch(tiny_clip(0), fine_tuned, 0.5)
    expected, _ = align(teacher, load_head(head), scene, spec(), recipe(), 0, CPU)
    assert same_weights(load_student(weights).state_dict(), expected.state_dict())
