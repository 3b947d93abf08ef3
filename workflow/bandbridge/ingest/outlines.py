"""Plain TIFFs that are not opened one by one: of one outline, only their pixels and their place differ.

GDAL takes a millisecond to open a file in memory, longer than to do everything else with a band of a hundred pixels a
side. The files of a data set have few outlines: bytes that are the same in all of them, around the pixels and the tie
point. So GDAL reads the first file of an outline, and tifffile tells where its pixels lie. If the bytes there are the
pixels that GDAL read, they are taken from the same place in later files of that outline.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.ingest.declarations import Declarations
from bandbridge.ingest.places import Transform

if TYPE_CHECKING:
    from tifffile import TiffPage

# Outlines that are kept; the most bytes of one beside its pixels, and with them: a large file takes long anyway.
MOST_OUTLINES, MOST_BYTES, MOST_FILE_BYTES = 256, 64 * 1024, 64 * 1024**2

_UNCOMPRESSED = 1
# White is 0, black is 0, RGB, a palette: pixels as they are stored. GDAL translates others (CMYK, YCbCr, Lab).
_AS_STORED = {0, 1, 2, 3}
# Tags whose values lead to further images and metadata.
_LEADING_ON = {330, 34665, 34853}
# GeoTIFF 1.1, section 7: the pixel scale, the tie point, and two kinds of transformation, which exclude both.
_PIXEL_SCALE, _TIE_POINT, _MATRICES = 33550, 33922, (34264, 33920)
# A tie point is six doubles: column, row, and height of a pixel, then x, y and z of the same point.
_TIE_NUMBERS, _TIE_X, _XY_BYTES = 6, 3 * 8, 2 * 8


@dataclass(frozen=True, eq=False)
class Outline:
    """What files have in common that differ only in their pixels and their place.

    Attributes:
        size: of a file, in bytes.
        fixed: place and content of all bytes that are the same.
        start: where the pixels begin; they are one run of bytes.
        dtype, shape: of the pixels as they are stored, in the file's order of bytes.
        bands_last: whether the shape is (y, x, band); otherwise it is (band, y, x).
        tie: where x and y of the tie point are, and how they are packed; None where the outline fixes the place.
        shift: from the tie point to the upper left corner.
        stated: what a file states; its grid is the first file's.
    """

    size: int
    fixed: tuple[tuple[int, bytes], ...]
    start: int
    dtype: np.dtype
    shape: tuple[int, int, int]
    bands_last: bool
    tie: tuple[int, str] | None
    shift: tuple[float, float]
    stated: Declarations

    @property
    def pixel_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def fits(self, content: bytes) -> bool:
        return len(content) == self.size and all(content.startswith(part, at) for at, part in self.fixed)

    def pixels(self, content: bytes) -> NDArray[Any]:
        """(band, y, x) in the machine's order of bytes; a view of the content where possible."""
        stored = np.frombuffer(content, self.dtype, int(np.prod(self.shape)), self.start).reshape(self.shape)
        native = stored.astype(self.dtype.newbyteorder("="), copy=False)
        return native.transpose(2, 0, 1) if self.bands_last else native

    def declarations(self, content: bytes) -> Declarations:
        """What a file states, with its own grid or transform."""
        if self.tie is None or (self.stated.grid is None and self.stated.bare_transform is None):
            return self.stated
        at, form = self.tie
        return _declared(self, *struct.unpack_from(form, content, at))


@lru_cache(MOST_OUTLINES)
def _declared(outline: Outline, x: float, y: float) -> Declarations:
    """What the files of an outline state, of which several have one tie point: the bands of one sample."""
    left, top = x + outline.shift[0], y + outline.shift[1]

    def moved(transform: Transform) -> Transform:
        a, b, _, d, e, _ = transform
        return a, b, left, d, e, top

    grid, bare = outline.stated.grid, outline.stated.bare_transform
    return replace(
        outline.stated,
        grid=None if grid is None else replace(grid, transform=moved(grid.transform)),
        bare_transform=None if bare is None else moved(bare),
    )


# By the size of a file, in which those of one outline agree.
_outlines: dict[int, list[Outline]] = {}


def known_outline(content: bytes) -> Outline | None:
    """The outline of an earlier file that a file fits."""
    return next((outline for outline in _outlines.get(len(content), ()) if outline.fits(content)), None)


def keep_outline(content: bytes, pixels: NDArray[Any], stated: Declarations) -> None:
    """Keep the outline of a file, if it is a plain TIFF.

    Args:
        pixels, stated: what GDAL read of it. A file in which the same pixels are not found is not kept.
    """
    outline = outline_of(content, pixels, stated)
    if outline is None:
        return
    if sum(map(len, _outlines.values())) >= MOST_OUTLINES:
        _outlines.clear()
    _outlines.setdefault(outline.size, []).append(outline)


def outline_of(content: bytes, pixels: NDArray[Any], stated: Declarations) -> Outline | None:
    """The outline of a TIFF of one image, uncompressed, in one run of bytes; None of any other file."""
    if len(content) > MOST_FILE_BYTES:
        return None
    with suppress(Exception), _first_page(content) as page:  # what tifffile cannot read is left to GDAL
        if len(page.parent.pages) == 1 and _is_plain(page):
            outline = _outline_of_page(content, page, stated)
            if outline is not None and _has_same_pixels(outline, content, pixels):
                return outline
    return None


def is_cut_off(content: bytes) -> bool:
    """Whether a TIFF states that pixels of its first image lie beyond its end."""
    with suppress(Exception), _first_page(content) as page:
        ends = (at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=False))
        return max(ends) > len(content)
    return False


@contextmanager
def _first_page(content: bytes) -> Iterator["TiffPage"]:
    """The first image of a TIFF; raises anything if there is none, since tifffile does not check all that it reads."""
    # It takes 0.2 seconds to import, and most commands read no TIFF.
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # GDAL reads the file: that some tag is odd is no news
    with tifffile.TiffFile(BytesIO(content)) as file:
        yield file.pages.first


def _is_plain(page: "TiffPage") -> bool:
    """Whether the pixels of tifffile's page are stored as they are, in one run of whole strips."""
    kind = page.dtype
    return (
        page.compression == _UNCOMPRESSED
        and page.predictor == page.fillorder == page.imagedepth == 1
        and page.photometric in _AS_STORED
        and not page.is_tiled
        and kind is not None
        and kind.kind in "iuf"
        and page.bitspersample == 8 * kind.itemsize
        and not _LEADING_ON & set(page.tags.keys())
        and tuple(page.databytecounts) == _strips(page)
        and all(
            at + size == after for (at, after), size in zip(pairwise(page.dataoffsets), _strips(page), strict=False)
        )
    )


def _strips(page: "TiffPage") -> tuple[int, ...]:
    """Bytes of each strip of an image without compression."""
    together = page.planarconfig == 1
    row = page.imagewidth * page.bitspersample // 8 * (page.samplesperpixel if together else 1)
    rows = range(0, page.imagelength, page.rowsperstrip)
    of_plane = tuple(row * min(page.rowsperstrip, page.imagelength - start) for start in rows)
    return of_plane * (1 if together else page.samplesperpixel)


def _outline_of_page(content: bytes, page: "TiffPage", stated: Declarations) -> Outline | None:
    assert page.dtype is not None
    together = page.planarconfig == 1
    sides = (page.imagelength, page.imagewidth)
    tie, shift = _tie(content, page, stated)
    start, length = page.dataoffsets[0], sum(page.databytecounts)
    holes = [(start, start + length), *([(tie[0], tie[0] + _XY_BYTES)] if tie else [])]
    holes.sort()
    edges = [0, *(edge for hole in holes for edge in hole), len(content)]
    apart = all(before <= after for before, after in pairwise(edges))
    if not apart or len(content) - length > MOST_BYTES or _touched(page, holes, tie is not None):
        return None
    fixed = ((at, content[at:end]) for at, end in zip(edges[::2], edges[1::2], strict=True))
    return Outline(
        len(content),
        tuple((at, part) for at, part in fixed if part),
        start,
        page.dtype.newbyteorder(page.parent.byteorder),
        (*sides, page.samplesperpixel) if together else (page.samplesperpixel, *sides),
        together,
        tie,
        shift,
        stated,
    )


def _tie(content: bytes, page: "TiffPage", stated: Declarations) -> tuple[tuple[int, str] | None, tuple[float, float]]:
    """As of `Outline`; None where the place is more than a tie point and the size of a pixel."""
    fixed = None, (0.0, 0.0)
    tie, scale = page.tags.get(_TIE_POINT), page.tags.get(_PIXEL_SCALE)
    if tie is None or scale is None or tie.count != _TIE_NUMBERS or any(code in page.tags for code in _MATRICES):
        return fixed
    at, form = tie.valueoffset + _TIE_X, f"{page.parent.byteorder}2d"
    transform = stated.bare_transform if stated.grid is None else stated.grid.transform
    if transform is None:
        return (at, form), (0.0, 0.0)
    a, b, left, d, e, top = transform
    if (a, abs(e)) != tuple(map(abs, scale.value[:2])) or b or d:
        return fixed
    x, y = struct.unpack_from(form, content, at)
    return (at, form), (left - x, top - y)


def _touched(page: "TiffPage", holes: list[tuple[int, int]], has_tie: bool) -> bool:
    """Whether anything that was read to find the pixels lies among them."""
    tags, form = list(page.tags.values()), page.parent.tiff
    end = max(tag.offset for tag in tags) + form.tagsize + form.offsetsize
    read = [(0, 2 * form.offsetsize), (page.offset, end)]
    for tag in tags:
        size = _TIE_X if has_tie and tag.code == _TIE_POINT else tag.valuebytecount
        read.append((tag.valueoffset, tag.valueoffset + size))
    return any(start < end and first < last for start, last in read for first, end in holes)


def _has_same_pixels(outline: Outline, content: bytes, pixels: NDArray[Any]) -> bool:
    own = outline.pixels(content)
    return own.shape == pixels.shape and own.dtype == pixels.dtype and own.tobytes() == pixels.tobytes()
