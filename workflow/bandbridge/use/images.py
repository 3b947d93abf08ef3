"""IMAGES on the command line to batches of pixels: files, folders of files or of bands, stores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.metrics.neighbours import METRES_PER_DEGREE
from bandbridge.store.dataset import Store
from bandbridge.use.bands import RGB, must_have
from bandbridge.use.model import Model, filled, in_batches, read_whole
from bandbridge.use.rasters import JUNK, SUFFIXES, is_band_folder, rasters_in
from bandbridge.use.scenes import BandSet, Reading, Scene, open_scene, starts
from bandbridge.use.strips import strips

Outline = tuple[tuple[float, float], ...]
STORE_MARK = "zarr.json"
SAMPLES_AT_A_TIME = 256
# Share of a window's pixels: with fewer values, most of what the model would see is filled in.
MIN_VALID = 0.5


@dataclass(frozen=True)
class Position:
    """A place in a stream of items, behind one of them: the stream can be resumed at it.

    Attributes:
        image: index among the images.
        item: number of the image's windows or samples before this place, those left out included.
        windows: left out before it.
        refused: images refused before it.
    """

    image: int = 0
    item: int = 0
    windows: int = 0
    refused: int = 0


@dataclass(frozen=True, eq=False)
class Item:
    """One image, or one window of one.

    Attributes:
        path: of the image, or of the store; `sample` is its id in the store, empty for files.
        row, col, height, width: of the window, in pixels of the image's grid.
        pixels, valid: (band, y, x), and (y, x) or None.
        bands: their names.
        outline: its corners as (longitude, latitude), the first one twice; None where no place is known.
        position: behind it.
    """

    path: str
    row: int
    col: int
    height: int
    width: int
    pixels: NDArray[Any]
    valid: NDArray[np.bool_] | None
    bands: tuple[str, ...]
    outline: Outline | None
    position: Position
    sample: str = ""


@dataclass(eq=False)
class Refused:
    """Images that could not be used, with reasons, and windows that were left out for no-data."""

    images: list[tuple[str, str]] = field(default_factory=list)
    windows: int = 0

    def behind(self, image: int, item: int) -> Position:
        """The position behind an item."""
        return Position(image, item, self.windows, len(self.images))


def list_images(paths: Sequence[Path]) -> list[Path]:
    """All images of the paths: files, folders of bands, SAFE products, stores; other folders are searched.

    Raises:
        UserError: a path does not exist, or nothing below it is an image.
    """
    images: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} not found; name images, folders of them, SAFE products, STAC items or stores.")
        below = list(_images_below(path)) if path.is_dir() else [path]
        if not below:
            raise UserError(
                f"{path}: no images found in it or below; expected files that end in {', '.join(SUFFIXES)}."
            )
        images += below
    return list(dict.fromkeys(images))


def is_store(path: Path) -> bool:
    """Whether a folder is a data set's store, or a split of one."""
    return (path / STORE_MARK).is_file()


def _images_below(folder: Path) -> Iterator[Path]:
    if is_store(folder) or is_band_folder(folder):
        yield folder
        return
    yield from rasters_in(folder)
    for below in sorted(item for item in folder.iterdir() if item.is_dir() and not JUNK.match(item.name)):
        yield from _images_below(below)


def items(
    model: Model,
    images: Sequence[Path],
    reading: Reading,
    refused: Refused,
    size: int | None = None,
    stride: int | None = None,
    start: Position = Position(),
) -> Iterator[Item]:
    """Yield the images, or with `size` their windows, from a position on.

    An image that cannot be used is added to `refused` if there are others.

    Args:
        model: that they are for.
        images: see `list_images`.
        reading: what the user states beyond the files.
        refused: what was refused before `start`.
        size, stride: of windows; None for whole images.
        start: behind the last item that an earlier process has done.

    Raises:
        UserError: a stride without windows, or none of the images can be used.
    """
    if size is None and stride is not None:
        raise UserError(f"--stride {stride} needs --window: without it, images are encoded whole.")
    for index, path in enumerate(images[start.image :], start=start.image):
        done = start.item if index == start.image else 0
        try:
            if is_store(path):
                yield from _of_store(model, path, size, refused, index, done)
            else:
                with open_scene(path, model.image.takes, reading) as scene:
                    yield from _of_scene(scene, model.card.window, size, stride or size, refused, index, done)
        except UserError as error:
            if len(images) == 1:
                raise
            refused.images.append((str(path), str(error)))
    if len(refused.images) == len(images):
        raise UserError(f"none of {len(images)} images can be used; the first: {refused.images[0][1]}")


def nothing_left(images: Sequence[Path], refused: Refused) -> UserError:
    """What to raise where every window was left out."""
    return UserError(
        f"{images[0]}{' and others' if len(images) > 1 else ''}: all {refused.windows:,} windows were left out: less "
        "than half of their pixels have values. Name images with data there, or choose another --window."
    )


def batches(stream: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield items that can be encoded together: with the same shape, type and bands."""
    for _, alike in groupby(stream, lambda item: (item.pixels.shape, item.pixels.dtype, item.bands)):
        yield from in_batches(alike, size)


def encode(model: Model, batch: Sequence[Item]) -> NDArray[np.float32]:
    """Unit embeddings (n, dim) of items that can be encoded together."""
    pixels = np.stack([item.pixels for item in batch])
    if any(item.valid is not None for item in batch):
        everywhere = np.ones(pixels.shape[-2:], bool)
        valid = np.stack([everywhere if item.valid is None else item.valid for item in batch])
        pixels = filled(pixels, valid)
    return model.encode_pixels(pixels, batch[0].bands)


def _of_scene(
    scene: Scene, trained: int | None, size: int | None, stride: int | None, refused: Refused, index: int, done: int
) -> Iterator[Item]:
    if size is None:
        if not done:
            pixels, valid = read_whole(scene, trained)
            yield _item(scene, (0, 0, scene.height, scene.width), pixels, valid, refused.behind(index, 1))
        return
    assert stride is not None
    must_hold_windows(scene, size, stride)
    cols = starts(scene.width, size, stride)
    rows_done, cols_done = divmod(done, len(cols))
    for strip in strips(scene, size, stride, rows_done):
        for at, row in enumerate(strip.rows):
            first = cols_done if strip.first + at == rows_done else 0
            pixels, valid = strip.windows(at, cols[first:], size)
            for number, col in enumerate(cols[first:]):
                mask = None if valid is None else valid[number]
                if mask is not None and mask.mean() < MIN_VALID:
                    refused.windows += 1
                    continue
                position = refused.behind(index, (strip.first + at) * len(cols) + first + number + 1)
                yield _item(scene, (row, col, size, size), pixels[number], mask, position)


def _item(
    scene: Scene,
    window: tuple[int, int, int, int],
    pixels: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    position: Position,
) -> Item:
    outline = scene.outline(*window)
    place = tuple(outline) if outline else None
    return Item(str(scene.path), *window, pixels, valid, scene.bands, place, position)


def must_hold_windows(scene: Scene, size: int, stride: int) -> None:
    """Raise `UserError` unless windows of a size and stride, in pixels, make sense on a scene."""
    if size < 1 or stride < 1:
        raise UserError(f"--window is {size} and --stride {stride}; expected whole numbers of pixels, 1 or more.")
    if stride > size:
        raise UserError(f"--stride {stride} is more than --window {size}: some pixels would be in none.")
    if size > min(scene.height, scene.width):
        raise UserError(
            f"{scene.path} has {scene.height:,} x {scene.width:,} pixels, fewer than --window {size}; choose a smaller "
            "window."
        )


# --- stores -----------------------------------------------------------------------------------------------------------


def _of_store(model: Model, path: Path, size: int | None, refused: Refused, index: int, done: int) -> Iterator[Item]:
    """Yield the samples of a data set's store, or of one split (`<dataset>.zarr/test`), without the first `done`."""
    if size is not None:
        raise UserError(f"{path}: a store holds samples, which are encoded whole; leave --window out.")
    split = None
    if not path.name.endswith(".zarr") and path.parent.name.endswith(".zarr"):
        path, split = path.parent, path.name
    store = _view(Store(path), model.image.takes)
    names = RGB if store.modality == "rgb" else store.bands
    takes = next(bands for bands in model.image.takes if bands.is_picture == (store.modality == "rgb"))
    must_have(names, takes.bands, str(path), takes.may_lack)
    used = [at for at, name in enumerate(names) if name in takes.bands]
    bands = tuple(names[at] for at in used)
    before = 0  # samples of the splits before
    for name in [split] if split else store.splits:
        samples = store.split(name)
        for start in range(max(0, done - before), len(samples), SAMPLES_AT_A_TIME):
            indices = np.arange(start, min(start + SAMPLES_AT_A_TIME, len(samples)))
            pixels = samples.read(indices)
            pixels = np.moveaxis(pixels, -1, 1) if store.modality == "rgb" else pixels[:, used]
            for at, image in zip(indices.tolist(), pixels, strict=True):
                place = _square(samples.lat, samples.lon, samples.side, at)
                height, width = image.shape[1:]
                position = refused.behind(index, before + at + 1)
                sample = str(samples.ids[at])
                yield Item(str(path / name), 0, 0, height, width, image, None, bands, place, position, sample)
        before += len(samples)


def _view(store: Store, takes: Sequence[BandSet]) -> Store:
    """The store in the first modality that has bands which the model takes."""
    for bands in takes:
        for name, facts in store.attrs["modalities"].items():
            if bands.is_picture == (name == "rgb") and (name == "rgb" or set(bands.bands) & set(facts["bands"])):
                return Store(store.path, modality=name)
    available = "; ".join(f"{name}: {' '.join(facts['bands'])}" for name, facts in store.attrs["modalities"].items())
    raise UserError(f"{store.path} has {available}; the model takes {' '.join(takes[0].bands)}.")


def _square(
    lat: NDArray[np.float64] | None, lon: NDArray[np.float64] | None, side: float | None, at: int
) -> Outline | None:
    """The outline of a sample from its centre and side."""
    if lat is None or lon is None or not side or not np.isfinite([lat[at], lon[at]]).all():
        return None
    north = side / 2 / METRES_PER_DEGREE
    east = north / max(float(np.cos(np.radians(lat[at]))), 1e-6)
    corners = ((-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1))
    return tuple((float(lon[at] + x * east), float(lat[at] + y * north)) for x, y in corners)


def centre(outline: Outline | None) -> dict[str, float | None]:
    """The columns of a place; None where it is not known."""
    lon, lat = (None, None) if outline is None else np.mean(outline[:-1], axis=0).tolist()
    return {"lat": lat, "lon": lon}
