"""Files that GDAL writes beside NAME.tif and that change what it means: masks (.msk) and notes (.aux.xml).

Of the notes (GDAL's PAM) only names, values of no data, scales, offsets, colours and the place are read. Statistics and
histograms, which any look at a file leaves behind, state nothing of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element

from pyproj.exceptions import CRSError

from bandbridge.base.safe_xml import parsed
from bandbridge.ingest.archives import members
from bandbridge.ingest.declarations import TAGS, Declarations
from bandbridge.ingest.junk import NOTES
from bandbridge.ingest.mask_files import ENDING as MASK
from bandbridge.ingest.mask_files import read_mask
from bandbridge.ingest.places import Grid, short_system
from bandbridge.ingest.rasters import Raster, RasterError, centre_of

PATTERNS = ("*.[mM][sS][kK]", "*.[aA][uU][xX].[xX][mM][lL]")
COLOURS = ("red", "green", "blue")

T = TypeVar("T")


@dataclass(frozen=True)
class SideFiles:
    """The contents of what lies beside a file; None where there is no such file."""

    mask: bytes | None = None
    notes: bytes | None = None


NONE_BESIDE = SideFiles()


def side_files_of(path: Path, accepts: Callable[[str], bool]) -> dict[str, SideFiles]:
    """File -> what lies beside it, for the accepted files that have such files. A tar is read once for them.

    Args:
        accepts: a predicate of the files' names.
    """
    beside: dict[str, SideFiles] = {}
    for name, content in members(path, PATTERNS, accepts=lambda name: accepts(_owner(name))):
        kind = "mask" if name.lower().endswith(MASK) else "notes"
        beside[_owner(name)] = replace(beside.get(_owner(name), NONE_BESIDE), **{kind: content})
    return beside


def _owner(name: str) -> str:
    return next((name[: -len(ending)] for ending in (MASK, NOTES) if name.lower().endswith(ending)), name)


def with_side_files(raster: Raster, beside: SideFiles | None) -> Raster:
    """A decoded file whose `stated` has what is stated beside it.

    Raises:
        RasterError: the mask or the notes are damaged, or the mask has another size.
    """
    if beside is None:
        return raster
    stated = stated_with(raster.stated, beside, raster.pixels.shape, raster.grid)
    grid = stated.grid
    if grid is None or grid == raster.grid:
        return replace(raster, stated=stated)
    return replace(raster, stated=stated, place=lambda: centre_of(grid), find_grid=lambda: grid)


def stated_with(
    stated: Declarations, beside: SideFiles | None, shape: Sequence[int], grid: Grid | None = None
) -> Declarations:
    """What a file of some shape (band, y, x) states, with what is stated beside it; errors as of `with_side_files`.

    As in GDAL, the file's own values of no data count before those of the notes, and its own place after theirs.
    """
    if beside is None:
        return stated
    if beside.notes is not None:
        try:
            stated = _noted(replace(stated, grid=stated.grid or grid), parsed(beside.notes), shape)
        except (ValueError, CRSError) as error:
            raise RasterError(f"has notes beside it ({NOTES}) that cannot be read ({error}); remove them") from error
    if beside.mask is not None:
        stated = replace(stated, mask=read_mask(beside.mask, (shape[1], shape[2])))
    return stated


def states_something(notes: bytes) -> bool:
    """Whether notes change what a file means, or cannot be read."""
    try:
        noted = _noted(Declarations(), parsed(notes), (_most_bands(notes), 1, 1))
    except (ValueError, CRSError):
        return True
    return any((
        *noted.names, *noted.colours, noted.tags, noted.grid, *(value is not None for value in noted.nodata),
        *(value != 1 for value in noted.scales), *(value != 0 for value in noted.offsets),
    ))  # fmt: skip


def _most_bands(notes: bytes) -> int:
    return notes.count(b"<PAMRasterBand")


def _noted(stated: Declarations, notes: Element, shape: Sequence[int]) -> Declarations:
    bands = {int(band.get("band", "0")): band for band in notes.iter("PAMRasterBand")}
    each = [bands.get(number) for number in range(1, shape[0] + 1)]
    colours = [(_text(band, "ColorInterp") or "").lower() for band in each]
    colours = [name if name in COLOURS else "" for name in colours]
    return replace(
        stated,
        nodata=_filled(stated.nodata, [_number(band, "NoDataValue") for band in each], None),
        scales=_replaced(stated.scales, [_number(band, "Scale") for band in each], 1.0),
        offsets=_replaced(stated.offsets, [_number(band, "Offset") for band in each], 0.0),
        names=_replaced(stated.names, [_text(band, "Description") for band in each], ""),
        colours=tuple(colours) if any(colours) else stated.colours,
        is_picture=stated.is_picture and not any(colours),
        tags={**stated.tags, **_tags(notes)},
        grid=_grid(notes, shape) or stated.grid,
    )


def _filled(own: tuple[T | None, ...], noted: Sequence[T | None], nothing: T | None) -> tuple[T | None, ...]:
    """The file's own values, and those of the notes where it has none."""
    own = own or (nothing,) * len(noted)
    return tuple(value if value is not None else other for value, other in zip(own, noted, strict=True))


def _replaced(own: tuple[T, ...], noted: Sequence[T | None], nothing: T) -> tuple[T, ...]:
    """The values of the notes, and the file's own where they have none."""
    if all(value is None for value in noted):
        return own
    own = own or (nothing,) * len(noted)
    return tuple(value if other is None else other for value, other in zip(own, noted, strict=True))


def _text(element: Element | None, name: str) -> str | None:
    text = None if element is None else element.findtext(name)
    return text.strip() or None if text else None


def _number(element: Element | None, name: str) -> float | None:
    text = _text(element, name)
    return None if text is None else float(text)


def _tags(notes: Element) -> Mapping[str, str]:
    plain = [items for items in notes.findall("Metadata") if not items.get("domain")]
    values = {item.get("key", ""): (item.text or "").strip() for items in plain for item in items.findall("MDI")}
    return {name: values[name] for name in TAGS if name in values}


def _grid(notes: Element, shape: Sequence[int]) -> Grid | None:
    """Where the notes say that a file lies; None unless they state both a reference system and a transform."""
    system, transform = _text(notes, "SRS"), _text(notes, "GeoTransform")
    if system is None or transform is None:
        return None
    c, a, b, f, d, e = map(float, transform.split(","))
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        raise ValueError(f"its GeoTransform is {transform}")
    return Grid(short_system(system), (a, b, c, d, e, f), shape[1], shape[2])
