"""Embeddings and heads that belong to a store, where the scoring scripts look for them, and the values they write."""

import numpy as np

from bandbridge.store.embeddings import Embeddings, save_embeddings
from bandbridge.store.heads import Head, save_head

DIM = 16


def class_vectors(store):
    return np.random.default_rng(8).normal(size=(len(store.classes), DIM))


def embeddings_of(store, split, encoder="demo-vit@0.5", modality="rgb", noise=1.0):
    """Embeddings that point where their classes do, more or less."""
    samples = store.split(split)
    generator = np.random.default_rng([len(encoder), len(split)])
    embedding = samples.labels @ class_vectors(store) + noise * generator.normal(size=(len(samples), DIM))
    clip, _, alpha = encoder.partition("@")
    attrs = {
        "encoder": encoder,
        "clip": clip,
        "alpha": float(alpha) if alpha else None,
        "dataset": store.attrs["dataset"],
        "split": split,
        "modality": modality,
        "store_digest": store.digest,
    }
    return Embeddings(embedding.astype(np.float32), samples.ids, attrs)


def saved(root, embeddings):
    """Save embeddings where a run has them; the marker that Snakemake knows."""
    encoder, dataset, split = (embeddings.attrs[key] for key in ("encoder", "dataset", "split"))
    path = root / encoder / f"{dataset}.{split}.zarr"
    save_embeddings(path, embeddings)
    return path / "zarr.json"


def saved_head(root, store, classes=None, dim=DIM):
    vectors = class_vectors(store)[:, :dim]
    head = Head(vectors.astype(np.float32), 100.0, classes or store.classes, tuple((name,) for name in store.classes))
    save_head(root / "head.npz", head)
    return root / "head.npz"


def value(frame, **where):
    """The one value of the rows that match; `class_` is the column of classes."""
    for column, wanted in where.items():
        frame = frame[frame[column.rstrip("_")] == wanted]
    assert len(frame) == 1
    return frame.iloc[0]["value"]


def cosines(first, second):
    """Of each row of one with each of the other."""
    unit = [np.float64(rows) / np.linalg.norm(np.float64(rows), axis=1, keepdims=True) for rows in (first, second)]
    return unit[0] @ unit[1].T
