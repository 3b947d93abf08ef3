"""A scene's windows, strip by strip: nothing of the scene is in memory but the strips at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.store.prefetch import read_ahead
from bandbridge.use.scenes import Scene, starts

# Of one strip's pixels. Two or three are there at a time: the one in use, the next, and the one being read.
STRIP_BYTES = 96 * 2**20
FEWEST_ROWS = 256  # of a strip, where files are stored in rows: reading has a cost per call


@dataclass(frozen=True, eq=False)
class Strip:
    """Some rows of windows, and the pixels that they share.

    Attributes:
        first: index of the first row of windows.
        rows: where each row of windows begins on the scene's grid.
        top: the first row of `pixels`.
        pixels, valid: (band, y, x) and (y, x), or None, over the whole width.
    """

    first: int
    rows: tuple[int, ...]
    top: int
    pixels: NDArray[Any]
    valid: NDArray[np.bool_] | None

    def windows(self, at: int, cols: Sequence[int], size: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Pixels (n, band, y, x) of the windows in row `at` of the strip that begin at `cols`; validity (n, y, x)."""
        row, columns = self.rows[at] - self.top, np.asarray(cols)
        band = np.lib.stride_tricks.sliding_window_view(self.pixels[:, row : row + size], size, axis=2)
        pixels = np.ascontiguousarray(band[:, :, columns].transpose(2, 0, 1, 3))
        if self.valid is None:
            return pixels, None
        valid = np.lib.stride_tricks.sliding_window_view(self.valid[row : row + size], size, axis=1)[:, columns]
        return pixels, np.ascontiguousarray(valid.transpose(1, 0, 2))


def strips(scene: Scene, size: int, stride: int, done: int = 0) -> Iterator[Strip]:
    """All windows of a scene in strips, from the top, the next strip read while the caller uses one.

    Args:
        done: rows of windows to leave out, which an earlier process has done.
    """
    rows = starts(scene.height, size, stride)
    most = _rows_of_a_strip(scene, size)
    parts: list[list[int]] = []
    for index in range(done, len(rows)):
        if not parts or rows[index] + size - rows[parts[-1][0]] > most:
            parts.append([])
        parts[-1].append(index)
    ratio = scene.ratio

    def read(part: Sequence[int]) -> Strip:
        # From where the rows of all bands begin together, so that coarse ones are resampled as in one reading.
        top, end = rows[part[0]] // ratio * ratio, rows[part[-1]] + size
        bottom = min(-(-end // ratio) * ratio, scene.height)
        pixels, valid = scene.read(top, 0, bottom - top, scene.width)
        return Strip(part[0], tuple(rows[index] for index in part), top, pixels, valid)

    return read_ahead(read, parts, prefetch=1, readers=1)  # type: ignore[arg-type]


def _rows_of_a_strip(scene: Scene, size: int) -> int:
    bytes_of_a_row = len(scene.bands) * scene.width * scene.dtype.itemsize
    affordable = STRIP_BYTES // max(1, bytes_of_a_row)
    return max(size, min(affordable, max(scene.block, FEWEST_ROWS)))
