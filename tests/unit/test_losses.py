"""Losses, against the libraries' own."""

import open_clip
import pytest
import timm.loss
import torch
import torch.nn.functional as F
from tiny import tiny_head

from bandbridge.training.losses import FrozenHead, contrastive_loss, label_loss


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


def test_the_single_label_loss_is_cross_entropy_whatever_the_smoothing(logits):
    classes = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    labels = F.one_hot(classes, 4).to(torch.uint8)
    torch.testing.assert_close(label_loss(logits, labels, "single", 0.2), F.cross_entropy(logits, classes))


def test_head_logits_are_scaled_cosines():
    head = tiny_head()
    embeddings = torch.randn(5, 8) * 3
    expected = 10 * F.cosine_similarity(embeddings[:, None], torch.from_numpy(head.weights)[None], dim=-1)
    torch.testing.assert_close(FrozenHead(head, torch.device("cpu"))(embeddings), expected)


def test_with_one_image_a_class_the_contrastive_loss_is_clips():
    images, captions = torch.randn(2, 6, 8).unbind()
    clip_loss = open_clip.ClipLoss()
    expected = clip_loss(F.normalize(images, dim=-1), F.normalize(captions, dim=-1), torch.tensor(14.0))
    found = contrastive_loss(images, captions, torch.arange(6), torch.tensor(14.0))
    torch.testing.assert_close(found, expected)


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
