"""IMAGES as people name them, to batches of pixels that a model takes: files, folders of files or of bands, stores."""

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
# Of a window's pixels: with fewer values, what the model would see is mostly made up.
MIN_VALID = 0.5


@dataclass(frozen=True, eq=False)
class Item:
    """One image, or one window of one.

    Attributes:
        path: of the image, or of the store; `sample` is its id there, empty for files.
        row, col, height, width: of the window, in pixels of the image's grid.
        pixels, valid: (band, y, x), and (y, x) or None.
        bands: their names.
        outline: its corners as (longitude, latitude), the first one twice; None where no place is known.
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
    sample: str = ""


@dataclass(eq=False)
class Refused:
    """Images that could not be used, with reasons, and windows that were left out for no-data."""

    images: list[tuple[str, str]] = field(default_factory=list)
    windows: int = 0


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Every image that the paths stand for: files, folders of bands, SAFE products, stores; other folders are searched.

    Raises:
        UserError: a path does not exist, or nothing below it is an image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} not found; name images, folders of them, SAFE products, STAC items or stores.")
        below = list(_images_below(path)) if path.is_dir() else [path]
        if not below:
            raise UserError(
                f"{path}: no images found in it or below; expected files that end in {', '.join(SUFFIXES)}."
            )
        found += below
    return list(dict.fromkeys(found))


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
    paths: Sequence[Path],
    reading: Reading,
    refused: Refused,
    size: int | None = None,
    stride: int | None = None,
) -> Iterator[Item]:
    """The images, or with `size` their windows, one after the other.

    An image that cannot be used goes to `refused` where there are others.
    """
    images = list_images(paths)
    for path in images:
        try:
            if is_store(path):
                yield from _of_store(model, path, size)
            else:
                with open_scene(path, model.image.takes, reading) as scene:
                    yield from _of_scene(scene, size, stride or size, refused)
        except UserError as error:
            if len(images) == 1:
                raise
            refused.images.append((str(path), str(error)))
    if len(refused.images) == len(images):
        raise UserError(f"none of {len(images)} images can be used; the first: {refused.images[0][1]}")


def batches(found: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items that can be encoded together: of one shape, one type and the same bands."""
    for _, alike in groupby(found, lambda item: (item.pixels.shape, item.pixels.dtype, item.bands)):
        yield from in_batches(alike, size)


def encode(model: Model, batch: Sequence[Item]) -> NDArray[np.float32]:
    """Unit embeddings (n, dim) of items that can be encoded together."""
    pixels = np.stack([item.pixels for item in batch])
    if any(item.valid is not None for item in batch):
        everywhere = np.ones(pixels.shape[-2:], bool)
        valid = np.stack([everywhere if item.valid is None else item.valid for item in batch])
        pixels = filled(pixels, valid)
    return model.encode_pixels(pixels, batch[0].bands)


def _of_scene(scene: Scene, size: int | None, stride: int | None, refused: Refused) -> Iterator[Item]:
    if size is None:
        pixels, valid = read_whole(scene)
        outline = scene.outline(0, 0, scene.height, scene.width)
        yield Item(
            str(scene.path),
            0,
            0,
            scene.height,
            scene.width,
            pixels,
            valid,
            scene.bands,
            tuple(outline) if outline else None,
        )
        return
    assert stride is not None
    must_hold_windows(scene, size, stride)
    cols = starts(scene.width, size, stride)
    for strip in strips(scene, size, stride):
        for at, row in enumerate(strip.rows):
            pixels, valid = strip.windows(at, cols, size)
            for number, col in enumerate(cols):
                mask = None if valid is None else valid[number]
                if mask is not None and mask.mean() < MIN_VALID:
                    refused.windows += 1
                    continue
                outline = scene.outline(row, col, size, size)
                place = tuple(outline) if outline else None
                yield Item(str(scene.path), row, col, size, size, pixels[number], mask, scene.bands, place)


def must_hold_windows(scene: Scene, size: int, stride: int) -> None:
    """Raise `UserError` unless windows of a size and stride, in pixels, make sense on a scene."""
    if size < 1 or stride < 1:
        raise UserError(f"--window is {size} and --stride {stride}; expected whole numbers of pixels, 1 or more.")
    if stride > size:
        raise UserError(f"--stride {stride} is more than --window {size}: pixels between windows would be in none.")
    if size > min(scene.height, scene.width):
        raise UserError(
            f"{scene.path} has {scene.height:,} x {scene.width:,} pixels, fewer than --window {size}; take a smaller "
            "window."
        )


# --- stores -----------------------------------------------------------------------------------------------------------


def _of_store(model: Model, path: Path, size: int | None) -> Iterator[Item]:
    """The samples of a data set's store, or of one split of it (`<dataset>.zarr/test`)."""
    if size is not None:
        raise UserError(f"{path}: a store holds samples, which are encoded whole; leave --window out.")
    split = None
    if not path.name.endswith(".zarr") and path.parent.name.endswith(".zarr"):
        path, split = path.parent, path.name
    store = _view(Store(path), model.image.takes)
    names = RGB if store.modality == "rgb" else store.bands
    takes = next(bands for bands in model.image.takes if bands.is_picture == (store.modality == "rgb"))
    must_have(names, takes.bands, str(path), takes.may_lack)
    known = [at for at, name in enumerate(names) if name in takes.bands]
    bands = tuple(names[at] for at in known)
    for name in [split] if split else store.splits:
        samples = store.split(name)
        for start in range(0, len(samples), SAMPLES_AT_A_TIME):
            indices = np.arange(start, min(start + SAMPLES_AT_A_TIME, len(samples)))
            pixels = samples.read(indices)
            pixels = np.moveaxis(pixels, -1, 1) if store.modality == "rgb" else pixels[:, known]
            for at, image in zip(indices.tolist(), pixels, strict=True):
                place = _square(samples.lat, samples.lon, samples.side, at)
                height, width = image.shape[1:]
                sample = str(samples.ids[at])
                yield Item(str(path / name), 0, 0, height, width, image, None, bands, place, sample)


def _view(store: Store, takes: Sequence[BandSet]) -> Store:
    """The store in the modality that a model takes most of."""
    for bands in takes:
        for name, facts in store.attrs["modalities"].items():
            if bands.is_picture == (name == "rgb") and (name == "rgb" or set(bands.bands) & set(facts["bands"])):
                return Store(store.path, modality=name)
    there = "; ".join(f"{name}: {' '.join(facts['bands'])}" for name, facts in store.attrs["modalities"].items())
    raise UserError(f"{store.path} has {there}; the model takes {' '.join(takes[0].bands)}.")


def _square(
    lat: NDArray[np.float64] | None, lon: NDArray[np.float64] | None, side: float | None, at: int
) -> Outline | None:
    """The outline of a sample of which only the centre is known."""
    if lat is None or lon is None or not side or not np.isfinite([lat[at], lon[at]]).all():
        return None
    north = side / 2 / METRES_PER_DEGREE
    east = north / max(float(np.cos(np.radians(lat[at]))), 1e-6)
    corners = ((-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1))
    return tuple((float(lon[at] + x * east), float(lat[at] + y * north)) for x, y in corners)


def stated_bands(text: str | None) -> tuple[str, ...] | None:
    """--bands as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None
