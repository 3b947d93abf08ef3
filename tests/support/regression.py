"""The smallest stage that the training loop can run, with its samples."""

import numpy as np
import torch
from tiny import COMMON, MemorySplit
from torch import nn

from bandbridge.training.recipes import Recipe

CPU = torch.device("cpu")


def split(n=13, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(n, 4)).astype(np.float32)
    labels = (pixels[:, :3] > 0).astype(np.uint8)
    return MemorySplit(pixels, labels)


class Regression:
    """The smallest stage: a linear layer, labels as targets, noise as augmentation."""

    name = "Regression"

    def __init__(self, noise=0.0):
        torch.manual_seed(0)
        self.trained = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.2), nn.Linear(5, 3))
        self.noise = noise
        self.seen = []

    def terms(self, pixels, labels, generator):
        self.seen.append((pixels, self.trained.training))
        if generator is not None and self.noise:
            pixels = pixels + self.noise * torch.randn(pixels.shape, generator=generator)
        error = (self.trained(pixels) - labels.float()).square()
        return {"loss": error.mean(), "worst": error.max()}


def recipe(**changes):
    return Recipe.from_config(COMMON | changes)


def weights(stage):
    return torch.cat([parameter.flatten() for parameter in stage.trained.parameters()])
