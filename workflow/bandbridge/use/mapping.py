"""A map of a scene: every window classified, on the scene's pixel grid."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.base.progress import progress, remark
from bandbridge.use.calibration import PROBABILITY
from bandbridge.use.cover import Cover, Grid, scores_file, write_cover
from bandbridge.use.images import MIN_VALID, must_hold_windows
from bandbridge.use.labels import Labels
from bandbridge.use.model import Model, filled
from bandbridge.use.one_writer import only_writer
from bandbridge.use.rasters import bands_of
from bandbridge.use.scenes import Reading, Scene, open_scene, starts
from bandbridge.use.strips import Strip, strips

NO_DATA = 0  # of the classes' band; class i of the labels is i + 1
MOST_CLASSES = 255
SCALE = 1e-4  # of scores, which are stored as whole numbers
NO_SCORE = {"uint16": 65_535, "int16": -32_768}


@dataclass(frozen=True)
class Area:
    """The area of a class on a map; `km2` is None where the reference system is in degrees."""

    name: str
    pixels: int
    share: float
    km2: float | None


@dataclass(frozen=True)
class Mapped:
    """A finished map.

    Attributes:
        windows: number encoded in this process.
        areas: of each label, in their order.
        no_data: pixels without a class.
    """

    out: Path
    scores: Path | None
    measure: str
    window: int
    stride: int
    windows: int
    areas: tuple[Area, ...]
    no_data: int


def map_scene(
    model: Model,
    path: Path,
    labels: Labels,
    out: Path,
    *,
    window: int | None = None,
    stride: int | None = None,
    scores: bool = False,
    reading: Reading = Reading(),  # noqa: B008
) -> Mapped:
    """Classify every window of a scene and write the classes as a cloud-optimised GeoTIFF.

    The class of a pixel is that of the window whose middle `stride` pixels it is in; windows that do not fit end at the
    scene's edge. Windows of which less than half have values, and pixels without a value, have no class. A call that
    was killed resumes when it is repeated.

    Args:
        model: that encodes the windows.
        path: of the scene.
        labels: the classes.
        out: the map to write, .tif.
        window: side of a window in pixels; None for that of the model's training samples, else of its input.
        stride: pixels from one window to the next; None for `window`.
        scores: also write `<out>.scores.tif`, a band per class: probabilities or cosines, times 10,000.
        reading: what the user states beyond the files.

    Raises:
        UserError: no reference system, more than 255 labels, windows that do not fit, or a scene that cannot be used.
    """
    if len(labels.names) > MOST_CLASSES:
        raise UserError(f"{len(labels.names)} labels; a map can hold {MOST_CLASSES}.")
    size = window or model.card.window or model.image.size
    step = stride or size
    with only_writer(out, "bandbridge map"), open_scene(path, model.image.takes, reading) as scene:
        if scene.crs is None:
            raise UserError(
                f"{path} states no reference system, so its map would have no place. State it: --crs EPSG:32633 (or "
                "write it into the file: rio edit-info --crs EPSG:32633 FILE). With ground control points, bring it "
                "to a grid: gdalwarp -t_srs EPSG:32633 FILE OUT."
            )
        must_hold_windows(scene, size, step)
        key = _key(model, path, labels, size, step, scores, reading)
        work = Work(out.with_name(f".{out.name}.partial"), key, scene, labels, size, step, scores)
        if work.done:
            remark(f"{out}: resuming after {work.done:,} of {len(work.rows):,} rows of windows of an earlier call.")
        count = 0
        for strip in progress(strips(scene, size, step, work.done), "Mapping", unit="strips"):
            count += _classify_strip(model, scene, labels, strip, work)
        grid = Grid(scene.height, scene.width, scene.transform, scene.crs)
        cover = _cover(model, labels, work, grid, scene)
        score_file = write_cover(cover, out)
        if score_file is None and (earlier := scores_file(out)).is_file():
            remark(f"{earlier} is of an earlier map, not of this one; --scores replaces it.")
        areas, no_data = _areas(work, labels, grid)
        work.remove()
    return Mapped(out, score_file, labels.measure, size, step, count, areas, no_data)


class Work:
    """The finished part of a map, in files that survive a kill.

    Attributes:
        done: rows of windows that are finished.
        classes: (row, col of windows) uint8.
        scores: (row, col, class) whole numbers, or None.
        valid: (y, packed x) bits of pixels that have values; all ones until a pixel without one is read.
    """

    def __init__(
        self, folder: Path, key: dict[str, Any], scene: Scene, labels: Labels, size: int, stride: int, scores: bool
    ) -> None:
        self._folder, self._key = folder, key
        self.rows, self.cols = starts(scene.height, size, stride), starts(scene.width, size, stride)
        self.size, self.stride = size, stride
        self.done = self._earlier()
        if not self.done:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        shape = len(self.rows), len(self.cols)
        kind = "uint16" if labels.measure == PROBABILITY else "int16"
        self.classes = self._mapped("classes", np.dtype(np.uint8), shape)
        self.valid = self._mapped("valid", np.dtype(np.uint8), (scene.height, -(-scene.width // 8)), fill=255)
        self.scores = self._mapped("scores", np.dtype(kind), (*shape, len(labels.names))) if scores else None

    def _earlier(self) -> int:
        try:
            state = read_json(self._folder / "state.json")
            return int(state["done"]) if state["key"] == self._key else 0
        except (OSError, ValueError, KeyError, TypeError, UserError):
            return 0

    def _mapped(self, name: str, dtype: np.dtype, shape: tuple[int, ...], fill: int = 0) -> np.memmap:
        path = self._folder / name
        if path.is_file() and path.stat().st_size == int(np.prod(shape)) * dtype.itemsize:
            return np.memmap(path, dtype, "r+", shape=shape)
        self.done = 0
        mapped = np.memmap(path, dtype, "w+", shape=shape)
        if fill:
            mapped[:] = fill
        return mapped

    def finish(self, rows: int) -> None:
        """Record that this many rows of windows are done, with their results on disk."""
        for array in (self.classes, self.valid, self.scores):
            if array is not None:
                array.flush()
        self.done = rows
        write_json(self._folder / "state.json", {"key": self._key, "done": rows}, checked=False, durable=False)

    def remove(self) -> None:
        del self.classes, self.valid, self.scores
        shutil.rmtree(self._folder, ignore_errors=True)


def _classify_strip(model: Model, scene: Scene, labels: Labels, strip: Strip, work: Work) -> int:
    if strip.valid is not None:
        work.valid[strip.top : strip.top + len(strip.valid)] = np.packbits(strip.valid, axis=1)
    count = 0
    for rows, cols, pixels, valid in _window_batches(strip, work, model.batch_size):
        usable = np.ones(len(rows), bool) if valid is None else valid.mean(axis=(1, 2)) >= MIN_VALID
        if not usable.any():
            continue
        kept = pixels if valid is None else filled(pixels[usable], valid[usable])
        values = labels.scores(model.encode_pixels(kept, scene.bands))
        at = rows[usable], cols[usable]
        work.classes[at] = values.argmax(axis=1) + 1
        if work.scores is not None:
            work.scores[at] = np.rint(values / SCALE).astype(work.scores.dtype)
        count += len(kept)
    work.finish(strip.first + len(strip.rows))
    return count


def _window_batches(
    strip: Strip, work: Work, size: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[np.bool_] | None]]:
    """Yield row and column among the windows, pixels and validity of `size` windows of a strip at a time."""
    waiting: list[tuple[NDArray[Any], ...]] = []
    count = 0

    def joined() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[np.bool_] | None]:
        rows, cols, pixels, *valid = (np.concatenate(part) for part in zip(*waiting, strict=True))
        return rows, cols, pixels, valid[0] if valid else None

    for at in range(len(strip.rows)):
        for start in range(0, len(work.cols), size):
            cols = np.arange(start, min(start + size, len(work.cols)))
            # Full batches, also across rows of windows: a smaller one costs the network more per window.
            while len(cols):
                now, cols = cols[: size - count], cols[size - count :]
                pixels, valid = strip.windows(at, [work.cols[col] for col in now], work.size)
                rows = np.full(len(now), strip.first + at)
                waiting.append((rows, now, pixels) if valid is None else (rows, now, pixels, valid))
                count += len(now)
                if count == size:
                    yield joined()
                    waiting, count = [], 0
    if waiting:
        yield joined()


def cell_of_pixel(begins: list[int], size: int, stride: int, length: int) -> NDArray[np.intp]:
    """The index of the window that each pixel of a side takes its class from: its middle `stride` pixels contain it."""
    margin = (size + stride) // 2
    bounds = [begin + margin for begin in begins[:-1]]
    return np.searchsorted(bounds, np.arange(length), side="right")


def _cover(model: Model, labels: Labels, work: Work, grid: Grid, scene: Scene) -> Cover:
    across = cell_of_pixel(work.cols, work.size, work.stride, grid.width)
    down = cell_of_pixel(work.rows, work.size, work.stride, grid.height)

    def has_value(top: int, bottom: int) -> NDArray[np.bool_]:
        return np.unpackbits(work.valid[top:bottom], axis=1, count=grid.width).astype(bool)

    def classes(top: int, bottom: int) -> NDArray[np.uint8]:
        values = work.classes[down[top:bottom]][:, across]
        return np.where(has_value(top, bottom), values, NO_DATA).astype(np.uint8)

    def scores(top: int, bottom: int) -> NDArray[Any]:
        assert work.scores is not None
        nothing = NO_SCORE[work.scores.dtype.name]
        values = np.moveaxis(work.scores[down[top:bottom]][:, across], -1, 0)
        return np.where(classes(top, bottom) != NO_DATA, values, nothing).astype(work.scores.dtype)

    tags = {
        "MODEL": model.name,
        "MODEL_SHA256": model.digest,
        "TEMPLATES": json.dumps(list(labels.templates), ensure_ascii=False),
        "WINDOW": str(work.size),
        "STRIDE": str(work.stride),
        "SCORE": labels.measure,
        "SCENE": scene.path.name,
        "CLASSES": json.dumps(list(labels.names), ensure_ascii=False),
    }
    if labels.calibration is not None:
        tags["CALIBRATION"] = json.dumps(asdict(labels.calibration))
    kind = None if work.scores is None else work.scores.dtype.name
    return Cover(grid, labels.names, classes, scores if kind else None, kind, labels.measure, SCALE, NO_SCORE, tags)


def _areas(work: Work, labels: Labels, grid: Grid) -> tuple[tuple[Area, ...], int]:
    """Pixels of each class, counted from the windows and the pixels without values."""
    across = cell_of_pixel(work.cols, work.size, work.stride, grid.width)
    down = cell_of_pixel(work.rows, work.size, work.stride, grid.height)
    counts = np.zeros(MOST_CLASSES + 1, np.int64)
    for row in range(len(work.rows)):
        inside = np.flatnonzero(down == row)
        if not len(inside):
            continue
        bits = np.unpackbits(work.valid[inside[0] : inside[-1] + 1], axis=1, count=grid.width)
        pixels = np.bincount(across, weights=bits.sum(axis=0), minlength=len(work.cols))
        counts += np.bincount(work.classes[row], weights=pixels, minlength=MOST_CLASSES + 1).astype(np.int64)
    classified = int(counts[1:].sum())
    square = grid.pixel_km2
    areas = [
        Area(name, int(n), float(n / classified) if classified else 0.0, None if square is None else float(n * square))
        for name, n in zip(labels.names, counts[1:], strict=False)
    ]
    return tuple(areas), grid.height * grid.width - classified


def _key(
    model: Model, path: Path, labels: Labels, size: int, stride: int, scores: bool, reading: Reading
) -> dict[str, Any]:
    """Everything that decides a map; partial results of another key are deleted."""
    files = sorted({band.path for band in bands_of(path)})
    return {
        "model": model.digest,
        "precision": model.precision.name,
        "files": [[str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "labels": list(labels.names),
        "head": float(np.abs(labels.head.astype(np.float64)).sum()).hex(),
        "measure": labels.measure,
        "windows": [size, stride],
        "scores": scores,
        "reading": [list(reading.bands or ()), reading.scale, reading.offset, reading.crs],
    }
