"""Two directions of the embedding space, before and after patching and alignment, as a JSON file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.metrics.classification import unit_rows
from bandbridge.reporting.galleries import Labels
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head

MOST_SAMPLES = 400
MOST_LABELS = 4


def principal_axes(rows: NDArray[np.floating], count: int = 2) -> tuple[NDArray, NDArray, NDArray]:
    """Mean (d,), directions of the largest variance (count, d), and the share of the variance along each (count,).

    Each direction points to where its largest component is positive: the same rows give the same picture.
    """
    mean = rows.mean(axis=0)
    _, strengths, axes = np.linalg.svd(np.asarray(rows - mean, np.float64), full_matrices=False)
    axes = axes[:count]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    power = strengths**2
    return mean, axes, power[:count] / max(power.sum(), np.finfo(float).tiny)


def make_projection(
    zero_shot: Embeddings, patched: Embeddings, student: Embeddings | None, head: Head, labels: Labels, seed: int
) -> dict[str, Any]:
    """Unit embeddings of the same samples and the class vectors on the first two principal axes of them all.

    Centroids and gaps are those of all samples in the space itself; of the samples some hundred, drawn by chance, are
    points. The first group of each panel is the images as RGB, and gaps are distances to its centroid.

    Raises:
        UserError: the embeddings are of different samples, or not in one space.
    """
    sides = [side for side in (zero_shot, patched, student) if side is not None]
    for side in sides[1:]:
        if not np.array_equal(side.ids, zero_shot.ids) or side.embedding.shape != zero_shot.embedding.shape:
            raise UserError(
                f"embeddings of {zero_shot.attrs['encoder']} and {side.attrs['encoder']} on "
                f"{zero_shot.attrs['dataset']} are not of the same samples and width ({zero_shot.embedding.shape} and "
                f"{side.embedding.shape}). Delete both and run again."
            )
    count = len(zero_shot.ids)
    rows = np.sort(np.random.default_rng(seed).choice(count, min(count, MOST_SAMPLES), replace=False))
    units = [unit_rows(side.embedding) for side in sides]
    text = unit_rows(head.weights)
    mean, axes, explained = principal_axes(np.concatenate([*(unit[rows] for unit in units), text]))

    def place(vectors: NDArray) -> list[list[float]]:
        return np.round((vectors - mean) @ axes.T, 4).tolist()

    names = [list(labels.of(str(zero_shot.ids[row]))[:MOST_LABELS]) for row in rows]

    def group(kind: str, vectors: NDArray, shown: NDArray, of_points: Sequence[Sequence[str]]) -> dict[str, Any]:
        centre = vectors.mean(axis=0)
        return {"kind": kind, "points": place(shown), "labels": of_points, "centroid": place(centre[None])[0]} | {
            "centre": centre
        }

    of_text = group("text", text, text, [[name] for name in head.classes])
    before = [group("rgb", units[0], units[0][rows], names), dict(of_text)]
    after = [group("rgb", units[1], units[1][rows], names)]
    if student is not None:
        after.append(group("student", units[2], units[2][rows], names))
    after.append(dict(of_text))
    for panel in (before, after):
        for other in panel[1:]:
            other["gap"] = round(float(np.linalg.norm(other["centre"] - panel[0]["centre"])), 4)
        panel[0]["gap"] = None
    for one in (*before, *after):
        one.pop("centre", None)
    return {
        "clip": zero_shot.attrs["clip"],
        "zero_shot": zero_shot.attrs["encoder"],
        "patched": patched.attrs["encoder"],
        "student": None if student is None else student.attrs["encoder"],
        "dataset": zero_shot.attrs["dataset"],
        "split": zero_shot.attrs["split"],
        "samples": count,
        "shown": len(rows),
        "explained": [round(float(share), 4) for share in explained],
        "before": before,
        "after": after,
    }
