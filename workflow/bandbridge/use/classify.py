"""Labels of many images, to a table."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandbridge.base.files import whole_file
from bandbridge.base.progress import progress
from bandbridge.base.untrusted import as_cell
from bandbridge.use.images import Item, Refused, batches, centre, encode, items, list_images, nothing_left
from bandbridge.use.labels import Labels
from bandbridge.use.model import Model
from bandbridge.use.results import MAPS, no_place, write_table
from bandbridge.use.scenes import Reading


@dataclass(frozen=True)
class Summary:
    """The result of a command: rows written, and images and windows left out."""

    rows: int
    refused: Refused
    refused_file: Path | None


def classify_images(
    model: Model,
    paths: list[Path],
    labels: Labels,
    out: Path,
    *,
    top: int = 1,
    size: int | None = None,
    stride: int | None = None,
    reading: Reading = Reading(),  # noqa: B008
) -> Summary:
    """Write the `top` best labels of each image, or of each window of `size` pixels, with their scores.

    Columns: path, sample, row, col, height, width, label and its probability or cosine, label_2 and so on, lat, lon.
    """
    refused, rows, outlines = Refused(), [], []
    images = list_images(paths)
    stream = progress(items(model, images, reading, refused, size, stride), "Classifying", unit="images")
    for batch in batches(stream, model.batch_size):
        scores = labels.scores(encode(model, batch))
        order = np.argsort(-scores, axis=1, kind="stable")[:, : min(top, len(labels.names))]
        if out.suffix.lower() in MAPS:
            without = [item.path for item in batch if item.outline is None]
            if without:  # before hours of work that could not be written
                raise no_place(out, without[0])
        for item, row, best in zip(batch, scores, order, strict=True):
            rows.append(described(item) | _ranked(labels, row, best) | centre(item.outline))
            outlines.append(item.outline)
    if not rows:
        raise nothing_left(images, refused)
    write_table(out, rows, outlines)
    return Summary(len(rows), refused, write_refused(out, refused))


def described(item: Item) -> dict[str, Any]:
    """The columns that identify the image or window of a row."""
    return {
        "path": item.path,
        "sample": item.sample,
        "row": item.row,
        "col": item.col,
        "height": item.height,
        "width": item.width,
    }


def _ranked(labels: Labels, scores: Any, best: Iterable[int]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for rank, index in enumerate(best, start=1):
        suffix = "" if rank == 1 else f"_{rank}"
        columns |= {f"label{suffix}": labels.names[index], f"{labels.measure}{suffix}": float(scores[index])}
    return columns


def write_refused(out: Path, refused: Refused) -> Path | None:
    """Write the images that could not be used beside a result, `<name>.refused.csv`; None if all could."""
    path = out.with_name(f"{out.stem}.refused.csv")
    if not refused.images:
        path.unlink(missing_ok=True)  # of an earlier call
        return None
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows([as_cell(path), as_cell(reason)] for path, reason in refused.images)
    return path
