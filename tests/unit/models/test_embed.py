"""Running encoders over a store."""

import numpy as np
import pytest
import torch
from small_store import COUNTS, load_script, make_store

from bandbridge.base.files import checksum
from bandbridge.catalogue.sensors import STUDENT_BANDS
from bandbridge.models import embed
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import load_clip, new_clip, save_clip
from bandbridge.models.embed import embed_student, sweep
from bandbridge.models.paint import patch
from bandbridge.models.students import StudentSpec, load_student, new_student, save_student
from bandbridge.models.weights import load_weights, save_weights
from bandbridge.store.dataset import Samples
from bandbridge.store.embeddings import load_embeddings

BATCH = 5  # does not divide the splits


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("zarr"), "demo_scene")


@pytest.fixture(scope="module")
def clip_directory(tmp_path_factory):
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("clip") / "demo-vit"
    save_clip(new_clip("demo-vit"), directory)
    return directory


@pytest.fixture(scope="module")
def fine_tuned(clip_directory):
    """Other weights for the same image encoder."""
    torch.manual_seed(1)
    path = clip_directory.parent / "model.safetensors"
    save_weights(path, new_clip("demo-vit").visual.state_dict(), {"clip": "demo-vit"})
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    torch.manual_seed(2)
    spec = StudentSpec(
        "vit_tiny_patch16_224", {"img_size": 16, "patch_size": 8, "depth": 1}, STUDENT_BANDS, "reflectance", 16
    )
    path = tmp_path_factory.mktemp("align") / "ms-vit" / "model.safetensors"
    save_student(path, new_student(spec, embed_dim=128), clip="demo-vit", precision="float32")
    return path


@pytest.fixture(scope="module")
def swept(clip_directory, fine_tuned, scene):
    parts = sweep(clip_directory, fine_tuned, [0, 0.3, 1], scene, ["val", "test"], BATCH)
    return {(embeddings.attrs["alpha"], embeddings.attrs["split"]): embeddings for embeddings in parts}


@torch.inference_mode()
def encoded(store, split, encode):
    """Batch by batch, as the sweep does it, but with one plain model."""
    samples = store.split(split)
    starts = range(0, len(samples), BATCH)
    batches = [samples.read(np.arange(start, min(start + BATCH, len(samples)))) for start in starts]
    return np.concatenate([encode(torch.from_numpy(batch)).numpy() for batch in batches])


def encoded_by(clip, store, split):
    # Torch multiplies small matrices in another way, and order, where weights want gradients.
    clip.visual.requires_grad_(False)

    def encode(pixels):
        return clip.model.encode_image(
            clip.inputs(views.rgb_image(pixels, store.modality, store.bands, store.composite))
        )

    return encoded(store, split, encode)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_alpha_0_is_exactly_the_zero_shot_model(swept, clip_directory, scene, split):
    expected = encoded_by(load_clip(clip_directory), scene, split)
    np.testing.assert_array_equal(swept[0, split].embedding, expected)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_alpha_1_is_exactly_the_fine_tuned_model(swept, clip_directory, fine_tuned, scene, split):
    clip = load_clip(clip_directory)
    clip.visual.load_state_dict(load_weights(fine_tuned))
    np.testing.assert_array_equal(swept[1, split].embedding, encoded_by(clip, scene, split))


def test_an_alpha_between_is_the_patched_model(swept, clip_directory, fine_tuned, scene):
    clip = patch(load_clip(clip_directory), fine_tuned, 0.3)
    np.testing.assert_array_equal(swept[0.3, "val"].embedding, encoded_by(clip, scene, "val"))


@pytest.mark.slow
def test_an_alpha_encoded_alone_gives_the_same_bytes(swept, clip_directory, fine_tuned, scene):
    (alone,) = sweep(clip_directory, fine_tuned, [0.3], scene, ["val"], BATCH)
    np.testing.assert_array_equal(alone.embedding, swept[0.3, "val"].embedding)


@pytest.mark.slow
def test_each_sample_is_read_once_whatever_the_number_of_alphas(monkeypatch, clip_directory, fine_tuned, scene):
    seen = []
    read = Samples.read
    monkeypatch.setattr(Samples, "read", lambda self, indices: seen.extend(indices) or read(self, indices))
    list(sweep(clip_directory, fine_tuned, [0, 0.2, 0.4, 1], scene, ["val"], BATCH))
    assert seen == list(range(COUNTS["val"]))


@pytest.mark.slow
def test_a_read_that_fails_stops_the_sweep(monkeypatch, clip_directory, fine_tuned, scene):
    def fail(self, indices):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Samples, "read", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        list(sweep(clip_directory, fine_tuned, [0], scene, ["val"], BATCH))


def test_embeddings_say_what_they_are_of(swept, clip_directory, fine_tuned, scene):
    embeddings = swept[0.3, "test"]
    np.testing.assert_array_equal(embeddings.ids, scene.split("test").ids)
    assert embeddings.attrs == {
        "encoder": "demo-vit@0.3",
        "clip": "demo-vit",
        "alpha": 0.3,
        "dataset": "demo_scene",
        "split": "test",
        "modality": "rgb",
        "store_digest": scene.digest,
        "weights_digest": {
            "zero_shot": checksum(clip_directory / "open_clip_model.safetensors"),
            "fine_tuned": checksum(fine_tuned),
        },
        "precision": "float32 (as configured)",
    }


def test_embeddings_are_float32_and_not_normalised(swept):
    embedding = swept[0.3, "val"].embedding
    assert embedding.dtype == np.float32
    assert embedding.shape == (COUNTS["val"], 128)
    assert np.abs(np.linalg.norm(embedding, axis=1) - 1).min() > 0.01


@pytest.mark.slow
def test_bfloat16_rounds_and_hands_on_float32(swept, clip_directory, fine_tuned, scene):
    (rounded,) = sweep(clip_directory, fine_tuned, [0], scene, ["val"], BATCH, precision="bfloat16")
    exact = swept[0, "val"].embedding
    assert rounded.embedding.dtype == np.float32
    assert 0 < np.abs(rounded.embedding - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.slow
def test_how_many_batches_wait_for_a_model_changes_no_number(monkeypatch, swept, clip_directory, fine_tuned, scene):
    monkeypatch.setattr(embed, "HELD_BYTES", 1)
    for embeddings in sweep(clip_directory, fine_tuned, [0, 0.3, 1], scene, ["test"], BATCH):
        np.testing.assert_array_equal(embeddings.embedding, swept[embeddings.attrs["alpha"], "test"].embedding)


@pytest.mark.slow
def test_the_batch_size_changes_no_more_than_rounding(swept, clip_directory, fine_tuned, scene):
    (whole,) = sweep(clip_directory, fine_tuned, [0.3], scene, ["val"], batch_size=1000)
    np.testing.assert_allclose(whole.embedding, swept[0.3, "val"].embedding, atol=1e-5)


@pytest.mark.slow
def test_pictures_are_encoded_as_they_are(clip_directory, fine_tuned, tmp_path):
    digits = make_store(tmp_path, "digits", {"test": 10}, side=8)
    (embeddings,) = sweep(clip_directory, fine_tuned, [0], digits, ["test"], BATCH)
    expected = encoded_by(load_clip(clip_directory), digits, "test")
    np.testing.assert_array_equal(embeddings.embedding, expected)


def test_a_student_encodes_its_bands(student, scene):
    val, test = embed_student(student, "ms-vit", scene, ["val", "test"], BATCH)
    model = load_student(student)
    expected = encoded(scene, "test", lambda pixels: model(model.inputs(pixels, scene.bands)))
    np.testing.assert_array_equal(test.embedding, expected)
    assert val.attrs == {
        "encoder": "ms-vit",
        "clip": "demo-vit",
        "alpha": None,
        "dataset": "demo_scene",
        "split": "val",
        "modality": "s2",
        "store_digest": scene.digest,
        "weights_digest": {"student": checksum(student)},
        "precision": "float32 (as configured)",
    }


RECIPE = {"batch_size": BATCH, "precision": "float32"}


@pytest.mark.slow
def test_the_sweep_script_writes_the_alphas_and_splits_its_outputs_name(
    tmp_path, clip_directory, fine_tuned, scene, swept
):
    markers = [
        tmp_path / f"demo-vit@{alpha}" / f"demo_scene.{split}.zarr" / "zarr.json"
        for alpha in ("0", "0.3", "1")
        for split in ("val", "test")
    ]
    load_script("embed_sweep").main(
        clip=clip_directory / "open_clip_config.json",
        finetuned=[fine_tuned],
        store=scene.path / "zarr.json",
        recipe=RECIPE,
        models=["demo-vit@0", "demo-vit@0.3", "demo-vit@1"],
        splits=["val", "test"],
        embeddings=markers,
        threads=1,
    )
    for marker in markers:
        written = load_embeddings(marker.parent)
        expected = swept[written.attrs["alpha"], written.attrs["split"]]
        assert expected.attrs.items() <= written.attrs.items()
        assert marker.parent.parts[-2:] == (written.attrs["encoder"], f"demo_scene.{written.attrs['split']}.zarr")
        np.testing.assert_array_equal(written.embedding, expected.embedding)
        np.testing.assert_array_equal(written.ids, expected.ids)


def test_the_student_script_writes_each_split_to_its_output(tmp_path, student, scene):
    # Nothing is read off their paths.
    markers = [tmp_path / "any" / str(number) / "zarr.json" for number in range(len(COUNTS))]
    load_script("embed_student").main(
        student=student,
        name="ms-vit",
        store=scene.path / "zarr.json",
        recipe=RECIPE,
        splits=list(COUNTS),
        embeddings=markers,
        threads=1,
    )
    written = [load_embeddings(marker.parent) for marker in markers]
    assert [embeddings.attrs["split"] for embeddings in written] == list(COUNTS)
    assert {embeddings.attrs["encoder"] for embeddings in written} == {"ms-vit"}
    assert [len(embeddings.ids) for embeddings in written] == list(COUNTS.values())


@pytest.mark.slow
def test_a_sweep_that_was_stopped_goes_on_after_its_last_batch_with_the_same_numbers(
    monkeypatch, clip_directory, fine_tuned, scene, swept, tmp_path
):
    monkeypatch.setattr(embed, "HELD_BYTES", 1)  # so that each batch is encoded before the next is read
    reads = []
    read = Samples.read

    def failing(self, indices):
        reads.append(list(indices))
        if len(reads) == 4:
            raise OSError("stopped")
        return read(self, indices)

    monkeypatch.setattr(Samples, "read", failing)
    with pytest.raises(OSError, match="stopped"):
        list(sweep(clip_directory, fine_tuned, [0, 0.3], scene, ["train"], BATCH, partial=tmp_path))
    reads.clear()
    monkeypatch.setattr(Samples, "read", lambda self, indices: reads.append(list(indices)) or read(self, indices))
    first, second = sweep(clip_directory, fine_tuned, [0, 0.3], scene, ["train"], BATCH, partial=tmp_path)
    assert 0 < min(min(part) for part in reads) <= 3 * BATCH
    whole = list(sweep(clip_directory, fine_tuned, [0, 0.3], scene, ["train"], BATCH))
    np.testing.assert_array_equal(first.embedding, whole[0].embedding)
    np.testing.assert_array_equal(second.embedding, whole[1].embedding)


@pytest.mark.slow
def test_what_was_encoded_of_another_composite_is_not_used(clip_directory, fine_tuned, tmp_path):
    store, partial = make_store(tmp_path, "demo_scene"), tmp_path / "partial"
    (first,) = sweep(clip_directory, fine_tuned, [0.3], store, ["val"], BATCH, partial=partial)
    before = np.array(first.embedding)
    store.facts["composite"]["divisor"] = 900.0
    (second,) = sweep(clip_directory, fine_tuned, [0.3], store, ["val"], BATCH, partial=partial)
    (expected,) = sweep(clip_directory, fine_tuned, [0.3], store, ["val"], BATCH)
    np.testing.assert_array_equal(second.embedding, expected.embedding)
    assert not np.array_equal(before, expected.embedding)


@pytest.mark.slow
def test_what_other_weights_left_half_done_is_not_used(clip_directory, fine_tuned, scene, tmp_path):
    list(sweep(clip_directory, fine_tuned, [0.3], scene, ["val"], BATCH, partial=tmp_path))
    (other,) = sweep(clip_directory, fine_tuned, [0.4], scene, ["val"], BATCH, partial=tmp_path)
    (expected,) = sweep(clip_directory, fine_tuned, [0.4], scene, ["val"], BATCH)
    np.testing.assert_array_equal(other.embedding, expected.embedding)
