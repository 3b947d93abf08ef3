"""Losses, against the libraries' own."""

import numpy as np
import open_clip
import pytest
import timm.loss
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from tiny import tiny_clip, tiny_head

from bandbridge.catalogue.datasets import Nomenclature, prompt_set
from bandbridge.models.text_heads import build_head
from bandbridge.training.losses import FrozenHead, class_weights, contrastive_loss, distillation_loss, label_loss


@pytest.fixture
def logits():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return (torch.rand(7, 4, generator=torch.Generator().manual_seed(1)) < 0.4).to(torch.uint8)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_multi_label_loss_is_timms(logits, labels, smoothing):
    expected = timm.loss.BinaryCrossEntropy(smoothing=smoothing, smooth_dense=True)(logits, labels.float())
    torch.testing.assert_close(label_loss(logits, labels, "multi", smoothing), expected)


def test_without_smoothing_targets_stay_hard_as_timm_leaves_them_by_default(logits, labels):
    expected = timm.loss.BinaryCrossEntropy(smoothing=0.2)(logits, labels.float())
    torch.testing.assert_close(label_loss(logits, labels, "multi"), expected)


def test_the_multi_label_loss_is_the_formula_worked_out_by_hand():
    logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 0]])
    # Targets 0.9 and 0.1: -(0.9 ln s(2) + 0.1 ln s(-2)) = 0.326928, -(0.1 ln s(-1) + 0.9 ln s(1)) = 0.413262
    assert label_loss(logits, labels, "multi", 0.2).item() == pytest.approx((0.326928 + 0.413262) / 2, abs=1e-6)


def test_the_single_label_loss_is_cross_entropy_whatever_the_smoothing(logits):
    classes = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    labels = F.one_hot(classes, 4).to(torch.uint8)
    torch.testing.assert_close(label_loss(logits, labels, "single", 0.2), F.cross_entropy(logits, classes))


# --- class weights ---------------------------------------------------------------------------------------------------

CLASSES = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 3])  # nine, four, none and one sample
ONE_HOT = np.eye(4, dtype=np.uint8)[CLASSES]


def test_balanced_weights_are_those_of_scikit_learn():
    weights = class_weights(ONE_HOT, "single", "balanced")
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=CLASSES)
    np.testing.assert_allclose(weights[[0, 1, 3]], expected, rtol=1e-6)
    assert weights[2] == 1


def test_weights_are_worked_out_by_hand():
    # Inverse roots 1/3, 1/2, 1; their sum over the fourteen samples is 3 + 2 + 1 = 6.
    np.testing.assert_allclose(class_weights(ONE_HOT, "single", "root"), np.array([1 / 3, 1 / 2, 3 / 7, 1]) * 14 / 6)
    # Of several classes per sample, each class has one term in each sample: the mean is that over classes.
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.uint8)
    np.testing.assert_allclose(class_weights(labels, "multi", "balanced"), [0.4, 1.6, 1])
    np.testing.assert_allclose(class_weights(labels, "multi", "root"), [2 / 3, 4 / 3, 1])


@pytest.mark.parametrize("how", ["balanced", "root"])
def test_the_weights_of_all_terms_have_mean_one(how):
    assert class_weights(ONE_HOT, "single", how)[CLASSES].mean() == pytest.approx(1, abs=1e-6)
    labels = np.random.default_rng(0).random((50, 6)) < [0.9, 0.5, 0.2, 0.1, 0.05, 0.3]
    assert class_weights(labels.astype(np.uint8), "multi", how).mean() == pytest.approx(1, abs=1e-6)
    equal = np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1, 2]]
    np.testing.assert_array_equal(class_weights(equal, "single", how), np.ones(3))


def test_the_weighted_single_label_loss_is_torchs_over_samples(logits):
    classes, weights = torch.tensor([0, 3, 1, 1, 2, 0, 3]), torch.tensor([0.5, 1.0, 2.0, 3.0])
    loss = label_loss(logits, F.one_hot(classes, 4), "single", weights=weights)
    # torch divides by the sum of the weights.
    torch.testing.assert_close(loss, F.cross_entropy(logits, classes, weight=weights) * weights[classes].mean())
    by_hand = [-weights[own] * row.log_softmax(0)[own] for row, own in zip(logits, classes, strict=True)]
    torch.testing.assert_close(loss, sum(by_hand) / 7)
    parts = [
        label_loss(logits[at], F.one_hot(classes[at], 4), "single", weights=weights) for at in ([0, 1], range(2, 7))
    ]
    torch.testing.assert_close(loss, (2 * parts[0] + 5 * parts[1]) / 7)


def test_weights_multiply_both_terms_of_a_class_of_a_multi_label_loss(logits, labels):
    weights = torch.tensor([0.5, 1.0, 2.0, 0.5])
    loss = label_loss(logits, labels, "multi", 0.2, weights)
    columns = [label_loss(logits[:, [at]], labels[:, [at]], "multi", 0.2) for at in range(4)]
    torch.testing.assert_close(loss, sum(weights[at] * columns[at] for at in range(4)) / 4)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_equal_weights_change_nothing(logits, labels, kind):
    labels[:, 0] = 1  # argmax finds the first
    torch.testing.assert_close(
        label_loss(logits, labels, kind, 0.2, torch.ones(4)), label_loss(logits, labels, kind, 0.2)
    )


# --- heads and distillation ------------------------------------------------------------------------------------------


def test_head_logits_are_scaled_cosines():
    head = tiny_head()
    embeddings = torch.randn(5, 8) * 3
    expected = 10 * F.cosine_similarity(embeddings[:, None], torch.from_numpy(head.weights)[None], dim=-1)
    torch.testing.assert_close(FrozenHead(head, torch.device("cpu"))(embeddings), expected)


def test_the_head_is_open_clips_zero_shot_classifier():
    clip = tiny_clip()
    templates = ["a photo of {}.", "{} from above.", "{}."]
    nomenclature = Nomenclature("n", "N", ("a", "b", "c"), ("rivers", "sea and ocean", "forest"))
    head = build_head(clip, nomenclature, prompt_set(templates))
    theirs = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, nomenclature.prompt_names, templates)
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        scores = FrozenHead(head, torch.device("cpu"))(clip.visual(images))
        expected = clip.model.logit_scale.exp() * clip.model.encode_image(images, normalize=True) @ theirs
    assert expected.std() > 0.1
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


def test_distillation_by_mse_and_cosine_is_worked_out_by_hand():
    student = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    teacher = torch.tensor([[3.0, 0.0], [0.0, 5.0]])
    assert distillation_loss(student, teacher, "mse").item() == pytest.approx((16 + 9) / 4)
    assert distillation_loss(student, teacher, "cosine").item() == pytest.approx((0.4 + 0) / 2)
    with pytest.raises(ValueError, match="'l1'"):
        distillation_loss(student, teacher, "l1")


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_distillation_by_infonce_is_clips_loss(temperature):
    student, teacher = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    unit = (F.normalize(student, dim=-1), F.normalize(teacher, dim=-1))
    loss = distillation_loss(student, teacher, "infonce", temperature)
    torch.testing.assert_close(loss, open_clip.ClipLoss()(*unit, torch.tensor(1 / temperature)))
    cosines = unit[0] @ unit[1].T / temperature
    forth = -(cosines.diag() - cosines.exp().sum(dim=1).log()).mean()
    back = -(cosines.diag() - cosines.exp().sum(dim=0).log()).mean()
    torch.testing.assert_close(loss, (forth + back) / 2)


@pytest.mark.parametrize("kind", ["mse", "cosine", "infonce"])
def test_distillation_is_computed_in_float32(kind):
    student, teacher = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).bfloat16().unbind()
    loss = distillation_loss(student, teacher, kind, 0.1)
    assert loss.dtype == torch.float32
    assert loss == distillation_loss(student.float(), teacher.float(), kind, 0.1)


def test_with_one_image_a_class_the_contrastive_loss_is_clips():
    images, captions = torch.randn(2, 6, 8).unbind()
    clip_loss = open_clip.ClipLoss()
    expected = clip_loss(F.normalize(images, dim=-1), F.normalize(captions, dim=-1), torch.tensor(14.0))
    loss = contrastive_loss(images, captions, torch.arange(6), torch.tensor(14.0))
    torch.testing.assert_close(loss, expected)


def test_images_of_a_class_share_their_captions():
    images, captions = torch.randn(2, 4, 8).unbind()
    classes = torch.tensor([0, 1, 0, 2])
    rows = 5 * F.normalize(images, dim=-1) @ F.normalize(captions, dim=-1).T
    total = 0.0
    for logits in (rows, rows.T):
        for row, own in enumerate(classes):
            positives = [column for column, other in enumerate(classes) if other == own]
            total += sum(-logits[row].log_softmax(0)[column] for column in positives) / len(positives)
    torch.testing.assert_close(contrastive_loss(images, captions, classes, torch.tensor(5.0)), total / 8)
