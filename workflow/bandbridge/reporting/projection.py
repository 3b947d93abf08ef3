"""Two directions of the embedding space, before and after patching and alignment, as a JSON file."""

from collections.abc import Sequence
from dataclasses import dataclass
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


Floats = NDArray[np.floating]


def principal_axes(rows: Floats, count: int = 2) -> tuple[Floats, Floats, Floats]:
    """The directions of the largest variance.

    The largest component of each direction is positive, so that the same rows give the same figure.

    Args:
        rows: (n, d).
        count: number of directions.

    Returns:
        The mean (d,), the directions (count, d), and the share of the variance along each (count,).
    """
    mean = rows.mean(axis=0)
    _, strengths, axes = np.linalg.svd(np.asarray(rows - mean, np.float64), full_matrices=False)
    axes = axes[:count]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    power = strengths**2
    return mean, axes, power[:count] / max(power.sum(), np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class _Group:
    """Vectors of one kind ('rgb', 'student' or 'text'), those drawn as points, and the labels of the points."""

    kind: str
    vectors: Floats
    points: Floats
    labels: list[list[str]]

    @property
    def centre(self) -> Floats:
        centre: Floats = self.vectors.mean(axis=0)
        return centre


@dataclass(frozen=True, eq=False)
class _Plane:
    """Two axes through a mean, on which vectors (n, d) are projected."""

    mean: Floats
    axes: Floats

    def coordinates(self, vectors: Floats) -> list[list[float]]:
        rounded: list[list[float]] = np.round((vectors - self.mean) @ self.axes.T, 4).tolist()
        return rounded

    def panel(self, groups: Sequence[_Group]) -> list[dict[str, Any]]:
        """The groups as the page draws them; gaps are distances, in all dimensions, to the first group's centroid."""
        first, *others = groups
        gaps = [None, *(round(float(np.linalg.norm(group.centre - first.centre)), 4) for group in others)]
        return [
            {
                "kind": group.kind,
                "points": self.coordinates(group.points),
                "labels": group.labels,
                "centroid": self.coordinates(group.centre[None])[0],
                "gap": gap,
            }
            for group, gap in zip(groups, gaps, strict=True)
        ]


def make_projection(
    zero_shot: Embeddings, patched: Embeddings, student: Embeddings | None, head: Head, labels: Labels, seed: int
) -> dict[str, Any]:
    """Unit embeddings of the same samples, and the class vectors, on their first two principal axes.

    Centroids and gaps are those of all samples in all dimensions; points are up to MOST_SAMPLES samples drawn at
    random. The first group of each panel is the RGB images, and gaps are distances to its centroid.

    Args:
        zero_shot: embeddings by CLIP before patching.
        patched: embeddings by the patched CLIP.
        student: embeddings by the aligned student; None without one.
        head: class vectors.
        labels: of the samples.
        seed: of the draw.

    Raises:
        UserError: the embeddings are of different samples, or not in one space.
    """
    sides = [side for side in (zero_shot, patched, student) if side is not None]
    _must_be_comparable(sides)
    count = len(zero_shot.ids)
    rows = np.sort(np.random.default_rng(seed).choice(count, min(count, MOST_SAMPLES), replace=False))
    units = [unit_rows(side.embedding) for side in sides]
    text = unit_rows(head.weights)
    mean, axes, explained = principal_axes(np.concatenate([*(unit[rows] for unit in units), text]))
    plane = _Plane(mean, axes)
    names = [list(labels.of(str(zero_shot.ids[row]))[:MOST_LABELS]) for row in rows]
    images = [
        _Group(kind, unit, unit[rows], names) for kind, unit in zip(("rgb", "rgb", "student"), units, strict=False)
    ]
    of_text = _Group("text", text, text, [[name] for name in head.classes])
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
        "before": plane.panel([images[0], of_text]),
        "after": plane.panel([*images[1:], of_text]),
    }


def _must_be_comparable(sides: Sequence[Embeddings]) -> None:
    zero_shot = sides[0]
    for side in sides[1:]:
        if not np.array_equal(side.ids, zero_shot.ids) or side.embedding.shape != zero_shot.embedding.shape:
            raise UserError(
                f"embeddings of {zero_shot.attrs['encoder']} and {side.attrs['encoder']} on "
                f"{zero_shot.attrs['dataset']} are not of the same samples and width ({zero_shot.embedding.shape} and "
                f"{side.embedding.shape}). Delete both and run again."
            )
