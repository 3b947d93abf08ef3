"""Embeddings and labels that a linear probe can learn, more or less."""

import numpy as np


def clusters(classes, n=60, dim=5, seed=0, spread=1.5):
    """Embeddings around one centre a class, with one-hot labels."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    centres = 3 * np.random.default_rng(99).normal(size=(classes, dim))
    embedding = (centres[truth] + spread * generator.normal(size=(n, dim))) * np.arange(1, dim + 1) + 7
    return embedding.astype(np.float32), np.eye(classes, dtype=np.uint8)[truth]


def tags(n=80, dim=6, classes=4, seed=0):
    """Embeddings with labels that are noisy half-spaces."""
    generator = np.random.default_rng(seed)
    embedding = generator.normal(size=(n, dim))
    directions = np.random.default_rng(99).normal(size=(dim, classes))
    return embedding, (embedding @ directions + generator.normal(size=(n, classes)) > 0.5).astype(np.uint8)
