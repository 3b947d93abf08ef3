"""Names of files as people write them: endings in any case and spelling, accents in any form, Windows' separators.

A file with exactly the stated name is always preferred; these rules apply only where there is none.
"""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from bandbridge.ingest.junk import is_junk

# Ending in small letters -> how it is spelled otherwise.
SPELLINGS = {".tiff": ".tif", ".gtif": ".tif", ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".j2k": ".jp2"}
# Endings of the images and rasters that are read.
IMAGE_ENDINGS = frozenset(
    {
        *(".tif", ".jp2", ".png", ".jpg", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".npy", ".npz"),
        *(".img", ".dat", ".bil", ".bsq", ".bip", ".raw"),  # ENVI, with a header beside them
    }
)


def ending(name: str) -> str:
    """A name's ending in small letters and in its usual spelling: '.tif' of 'a.TIFF'; empty where there is none."""
    lower = posixpath.splitext(name)[1].lower()
    return SPELLINGS.get(lower, lower)


def with_usual_ending(name: str) -> str:
    """'a.tif' of 'a.TIFF'."""
    stem, extension = posixpath.splitext(name)
    return stem + ending(name) if extension else name


def has_image_ending(name: str) -> bool:
    return ending(name) in IMAGE_ENDINGS


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a shell pattern (`*` also matches '/'), its ending in any case and spelling."""
    return fnmatchcase(name, pattern) or fnmatchcase(with_usual_ending(name), _usual_pattern(pattern))


@cache
def _usual_pattern(pattern: str) -> str:
    return with_usual_ending(pattern)


def with_slashes(name: str) -> str:
    """A path as Windows writes it with '/' between its parts."""
    return name.replace("\\", "/")


def composed(name: str) -> str:
    """A text with each accented letter in one character, as everything but macOS writes it (Unicode's form C)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def plain(name: str) -> str:
    """What is the same of a class's name however its accents and spaces are encoded, and without marks nobody sees."""
    visible = name if name.isascii() else "".join(char for char in name if unicodedata.category(char) != "Cf")
    return " ".join(composed(visible).split())


def folded(name: str) -> str:
    """What is the same of names that differ in case, in the spelling of the ending or in the form of accents."""
    return composed(with_usual_ending(name)).casefold()


class Lookalikes:
    """The files of an archive that someone may mean by a name that none of them has.

    They are, in this order: those whose names differ in case, ending's spelling or accents only; those that a name
    without an ending is the stem of; and those in any folder that a bare file name is the name of.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_name: Mapping[str, list[str]] = defaultdict(list)
        self._by_stem: Mapping[str, list[str]] = defaultdict(list)
        self._by_basename: Mapping[str, list[str]] = defaultdict(list)
        for name in names:
            if is_junk(name):
                continue
            whole = folded(name)
            self._by_name[whole].append(name)
            self._by_basename[posixpath.basename(whole)].append(name)
            if has_image_ending(name):
                self._by_stem[posixpath.splitext(whole)[0]].append(name)

    def of(self, name: str) -> Sequence[str]:
        """The files meant by a name; several where it is not clear which."""
        key = folded(name)
        stems = [] if has_image_ending(name) else self._by_stem.get(composed(name).casefold(), [])
        bare = [] if "/" in name else self._by_basename.get(key, [])
        return self._by_name.get(key) or stems or bare
