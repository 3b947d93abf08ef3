"""The smallest stage that the training loop can run, with its samples."""

import numpy as np
import torch
from tiny import COMMON
from torch import nn

from bandbridge.training.batches import KeptPixels, Source
from bandbridge.training.recipes import Recipe
from bandbridge.training.stages import Stage

CPU = torch.device("cpu")


def split(n=13, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(n, 4)).astype(np.float32)
    labels = (pixels[:, :3] > 0).astype(np.uint8)
    return Source({"numbers": KeptPixels(pixels)}, labels, np.arange(n))


class Regression(Stage):
    """The smallest stage: a linear layer, labels as targets, noise as augmentation."""

    def __init__(self, noise=0.0):
        torch.manual_seed(0)
        super().__init__("Regression", nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.2), nn.Linear(5, 3)))
        self.noise = noise
        self.seen = []

    def forward(self, batch):
        pixels = batch.pixels["numbers"]
        self.seen.append((pixels, self.trained.training))
        if batch.draws is not None and self.noise:
            pixels = pixels + self.noise * (batch.draws.uniform("noise", 4) - 0.5)
        error = (self.trained(pixels) - batch.labels.float()).square()
        return {"loss": error.mean(), "worst": error.max()}


def watched(stage, before=lambda batch: None, after=lambda terms: terms):
    """The stage, which calls `before` on each batch and `after` on the terms of its loss."""
    forward = stage.forward

    def both(batch):
        before(batch)
        return after(forward(batch))

    stage.forward = both
    return stage


def recipe(**changes):
    return Recipe.from_config(COMMON | changes)


def weights(stage):
    return torch.cat([parameter.flatten() for parameter in stage.trained.parameters()])
