"""Every raster of some folders, decoded by BandBridge and by rasterio: equal, refused, different.

    python benchmarks/corpus.py FOLDER ...

Compares pixels, number type, reference system, transform and values of no data. A file that is read without GDAL once
its outline is known is read a second time with its pixels inverted, and compared with rasterio again. Prints a row per
folder and the reasons of refusals; ends with an error where a file is different.
"""

import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from bandbridge.ingest.declarations import grid_of
from bandbridge.ingest.outlines import Outline, known_outline
from bandbridge.ingest.rasters import MOST_SAMPLE_BYTES, Raster, RasterError, decode

ENDINGS = (".tif", ".tiff", ".gtiff", ".btf", ".jp2", ".j2k", ".jpx")


def main(folders: list[Path]) -> None:
    reasons: Counter[str] = Counter()
    different = 0
    print("| files of | files | equal | of these read again without GDAL | refused | neither reads | different |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for folder in folders:
        counts: Counter[str] = Counter()
        for path in sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()):
            outcome, reason = compare(path)
            counts[outcome] += 1
            counts["again"] += reason == "again"
            if outcome in ("refused", "different"):
                reasons[f"{outcome}: {reason}"] += 1
                print(f"{path}: {outcome}, {reason}", file=sys.stderr)
        different += counts["different"]
        columns = (counts[name] for name in ("equal", "again", "refused", "neither reads", "different"))
        print(f"| {folder.name} | {counts.total() - counts['again']:,} | {' | '.join(f'{n:,}' for n in columns)} |")
    print()
    for reason, count in reasons.most_common():
        print(f"- {count} {reason}")
    if different:
        sys.exit(f"{different} files are different")


def compare(path: Path) -> tuple[str, str]:
    """Outcome and, of some, a reason."""
    content = path.read_bytes()
    try:
        expected = by_rasterio(content)
    except (RasterioError, ValueError, MemoryError, TypeError) as error:
        expected, problem = None, str(error)
    try:
        raster = decode(content)
    except RasterError as error:
        return ("neither reads", problem) if expected is None else ("refused", generic(str(error)))
    if expected is None:
        return "different", f"rasterio does not read it ({problem})"
    if fault := difference(raster, expected):
        return "different", fault
    outline = known_outline(content)
    if outline is None:
        return "equal", ""
    other = inverted(content, outline)
    fault = difference(decode(other), by_rasterio(other))
    return ("different", f"{fault}, inverted") if fault else ("equal", "again")


def by_rasterio(content: bytes) -> tuple:
    with MemoryFile(content) as memory, memory.open() as file:
        if file.count * file.height * file.width * 8 > 8 * MOST_SAMPLE_BYTES:
            raise ValueError("larger than this machine can compare")
        return file.read(), grid_of(file), file.nodatavals


def difference(raster: Raster, expected: tuple) -> str:
    pixels, grid, nodata = expected
    if raster.pixels.dtype != pixels.dtype or raster.pixels.shape != pixels.shape:
        return f"{raster.pixels.dtype} {raster.pixels.shape}, not {pixels.dtype} {pixels.shape}"
    if not np.array_equal(raster.pixels, pixels, equal_nan=pixels.dtype.kind in "fc"):
        return f"{(raster.pixels != pixels).sum():,} values differ"
    if raster.grid != grid:
        return f"lies at {raster.grid}, not at {grid}"
    same = all(one == two or (one != one and two != two) for one, two in zip(raster.stated.nodata, nodata, strict=True))
    return "" if same else f"no data {raster.stated.nodata}, not {nodata}"


def inverted(content: bytes, outline: Outline) -> bytes:
    """A file with every bit of its pixels the other way."""
    end = outline.start + outline.pixel_bytes
    pixels = (~np.frombuffer(content[outline.start : end], np.uint8)).tobytes()
    return content[: outline.start] + pixels + content[end:]


def generic(reason: str) -> str:
    return " ".join("N" if any(letter.isdigit() for letter in word) else word for word in reason.split())


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.Env(GDAL_PAM_ENABLED="NO"):
        main([Path(argument) for argument in sys.argv[1:]])
