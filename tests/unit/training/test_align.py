"""Aligning a multispectral student to a patched CLIP."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_store import load_script, make_store
from tiny import ALIGN, BANDS, STUDENT, MemoryStore, band_input, draws, same_weights, tiny_clip, tiny_head

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature, spoken
from bandbridge.ingest.assemble import assemble
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import make_plan
from bandbridge.ingest.readers import Planned, Sample
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import save_clip
from bandbridge.models.paint import patch
from bandbridge.models.students import StudentSpec, load_student, new_student
from bandbridge.models.weights import save_weights
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head
from bandbridge.training.align import Alignment, align
from bandbridge.training.augment import draw_crops
from bandbridge.training.checkpoints import Saving, new_saving
from bandbridge.training.distributed import World
from bandbridge.training.recipes import AlignRecipe
from bandbridge.training.splits import store_source

CPU = torch.device("cpu")


def recipe(**changes):
    return AlignRecipe.from_config(ALIGN | changes)


def spec(**changes):
    return StudentSpec.from_config(STUDENT | changes)


def radar_store(side):
    store = MemoryStore(side=side)
    store.modality = "s1"
    return store


def train_batch(store, n=14):
    """The first samples of a store's train split."""
    return store_source(store, "train").read(np.arange(n))


def trained(store, seed=0, student=None, **changes):
    return align(tiny_clip(1), tiny_head(), store, student or spec(), recipe(**changes), seed, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distillation_weight": 0.0, "label_weight": 0.0}, "both 0; nothing would be learnt"),
        ({"cache_teacher": True, "crop_scale": (0.9, 1), "flip": 0.0}, "cache_teacher is true, but images change"),
        ({"cache_teacher": True, "crop_scale": (1, 1), "flip": 0.5}, "cache_teacher is true, but images change"),
        ({"loss": "infonce", "batch_size": 1}, "batch_size is 1, but the loss infonce"),
    ],
)
def test_recipes_that_cannot_be_followed_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        trained(MemoryStore(), **changes)


@pytest.mark.slow
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
    batch = train_batch(store, 6)
    pixels, labels = batch.pixels["s2"], batch.labels
    terms = stage(batch)

    target = teacher.visual(teacher.inputs(views.rgb_composite(pixels, BANDS, store.composite)))
    embedding = student(band_input(pixels, BANDS, STUDENT["bands"], 16, "reflectance"))
    logits = F.normalize(embedding, dim=-1) @ torch.from_numpy(tiny_head().weights).T * 10
    distillation = (embedding - target).square().mean()
    label = F.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(terms["distillation"], distillation)
    torch.testing.assert_close(terms["label"], label)
    torch.testing.assert_close(terms["loss"], distillation + 0.05 * label)
    only = dataclasses.replace(recipe(label_weight=2.0), distillation_weight=0.0)
    alone = Alignment(teacher, student, tiny_head(), store, only, CPU)(batch)
    torch.testing.assert_close(alone["loss"], 2 * label)


@pytest.mark.parametrize("cache_teacher", [False, True])
def test_the_label_term_of_one_class_per_sample_is_cross_entropy_with_the_weights_of_train(cache_teacher):
    store = MemoryStore(kind="single", side=16)
    data = store.split("train")
    data.labels[:8] = [1, 0, 0]
    student = new_student(spec(scaling="reflectance"), 8).eval()
    still = recipe(crop_scale=[1, 1], flip=0.0, class_weights="balanced")
    stage = Alignment(tiny_clip(1), student, tiny_head(), store, still, CPU)
    pixels, classes = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.argmax(axis=1))
    source = store_source(store, "train")
    losses = stage((stage.taught(source, training=False) if cache_teacher else source).read(np.arange(14)))
    embedding = student(band_input(pixels, BANDS, STUDENT["bands"], 16, "reflectance"))
    logits = F.normalize(embedding, dim=-1) @ torch.from_numpy(tiny_head().weights).T * 10
    weights = len(classes) / (3 * torch.bincount(classes))
    # Over all of train the weights have mean 1, so that torch's mean by weights is the mean by samples.
    torch.testing.assert_close(losses["label"], F.cross_entropy(logits, classes, weight=weights))
    torch.testing.assert_close(losses["loss"], losses["distillation"] + 0.05 * losses["label"])


def test_a_term_without_weight_is_not_computed():
    store = MemoryStore(side=16)
    batch = train_batch(store)
    student = new_student(spec(scaling="reflectance"), 8).eval()

    def terms(**changes):
        teacher = tiny_clip(1)
        asked = []
        teacher.visual.register_forward_hook(lambda *_: asked.append(True))
        return Alignment(teacher, student, tiny_head(), store, recipe(**changes), CPU)(batch), bool(asked)

    both, _ = terms()
    labels_only, teacher_asked = terms(distillation_weight=0.0, label_weight=2.0)
    assert not teacher_asked
    assert set(labels_only) == {"loss", "label"}
    torch.testing.assert_close(labels_only["loss"], 2 * both["label"])
    distilled_only, _ = terms(label_weight=0.0, distillation_weight=3.0)
    assert set(distilled_only) == {"loss", "distillation"}
    torch.testing.assert_close(distilled_only["loss"], 3 * both["distillation"])


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cosine", "infonce"])
def test_the_student_turns_to_the_teacher_by_the_other_losses_too(loss):
    _, history = trained(MemoryStore(train=30), loss=loss, epochs=15, learning_rate=3e-3, label_weight=0.0)
    losses = [record["distillation"] for record in history if "loss" in record]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("modality", ["s2", "s1"])
def test_kept_teacher_embeddings_change_nothing(precision, modality):
    store = MemoryStore(side=20, train=14)
    second = None if modality == "s2" else radar_store(side=9)
    student = new_student(spec(scaling="reflectance"), 8).eval()
    still = recipe(crop_scale=[1, 1], flip=0.0, precision=precision)
    stage = Alignment(tiny_clip(1), student, tiny_head(), store, still, CPU, second)
    source = store_source(store, "train", second)
    rows = np.array([11, 3, 8, 0])
    for training in (True, False):
        kept = stage.taught(source, training)
        seen = []
        stage._encoder.register_forward_hook(lambda *_, seen=seen: seen.append(True))
        drawn = (draws(4), draws(4)) if training else (None, None)
        losses = stage(dataclasses.replace(kept.read(rows), draws=drawn[0]))
        assert not seen
        expected = stage(dataclasses.replace(source.read(rows), draws=drawn[1]))
        for name in ("loss", "distillation", "label"):
            torch.testing.assert_close(losses[name], expected[name], rtol=1e-6, atol=1e-7)


def test_kept_embeddings_train_the_same_student():
    store, student = MemoryStore(side=20), spec(scaling="reflectance")
    still = {"crop_scale": [1, 1], "flip": 0.0, "epochs": 3}
    plain, history = trained(store, student=student, **still)
    kept, again = trained(store, student=student, cache_teacher=True, **still)
    for one, other in zip(history[1:], again[1:], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_processes_share_the_teachers_work():
    store = MemoryStore(train=7)
    stage = Alignment(tiny_clip(1), new_student(spec(scaling="reflectance"), 8), tiny_head(), store, recipe(), CPU)
    source = store_source(store, "train")
    alone = stage.taught(source, training=False).teacher
    shares = []

    class Other(World):
        def gather(self, value):
            shares.append(len(value))
            nothing = (np.zeros((7 * (rank + 1) // 3 - 7 * rank // 3, 8), np.float32) for rank in range(3))
            return [value if rank == self.rank else zeros for rank, zeros in enumerate(nothing)]

    parts = [stage.taught(source, False, Other(rank, 3)).teacher for rank in range(3)]
    assert shares == [2, 2, 3]
    np.testing.assert_allclose(sum(parts), alone, rtol=1e-5, atol=1e-6)


def test_a_student_of_another_modality_sees_the_same_ground():
    pictures, radar = MemoryStore(side=24), radar_store(side=12)
    for name in radar.splits:  # the same pictures at half the resolution, in another number type
        fine = torch.from_numpy(pictures.split(name).pixels.astype(np.float32))
        radar.split(name).pixels = F.avg_pool2d(fine, 2).numpy()
    student = new_student(spec(bands=["B04", "B03", "B02"], scaling="reflectance"), 8)
    stage = Alignment(tiny_clip(1), student, tiny_head(), pictures, recipe(crop_scale=[0.3, 0.6]), CPU, radar)
    batch = store_source(pictures, "train", radar).read(np.array([5, 2]))
    np.testing.assert_array_equal(batch.pixels["s2"], pictures.split("train").pixels[[5, 2]])
    np.testing.assert_array_equal(batch.pixels["s1"], radar.split("train").pixels[[5, 2]])

    ramp = torch.arange(24.0).expand(1, 4, 24, 24) * 300  # digital numbers that tell where they are
    crops = draw_crops(draws(1, 3), 24, 24, (0.3, 0.6), 0.5)
    fine, coarse = stage._student_input(ramp, crops), stage._student_input(F.avg_pool2d(ramp, 2), crops)
    torch.testing.assert_close(fine, coarse, atol=0.02, rtol=0)  # 0.7 of a pixel, at the edges


def test_modalities_of_other_samples_are_refused():
    radar = radar_store(side=12)
    radar.split("train").pixels = radar.split("train").pixels[:-1]
    radar.split("train").labels = radar.split("train").labels[:-1]
    with pytest.raises(ValueError, match="train has 14 and 13 samples"):
        store_source(MemoryStore(), "train", radar)


def test_both_encoders_see_the_same_crop_and_flips():
    store = MemoryStore(side=24)
    bands = ["B04", "B03", "B02"]
    student = new_student(spec(bands=bands, scaling="reflectance"), 8)
    teacher = tiny_clip(1)
    teacher.preprocess_cfg.update(mean=[0.0] * 3, std=[1.0] * 3)
    stage = Alignment(teacher, student, tiny_head(), store, recipe(crop_scale=[0.2, 0.6]), CPU)
    pixels = torch.from_numpy(store.split("train").pixels)
    rgb = views.rgb_composite(pixels, BANDS, store.composite)
    crops = draw_crops(draws(14), 24, 24, (0.2, 0.6), 0.5)
    picture, values = stage._teacher_input(pixels, crops), stage._student_input(pixels, crops)
    # Apart from the composite's whole levels the two are the same picture in other units.
    torch.testing.assert_close(picture * 3558, values * 10_000, atol=30, rtol=0)
    still = stage._teacher.inputs(rgb)
    assert not torch.allclose(picture, still, atol=0.05)


def test_each_encoder_may_have_crops_of_its_own():
    store = MemoryStore(side=24)
    student = new_student(spec(bands=["B04", "B03", "B02"], scaling="reflectance"), 8)
    seen = []
    for separate in (False, True):
        own = recipe(crop_scale=[0.2, 0.6], separate_crops=separate)
        stage = Alignment(tiny_clip(1), student, tiny_head(), store, own, CPU)
        batch = dataclasses.replace(train_batch(store), draws=draws(14))
        students = stage._draw(batch)
        seen.append((students, stage._teachers_crops(batch, students)))
    (shared, teachers_shared), (students, teachers) = seen
    assert teachers_shared is shared
    torch.testing.assert_close(students.rows, shared.rows)
    assert (teachers.rows != students.rows).any()
    assert (teachers.flip_rows != students.flip_rows).any()
    # In validation both see the whole image.
    assert stage._teachers_crops(train_batch(store), None) is None


def test_crops_of_their_own_give_another_student():
    random = {"crop_scale": [0.2, 0.6], "epochs": 1}
    (together, _), (apart, _) = (
        trained(MemoryStore(side=16), separate_crops=separate, **random) for separate in (False, True)
    )
    assert not same_weights(together.state_dict(), apart.state_dict())


def test_without_cropping_training_and_validation_see_the_same():
    store = MemoryStore(side=16)
    student = new_student(spec(scaling="reflectance"), 8).eval()
    still = recipe(crop_scale=[1.0, 1.0], flip=0.0)
    stage = Alignment(tiny_clip(1), student, tiny_head(), store, still, CPU)
    batch = train_batch(store)
    training, validation = stage(dataclasses.replace(batch, draws=draws(14))), stage(batch)
    for name in training:
        torch.testing.assert_close(training[name], validation[name])


def test_bands_are_prepared_in_float32_whatever_the_precision():
    store, seen = MemoryStore(), {}
    batch = train_batch(store)
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        student = new_student(spec(scaling="reflectance"), 8)
        stage = Alignment(tiny_clip(1), student, tiny_head(), store, recipe(precision=precision), CPU)
        student.register_forward_hook(lambda _, args, out, key=precision: seen.update({key: (args[0], out)}))
        stage(dataclasses.replace(batch, draws=draws(14)))
    assert torch.equal(seen["float32"][0], seen["bfloat16"][0])
    assert seen["bfloat16"][1].dtype == torch.bfloat16


@pytest.mark.slow
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


@pytest.mark.parametrize("student", [{"bands": ["B04", "B99"]}, {"bands": ["B04", "B05"], "fill": "error"}])
def test_a_band_that_the_store_lacks_is_refused(student):
    with pytest.raises(UserError, match=student["bands"][1]):
        trained(MemoryStore(), student=spec(**student))


def test_a_run_is_saved_where_that_is_asked(tmp_path):
    saving = Saving(tmp_path / "checkpoints", 0.0, 2, "run")
    align(tiny_clip(1), tiny_head(), MemoryStore(), spec(), recipe(), 0, CPU, saving=saving)
    assert list(saving.directory.iterdir())


@pytest.fixture(scope="module")
def two_sensors(tmp_path_factory):
    """A store of Sentinel-2 (16 pixels a side) and Sentinel-1 (12) with samples as bright in one as in the other."""
    root = tmp_path_factory.mktemp("zarr")
    dataset = load_dataset("bigearthnet_v2", {"modalities": ["s2", "s1"]})
    modalities = tuple(dataclasses.replace(modality, size=None) for modality in dataset.modalities)
    dataset = dataclasses.replace(dataset, modalities=modalities, splits=("train", "val"))
    ids = [f"{split}-{number}" for split, count in (("train", 12), ("val", 4)) for number in range(count)]
    plan = make_plan(dataset, [Planned(name, name.split("-")[0]) for name in ids])
    classes = load_nomenclature(dataset.nomenclature).classes
    rng, folders = np.random.default_rng(0), {}
    for modality, (side, low, dtype) in zip(modalities, ((16, 300, np.uint16), (12, -25, np.float32)), strict=True):

        def samples(missing, bands=modality.bands, side=side, low=low, dtype=dtype):
            for number, name in enumerate(ids):
                values = (rng.random((len(bands), side, side)) + number) * abs(low) / 10 + low
                if name in missing:
                    yield Sample(name, values.astype(dtype), (classes[number % 3],))

        folders[modality.name] = [root / modality.name]
        convert_share(dataset, modality.name, plan.share(0, 1), samples, root / modality.name, "test")
    assemble(root / "both.zarr", dataset, plan, folders, {}, root / "quarantine.csv", 0.0)
    return Store(root / "both.zarr")


@pytest.mark.slow
def test_a_radar_student_learns_from_optical_pictures(two_sensors):
    head = tiny_head(len(two_sensors.classes))
    head = dataclasses.replace(head, classes=two_sensors.classes)
    radar = spec(modality="s1", bands=["VV", "VH"])
    how = recipe(epochs=12, learning_rate=3e-3)
    student, history = align(tiny_clip(1), head, two_sensors, radar, how, 0, CPU)
    losses = [record["distillation"] for record in history if "distillation" in record]
    assert losses[-1] < 0.7 * losses[0]
    values = Store(two_sensors.path, modality="s1").split("train").read(range(12))
    assert student.statistics.mean == pytest.approx(values.mean(axis=(0, 2, 3), dtype=np.float64))
    still = recipe(epochs=2, crop_scale=[1, 1], flip=0.0)
    plain, kept = (
        align(tiny_clip(1), head, two_sensors, radar, dataclasses.replace(still, cache_teacher=cached), 0, CPU)[1]
        for cached in (False, True)
    )
    for one, other in zip(plain[1:], kept[1:], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    with pytest.raises(UserError, match="no 's3' among its modalities"):
        align(tiny_clip(1), head, two_sensors, spec(modality="s3"), how, 0, CPU)


def test_a_student_may_name_the_modality_that_the_store_shows(two_sensors):
    head = dataclasses.replace(tiny_head(len(two_sensors.classes)), classes=two_sensors.classes)
    one, other = (
        align(tiny_clip(1), head, two_sensors, spec(modality=modality), recipe(), 0, CPU)[0].state_dict()
        for modality in (None, "s2")
    )
    assert same_weights(one, other)


@pytest.mark.slow
def test_the_script_interpolates_the_teacher_in_memory(tmp_path):
    scene = make_store(tmp_path, "demo_scene", {"train": 12, "val": 6})
    zero_shot, fine_tuned = tmp_path / "clip" / "tiny" / "open_clip_config.json", tmp_path / "tuned.safetensors"
    save_clip(tiny_clip(0), zero_shot.parent)
    save_weights(fine_tuned, tiny_clip(1).visual.state_dict(), {"clip": "tiny"})
    head, weights = tmp_path / "head.npz", tmp_path / "align" / "model.safetensors"
    load_script("head").main(zero_shot, "osm-landuse-8", spoken("osm-landuse-8"), ["a photo of {}."], head, 1)
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
        "tiny",
    )
    torch.use_deterministic_algorithms(False)

    teacher = patch(tiny_clip(0), fine_tuned, 0.5)
    expected, _ = align(teacher, load_head(head), scene, spec(), recipe(), 0, CPU)
    assert same_weights(load_student(weights).state_dict(), expected.state_dict())


@pytest.mark.slow
def test_a_training_does_not_continue_one_of_another_clip_or_of_other_first_weights(tmp_path, monkeypatch):
    """The activation is in CLIP's description alone; a student's own checkpoint has a listing of its state."""
    scene = make_store(tmp_path, "demo_scene", {"train": 12, "val": 6})
    clip, head = tmp_path / "clip" / "tiny" / "open_clip_config.json", tmp_path / "head.npz"
    save_clip(tiny_clip(0), clip.parent)
    load_script("head").main(clip, "osm-landuse-8", spoken("osm-landuse-8"), ["a photo of {}."], head, 1)
    script, identities = load_script("align"), []

    def stop(*arguments, **parts):
        identities.append(new_saving(*arguments, **parts).identity)
        raise InterruptedError

    monkeypatch.setattr(script, "new_saving", stop)
    facts = {"clip": clip, "finetuned": None, "alpha": 0, "head": head, "store": scene.path / "zarr.json"}
    facts |= {"nomenclature": scene.nomenclature, "student": STUDENT, "recipe": ALIGN, "seed": 0, "threads": 1}
    facts |= {"space": "tiny", "checkpoints": tmp_path / "checkpoints"}
    facts |= {"weights": tmp_path / "model.safetensors", "history": tmp_path / "history.jsonl"}

    def begin(**changes):
        with pytest.raises(InterruptedError):
            script.main(**facts, **changes)

    begin()
    begin()
    begin(listing=["1 files", "9 bytes", "sha256:of-another-file"])
    save_clip(tiny_clip(0, quick_gelu=True), clip.parent)
    begin()
    torch.use_deterministic_algorithms(False)
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3
