"""ENVI raw data with a header, and NumPy arrays, converted to a TIFF in memory.

Everything after the readers decodes one kind of file, with its place, its band names and its fill value.
"""

import posixpath
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader, MemoryFile

from bandbridge.ingest.archives import members
from bandbridge.ingest.declarations import scales_of
from bandbridge.ingest.names import ending
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, SEALED, RasterError, in_gdals_words, must_fit

NUMPY = b"\x93NUMPY"
# Several arrays of NumPy in a zip.
ZIP, NPZ_ENDING = b"PK\x03\x04", ".npz"
MOST_NUMPY_HEADER_BYTES = 64 * 1024
# Of formats that are read as they are: TIFF and BigTIFF, then images.
KNOWN = (
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"GIF8",
    b"BM",
    b"RIFF",
)
# Raw data may begin like these by chance, so that the name counts.
TWO_LETTERS = (".bmp", ".ppm", ".pgm")
JP2_BOX = b"jP  "
HEADER_ENDING = ".hdr"
MOST_HEADER_BYTES = 4 * 1024**2
# The header lies beside the data in GDAL's memory, the only place where it may be looked for.
_BESIDE = {**SEALED, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "RAW_CHECK_FILE_SIZE": "YES"}
_NUMPY_TYPES = {"bool": "uint8", "int64": "int32", "uint64": "uint32", "float16": "float32"}


class OtherFormats:
    """The files of an archive as TIFF, JPEG 2000 or other images; ENVI headers are looked up when a file needs one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers: dict[str, bytes] | None = None

    def readable(self, member: str, content: bytes, bands: int, limit: int = MOST_SAMPLE_BYTES) -> bytes:
        """A file's content, as a TIFF where it is an array of NumPy or ENVI's raw data.

        Args:
            bands: how many the file should have; an array is (band, y, x) or (y, x, band), whichever fits.
            limit: the most bytes of pixels.

        Raises:
            RasterError: an array of no number type of rasters, of other axes, of objects; a header that does not fit.
        """
        if content.startswith(ZIP) and ending(member) == NPZ_ENDING:
            content = _only_array(content, limit)
        if content.startswith(NUMPY):
            return as_tiff(_numpy_pixels(content, bands, limit))
        if content.startswith(KNOWN) or content[4:8] == JP2_BOX or ending(member) in TWO_LETTERS or not content:
            return content
        header = self._header(member)
        return content if header is None else _envi(content, header, limit)

    def _header(self, member: str) -> bytes | None:
        """Of 'cube.img' or 'cube', which are called 'cube.hdr' or 'cube.img.hdr'."""
        if self._headers is None:
            self._headers = {
                posixpath.splitext(name)[0].lower(): content
                for name, content in members(
                    self._path, limit=MOST_HEADER_BYTES, accepts=lambda name: name.lower().endswith(HEADER_ENDING)
                )
                if content.lstrip().startswith(b"ENVI")
            }
        lower = member.lower()
        return self._headers.get(lower, self._headers.get(posixpath.splitext(lower)[0]))


def _only_array(content: bytes, limit: int) -> bytes:
    """The array of a .npz file, as a .npy file has it."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if len(archive.infolist()) != 1:
                names = ", ".join(Path(name).stem for name in archive.namelist()[:3])
                raise RasterError(f"holds {len(archive.infolist())} arrays ({names}), expected one; save it as .npy")
            (array,) = archive.infolist()
            if array.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
                raise RasterError("is compressed as NumPy compresses no array; save it as .npy")
            if array.file_size > limit + MOST_NUMPY_HEADER_BYTES:
                raise RasterError(f"states an array of {array.file_size:,} bytes; the limit is {limit:,}")
            unpacked = archive.read(array)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise RasterError(f"cannot be read as an array of NumPy: {error}") from error
    if not unpacked.startswith(NUMPY):
        raise RasterError(f"cannot be read as an array of NumPy: it holds {array.filename}")
    return unpacked


def _numpy_pixels(content: bytes, bands: int, limit: int) -> NDArray[Any]:
    try:
        stream = BytesIO(content)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        size = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
        if size > limit:
            raise RasterError(f"states an array of {shape}, {size:,} bytes; the limit is {limit:,}")
        array = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        if isinstance(error, RasterError):
            raise
        raise RasterError(f"cannot be read as an array of NumPy: {' '.join(str(error).split())}") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise RasterError(f"is an array of {shape}, expected (band, y, x), (y, x, band) or (y, x)")
    if array.shape[0] != bands and array.shape[2] == bands:
        array = array.transpose(2, 0, 1)
    name = array.dtype.name
    narrow = array.astype(_NUMPY_TYPES.get(name, name)) if array.dtype.kind in "biuf" else None
    if narrow is None or (narrow.dtype.kind in "iu" and not np.array_equal(narrow, array)):
        raise RasterError(f"is an array of {array.dtype}, which no raster holds; save it as uint16, int16 or float32")
    return np.ascontiguousarray(narrow)


def _envi(content: bytes, header: bytes, limit: int) -> bytes:
    try:
        with _opened_envi(content, header) as file:
            must_fit(file, limit)
            placed = None if file.crs is None and file.transform.is_identity else file.transform
            return as_tiff(file.read(), file.crs, placed, file.nodata, file.descriptions, file)
    except rasterio.errors.RasterioError as error:
        raise RasterError(f"does not fit its ENVI header: {in_gdals_words(error)}") from error


@contextmanager
def _opened_envi(content: bytes, header: bytes) -> Iterator[DatasetReader]:
    folder = str(uuid.uuid4())
    with (
        rasterio.Env(**_BESIDE),
        _without_warnings(),
        MemoryFile(content, dirname=folder, filename="content.img") as data,
        MemoryFile(header, dirname=folder, filename="content.hdr"),
        data.open(driver=["ENVI"]) as file,
    ):
        yield file


def as_tiff(
    pixels: NDArray[Any],
    crs: CRS | None = None,
    transform: Affine | None = None,
    nodata: float | None = None,
    names: Sequence[str | None] = (),
    like: DatasetReader | None = None,
) -> bytes:
    """Pixels (band, y, x) as the content of a plain GeoTIFF, with the names of its bands.

    Args:
        like: a file with the same bands, whose scales, offsets and metadata hold for these pixels, too.
    """
    count, height, width = pixels.shape
    facts = {"count": count, "height": height, "width": width, "dtype": pixels.dtype.name, "nodata": nodata}
    placed = {} if transform is None else {"crs": crs, "transform": transform}
    with _without_warnings(), MemoryFile() as memory:
        with memory.open(driver="GTiff", interleave="band", BIGTIFF="IF_SAFER", **facts, **placed) as file:
            file.write(pixels)
            if any(names):
                file.descriptions = tuple(names)
            if like is not None and like.count == count:
                file.scales, file.offsets = scales_of(like), like.offsets
                file.update_tags(**like.tags())
                for band in like.indexes:
                    file.update_tags(band, **like.tags(band))
                    file.update_tags(band, ns="IMAGERY", **like.tags(band, ns="IMAGERY"))
        return bytes(memory.read())


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield
