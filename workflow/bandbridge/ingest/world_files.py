"""World files (NAME.tfw, .jgw, .pgw ...) and reference systems in files of their own (NAME.prj), beside a raster.

A world file has six numbers and no reference system: that is in the notes (.aux.xml), in NAME.prj, or nowhere.
"""

import math
import posixpath
from collections.abc import Iterator

from pyproj import CRS
from pyproj.exceptions import CRSError

from bandbridge.ingest.junk import WORLD_FILES
from bandbridge.ingest.names import IMAGE_ENDINGS, SPELLINGS, ending
from bandbridge.ingest.places import Transform, short_system
from bandbridge.ingest.rasters import RasterError

SYSTEM = ".prj"
OF_ANY = (".wld", SYSTEM)
OWNER = {name: kind for kind, names in WORLD_FILES.items() for name in names}
ENDINGS = (*OF_ANY, *OWNER)
NUMBERS = 6


def owners(side: str) -> Iterator[str]:
    """Names that the raster of a world file or a .prj may have, in the spellings that people write."""
    stem, kind = posixpath.splitext(side)
    yield stem
    kinds = [OWNER[kind.lower()]] if kind.lower() in OWNER else IMAGE_ENDINGS
    for usual in kinds:
        for spelled in (usual, *(other for other, same in SPELLINGS.items() if same == usual)):
            yield from (stem + spelled, stem + spelled.upper(), stem + spelled.capitalize())


def sides(file: str) -> Iterator[str]:
    """Names, in small letters, that a raster's world file and then its .prj may have; those of its own kind first."""
    lower = file.lower()
    stem = posixpath.splitext(lower)[0]
    for kind in (*WORLD_FILES.get(ending(file), ()), *OF_ANY):
        yield from (stem + kind, lower + kind)


def transform_in(content: bytes) -> Transform:
    """GDAL's affine of a world file, which states the centre of the first pixel.

    Raises:
        RasterError: it is no six numbers, or its pixels have no area.
    """
    words = content.decode("utf-8-sig", "replace").split()
    try:
        a, d, b, e, x, y = (float(word.replace(",", ".")) for word in words)
        if not all(map(math.isfinite, (a, b, d, e, x, y))) or a * e == b * d:
            raise ValueError("no pixel has an area")
    except ValueError as error:
        raise RasterError(
            f"has a world file beside it that holds '{' '.join(words)[:60]}', expected {NUMBERS} numbers; remove it"
        ) from error
    return a, b, x - (a + b) / 2, d, e, y - (d + e) / 2


def system_in(content: bytes) -> str:
    """The reference system of a .prj file, as `places.short_system` has it.

    Raises:
        RasterError: it is none.
    """
    try:
        return short_system(CRS.from_user_input(content.decode("utf-8-sig").strip()).to_wkt())
    except (CRSError, UnicodeDecodeError) as error:
        raise RasterError(f"has a {SYSTEM} file beside it that holds no reference system; remove it") from error
