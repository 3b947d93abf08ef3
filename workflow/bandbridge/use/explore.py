"""What `bandbridge explore` shows: similarities over a scene or an archive, the best places, their spectra."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import SENSORS
from bandbridge.use.archive import Archive, embed_images, open_archive
from bandbridge.use.bands import RGB
from bandbridge.use.hits import PHOTO, as_colours, picture_bands, read_sample, reading_of
from bandbridge.use.images import STORE_MARK
from bandbridge.use.mapping import cell_of_pixel
from bandbridge.use.model import Model
from bandbridge.use.scenes import PICTURE, Reading, open_scene, starts
from bandbridge.use.search import must_match

WIDEST = 1024  # pixels of the longer side of a scene's picture
MOST_POINTS = 5_000  # of an archive's places that are drawn


@dataclass(frozen=True, eq=False)
class Overview:
    """A scene whose windows are the rows of an archive.

    Attributes:
        path: of the scene.
        height, width: of its grid, in pixels.
        picture: (y, x, 4) uint8, no larger than `WIDEST`; transparent where there are no values.
        down, across: which window each row and each column of the picture shows, as row and column among the windows.
        rows, cols: first pixels of the windows.
        cells: (row, col of windows) the row of the archive, -1 for a window that was left out.
        size: of the windows, in pixels.
        mean: mean value of each band over the scene.
    """

    path: Path
    height: int
    width: int
    picture: NDArray[np.uint8]
    down: NDArray[np.intp]
    across: NDArray[np.intp]
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    cells: NDArray[np.int64]
    size: int
    mean: dict[str, float]

    def spread(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of every pixel of the picture, NaN where the window was left out."""
        grid = np.where(self.cells >= 0, cosines[self.cells], np.float32(np.nan))
        return np.where(self.picture[..., 3] > 0, grid[self.down][:, self.across], np.float32(np.nan))

    def at(self, x: float, y: float) -> int | None:
        """The row of the archive that a pixel of the scene takes its cosine from; None outside, or without values."""
        if not (0 <= x < self.width and 0 <= y < self.height):
            return None
        row = self.down[int(y * len(self.down) / self.height)]
        col = self.across[int(x * len(self.across) / self.width)]
        cell = int(self.cells[row, col])
        return cell if cell >= 0 else None


@dataclass(frozen=True, eq=False)
class Explored:
    """A model and the embeddings that are explored with it.

    Attributes:
        title: name of the scene or the archive.
        overview: of the scene; None for an archive of several images.
        places: (n, 2) longitude and latitude of some of the archive's rows; empty where none are known.
    """

    model: Model
    archive: Archive
    title: str
    overview: Overview | None
    places: NDArray[np.float64]


@contextmanager
def explored(
    model: Model,
    source: Path,
    window: int | None,
    stride: int | None,
    reading: Reading = Reading(),  # noqa: B008
) -> Iterator[Explored]:
    """A scene, whose windows are embedded first, or an archive of `bandbridge embed`.

    Args:
        model: that embeds the windows and the words.
        source: an image, or an archive.
        window: side of the scene's windows; None for that of the model's training samples, else of its input.
        stride: pixels from one window to the next; None for `window`.
        reading: what the user states beyond the files.

    Raises:
        UserError: the scene cannot be used, the archive is of another model, or the model has no text encoder.
    """
    _ = model.text  # before any work: there would be no words
    with ExitStack() as stack:
        if source.suffix.lower() == ".parquet":
            if window or stride:
                raise UserError(f"{source} is an archive, whose windows are embedded already; leave out --window.")
            archive = open_archive(source)
            must_match(model, archive)
        else:
            _must_be_one_image(source)
            size = window or model.card.window or model.image.size
            out = Path(stack.enter_context(TemporaryDirectory(prefix="bandbridge-")), "scene.parquet")
            embed_images(model, [source], out, size=size, stride=stride or size, reading=reading)
            archive = open_archive(out)
        if not archive.rows:
            raise UserError(f"{source} holds no embeddings; make it again from images that can be used.")
        yield Explored(model, archive, source.name, overview(model, archive), _places(archive))


def _must_be_one_image(source: Path) -> None:
    if not source.exists():
        raise UserError(f"{source} not found; name a scene, or an archive of bandbridge embed (.parquet).")
    if source.is_dir() and (source / STORE_MARK).is_file():
        raise UserError(
            f"{source} is a data set's store; embed it first: bandbridge embed MODEL {source} --out archive.parquet"
        )


def overview(model: Model, archive: Archive) -> Overview | None:
    """The scene of an archive; None unless all of its rows are windows of one image that can still be read."""
    size, stride = archive.about["window"], archive.about["stride"]
    if size is None:
        return None
    index = archive.columns(["path", "sample", "row", "col"])
    paths = pc.unique(index["path"]).to_pylist()
    if len(paths) != 1 or not Path(paths[0]).exists():
        return None
    path, (takes, recipe) = Path(paths[0]), picture_bands(archive)
    with open_scene(path, (takes, PICTURE), reading_of(archive)) as scene:
        height, width = scene.height, scene.width
        shape = _shape(height, width, WIDEST)
        pixels, valid = scene.read(0, 0, height, width, shape)
        colours = as_colours(pixels, PHOTO if scene.bands == RGB else recipe)
    with open_scene(path, model.image.takes, reading_of(archive)) as scene:
        values, valid = scene.read(0, 0, height, width, _shape(height, width, WIDEST // 4))
        inside = values if valid is None else values[:, valid]
        mean = {name: float(band.mean()) for name, band in zip(scene.bands, inside.astype(np.float64), strict=True)}
        _, valid = scene.read(0, 0, height, width, shape)
    opaque = np.full(shape, 255, np.uint8) if valid is None else np.where(valid, 255, 0).astype(np.uint8)
    rows, cols = starts(height, size, stride), starts(width, size, stride)
    cells = np.full((len(rows), len(cols)), -1, np.int64)
    at = np.searchsorted(rows, index["row"].to_numpy()), np.searchsorted(cols, index["col"].to_numpy())
    cells[at] = np.arange(archive.rows)
    return Overview(
        path, height, width, np.dstack([colours, opaque]),
        cell_of_pixel(rows, size, stride, height)[_sampled(height, shape[0])],
        cell_of_pixel(cols, size, stride, width)[_sampled(width, shape[1])],
        tuple(rows), tuple(cols), cells, size, mean,
    )  # fmt: skip


def _shape(height: int, width: int, most: int) -> tuple[int, int]:
    factor = min(1.0, most / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _sampled(length: int, parts: int) -> NDArray[np.intp]:
    """The middle pixel of each of `parts` equal parts of a side."""
    return ((np.arange(parts) + 0.5) * length / parts).astype(np.intp)


def _places(archive: Archive) -> NDArray[np.float64]:
    from shapely import centroid, from_wkb, get_coordinates

    geometries = archive.columns(["geometry"])["geometry"].drop_null()
    if not len(geometries):
        return np.empty((0, 2))
    step = -(-len(geometries) // MOST_POINTS)
    chosen: NDArray[np.float64] = get_coordinates(centroid(from_wkb(geometries.to_pandas().to_numpy()[::step])))
    return chosen


# --- spectra ----------------------------------------------------------------------------------------------------------


def spectra(explored: Explored, records: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """The mean value of each band over the window of each record; empty for one whose image cannot be read."""
    means: list[dict[str, float]] = []
    with ExitStack() as stack:

        @cache
        def opened(path: str) -> Any:
            takes, reading = explored.model.image.takes, reading_of(explored.archive)
            return stack.enter_context(open_scene(Path(path), takes, reading))

        for record in records:
            try:
                if record["sample"]:
                    store, pixels = read_sample(Path(record["path"]), record["sample"])
                    is_picture = store.modality == "rgb"
                    names = RGB if is_picture else store.bands
                    pixels, valid = np.moveaxis(pixels, -1, 0) if is_picture else pixels, None
                else:
                    scene = opened(record["path"])
                    names = scene.bands
                    pixels, valid = scene.read(record["row"], record["col"], record["height"], record["width"])
            except UserError:
                means.append({})
                continue
            inside = pixels.reshape(len(pixels), -1) if valid is None else pixels[:, valid]
            values = inside.mean(axis=1, dtype=np.float64).tolist()
            means.append(dict(zip(names, values, strict=True)))
    return means


def wavelengths(bands: Sequence[str]) -> dict[str, float] | None:
    """The centre of each band in nanometres; None unless all are known and are light."""
    known = {band.name: band.wavelength for sensor in SENSORS.values() for band in sensor.bands}
    centres = {name: wave for name in bands if (wave := known.get(name)) is not None and wave < 1e5}
    return centres if len(centres) == len(bands) else None
