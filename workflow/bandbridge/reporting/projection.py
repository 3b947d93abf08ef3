"""Two directions of the embedding space, before and after patching and alignment, as a JSON file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from bandbridge.base.errors import UserError
from bandbridge.metrics.classification import unit_rows
from bandbridge.reporting.galleries import Labels
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head

MOST_SAMPLES = 400
MOST_LABELS = 4
Floats = NDArray[np.floating]


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


def _panel(plane: PCA, groups: Sequence[_Group]) -> list[dict[str, Any]]:
    """The groups as the page draws them; gaps are distances, in all dimensions, to the first group's centroid."""

    def coordinates(vectors: Floats) -> list[list[float]]:
        rounded: list[list[float]] = np.round(plane.transform(vectors), 4).tolist()
        return rounded

    first = groups[0]
    return [
        {
            "kind": group.kind,
            "points": coordinates(group.points),
            "labels": group.labels,
            "centroid": coordinates(group.centre[None])[0],
            "gap": None if group is first else round(float(np.linalg.norm(group.centre - first.centre)), 4),
        }
        for group in groups
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
    # Its directions have signs that depend on the rows alone, so that the same ones give the same figure.
    plane = PCA(2, svd_solver="full").fit(np.concatenate([*(unit[rows] for unit in units), text], dtype=np.float64))
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
        "explained": [round(float(share), 4) for share in plane.explained_variance_ratio_],
        "before": _panel(plane, [images[0], of_text]),
        "after": _panel(plane, [*images[1:], of_text]),
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
