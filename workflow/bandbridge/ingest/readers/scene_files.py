"""Which file, and which band of it, holds each band of a scene: a file per band, one file of all, a product, a VRT."""

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from rasterio.io import DatasetReader

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Modality
from bandbridge.ingest.archives import MAX_BAND_BYTES, member_names, read_member
from bandbridge.ingest.band_names import COMPARE, TAKE
from bandbridge.ingest.declarations import Declarations, declarations_of
from bandbridge.ingest.interpretation import chosen_bands
from bandbridge.ingest.junk import is_junk
from bandbridge.ingest.names import folded, has_image_ending, matches
from bandbridge.ingest.other_formats import OtherFormats, as_tiff
from bandbridge.ingest.rasters import RasterError, blocks_must_fit, opened
from bandbridge.ingest.readers import safe, virtual
from bandbridge.ingest.readers.tiles import NotTilesError, as_tiles
from bandbridge.ingest.scene_bands import ProductFacts
from bandbridge.ingest.side_files import notes_for, side_files_of

BAND = "{band}"
# '10m' between other parts of a name, as of Sentinel-2's band files.
RESOLUTION = re.compile(r"(?<![A-Za-z0-9])R?(\d{1,4})m(?![A-Za-z0-9])")
# A product as the Copernicus Data Space delivers it.
PACKED = re.compile(r"(^|/)S2\w_[^/]*MSIL?(1C|2A)[^/]*\.zip$", re.IGNORECASE)
MOST_SHOWN = 3
# Files of one raster; more are rather the samples of another reader.
MOST_TILES = 1000


@dataclass(frozen=True)
class BandFile:
    """Where a band is: the `index`-th of its file, counted from 1; None for the only one of it.

    `product` is what the metadata of a product state of it.
    """

    file: str
    index: int | None = None
    product: ProductFacts | None = None


@dataclass(frozen=True)
class SceneFiles:
    """The files of a scene's bands, and what a product states beside them.

    Attributes:
        bands: in the modality's order.
        classes: the file of the product's scene classification, None without one.
        date: of the acquisition, ISO 8601; empty where unknown.
        contents: files that are made in memory, such as mosaics.
    """

    bands: Mapping[str, BandFile]
    classes: str | None = None
    date: str = ""
    contents: Mapping[str, bytes] = field(default_factory=dict)


def scene_path(path: Path, pattern: str | None) -> Path:
    """Where the bands of a scene are: the path itself, or the one packed product in a folder that holds no other."""
    if not path.is_dir() or (pattern is not None and not pattern.upper().endswith((safe.ENDING, ".ZIP"))):
        return path
    names = member_names(path)
    if safe.holds_product(names):
        return path
    packed = [name for name in names if PACKED.search(name) and (pattern is None or _packs(name, pattern))]
    if len(packed) > 1:
        raise UserError(
            f"{path} holds {len(packed)} packed products ({', '.join(packed[:MOST_SHOWN])}); name one with the option "
            "rasters"
        )
    return path / packed[0] if packed else path


def _packs(name: str, pattern: str) -> bool:
    """Whether 'X.zip' or 'X.SAFE.zip' holds what a pattern of X.SAFE or of the zip means."""
    stem = re.sub(r"(\.SAFE)?\.zip$", "", posixpath.basename(name), flags=re.IGNORECASE)
    return any(fnmatchcase(stem + ending, pattern) for ending in (safe.ENDING, ".zip", f"{safe.ENDING}.zip"))


def find_files(path: Path, pattern: str | None, modality: Modality) -> SceneFiles:
    """The files of a scene's bands.

    Args:
        path: an archive or a folder.
        pattern: shell pattern of the band files, with `{band}` in place of the band's name; or of one file of all
            bands, whose descriptions say which is which, or which has as many bands in the same order; or of a
            Sentinel-2 product's .SAFE folder. None for the only product. Several files may be tiles of one raster.

    Raises:
        UserError: a file is missing, occurs twice, or has other bands.
    """
    names, bands = member_names(path), modality.bands
    if pattern is None or (pattern.upper().endswith((safe.ENDING, ".ZIP")) and BAND not in pattern):
        pattern = None if pattern is not None and not path.is_dir() else pattern
        return _of_product(path, names, pattern, bands)
    contents: dict[str, bytes] = {}
    if BAND in pattern:
        files = {band: BandFile(band_file(path, names, pattern, band, contents)) for band in bands}
        return SceneFiles(files, contents=contents)
    return _of_one_file(path, names, one_file(path, names, pattern, contents), modality, contents)


@contextmanager
def open_files(path: Path, files: SceneFiles) -> Iterator[Mapping[str, DatasetReader]]:
    """File -> the open raster, each once."""
    with ExitStack() as stack:
        formats = OtherFormats(path)
        names = dict.fromkeys([band.file for band in files.bands.values()])
        yield {file: _open(path, file, files.contents.get(file), formats, stack) for file in names}


def open_file(path: Path, file: str, stack: ExitStack) -> DatasetReader:
    return _open(path, file, None, OtherFormats(path), stack)


def _open(path: Path, file: str, made: bytes | None, formats: OtherFormats, stack: ExitStack) -> DatasetReader:
    try:
        # How many bands an array has decides which of its axes they are on; files of other formats state it.
        content = made or formats.readable(file, read_member(path, file), bands=0, limit=MAX_BAND_BYTES)
        raster = stack.enter_context(opened(content))
        blocks_must_fit(raster)
    except RasterError as error:
        raise UserError(f"{path}: {file} {error}") from error
    beside = side_files_of(path, file.__eq__).get(file) if made is None else None
    if beside is None:
        return raster
    try:
        return stack.enter_context(opened(content, notes_for(raster, beside)))
    except RasterError as error:
        raise UserError(f"{path}: {file} {error}") from error


def band_file(path: Path, names: Sequence[str], pattern: str, band: str, contents: dict[str, bytes]) -> str:
    """The one file of a band; of several that differ only in their resolution, the finest; or its tiles as one.

    Args:
        contents: where a file that is made of tiles is put.

    Raises:
        UserError: none or several match; the message lists candidates.
    """
    band_pattern = pattern.replace(BAND, band)
    matching = _matching(names, band_pattern)
    if len(matching) > 1:
        matching = _finest(matching)
    return _only(path, names, band_pattern, matching, contents, band)


def one_file(path: Path, names: Sequence[str], pattern: str, contents: dict[str, bytes]) -> str:
    """The one file that matches a pattern without a band's name, or its tiles as one."""
    return _only(path, names, pattern, _matching(names, pattern), contents)


def _only(
    path: Path,
    names: Sequence[str],
    pattern: str,
    matching: Sequence[str],
    contents: dict[str, bytes],
    band: str = "",
) -> str:
    if len(matching) == 1:
        return matching[0]
    expected = f"the pattern '{pattern}' finds {{}}, expected exactly one"
    if matching:
        try:
            contents[pattern] = _mosaic_of_tiles(path, matching)
        except NotTilesError as reason:
            advice = "change the pattern" if band else "change the pattern, or write {band} in place of the band's name"
            several = expected.format(f"{len(matching)} files ({_first(matching)})")
            raise UserError(f"{path}: {several}, or tiles of one raster, but {reason}; {advice}") from None
        return pattern
    images = [name for name in names if has_image_ending(name) and not is_junk(name)]
    near = [name for name in images if band and band in posixpath.basename(name)]
    present = f"there are: {_first(near or images)}" if images else "there is no raster"
    raise UserError(f"{path}: {expected.format('no file')}; {present}; change the pattern")


def _mosaic_of_tiles(path: Path, files: Sequence[str]) -> bytes:
    if len(files) > MOST_TILES or any(file.lower().endswith(virtual.ENDING) for file in files):
        raise NotTilesError("they are too many" if len(files) > MOST_TILES else "VRT files are read one at a time")
    if _have_masks_beside(path, files):
        raise NotTilesError("they have masks (.msk)")
    with ExitStack() as stack:
        rasters = {file: open_file(path, file, stack) for file in files}
        return _put_together(as_tiles(rasters), rasters.__getitem__)


def _have_masks_beside(path: Path, files: Collection[str]) -> bool:
    beside = side_files_of(path, set(files).__contains__)
    return any((sides := beside.get(file)) is not None and sides.mask is not None for file in files)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_SHOWN]) + (" ..." if len(names) > MOST_SHOWN else "")


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    """The files that match: exactly, else with another spelling of the ending, else in any case."""
    data = [name for name in names if not is_junk(name)]
    for rule in (fnmatchcase, matches, lambda name, shell_pattern: fnmatchcase(folded(name), folded(shell_pattern))):
        if matching := [name for name in data if rule(name, pattern)]:
            return matching
    return []


def _finest(names: Sequence[str]) -> list[str]:
    """Of names that are the same but for '10m', '20m' ..., the one of the smallest number; else all of them."""
    by_resolution = {
        int(resolutions[-1]): name for name in names if (resolutions := RESOLUTION.findall(posixpath.basename(name)))
    }
    rest = {RESOLUTION.sub("", name) for name in names}
    if len(rest) == 1 and len(by_resolution) == len(names):
        return [by_resolution[min(by_resolution)]]
    return list(names)


def _of_product(path: Path, names: Sequence[str], pattern: str | None, bands: Sequence[str]) -> SceneFiles:
    if pattern is None and not safe.holds_product(names):
        raise UserError(
            f"{path} holds no Sentinel-2 product (.SAFE), and the option rasters names no files; name them with it, as "
            "in '*_{band}.tif', or in 'scene.tif' for one file of all bands"
        )
    product = safe.find_product(path, names, pattern)
    files = {
        band: BandFile(product.image(band), None, ProductFacts(safe.NO_DATA, product.tags.get(band, {})))
        for band in bands
    }
    return SceneFiles(files, product.images.get(safe.SCENE_CLASSES), product.date)


def _of_one_file(
    path: Path, names: Sequence[str], file: str, modality: Modality, contents: dict[str, bytes]
) -> SceneFiles:
    content = contents.get(file) or read_member(path, file)
    if file.lower().endswith(virtual.ENDING) or content.lstrip().startswith(virtual.BEGINNING):
        vrt = virtual.read_virtual(path, file, content, names)
        with _opened_once(path) as opener:
            whole = vrt.whole_files(opener)
            try:
                vrt.must_be_plain(opener, whole is None)
                if whole is None and _have_masks_beside(path, {source.file for band in vrt.bands for source in band}):
                    raise ValueError("its sources have masks (.msk)")
            except ValueError as error:
                raise virtual.not_followed(path, file, error) from error
            if whole is None:
                contents[file] = _put_together(vrt, opener)
        if whole is not None:
            chosen = _indices(path, file, modality, Declarations(names=vrt.names), len(whole))
            of_bands = [_as_stated(source, fill) for source, fill in zip(whole, vrt.fills, strict=True)]
            return SceneFiles({band: of_bands[at] for band, at in zip(modality.bands, chosen, strict=True)})
    with ExitStack() as stack:
        raster = _open(path, file, contents.get(file), OtherFormats(path), stack)
        chosen = _indices(path, file, modality, declarations_of(raster), raster.count)
    placed = {band: BandFile(file, at + 1) for band, at in zip(modality.bands, chosen, strict=True)}
    return SceneFiles(placed, contents=contents)


@contextmanager
def _opened_once(path: Path) -> Iterator[Callable[[str], DatasetReader]]:
    with ExitStack() as stack:
        yield cache(lambda name: open_file(path, name, stack))


def _as_stated(source: virtual.Source, fill: float | None) -> BandFile:
    """A band of a file; what the VRT says of its missing data counts in place of what the file says."""
    nodata = source.nodata if source.nodata is not None else fill
    return BandFile(source.file, source.band, None if nodata is None else ProductFacts(nodata, {}))


def _put_together(vrt: virtual.Virtual, opened_once: Callable[[str], DatasetReader]) -> bytes:
    pixels = virtual.put_together(vrt, opened_once)
    first = opened_once(vrt.bands[0][0].file)
    fill = vrt.fills[0] if vrt.fills[0] is not None else first.nodata
    return as_tiff(pixels, vrt.crs or first.crs, vrt.transform or first.transform, fill, vrt.names, first)


def _indices(path: Path, file: str, modality: Modality, stated: Declarations, count: int) -> list[int]:
    """Where each band is in a file, from 0: by name where the file has further bands, else by the order of its bands.

    Raises:
        UserError: the file has other bands, or names that contradict the data set's file.
    """
    try:
        if count > len(modality.bands) and modality.band_names == COMPARE:
            # Further bands (masks, indices) do no harm where each required band is named.
            with suppress(RasterError):
                chosen, _, _ = chosen_bands(stated, replace(modality, band_names=TAKE), count)
                return list(range(count)) if chosen is None else chosen
        chosen, _, _ = chosen_bands(stated, modality, count)
    except RasterError as error:
        raise UserError(f"{path}: {file} {error}") from error
    return list(range(count)) if chosen is None else chosen
