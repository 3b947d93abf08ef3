"""What is stated beside a raster: masks (NAME.tif.msk), notes (NAME.tif.aux.xml), world files, .prj, its STAC item.

Of the notes (GDAL's PAM) only names, values of no data, scales, offsets, colours and the place are read. Statistics and
histograms, which any look at a file leaves behind, state nothing of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.io import DatasetReader

from bandbridge.base.safe_xml import parsed
from bandbridge.ingest import world_files
from bandbridge.ingest.archives import members
from bandbridge.ingest.declarations import TAGS, Declarations, declarations_of
from bandbridge.ingest.junk import NOTES
from bandbridge.ingest.mask_files import ENDING as MASK
from bandbridge.ingest.mask_files import read_mask
from bandbridge.ingest.places import Grid, Transform, short_system
from bandbridge.ingest.rasters import Raster, RasterError, centre_of
from bandbridge.ingest.stac import AssetFacts

COLOURS = ("red", "green", "blue")

T = TypeVar("T")


@dataclass(frozen=True)
class SideFiles:
    """The contents of what lies beside a file, and what its STAC item states; None where there is no such thing."""

    mask: bytes | None = None
    notes: bytes | None = None
    world: bytes | None = None
    system: bytes | None = None
    item: AssetFacts | None = None


NONE_BESIDE = SideFiles()


@dataclass(frozen=True)
class Beside:
    """What lies beside the files of an archive.

    Attributes:
        named: file -> masks and notes, which are called as the file and more.
        places: name in small letters -> content of a world file or a .prj, called as the file but for the ending.
    """

    named: dict[str, SideFiles] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)

    def get(self, file: str) -> SideFiles | None:
        """What lies beside a file; None where nothing does."""
        beside = self.named.get(file)
        if not self.places:
            return beside
        present = [name for name in world_files.sides(file) if name in self.places]
        systems = [name for name in present if name.endswith(world_files.SYSTEM)]
        worlds = [name for name in present if name not in systems]
        if not present:
            return beside
        return replace(
            beside or NONE_BESIDE,
            world=self.places[worlds[0]] if worlds else None,
            system=self.places[systems[0]] if systems else None,
        )


def side_files_of(path: Path, accepts: Callable[[str], bool]) -> Beside:
    """What lies beside the accepted files of an archive or a folder. A tar is read once for it.

    Args:
        accepts: a predicate of the files' names.
    """
    beside = Beside()

    def is_wanted(name: str) -> bool:
        lower = name.lower()
        if lower.endswith((MASK, NOTES)):
            return accepts(_owner(name))
        return lower.endswith(world_files.ENDINGS) and any(map(accepts, world_files.owners(name)))

    for name, content in members(path, accepts=is_wanted):
        if not name.lower().endswith((MASK, NOTES)):
            beside.places[name.lower()] = content
            continue
        sides = beside.named.get(_owner(name), NONE_BESIDE)
        is_mask = name.lower().endswith(MASK)
        beside.named[_owner(name)] = replace(sides, mask=content) if is_mask else replace(sides, notes=content)
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

    As in GDAL, the file's own values of no data count before those of the notes, its own place after theirs, and a
    world file only where neither states a place. An item counts where neither states anything.
    """
    if beside is None:
        return stated
    stated = replace(stated, grid=stated.grid or grid)
    if beside.notes is not None:
        try:
            stated = _noted(stated, parsed(beside.notes), shape)
        except (ValueError, CRSError) as error:
            raise RasterError(f"has notes beside it ({NOTES}) that cannot be read ({error}); remove them") from error
    if beside.item is not None:
        stated = _with_item(stated, beside.item, shape[0])
    own = (stated.grid.crs, stated.grid.transform) if stated.grid is not None else (None, stated.bare_transform)
    crs, transform = place_beside(beside, *own)
    if crs is not None and transform is not None and (crs, transform) != own:
        stated = replace(stated, grid=Grid(crs, transform, shape[1], shape[2]))
    if beside.mask is not None:
        stated = replace(stated, mask=read_mask(beside.mask, (shape[1], shape[2])))
    return stated


def place_beside(
    beside: SideFiles, crs: str | None, transform: Transform | None
) -> tuple[str | None, Transform | None]:
    """A file's reference system and transform, with what is stated beside it: None for what nothing states.

    Args:
        crs, transform: the file's own.

    Raises:
        RasterError: a world file, a .prj or the place in the notes cannot be read.
    """
    if beside.notes is not None:
        try:
            noted_crs, noted_transform = _place(parsed(beside.notes))
        except (ValueError, CRSError) as error:
            raise RasterError(f"has notes beside it ({NOTES}) that cannot be read ({error}); remove them") from error
        crs, transform = noted_crs or crs, noted_transform or transform
    if transform is None and beside.world is not None:
        transform = world_files.transform_in(beside.world)
    if crs is None and transform is not None and beside.system is not None:
        crs = world_files.system_in(beside.system)
    return crs, transform


def place_of(file: DatasetReader, beside: SideFiles | None) -> tuple[str | None, Transform | None]:
    """An open file's reference system and transform, with what is stated beside it; None for what nothing states."""
    crs = None if file.crs is None else short_system(file.crs.to_wkt())
    transform = None if crs is None and file.transform.is_identity else file.transform
    own = None if transform is None else (*tuple(transform)[:6],)
    return (crs, own) if beside is None else place_beside(beside, crs, own)


def notes_for(file: DatasetReader, beside: SideFiles) -> str:
    """What an open file and the files beside it state, as notes with which it can be opened; without the mask.

    Raises:
        RasterError: as of `with_side_files`.
    """
    shape = (file.count, file.height, file.width)
    stated = stated_with(declarations_of(file, reads_mask=False), replace(beside, mask=None), shape)
    crs, transform = place_of(file, beside)
    text = "" if crs is None else f"<SRS>{escape(CRS.from_user_input(crs).to_wkt())}</SRS>"
    if transform is not None:
        a, b, c, d, e, f = transform
        text += f"<GeoTransform>{c!r}, {a!r}, {b!r}, {f!r}, {d!r}, {e!r}</GeoTransform>"
    for band in range(file.count):
        nodata = stated.nodata[band]
        text += (
            f'<PAMRasterBand band="{band + 1}"><Description>{escape(stated.names[band])}</Description>'
            + ("" if nodata is None else f"<NoDataValue>{nodata!r}</NoDataValue>")
            + f"<Scale>{stated.scales[band]!r}</Scale><Offset>{stated.offsets[band]!r}</Offset></PAMRasterBand>"
        )
    return f"<PAMDataset>{text}</PAMDataset>"


def states_something(notes: bytes) -> bool:
    """Whether notes change what a file means, or cannot be read."""
    try:
        noted = _noted(Declarations(), parsed(notes), (_most_bands(notes), 1, 1))
        place = _place(parsed(notes))
    except (ValueError, CRSError):
        return True
    return any((
        *noted.names, *noted.colours, noted.tags, *place, *(value is not None for value in noted.nodata),
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
    )


def _with_item(stated: Declarations, item: AssetFacts, bands: int) -> Declarations:
    """What a file and its notes state, and what its STAC item does where they state nothing."""
    listed = len(item.nodata)
    if listed not in (1, bands):
        raise RasterError(f"has {bands} bands, of which its STAC item lists {listed}; correct the item")
    nodata, scales, offsets = (values * (bands // listed) for values in (item.nodata, item.scales, item.offsets))
    stated = replace(stated, nodata=_filled(stated.nodata, nodata, None))
    if any(scale != 1 for scale in stated.scales) or any(offset != 0 for offset in stated.offsets):
        return stated
    tags = {"PROCESSING_BASELINE": item.baseline} if item.baseline else {}
    return replace(
        stated,
        scales=_replaced(stated.scales, scales, 1.0),
        offsets=_replaced(stated.offsets, offsets, 0.0),
        tags={**tags, **stated.tags},
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


def _place(notes: Element) -> tuple[str | None, Transform | None]:
    """The reference system and the transform that notes state; None for what they do not."""
    # ArcGIS notes a system down in its own place.
    system = _text(notes, "SRS") or (notes.findtext(".//GeodataXform/SpatialReference/WKT") or "").strip()
    crs, transform = short_system(system) if system else None, _text(notes, "GeoTransform")
    if transform is None:
        return crs, None
    c, a, b, f, d, e = map(float, transform.split(","))
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        raise ValueError(f"its GeoTransform is {transform}")
    return crs, (a, b, c, d, e, f)
